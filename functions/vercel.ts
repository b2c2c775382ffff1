/* Postbag as a Vercel function: the Node runtime with fluid compute, in which one instance serves many requests at once, as a server does. The
 * README says how to deploy it. The platform's rules, and how they are kept:
 *
 *  1. An instance may be suspended when nothing runs in it. So the pool is attached to it (attachDatabasePool), which keeps it awake until
 *     idle connections are closed.
 *  2. A client that goes away is told of where vercel.json says "supportsCancellation"; then its wait ends.
 *  3. Scheduled jobs are GET requests with CRON_SECRET as the token: `GET`, in a file of its own.
 *  4. What goes on after an answer (waitUntil) ends with the function's longest duration. So webhooks are delivered for 20 s then, and
 *     another invocation goes on with the rest. */
import { timingSafeEqual } from 'node:crypto'
import { attachDatabasePool, waitUntil } from '@vercel/functions'
import {
  coalescing,
  createApp,
  type Delivering,
  delivererOf,
  errorForLog,
  hasMore,
  limitsWithin,
  maintainFirst,
  notConfigured,
  oneWaits,
  ownDeliverRequest,
} from '../src/app.ts'
import { type Access, functionConfig, type WebhookSettings } from '../src/config.ts'
import { connect, type Executor, preparing } from '../src/db/connect.ts'
import { createListenHub } from '../src/wakeup/listen-hub.ts'
import { createTransport } from '../src/webhooks/node/transport.ts'

/** For how long an invocation lives: as vercel.json allows (README.md), with a margin. */
const lifeMillis = 55_000
/** And begun, after an answer, and by a cron job, which may come each minute. */
const afterAnswerSeconds = 20
const cronSeconds = 50
/** For how long a cron job clears away what is over, before it delivers. */
const maintainMillis = 15_000

const logError = (error: unknown) => console.error(errorForLog(error))

/** Shared by all requests of an instance; made with the first. */
let instance: ReturnType<typeof start> | undefined

function start() {
  const config = functionConfig(process.env)
  const pool = connect(config.databaseUrl, { idleMillis: 5000, answerTimeoutMillis: 30_000 })
  attachDatabasePool(pool)
  const executor = coalescing(preparing(pool))
  const hub = createListenHub({ url: config.directUrl ?? config.databaseUrl, executor, lingerMillis: 5000 })
  const app = createApp(config, (line) => console.log(JSON.stringify(line)))
  return { app, executor, hub, deliveringOf: deliver(config, executor) }
}

/** What an invocation delivers that began at this time (performance.now): all that it does ends with it. */
function deliver(
  { webhooks, access }: { readonly webhooks?: WebhookSettings | undefined; readonly access: Access },
  executor: Executor,
): (began: number) => Delivering | undefined {
  // (A connection that is kept would be suspended with the instance.)
  const { attempt } = createTransport({ maxIdle: 0 })
  const deliverer = delivererOf(webhooks, { executor, attempt, onError: logError })
  if (!deliverer) return () => undefined
  const run = async (began: number, seconds: number, waits: boolean) => {
    const millisLeft = began + lifeMillis - performance.now()
    const drained = await deliverer.drain({ ...limitsWithin(millisLeft, seconds * 1000), waits })
    if (hasMore(drained)) waitUntil(callItself(access).catch(console.error))
    return drained
  }
  const drainSoon = oneWaits((waits, began: number) => run(began, afterAnswerSeconds, waits))
  return (began) => ({
    run: (seconds, waits) => run(began, seconds, waits),
    begin: () => waitUntil(drainSoon(began).catch(logError)),
  })
}

/** Another invocation goes on: after its answer, for which this one waits. */
async function callItself(access: Access): Promise<void> {
  const { VERCEL_ENV, VERCEL_URL, VERCEL_PROJECT_PRODUCTION_URL, VERCEL_AUTOMATION_BYPASS_SECRET, POSTBAG_URL } =
    process.env
  const host = VERCEL_ENV === 'production' ? VERCEL_PROJECT_PRODUCTION_URL : VERCEL_URL
  const base = POSTBAG_URL || (host && `https://${host}`)
  if (!base) return
  const { path, ...request } = await ownDeliverRequest(access, 0)
  const bypass = VERCEL_AUTOMATION_BYPASS_SECRET && { 'x-vercel-protection-bypass': VERCEL_AUTOMATION_BYPASS_SECRET }
  const response = await fetch(`${base}${path}`, { ...request, headers: { ...request.headers, ...bypass } })
  if (!response.ok) console.error(`another invocation could not be asked to deliver: ${response.status} of ${base}`)
}

/** For a file that all paths lead to: export { default } from 'postbag/vercel' */
export default {
  async fetch(request: Request): Promise<Response> {
    const began = performance.now()
    try {
      instance ??= start()
      const { app, executor, hub, deliveringOf } = instance
      return await app.fetch(request, { executor, hub, delivering: deliveringOf(began) })
    } catch (error) {
      logError(error)
      return notConfigured(error)
    }
  },
}

/** For the file of a cron job: clear away what is over in queues that nobody uses, and deliver what is due.
 * export { GET } from 'postbag/vercel' */
export async function GET(request: Request): Promise<Response> {
  const began = performance.now()
  const given = Buffer.from(request.headers.get('authorization') ?? '')
  const expected = Buffer.from(`Bearer ${process.env['CRON_SECRET']}`)
  const isCron = process.env['CRON_SECRET'] && given.length === expected.length && timingSafeEqual(given, expected)
  if (!isCron) return new Response('this is for the cron job, which knows CRON_SECRET', { status: 401 })
  instance ??= start()
  const { executor, deliveringOf } = instance
  await maintainFirst(executor, maintainMillis, async () => deliveringOf(began)?.run(cronSeconds, true), logError)
  return new Response(null, { status: 204 })
}
