/* Ordered groups and open transactions that send to them: who commits first stands first. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { drained, parcels } from '../support/sql-groups.ts'
import { at, bodies, newQueue, on, receipts, type Session } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

test('the order of a group is the order of commits, and within a transaction that of its sends', async () => {
  const queue = await newQueue(pool)
  const [first, second, third] = [await db.connect(), await db.connect(), await db.connect()]
  const send = (session: Session, names: string) => on(session, queue).sendBatch(parcels(names), { now: at(0) })
  for (const session of [first, second, third]) await session.query('begin')
  await send(first, 'a4 b3 a5')
  await send(second, 'a2 a3')
  await second.query('savepoint here')
  await send(second, 'a9')
  await second.query('rollback to here')
  await send(third, 'b1 a1 b2')
  await send(second, 'b4')
  await send(first, 'a6')

  await third.query('commit')
  const early = bodies(await on(pool, queue).receive(3, { now: at(1) }))
  await second.query('commit')
  await first.query('commit')

  assert.deepEqual(early, ['b1', 'a1', 'b2'])
  const rest = await drained(pool, queue, 100)
  const of = (group: string) => rest.filter((body) => String(body).startsWith(group))
  assert.deepEqual(of('a'), ['a1', 'a2', 'a3', 'a4', 'a5', 'a6'])
  assert.deepEqual(of('b'), ['b1', 'b2', 'b4', 'b3'])
})

test('what is sent and redriven in one transaction keeps its order behind what others committed first', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch(parcels('a4'), { now: at(0) })
  await on(pool, queue).nack(receipts(await on(pool, queue).receive(1, { now: at(0) })), {
    dead_letter: true,
    now: at(0),
  })
  const session = await db.connect()
  await session.query('begin')
  await on(session, queue).sendBatch(parcels('a3'), { now: at(1) })
  await on(pool, queue).sendBatch(parcels('a1 a2'), { now: at(1) })
  await on(session, queue).redrive({ now: at(1) })
  await session.query('commit')

  assert.deepEqual(await drained(pool, queue, 100), ['a1', 'a2', 'a3', 'a4'])
})

for (const verb of ['nack', 'extend'] as const) {
  test(`a transaction that has sent to a group, then says ${verb}, says it of the whole lease`, async () => {
    const queue = await newQueue(pool, { lease: '30 s' })
    const session = await db.connect()
    await on(pool, queue).sendBatch(parcels('a1'), { now: at(0) })
    await session.query('begin')
    await on(session, queue).sendBatch(parcels('a4'), { now: at(0) })
    await on(pool, queue).sendBatch(parcels('a2 a3'), { now: at(0) })
    const [first, ...others] = receipts(await on(pool, queue).receive(9, { now: at(0) }))
    await on(session, queue)[verb]([first], { now: at(20) })
    await session.query('commit')

    const outcome = verb === 'nack' ? 'lease_lost' : 'ok'
    assert.deepEqual(await on(pool, queue).extend(others, { now: at(40) }), [outcome, outcome])
  })
}

test('what a transaction sent ten seconds before its commit comes soon, though others send and receive meanwhile', async () => {
  const queue = await newQueue(pool)
  const [slow, busy] = [await db.connect(), await db.connect()]
  await slow.query('begin')
  await on(slow, queue).sendBatch(parcels('a1'), { now: at(0) })

  let came: number | undefined
  for (let second = 0; second < 20 && came === undefined; second += 0.5) {
    if (second === 10) await slow.query('commit')
    await on(busy, queue).sendBatch(parcels(`b${second}`), { now: at(second) })
    const got = await on(busy, queue).receive(2, { now: at(second) })
    if (bodies(got).includes('a1')) came = second
    await on(busy, queue).ackWith(receipts(got), { now: at(second) })
  }

  assert.ok(came !== undefined && came < 15, `came after ${came} s`)
})
