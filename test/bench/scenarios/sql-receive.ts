/* Receive and ack in SQL of what was sent before. */
import type { Bench } from '../bench.ts'
import { fill } from '../contenders/fill.ts'
import { pgBossDrain, pgBossSend, startPgBoss } from '../contenders/pg-boss.ts'
import { createPlainTable, plainDrain, plainSend } from '../contenders/plain-table.ts'
import { postbagDrain, postbagRidingDrain, postbagSend } from '../contenders/postbag-sql.ts'
import { loadOf, measureSql, type SqlContender } from '../contenders/sql.ts'

export const title = 'Receive and ack in SQL'
export const measures =
  'Each connection receives n messages of 200 bytes and acks them, out of a queue that is filled before each round; nobody sends.'

/** And how many messages per second can be drained at most, more or less: what is filled in before. */
const batches = [
  [1, 6000],
  [10, 30_000],
  [100, 60_000],
] as const

interface Drain {
  readonly drain: SqlContender
  readonly send: SqlContender
  /** How many wait. */
  readonly waiting: string
}

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await createPlainTable(pool)
  for (const queue of ['bench', 'riding']) await pool.query('select name from postbag.create_queue($1)', [queue])
  const boss = await startPgBoss(url)
  const inPostbag = (queue: string) => `
    select count(*)::integer as waiting from postbag.message join postbag.queue using (queue_id) where name = '${queue}'`
  const drains: readonly Drain[] = [
    { drain: plainDrain, send: plainSend, waiting: 'select count(*)::integer as waiting from plain_queue' },
    { drain: postbagDrain('bench'), send: postbagSend(), waiting: inPostbag('bench') },
    {
      drain: postbagRidingDrain('riding'),
      send: postbagSend({ queue: 'riding' }),
      waiting: inPostbag('riding'),
    },
    {
      drain: pgBossDrain(boss),
      send: pgBossSend(boss),
      waiting: `select count(*)::integer as waiting from pgboss.job where name = 'bench' and state < 'active'`,
    },
  ]
  try {
    for (const connections of bench.variants([8, 1, 32])) {
      for (const [batch, mostPerSecond] of bench.variants(batches)) {
        const contenders = connections === 8 ? drains : drains.slice(0, 2)
        const seconds = bench.seconds(1)
        const enough = Math.ceil(mostPerSecond * seconds * 1.25) + 4 * connections * batch
        await bench.inTurn(
          loadOf(batch, connections),
          contenders.map(({ drain, send, waiting }) => ({
            name: drain.name,
            async measure() {
              const { rows } = await pool.query<{ waiting: number }>(waiting)
              const missing = enough - (rows[0]?.waiting ?? 0)
              if (missing > 0) await fill(url, send, missing)
              return measureSql(url, drain, { connections, batch, seconds, untilEmpty: true })
            },
          })),
        )
      }
    }
  } finally {
    await boss.stop()
  }
}
