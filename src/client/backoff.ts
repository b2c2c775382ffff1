/* How long to wait before the next try. Pure. */

const FIRST_MILLISECONDS = 100
const LONGEST_MILLISECONDS = 10_000
const LONGEST_ASKED_SECONDS = 30

/** Full jitter: anything between nothing and 0.1, 0.2, 0.4 … 10 s, so that many clients do not come back together. What the server asked
 * for (Retry-After) comes on top, up to 30 s of it.
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ */
export function backoffMilliseconds(tries: number, askedSeconds: number, random: () => number): number {
  const most = Math.min(LONGEST_MILLISECONDS, FIRST_MILLISECONDS * 2 ** (tries - 1))
  return Math.min(askedSeconds, LONGEST_ASKED_SECONDS) * 1000 + random() * most
}
