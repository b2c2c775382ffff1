/* Receiving and settling: leases, receipts, every outcome, fencing. */
import assert from 'node:assert/strict'
import type { ReceiveResponse } from '../../src/wire.ts'
import { assertProblem, type Case, json } from './target.ts'
import { newQueue } from './test-queue.ts'

export const leaseCases: readonly Case[] = [
  {
    claim: 'a receive takes one message by default, and at most max',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1, 2, 3, 4)

      const sizes = [await queue.receive(), await queue.receive({ max: 2 }), await queue.receive({ max: 1000 })]

      assert.deepEqual(
        sizes.map((messages) => messages.map(({ body }) => body)),
        [[1], [2, 3], [4]],
      )
    },
  },
  {
    claim: 'a receive without a body is one with the defaults',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1, 2)

      const { messages } = json<{ messages: unknown[] }>(await queue.post('receive', {}))

      assert.equal(messages.length, 1)
    },
  },
  {
    claim: 'a leased message is nobody else’s; many receivers at once share none',
    async run(target) {
      const queue = await newQueue(target)
      const ids = await queue.sendAll(...Array.from({ length: 40 }, (_, body) => body))

      const taken = await Promise.all(Array.from({ length: 8 }, () => queue.receive({ max: 10 })))

      const received = taken.flat().map(({ id }) => id)
      const rest = (await queue.receive({ max: 1000 })).map(({ id }) => id)
      assert.deepEqual([...received, ...rest].sort(), [...ids].sort())
    },
  },
  {
    claim: 'the lease is as long as the receive says, else as the queue says',
    async run(target) {
      const queue = await newQueue(target, { leaseSeconds: 90 })
      await queue.sendAll(1, 2)
      const length = ({ firstReceivedAt = '', leasedUntil = '' }) =>
        Date.parse(leasedUntil) - Date.parse(firstReceivedAt)

      assert.equal(length(await queue.receiveOne()), 90_000)
      assert.equal(length(await queue.receiveOne({ leaseSeconds: 43_200 })), 43_200_000)
    },
  },
  {
    claim: 'a message whose lease ended is available again, with one attempt more and another receipt',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })

      const first = await queue.receiveOne({ leaseSeconds: 0 })
      const second = await queue.receiveOne()

      assert.deepEqual([first.id, first.attempts, second.attempts], [second.id, 1, 2])
      assert.notEqual(first.receipt, second.receipt)
      assert.equal(first.firstReceivedAt, second.firstReceivedAt)
    },
  },
  {
    claim: 'an acked message is gone; its receipt then says message_gone',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const { receipt } = await queue.receiveOne()

      assert.deepEqual(await queue.ack(receipt), ['ok'])
      assert.deepEqual(await queue.ack(receipt), ['message_gone'])
      assert.deepEqual(await queue.nack([receipt]), ['message_gone'])
      assert.deepEqual(await queue.extend([receipt]), ['message_gone'])
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'a batch of receipts is answered one by one, in its order',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1, 2, 3)
      const [a, b, c] = await queue.receive({ max: 3 })
      assert.ok(a && b && c)
      await queue.ack(b.receipt)

      const outcomes = await queue.ack('nonsense', c.receipt, b.receipt, a.receipt, c.receipt)

      assert.deepEqual(outcomes, ['receipt_invalid', 'ok', 'message_gone', 'ok', 'message_gone'])
    },
  },
  {
    claim: 'what is no receipt is receipt_invalid, whatever it looks like',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const { receipt } = await queue.receiveOne()
      const made = ['', ' ', 'null', 'nonsense', '1', '.', '..', '-1.-1', '9'.repeat(400), '\u0661.\u0661']
      const nonsense = [
        ...made,
        `${receipt} `,
        ` ${receipt}`,
        `${receipt}\n`,
        `${receipt}x`,
        `${receipt}.1`,
        `+${receipt}`,
      ]

      for (const verb of ['ack', 'nack', 'extend']) {
        const body = { receipts: nonsense }
        const { results } = json<{ results: { outcome: string }[] }>(await queue.post(verb, { body }))
        assert.deepEqual(
          results.map(({ outcome }) => outcome),
          nonsense.map(() => 'receipt_invalid'),
          verb,
        )
      }
      assert.deepEqual(await queue.ack(receipt), ['ok'])
    },
  },
  {
    claim: 'a receipt that was changed anywhere settles nothing',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const { receipt } = await queue.receiveOne()
      const changed = [...receipt].map((character, at) => {
        const other = /[0-8]/.test(character) ? Number(character) + 1 : 0
        return `${receipt.slice(0, at)}${other}${receipt.slice(at + 1)}`
      })

      const outcomes = await queue.ack(...changed, receipt.slice(0, -1), receipt.slice(1), `${receipt}0`)

      assert.ok(!outcomes.includes('ok'), outcomes.join())
      assert.deepEqual(await queue.ack(receipt), ['ok'])
    },
  },
  {
    claim: 'the receipt of another queue’s message settles nothing here',
    async run(target) {
      const queue = await newQueue(target)
      const other = await newQueue(target)
      await other.send({ body: 1 })
      const { receipt } = await other.receiveOne()

      assert.deepEqual(await queue.ack(receipt), ['message_gone'])
      assert.deepEqual(await other.ack(receipt), ['ok'])
    },
  },
  {
    claim: 'a nack gives the message back at once, behind what waits already',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll('first', 'second')
      const { receipt } = await queue.receiveOne()

      assert.deepEqual(await queue.nack([receipt]), ['ok'])

      const [second, first] = await queue.receive({ max: 2 })
      assert.deepEqual([second?.body, first?.body, first?.attempts], ['second', 'first', 2])
    },
  },
  {
    claim: 'a nack may name a delay and a reason, which a look shows',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const { receipt } = await queue.receiveOne()

      assert.deepEqual(await queue.nack([receipt], { delaySeconds: 3600, error: `${'e'.repeat(4000)}cut off` }), ['ok'])

      assert.deepEqual(await queue.receive(), [])
      const [message] = (await queue.peek()).messages
      assert.equal(message?.state, 'delayed')
      assert.equal(message?.lastError, 'e'.repeat(4000))
      assert.equal(message?.leasedUntil, undefined)
    },
  },
  {
    claim: 'of a nack’s reason, what Postgres cannot hold is replaced: that is no ground to keep the message',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const { receipt } = await queue.receiveOne()

      assert.deepEqual(await queue.nack([receipt], { error: 'zero \0, half a pair \ud800' }), ['ok'])

      assert.equal((await queue.peek()).messages[0]?.lastError, 'zero \ufffd, half a pair \ufffd')
    },
  },
  {
    claim: 'an extend moves the end of the lease, to the queue’s length by default, and keeps the receipt',
    async run(target) {
      const queue = await newQueue(target, { leaseSeconds: 60 })
      await queue.send({ body: 1 })
      const { receipt, leasedUntil } = await queue.receiveOne({ leaseSeconds: 10 })
      const end = async () => Date.parse((await queue.peek()).messages[0]?.leasedUntil ?? '') - Date.parse(leasedUntil)

      assert.deepEqual(await queue.extend([receipt]), ['ok'])
      assert.ok((await end()) >= 50_000)
      assert.deepEqual(await queue.extend([receipt], { leaseSeconds: 43_200 }), ['ok'])
      assert.ok((await end()) >= 43_190_000)

      assert.deepEqual(await queue.ack(receipt), ['ok'])
    },
  },
  {
    claim: 'an extend by 0 seconds ends the lease',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const { receipt } = await queue.receiveOne()

      assert.deepEqual(await queue.extend([receipt], { leaseSeconds: 0 }), ['ok'])

      assert.equal((await queue.receiveOne()).attempts, 2)
    },
  },
  {
    claim:
      'a lease that ended cannot be extended, but still acks and nacks as long as nobody else has received the message',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const { receipt } = await queue.receiveOne({ leaseSeconds: 0 })

      assert.deepEqual(await queue.extend([receipt]), ['lease_expired'])
      assert.deepEqual(await queue.nack([receipt]), ['ok'])
      const again = await queue.receiveOne({ leaseSeconds: 0 })
      assert.deepEqual(await queue.ack(again.receipt), ['ok'])
    },
  },
  {
    claim: 'once the lease has passed to someone else, the old receipt neither acks, nacks nor extends',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const old = await queue.receiveOne({ leaseSeconds: 0 })
      const current = await queue.receiveOne()

      assert.deepEqual(await queue.ack(old.receipt), ['lease_lost'])
      assert.deepEqual(await queue.nack([old.receipt]), ['lease_lost'])
      assert.deepEqual(await queue.extend([old.receipt]), ['lease_lost'])

      assert.deepEqual(await queue.extend([current.receipt]), ['ok'])
      assert.deepEqual(await queue.ack(current.receipt), ['ok'])
    },
  },
  {
    claim: 'a receipt is worth nothing once its message was given back',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const { receipt } = await queue.receiveOne()
      await queue.nack([receipt])

      assert.deepEqual(await queue.ack(receipt), ['lease_lost'])
      assert.deepEqual(await queue.extend([receipt]), ['lease_lost'])
      assert.equal((await queue.receiveOne()).attempts, 2)
    },
  },
  {
    claim: 'a receive acks what is done, and leases what comes next',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll('a', 'b', 'c', 'd')
      const [a, b] = (await queue.receive({ max: 2 })).map(({ receipt }) => receipt) as [string, string]

      const body = { acks: [b, 'none', a, b], max: 10 }
      const { acks, messages } = json<ReceiveResponse>(await queue.post('receive', { body }))

      assert.deepEqual(acks, [
        { receipt: b, outcome: 'ok' },
        { receipt: 'none', outcome: 'receipt_invalid' },
        { receipt: a, outcome: 'ok' },
        { receipt: b, outcome: 'message_gone' },
      ])
      assert.deepEqual(
        messages.map(({ body }) => body),
        ['c', 'd'],
      )
      assert.equal((await queue.stats()).leased, 2)
    },
  },
  {
    claim: 'the answer to a receive without acks tells of none',
    async run(target) {
      const queue = await newQueue(target)

      assert.deepEqual(json(await queue.post('receive', { body: {} })), { messages: [] })
    },
  },
  {
    claim: 'a receive that is refused acks nothing',
    async run(target) {
      const queue = await newQueue(target)
      await queue.send({ body: 1 })
      const { receipt } = await queue.receiveOne()

      assertProblem(await queue.post('receive', { body: { acks: [receipt], max: 0 } }), 'request_invalid')

      assert.deepEqual(await queue.ack(receipt), ['ok'])
    },
  },
]
