/* Queues themselves: create or replace, describe, list, delete, purge, statistics. */
import assert from 'node:assert/strict'
import type { QueueConfig, QueueInfo, QueueListResponse, QueueStats } from '../../src/wire.ts'
import { until } from '../support/until.ts'
import { assertProblem, type Case, call, json } from './target.ts'
import { newQueue, queueNamed } from './test-queue.ts'

const nothing = { ready: 0, leased: 0, delayed: 0, blocked: 0, dead: 0, bytes: 0, capped: false }

function countsOf({ ready, leased, delayed, blocked, dead, bytes, capped }: QueueStats): typeof nothing {
  return { ready, leased, delayed, blocked, dead, bytes, capped }
}

export const queueCases: readonly Case[] = [
  {
    claim: 'a queue is created with 201 and its defaults',
    async run(target) {
      const { path } = queueNamed(target, 'Created.by-default_1')

      const info = json<QueueInfo>(await call(target, 'PUT', path, { body: {} }), 201)

      const { createdAt, updatedAt, origins, ...rest } = info
      assert.deepEqual(rest, {
        name: 'Created.by-default_1',
        order: 'fifo',
        maxPriority: 0,
        groups: 'ordered',
        leaseSeconds: 30,
        delaySeconds: 0,
        retryDelaySeconds: 0,
        retryBackoff: 'fixed',
        retryMaxDelaySeconds: 3600,
        retryJitter: 0,
        deadLetterRetentionSeconds: 1_209_600,
        dedupWindowSeconds: 300,
        dedupBy: 'id',
        dedupScope: 'queue',
        overflow: 'reject',
        durability: 'full',
        paused: false,
      })
      assert.deepEqual(origins, {})
      assert.equal(createdAt, updatedAt)
      assert.equal(new Date(createdAt).toISOString(), createdAt)
    },
  },
  {
    claim: 'a PUT without a body creates a queue too',
    async run(target) {
      json(await call(target, 'PUT', '/v1/queues/created-without-body'), 201)
    },
  },
  {
    claim: 'a second PUT replaces the whole configuration with 200, and keeps the messages',
    async run(target) {
      const queue = await newQueue(target, { leaseSeconds: 7.5, delaySeconds: 0, maxPriority: 3 })
      await queue.send({ body: 'kept' })

      const replaced = json<QueueInfo>(await call(target, 'PUT', queue.path, { body: { delaySeconds: 5 } }), 200)

      assert.equal(replaced.delaySeconds, 5)
      assert.equal(replaced.leaseSeconds, 30)
      assert.equal(replaced.maxPriority, 0)
      assert.ok(replaced.updatedAt >= replaced.createdAt)
      assert.equal((await queue.receiveOne()).body, 'kept')
    },
  },
  {
    claim: 'a queue is described as it was configured',
    async run(target) {
      const config: Required<Omit<QueueConfig, 'deadLetterQueue'>> = {
        order: 'lifo',
        maxPriority: 9,
        groups: 'fair',
        leaseSeconds: 0.25,
        delaySeconds: 31_536_000,
        ttlSeconds: 0.5,
        maxAttempts: 3,
        retryDelaySeconds: 1.5,
        retryBackoff: 'exponential',
        retryMaxDelaySeconds: 60,
        retryJitter: 0.25,
        deadLetterExchange: 'default',
        deadLetterRoutingKey: 'graves',
        deadLetterRetentionSeconds: 86_400,
        dedupWindowSeconds: 86_400,
        dedupBy: 'content',
        dedupScope: 'group',
        maxMessages: 1_000_000_000,
        maxBytes: 1_125_899_906_842_624,
        overflow: 'drop-oldest',
        maxInFlight: 10,
        ratePerSecond: 0.5,
        rateBurst: 7,
        groupRatePerSecond: 0.125,
        groupRateBurst: 5,
        durability: 'relaxed',
      }
      const queue = await newQueue(target, config)

      const { name, paused, createdAt, updatedAt, origins, ...rest } = json<QueueInfo>(
        await call(target, 'GET', queue.path),
      )

      assert.equal(name, queue.name)
      assert.deepEqual(rest, config)
      assert.equal(paused, false)
      assert.equal(createdAt, updatedAt)
      const { queues } = json<QueueListResponse>(await call(target, 'GET', `/v1/queues?prefix=${name}`))
      assert.deepEqual(
        queues.find((one) => one.name === name),
        { name, paused, createdAt, updatedAt, origins, ...rest },
      )
    },
  },
  {
    claim: 'queues are listed by prefix and name, page by page, each once',
    async run(target) {
      const names = ['page.b', 'page.A', 'page.c', 'page.a', 'page.10', 'page.9', 'paging']
      for (const name of names) json(await call(target, 'PUT', `/v1/queues/${name}`, { body: {} }), 201)

      const seen: string[] = []
      let after = ''
      for (let page = 0; page < 10; page++) {
        const path = `/v1/queues?prefix=page.&max=2${after && `&after=${after}`}`
        const { queues, next } = json<QueueListResponse>(await call(target, 'GET', path))
        seen.push(...queues.map(({ name }) => name))
        if (next === undefined) break
        after = next
      }

      assert.deepEqual(seen, ['page.10', 'page.9', 'page.A', 'page.a', 'page.b', 'page.c'])
    },
  },
  {
    claim: 'a prefix is text, not a pattern',
    async run(target) {
      json(await call(target, 'PUT', '/v1/queues/literal', { body: {} }), 201)
      for (const prefix of ['lit_ral', 'lit%25', 'lit.*']) {
        const { queues } = json<QueueListResponse>(await call(target, 'GET', `/v1/queues?prefix=${prefix}`))
        assert.deepEqual(queues, [], prefix)
      }
    },
  },
  {
    claim: 'a deleted queue is gone with all its messages, and so are its receipts when the name is used again',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1, 2, 3)
      const { receipt } = await queue.receiveOne()

      assert.deepEqual(json(await call(target, 'DELETE', queue.path)), { deletedMessages: 3 })

      assertProblem(await call(target, 'GET', queue.path), 'queue_not_found')
      json(await call(target, 'PUT', queue.path, { body: {} }), 201)
      assert.deepEqual(await queue.receive(), [])
      assert.deepEqual(await queue.ack(receipt), ['message_gone'])
    },
  },
  {
    claim: 'a purge deletes ready, leased and delayed messages, and leaves the queue and its neighbours',
    async run(target) {
      const queue = await newQueue(target)
      const neighbour = await newQueue(target)
      await queue.send({ messages: [{ body: 1 }, { body: 2 }, { body: 3, delaySeconds: 60 }] })
      await neighbour.send({ body: 'stays' })
      const { receipt } = await queue.receiveOne()

      assert.deepEqual(json(await queue.post('purge', {})), { purgedMessages: 3 })

      assert.deepEqual(countsOf(await queue.stats()), nothing)
      assert.deepEqual(await queue.ack(receipt), ['message_gone'])
      assert.equal((await neighbour.receiveOne()).body, 'stays')
    },
  },
  {
    claim: 'statistics count messages by state, and their bytes, and say since when the oldest is ready',
    async run(target) {
      const queue = await newQueue(target, { maxAttempts: 1 })
      assert.deepEqual(countsOf(await queue.stats()), nothing)
      await queue.send({ body: 'rejected' })
      await queue.nack([(await queue.receiveOne()).receipt])
      await queue.send({
        messages: [
          { body: 1 },
          { body: 2 },
          { body: 'four', encoding: 'text' },
          { body: 'AAEC', encoding: 'base64', delaySeconds: 60 },
          { body: 5, delaySeconds: 60 },
          { body: 6, group: 'g' },
          { body: 7, group: 'g' },
        ],
      })
      await queue.receiveOne()

      const stats = await queue.stats()

      // Of those that are not dead.
      const bytes = '12four567'.length + 3
      assert.deepEqual(countsOf(stats), { ready: 3, leased: 1, delayed: 2, blocked: 1, dead: 1, bytes, capped: false })
      const { messages } = await queue.peek('?state=ready')
      assert.equal(stats.oldestReadyAt, messages[0]?.availableAt)
      assert.ok(Math.abs(Date.parse(stats.countedAt) - Date.now()) < 60_000, stats.countedAt)
    },
  },
  {
    claim: 'statistics tell how many messages come and go in a second',
    async run(target) {
      const queue = await newQueue(target)
      // What a session has counted is written down once a second, by the next thing it does.
      const { inPerSecond, outPerSecond } = await until('traffic', async () => {
        await queue.sendAll(...Array.from({ length: 10 }, (_, body) => body))
        await queue.ack(...(await queue.receive({ max: 10 })).map(({ receipt }) => receipt))
        const stats = await queue.stats()
        return stats.inPerSecond > 0 && stats.outPerSecond > 0 ? stats : undefined
      })

      assert.ok(inPerSecond < 10_000 && outPerSecond < 10_000, `${inPerSecond} ${outPerSecond}`)
    },
  },
  {
    claim: 'a paused queue hands out nothing and says so, but takes messages and receipts; resumed it goes on',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1)
      const { receipt } = await queue.receiveOne()

      const paused = json<QueueInfo>(await queue.post('pause', {}))
      await queue.sendAll(2)

      assert.equal(paused.paused, true)
      assert.equal(paused.name, queue.name)
      assert.deepEqual(await queue.receive({ max: 10 }), [])
      assert.deepEqual(await queue.receive({ max: 10, autoAck: true }), [])
      assert.deepEqual(await queue.extend([receipt]), ['ok'])
      assert.deepEqual(await queue.ack(receipt), ['ok'])
      assert.equal((await queue.stats()).ready, 1)
      assert.equal((await queue.configure({ leaseSeconds: 5 })).paused, true)
      assert.equal(json<QueueInfo>(await queue.post('resume', {})).paused, false)
      assert.equal((await queue.receiveOne()).body, 2)
    },
  },
  {
    claim: 'a pause of what is paused and a resume of what is not change nothing',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1)

      assert.equal(json<QueueInfo>(await queue.post('resume', {})).paused, false)
      assert.equal(json<QueueInfo>(await queue.post('pause', {})).paused, true)
      assert.equal(json<QueueInfo>(await queue.post('pause', { body: {} })).paused, true)
      assert.equal(json<QueueInfo>(await queue.post('resume', {})).paused, false)
      assert.equal((await queue.receive()).length, 1)
    },
  },
]
