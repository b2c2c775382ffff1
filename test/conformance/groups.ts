/* Groups: strictly in order, one lease at a time; or a fair share beside other groups. */
import assert from 'node:assert/strict'
import type { ReceivedMessage } from '../../src/wire.ts'
import type { Case } from './target.ts'
import { newQueue, type TestQueue } from './test-queue.ts'

const bodies = (messages: readonly ReceivedMessage[]) => messages.map(({ body }) => body)

async function sendGroups(queue: TestQueue, ...sent: readonly (readonly [body: string, group?: string])[]) {
  await queue.send({ messages: sent.map(([body, group]) => ({ body, ...(group && { group }) })) })
}

export const groupCases: readonly Case[] = [
  {
    claim: 'a message of a group comes with the group’s name, whatever the name is',
    async run(target) {
      const queue = await newQueue(target)
      const names = ['g', 'Gruppe ä 世界 👋', 'quote\'s "double" {curly,braces} \\', 'x'.repeat(128), 'null', ' ']
      for (const [index, group] of names.entries()) await queue.send({ body: index, group })

      const received = await queue.receive({ max: 10 })

      assert.deepEqual(
        received.map(({ group }) => group),
        names,
      )
      assert.deepEqual(
        (await queue.peek()).messages.map(({ group }) => group),
        names,
      )
    },
  },
  {
    claim:
      'while a message of a group is leased the next one is blocked; other groups and messages without one are not',
    async run(target) {
      const queue = await newQueue(target)
      await sendGroups(queue, ['a1', 'a'], ['a2', 'a'], ['b1', 'b'], ['none'])

      const a1 = await queue.receiveOne()
      const others = await queue.receive({ max: 10 })

      assert.equal(a1.body, 'a1')
      assert.deepEqual(bodies(others), ['b1', 'none'])
      const { messages } = await queue.peek()
      assert.deepEqual(
        messages.map(({ body, state }) => [body, state]),
        [
          ['a1', 'leased'],
          ['a2', 'blocked'],
          ['b1', 'leased'],
          ['none', 'leased'],
        ],
      )
      assert.equal(messages[1]?.availableAt, undefined)
      assert.deepEqual(await queue.ack(a1.receipt), ['ok'])
      assert.equal((await queue.receiveOne()).body, 'a2')
    },
  },
  {
    claim: 'one receive may take several messages of a group, in order, and nobody else those behind them',
    async run(target) {
      const queue = await newQueue(target)
      await sendGroups(queue, ['1', 'g'], ['2', 'g'], ['3', 'g'], ['4', 'g'])

      const taken = await queue.receive({ max: 3 })

      assert.deepEqual(bodies(taken), ['1', '2', '3'])
      assert.deepEqual(await queue.receive({ max: 10 }), [])
      await queue.ack(...taken.slice(0, 2).map(({ receipt }) => receipt))
      assert.deepEqual(await queue.receive({ max: 10 }), [])
      await queue.ack(taken[2]?.receipt ?? '')
      assert.deepEqual(bodies(await queue.receive({ max: 10 })), ['4'])
    },
  },
  {
    claim: 'a message that was given back comes before the rest of its group',
    async run(target) {
      const queue = await newQueue(target)
      await sendGroups(queue, ['1', 'g'], ['2', 'g'])
      await queue.nack([(await queue.receiveOne()).receipt])

      const [again, ...more] = await queue.receive({ max: 10 })

      assert.deepEqual([again?.body, again?.attempts], ['1', 2])
      assert.deepEqual(more, [])
    },
  },
  {
    claim: 'a message that was given back for later holds up its group, and nobody else',
    async run(target) {
      const queue = await newQueue(target)
      await sendGroups(queue, ['1', 'g'], ['2', 'g'], ['other'])
      await queue.nack([(await queue.receiveOne()).receipt], { delaySeconds: 3600 })

      assert.deepEqual(bodies(await queue.receive({ max: 10 })), ['other'])
      assert.deepEqual(
        (await queue.peek()).messages.map(({ state }) => state),
        ['delayed', 'blocked', 'leased'],
      )
    },
  },
  {
    claim: 'a delayed message holds up those sent to its group after it',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1, group: 'g', delaySeconds: 3600 })
      await queue.send({ body: 2, group: 'g' })

      assert.deepEqual(await queue.receive({ max: 10 }), [])
      assert.deepEqual(
        (await queue.peek()).messages.map(({ state }) => state),
        ['delayed', 'blocked'],
      )
    },
  },
  {
    claim: 'when a lease ends, its group goes on with the message that was leased',
    async run(target) {
      const queue = await newQueue(target)
      await sendGroups(queue, ['1', 'g'], ['2', 'g'])
      const lost = await queue.receive({ max: 2, leaseSeconds: 0 })

      const again = await queue.receiveOne()

      assert.deepEqual(bodies(lost), ['1', '2'])
      assert.deepEqual([again.body, again.attempts], ['1', 2])
      assert.deepEqual(await queue.ack(lost[0]?.receipt ?? ''), ['lease_lost'])
      assert.deepEqual(await queue.ack(lost[1]?.receipt ?? ''), ['lease_lost'])
      assert.deepEqual(await queue.receive({ max: 10 }), [])
      assert.deepEqual(await queue.ack(again.receipt), ['ok'])
      assert.equal((await queue.receiveOne()).body, '2')
    },
  },
  {
    claim: 'a message of a group that becomes a dead letter, or is taken with autoAck, makes way for the next',
    async run(target) {
      const queue = await newQueue(target)
      await sendGroups(queue, ['rejected', 'g'], ['taken', 'g'], ['last', 'g'])

      await queue.nack([(await queue.receiveOne()).receipt], { deadLetter: true })
      const taken = await queue.receiveOne({ autoAck: true })
      const last = await queue.receiveOne()

      assert.deepEqual([taken.body, last.body], ['taken', 'last'])
    },
  },
  {
    claim: 'a group goes on after a purge',
    async run(target) {
      const queue = await newQueue(target)
      await sendGroups(queue, ['1', 'g'], ['2', 'g'])
      await queue.receiveOne()
      await queue.post('purge', {})

      await sendGroups(queue, ['3', 'g'], ['4', 'g'])

      assert.deepEqual(bodies(await queue.receive({ max: 10 })), ['3', '4'])
    },
  },
  {
    claim: 'many receivers at once get each group in its order, and no two of them one group',
    async run(target) {
      const queue = await newQueue(target)
      const sent = Array.from({ length: 40 }, (_, index): [string, string] => [`${index}`, `g${index % 4}`])
      await sendGroups(queue, ...sent)
      const done: string[] = []
      const owned = new Set<string>()

      await Promise.all(
        Array.from({ length: 4 }, async () => {
          while (done.length < sent.length) {
            const messages = await queue.receive({ max: 3 })
            const groups = new Set(messages.map(({ group = '' }) => group))
            for (const group of groups) assert.ok(!owned.has(group), `two own ${group}`)
            for (const group of groups) owned.add(group)
            // Meanwhile the others look.
            await queue.peek()
            done.push(...messages.map(({ body }) => String(body)))
            for (const group of groups) owned.delete(group)
            if (messages.length > 0) await queue.ack(...messages.map(({ receipt }) => receipt))
          }
        }),
      )

      for (const remainder of [0, 1, 2, 3]) {
        const order = done.map(Number).filter((index) => index % 4 === remainder)
        assert.deepEqual(
          order,
          order.toSorted((a, b) => a - b),
        )
      }
      assert.equal(new Set(done).size, sent.length)
    },
  },
  {
    claim: 'in a fair queue a loud group does not hold up a quiet one, and several of its messages are in work at once',
    async run(target) {
      const queue = await newQueue(target, { groups: 'fair' })
      const loud = Array.from({ length: 20 }, (_, index): [string, string] => [`loud ${index}`, 'loud'])
      await sendGroups(queue, ...loud)
      await sendGroups(queue, ['quiet', 'quiet'])

      const firstTwo = [await queue.receiveOne(), await queue.receiveOne()]
      const rest = await queue.receive({ max: 100 })

      assert.deepEqual(firstTwo.map(({ group }) => group).toSorted(), ['loud', 'quiet'])
      assert.equal(rest.length, 19)
    },
  },
  {
    claim: 'in a fair queue a message that failed holds up nobody',
    async run(target) {
      const queue = await newQueue(target, { groups: 'fair' })
      await sendGroups(queue, ['1', 'g'], ['2', 'g'])
      await queue.nack([(await queue.receiveOne()).receipt], { delaySeconds: 3600 })

      assert.deepEqual(bodies(await queue.receive({ max: 10 })), ['2'])
    },
  },
]
