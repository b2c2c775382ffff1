/* Postbag as a Node server. `postbag dev` starts the same with an embedded database. */
import { serve } from '@hono/node-server'
import { refuseOpenDoor } from '../src/config.ts'
import { createProcess, type RunningServer, type ServerProcessOptions, urlOf } from '../src/process.ts'
import { createTransport } from '../src/webhooks/node/transport.ts'

export type { RunningServer as NodeServer, ServerProcessOptions as NodeServerOptions }

/** Start a server; resolves when it listens, rejects if it cannot. */
export async function startServer(options: ServerProcessOptions): Promise<RunningServer> {
  const { access, host, port } = options
  refuseOpenDoor(access, host)
  const { fetch, stop } = createProcess({ ...options, attempt: createTransport().attempt })

  const listening = Promise.withResolvers<number>()
  const server = serve({ fetch, hostname: host, port }, (address) => listening.resolve(address.port))
  server.once('error', listening.reject)
  const realPort = await listening.promise.catch(async (error) => {
    await stop()
    throw error
  })

  return {
    url: urlOf(host, realPort),
    stop: () =>
      stop(() => {
        const closed = new Promise((resolve) => server.close(resolve))
        if ('closeIdleConnections' in server) server.closeIdleConnections()
        return closed
      }),
  }
}
