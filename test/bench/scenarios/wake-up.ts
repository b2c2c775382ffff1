/* How long a waiting receive takes to learn of a message. */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import type { Bench } from '../bench.ts'
import { listen, notify } from '../contenders/notify.ts'
import { askFor } from '../contenders/postbag-http.ts'
import { body, connectAll } from '../contenders/sql.ts'
import { type HttpConnection, openManyHttp, post } from '../http-load.ts'
import { latencies } from '../measure.ts'
import { startServerProcess } from '../processes/children.ts'

export const title = 'Wake-up'
export const measures =
  'An idle queue on which one receive waits: from the send over HTTP to the answer of the receive, again and again, through one server, and through ' +
  'two (sent to one, waiting at the other). Against a commit (an insert) and then a NOTIFY, heard by another connection.'

/** How long the receive waits before something is sent: for whatever the server does until it is at rest. */
const restMillis = 25

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await pool.query('create table bare (id bigint generated always as identity primary key, body text)')
  for (const queue of ['one', 'two']) await pool.query('select name from postbag.create_queue($1)', [queue])
  const servers = await Promise.all([startServerProcess(url), startServerProcess(url)])
  const [here, there] = servers
  const [sender, waiterHere] = (await openManyHttp(here.url, 2)) as [HttpConnection, HttpConnection]
  const [waiterThere] = (await openManyHttp(there.url, 1)) as [HttpConnection]
  const [listener, notifier] = (await connectAll(url, 2)) as [pg.Client, pg.Client]
  const limit: number[] = []
  const same: number[] = []
  const other: number[] = []
  try {
    const heard = await listen(listener)
    for (let n = bench.count(300, 5); n > 0; n--) {
      limit.push(await commitAndNotify(notifier, heard))
      same.push(await wakeUp(here.url, sender, waiterHere, 'one'))
      other.push(await wakeUp(here.url, sender, waiterThere, 'two'))
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

async function wakeUp(url: string, sender: HttpConnection, waiter: HttpConnection, queue: string): Promise<number> {
  const path = `${url}/v1/queues/${queue}`
  const received = askFor(waiter, post(`${path}/receive`, '{"waitSeconds":20}'), 200)
  await sleep(restMillis)
  const begin = performance.now()
  const sent = askFor(sender, post(`${path}/messages`, `{"body":${body}}`), 201)
  const { messages } = JSON.parse(await received) as { messages: { receipt: string }[] }
  const took = performance.now() - begin
  await sent
  if (messages.length !== 1) throw new Error(`the receive must bring one message, got ${messages.length}`)
  await askFor(waiter, post(`${path}/ack`, JSON.stringify({ receipts: [messages[0]?.receipt] })), 200)
  return took
}

async function commitAndNotify(client: pg.Client, heard: () => Promise<void>): Promise<number> {
  await sleep(restMillis)
  const next = heard()
  const begin = performance.now()
  await client.query({ name: 'insert', text: 'insert into bare (body) values ($1)', values: [body] })
  await notify(client)
  await next
  return performance.now() - begin
}
