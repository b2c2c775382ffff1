/* How long a waiting receive takes to learn of a message. */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import type { Bench } from '../bench.ts'
import { commitAndNotify, createBareTable, listen } from '../contenders/notify.ts'
import { askFor } from '../contenders/postbag-http.ts'
import { body, connectAll } from '../contenders/sql.ts'
import { restMillis, untilReceived } from '../contenders/waiters.ts'
import { type HttpConnection, openManyHttp, post } from '../http-load.ts'
import { latencies } from '../measure.ts'
import { startServerProcess } from '../processes/children.ts'

export const title = 'Wake-up'
export const measures =
  'An idle queue on which one receive waits: from the send over HTTP to the answer of the receive, again and again, through one server, and through ' +
  'two (sent to one, waiting at the other). Against a commit (an insert) and then a NOTIFY, heard by another connection.'

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await createBareTable(pool)
  for (const queue of ['one', 'two']) await pool.query('select name from postbag.create_queue($1)', [queue])
  const servers = await Promise.all([startServerProcess(url), startServerProcess(url)])
  const [here, there] = servers
  const [sender, waiterHere] = (await openManyHttp(here.url, 2)) as [HttpConnection, HttpConnection]
  const [waiterThere] = (await openManyHttp(there.url, 1)) as [HttpConnection]
  const [listener, notifier] = (await connectAll(url, 2)) as [pg.Client, pg.Client]
  const send = (queue: string) => () =>
    askFor(sender, post(`${here.url}/v1/queues/${queue}/messages`, `{"body":${body}}`), 201)
  const limit: number[] = []
  const same: number[] = []
  const other: number[] = []
  try {
    const heard = await listen(listener)
    for (let n = bench.count(300, 5); n > 0; n--) {
      await sleep(restMillis)
      limit.push(await commitAndNotify(notifier, heard))
      same.push(await untilReceived(here.url, waiterHere, 'one', send('one')))
      other.push(await untilReceived(there.url, waiterThere, 'two', send('two')))
    }
  } finally {
    for (const connection of [sender, waiterHere, waiterThere]) connection.close()
    await Promise.all([listener.end(), notifier.end(), ...servers.map((server) => server.stop())])
  }

  const times = [
    { name: 'a commit and a NOTIFY', values: limit },
    { name: 'Postbag, one server', values: same },
    { name: 'Postbag, two servers', values: other },
  ].map(({ name, values }) => ({ name, ...latencies(values) }))
  const bare = times[0] ?? { p50: Number.NaN, p99: Number.NaN }
  for (const { name, p50, p99 } of times) {
    const ratio = p50 / bare.p50
    bench.note({ part: 'latency', contender: name, unit: 'ms', values: [p50], p50Millis: p50, p99Millis: p99, ratio })
    if (!name.startsWith('Postbag')) continue
    bench.mustHold(`wake-up, ${name}, p50 against a NOTIFY round trip and a commit`, 'at most', 3, ratio)
    bench.mustHold(`wake-up, ${name}, p99 against that`, 'at most', 10, p99 / bare.p99)
  }
}
