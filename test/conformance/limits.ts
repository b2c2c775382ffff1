/* The limits of a queue: how much it holds, how much of it is in work, how fast it is handed out. */
import assert from 'node:assert/strict'
import { type Answer, assertProblem, type Case } from './target.ts'
import { newQueue, type TestQueue } from './test-queue.ts'

function assertFull(answer: Answer): void {
  assertProblem(answer, 'queue_full', /^queue ".*" is full: it may hold \d+ (messages|bytes)$/)
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-9][0-9]*$/)
}

const bodiesIn = async (queue: TestQueue) => (await queue.peek('?max=1000')).messages.map(({ body }) => body)

const send = (queue: TestQueue, ...bodies: readonly unknown[]) =>
  queue.post('messages', { body: { messages: bodies.map((body) => ({ body })) } })

export const limitCases: readonly Case[] = [
  {
    claim: 'a send into a queue that has as many messages as it may is queue_full, with a word on when to try again',
    async run(target) {
      const queue = await newQueue(target, { maxMessages: 3 })
      await queue.sendAll(1, 2)

      assertFull(await send(queue, 3, 4))
      assert.deepEqual(await bodiesIn(queue), [1, 2])
      await queue.sendAll(3)
      assertFull(await send(queue, 4))
      assertFull(await queue.post('messages', { body: 'raw', contentType: 'text/plain' }))

      await queue.ack((await queue.receiveOne()).receipt)
      await queue.sendAll(4)
      assert.deepEqual(await bodiesIn(queue), [2, 3, 4])
    },
  },
  {
    claim: 'leased and delayed messages count, and a duplicate takes no room',
    async run(target) {
      const queue = await newQueue(target, { maxMessages: 2 })
      await queue.send({ body: 'leased', dedupId: 'd' })
      await queue.send({ body: 'delayed', delaySeconds: 60 })
      await queue.receiveOne()

      assertFull(await send(queue, 'third'))
      const [again] = await queue.send({ body: 'again', dedupId: 'd' })

      assert.equal(again?.duplicate, true)
    },
  },
  {
    claim: 'a batch that is larger than the queue may be is batch_too_large, however the queue overflows',
    async run(target) {
      for (const overflow of ['reject', 'drop-oldest'] as const) {
        const queue = await newQueue(target, { maxMessages: 2, maxBytes: 10, overflow })

        assertProblem(
          await send(queue, 1, 2, 3),
          'batch_too_large',
          /it may hold 2 messages and 10 bytes, got 3 messages/,
        )
        assertProblem(await send(queue, '123456789'), 'batch_too_large', /got 1 messages and 11 bytes$/)
        assert.deepEqual(await bodiesIn(queue), [])
      }
    },
  },
  {
    claim: 'a queue may be limited by the bytes of its bodies',
    async run(target) {
      const queue = await newQueue(target, { maxBytes: 10 })
      const text = (body: string) => queue.post('messages', { body: { body, encoding: 'text' } })
      assert.equal((await text('12345678')).status, 201)

      assertFull(await text('123'))
      assertFull(await text('éa'))
      assert.equal((await text('é')).status, 201)
      assertFull(await text('1'))
    },
  },
  {
    claim: 'bytes sent in base64 count as what they are, not as what they are written as',
    async run(target) {
      const queue = await newQueue(target, { maxBytes: 9 })

      const sent = await queue.post('messages', {
        body: { body: Buffer.alloc(9).toString('base64'), encoding: 'base64' },
      })

      assert.equal(sent.status, 201, sent.text)
      assert.equal((await queue.stats()).bytes, 9)
    },
  },
  {
    claim: 'a queue that drops its oldest messages takes every send, and keeps the newest and what is leased',
    async run(target) {
      const queue = await newQueue(target, { maxMessages: 3, overflow: 'drop-oldest' })
      await queue.sendAll('leased')
      const { receipt } = await queue.receiveOne()
      await queue.sendAll(1, 2)

      await queue.sendAll(3)
      await queue.sendAll(4)

      assert.deepEqual(await bodiesIn(queue), ['leased', 3, 4])
      assert.deepEqual(await queue.ack(receipt), ['ok'])
    },
  },
  {
    claim: 'what a full queue drops goes to its dead-letter queue, or stays as dead where it is its own',
    async run(target) {
      const deadLetters = await newQueue(target)
      const elsewhere = await newQueue(target, {
        maxMessages: 1,
        overflow: 'drop-oldest',
        deadLetterQueue: deadLetters.name,
      })
      const here = await newQueue(target)
      await here.configure({ maxMessages: 1, overflow: 'drop-oldest', deadLetterQueue: here.name })
      for (const queue of [elsewhere, here]) {
        await queue.sendAll('old')
        await queue.sendAll('new')
      }

      const letter = await deadLetters.receiveOne()
      const [dead] = (await here.peek('?state=dead')).messages

      assert.deepEqual([letter.body, letter.deadLetters?.[0]?.reason], ['old', 'overflow'])
      assert.deepEqual([dead?.body, dead?.deadReason], ['old', 'overflow'])
      assert.equal((await elsewhere.receiveOne()).body, 'new')
      assert.equal((await here.receiveOne()).body, 'new')
    },
  },
  {
    claim: 'of a queue with a limit in flight so many are leased at the same time, whoever asks',
    async run(target) {
      const queue = await newQueue(target, { maxInFlight: 3 })
      await queue.sendAll(...Array.from({ length: 20 }, (_, body) => body))

      const taken = (await Promise.all(Array.from({ length: 8 }, () => queue.receive({ max: 2 })))).flat()

      assert.equal(taken.length, 3)
      assert.deepEqual(await queue.receive({ max: 10 }), [])
      await queue.ack(taken[0]?.receipt ?? '')
      await queue.nack([taken[1]?.receipt ?? ''], { delaySeconds: 60 })
      await queue.extend([taken[2]?.receipt ?? ''], { leaseSeconds: 3600 })
      assert.equal((await queue.receive({ max: 10 })).length, 2)
    },
  },
  {
    claim: 'a lease that ends makes room in flight',
    async run(target) {
      const queue = await newQueue(target, { maxInFlight: 1 })
      await queue.sendAll(1, 2)
      await queue.receiveOne({ leaseSeconds: 0 })

      assert.equal((await queue.receive({ max: 10 })).length, 1)
    },
  },
  {
    claim: 'a rate limit hands out so many at once, and then one after the other, whoever asks',
    async run(target) {
      const queue = await newQueue(target, { ratePerSecond: 0.001, rateBurst: 4 })
      await queue.sendAll(...Array.from({ length: 20 }, (_, body) => body))

      const taken = await Promise.all(Array.from({ length: 8 }, () => queue.receive({ max: 3 })))

      assert.equal(taken.flat().length, 4)
      assert.deepEqual(await queue.receive({ max: 10, autoAck: true }), [])
      await queue.configure({})
      assert.equal((await queue.receive({ max: 100 })).length, 16)
    },
  },
  {
    claim: 'a waiting receive gets its message as soon as the rate allows it',
    async run(target) {
      const queue = await newQueue(target, { ratePerSecond: 2 })
      await queue.sendAll(...Array.from({ length: 4 }, (_, body) => body))
      assert.equal((await queue.receive({ max: 10 })).length, 2)

      const { body } = await queue.receiveOne({ waitSeconds: 20 })

      assert.equal(body, 2)
    },
  },
  {
    claim: 'a rate limit of groups holds for each, and not for messages without one',
    async run(target) {
      const queue = await newQueue(target, { groups: 'fair', groupRatePerSecond: 0.001, groupRateBurst: 2 })
      const messages = Array.from({ length: 12 }, (_, index) => ({ body: index, group: `g${index % 2}` }))
      await queue.send({ messages: [...messages, { body: 'free' }, { body: 'free' }, { body: 'free' }] })

      const seen: string[] = []
      for (let look = 0; look < 12; look++) {
        seen.push(...(await queue.receive({ max: 10 })).map(({ group = 'none' }) => group))
      }

      assert.deepEqual(seen.toSorted(), ['g0', 'g0', 'g1', 'g1', 'none', 'none', 'none'])
    },
  },
]
