/* Receiving, one session at a time: in which order, how many, for how long, and what is refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const { pool } = await createDatabase()

test('an empty queue gives no rows', async () => {
  const queue = await newQueue(pool)

  assert.deepEqual(await on(pool, queue).receive(), [])
})

test('a receive takes one message unless it asks for more, and never more than it asks for', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch([1, 2, 3, 4, 5, 6, 7].map((body) => ({ body })))

  const taken = [await on(pool, queue).receive(), await on(pool, queue).receive(4), await on(pool, queue).receive(1000)]

  assert.deepEqual(taken.map(bodies), [[1], [2, 3, 4, 5], [6, 7]])
})

test('messages come in the order of their availability, then in the order they were sent', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch([{ body: 'late', delaySeconds: 10 }, { body: 'a' }, { body: 'b' }], { now: at(0) })
  await on(pool, queue).sendBatch([{ body: 'c' }, { body: 'early', delaySeconds: 0 }], { now: at(0) })
  await on(pool, queue).send('same time as late', { now: at(10) })
  await on(pool, queue).send('clock was behind', { now: at(-5) })

  const received = await on(pool, queue).receive(100, { now: at(60) })

  assert.deepEqual(bodies(received), ['clock was behind', 'a', 'b', 'c', 'early', 'late', 'same time as late'])
})

test('a higher priority comes first, however long the others have waited', async () => {
  const queue = await newQueue(pool, { max_priority: 9, lease: '1 h' })
  await on(pool, queue).sendBatch([{ body: 'low' }, { body: 'middle', priority: 4 }], { now: at(0) })
  await on(pool, queue).sendBatch(
    [
      { body: 'high', priority: 9 },
      { body: 'middle too', priority: 4 },
    ],
    { now: at(100) },
  )

  const first = await on(pool, queue).receive(1, { now: at(200) })
  const rest = await on(pool, queue).receive(2, { now: at(200) })
  await on(pool, queue).send('higher', { priority: 9, now: at(201) })
  const last = await on(pool, queue).receive(9, { now: at(300) })

  assert.deepEqual([first, rest, last].map(bodies), [['high'], ['middle', 'middle too'], ['higher', 'low']])
})

test('a high priority that is delayed or leased keeps nobody waiting', async () => {
  const queue = await newQueue(pool, { max_priority: 1 })
  await on(pool, queue).send('leased', { priority: 1, now: at(0) })
  await on(pool, queue).receive(1, { lease: '1 h', now: at(0) })
  await on(pool, queue).send('delayed', { priority: 1, delay: '1 h', now: at(0) })
  await on(pool, queue).send('low', { now: at(0) })

  assert.deepEqual(bodies(await on(pool, queue).receive(9, { now: at(100) })), ['low'])
})

test('a delayed message is not available before its time', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('delayed', { delay: '100 s', now: at(0) })

  const before = await on(pool, queue).receive(1, { now: at(99.999) })
  const then = await on(pool, queue).receive(1, { now: at(100) })

  assert.deepEqual([before, then].map(bodies), [[], ['delayed']])
})

test('a lease lasts as long as the queue says, or as the receive says', async () => {
  const queue = await newQueue(pool, { lease: '77 s' })
  await on(pool, queue).sendBatch([{ body: 1 }, { body: 2 }, { body: 3 }], { now: at(0) })

  const leases = [undefined, null, '43200 s'].map((lease) =>
    on(pool, queue).receive(1, { ...(lease !== undefined && { lease }), now: at(1) }),
  )

  const until = (await Promise.all(leases)).map((messages) => only(messages).leased_until)
  assert.deepEqual(until, [at(78), at(78), at(43_201)])
})

test('a leased message is not available before its lease ends', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('leased', { now: at(0) })
  await on(pool, queue).receive(1, { lease: '200 s', now: at(0) })

  assert.deepEqual(await on(pool, queue).receive(1, { now: at(199.999) }), [])
})

test('a message whose lease ended is available again, counts its attempts, and keeps when it was received first', async () => {
  const queue = await newQueue(pool)
  const id = await on(pool, queue).send('again', { now: at(0) })

  const received = []
  for (const moment of [100, 200, 300]) {
    received.push(only(await on(pool, queue).receive(1, { lease: '100 s', now: at(moment) })))
  }

  assert.deepEqual(
    received.map((message) => [message.id, message.attempts, message.first_received_at, message.leased_until]),
    [1, 2, 3].map((attempt) => [id, attempt, at(100), at(100 + attempt * 100)]),
  )
  assert.equal(new Set(receipts(received)).size, 3)
})

test('a lease of 0 s hands the message out and leaves it available', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('looked at', { now: at(0) })

  const first = only(await on(pool, queue).receive(1, { lease: '0 s', now: at(0) }))
  const second = only(await on(pool, queue).receive(1, { now: at(0) }))

  assert.deepEqual([first.leased_until, second.attempts], [at(0), 2])
})

test('a message that was given back comes after those that waited meanwhile', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch([{ body: 'failed' }, { body: 'waiting' }], { now: at(0) })
  const failed = receipts(await on(pool, queue).receive(1, { now: at(10) }))

  await on(pool, queue).nack(failed, { now: at(20) })

  assert.deepEqual(bodies(await on(pool, queue).receive(2, { now: at(100) })), ['waiting', 'failed'])
})

test('one queue’s messages are never another’s', async () => {
  const [one, other] = [await newQueue(pool), await newQueue(pool)]
  await on(pool, one).send('one')
  await on(pool, other).send('other')

  assert.deepEqual(bodies(await on(pool, one).receive(1000)), ['one'])
})

const refused: [max: number | null, more: { lease?: string }, message: string][] = [
  [0, {}, 'max must be between 1 and 1000, got 0'],
  [-1, {}, 'max must be between 1 and 1000, got -1'],
  [1001, {}, 'max must be between 1 and 1000, got 1001'],
  [null, {}, 'max must be between 1 and 1000, got null'],
  [1, { lease: '-1 s' }, 'leaseSeconds must be between 0 and 43200, got -1'],
  [1, { lease: '43200.001 s' }, 'leaseSeconds must be between 0 and 43200, got 43200.001'],
]

for (const [max, more, message] of refused) {
  test(`a receive with max ${max} ${JSON.stringify(more)} is refused, and leases nothing`, async () => {
    const queue = await newQueue(pool)
    await on(pool, queue).send('untouched')

    await assert.rejects(on(pool, queue).receive(max, more), { code: 'PB002', message })

    assert.equal(only(await on(pool, queue).peek()).attempts, 0)
  })
}

test('a receive from a queue that does not exist is refused', async () => {
  await assert.rejects(on(pool, 'nowhere').receive(), { code: 'PB001', message: 'queue "nowhere" does not exist' })
})
