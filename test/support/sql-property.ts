/* How properties are tried in Postgres: so many runs on the newest one, and a quarter of them on an older one, which runs the same SQL.
 *
 * A failure prints a seed and a path; FAST_CHECK_SEED=… runs that seed again, FAST_CHECK_RUNS=… so many runs. */
import type { Major } from './server.ts'

/** The options of fc.assert. What takes longer than 45 s, as the search for the smallest failure may, ends there with what was found until then. */
export function runsOf(runs: number) {
  const { FAST_CHECK_SEED: seed, FAST_CHECK_RUNS: wanted, POSTBAG_TEST_MAJOR: major } = process.env
  const newest: Major = 18
  return {
    numRuns: Number(wanted ?? (major === String(newest) ? runs : Math.ceil(runs / 4))),
    ...(wanted === undefined && { interruptAfterTimeLimit: 45_000 }),
    ...(seed && { seed: Number(seed) }),
  }
}
