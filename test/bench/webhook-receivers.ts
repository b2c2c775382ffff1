/* Receivers of webhooks for the benchmark, on many ports, because a port is a host to who delivers; and endpoints for them. What a receiver does
 * stands in the path: /well, /dead (never answers), /slow (answers after 5 s), /throttled (429, come again in 30 s). */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createSecretBox, newSecret } from '../../src/webhooks/secrets.ts'
import type { Database } from './bench.ts'

/** With which secrets are sealed. */
export const benchKey = Buffer.alloc(32, 1).toString('base64')

export type Manner = 'well' | 'dead' | 'slow' | 'throttled'

const slowMillis = 5000

export interface Receivers {
  /** One after the other, in turn. */
  readonly urls: readonly string[]
  /** Hears of each event that arrives where it is well, before it is answered. */
  onArrival: (body: string) => void
  stop(): void
}

export async function startReceivers(ports: number): Promise<Receivers> {
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    switch (request.url?.slice(1) as Manner) {
      case 'well':
        receivers.onArrival(body)
        return response.end()
      case 'slow':
        return setTimeout(() => response.end(), slowMillis)
      case 'throttled':
        return response.writeHead(429, { 'retry-after': '30' }).end()
      case 'dead':
        return undefined
    }
  }
  const servers = await Promise.all(
    Array.from({ length: ports }, async () => {
      const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()))
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const receivers: Receivers = {
    urls: servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    onArrival: () => {},
    stop() {
      for (const server of servers) {
        server.closeAllConnections()
        server.close()
      }
    },
  }
  return receivers
}

/** Make so many endpoints of an exchange, which is made, at the receivers in turn. They are called after what they do, with a number. */
export async function makeEndpoints(
  { pool }: Database,
  { urls }: Receivers,
  exchange: string,
  manner: Manner,
  count: number,
): Promise<void> {
  await pool.query(`select postbag.declare_exchange($1, type => 'fanout')`, [exchange])
  const box = createSecretBox(benchKey)
  for (let made = 0; made < count; made += 1000) {
    const names = Array.from(
      { length: Math.min(1000, count - made) },
      (_, index) => `${exchange}-${manner}-${made + index}`,
    )
    const sealed = await Promise.all(names.map((name) => box.seal(newSecret(), name)))
    await pool.query(
      `select count(made.name) from unnest($1::text[], $2::text[], $3::text[]) as given (name, url, sealed),
        lateral postbag.set_endpoint(given.name, given.url, $4, secrets => jsonb_build_array(jsonb_build_object('sealed', given.sealed))) as made`,
      [names, names.map((_, index) => `${urls[(made + index) % urls.length]}/${manner}`), sealed, exchange],
    )
  }
}

/** Let all endpoints be as if something had arrived there before. */
export function proveEndpoints({ pool }: Database): Promise<unknown> {
  return pool.query(
    'update postbag.endpoint_health set is_proven = true, is_slow = false, failures = 0, resting_until = null',
  )
}
