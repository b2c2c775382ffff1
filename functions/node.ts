/* Postbag as a Node server. `postbag dev` starts the same with an embedded database. */
import type { ServerResponse } from 'node:http'
import { type ServerType, serve } from '@hono/node-server'
import { refuseOpenDoor } from '../src/config.ts'
import {
  createProcess,
  longestFinishMillis,
  orStop,
  type RunningServer,
  type ServerProcessOptions,
  urlOf,
} from '../src/process.ts'
import { createTransport } from '../src/webhooks/node/transport.ts'

export type { RunningServer as NodeServer, ServerProcessOptions as NodeServerOptions }

/** Start a server; resolves when it listens, rejects if it cannot.
 * @param finishMillis how long its stop() waits at most for what is being answered */
export async function startServer(
  options: ServerProcessOptions,
  finishMillis = longestFinishMillis,
): Promise<RunningServer> {
  const { access, host, port } = options
  refuseOpenDoor(access, host)
  const live = createProcess({ ...options, attempt: createTransport().attempt })

  const listening = Promise.withResolvers<number>()
  const server = serve({ fetch: live.fetch, hostname: host, port }, (address) => listening.resolve(address.port))
  const finish = finisherOf(server, finishMillis)
  server.once('error', listening.reject)
  const realPort = await orStop(live, () => listening.promise)

  return {
    url: urlOf(host, realPort),
    stop: () => live.stop(finish),
  }
}

/** Closes a server: when nothing is being answered any more, or the time is over, also the connections that are left. */
function finisherOf(server: ServerType, finishMillis: number): () => Promise<unknown> {
  const answering = new Set<ServerResponse>()
  let isClosing = false
  const closeRest = () => 'closeAllConnections' in server && server.closeAllConnections()
  server.on('request', (_: unknown, response: ServerResponse) => {
    answering.add(response)
    response.once('close', () => {
      answering.delete(response)
      if (isClosing && answering.size === 0) closeRest()
    })
  })
  return async () => {
    isClosing = true
    const closed = new Promise((resolve) => server.close(resolve))
    if ('closeIdleConnections' in server) server.closeIdleConnections()
    if (answering.size === 0) closeRest()
    const timer = setTimeout(closeRest, finishMillis)
    await closed
    clearTimeout(timer)
  }
}
