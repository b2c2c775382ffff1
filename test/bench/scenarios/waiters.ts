/* What idle waiters cost the senders. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bench, rates } from '../bench.ts'
import { postbagSend } from '../contenders/postbag-sql.ts'
import { measureSql, type SqlContender } from '../contenders/sql.ts'
import { waitIdly } from '../contenders/waiters.ts'
import { medianRatio } from '../measure.ts'
import { startServerProcess } from '../processes/children.ts'

export const title = 'Senders beside idle waiters'
export const measures =
  'Sends in SQL, one at a time, 8 connections, while so many receives wait on the same queue through one server. The messages are delayed by an ' +
  'hour, so that no receive is ever satisfied. For comparison, the same with a NOTIFY in each.'

const waiters = 100

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  for (const queue of ['lonely', 'awaited']) await pool.query('select name from postbag.create_queue($1)', [queue])
  const server = await startServerProcess(url)
  const waiting = await waitIdly(server.url, 'awaited', bench.count(waiters, 5))
  try {
    // Until all of them have looked, and wait.
    await sleep(bench.seconds(2000))
    const load = { connections: 8, batch: 1, seconds: bench.seconds(3) }
    const delayed = { fields: '"delaySeconds":3600' }
    const runner = (name: string, contender: SqlContender) => ({
      name,
      measure: () => measureSql(url, contender, load),
    })
    const [alone, awaited] = await bench.inTurn('batch 1, 8 connections', [
      runner('nobody waits', postbagSend({ queue: 'lonely', ...delayed })),
      runner(`${waiters} wait`, postbagSend({ queue: 'awaited', ...delayed })),
      runner('nobody waits, a NOTIFY in each', postbagSend({ queue: 'lonely', notifies: true, ...delayed })),
    ])
    const ratio = medianRatio(rates(awaited), rates(alone))
    bench.mustHold(`send rate with ${waiters} idle waiters on the same queue, against none`, 'at least', 0.8, ratio)
  } finally {
    waiting.stop()
    await server.stop()
  }
}
