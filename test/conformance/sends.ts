/* Sending: one, many, metadata, delay, priority, dedup. */
import assert from 'node:assert/strict'
import type { SendResponse } from '../../src/wire.ts'
import { assertProblem, type Case, json } from './target.ts'
import { newQueue } from './test-queue.ts'

export const sendCases: readonly Case[] = [
  {
    claim: 'one message is sent as an object, and received with all that was said of it',
    async run(target) {
      const queue = await newQueue(target, { maxPriority: 9, leaseSeconds: 45 })
      const sent = await queue.post('messages', {
        body: {
          body: { id: 1 },
          type: 'order.created',
          contentType: 'application/vnd.order+json',
          headers: { traceparent: '00-ab-cd-01', '': 'empty name', empty: '' },
          priority: 9,
        },
      })
      const { messages } = json<SendResponse>(sent, 201)

      const { id, receipt, sentAt, firstReceivedAt, leasedUntil, ...rest } = await queue.receiveOne()

      assert.deepEqual(messages, [{ id, duplicate: false }])
      assert.ok(receipt)
      assert.equal(Date.parse(leasedUntil) - Date.parse(firstReceivedAt), 45_000)
      assert.ok(sentAt <= firstReceivedAt)
      assert.deepEqual(rest, {
        encoding: 'json',
        body: { id: 1 },
        type: 'order.created',
        contentType: 'application/vnd.order+json',
        headers: { traceparent: '00-ab-cd-01', '': 'empty name', empty: '' },
        priority: 9,
        attempts: 1,
      })
    },
  },
  {
    claim: 'a batch is sent in its order, with one id per message',
    async run(target) {
      const queue = await newQueue(target)

      const ids = await queue.sendAll('a', 'b', 'c')

      assert.equal(new Set(ids).size, 3)
      const received = await queue.receive({ max: 10 })
      assert.deepEqual(
        received.map(({ id, body }) => [id, body]),
        [
          [ids[0], 'a'],
          [ids[1], 'b'],
          [ids[2], 'c'],
        ],
      )
    },
  },
  {
    claim: 'a batch of 1000 messages is sent and received in one request each',
    async run(target) {
      const queue = await newQueue(target)
      const numbers = Array.from({ length: 1000 }, (_, number) => number)

      await queue.sendAll(...numbers)

      const received = await queue.receive({ max: 1000 })
      assert.deepEqual(
        received.map(({ body }) => body),
        numbers,
      )
    },
  },
  {
    claim: 'a batch with one bad message is refused whole',
    async run(target) {
      const queue = await newQueue(target)

      const refused = await queue.post('messages', {
        body: { messages: [{ body: 1 }, { body: 2, priority: 1 }, { body: 3 }] },
      })

      assertProblem(refused, 'request_invalid', /priority must be between 0 and 0.*got 1/)
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'a header keeps what merely looks like an escape',
    async run(target) {
      const queue = await newQueue(target)
      const headers = { path: 'C:\\ude\\u0000', pattern: '\\ud800' }

      await queue.send({ body: 1, headers })

      assert.deepEqual((await queue.receiveOne()).headers, headers)
    },
  },
  {
    claim: 'headers of up to 16 KiB are taken, more are refused',
    async run(target) {
      const queue = await newQueue(target)
      const ofSize = (bytes: number) => ({ body: 1, headers: { long: 'x'.repeat(bytes - '{"long":""}'.length - 1) } })
      await queue.send(ofSize(16_384))

      const refused = await queue.post('messages', { body: ofSize(16_384 + 10) })
      const wide = await queue.post('messages', { body: { body: 1, headers: { long: 'é'.repeat(10_000) } } })

      assertProblem(refused, 'request_invalid', /^headers must be at most 16384 bytes/)
      assertProblem(wide, 'request_invalid', /^headers must be at most 16384 bytes/)
    },
  },
  {
    claim: 'a delayed message is not received before its time; one without a delay of its own gets that of the queue',
    async run(target) {
      const queue = await newQueue(target, { delaySeconds: 600 })
      await queue.send({
        messages: [{ body: 'queue' }, { body: 'own', delaySeconds: 3600 }, { body: 'now', delaySeconds: 0 }],
      })

      const received = await queue.receive({ max: 10 })

      assert.deepEqual(
        received.map(({ body }) => body),
        ['now'],
      )
      const { messages } = await queue.peek()
      const delays = messages.map(
        ({ availableAt, sentAt }) => (Date.parse(availableAt ?? '') - Date.parse(sentAt)) / 1000,
      )
      assert.deepEqual(delays, [600, 3600, 0])
    },
  },
  {
    claim: 'higher priorities are received first, and within one the older message',
    async run(target) {
      const queue = await newQueue(target, { maxPriority: 9 })
      for (const [body, priority] of [
        ['low', 0],
        ['high 1', 9],
        ['middle', 4],
        ['high 2', 9],
      ] as const) {
        await queue.send({ body, priority })
      }

      const received = [...(await queue.receive({ max: 3 })), ...(await queue.receive({ max: 3 }))]

      assert.deepEqual(
        received.map(({ body }) => body),
        ['high 1', 'high 2', 'middle', 'low'],
      )
    },
  },
  {
    claim: 'a dedup id sent again sends nothing, and gives back the id of the first message, even after its ack',
    async run(target) {
      const queue = await newQueue(target)
      const [first] = await queue.send({ body: 1, dedupId: 'order-1' })
      const [again] = await queue.send({ body: 2, dedupId: 'order-1' })
      await queue.ack((await queue.receiveOne()).receipt)

      const [late] = await queue.send({ body: 3, dedupId: 'order-1' })

      assert.equal(first?.duplicate, false)
      assert.deepEqual(
        [again, late],
        [
          { id: first?.id, duplicate: true },
          { id: first?.id, duplicate: true },
        ],
      )
      assert.deepEqual(await queue.receive(), [])
    },
  },
  {
    claim: 'dedup works within a batch, and not from queue to queue',
    async run(target) {
      const queue = await newQueue(target)
      const other = await newQueue(target)

      const sent = await queue.send({
        messages: [{ body: 1, dedupId: 'a' }, { body: 2, dedupId: 'a' }, { body: 3, dedupId: 'b' }, { body: 4 }],
      })
      const [elsewhere] = await other.send({ body: 5, dedupId: 'a' })

      assert.deepEqual(
        sent.map(({ duplicate }) => duplicate),
        [false, true, false, false],
      )
      assert.equal(sent[1]?.id, sent[0]?.id)
      assert.equal(elsewhere?.duplicate, false)
    },
  },
  {
    claim: 'of many sends with one dedup id at the same time, one sends',
    async run(target) {
      const queue = await newQueue(target)

      const sent = await Promise.all(Array.from({ length: 8 }, (_, body) => queue.send({ body, dedupId: 'same' })))

      assert.equal(sent.filter(([message]) => message?.duplicate === false).length, 1)
      assert.equal(new Set(sent.map(([message]) => message?.id)).size, 1)
      assert.equal((await queue.peek()).messages.length, 1)
    },
  },
  {
    claim: 'with a dedup window of 0 nothing is remembered',
    async run(target) {
      const queue = await newQueue(target, { dedupWindowSeconds: 0 })
      await queue.send({ body: 1, dedupId: 'a' })

      const [again] = await queue.send({ body: 2, dedupId: 'a' })

      assert.equal(again?.duplicate, false)
    },
  },
]
