/* A deliverer that is called, and has so long: what it does within that time, and what it says of the rest. By the database's clock. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createDeliverer } from '../../src/webhooks/deliverer.ts'
import { hasMore, limitsWithin, oneWaits } from '../../src/webhooks/delivering.ts'
import { createTransport } from '../../src/webhooks/node/transport.ts'
import { createDatabase } from '../support/database.ts'
import { newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { call } from '../support/sql-verbs.ts'
import { startReceiver } from './webhook-receiver.ts'

const secrets = JSON.stringify([{ sealed: `whsec_${Buffer.alloc(32, 1).toString('base64')}` }])
const closing: (() => unknown)[] = []
after(async () => {
  for (const close of closing) await close()
})

/** A database with one endpoint, and a deliverer for it. */
async function newWorld(answer?: Parameters<typeof startReceiver>[0], config: object = {}, options: object = {}) {
  const { pool } = await createDatabase()
  const exchange = await newExchange(pool, 'fanout')
  const receiver = await startReceiver(answer)
  const transport = createTransport()
  closing.push(receiver.stop, transport.close)
  await call(pool, 'set_endpoint', { endpoint: 'one', url: receiver.url, exchange, secrets, ...config })
  const deliverer = createDeliverer({
    executor: pool,
    attempt: transport.attempt,
    open: async (sealed) => sealed,
    policy: { allowPrivate: true, allowHttp: true },
    ...options,
  })
  return {
    pool,
    receiver,
    deliverer,
    publish: (count = 1) => publishBatch(pool, exchange, Array(count).fill({ body: 1 }), { now: new Date() }),
    attempts: () => call(pool, 'list_attempts', { endpoint: 'one', max_attempts: 1000 }),
  }
}

test('it makes no more attempts than it may, and says that there is more', async () => {
  const { deliverer, publish, receiver } = await newWorld()
  await publish(5)

  const first = await deliverer.drain({ mostAttempts: 3 })
  const second = await deliverer.drain({ mostAttempts: 3 })

  assert.deepEqual(
    [first, second],
    [
      { attempts: 3, dueInMillis: 0 },
      { attempts: 2, dueInMillis: undefined },
    ],
  )
  assert.equal(receiver.got.length, 5)
  assert.deepEqual([first, second].map(hasMore), [true, false])
})

test('its attempts end when its time does: they have failed, and are noted', async () => {
  const { deliverer, publish, attempts } = await newWorld(() => {}, { timeout: '60 s' })
  await publish()
  const started = performance.now()

  const { attempts: made, dueInMillis = 0 } = await deliverer.drain({ endMillis: 1200 })

  assert.ok(performance.now() - started < 10_000)
  assert.equal(made, 1)
  // (Of an endpoint that is tried again after 5 s.)
  assert.ok(dueInMillis > 3000 && dueInMillis <= 6000, String(dueInMillis))
  assert.deepEqual(
    (await attempts()).map(({ outcome, error }) => [outcome, error]),
    [['failed', 'timeout']],
  )
})

test('with no time left for an attempt it makes none, and counts none', async () => {
  const { deliverer, publish, attempts, receiver } = await newWorld()
  await publish()

  assert.equal((await deliverer.drain({ endMillis: 500, beginMillis: 50 })).attempts, 0)
  assert.deepEqual([receiver.got.length, await attempts()], [0, []])
  assert.equal((await deliverer.drain({ waits: true, beginMillis: 5000 })).attempts, 1)
  assert.deepEqual(
    (await attempts()).map(({ number }) => number),
    [1],
  )
})

test('it waits for what becomes due while it may begin, and for nothing that comes later', async () => {
  let isWell = false
  const { deliverer, publish, receiver } = await newWorld(
    (_, response) => {
      response.writeHead(isWell ? 204 : 500).end()
      isWell = true
    },
    { retries: ['1 s'] },
  )
  await publish()

  const patient = await deliverer.drain({ waits: true, beginMillis: 10_000 })
  assert.deepEqual(patient, { attempts: 2, dueInMillis: undefined })
  isWell = false
  await publish()
  const { attempts, dueInMillis = 0 } = await deliverer.drain({ waits: true, beginMillis: 500 })

  assert.deepEqual([attempts, receiver.got.length], [1, 3])
  assert.ok(dueInMillis > 0 && dueInMillis <= 1200)
})

test('it rejects if the database cannot be asked, and settles first what was under way', async () => {
  let claims = 0
  const { pool, deliverer, publish, attempts } = await newWorld(
    undefined,
    {},
    {
      slots: 1,
      executor: {
        query: (text: string, values: unknown[]) =>
          text.includes('claim') && ++claims > 1 ? Promise.reject(new Error('away')) : pool.query(text, values),
      },
    },
  )
  await publish(2)

  await assert.rejects(deliverer.drain(), /away/)

  assert.deepEqual(
    (await attempts()).map(({ outcome }) => outcome),
    ['delivered'],
  )
})

test('of drains that share an instance one waits, and the others do not', async () => {
  const waiting: boolean[] = []
  const open = Promise.withResolvers<void>()
  const drain = oneWaits(async (waits) => {
    waiting.push(waits)
    if (waits) await open.promise
    return { attempts: 0, dueInMillis: undefined }
  })

  const first = drain()
  await Promise.all([drain(), drain()])
  open.resolve()
  await first
  await drain()

  assert.deepEqual(waiting, [true, false, false, true])
})

test('a drain begins so that its last attempts have the time that endpoints allow, if it lives long enough', () => {
  assert.deepEqual(limitsWithin(300_000), { beginMillis: 240_000, endMillis: 300_000 })
  assert.deepEqual(limitsWithin(300_000, 50_000), { beginMillis: 50_000, endMillis: 300_000 })
  assert.deepEqual(limitsWithin(25_000), { beginMillis: 10_000, endMillis: 25_000 })
})
