/* What a process that lives holds, for any number of requests: a pool with statements by name, sends and acks that share transactions,
 * a hub that the database tells of messages, a deliverer of webhooks, and the app. It opens nothing before a request needs it, but to try LISTEN once. The entries of platforms with
 * such processes (Node, Deno, Bun, Supabase Edge) put their server before it. */
import { coalescing, createApp, errorForLog, type Log } from './app.ts'
import { type AppConfig, refuseUnreadable } from './config.ts'
import { connect, preparing } from './db/connect.ts'
import { allEndpoints, type Hub, type Waiter } from './wakeup/hub.ts'
import { createListenHub } from './wakeup/listen-hub.ts'
import type { Prompter } from './webhooks/deliverer.ts'
import { type Delivering, delivererOf, limitsWithin, oneWaits } from './webhooks/delivering.ts'
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
  /** Keeps a process until work is done that would end before. Where it is given, webhooks are delivered after what has made them due, and
   * when somebody asks for it (/v1/deliver). Defaults to delivering all the time. */
  readonly keepAwake?: ((work: Promise<unknown>) => void) | undefined
  /** One line per request, and one when waiting receives learn of messages in another way than before. Defaults to JSON on standard output. */
  readonly log?: Log
}

/** How long a server that stops waits for what is being answered: 30 s, as long as a statement may take. So long a client can hold it up that does
 * not send the rest of its request, or does not read its answer. */
export const longestFinishMillis = 30_000

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

/** After what made deliveries due, where a process does not deliver all the time. So a first retry is made, too. */
const shortDrainSeconds = 10

/** After that a deliverer looks without being told: an hour. */
const longestRestMillis = 3_600_000

/** @throws Error for an address that cannot be read. */
export function createProcess(options: ProcessOptions): Process {
  const {
    coalesce = true,
    log = (line) => console.log(JSON.stringify(line)),
    maxConnections = 10,
    answerTimeoutMillis = 30_000,
    pingMillis = 15_000,
  } = options
  refuseUnreadable('databaseUrl', options.databaseUrl)
  refuseUnreadable('directUrl', options.directUrl ?? '')
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
  const stopping = new AbortController()
  const delivering = deliver(stopping.signal)
  let stopped: Promise<void> | undefined

  async function stop(finishServer: () => Promise<unknown>): Promise<void> {
    const silent = hub.close()
    stopping.abort()
    await finishServer()
    await Promise.all([silent, ...kept])
    await pool.end()
  }

  function deliver(stopping: AbortSignal): Delivering | undefined {
    const { webhooks, attempt, keepAwake } = options
    const onError = (error: unknown) =>
      log({ time: new Date().toISOString(), level: 'error', webhooks: errorForLog(error) })
    const deliverer = attempt && delivererOf(webhooks, { executor, attempt, onError })
    if (!deliverer) return undefined
    const run: Delivering['run'] = (seconds, waits) =>
      deliverer.drain({ ...limitsWithin((seconds + 60) * 1000, seconds * 1000), waits }, stopping)
    if (!keepAwake) {
      keep(deliverer.run(stopping, prompterAt(hub)))
      return { begin: () => hub.poke(allEndpoints), run }
    }
    const drainSoon = oneWaits((waits) => run(shortDrainSeconds, waits))
    return {
      run,
      begin() {
        const work = drainSoon().catch(onError)
        keep(work)
        keepAwake(work)
      },
    }
  }

  /** What goes on after its answer has begun: a stream. */
  function keep(work: Promise<unknown>): void {
    kept.add(work)
    work.finally(() => kept.delete(work))
  }

  return {
    fetch: (request) => app.fetch(request, { executor, hub, keep, delivering }),
    stop: (finishServer = async () => {}) => (stopped ??= stop(finishServer)),
  }
}

/** What is to serve a process that was just made; if it cannot, the process is stopped: nobody else could. */
export async function orStop<Server>(made: Process, serve: () => Server | Promise<Server>): Promise<Server> {
  try {
    return await serve()
  } catch (error) {
    await made.stop()
    throw error
  }
}

/** A deliverer is told of deliveries as a receive of messages. */
function prompterAt(hub: Hub): Prompter {
  let waiter: Waiter | undefined
  return {
    rest(signal) {
      waiter ??= hub.wait(allEndpoints, 1)
      return waiter.hint(longestRestMillis, signal)
    },
    found() {
      waiter?.leave(1)
      waiter = undefined
    },
  }
}

/** A server's address, as it is written. */
export function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
