/* Whether it matters how many queues messages are spread over. */
import { type Bench, rates } from '../bench.ts'
import { postbagCycle } from '../contenders/postbag-sql.ts'
import { measureSql } from '../contenders/sql.ts'
import { medianRatio } from '../measure.ts'

export const title = 'Queues'
export const measures =
  'Full cycle in SQL, batch 10, 8 connections: each round in a queue drawn at random out of so many; a database of its own for each.'

export async function run(bench: Bench): Promise<void> {
  const runners = []
  for (const queues of [1, 10_000]) {
    const count = queues === 1 ? 1 : bench.count(queues, 2)
    const database = await bench.database(`queues_${queues}`, async ({ pool }) => {
      await pool.query(`select count(*) from generate_series(0, $1 - 1) as n, postbag.create_queue('queue-' || n)`, [
        count,
      ])
    })
    const cycle = postbagCycle({ nextQueue: () => `queue-${Math.floor(Math.random() * count)}` })
    runners.push({
      name: `${queues.toLocaleString('en')} queue${queues > 1 ? 's' : ''}`,
      measure: () => measureSql(database.url, cycle, { connections: 8, batch: 10, seconds: bench.seconds(2.5) }),
    })
  }
  const [one, many] = await bench.inTurn('batch 10, 8 connections', runners)
  bench.mustHold('10,000 queues against one', 'at least', 0.85, medianRatio(rates(many), rates(one)))
}
