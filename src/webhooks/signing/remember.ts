/* What takes longer to make than to keep: kept by what it is made from, up to a number; then the longest unused goes. What fails is not
 * kept. */

export interface Remembering<Given extends readonly string[], Made> {
  (...given: Given): Promise<Made>
  /** What is kept now. */
  readonly kept: ReadonlyMap<string, unknown>
}

export function remembering<Given extends readonly string[], Made>(
  most: number,
  make: (...given: Given) => Promise<Made>,
): Remembering<Given, Made> {
  const kept = new Map<string, Promise<Made>>()
  const get = (...given: Given) => {
    const name = JSON.stringify(given)
    const made = kept.get(name) ?? make(...given)
    kept.delete(name)
    kept.set(name, made)
    for (const longestUnused of kept.keys()) {
      if (kept.size <= most) break
      kept.delete(longestUnused)
    }
    made.catch(() => kept.delete(name))
    return made
  }
  return Object.assign(get, { kept })
}
