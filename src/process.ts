/* What a process that lives holds, for any number of requests: a pool with statements by name, sends and acks that share transactions,
 * a hub that the database tells of messages, a deliverer of webhooks, and the app. It opens nothing before a request needs it, but to try LISTEN once. The entries of platforms with
 * such processes (Node, Deno, Bun, Supabase Edge) put their server before it. */
import { coalescing, createApp, type Log } from './app.ts'
import type { AppConfig } from './config.ts'
import { connect, preparing } from './db/connect.ts'
import { createListenHub } from './wakeup/listen-hub.ts'
import { webhookConfig } from './webhooks/config.ts'
import { createDeliverer } from './webhooks/deliverer.ts'
import type { Attempt } from './webhooks/outcome.ts'

export interface ProcessOptions extends AppConfig {
  readonly databaseUrl: string
  /** The same database without a transaction pooler in between, to listen on. Defaults to databaseUrl. */
  readonly directUrl?: string | undefined
  readonly maxConnections?: number
  /** How long a request waits for the answer to a statement, in milliseconds (db/connect.ts says what that means). Defaults to 30,000. */
  readonly answerTimeoutMillis?: number
  /** How often the connection that listens is pinged while somebody waits, in milliseconds. Defaults to 15,000. */
  readonly pingMillis?: number
  /** Whether sends and acks that arrive together share a transaction. Defaults to true; false is for comparing. */
  readonly coalesce?: boolean
  /** What sends the requests of webhooks (src/webhooks/node/), if there are settings for them. Defaults to sending none: another process does. */
  readonly attempt?: Attempt
  /** One line per request, and one when waiting receives learn of messages in another way than before. Defaults to JSON on standard output. */
  readonly log?: Log
}

/** A server process: where it listens, and the same on every platform. */
export interface ServerProcessOptions extends ProcessOptions {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
}

export interface RunningServer {
  /** Where it listens, such as http://127.0.0.1:8787 */
  readonly url: string
  /** Stop accepting, answer the waiting receives, end the streams, finish what runs, close the pool. */
  stop(): Promise<void>
}

export interface Process {
  fetch(request: Request): Response | Promise<Response>
  /** Stop in order: answer the waiting receives, then wait until the platform's server has finished what runs, then close the pool.
   * Asked again, it is the same stop. */
  stop(finishServer?: () => Promise<unknown>): Promise<void>
}

export function createProcess(options: ProcessOptions): Process {
  const {
    coalesce = true,
    log = (line) => console.log(JSON.stringify(line)),
    maxConnections = 10,
    answerTimeoutMillis = 30_000,
    pingMillis = 15_000,
  } = options
  const pool = connect(options.databaseUrl, { maxConnections, answerTimeoutMillis })
  const executor = coalesce ? coalescing(preparing(pool)) : preparing(pool)
  const hub = createListenHub({
    url: options.directUrl ?? options.databaseUrl,
    executor,
    pingMillis,
    say: (wakeUp) => log({ time: new Date().toISOString(), level: 'info', wakeUp }),
  })
  const app = createApp(options, log)
  const kept = new Set<Promise<unknown>>()
  const delivering = new AbortController()
  const delivered = deliver(delivering.signal)
  let stopped: Promise<void> | undefined

  async function stop(finishServer: () => Promise<unknown>): Promise<void> {
    const silent = hub.close()
    delivering.abort()
    await finishServer()
    await Promise.all([silent, delivered, ...kept])
    await pool.end()
  }

  async function deliver(stopping: AbortSignal): Promise<void> {
    const webhooks = webhookConfig(options.webhooks)
    if (!webhooks || !options.attempt) return
    const onError = (error: unknown) =>
      log({ time: new Date().toISOString(), level: 'error', webhooks: (error as Error).stack })
    const { box, policy } = webhooks
    await createDeliverer({ executor, attempt: options.attempt, open: box.open, policy, onError }).run(stopping)
  }

  /** What goes on after its answer has begun: a stream. */
  function keep(work: Promise<unknown>): void {
    kept.add(work)
    work.finally(() => kept.delete(work))
  }

  return {
    fetch: (request) => app.fetch(request, { executor, hub, keep }),
    stop: (finishServer = async () => {}) => (stopped ??= stop(finishServer)),
  }
}

/** A server's address, as it is written. */
export function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
