/* Random steps, done to queues with random settings: what must hold whatever is combined with what. (What each setting means by itself is told
 * by the models, model.test.ts and groups-model.test.ts, and by the tests of each.)
 *
 *  - A message has one owner at a time, and an owner whose lease is over or taken back settles nothing.
 *  - No more are in flight, no more attempts are made, no more is handed out in a time, than the queue allows.
 *  - An ordered group has one owner at a time.
 *  - What was sent and committed, and not acked, is there: to be received, or as a dead letter; unless a setting says that it goes. */
import { test } from 'node:test'
import fc from 'fast-check'
import { createDatabase } from '../support/database.ts'
import { newSession, runsOf } from '../support/sql-property.ts'
import { Run, settings, step, stepOrChange } from '../support/sql-settings-run.ts'
import { newQueue } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

for (const [which, steps] of [
  ['that stay as they are', step],
  ['that change', stepOrChange],
] as const) {
  test(`queues of all settings, ${which}, keep what all promise`, async () => {
    const sessions = await Promise.all([0, 1, 2].map(() => newSession(db)))

    await fc.assert(
      fc.asyncProperty(
        settings,
        fc.array(steps, { size: 'max', minLength: 20, maxLength: 100 }),
        async (settings, steps) => {
          const other = await newQueue(pool, { durability: settings.durability })
          const queue = await newQueue(pool, { durability: settings.durability })
          const going = new Run(pool, settings, queue, other, sessions)
          if (!(await going.configure(settings))) return
          try {
            for (const step of steps) await going.do(step)
            await going.finish()
          } finally {
            for (const session of sessions) await session.query('rollback')
          }
        },
      ),
      runsOf(20),
    )
  })
}
