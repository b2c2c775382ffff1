/* What it costs that many wait: memory, and the time until the first of them is answered. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../bench.ts'
import { askFor } from '../contenders/postbag-http.ts'
import { body } from '../contenders/sql.ts'
import { type HttpConnection, openManyHttp, post } from '../http-load.ts'
import { latencies } from '../measure.ts'
import { startServerProcess } from '../processes/children.ts'

export const title = 'Many waiters'
export const measures =
  'So many receives wait on one queue through one server, each on a connection of its own: from a send over HTTP to the answer of one of them, ' +
  'which acks and waits again; how many connections of the database they take; and how much more memory the server holds than before.'

/** Between a message and the next: for whatever the server does until it is at rest. */
const restMillis = 25

export async function run(bench: Bench): Promise<void> {
  const { url, pool } = await bench.database()
  await pool.query(`select name from postbag.create_queue('bench')`)
  for (const full of [1, 100, 10_000]) {
    const waiters = full === 1 ? 1 : bench.count(full)
    const server = await startServerProcess(url)
    const before = await server.memory()
    const [sender] = (await openManyHttp(server.url, 1)) as [HttpConnection]
    const waiting = await waitForMessages(server.url, waiters)
    try {
      // Until all of them have looked, and wait.
      await sleep(bench.seconds(500 + waiters))
      const { rows } = await pool.query<{ listening: number }>(
        `select count(*)::integer as listening from pg_stat_activity
        where application_name = 'postbag listen' and datname = current_database()`,
      )
      const bytes = (await server.memory()) - before
      const send = post(`${server.url}/v1/queues/bench/messages`, `{"body":${body}}`)
      const times: number[] = []
      for (let n = bench.count(200, 5); n > 0; n--) {
        await sleep(restMillis)
        const begin = performance.now()
        const [received] = await Promise.all([waiting.next(), askFor(sender, send, 201)])
        times.push(received - begin)
      }
      const { p50, p99 } = latencies(times)
      const part = `${waiters} wait`
      bench.note({ part, contender: 'send to answer', unit: 'ms', values: [p50], p50Millis: p50, p99Millis: p99 })
      bench.note({ part, contender: 'listening connections', unit: '', values: [rows[0]?.listening ?? Number.NaN] })
      bench.note({ part, contender: 'memory', unit: 'MB', values: [Math.max(bytes, 0) / 1e6] })
    } finally {
      waiting.stop()
      sender.close()
      await server.stop()
    }
  }
}

/** `next` resolves with the moment at which one of them got a message. */
async function waitForMessages(url: string, count: number) {
  const connections = await openManyHttp(url, count)
  const path = `${url}/v1/queues/bench`
  const receive = post(`${path}/receive`, '{"waitSeconds":20}')
  let answered = (_moment: number) => {}
  let over = false
  const wait = async (connection: HttpConnection) => {
    while (!over) {
      const text = await askFor(connection, receive, 200)
      const moment = performance.now()
      const { messages } = JSON.parse(text) as { messages: { receipt: string }[] }
      if (messages.length === 0) continue
      await askFor(connection, post(`${path}/ack`, JSON.stringify({ receipts: [messages[0]?.receipt] })), 200)
      answered(moment)
    }
  }
  for (const connection of connections) {
    wait(connection).catch((error) => {
      if (!over) console.error(error)
    })
  }
  return {
    next: () =>
      new Promise<number>((resolve) => {
        answered = resolve
      }),
    stop() {
      over = true
      for (const connection of connections) connection.close()
    },
  }
}
