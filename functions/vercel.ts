/* Postbag as a Vercel function: the Node runtime with fluid compute, in which one instance serves many requests at once, as a server does. The
 * README says how to deploy it. The platform's rules, and how they are kept:
 *
 *  1. An instance may be suspended when nothing runs in it. So the pool is attached to it (attachDatabasePool), which keeps it awake until
 *     idle connections are closed.
 *  2. A client that goes away is told of where vercel.json says "supportsCancellation"; then its wait ends.
 *  3. Scheduled jobs are GET requests with CRON_SECRET as the token: `GET`, in a file of its own. */
import { timingSafeEqual } from 'node:crypto'
import { attachDatabasePool } from '@vercel/functions'
import { coalescing, createApp, maintain, notConfigured } from '../src/app.ts'
import { functionConfig } from '../src/config.ts'
import { connect, preparing } from '../src/db/connect.ts'
import { createListenHub } from '../src/wakeup/listen-hub.ts'

/** Shared by all requests of an instance; made with the first. */
let instance: ReturnType<typeof start> | undefined

function start() {
  const config = functionConfig(process.env)
  const pool = connect(config.databaseUrl, { idleMillis: 5000, answerTimeoutMillis: 30_000 })
  attachDatabasePool(pool)
  const executor = coalescing(preparing(pool))
  const hub = createListenHub({ url: config.directUrl ?? config.databaseUrl, executor, lingerMillis: 5000 })
  const app = createApp(config, (line) => console.log(JSON.stringify(line)))
  return { app, executor, hub }
}

/** For a file that all paths lead to: export { default } from 'postbag/vercel' */
export default {
  async fetch(request: Request): Promise<Response> {
    try {
      instance ??= start()
      const { app, executor, hub } = instance
      return await app.fetch(request, { executor, hub })
    } catch (error) {
      console.error(error)
      return notConfigured(error)
    }
  },
}

/** For the file of a cron job: clear away what is over in queues that nobody uses. export { GET } from 'postbag/vercel' */
export async function GET(request: Request): Promise<Response> {
  const given = Buffer.from(request.headers.get('authorization') ?? '')
  const expected = Buffer.from(`Bearer ${process.env['CRON_SECRET']}`)
  const isCron = process.env['CRON_SECRET'] && given.length === expected.length && timingSafeEqual(given, expected)
  if (!isCron) return new Response('this is for the cron job, which knows CRON_SECRET', { status: 401 })
  instance ??= start()
  while ((await maintain(instance.executor)).more);
  return new Response(null, { status: 204 })
}
