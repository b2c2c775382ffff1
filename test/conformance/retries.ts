/* The retry policy: how long a message rests after a nack that names no delay. */
import assert from 'node:assert/strict'
import type { QueueConfig } from '../../src/wire.ts'
import type { Case, Target } from './target.ts'
import { newQueue } from './test-queue.ts'

/** How long a message rests after its so manieth attempt failed, in seconds, up to the few that the requests take. */
async function restAfter(target: Target, attempt: number, config: QueueConfig): Promise<number> {
  const queue = await newQueue(target, config)
  await queue.send({ body: 1 })
  for (let before = 1; before < attempt; before++) {
    await queue.nack([(await queue.receiveOne()).receipt], { delaySeconds: 0 })
  }
  const { receipt } = await queue.receiveOne()
  const asked = Date.now()
  assert.deepEqual(await queue.nack([receipt]), ['ok'])
  const [message] = (await queue.peek()).messages
  return (Date.parse(message?.availableAt ?? '') - asked) / 1000
}

async function assertRests(target: Target, config: QueueConfig, expected: readonly number[]): Promise<void> {
  const seen = await Promise.all(expected.map((_, index) => restAfter(target, index + 1, config)))
  for (const [index, seconds] of expected.entries()) {
    const rest = seen[index] ?? Number.NaN
    assert.ok(rest > seconds - 1 && rest < seconds + 20, `${seen.join()} instead of ${expected.join()}`)
  }
}

export const retryCases: readonly Case[] = [
  {
    claim: 'a nack without a delay gives back after the queue’s retry delay, the same every time',
    async run(target) {
      await assertRests(target, { retryDelaySeconds: 100 }, [100, 100, 100])
    },
  },
  {
    claim: 'an exponential retry delay doubles with every attempt, up to its longest',
    async run(target) {
      const config: QueueConfig = { retryDelaySeconds: 100, retryBackoff: 'exponential', retryMaxDelaySeconds: 500 }
      await assertRests(target, config, [100, 200, 400, 500, 500])
    },
  },
  {
    claim: 'an attempt that nobody worked on does not count, even if it was the last',
    async run(target) {
      const queue = await newQueue(target, { maxAttempts: 1 })
      await queue.send({ body: 1 })
      const { receipt: untried } = await queue.receiveOne()

      assert.deepEqual(await queue.nack([untried], { delaySeconds: 0, untried: true }), ['ok'])

      const again = await queue.receiveOne()
      assert.equal(again.attempts, 1)
      assert.deepEqual(await queue.nack([untried]), ['lease_lost'])
      assert.deepEqual(await queue.nack([again.receipt]), ['ok'])
      assert.deepEqual(
        (await queue.peek()).messages.map(({ state }) => state),
        ['dead'],
      )
    },
  },
  {
    claim: 'jitter shortens the delay by a random part of its share',
    async run(target) {
      const config: QueueConfig = { retryDelaySeconds: 10_000, retryJitter: 0.5 }

      const seen = await Promise.all(Array.from({ length: 6 }, () => restAfter(target, 1, config)))

      for (const rest of seen) assert.ok(rest > 4999 && rest < 10_020, seen.join())
      assert.ok(new Set(seen.map(Math.round)).size > 1, seen.join())
    },
  },
  {
    claim: 'a delay that the nack names comes before the policy, 0 too',
    async run(target) {
      const queue = await newQueue(target, { retryDelaySeconds: 3600 })
      await queue.send({ body: 1 })

      await queue.nack([(await queue.receiveOne()).receipt], { delaySeconds: 0 })
      const { receipt, attempts } = await queue.receiveOne()
      await queue.nack([receipt], { delaySeconds: 60 })

      assert.equal(attempts, 2)
      const [message] = (await queue.peek()).messages
      assert.ok(Date.parse(message?.availableAt ?? '') < Date.now() + 100_000)
    },
  },
]
