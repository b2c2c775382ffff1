/* Full cycle in SQL, against the queue that people write by hand. */
import type { Bench } from '../bench.ts'
import { rates } from '../bench.ts'
import { bareCycle, bareRidingCycle, createBareTable } from '../contenders/bare.ts'
import { createPlainTable, plainCycle } from '../contenders/plain-table.ts'
import { postbagCycle, postbagRidingCycle } from '../contenders/postbag-sql.ts'
import { loadOf, measureSql } from '../contenders/sql.ts'
import { medianRatio } from '../measure.ts'

export const title = 'Full cycle in SQL'
export const measures =
  'Each connection sends n messages of 200 bytes, receives n and acks them. "acks ride" acks with the next receive, in one statement. ' +
  'The bare statements are what a row per message costs at the very least; nobody could use such a queue.'

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await createPlainTable(pool)
  await createBareTable(pool)
  await pool.query(`select name from postbag.create_queue('bench')`)

  for (const connections of bench.variants([8, 1, 32])) {
    const users = [plainCycle(), postbagCycle(), postbagRidingCycle()]
    const limits = [plainCycle({ isPrepared: true }), bareCycle, bareRidingCycle]
    const contenders = connections === 8 ? [...users, ...limits] : users
    const seconds = bench.seconds(connections === 8 ? 1.6 : 0.9)
    for (const batch of bench.variants([1, 10, 100])) {
      const [plain, three, riding] = await bench.inTurn(
        loadOf(batch, connections),
        contenders.map((contender) => ({
          name: contender.name,
          measure: () => measureSql(url, contender, { connections, batch, seconds }),
        })),
      )
      if (connections !== 8) continue
      const what = `full cycle in SQL, batch ${batch}, 8 connections, against the plain table`
      bench.mustHold(what, 'at least', 1.8, medianRatio(rates(three), rates(plain)))
      bench.mustHold(`${what}: acks ride`, 'at least', 1.8, medianRatio(rates(riding), rates(plain)))
    }
  }
}
