/* Taking the database away, and forcing the order of things inside it: statements that hang on a lock, receives that wait. */
import { until } from '../support/until.ts'
import { watchers } from '../wakeup/waiting.ts'
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

/** Resolves when a receive from this queue waits: when the server is told of its messages, or has just asked whether there are any. */
export async function isWaiting({ database }: Target, queue: string): Promise<void> {
  const { pool } = database
  const asked = async () => {
    const { rows } = await pool.query<{ asked: string }>(
      `select pid || ' ' || query_start as asked from pg_stat_activity
      where application_name = 'postbag' and datname = current_database() and query like '%postbag.prospects%'`,
    )
    return rows.map((row) => row.asked)
  }
  const before = await asked()
  await until('a receive that waits', async () => {
    if ((await watchers(pool, queue)).length > 0) return true
    // (Behind a pooler a session may have asked before, and now does something else.)
    return (await asked()).some((one) => !before.includes(one)) || undefined
  })
}
