/* How long a waiting receive takes to learn of a message that was sent in a transaction of somebody's own. */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import type { Bench } from '../bench.ts'
import { commitAndNotify, createBareTable, listen } from '../contenders/notify.ts'
import { connectAll } from '../contenders/sql.ts'
import { restMillis, untilReceived } from '../contenders/waiters.ts'
import { type HttpConnection, openManyHttp } from '../http-load.ts'
import { latencies } from '../measure.ts'
import { startServerProcess } from '../processes/children.ts'

export const title = 'Outbox'
export const measures =
  'An idle queue on which one receive waits over HTTP: from the commit of a transaction that has called postbag.send to the answer, again and ' +
  'again; and the same when another transaction, which has sent to the same queue, has been open for a minute. Against a commit (an ' +
  'insert) and then a NOTIFY, heard by another connection.'

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await createBareTable(pool)
  await pool.query(`select name from postbag.create_queue('bench')`)
  const server = await startServerProcess(url)
  const [waiter] = (await openManyHttp(server.url, 1)) as [HttpConnection]
  const [listener, notifier, sender, holder] = (await connectAll(url, 4)) as [
    pg.Client,
    pg.Client,
    pg.Client,
    pg.Client,
  ]
  try {
    const heard = await listen(listener)
    const untilAnswered = () =>
      untilReceived(
        server.url,
        waiter,
        'bench',
        () => sender.query('commit'),
        () => sendUncommitted(sender),
      )
    const measureRounds = async (part: string) => {
      const limit: number[] = []
      const own: number[] = []
      for (let n = bench.count(300, 5); n > 0; n--) {
        await sleep(restMillis)
        limit.push(await commitAndNotify(notifier, heard))
        own.push(await untilAnswered())
      }
      note(bench, part, latencies(limit), latencies(own))
    }
    await measureRounds('as usual')

    await sendUncommitted(holder)
    const opened = performance.now()
    const minute = bench.seconds(60) * 1000
    bench.say('a transaction that has sent stays open')
    while (performance.now() - opened < minute) await untilAnswered()
    await measureRounds('a transaction open for a minute')
    await holder.query('rollback')
  } finally {
    waiter.close()
    await Promise.all([...[listener, notifier, sender, holder].map((client) => client.end()), server.stop()])
  }
}

async function sendUncommitted(client: pg.Client): Promise<void> {
  await client.query('begin')
  await client.query({ name: 'send', text: `select postbag.send('bench', '{"order": 1}')` })
}

type Latencies = ReturnType<typeof latencies>

function note(bench: Bench, part: string, bare: Latencies, own: Latencies): void {
  const ratio = own.p50 / bare.p50
  const figure = ({ p50, p99 }: Latencies) => ({ part, unit: 'ms', values: [p50], p50Millis: p50, p99Millis: p99 })
  bench.note({ contender: 'a commit and a NOTIFY', ...figure(bare) })
  bench.note({ contender: 'Postbag, commit to answer', ...figure(own), ratio })
  bench.mustHold(`outbox, ${part}, p50 against a NOTIFY round trip and a commit`, 'at most', 3, ratio)
}
