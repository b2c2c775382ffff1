/* Ordered groups and transactions that have a snapshot of their own, or apply their constraints at once. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { drained, impatient, parcels } from '../support/sql-groups.ts'
import { at, bodies, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

for (const level of ['repeatable read', 'serializable']) {
  test(`a ${level} transaction that sends and acks leaves no message stuck, and no group to two consumers`, async () => {
    const queue = await newQueue(pool)
    await on(pool, queue).sendBatch(parcels('b1 b2'), { now: at(0) })
    const [head] = receipts(await on(pool, queue).receive(1, { now: at(0) }))
    const sessions = [await db.connect(), await db.connect()] as const
    for (const session of sessions) await session.query(`begin isolation level ${level}`)
    await on(sessions[0], queue).sendBatch(parcels('a3 c1'), { now: at(0) })
    await on(sessions[0], queue).ackWith([head], { now: at(0) })
    await on(pool, queue).sendBatch(parcels('a1 a2'), { now: at(0) })
    const taken = await on(pool, queue).receive(2, { now: at(0) })
    await sessions[0].query('commit')
    await on(sessions[1], queue).sendBatch(parcels('a4 c2'), { now: at(0) })
    await sessions[1].query('commit')

    await on(pool, queue).ackWith([only(taken.slice(0, 1)).receipt], { now: at(1) })
    const during = await on(pool, queue).receive(9, { now: at(2) })
    await on(pool, queue).ackWith(receipts([...taken.slice(1), ...during]), { now: at(3) })

    assert.ok(during.every((message) => message.group_key !== 'a'))
    const rest = [...bodies(during), ...(await drained(pool, queue, 100))]
    assert.deepEqual(
      rest.filter((body) => String(body) < 'b'),
      ['a3', 'a4'],
    )
    assert.deepEqual(rest.sort(), ['a3', 'a4', 'b2', 'c1', 'c2'])
  })
}

test('a group that a repeatable read transaction left comes, though there is always something else to receive', async () => {
  const queue = await newQueue(pool)
  const [sender, consumer] = [await db.connect(), await db.connect()]
  await sender.query('begin isolation level repeatable read')
  await on(sender, queue).sendBatch(parcels('a1'), { now: at(0) })
  await sender.query('commit')

  const seen = []
  for (let second = 1; second < 20; second++) {
    await on(pool, queue).send(second, { now: at(second) })
    seen.push(...bodies(await on(consumer, queue).receive(1, { now: at(second) })))
  }

  assert.ok(seen.includes('a1'), `${seen}`)
})

test('a receive that finds such a group, in a transaction that stays open, keeps no sender waiting', async () => {
  const queue = await newQueue(pool)
  const [sender, consumer, other] = [await db.connect(), await db.connect(), await impatient(db)]
  await sender.query('begin isolation level repeatable read')
  await on(sender, queue).sendBatch(parcels('a1'), { now: at(0) })
  await sender.query('commit; begin')
  await consumer.query('begin')
  await on(consumer, queue).receive(1, { now: at(100) })

  await on(other, queue).sendBatch(parcels('a2'), { now: at(100) })
  await consumer.query('commit')

  assert.deepEqual(await drained(other, queue, 200), ['a1', 'a2'])
})

test('at read uncommitted, which is read committed, a group goes on, and what is due is tidied', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  await session.query(`set default_transaction_isolation = 'read uncommitted'`)
  await on(session, queue).send('dead', { ttl: '1 s', now: at(0) })
  await on(session, queue).sendBatch(parcels('a1'), { now: at(0) })
  await on(session, queue).sendBatch(parcels('a2'), { now: at(0) })

  assert.deepEqual(await drained(session, queue, 100), ['a1', 'a2'])
  assert.equal((await session.query('select from postbag.group_pending')).rows.length, 0)
  assert.deepEqual(await on(pool, queue).peek(9, { now: at(0) }), [])
})

test('a transaction that applies its constraints at once names the heads that others left', async () => {
  const queue = await newQueue(pool)
  const left = await db.connect()
  await left.query('begin isolation level repeatable read')
  await on(left, queue).sendBatch(parcels('a1'), { now: at(0) })
  await left.query('commit')
  const session = await db.connect()
  await session.query('begin; set constraints all immediate')

  await on(session, queue).send('sent', { now: at(2) })
  await session.query('commit')

  assert.deepEqual(bodies(await on(pool, queue).receive(9, { now: at(2) })).sort(), ['a1', 'sent'])
})

test('a transaction that applies its constraints at once leaves the same lines', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  await session.query('begin; set constraints all immediate')
  await on(session, queue).sendBatch(parcels('a1 a2 a3 b1 b2 c1 c2'), { now: at(0) })
  const [first, second, third] = receipts(await on(session, queue).receive(3, { now: at(0) }))
  await on(session, queue).ackWith([first], { now: at(1) })
  await on(session, queue).nack([second], { dead_letter: true, now: at(1) })
  await on(session, queue).nack([third], { now: at(1) })
  await session.query('commit')

  assert.deepEqual((await drained(pool, queue, 100)).sort(), ['a2', 'a3', 'b2', 'c1', 'c2'])
})
