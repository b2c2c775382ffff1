/* Looking at messages that meet conditions, and at one by its id. (All of them, page by page: looks.ts.) */
import assert from 'node:assert/strict'
import type { PeekedMessage } from '../../src/wire.ts'
import { until } from '../support/until.ts'
import { assertProblem, type Case, call, json } from './target.ts'
import { bodyText, newQueue, type TestQueue } from './test-queue.ts'

/** One message of every state and kind; their names are their types or bodies. */
async function fill(queue: TestQueue): Promise<void> {
  await queue.send({ body: { text: 'first "rejected"' }, type: 'rejected', headers: { tenant: '1' } })
  await queue.nack([(await queue.receiveOne()).receipt], { deadLetter: true, error: 'no' })
  await queue.send({ body: { text: 'leased' }, type: 'leased', headers: { tenant: '1', a: 'b:c' }, group: 'g' })
  await queue.receiveOne({ leaseSeconds: 3600 })
  await queue.send({
    messages: [
      { body: { text: 'blocked' }, type: 'blocked', headers: { tenant: '1' }, group: 'g' },
      { body: { text: 'delayed' }, type: 'delayed', headers: { tenant: '2' }, delaySeconds: 3600 },
      { body: '100% of_text', type: 'text', encoding: 'text' },
      { body: 'AAEC', type: 'bytes', encoding: 'base64', headers: { '': 'x', 'näme 👋': 'wärt' } },
    ],
  })
}

const conditions: readonly (readonly [query: string, expected: readonly string[]])[] = [
  ['', ['rejected', 'leased', 'blocked', 'delayed', 'text', 'bytes']],
  ['state=ready', ['text', 'bytes']],
  ['state=leased', ['leased']],
  ['state=delayed', ['delayed']],
  ['state=blocked', ['blocked']],
  ['state=dead', ['rejected']],
  ['type=text', ['text']],
  ['type=tex', []],
  ['header=tenant:1', ['rejected', 'leased', 'blocked']],
  ['header=tenant:1&header=a:b%3Ac', ['leased']],
  ['header=tenant:3', []],
  ['header=tenant:', []],
  ['header=:x', ['bytes']],
  [`header=${encodeURIComponent('näme 👋:wärt')}`, ['bytes']],
  ['group=g', ['leased', 'blocked']],
  ['group=h', []],
  ['minAgeSeconds=0', ['rejected', 'leased', 'blocked', 'delayed', 'text', 'bytes']],
  ['minAgeSeconds=3600', []],
  ['maxAgeSeconds=3600', ['rejected', 'leased', 'blocked', 'delayed', 'text', 'bytes']],
  ['contains=ed', ['rejected', 'leased', 'blocked', 'delayed']],
  [`contains=${encodeURIComponent('"text":"d')}`, ['delayed']],
  [`contains=${encodeURIComponent('% of_')}`, ['text']],
  [`contains=${encodeURIComponent('0%_')}`, []],
  ['contains=AAEC', []],
  ['contains=REJECTED', []],
  ['reason=rejected', ['rejected']],
  ['reason=attempts', []],
  ['state=ready&contains=text&type=text', ['text']],
  ['state=leased&group=g&header=tenant:1&minAgeSeconds=0&contains=leased', ['leased']],
]

export const searchCases: readonly Case[] = [
  ...conditions.map(
    ([query, expected]): Case => ({
      claim: `a look with ${decodeURIComponent(query) || 'no condition'} shows ${expected.join(', ') || 'nothing'}`,
      async run(target) {
        const queue = await newQueue(target)
        await fill(queue)

        const { messages, next } = await queue.peek(`?${query}`)

        assert.deepEqual(
          messages.map(({ type }) => type),
          expected,
        )
        assert.equal(next, undefined)
      },
    }),
  ),
  {
    claim: 'a search goes page by page, and finds each message once',
    async run(target) {
      const queue = await newQueue(target)
      const messages = Array.from({ length: 25 }, (_, body) => ({ body, type: body % 3 === 0 ? 'third' : 'other' }))
      await queue.send({ messages })

      const seen: unknown[] = []
      let query = '?type=third&max=4'
      for (let page = 0; page < 10; page++) {
        const { messages: found, next } = await queue.peek(query)
        seen.push(...found.map(({ body }) => body))
        if (next === undefined) break
        query = `?type=third&max=4&after=${next}`
      }

      assert.deepEqual(seen, [0, 3, 6, 9, 12, 15, 18, 21, 24])
    },
  },
  {
    claim: 'a search looks at 10,000 messages and then says where to go on, also if it has found none',
    async run(target) {
      const queue = await newQueue(target)
      const thousand = Array.from({ length: 1000 }, () => ({ body: 0 }))
      for (let batch = 0; batch < 10; batch++) await queue.send({ messages: thousand })
      await queue.send({ body: 'the one', type: 'rare' })

      const first = await queue.peek('?type=rare')
      const second = await queue.peek(`?type=rare&after=${first.next}`)

      assert.deepEqual(first.messages, [])
      assert.ok(first.next)
      assert.deepEqual(
        second.messages.map(({ body }) => body),
        ['the one'],
      )
      assert.equal(second.next, undefined)
    },
  },
  {
    claim: 'one message is looked at by its id, and shows the same as in a list',
    async run(target) {
      const queue = await newQueue(target)
      await fill(queue)
      const { messages } = await queue.peek()

      for (const message of messages) assert.deepEqual(await queue.get(message.id), message)

      const [dead, , blocked] = messages
      assert.deepEqual([dead?.state, dead?.deadReason, dead?.lastError], ['dead', 'rejected', 'no'])
      assert.deepEqual([blocked?.state, blocked?.group, blocked?.availableAt], ['blocked', 'g', undefined])
    },
  },
  {
    claim: 'a look at one message takes nothing, and shows its body byte for byte',
    async run(target) {
      const queue = await newQueue(target)
      const text = '{ "n":1.0,"big":12345678901234567890,"twice":1,"twice":2 }'
      const [sent] = await queue.send(`{"body":${text}}`)

      const answer = await call(target, 'GET', `${queue.path}/messages/${sent?.id}`)

      assert.ok(answer.text.endsWith(`"body":${text}}`), answer.text)
      assert.equal(json<PeekedMessage>(answer).state, 'ready')
      assert.equal(bodyText(await queue.post('receive', { body: {} })), text)
    },
  },
  {
    claim: 'a message that is not there, was acked or is in another queue is message_not_found',
    async run(target) {
      const queue = await newQueue(target)
      const other = await newQueue(target)
      const [id] = await queue.sendAll(1)
      const [elsewhere] = await other.sendAll(1)
      await queue.ack((await queue.receiveOne()).receipt)

      for (const missing of [id, elsewhere, '0', '999999999999999999']) {
        const answer = await call(target, 'GET', `${queue.path}/messages/${missing}`)
        assertProblem(answer, 'message_not_found', new RegExp(`\\b${missing}\\b`))
      }
    },
  },
  {
    claim: 'what was redriven is no dead letter any more, but keeps its history',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1)
      await queue.nack([(await queue.receiveOne()).receipt], { deadLetter: true })
      await queue.redrive()

      const [message] = (await queue.peek()).messages

      assert.deepEqual([message?.state, message?.deadAt, message?.deadReason], ['ready', undefined, undefined])
      assert.equal(message?.deadLetters?.length, 1)
      assert.deepEqual((await queue.peek('?reason=rejected')).messages, [])
    },
  },
  {
    claim: 'what has expired is not shown, though it may not have been removed yet',
    async run(target) {
      const queue = await newQueue(target)
      const [sent] = await queue.send({ body: 1, ttlSeconds: 0.001 })

      const { id = '' } = sent ?? {}
      await until('the end of its time', async () => (await queue.peek()).messages.length === 0 || undefined)

      assertProblem(await call(target, 'GET', `${queue.path}/messages/${id}`), 'message_not_found')
      const { ready, bytes } = await queue.stats()
      assert.deepEqual([ready, bytes], [0, 0])
    },
  },
]
