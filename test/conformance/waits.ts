/* Waiting: the long poll, and clients that go away. The only cases in which real time passes. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ReceivedMessage, ReceiveResponse } from '../../src/wire.ts'
import { until } from '../support/until.ts'
import { whileMessagesAreLocked } from './disturb.ts'
import { lineOf } from './request-log.ts'
import { type Answer, assertProblem, type Case, call, json, requestOf, type Target } from './target.ts'
import { newQueue } from './test-queue.ts'

/** Soon, for who would wait for 20 s: half of that. (How soon is a figure of the benchmark; a machine may be busy.) */
export const soonMillis = 10_000

async function timed<Result>(work: Promise<Result>): Promise<{ readonly result: Result; readonly millis: number }> {
  const started = performance.now()
  const result = await work
  return { result, millis: performance.now() - started }
}

/** How long the server had a request, in milliseconds, as it says: without what came before, such as the start of a Lambda instance. */
export async function millisOf(target: Target, { headers }: Answer): Promise<number> {
  return (await lineOf(target, headers.get('x-request-id') ?? '')).millis
}

export const waitCases: readonly Case[] = [
  {
    claim: 'a receive that may wait returns at once if there is something',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })

      const answer = await queue.post('receive', { body: { max: 10, waitSeconds: 20 } })

      assert.equal(json<ReceiveResponse>(answer).messages.length, 1)
      const millis = await millisOf(target, answer)
      assert.ok(millis < soonMillis, `${millis} ms`)
    },
  },
  {
    claim: 'a waiting receive is answered soon after a send',
    async run(target) {
      const queue = await newQueue(target)
      const waiting = queue.receiveOne({ waitSeconds: 20 })
      await sleep(200)
      await queue.send({ body: 'awaited' })

      const { result, millis } = await timed(waiting)

      assert.equal(result.body, 'awaited')
      assert.ok(millis < soonMillis, `${millis} ms`)
    },
  },
  {
    claim: 'the acks of a receive that waits hold at once, and are told with its answer',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll('a', 'b')
      const [a, b] = (await queue.receive({ max: 2 })).map(({ receipt }) => receipt) as [string, string]

      const waiting = queue.post('receive', { body: { acks: [a], waitSeconds: 20 } })
      await until('the ack', async () => ((await queue.stats()).leased === 1 ? true : undefined))
      await queue.nack([b])

      const { acks, messages } = json<ReceiveResponse>(await waiting)
      assert.deepEqual(acks, [{ receipt: a, outcome: 'ok' }])
      assert.deepEqual(
        messages.map(({ body }) => body),
        ['b'],
      )
    },
  },
  {
    claim: 'a waiting receive is answered soon after a nack',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const { receipt } = await queue.receiveOne()
      const waiting = queue.receiveOne({ waitSeconds: 20 })
      await sleep(200)
      await queue.nack([receipt])

      const { result, millis } = await timed(waiting)

      assert.equal(result.attempts, 2)
      assert.ok(millis < soonMillis, `${millis} ms`)
    },
  },
  {
    claim: 'a waiting receive gets a delayed message when its time has come',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 'delayed', delaySeconds: 1 })

      const message = await queue.receiveOne({ waitSeconds: 20 })

      assert.ok(Date.parse(message.firstReceivedAt) - Date.parse(message.sentAt) >= 1000)
    },
  },
  {
    claim: 'a receive ends empty when its wait is over',
    async run(target) {
      const queue = await newQueue(target)

      const answer = await queue.post('receive', { body: { waitSeconds: 1 } })

      assert.deepEqual(json<ReceiveResponse>(answer).messages, [])
      const millis = await millisOf(target, answer)
      assert.ok(millis > 950 && millis < soonMillis, `${millis} ms`)
    },
  },
  {
    claim: 'each message reaches one of those who wait',
    async run(target) {
      const queue = await newQueue(target)
      const waiting = Array.from({ length: 4 }, () => queue.receiveOne({ waitSeconds: 20 }))
      await sleep(200)
      await queue.sendAll('a', 'b', 'c', 'd')

      const messages: ReceivedMessage[] = await Promise.all(waiting)

      assert.deepEqual(messages.map(({ body }) => body).sort(), ['a', 'b', 'c', 'd'])
    },
  },
  {
    claim: 'a receive from an unknown queue does not wait, and one whose queue is deleted meanwhile says so',
    async run(target) {
      const queue = await newQueue(target)
      const waiting = queue.post('receive', { body: { waitSeconds: 20 } })
      await sleep(200)
      await call(target, 'DELETE', queue.path)

      const { result, millis } = await timed(waiting)

      assertProblem(result, 'queue_not_found')
      assert.ok(millis < soonMillis, `${millis} ms`)
      assertProblem(await queue.post('receive', { body: { waitSeconds: 20 } }), 'queue_not_found')
    },
  },
  {
    claim: 'the wait of a client that goes away ends, takes nothing, and is no error in the log',
    needs: 'sees clients leave',
    async run(target) {
      const queue = await newQueue(target)
      const headers = { 'x-request-id': `left-${queue.name}` }
      const request = requestOf(target, 'POST', { body: { waitSeconds: 20 }, headers })

      await target.leave(`${queue.path}/receive`, request, 300)

      const line = await lineOf(target, headers['x-request-id'])
      assert.ok(line.millis < 300 + soonMillis, `${line.millis} ms`)
      assert.equal(line.level, 'info', JSON.stringify(line))
      await queue.send({ body: 1 })
      assert.equal((await queue.receiveOne()).attempts, 1)
    },
  },
  {
    claim: 'a client that goes away while messages are being leased to it takes none along, and it does not count',
    needs: 'sees clients leave',
    alone: true,
    async run(target) {
      // (What nobody got has not failed: no retry policy delays it, and its last attempt is still to come.)
      const queue = await newQueue(target, { retryDelaySeconds: 3600, maxAttempts: 1 })
      await queue.sendAll(1, 2)
      const headers = { 'x-request-id': `left-${queue.name}` }
      const request = requestOf(target, 'POST', { body: { max: 2, waitSeconds: 10 }, headers })

      await whileMessagesAreLocked(target, async (hanging) => {
        const leaving = target.leave(`${queue.path}/receive`, request, 500)
        await hanging()
        await leaving
        // The server has seen the other connection close before it answers this one.
        for (let round = 0; round < 3; round++) await call(target, 'GET', '/healthz')
      })

      await lineOf(target, headers['x-request-id'])
      const messages = await queue.receive({ max: 2 })
      assert.deepEqual(
        messages.map(({ attempts }) => attempts),
        [1, 1],
      )
    },
  },
  {
    claim: 'what is leased to a client that has gone away, unseen, comes back when its lease ends',
    without: 'sees clients leave',
    async run(target) {
      const queue = await newQueue(target)
      const request = requestOf(target, 'POST', { body: { waitSeconds: 10, leaseSeconds: 2 } })

      await target.leave(`${queue.path}/receive`, request, 300)
      await queue.send({ body: 1 })
      await until('the lease', async () => ((await queue.stats()).leased === 1 ? true : undefined))

      assert.equal((await queue.receiveOne({ waitSeconds: 20 })).attempts, 2)
    },
  },
]
