/* A queue as a whole: all its settings, pause and resume, statistics, maintenance. Against the real server. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { QueueConfig } from '../../src/client/index.ts'
import { type RealServer, startRealServer } from './real-server.ts'

let real: RealServer

before(async () => {
  real = await startRealServer()
})

// (But the one that does not go with these.)
const everySetting: Required<Omit<QueueConfig, 'deadLetterQueue'>> = {
  order: 'fifo',
  maxPriority: 3,
  groups: 'fair',
  leaseSeconds: 60,
  delaySeconds: 1.5,
  ttlSeconds: 3600,
  maxAttempts: 5,
  retryDelaySeconds: 10,
  retryBackoff: 'exponential',
  retryMaxDelaySeconds: 600,
  retryJitter: 0.5,
  deadLetterExchange: 'default',
  deadLetterRoutingKey: 'configured',
  deadLetterRetentionSeconds: 86_400,
  dedupWindowSeconds: 60,
  dedupBy: 'content',
  dedupScope: 'group',
  maxMessages: 1000,
  maxBytes: 1_000_000,
  overflow: 'drop-oldest',
  maxInFlight: 10,
  ratePerSecond: 100,
  rateBurst: 20,
  groupRatePerSecond: 0.5,
  groupRateBurst: 2,
  durability: 'relaxed',
}

describe('a queue', () => {
  test('has every setting that it was given', async () => {
    const orders = real.client.queue('configured')

    const created = await orders.create(everySetting)

    const { name, paused, createdAt, updatedAt, origins, ...config } = created
    assert.deepEqual(config, everySetting)
    assert.deepEqual([name, paused, createdAt], ['configured', false, updatedAt])
    assert.deepEqual(
      origins,
      Object.fromEntries([...Object.keys(everySetting), 'deadLetterQueue'].map((field) => [field, 'queue'])),
    )
    assert.deepEqual(await orders.info(), created)
  })

  test('retries by its policy what was nacked without a delay', async () => {
    const orders = await real.createQueue({ retryDelaySeconds: 3600 })
    await orders.sendBatch([{ body: 'as the queue says' }, { body: 'as the consumer says' }])

    const [first, second] = await orders.receive({ max: 2 })
    await first?.nack({ error: 'not now' })
    await second?.nack({ delaySeconds: 0 })

    assert.deepEqual(await real.states(orders), ['delayed', 'ready'])
  })

  test('retries by its policy what a handler threw at', async () => {
    const orders = await real.createQueue({ retryDelaySeconds: 3600 })
    await orders.send(1)
    const stop = new AbortController()

    await orders.consume({ signal: stop.signal }, () => {
      stop.abort()
      throw new Error('not now')
    })

    const [message] = (await orders.peek()).messages
    assert.deepEqual([message?.state, message?.lastError], ['delayed', 'Error: not now'])
  })

  test('gives back at once what a loop left, whatever its retry policy', async () => {
    const orders = await real.createQueue({ retryDelaySeconds: 3600 })
    await orders.send(1)

    for await (const _ of orders.consume()) break

    assert.deepEqual(await real.states(orders), ['ready'])
  })

  test('that is full refuses a send, which is not tried again', async () => {
    const orders = await real.createQueue({ maxMessages: 1 })
    await orders.send(1)

    await assert.rejects(orders.send(2), { code: 'queue_full', retryAfterSeconds: 1 })
  })

  test('hands out nothing while it is paused', async () => {
    const orders = await real.createQueue()
    await orders.send(1)

    const paused = await orders.pause()
    const none = await orders.receive()
    const resumed = await orders.resume()
    const [message] = await orders.receive()

    assert.deepEqual([paused.paused, resumed.paused], [true, false])
    assert.deepEqual([none, message?.body], [[], 1])
  })

  test('that is resumed wakes who waits for it', async () => {
    const orders = await real.createQueue()
    await orders.send(1)
    await orders.pause()

    const waiting = orders.receive({ waitSeconds: 20 })
    await orders.resume()

    assert.equal((await waiting)[0]?.body, 1)
  })

  test('counts its messages by their state', async () => {
    const orders = await real.createQueue()
    await orders.sendBatch([
      { body: 'rejected' },
      { body: 'leased', group: 'a' },
      { body: 'blocked', group: 'a' },
      { body: 'ready' },
      { body: 'delayed', delaySeconds: 60 },
    ])
    const [rejected] = await orders.receive({ max: 2 })
    await rejected?.reject()

    const { ready, leased, delayed, blocked, dead, bytes, oldestReadyAt, countedAt, capped } = await orders.stats()

    assert.deepEqual(
      { ready, leased, delayed, blocked, dead },
      { ready: 1, leased: 1, delayed: 1, blocked: 1, dead: 1 },
    )
    assert.ok(bytes > 30)
    assert.ok(oldestReadyAt && Date.parse(oldestReadyAt) <= Date.parse(countedAt))
    assert.equal(capped, false)
  })
})

describe('maintain', () => {
  test('clears away what has expired, in all queues', async () => {
    const orders = await real.createQueue()
    await orders.send('short-lived', { ttlSeconds: 0.001 })
    await real.expired(orders)

    const { expiredMessages, more } = await real.client.maintain()
    const again = await real.client.maintain()

    assert.ok(expiredMessages >= 1)
    assert.deepEqual([more, again.expiredMessages], [false, 0])
  })

  test('does as much as it is asked for', async () => {
    const orders = await real.createQueue()
    await orders.sendBatch([1, 2, 3].map((body) => ({ body, ttlSeconds: 0.001 })))
    await real.expired(orders)

    assert.equal((await real.client.maintain({ max: 1 })).more, true)
  })
})
