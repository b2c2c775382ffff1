/* What takes longer to make than to keep: kept by what it is made from, up to a number; then the oldest goes. What fails is not kept. */

export function remembering<Given extends readonly string[], Made>(
  most: number,
  make: (...given: Given) => Promise<Made>,
): (...given: Given) => Promise<Made> {
  const known = new Map<string, Promise<Made>>()
  return (...given) => {
    const name = JSON.stringify(given)
    const kept = known.get(name)
    if (kept) return kept
    const made = make(...given)
    for (const eldest of known.keys()) {
      if (known.size < most) break
      known.delete(eldest)
    }
    known.set(name, made)
    made.catch(() => known.delete(name))
    return made
  }
}
