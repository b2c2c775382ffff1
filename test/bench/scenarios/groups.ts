/* What ordered groups cost. */
import { type Bench, rates } from '../bench.ts'
import { filledQueue } from '../contenders/fill.ts'
import { postbagCycle } from '../contenders/postbag-sql.ts'
import { measureSql } from '../contenders/sql.ts'
import { medianRatio } from '../measure.ts'

export const title = 'Groups'
export const measures =
  'Full cycle in SQL, 8 connections, messages in groups drawn at random, against a queue without groups where 1,000,000 messages wait; a database of ' +
  'its own for each. (Of one group only one consumer at a time has messages.)'

const kinds = [
  { groups: 10_000, backlog: 1_000_000 },
  { groups: 100_000, backlog: 100_000 },
  { groups: 1, backlog: 0 },
]

export async function run(bench: Bench): Promise<void> {
  const { url } = await bench.sharedDatabase('million', filledQueue(bench, 1_000_000))
  const contenders = [{ name: 'no groups, 1,000,000 wait', url, cycle: postbagCycle() }]
  for (const { groups, backlog } of kinds) {
    const database = await bench.database(`groups_${groups}`, filledQueue(bench, backlog, groups))
    contenders.push({
      name: `${groups.toLocaleString('en')} group${groups > 1 ? 's' : ''}, ${backlog.toLocaleString('en')} wait`,
      url: database.url,
      cycle: postbagCycle({ groups }),
    })
  }
  for (const batch of bench.variants([1, 10, 100])) {
    const [without, tenThousand] = await bench.inTurn(
      `batch ${batch}, 8 connections`,
      contenders.map(({ name, url, cycle }) => ({
        name,
        measure: () => measureSql(url, cycle, { connections: 8, batch, seconds: bench.seconds(1.5) }),
      })),
    )
    const what = `10,000 groups with a backlog of 1,000,000 against no groups with it, batch ${batch}`
    bench.mustHold(what, 'at least', 0.5, medianRatio(rates(tenThousand), rates(without)))
  }
}
