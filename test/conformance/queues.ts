/* Queues themselves: create or replace, describe, list, delete, purge, statistics. */
import assert from 'node:assert/strict'
import type { QueueInfo, QueueListResponse } from '../../src/wire.ts'
import { assertProblem, type Case, call, json } from './target.ts'
import { newQueue, queueNamed } from './test-queue.ts'

export const queueCases: readonly Case[] = [
  {
    claim: 'a queue is created with 201 and its defaults',
    async run(target) {
      const { path } = queueNamed(target, 'Created.by-default_1')

      const info = json<QueueInfo>(await call(target, 'PUT', path, { body: {} }), 201)

      const { createdAt, updatedAt, ...rest } = info
      assert.deepEqual(rest, {
        name: 'Created.by-default_1',
        leaseSeconds: 30,
        delaySeconds: 0,
        maxPriority: 0,
        dedupWindowSeconds: 300,
      })
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
      const config = { leaseSeconds: 0.25, delaySeconds: 31_536_000, maxPriority: 9, dedupWindowSeconds: 86_400 }
      const queue = await newQueue(target, config)

      const { name, createdAt, updatedAt, ...rest } = json<QueueInfo>(await call(target, 'GET', queue.path))

      assert.equal(name, queue.name)
      assert.deepEqual(rest, config)
      assert.equal(createdAt, updatedAt)
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

      assert.deepEqual(await queue.stats(), { ready: 0, leased: 0, delayed: 0, capped: false })
      assert.deepEqual(await queue.ack(receipt), ['message_gone'])
      assert.equal((await neighbour.receiveOne()).body, 'stays')
    },
  },
  {
    claim: 'statistics count ready, leased and delayed messages, and say since when the oldest is ready',
    async run(target) {
      const queue = await newQueue(target)
      assert.deepEqual(await queue.stats(), { ready: 0, leased: 0, delayed: 0, capped: false })
      await queue.send({
        messages: [{ body: 1 }, { body: 2 }, { body: 3 }, { body: 4, delaySeconds: 60 }, { body: 5, delaySeconds: 60 }],
      })
      await queue.receiveOne()

      const { oldestReadyAt, ...counts } = await queue.stats()

      assert.deepEqual(counts, { ready: 2, leased: 1, delayed: 2, capped: false })
      const [, second] = (await queue.peek()).messages
      assert.equal(oldestReadyAt, second?.availableAt)
    },
  },
]
