/* Postbag over HTTP, from light connections. */
import { type HttpConnection, openManyHttp, post } from '../http-load.ts'
import { type Measured, type MeasureOptions, measure } from '../measure.ts'
import { body } from './sql.ts'

/** Single sends. */
export async function httpSends(url: string, connections: number, options: MeasureOptions): Promise<Measured> {
  const request = post(`${url}/v1/queues/bench/messages`, `{"body":${body}}`)
  return withConnections(url, connections, options, (connection) => async () => {
    await askFor(connection, request, 201)
    return 1
  })
}

/** Send a batch, receive one, ack it: three requests. */
export function httpCycles(
  url: string,
  connections: number,
  batch: number,
  options: MeasureOptions,
): Promise<Measured> {
  const queue = `${url}/v1/queues/bench`
  const send = post(`${queue}/messages`, `{"messages":[${new Array(batch).fill(`{"body":${body}}`).join(',')}]}`)
  const receive = post(`${queue}/receive`, `{"max":${batch}}`)
  return withConnections(url, connections, options, (connection) => async () => {
    await askFor(connection, send, 201)
    const { messages } = JSON.parse(await askFor(connection, receive, 200)) as { messages: { receipt: string }[] }
    if (messages.length === 0) return 0
    const receipts = messages.map(({ receipt }) => receipt)
    await askFor(connection, post(`${queue}/ack`, JSON.stringify({ receipts })), 200)
    return receipts.length
  })
}

/** The answer's text; rejects if it has another status. */
export async function askFor(connection: HttpConnection, request: Buffer, status: number): Promise<string> {
  const answer = await connection.ask(request)
  if (answer.status !== status) throw new Error(`status must be ${status}, got ${answer.status}: ${answer.text}`)
  return answer.text
}

async function withConnections(
  url: string,
  count: number,
  options: MeasureOptions,
  work: (connection: HttpConnection) => () => Promise<number>,
): Promise<Measured> {
  const connections = await openManyHttp(url, count)
  try {
    return await measure(connections.map(work), options)
  } finally {
    for (const connection of connections) connection.close()
  }
}
