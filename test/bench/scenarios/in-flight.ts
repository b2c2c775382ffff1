/* Whether messages in flight slow the queue down. */
import { type Bench, type Database, rates } from '../bench.ts'
import { fill } from '../contenders/fill.ts'
import { postbagCycle, postbagSend } from '../contenders/postbag-sql.ts'
import { measureSql } from '../contenders/sql.ts'
import { medianRatio } from '../measure.ts'

export const title = 'In flight'
export const measures =
  'Full cycle in SQL, batch 10, 8 connections, in a queue of which so many messages are leased for an hour; a database of its own for each.'

export async function run(bench: Bench): Promise<void> {
  const runners = []
  for (const inFlight of [0, 10_000, 100_000]) {
    const database = await bench.database(`in_flight_${inFlight}`, leased(bench, inFlight))
    runners.push({
      name: `${inFlight.toLocaleString('en')} in flight`,
      measure: () =>
        measureSql(database.url, postbagCycle(), { connections: 8, batch: 10, seconds: bench.seconds(2.5) }),
    })
  }
  const [none, some, many] = await bench.inTurn('batch 10, 8 connections', runners)
  bench.mustHold('10,000 in flight against none', 'at least', 0.85, medianRatio(rates(some), rates(none)))
  bench.mustHold('100,000 in flight against none', 'at least', 0.85, medianRatio(rates(many), rates(none)))
}

function leased(bench: Bench, inFlight: number) {
  return async ({ url, pool }: Database) => {
    await pool.query(`select name from postbag.create_queue('bench')`)
    if (inFlight === 0) return
    const wanted = bench.count(inFlight, 10)
    await fill(url, postbagSend(), wanted)
    for (let left = wanted; left > 0; left -= 1000) {
      await pool.query(`select id from postbag.receive('bench', $1, lease => '1 h')`, [Math.min(left, 1000)])
    }
  }
}
