/* What a consumer gives back that nobody has worked on: it is there at once, and no attempt is used, not even the only one. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { Queue } from '../../src/client/index.ts'
import { type RealServer, startRealServer } from './real-server.ts'

describe('of a message that may be handed out once, no attempt is used', () => {
  let real: RealServer

  before(async () => {
    real = await startRealServer()
  })

  async function queueWith(...messages: readonly { body: unknown; group?: string }[]): Promise<Queue> {
    const queue = await real.createQueue({ maxAttempts: 1, retryDelaySeconds: 3600 })
    await queue.sendBatch(messages)
    return queue
  }

  const left = async (queue: Queue) =>
    (await queue.peek()).messages.map(({ body, state, attempts }) => [body, state, attempts])

  test('when the loop is left by break', async () => {
    const orders = await queueWith({ body: 1 }, { body: 2 }, { body: 3 })

    for await (const _ of orders.consume({ concurrency: 3 })) break

    assert.deepEqual(await left(orders), [
      [1, 'ready', 0],
      [2, 'ready', 0],
      [3, 'ready', 0],
    ])
  })

  test('when the loop is left by break in the middle of a group', async () => {
    const orders = await queueWith({ body: 1, group: 'a' }, { body: 2, group: 'a' }, { body: 3, group: 'a' })

    for await (const message of orders.consume({ concurrency: 3 })) if (message.body === 2) break

    assert.deepEqual(await left(orders), [
      [2, 'ready', 0],
      [3, 'blocked', 0],
    ])
  })

  test('when the consumer stops with messages fetched ahead', async () => {
    const orders = await queueWith({ body: 1 }, { body: 2 }, { body: 3 })
    const stop = new AbortController()

    for await (const _ of orders.consume({ concurrency: 3, signal: stop.signal })) stop.abort()

    assert.deepEqual(await left(orders), [
      [2, 'ready', 0],
      [3, 'ready', 0],
    ])
  })

  test('when the consumer stops with messages that wait for their turn in their group', async () => {
    const orders = await queueWith({ body: 1, group: 'a' }, { body: 2, group: 'a' }, { body: 3, group: 'a' })
    const stop = new AbortController()

    await orders.consume({ concurrency: 3, signal: stop.signal }, () => stop.abort())

    assert.deepEqual(await left(orders), [
      [2, 'ready', 0],
      [3, 'blocked', 0],
    ])
  })
})
