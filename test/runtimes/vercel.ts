/* What stands before a Vercel function on the platform, on this machine: it makes Requests for the function's handlers, which run here, refuses
 * what is larger than 4.5 MB, and tells of clients that go away. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'

const mostBytes = 4.5 * 1024 * 1024

export async function startVercel(
  fetch: (request: Request) => Promise<Response>,
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const listener = getRequestListener(async (request) => {
    // It is read to its end before the function sees it.
    const body = await request.arrayBuffer()
    if (body.byteLength > mostBytes) return new Response('FUNCTION_PAYLOAD_TOO_LARGE', { status: 413 })
    const { url, method, headers, signal } = request
    return fetch(new Request(url, { method, headers, signal, ...(body.byteLength > 0 && { body }) }))
  })
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections()
      server.close()
    },
  }
}
