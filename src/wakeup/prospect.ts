/* What the database says of a queue that somebody waits for: migrations/fixtures/functions/prospects.sql. */

export interface Prospect {
  readonly queue: string
  readonly gone: boolean
  /** In how many seconds it is worth looking; null: never by itself. */
  readonly available_in: number | null
  /** How many seconds it took to find out. */
  readonly took: number
}

/** Most queues that one statement asks for. */
export const mostPerStatement = 200

const costlySeconds = 0.005

/** For how many milliseconds it is not to be asked again, so that it takes a twentieth of the time: 0 if the answer cost next to nothing. */
export function costlyMillis(tookSeconds: number): number {
  return tookSeconds > costlySeconds ? 20_000 * tookSeconds : 0
}
