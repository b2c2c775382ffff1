/* Whether a backlog slows the queue down. */
import { type Bench, rates } from '../bench.ts'
import { filledQueue } from '../contenders/fill.ts'
import { postbagCycle } from '../contenders/postbag-sql.ts'
import { measureSql } from '../contenders/sql.ts'
import { medianRatio } from '../measure.ts'

export const title = 'Backlog'
export const measures =
  'Full cycle in SQL, batch 10, 8 connections, in a queue where so many messages wait already; a database of its own for each.'

export async function run(bench: Bench): Promise<void> {
  const databases = [
    { name: 'nothing waits', database: await bench.database('empty', filledQueue(bench, 0)) },
    { name: '100,000 wait', database: await bench.database('some', filledQueue(bench, 100_000)) },
    { name: '1,000,000 wait', database: await bench.sharedDatabase('million', filledQueue(bench, 1_000_000)) },
  ]
  const [none, some, million] = await bench.inTurn(
    'batch 10, 8 connections',
    databases.map(({ name, database }) => ({
      name,
      measure: () =>
        measureSql(database.url, postbagCycle(), { connections: 8, batch: 10, seconds: bench.seconds(2.5) }),
    })),
  )
  bench.mustHold('backlog of 100,000 against none', 'at least', 0.85, medianRatio(rates(some), rates(none)))
  bench.mustHold('backlog of 1,000,000 against none', 'at least', 0.85, medianRatio(rates(million), rates(none)))
}
