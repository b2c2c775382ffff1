/* Postbag as a Cloudflare Worker. wrangler.toml says how to deploy it. The platform's rules, and how they are kept:
 *
 *  1. A connection belongs to the request that opened it; in the hands of another it hangs. So each request has its own pool of one
 *     (of six that the platform allows), which connects with the first query: a request that is refused opens nothing.
 *  2. When the client goes away, all that runs for it is cut at once, perhaps between a claim and giving it back. So it is held until
 *     it is done (waitUntil), a stream until its end, and the request's signal (flag enable_request_signal) ends a wait.
 *  3. Hyperdrive answers from a cache what looks like a read, for 60 s. So caching must be off in its configuration, which the first
 *     statement of an isolate finds out (db/uncached.ts); and should it be on all the same, every statement names clock_timestamp(),
 *     whose answers are not cached (test/functions/hyperdrive.test.ts).
 *  4. Hyperdrive gives each transaction any session. So nothing listens through it: a Durable Object does, on a connection of its own
 *     (wakeup/durable-object.ts). (It would know prepared statements by name; but a connection that lives for one request has nothing to
 *     prepare for.) */
import { createApp, type Door, errorForLog, maintainFirst, notConfigured } from '../src/app.ts'
import { hubSettings, tokenAccess } from '../src/config.ts'
import { connect, type Executor } from '../src/db/connect.ts'
import { createCacheRefusal } from '../src/db/uncached.ts'
import type { HubEnv } from '../src/wakeup/durable-object.ts'
import type { Hub } from '../src/wakeup/hub.ts'
import { createPollHub } from '../src/wakeup/poll-hub.ts'
import { createRemoteHub, type HubNamespace } from '../src/wakeup/remote-hub.ts'
import { settingsOf, type WebhookEnv, workerDelivering } from '../src/webhooks/worker.ts'

/** The classes of the bindings HUB and WEBHOOKS. */
export { WakeupHub } from '../src/wakeup/durable-object.ts'
export { WebhookAlarm } from '../src/webhooks/durable-object.ts'

/** What wrangler.toml binds. */
export interface WorkerEnv extends HubEnv, WebhookEnv {
  /** Holds the connection that listens. Without it, or without DATABASE_DIRECT_URL, waiting receives look now and then. */
  readonly HUB?: HubNamespace
  /** At least 32 random characters; tokens are signed with it. Without it every request is answered 500. */
  readonly POSTBAG_SECRET?: string
}

interface Lifetime {
  waitUntil(work: Promise<unknown>): void
}

/** For how long cron clears away what is over, before it delivers: it may come each minute. */
const maintainMillis = 15_000

const logError = (error: unknown) => console.error(errorForLog(error))

/** Holds no I/O, so all requests of the isolate may share it. */
let app: Door | undefined
const refusingCaches = createCacheRefusal()

export default {
  async fetch(request: Request, env: WorkerEnv, lifetime: Lifetime): Promise<Response> {
    try {
      if (!env.HYPERDRIVE) throw new Error(noDatabase)
      app ??= createApp({ access: tokenAccess(env.POSTBAG_SECRET), webhooks: settingsOf(env) }, (line) =>
        console.log(JSON.stringify(line)),
      )
      const pool = connect(env.HYPERDRIVE.connectionString, { maxConnections: 1, answerTimeoutMillis: 30_000 })
      const executor = refusingCaches(pool)
      const hub = hubFor(env, executor, (work) => lifetime.waitUntil(work))
      let kept: Promise<unknown> | undefined
      const keep = (work: Promise<unknown>) => {
        kept = work
      }
      const delivering = workerDelivering(env, executor, logError)
      const answer = Promise.resolve(app.fetch(request, { executor, hub, keep, delivering }))
      const ended = answer.then(() => Promise.all([kept, delivering?.finish()]))
      lifetime.waitUntil(ended.finally(() => pool.end()))
      return await answer
    } catch (error) {
      // The app answers what goes wrong inside it; what comes here is a Worker that lacks a setting.
      logError(error)
      return notConfigured(error)
    }
  },

  /** The cron trigger of wrangler.toml: clear away what is over in queues that nobody uses, and deliver what is due. */
  async scheduled(_event: unknown, env: WorkerEnv): Promise<void> {
    if (!env.HYPERDRIVE) throw new Error(noDatabase)
    const pool = connect(env.HYPERDRIVE.connectionString, { maxConnections: 1, answerTimeoutMillis: 30_000 })
    try {
      const executor = refusingCaches(pool)
      const deliver = async () => workerDelivering(env, executor, logError)?.onClock()
      await maintainFirst(executor, maintainMillis, deliver, logError)
    } finally {
      await pool.end()
    }
  },
}

function hubFor(env: WorkerEnv, executor: Executor, keep: (work: Promise<unknown>) => void): Hub {
  const polling = (why: string): Hub => ({ ...createPollHub({ executor }), mode: `poll: ${why}` })
  if (!env.HUB) return polling('there is no binding HUB')
  const { directUrl, objects } = hubSettings(env)
  if (directUrl === undefined) return polling('DATABASE_DIRECT_URL is not set')
  return createRemoteHub({ namespace: env.HUB, objects, keep })
}

const noDatabase = 'there is no binding HYPERDRIVE: wrangler.toml says how to make it'
