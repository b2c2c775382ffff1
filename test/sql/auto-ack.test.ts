/* Receiving at most once: with auto_ack a message is gone when it is handed out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, newQueue, on, only } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

test('a message that is received with auto_ack is gone, and has no receipt', async () => {
  const queue = on(pool, await newQueue(pool, { lease: '0 s' }))
  const id = await queue.send({ a: 1 }, { type: 't', now: at(0) })

  const { receipt, ...message } = only(await queue.receive(1, { auto_ack: true, now: at(1) }))

  assert.equal(receipt, null)
  assert.deepEqual([message.id, message.body, message.type, message.attempts], [id, '{"a": 1}', 't', 1])
  assert.deepEqual(await queue.peek(), [])
})

test('a transaction that rolls back takes its messages back', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  await on(session, queue).sendBatch([{ body: 1 }, { body: 2 }])
  await session.query('begin')
  assert.equal((await on(session, queue).receive(9, { auto_ack: true })).length, 2)

  await session.query('rollback')

  assert.deepEqual(bodies(await on(pool, queue).receive(9)), [1, 2])
})

test('eight sessions at once get every message once', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch(Array.from({ length: 400 }, (_, body) => ({ body })))

  const taken = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const session = on(await db.connect(), queue)
      const mine = []
      const more = () => session.receive(7, { auto_ack: true })
      for (let got = await more(); got.length > 0; got = await more()) mine.push(...got)
      return mine
    }),
  )
  const rest = await on(await db.connect(), queue).receive(1000)

  assert.equal(new Set(bodies([...taken.flat(), ...rest])).size, 400)
  assert.equal(taken.flat().length + rest.length, 400)
})

test('it counts as done, keeps the order of the queue, and takes no room in flight', async () => {
  const queue = await newQueue(pool, { delivery_order: 'lifo', max_in_flight: 1 })
  const session = on(await db.connect(), queue)
  for (const body of [1, 2, 3]) await session.send(body, { now: at(body) })

  const received = []
  for (const moment of [10, 12, 14]) received.push(...(await session.receive(2, { auto_ack: true, now: at(moment) })))
  await session.receive(1, { now: at(16) })

  assert.deepEqual(bodies(received), [3, 2, 1])
  assert.equal((await session.stats(at(16))).out_per_second, 3 / 60)
})

test('of an ordered group the messages are gone in order', async () => {
  const queue = await newQueue(pool)
  const session = on(await db.connect(), queue)
  await session.sendBatch(
    [1, 2, 3].map((body) => ({ body, group: 'g' })),
    { now: at(0) },
  )

  const received = [
    await session.receive(1, { auto_ack: true, now: at(1) }),
    await session.receive(9, { auto_ack: true, now: at(2) }),
  ]

  assert.deepEqual([...received.map(bodies), await session.peek()], [[1], [2, 3], []])
})

test('a lease with auto_ack is refused', async () => {
  const queue = on(pool, await newQueue(pool))
  await queue.send(1)

  await assert.rejects(queue.receive(1, { lease: '1 s', auto_ack: true }), {
    code: 'PB002',
    message: 'leaseSeconds must not be given with autoAck, got both',
  })
  await assert.rejects(queue.receive(0, { auto_ack: true }), { code: 'PB002', message: /^max must be/ })
  assert.equal((await queue.peek()).length, 1)
})
