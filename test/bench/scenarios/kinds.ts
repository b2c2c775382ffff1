/* What the kinds of queues cost, against a plain one. */
import type { Bench } from '../bench.ts'
import { fill } from '../contenders/fill.ts'
import { postbagCycle, postbagSend } from '../contenders/postbag-sql.ts'
import { measureSql } from '../contenders/sql.ts'

export const title = 'Kinds of queues'
export const measures =
  'Full cycle in SQL, 8 connections, in queues with other settings, against one with the defaults.'

/** Messages that wait in the fair queue. */
const backlog = 100_000

const kinds = [
  { name: 'a plain queue', queue: 'plain', settings: '' },
  { name: 'durability relaxed', queue: 'relaxed', settings: `, durability => 'relaxed'` },
  { name: 'durability volatile', queue: 'volatile', settings: `, durability => 'volatile'` },
  {
    name: `fair, 100 groups, ${backlog.toLocaleString('en')} wait`,
    queue: 'fair',
    settings: `, group_mode => 'fair'`,
    groups: 100,
  },
  {
    name: 'all its limits set, none reached',
    queue: 'limited',
    settings: ', max_messages => 1000000, max_in_flight => 100000, rate => 1000000',
  },
]

export async function run(bench: Bench): Promise<void> {
  const { url } = await bench.database('main', async ({ url, pool }) => {
    for (const { queue, settings, groups } of kinds) {
      await pool.query(`select name from postbag.create_queue($1 ${settings})`, [queue])
      if (groups !== undefined) await fill(url, postbagSend({ queue, groups }), bench.count(backlog, 100))
    }
  })
  for (const batch of bench.variants([1, 10, 100])) {
    await bench.inTurn(
      `batch ${batch}, 8 connections`,
      kinds.map(({ name, queue, groups }) => ({
        name,
        measure: () =>
          measureSql(url, postbagCycle({ queue, groups }), { connections: 8, batch, seconds: bench.seconds(1) }),
      })),
    )
  }
}
