/* Measuring: run one piece of work from several clients for a bounded time, and count. And what medians are. */

export interface Measured {
  /** Messages per second. */
  readonly rate: number
  /** Median and 99th percentile of one round, in milliseconds, where rounds were timed. */
  readonly p50?: number
  readonly p99?: number
  /** Messages moved in each second of the measured time. */
  readonly perSecond: readonly number[]
}

export interface MeasureOptions {
  readonly seconds: number
  /** Not counted, before the others. Defaults to a quarter of them. */
  readonly warmUpSeconds?: number
  /** A client stops when it moved nothing, and the rate is that of the time until then: for draining what was filled before. */
  readonly untilEmpty?: boolean
}

/** What every client does before the clock starts. */
const warmRounds = 3

/** Let every client repeat its round until the time is over; a round returns how many messages it moved. */
export async function measure(
  clients: readonly (() => Promise<number>)[],
  { seconds, warmUpSeconds = seconds / 4, untilEmpty = false }: MeasureOptions,
): Promise<Measured> {
  // A new session compiles its functions and plans its statements once, which would weigh more in a short measurement than in a long life.
  await Promise.all(
    clients.map(async (round) => {
      for (let warm = 0; warm < warmRounds; warm++) await round()
    }),
  )
  const begin = performance.now() + warmUpSeconds * 1000
  const end = begin + seconds * 1000
  const rounds: number[] = []
  const perSecond = new Array<number>(Math.ceil(seconds)).fill(0)
  let messages = 0
  let lastMove = begin
  await Promise.all(
    clients.map(async (round) => {
      for (let started = performance.now(); started < end; ) {
        const moved = await round()
        const ended = performance.now()
        if (moved === 0 && untilEmpty) break
        if (started >= begin) {
          messages += moved
          rounds.push(ended - started)
          const second = Math.min(Math.floor((ended - begin) / 1000), perSecond.length - 1)
          perSecond[second] = (perSecond[second] ?? 0) + moved
          lastMove = ended
        }
        started = ended
      }
    }),
  )
  const elapsed = untilEmpty ? Math.min(seconds, Math.max(lastMove - begin, 1) / 1000) : seconds
  return { rate: messages / elapsed, ...latencies(rounds), perSecond }
}

/** Median and 99th percentile; of nothing, 0. */
export function latencies(values: readonly number[]): { readonly p50: number; readonly p99: number } {
  const sorted = [...values].sort((a, b) => a - b)
  const percentile = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { p50: percentile(0.5), p99: percentile(0.99) }
}

/** The middle one. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/** The median of what each is to the other of the same round, because the machine is another one a minute later. */
export function medianRatio(values: readonly number[], others: readonly number[]): number {
  return median(values.map((value, round) => value / (others[round] ?? Number.NaN)))
}

/** Of what is measured as a whole. */
export function rateOnly(rate: number): Measured {
  return { rate, perSecond: [] }
}
