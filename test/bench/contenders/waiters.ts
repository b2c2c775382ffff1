/* Receives that wait: long polls through one server, each asked again when it comes back empty. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type HttpConnection, openManyHttp, post } from '../http-load.ts'
import { askFor } from './postbag-http.ts'

export interface Waiters {
  /** Leave; what they were waiting for stays. */
  stop(): void
}

export async function waitIdly(url: string, queue: string, count: number): Promise<Waiters> {
  const connections = await openManyHttp(url, count)
  const request = post(`${url}/v1/queues/${queue}/receive`, '{"waitSeconds":20}')
  let over = false
  for (const connection of connections) {
    const ask = async () => {
      while (!over) await askFor(connection, request, 200)
    }
    ask().catch((error) => {
      if (!over) console.error(error)
    })
  }
  return {
    stop() {
      over = true
      for (const connection of connections) connection.close()
    },
  }
}

/** How long a receive waits before something is sent: for whatever the server does until it is at rest. */
export const restMillis = 25

/** From the beginning of `send`, which sends one message, to the answer of a receive that waits for it, in milliseconds. It is acked.
 * @param prepare is done while the receive waits, before the clock starts. */
export async function untilReceived(
  url: string,
  waiter: HttpConnection,
  queue: string,
  send: () => Promise<unknown>,
  prepare = async () => {},
): Promise<number> {
  const path = `${url}/v1/queues/${queue}`
  const received = askFor(waiter, post(`${path}/receive`, '{"waitSeconds":20}'), 200)
  await sleep(restMillis)
  await prepare()
  const begin = performance.now()
  const sent = send()
  const { messages } = JSON.parse(await received) as { messages: { receipt: string }[] }
  const took = performance.now() - begin
  await sent
  if (messages.length !== 1) throw new Error(`the receive must bring one message, got ${messages.length}`)
  await askFor(waiter, post(`${path}/ack`, JSON.stringify({ receipts: [messages[0]?.receipt] })), 200)
  return took
}
