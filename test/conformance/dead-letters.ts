/* Dead letters: why a message becomes one, where it goes, and what is kept with it. */
import assert from 'node:assert/strict'
import { until } from '../support/until.ts'
import { maintainAll } from './maintain.ts'
import { assertProblem, type Case, call } from './target.ts'
import { newExchange } from './test-exchange.ts'
import { newQueue } from './test-queue.ts'

export const deadLetterCases: readonly Case[] = [
  {
    claim: 'a message that was given back after its last attempt is dead, and a look says why',
    async run(target) {
      const queue = await newQueue(target, { maxAttempts: 2 })
      await queue.send({ body: 1 })

      await queue.nack([(await queue.receiveOne()).receipt], { error: 'first' })
      const { receipt, attempts, expiresAt, leasedUntil } = await queue.receiveOne()
      assert.deepEqual(await queue.nack([receipt], { error: 'second', delaySeconds: 60 }), ['ok'])

      assert.equal(attempts, 2)
      assert.equal(expiresAt, leasedUntil)
      assert.deepEqual(await queue.receive(), [])
      const [message] = (await queue.peek()).messages
      assert.ok(message?.deadAt)
      const { state, deadReason, lastError, availableAt, leasedUntil: leased, deadLetters } = message
      assert.deepEqual(
        { state, deadReason, lastError, availableAt, leased },
        { state: 'dead', deadReason: 'attempts', lastError: 'second', availableAt: undefined, leased: undefined },
      )
      assert.deepEqual(deadLetters, [
        { queue: queue.name, reason: 'attempts', error: 'second', attempts: 2, at: message.deadAt },
      ])
      assert.deepEqual(await queue.ack(receipt), ['lease_lost'])
    },
  },
  {
    claim: 'a message whose last lease ends is dead, with nobody’s help',
    async run(target) {
      const queue = await newQueue(target, { maxAttempts: 1 })
      await queue.send({ body: 1 })
      const { id, receipt } = await queue.receiveOne({ leaseSeconds: 0 })

      const dead = await until('the dead letter', async () => {
        assert.deepEqual(await queue.receive(), [])
        // (It is in this state from the moment its lease ends, and buried when a session next tidies.)
        return (await queue.peek('?state=dead')).messages.find(({ deadAt }) => deadAt)
      })

      assert.deepEqual([dead.id, dead.deadReason, dead.attempts, dead.lastError], [id, 'attempts', 1, undefined])
      assert.notDeepEqual(await queue.ack(receipt), ['ok'])
    },
  },
  {
    claim: 'a lease of the last attempt may be extended, and its message acked',
    async run(target) {
      const queue = await newQueue(target, { maxAttempts: 1, leaseSeconds: 60 })
      await queue.sendAll(1)
      const { receipt } = await queue.receiveOne()

      assert.deepEqual(await queue.extend([receipt]), ['ok'])
      await maintainAll(target)

      assert.deepEqual(await queue.ack(receipt), ['ok'])
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'a nack may make a dead letter at once, and only of what its receipt owns',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1, 2)
      const [one, two] = await queue.receive({ max: 2 })
      assert.ok(one && two)
      await queue.ack(two.receipt)

      const outcomes = await queue.nack([two.receipt, one.receipt, 'nonsense'], { deadLetter: true, error: 'no use' })

      assert.deepEqual(outcomes, ['message_gone', 'ok', 'receipt_invalid'])
      const { state, deadReason, lastError } = await queue.get(one.id)
      assert.deepEqual([state, deadReason, lastError], ['dead', 'rejected', 'no use'])
      assert.deepEqual(await queue.nack([one.receipt]), ['lease_lost'])
    },
  },
  {
    claim: 'a nack with deadLetter false is one as always',
    async run(target) {
      const queue = await newQueue(target)
      await queue.sendAll(1)

      await queue.nack([(await queue.receiveOne()).receipt], { deadLetter: false, delaySeconds: 0 })

      assert.equal((await queue.receiveOne()).attempts, 2)
    },
  },
  {
    claim: 'with a dead-letter queue they go there, to be received, with all that was said of them and what happened',
    async run(target) {
      const deadLetters = await newQueue(target)
      const queue = await newQueue(target, { deadLetterQueue: deadLetters.name, maxPriority: 9 })
      await queue.send({
        body: { id: 1 },
        type: 'order.created',
        contentType: 'application/vnd.order+json',
        headers: { h: '1' },
        priority: 9,
        dedupId: 'once',
      })
      const { id, receipt, sentAt } = await queue.receiveOne()

      assert.deepEqual(await queue.nack([receipt], { deadLetter: true, error: 'no such customer' }), ['ok'])

      assert.deepEqual((await queue.peek()).messages, [])
      const letter = await deadLetters.receiveOne()
      const { receipt: _, leasedUntil, firstReceivedAt, deadLetters: history, ...rest } = letter
      assert.deepEqual(rest, {
        id,
        encoding: 'json',
        body: { id: 1 },
        type: 'order.created',
        contentType: 'application/vnd.order+json',
        headers: { h: '1' },
        priority: 0,
        attempts: 1,
        sentAt,
      })
      const [death, ...more] = history ?? []
      assert.deepEqual(more, [])
      assert.deepEqual(
        { ...death, at: undefined },
        { queue: queue.name, reason: 'rejected', error: 'no such customer', attempts: 1, at: undefined },
      )
      assert.equal(new Date(death?.at ?? '').toISOString(), death?.at)
      assert.deepEqual(await deadLetters.ack(letter.receipt), ['ok'])
    },
  },
  {
    claim: 'by a dead-letter exchange they go to every queue that it leads to, and say how they came',
    async run(target) {
      const exchange = await newExchange(target, { type: 'topic' })
      const [some, all] = [await newQueue(target), await newQueue(target)]
      await exchange.bind({ queue: some.name, routingKey: 'failed.*' })
      await exchange.bind({ queue: all.name, routingKey: '#' })
      const queue = await newQueue(target, {
        deadLetterExchange: exchange.name,
        deadLetterRoutingKey: 'failed.order',
      })
      await queue.send({ body: 1, headers: { h: '1' } })
      const { id, receipt } = await queue.receiveOne()

      assert.deepEqual(await queue.nack([receipt], { deadLetter: true }), ['ok'])

      const letters = [await some.receiveOne(), await all.receiveOne()]
      assert.equal(letters[0]?.id, id)
      for (const letter of letters) {
        assert.deepEqual(
          [letter.body, letter.headers, letter.exchange, letter.routingKey, letter.deadLetters?.[0]?.reason],
          [1, { h: '1' }, exchange.name, 'failed.order', 'rejected'],
        )
      }
    },
  },
  {
    claim: 'a dead letter that dies again keeps its history',
    async run(target) {
      const last = await newQueue(target)
      const second = await newQueue(target, { deadLetterQueue: last.name, maxAttempts: 1 })
      const first = await newQueue(target, { deadLetterQueue: second.name })
      await first.sendAll(1)
      await first.nack([(await first.receiveOne()).receipt], { deadLetter: true, error: 'one' })

      await second.nack([(await second.receiveOne()).receipt], { error: 'two' })

      const { deadLetters } = await last.receiveOne()
      assert.deepEqual(
        deadLetters?.map(({ queue, reason, error }) => ({ queue, reason, error })),
        [
          { queue: first.name, reason: 'rejected', error: 'one' },
          { queue: second.name, reason: 'attempts', error: 'two' },
        ],
      )
    },
  },
  {
    claim: 'in a dead-letter queue the messages of a group wait in line as everywhere, in the order they died',
    async run(target) {
      const deadLetters = await newQueue(target)
      const queue = await newQueue(target, { deadLetterQueue: deadLetters.name })
      await queue.send({ messages: [1, 2, 3].map((body) => ({ body, group: 'g' })) })
      const receipts = (await queue.receive({ max: 3 })).map(({ receipt }) => receipt)
      await queue.nack(receipts, { deadLetter: true })

      const states = (await deadLetters.peek()).messages.map(({ body, state }) => [body, state])

      assert.deepEqual(states, [
        [1, 'ready'],
        [2, 'blocked'],
        [3, 'blocked'],
      ])
      await maintainAll(target)
      for (const body of [1, 2, 3]) {
        const letter = await deadLetters.receiveOne()
        assert.equal(letter.body, body)
        assert.deepEqual(await deadLetters.receive({ max: 10 }), [])
        await deadLetters.ack(letter.receipt)
      }
    },
  },
  {
    claim: 'dead letters whose queue is gone stay where they died',
    async run(target) {
      const deadLetters = await newQueue(target)
      const queue = await newQueue(target, { deadLetterQueue: deadLetters.name })
      await queue.sendAll(1)
      const { id, receipt } = await queue.receiveOne()
      await call(target, 'DELETE', deadLetters.path)

      assert.deepEqual(await queue.nack([receipt], { deadLetter: true }), ['ok'])

      assert.equal((await queue.get(id)).state, 'dead')
    },
  },
  {
    claim: 'what expired is deleted, or kept as dead where the queue is its own dead-letter queue',
    async run(target) {
      const deleting = await newQueue(target)
      const keeping = await newQueue(target)
      await keeping.configure({ deadLetterQueue: keeping.name })
      for (const queue of [deleting, keeping]) {
        const [sent] = await queue.send({ body: 1, ttlSeconds: 0.001 })
        await until('the end of its time', async () => {
          await maintainAll(target)
          return (await queue.peek('?state=ready')).messages.length === 0 || undefined
        })

        const answer = await call(target, 'GET', `${queue.path}/messages/${sent?.id}`)

        if (queue === deleting) assertProblem(answer, 'message_not_found')
        else assert.match(answer.text, /"state":"dead".*"deadReason":"expired"/)
        assert.deepEqual(await queue.receive(), [])
      }
    },
  },
  {
    claim: 'what expired goes to the dead-letter queue, where it does not expire again',
    async run(target) {
      const deadLetters = await newQueue(target)
      const queue = await newQueue(target, { deadLetterQueue: deadLetters.name, ttlSeconds: 0.001 })
      await queue.sendAll(1)

      const letter = await until('the dead letter', async () => {
        await queue.receive()
        return (await deadLetters.receive())[0]
      })

      assert.deepEqual([letter.body, letter.attempts, letter.expiresAt], [1, 1, undefined])
      assert.equal(letter.deadLetters?.[0]?.reason, 'expired')
      assert.equal(letter.deadLetters?.[0]?.attempts, 0)
    },
  },
  {
    claim: 'dead letters in their queue are not handed out, cost no limit, and are purged with it',
    async run(target) {
      const queue = await newQueue(target, { maxAttempts: 1, maxMessages: 1 })
      await queue.sendAll('dead')
      await queue.nack([(await queue.receiveOne()).receipt])

      await queue.sendAll('next')

      assert.equal((await queue.receiveOne()).body, 'next')
      assert.deepEqual(await queue.receive({ max: 10, autoAck: true }), [])
      assert.deepEqual(JSON.parse((await queue.post('purge', {})).text), { purgedMessages: 2 })
    },
  },
  {
    claim: 'dead letters are kept for as long as the queue says',
    async run(target) {
      const queue = await newQueue(target, { maxAttempts: 1, deadLetterRetentionSeconds: 1 })
      await queue.sendAll(1)
      const { id, receipt } = await queue.receiveOne()
      await queue.nack([receipt])

      const { state, expiresAt, deadAt } = await queue.get(id)
      assert.equal(state, 'dead')
      assert.equal(Date.parse(expiresAt ?? '') - Date.parse(deadAt ?? ''), 1000)
      await until('the end of its retention', async () => {
        await maintainAll(target)
        return (await queue.peek()).messages.length === 0 || undefined
      })
    },
  },
  {
    claim: 'the dead-letter queue of a volatile queue is volatile too, and of a durable one durable',
    async run(target) {
      const lasting = await newQueue(target)
      const volatile = await newQueue(target, { durability: 'volatile' })
      const put = (durability: string, deadLetterQueue: string) =>
        call(target, 'PUT', '/v1/queues/mixed-durability', { body: { durability, deadLetterQueue } })

      assertProblem(await put('volatile', lasting.name), 'request_invalid', /^deadLetterQueue must be volatile/)
      assertProblem(await put('full', volatile.name), 'request_invalid', /^deadLetterQueue must be durable/)
      assert.equal((await put('volatile', volatile.name)).status, 201)
      assert.equal((await put('volatile', 'mixed-durability')).status, 200)
    },
  },
]
