/* Taking the database away, and forcing the order of things inside it: statements that hang on a lock, the pauses between looks. */

import { until } from '../support/until.ts'
import type { Target } from './target.ts'

/** While `work` runs, the database refuses connections. */
export async function whileDatabaseIsAway({ proxy }: Target, work: () => Promise<void>): Promise<void> {
  await proxy.refuse()
  try {
    await work()
  } finally {
    await proxy.restore()
  }
}

/** While `work` runs, no statement can touch a message. `hanging` resolves when one hangs on that. */
export async function whileMessagesAreLocked(
  { database }: Target,
  work: (hanging: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const blocker = await database.connect()
  try {
    await blocker.query('begin')
    await blocker.query('lock table postbag.message in access exclusive mode')
    await work(async () => {
      const waiting = `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`
      await until('a statement that hangs', async () => (await database.pool.query(waiting)).rows[0])
    })
  } finally {
    await blocker.end()
  }
}

/** Resolves when a waiting receive has just looked, and its next look is a pause away; or when the server is told when to look. */
export async function justLooked({ database }: Target): Promise<void> {
  const isTold = async () => {
    const { rowCount } = await database.pool.query(
      `select from pg_stat_activity
      where application_name = 'postbag listen' and datname = current_database()
        and state = 'idle' and query !~ 'unwatch|listen postbag' and state_change < clock_timestamp() - interval '50 ms'`,
    )
    return rowCount === 1
  }
  const newest = async () => {
    const { rows } = await database.pool.query<{ looked: Date; state: string }>(
      `select state_change as looked, state from pg_stat_activity
      where application_name = 'postbag' and datname = current_database() and query like '%postbag.receive%'
      order by state_change desc limit 1`,
    )
    return rows[0]
  }
  const before = await newest()
  await until('the next look', async () => {
    const now = await newest()
    if (await isTold()) return true
    return (now?.state === 'idle' && now.looked.getTime() !== before?.looked.getTime()) || undefined
  })
}
