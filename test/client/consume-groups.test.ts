/* consume with a concurrency above 1 in queues with groups: the messages of a group that come together are handled in their order. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { HeldMessage, Queue, QueueConfig } from '../../src/client/index.ts'
import { type RealServer, startRealServer } from './real-server.ts'

let real: RealServer

before(async () => {
  real = await startRealServer()
})

/** Bodies "a1", "a2", "b1" are of the groups a, a and b; those that begin with "-" of none. */
async function queueWith(bodies: readonly string[], config?: QueueConfig): Promise<Queue<string>> {
  const queue = await real.createQueue(config)
  await queue.sendBatch(bodies.map((body) => ({ body, ...(body[0] !== '-' && { group: body[0] as string }) })))
  return queue as Queue<string>
}

/** Consume until so many messages have been handled; what was handled, with its attempt, and what went wrong. */
async function consumeAll(
  queue: Queue<string>,
  count: number,
  handle: (message: HeldMessage<string>) => unknown = () => {},
) {
  const stop = new AbortController()
  const handled: string[] = []
  const errors: string[] = []
  const options = {
    concurrency: 10,
    leaseSeconds: 3600,
    signal: stop.signal,
    onError: (error: unknown, message?: HeldMessage<string>) => errors.push(`${message?.body}: ${error}`),
  }
  await queue.consume(options, async (message) => {
    handled.push(`${message.body}.${message.attempts}`)
    try {
      await handle(message)
    } finally {
      if (handled.length === count) stop.abort()
    }
  })
  return { handled, errors, left: (await queue.peek()).messages.map(({ body, state }) => [body, state]) }
}

describe('messages of one group that come together', () => {
  for (const groups of ['ordered', 'fair'] as const) {
    test(`are handled one after the other, beside those of other groups and of none (${groups})`, async () => {
      const orders = await queueWith(['a1', 'a2', 'a3', 'b1', 'b2', '-1', '-2'], { groups })
      const running = new Set<string>()
      const othersRun = Promise.withResolvers<void>()

      const { handled, errors, left } = await consumeAll(orders, 7, async ({ body, group }) => {
        assert.equal(running.has(group ?? body), false, `two of group ${group}`)
        running.add(group ?? body)
        if (['a', 'b', '-1', '-2'].every((one) => running.has(one))) othersRun.resolve()
        await othersRun.promise
        running.delete(group ?? body)
      })

      for (const group of ['a', 'b']) {
        const those = handled.filter((body) => body[0] === group)
        assert.deepEqual(those, those.toSorted())
      }
      assert.deepEqual([errors, left], [[], []])
    })
  }

  test('wait for the one that failed, and their own attempt does not count', async () => {
    const orders = await queueWith(['a1', 'a2', 'a3', 'a4'])

    const { handled, errors, left } = await consumeAll(orders, 6, ({ body, attempts }) => {
      if (body === 'a2' && attempts < 3) throw 'not yet'
    })

    assert.deepEqual(handled, ['a1.1', 'a2.1', 'a2.2', 'a2.3', 'a3.1', 'a4.1'])
    assert.deepEqual([errors, left], [['a2: not yet', 'a2: not yet'], []])
  })

  test('wait for the one that its handler gave back', async () => {
    const orders = await queueWith(['a1', 'a2'])

    const { handled, errors } = await consumeAll(orders, 3, async (message) => {
      if (message.attempts < 2 && message.body === 'a1') await message.nack()
    })

    assert.deepEqual(handled, ['a1.1', 'a1.2', 'a2.1'])
    assert.deepEqual(errors, [])
  })

  test('are there at once when the one that failed is a dead letter by that', async () => {
    const orders = await queueWith(['a1', 'a2', 'a3'], { maxAttempts: 1 })

    const { handled, errors, left } = await consumeAll(orders, 3, ({ body }) => {
      if (body === 'a1') throw 'never'
    })

    assert.deepEqual(handled, ['a1.1', 'a2.1', 'a3.1'])
    assert.deepEqual([errors, left], [['a1: never'], [['a1', 'dead']]])
  })

  test('go on when their handler rejects one', async () => {
    const orders = await queueWith(['a1', 'a2'])
    const leases: string[] = []

    const { errors, left } = await consumeAll(orders, 2, async (message) => {
      leases.push(message.leasedUntil)
      if (message.body === 'a1') await message.reject()
    })

    assert.equal(leases[0], leases[1], 'under the same lease')
    assert.deepEqual([errors, left], [[], [['a1', 'dead']]])
  })

  test('are given back in a fair queue when one fails, and their attempt does not count', async () => {
    const orders = await queueWith(['a1', 'a2', 'a3'], { groups: 'fair' })

    const { handled, errors, left } = await consumeAll(orders, 4, ({ body, attempts }) => {
      if (body === 'a1' && attempts === 1) throw 'not yet'
    })

    assert.deepEqual(handled.toSorted(), ['a1.1', 'a1.2', 'a2.1', 'a3.1'])
    assert.deepEqual([errors, left], [['a1: not yet'], []])
  })

  test('are not handed to a loop that gave back one before them', async () => {
    const orders = await queueWith(['a1', 'a2'])
    const seen: string[] = []

    for await (const message of orders.consume({ concurrency: 2 })) {
      seen.push(`${message.body}.${message.attempts}`)
      if (seen.length === 1) await message.nack()
      if (message.body === 'a2') break
    }

    assert.deepEqual(seen, ['a1.1', 'a1.2', 'a2.1'])
  })
})
