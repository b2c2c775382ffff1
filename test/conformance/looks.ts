/* Looking without taking. */
import assert from 'node:assert/strict'
import { type Case, call, json } from './target.ts'
import { newQueue } from './test-queue.ts'

export const lookCases: readonly Case[] = [
  {
    claim: 'a look shows every message in the order sent, in its state, and takes none',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({
        messages: [
          { body: 'leased', type: 't', headers: { h: '1' } },
          { body: 'ready' },
          { body: 'delayed', delaySeconds: 60 },
        ],
      })
      const { id, leasedUntil, firstReceivedAt } = await queue.receiveOne()

      const { messages, next } = await queue.peek()

      assert.equal(next, undefined)
      assert.deepEqual(
        messages.map(({ body, state, attempts }) => [body, state, attempts]),
        [
          ['leased', 'leased', 1],
          ['ready', 'ready', 0],
          ['delayed', 'delayed', 0],
        ],
      )
      const { sentAt, availableAt, ...leased } = messages[0] ?? assert.fail()
      assert.equal(sentAt, availableAt)
      assert.deepEqual(leased, {
        id,
        encoding: 'json',
        body: 'leased',
        type: 't',
        headers: { h: '1' },
        priority: 0,
        attempts: 1,
        state: 'leased',
        firstReceivedAt,
        leasedUntil,
      })
      assert.deepEqual((await queue.peek()).messages, messages)
    },
  },
  {
    claim: 'a look goes page by page, and sees each message once',
    async run(target) {
      const queue = await newQueue(target)
      const ids = await queue.sendAll(...Array.from({ length: 25 }, (_, body) => body))

      const seen: string[] = []
      const sizes: number[] = []
      let query = ''
      for (let page = 0; page < 10; page++) {
        const { messages, next } = await queue.peek(query)
        seen.push(...messages.map(({ id }) => id))
        sizes.push(messages.length)
        if (next === undefined) break
        query = `?after=${next}`
      }

      assert.deepEqual(seen, ids)
      assert.deepEqual(sizes, [10, 10, 5])
      assert.equal((await queue.peek(`?max=1000&after=${ids[20]}`)).messages.length, 4)
      const last = json<{ messages: unknown[] }>(await call(target, 'GET', `${queue.path}/messages?after=${ids[24]}`))
      assert.deepEqual(last, { messages: [] })
    },
  },
]
