/* Postbag as a Node server: one pool, one hub, any number of requests. `postbag dev` starts the same with an embedded database. */
import { serve } from '@hono/node-server'
import { coalescing, createApp, type Log } from '../src/app.ts'
import { type AppConfig, refuseOpenDoor } from '../src/config.ts'
import { connect, preparing } from '../src/db/connect.ts'
import { createListenHub } from '../src/wakeup/listen-hub.ts'

export interface NodeServer {
  /** Where it listens, such as http://127.0.0.1:8787 */
  readonly url: string
  /** Stop accepting, answer the waiting receives, finish what runs, close the pool. */
  stop(): Promise<void>
}

export interface NodeServerOptions extends AppConfig {
  readonly databaseUrl: string
  /** The same database without a transaction pooler in between, to listen on. Defaults to databaseUrl. */
  readonly directUrl?: string | undefined
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  readonly maxConnections?: number
  /** Whether sends and acks that arrive together share a transaction. Defaults to true; false is for comparing. */
  readonly coalesce?: boolean
  /** One line per request, and one when waiting receives learn of messages in another way than before. Defaults to JSON on standard output. */
  readonly log?: Log
}

/** Start a server; resolves when it listens, rejects if it cannot. */
export async function startServer(options: NodeServerOptions): Promise<NodeServer> {
  const {
    host,
    port,
    coalesce = true,
    log = (line) => console.log(JSON.stringify(line)),
    maxConnections = 10,
  } = options
  refuseOpenDoor(options.access, host)
  const pool = connect(options.databaseUrl, { maxConnections })
  const executor = coalesce ? coalescing(preparing(pool)) : preparing(pool)
  const hub = createListenHub({
    url: options.directUrl ?? options.databaseUrl,
    executor,
    say: (wakeUp) => log({ time: new Date().toISOString(), level: 'info', wakeUp }),
  })
  const app = createApp(options, log)

  const listening = Promise.withResolvers<number>()
  const fetch = (request: Request) => app.fetch(request, { executor, hub })
  const server = serve({ fetch, hostname: host, port }, (address) => listening.resolve(address.port))
  server.once('error', listening.reject)
  const realPort = await listening.promise

  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${realPort}`,
    async stop() {
      hub.close()
      const closed = new Promise((resolve) => server.close(resolve))
      if ('closeIdleConnections' in server) server.closeIdleConnections()
      await closed
      await pool.end()
    },
  }
}
