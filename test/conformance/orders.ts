/* Which message is next: first in first out, or last in first out. (Priorities: sends.ts; groups: groups.ts.) */
import assert from 'node:assert/strict'
import { until } from '../support/until.ts'
import { assertProblem, type Case } from './target.ts'
import { newQueue } from './test-queue.ts'

export const orderCases: readonly Case[] = [
  {
    claim: 'in a lifo queue the message that became available last is next',
    async run(target) {
      const queue = await newQueue(target, { order: 'lifo' })
      for (const body of ['a', 'b', 'c', 'd', 'e']) await queue.send({ body })

      const first = await queue.receive({ max: 2 })
      await queue.send({ body: 'f' })
      const rest = await queue.receive({ max: 10 })

      assert.deepEqual(
        [...first, ...rest].map(({ body }) => body),
        ['e', 'd', 'f', 'c', 'b', 'a'],
      )
    },
  },
  {
    claim: 'in a lifo queue a message that was given back is next',
    async run(target) {
      const queue = await newQueue(target, { order: 'lifo' })
      for (const body of ['a', 'b', 'c']) await queue.send({ body })
      const [c, b] = await queue.receive({ max: 2 })

      await queue.nack([c?.receipt ?? ''])
      await queue.nack([b?.receipt ?? ''])

      const received = await queue.receive({ max: 10 })
      assert.deepEqual(
        received.map(({ body }) => body),
        ['b', 'c', 'a'],
      )
    },
  },
  {
    claim: 'in a lifo queue a message whose time has just come is next',
    async run(target) {
      const queue = await newQueue(target, { order: 'lifo' })
      await queue.send({ body: 'now' })
      await queue.send({ body: 'late', delaySeconds: 0.3 })
      const [later] = await queue.send({ body: 'later', delaySeconds: 0.6 })
      await until('its time', async () => (await queue.get(later?.id ?? '')).state === 'ready' || undefined)

      const received = await queue.receive({ max: 10 })

      assert.deepEqual(
        received.map(({ body }) => body),
        ['later', 'late', 'now'],
      )
    },
  },
  {
    claim: 'in a lifo queue higher priorities are received first, and within one the newer message',
    async run(target) {
      const queue = await newQueue(target, { order: 'lifo', maxPriority: 9 })
      for (const [body, priority] of [
        ['low', 0],
        ['high 1', 9],
        ['middle', 4],
        ['high 2', 9],
      ] as const) {
        await queue.send({ body, priority })
      }

      const received = await queue.receive({ max: 10 })

      assert.deepEqual(
        received.map(({ body }) => body),
        ['high 2', 'high 1', 'middle', 'low'],
      )
    },
  },
  {
    claim: 'many receivers of a lifo queue share no message, and miss none',
    async run(target) {
      const queue = await newQueue(target, { order: 'lifo' })
      const ids = await queue.sendAll(...Array.from({ length: 40 }, (_, body) => body))

      const taken = await Promise.all(Array.from({ length: 8 }, () => queue.receive({ max: 10 })))

      const rest = await queue.receive({ max: 1000 })
      assert.deepEqual([...taken.flat(), ...rest].map(({ id }) => id).toSorted(), ids.toSorted())
    },
  },
  {
    claim: 'a lifo queue takes no groups',
    async run(target) {
      const queue = await newQueue(target, { order: 'lifo' })

      const refused = await queue.post('messages', { body: { messages: [{ body: 1 }, { body: 2, group: 'g' }] } })

      assertProblem(refused, 'request_invalid', /^group must not be given for queue .*lifo, got g$/)
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'a queue may change its order, also with messages in it',
    async run(target) {
      const queue = await newQueue(target)
      for (const body of ['a', 'b', 'c', 'd']) await queue.send({ body })

      await queue.configure({ order: 'lifo' })
      const last = await queue.receiveOne()
      await queue.configure({ order: 'fifo' })
      const first = await queue.receiveOne()

      assert.deepEqual([last.body, first.body], ['d', 'a'])
    },
  },
]
