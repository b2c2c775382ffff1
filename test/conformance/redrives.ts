/* Bringing dead letters back: which, to where, how fast. */
import assert from 'node:assert/strict'
import type { MessageOptions, RedriveRequest } from '../../src/wire.ts'
import { assertProblem, type Case, type Target } from './target.ts'
import { newQueue, type TestQueue } from './test-queue.ts'

/** A queue with dead letters of these kinds, whose bodies are 0, 1, 2 and so on; their ids. */
async function withDeadLetters(target: Target, ...kinds: readonly (MessageOptions & { error?: string })[]) {
  const queue = await newQueue(target)
  const ids = await bury(queue, ...kinds)
  return { queue, ids }
}

async function bury(queue: TestQueue, ...kinds: readonly (MessageOptions & { error?: string })[]) {
  const ids: string[] = []
  for (const [body, { error = 'failed', ...options }] of kinds.entries()) {
    const [sent] = await queue.send({ body, ...options })
    await queue.nack([(await queue.receiveOne()).receipt], { deadLetter: true, error })
    ids.push(sent?.id ?? '')
  }
  return ids
}

const bodiesOf = async (queue: TestQueue) => (await queue.receive({ max: 1000 })).map(({ body }) => body)

/** Conditions, and the bodies of those of `kinds` that meet them. */
const kinds: readonly (MessageOptions & { error?: string })[] = [
  { type: 'a', headers: { tenant: '1', x: 'y' }, error: 'timeout of the bank' },
  { type: 'b', headers: { tenant: '1' }, group: 'g' },
  { type: 'a', headers: { tenant: '2' }, error: '100% wrong_' },
  {},
]
const conditions: readonly (readonly [what: string, request: RedriveRequest, expected: readonly number[]])[] = [
  ['of one type', { type: 'a' }, [0, 2]],
  ['with a header', { headers: { tenant: '1' } }, [0, 1]],
  ['with two headers', { headers: { x: 'y', tenant: '1' } }, [0]],
  ['with no header in particular', { headers: {} }, [0, 1, 2, 3]],
  ['of a group', { group: 'g' }, [1]],
  ['whose error contains a text', { errorContains: 'of the bank' }, [0]],
  ['whose error contains a text that is no pattern', { errorContains: '% wrong_' }, [2]],
  ['whose error contains no such text', { errorContains: 'f%d' }, []],
  ['for a reason', { reason: 'rejected' }, [0, 1, 2, 3]],
  ['for another reason', { reason: 'expired' }, []],
  ['that died long ago', { minAgeSeconds: 3600 }, []],
  ['that died lately', { maxAgeSeconds: 3600 }, [0, 1, 2, 3]],
  ['that meet several conditions', { type: 'a', headers: { tenant: '2' }, errorContains: '100' }, [2]],
]

export const redriveCases: readonly Case[] = [
  {
    claim: 'a redrive brings all dead letters back, as if they had not been received before, with their history',
    async run(target) {
      const { queue, ids } = await withDeadLetters(target, { type: 'a' }, {}, {})

      assert.deepEqual(await queue.redrive(), { redrivenMessages: 3 })

      const messages = await queue.receive({ max: 10 })
      assert.deepEqual(
        messages.map(({ id, attempts }) => [id, attempts]),
        ids.map((id) => [id, 1]),
      )
      assert.equal(messages[0]?.type, 'a')
      assert.deepEqual(
        messages.map(({ deadLetters }) => deadLetters?.map(({ reason, error }) => [reason, error])),
        ids.map(() => [['rejected', 'failed']]),
      )
      assert.deepEqual(await queue.ack(...messages.map(({ receipt }) => receipt)), ['ok', 'ok', 'ok'])
      assert.deepEqual(await queue.redrive(), { redrivenMessages: 0 })
    },
  },
  {
    claim: 'a redrive of a dead-letter queue brings each message back to where it came from',
    async run(target) {
      const deadLetters = await newQueue(target)
      const one = await newQueue(target, { deadLetterQueue: deadLetters.name })
      const other = await newQueue(target, { deadLetterQueue: deadLetters.name })
      await bury(one, {}, {})
      await bury(other, {})
      await deadLetters.send({ body: 'sent here' })

      assert.deepEqual(await deadLetters.redrive(), { redrivenMessages: 3 })

      assert.deepEqual(await bodiesOf(one), [0, 1])
      assert.deepEqual(await bodiesOf(other), [0])
      assert.deepEqual(await bodiesOf(deadLetters), ['sent here'])
    },
  },
  {
    claim: 'a redrive may bring them to another queue; one that is not there is refused',
    async run(target) {
      const { queue } = await withDeadLetters(target, {}, {})
      const other = await newQueue(target)

      assertProblem(
        await queue.post('redrive', { body: { target: 'nobody-made-this' } }),
        'queue_not_found',
        /nobody-made-this/,
      )
      assert.deepEqual(await queue.redrive({ target: other.name }), { redrivenMessages: 2 })

      assert.deepEqual((await queue.peek()).messages, [])
      assert.deepEqual(await bodiesOf(other), [0, 1])
    },
  },
  {
    claim: 'a redrive may name the messages; of what is not there, or not dead, nothing happens',
    async run(target) {
      const { queue, ids } = await withDeadLetters(target, {}, {}, {})
      const [ready] = await queue.sendAll('ready')

      const ask = { ids: [ids[2], ids[0], ids[0], ready, '999999999999999999'].map(String) }
      assert.deepEqual(await queue.redrive(ask), { redrivenMessages: 2 })

      assert.deepEqual((await bodiesOf(queue)).map(String).toSorted(), ['0', '2', 'ready'])
    },
  },
  ...conditions.map(
    ([what, request, expected]): Case => ({
      claim: `a redrive may bring back those ${what}: ${JSON.stringify(request)}`,
      async run(target) {
        const { queue } = await withDeadLetters(target, ...kinds)

        assert.deepEqual(await queue.redrive({ ...request, dryRun: true }), { redrivenMessages: expected.length })
        assert.deepEqual(await bodiesOf(queue), [])
        assert.deepEqual(await queue.redrive(request), { redrivenMessages: expected.length })

        assert.deepEqual((await bodiesOf(queue)).toSorted(), expected)
        assert.equal((await queue.peek('?state=dead')).messages.length, kinds.length - expected.length)
      },
    }),
  ),
  {
    claim: 'a redrive goes on where the one before ended, and counts each dead letter once',
    async run(target) {
      const { queue } = await withDeadLetters(target, {}, {}, {}, {}, {})
      for (const dryRun of [true, false]) {
        const counts: number[] = []
        let after: string | undefined
        do {
          const { redrivenMessages, next } = await queue.redrive({ max: 2, dryRun, ...(after && { after }) })
          counts.push(redrivenMessages)
          after = next
        } while (after !== undefined && counts.length < 10)

        assert.equal(
          counts.reduce((sum, count) => sum + count),
          5,
          counts.join(),
        )
        assert.ok(
          counts.every((count) => count <= 2),
          counts.join(),
        )
      }
      assert.equal((await bodiesOf(queue)).length, 5)
    },
  },
  {
    claim: 'a redrive may be slow: so many messages in a second',
    async run(target) {
      const { queue } = await withDeadLetters(target, {}, {}, {})

      await queue.redrive({ ratePerSecond: 0.01 })

      const times = (await queue.peek()).messages.map(({ availableAt }) => Date.parse(availableAt ?? '') / 1000)
      const [first = 0, second = 0, third = 0] = times.toSorted((a, b) => a - b)
      assert.deepEqual([Math.round(second - first), Math.round(third - second)], [100, 100])
      assert.ok((await bodiesOf(queue)).length <= 1)
    },
  },
  {
    claim: 'a waiting receive is answered soon after a redrive',
    async run(target) {
      const { queue } = await withDeadLetters(target, {})
      const waiting = queue.receiveOne({ waitSeconds: 20 })

      await queue.redrive()

      assert.equal((await waiting).body, 0)
    },
  },
  {
    claim: 'messages of a group come back in their order, and wait in line again',
    async run(target) {
      const { queue } = await withDeadLetters(target, { group: 'g' }, { group: 'g' }, { group: 'g' })

      await queue.redrive()

      for (const body of [0, 1, 2]) {
        const message = await queue.receiveOne()
        assert.equal(message.body, body)
        assert.deepEqual(await queue.receive(), [])
        await queue.ack(message.receipt)
      }
    },
  },
]
