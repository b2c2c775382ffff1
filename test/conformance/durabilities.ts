/* Durability: what a queue promises differs, how it is used does not. */
import assert from 'node:assert/strict'
import { maintainAll } from './maintain.ts'
import { assertProblem, type Case, call, json } from './target.ts'
import { newQueue } from './test-queue.ts'

export const durabilityCases: readonly Case[] = [
  ...(['relaxed', 'volatile'] as const).map(
    (durability): Case => ({
      claim: `a ${durability} queue does all that a durable one does`,
      async run(target) {
        const queue = await newQueue(target, { durability, maxPriority: 5, maxMessages: 100, maxInFlight: 50 })
        const [grouped, plain, later] = await queue.send({
          messages: [
            { body: 'grouped', group: 'g', dedupId: 'd' },
            { body: 'plain', priority: 5, headers: { h: '1' } },
            { body: 'later', delaySeconds: 60 },
            { body: 'expires', ttlSeconds: 0.001 },
            { body: 'again', dedupId: 'd' },
          ],
        })
        assert.ok(grouped && plain && later)

        const [first, second] = await queue.receive({ max: 10 })
        assert.ok(first && second)
        assert.deepEqual([first.body, second.body], ['plain', 'grouped'])
        assert.deepEqual(await queue.extend([first.receipt], { leaseSeconds: 60 }), ['ok'])
        assert.deepEqual(await queue.nack([second.receipt], { deadLetter: true, error: 'no' }), ['ok'])
        assert.deepEqual(await queue.redrive(), { redrivenMessages: 1 })
        assert.equal((await queue.receiveOne({ autoAck: true })).body, 'grouped')
        assert.deepEqual(await queue.ack(first.receipt), ['ok'])
        await maintainAll(target)

        assert.equal((await queue.get(later.id)).state, 'delayed')
        assert.deepEqual(
          (await queue.peek('?contains=later')).messages.map(({ body }) => body),
          ['later'],
        )
        assert.equal((await queue.stats()).delayed, 1)
        assertProblem(await call(target, 'GET', `${queue.path}/messages/${plain.id}`), 'message_not_found')
        assert.deepEqual(json(await call(target, 'DELETE', queue.path)), { deletedMessages: 1 })
      },
    }),
  ),
  {
    claim: 'a queue may become relaxed or durable again, but not volatile or the reverse',
    async run(target) {
      const lasting = await newQueue(target)
      const volatile = await newQueue(target, { durability: 'volatile' })
      await volatile.sendAll('kept')

      assert.equal((await lasting.configure({ durability: 'relaxed' })).durability, 'relaxed')
      assert.equal((await lasting.configure({})).durability, 'full')
      assert.equal((await volatile.configure({ durability: 'volatile', leaseSeconds: 5 })).leaseSeconds, 5)
      for (const [queue, durability] of [
        [lasting, 'volatile'],
        [volatile, 'full'],
        [volatile, 'relaxed'],
      ] as const) {
        const refused = await call(target, 'PUT', queue.path, { body: { durability } })
        assertProblem(
          refused,
          'request_invalid',
          /^durability of queue ".*" must stay .*, got '\w+': delete the queue first/,
        )
      }
      assert.equal((await volatile.receiveOne()).body, 'kept')
    },
  },
]
