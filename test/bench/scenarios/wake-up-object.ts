/* How long a waiting receive of a Worker takes to learn of a message, by its Durable Object or by looking. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import { signToken } from '../../../src/http/token.ts'
import { startWorker } from '../../runtimes/workerd.ts'
import type { Bench } from '../bench.ts'
import { commitAndNotify, createBareTable, listen } from '../contenders/notify.ts'
import { body, connectAll } from '../contenders/sql.ts'
import { latencies } from '../measure.ts'

export const title = 'Wake-up on Workers'
export const measures =
  'An idle queue on which one receive of a Worker (in workerd) waits: from the send to the answer of the receive, sent in SQL or through the ' +
  'Worker, with the Durable Object and without. Against a commit (an insert) and then a NOTIFY, heard by another connection.'

const entry = fileURLToPath(new URL('../../../functions/cloudflare.ts', import.meta.url))
const secret = 'a secret of thirty-two characters'

/** How long the receive waits before something is sent: for its first look, and whatever the object does until it is at rest; and then any
 * part of the pause between two looks. */
const restMillis = () => 150 + Math.random() * 500

type Send = () => Promise<unknown>
type Ask = (path: string, json: string) => Promise<string>

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await createBareTable(pool)
  await pool.query(`select name from postbag.create_queue('bench')`)
  const vars = { POSTBAG_SECRET: secret, DATABASE_DIRECT_URL: url }
  const told = await startWorker(entry, url, { vars, hub: true, onLog: () => {} })
  const polls = await startWorker(entry, url, { vars, onLog: () => {} })
  const [listener, notifier] = (await connectAll(url, 2)) as [pg.Client, pg.Client]
  const authorization = `Bearer ${await signToken(secret, { scopes: ['admin'], now: new Date() })}`
  const asking =
    (base: string): Ask =>
    async (path, json) => {
      const headers = { authorization, 'content-type': 'application/json' }
      const answer = await fetch(`${base}/v1/queues/bench/${path}`, { method: 'POST', headers, body: json })
      if (!answer.ok) throw new Error(await answer.text())
      return answer.text()
    }
  const [askTold, askPolls] = [asking(told.url), asking(polls.url)]
  const inSql: Send = () => notifier.query(`select postbag.send('bench', $1)`, [body])
  const through =
    (ask: Ask): Send =>
    () =>
      ask('messages', `{"body":${body}}`)
  const ways = [
    { name: 'Durable Object, sent in SQL', receive: askTold, send: inSql, values: [] as number[] },
    {
      name: 'Durable Object, sent through the Worker',
      receive: askTold,
      send: through(askTold),
      values: [] as number[],
    },
    { name: 'without, sent through the Worker', receive: askPolls, send: through(askPolls), values: [] as number[] },
  ]
  const limit: number[] = []
  try {
    const heard = await listen(listener)
    for (let n = bench.count(100, 2); n > 0; n--) {
      limit.push(await commitAndNotify(notifier, heard))
      for (const { receive, send, values } of ways) values.push(await wakeUp(receive, send))
    }
  } finally {
    await Promise.all([listener.end(), notifier.end(), told.stop(), polls.stop()])
  }

  const bare = latencies(limit)
  for (const { name, values } of [{ name: 'a commit and a NOTIFY', values: limit }, ...ways]) {
    const { p50, p99 } = latencies(values)
    const ratio = p50 / bare.p50
    bench.note({ part: 'latency', contender: name, unit: 'ms', values: [p50], p50Millis: p50, p99Millis: p99, ratio })
  }
}

async function wakeUp(ask: Ask, send: Send): Promise<number> {
  const received = ask('receive', '{"waitSeconds":20,"autoAck":true}')
  await sleep(restMillis())
  const begin = performance.now()
  const sent = send()
  const { messages } = JSON.parse(await received) as { messages: unknown[] }
  const took = performance.now() - begin
  await sent
  if (messages.length !== 1) throw new Error(`the receive must bring one message, got ${messages.length}`)
  return took
}
