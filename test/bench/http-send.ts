/* Single sends over HTTP: 64 connections, one message per request, each answered after its commit. */
import { Agent, request } from 'node:http'
import { startOpenServer } from '../support/open-server.ts'
import { type Measured, measure } from './measure.ts'

const body = JSON.stringify({ body: { event: 'order.created', filling: 'x'.repeat(163) } })

export async function httpSingleSends(
  databaseUrl: string,
  { connections, seconds }: { readonly connections: number; readonly seconds: number },
): Promise<Measured> {
  const server = await startOpenServer(databaseUrl)
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  try {
    const clients = Array.from(
      { length: connections },
      () => () => sendOne(`${server.url}/v1/queues/bench/messages`, agent),
    )
    return await measure(clients, { seconds })
  } finally {
    agent.destroy()
    await server.stop()
  }
}

/** node:http, because fetch costs the measuring side more than the measured one. */
function sendOne(url: string, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const sending = request(
      url,
      { agent, method: 'POST', headers: { 'content-type': 'application/json' } },
      (answer) => {
        answer.resume()
        answer.once('end', () =>
          answer.statusCode === 201 ? resolve(1) : reject(new Error(`status ${answer.statusCode}`)),
        )
      },
    )
    sending.once('error', reject)
    sending.end(body)
  })
}
