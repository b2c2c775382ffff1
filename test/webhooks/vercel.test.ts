/* Webhooks of a Vercel function: after an answer, by cron, and by another invocation where there is more. Its module holds one instance,
 * and so one database: the tests follow each other. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import vercel, { GET } from '../../functions/vercel.ts'
import { signToken } from '../../src/http/token.ts'
import { startVercel } from '../runtimes/vercel.ts'
import { until } from '../support/until.ts'
import { createWebhookWorld, maintainInstead } from './webhook-world.ts'

const secret = 'a secret of thirty-two characters'
const authorization = `Bearer ${await signToken(secret, { scopes: ['admin'], now: new Date() })}`
const statuses: number[] = []
const log: string[] = []

let world: Awaited<ReturnType<typeof createWebhookWorld>>
let server: Awaited<ReturnType<typeof startVercel>>
/** What the platform waits for after the answers. */
const work: Promise<unknown>[] = []
before(async () => {
  world = await createWebhookWorld({ statuses, millis: 200, config: { retries: ['1 s'], concurrency: 1 } })
  server = await startVercel(vercel.fetch)
  const context = { waitUntil: (promise: Promise<unknown>) => work.push(promise) }
  Object.assign(globalThis, { [Symbol.for('@vercel/request-context')]: { get: () => context } })
  Object.assign(process.env, world.env, {
    DATABASE_URL: world.url,
    POSTBAG_SECRET: secret,
    CRON_SECRET: 'cron',
    POSTBAG_URL: server.url,
  })
  console.log = (line) => log.push(line)
})
after(async () => {
  await Promise.all(work)
  await Promise.all([server.stop(), world.receiver.stop()])
})

const publish = (...bodies: unknown[]) =>
  fetch(`${server.url}/v1/exchanges/events/publish`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ messages: bodies.map((body) => ({ body })) }),
  })

test('what is published arrives after the answer, and a retry that is due soon, too', async () => {
  statuses.push(500)

  assert.equal((await publish('first')).status, 201)
  await world.noted(2)

  assert.deepEqual(world.bodies(), ['first', 'first'])
})

const cron = () => GET(new Request(`${server.url}/api/maintain`, { headers: { authorization: 'Bearer cron' } }))

test('a cron job delivers what was published in SQL', async () => {
  await world.publishInSql()

  assert.equal((await cron()).status, 204)

  assert.deepEqual(world.bodies().slice(2), [1])
})

test('where there is more than fits into the time after an answer, another invocation goes on', async () => {
  const bodies = Array.from({ length: 110 }, (_, index) => index)
  const isSelfCall = (line: string) => line.includes('"/v1/deliver"')

  assert.equal((await publish(...bodies)).status, 201)
  // One after the other, they take more than 20 s: each step 4 s of those that it may take.
  for (const count of [20, 40, 60, 80, 100, 110]) await world.noted(3 + count)

  assert.deepEqual(
    world
      .bodies()
      .slice(3)
      .map(Number)
      .sort((one, other) => one - other),
    bodies,
  )
  await until('the log', async () => log.find(isSelfCall))
})

test('a cron job that took all of its time to clear away begins no delivery: it would be cut', async (t) => {
  const { length } = world.receiver.got
  await world.publishInSql()
  const now = performance.now.bind(performance)
  let passedMillis = 0
  t.mock.method(performance, 'now', () => now() + passedMillis)

  const job = cron()
  passedMillis = 55_000
  assert.equal((await job).status, 204)

  assert.equal(world.receiver.got.length, length)
  t.mock.restoreAll()
  assert.equal((await cron()).status, 204)
  assert.equal(world.receiver.got.length, length + 1)
})

test('a cron job that cannot clear away delivers all the same, and fails after that', async (t) => {
  const { length } = world.receiver.got
  const logged = t.mock.method(console, 'error', () => {})
  await maintainInstead(world.pool, `raise 'nothing is cleared away today'`)
  await world.publishInSql()

  await assert.rejects(cron(), /nothing is cleared away today/)

  assert.equal(world.receiver.got.length, length + 1)
  assert.match(String(logged.mock.calls[0]?.arguments), /SQLSTATE P0001/)
})
