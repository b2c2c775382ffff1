/* Measuring: run one piece of work from several clients for a bounded time, and count. */

export interface Measured {
  /** Messages per second. */
  readonly rate: number
  /** Median and 99th percentile of one round, in milliseconds. */
  readonly p50: number
  readonly p99: number
}

/** Let every client repeat its round until the time is over; a round returns how many messages it moved. */
export async function measure(
  clients: readonly (() => Promise<number>)[],
  { seconds, warmUpSeconds = seconds / 4 }: { readonly seconds: number; readonly warmUpSeconds?: number },
): Promise<Measured> {
  const begin = performance.now() + warmUpSeconds * 1000
  const end = begin + seconds * 1000
  const rounds: number[] = []
  let messages = 0
  await Promise.all(
    clients.map(async (round) => {
      for (let started = performance.now(); started < end; started = performance.now()) {
        const moved = await round()
        if (started < begin) continue
        messages += moved
        rounds.push(performance.now() - started)
      }
    }),
  )
  rounds.sort((a, b) => a - b)
  const percentile = (share: number) => rounds[Math.min(rounds.length - 1, Math.floor(rounds.length * share))] ?? 0
  return { rate: messages / seconds, p50: percentile(0.5), p99: percentile(0.99) }
}

/** The middle one. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
