/* How properties are tried in Postgres: so many runs on the newest one, and a quarter of them on an older one, which runs the same SQL.
 *
 * A failure prints a seed and a path; FAST_CHECK_SEED=… runs that seed again, FAST_CHECK_RUNS=… so many runs. */
import type pg from 'pg'
import type { TestDatabase } from './database.ts'
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

/** One of several sessions whose steps come one after the other: who waits, waits for an open transaction, so it may as well fail at once. */
export async function newSession(db: TestDatabase): Promise<pg.Client> {
  const session = await db.connect()
  await session.query(`set statement_timeout = '5s'; set lock_timeout = '20ms'`)
  return session
}
