/* When a message may be received, and until when: availableAt, its time to live, autoAck, and maintenance. */
import assert from 'node:assert/strict'
import { until } from '../support/until.ts'
import { maintain, maintainAll } from './maintain.ts'
import { assertProblem, type Case, call } from './target.ts'
import { newQueue } from './test-queue.ts'

const inAnHour = () => new Date(Date.now() + 3_600_000)

export const lifetimeCases: readonly Case[] = [
  {
    claim: 'availableAt is when a message may be received, whatever offset it is written in; a past one means now',
    async run(target) {
      const queue = await newQueue(target, { delaySeconds: 60 })
      const at = inAnHour().toISOString()
      const east = new Date(Date.parse(at) + 2 * 3_600_000).toISOString().replace('Z', '+02:00')
      await queue.send({
        messages: [
          { body: 'utc', availableAt: at },
          { body: 'east', availableAt: east },
          { body: 'past', availableAt: '1999-12-31T23:59:59Z' },
        ],
      })

      const received = await queue.receive({ max: 10 })

      assert.deepEqual(
        received.map(({ body }) => body),
        ['past'],
      )
      const [utc, other, past] = (await queue.peek()).messages
      assert.deepEqual([utc?.availableAt, other?.availableAt], [at, at])
      assert.equal(past?.availableAt, past?.sentAt)
    },
  },
  {
    claim: 'a raw body takes group, ttlSeconds and availableAt from the query',
    async run(target) {
      const queue = await newQueue(target)
      const at = inAnHour().toISOString()

      const sent = await queue.post(`messages?group=g&ttlSeconds=60&availableAt=${at}`, {
        body: 'raw',
        contentType: 'text/plain',
      })
      assert.equal(sent.status, 201, sent.text)

      const [message] = (await queue.peek()).messages
      assert.deepEqual([message?.group, message?.availableAt], ['g', at])
      assert.equal(Date.parse(message?.expiresAt ?? '') - Date.parse(at), 60_000)
      for (const query of ['ttlSeconds=0', 'ttlSeconds=x', 'group=', 'availableAt=soon', 'group=a&group=b']) {
        const refused = await queue.post(`messages?${query}`, { body: 'raw', contentType: 'text/plain' })
        assertProblem(refused, 'request_invalid', new RegExp(`^${query.split('=')[0]} must be `))
      }
    },
  },
  {
    claim: 'a time to live counts from when the message may be received; its own comes before the queue’s',
    async run(target) {
      const queue = await newQueue(target, { ttlSeconds: 100 })
      await queue.send({
        messages: [{ body: 'queue' }, { body: 'own', ttlSeconds: 7.5 }, { body: 'later', delaySeconds: 50 }],
      })

      const { messages } = await queue.peek()
      const lives = messages.map(({ expiresAt, sentAt }) => Date.parse(expiresAt ?? '') - Date.parse(sentAt))

      assert.deepEqual(lives, [100_000, 7500, 150_000])
      const { body, expiresAt } = await queue.receiveOne()
      assert.deepEqual([body, expiresAt], ['queue', messages[0]?.expiresAt])
    },
  },
  {
    claim: 'without a time to live a message has no end',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1)

      assert.equal((await queue.receiveOne()).expiresAt, undefined)
    },
  },
  {
    claim: 'a message whose time is over is not handed out',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ messages: [{ body: 'short', ttlSeconds: 0.001 }, { body: 'long' }] })

      const received = await until('the long one', async () => {
        const messages = await queue.receive({ max: 10, leaseSeconds: 0 })
        return messages.length === 1 ? messages : undefined
      })

      assert.equal(received[0]?.body, 'long')
    },
  },
  {
    claim: 'with autoAck messages are gone when they are handed out, without a receipt',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({
        messages: [{ body: 1, type: 't', headers: { h: '1' }, group: 'g' }, { body: 2 }, { body: 3 }],
      })

      const [first, second, ...more] = await queue.receive({ max: 2, autoAck: true })

      assert.deepEqual(more, [])
      assert.ok(first && second)
      const { id, sentAt, firstReceivedAt, leasedUntil, ...rest } = first
      assert.deepEqual(rest, {
        receipt: '',
        encoding: 'json',
        body: 1,
        type: 't',
        headers: { h: '1' },
        priority: 0,
        group: 'g',
        attempts: 1,
      })
      assert.equal(leasedUntil, firstReceivedAt)
      assert.ok(sentAt <= leasedUntil)
      assertProblem(await call(target, 'GET', `${queue.path}/messages/${id}`), 'message_not_found')
      assert.deepEqual(await queue.ack(first.receipt), ['receipt_invalid'])
      assert.deepEqual(
        (await queue.peek()).messages.map(({ body }) => body),
        [3],
      )
    },
  },
  {
    claim: 'autoAck of a message that was received before tells when it was handed out now',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1)
      const { leasedUntil: before } = await queue.receiveOne({ leaseSeconds: 0 })

      const { attempts, firstReceivedAt, leasedUntil } = await queue.receiveOne({ autoAck: true })

      assert.equal(attempts, 2)
      assert.equal(firstReceivedAt, before)
      assert.ok(leasedUntil >= before && Math.abs(Date.parse(leasedUntil) - Date.now()) < 60_000, leasedUntil)
    },
  },
  {
    claim: 'autoAck waits for a message like any receive',
    async run(target) {
      const queue = await newQueue(target)
      const waiting = queue.receiveOne({ autoAck: true, waitSeconds: 20 })

      await queue.sendAll('awaited')

      assert.equal((await waiting).body, 'awaited')
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'autoAck false is as if it were not there',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1)

      const { receipt } = await queue.receiveOne({ autoAck: false, leaseSeconds: 60 })

      assert.deepEqual(await queue.ack(receipt), ['ok'])
    },
  },
  {
    claim: 'maintenance clears away what is over in queues at rest, and says how much, in parts if told so',
    alone: true,
    async run(target) {
      await maintainAll(target)
      const queue = await newQueue(target, { deadLetterRetentionSeconds: 1 })
      await queue.send({ body: 'dead' })
      await queue.nack([(await queue.receiveOne()).receipt], { deadLetter: true })
      await queue.send({ messages: Array.from({ length: 5 }, (_, body) => ({ body, ttlSeconds: 0.001 })) })

      const first = await maintain(target, { max: 2 })
      let expired = first.expiredMessages
      let dead = first.removedDeadLetters
      await until('the end of the dead letter', async () => {
        const { expiredMessages, removedDeadLetters } = await maintain(target)
        expired += expiredMessages
        dead += removedDeadLetters
        return (await queue.peek()).messages.length === 0 || undefined
      })

      // (Other cases' queues may have had something, too.)
      assert.deepEqual(first, {
        expiredMessages: 2,
        removedDeadLetters: 0,
        forgottenDedupIds: 0,
        removedOrphans: 0,
        more: true,
      })
      assert.ok(expired >= 5 && dead >= 1, `${expired} ${dead}`)
    },
  },
  {
    claim: 'maintenance takes a request without a body',
    async run(target) {
      const answer = await call(target, 'POST', '/v1/maintain')

      assert.equal(answer.status, 200, answer.text)
    },
  },
]
