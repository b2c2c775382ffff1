/* Fair groups: every tenant gets its turn, however much the others have waiting; within a group nothing is ordered or held up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { parcels } from '../support/sql-groups.ts'
import { at, backendOf, bodies, eventually, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

const fairQueue = () => newQueue(pool, { group_mode: 'fair', lease: '30 s' })

test('a quiet tenant waits behind one message of each other tenant, though a noisy one has 100,000 waiting', async () => {
  const queue = await fairQueue()
  for (let batch = 0; batch < 100; batch++)
    await on(pool, queue).sendBatch(
      Array.from({ length: 1000 }, () => ({ body: 'noisy', group: 'noisy' })),
      { now: at(0) },
    )
  await on(pool, queue).sendBatch(parcels('b1 c1 d1'), { now: at(0) })
  const consumer = await db.connect()
  await on(consumer, queue).receive(5, { now: at(1) })
  await on(pool, queue).sendBatch(parcels('q1'), { now: at(2) })

  let before = 0
  while (!bodies(await on(consumer, queue).receive(1, { now: at(3 + before / 10) })).includes('q1')) before++

  assert.ok(before <= 4, `${before} were before it`)
})

test('tenants take turns: one of each, then the next of each', async () => {
  const queue = await fairQueue()
  await on(pool, queue).sendBatch(parcels('a1 a2 a3 b1 b2 c1'), { now: at(0) })

  const turns = []
  for (let second = 1; second <= 6; second++)
    turns.push(...bodies(await on(pool, queue).receive(1, { now: at(second) })))

  assert.deepEqual(turns, ['a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
})

test('several consumers have messages of one group, and one receive may be filled from it', async () => {
  const queue = await fairQueue()
  await on(pool, queue).sendBatch(parcels('a1 a2 a3 a4 a5 a6'), { now: at(0) })

  const leases = []
  for (const max of [1, 2, 9]) leases.push(bodies(await on(pool, queue).receive(max, { now: at(1) })))

  assert.deepEqual(leases, [['a1'], ['a2', 'a3'], ['a4', 'a5', 'a6']])
})

test('each message is retried for itself; a failed one holds nobody up', async () => {
  const queue = await fairQueue()
  await on(pool, queue).sendBatch(parcels('a1 a2 a3 a4'), { now: at(0) })
  const [first, second, third] = receipts(await on(pool, queue).receive(3, { now: at(0) }))
  await on(pool, queue).nack([first], { delay: '100 s', now: at(1) })
  await on(pool, queue).ackWith([second], { now: at(1) })

  const next = await on(pool, queue).receive(9, { now: at(20) })
  assert.deepEqual(await on(pool, queue).extend([third], { lease: '200 s', now: at(20) }), ['ok'])
  const later = await on(pool, queue).receive(9, { now: at(150) })

  assert.deepEqual(bodies(next), ['a4'])
  assert.deepEqual(later.map(({ body, attempts }) => [body, attempts]).sort(), [
    ['"a1"', 2],
    ['"a4"', 2],
  ])
})

test('a receive that takes a retry and the next of the same group gives each of those behind them once', async () => {
  const queue = await fairQueue()
  await on(pool, queue).sendBatch(parcels('a1 a2 a3 a4'), { now: at(0) })
  await on(pool, queue).receive(1, { now: at(0) })

  assert.deepEqual(bodies(await on(pool, queue).receive(20, { now: at(100) })).sort(), ['a1', 'a2', 'a3', 'a4'])
})

test('a delayed message holds up nothing of its group', async () => {
  const queue = await fairQueue()
  await on(pool, queue).send('a1', { group_key: 'a', delay: '100 s', now: at(0) })
  await on(pool, queue).sendBatch(parcels('a2 a3'), { now: at(0) })

  const early = await on(pool, queue).receive(9, { now: at(1) })
  const late = await on(pool, queue).receive(9, { now: at(200) })

  assert.deepEqual(bodies(early), ['a2', 'a3'])
  assert.deepEqual(bodies(late).sort(), ['a1', 'a2', 'a3'])
})

for (const how of ['is rolled back', 'is killed'] as const) {
  test(`a receive that ${how} leaves its group as it was`, async () => {
    const queue = await fairQueue()
    await on(pool, queue).sendBatch(parcels('a1 a2 a3 b1'), { now: at(0) })
    const session = await db.connect()
    await session.query('begin')
    assert.deepEqual(bodies(await on(session, queue).receive(3, { now: at(0) })), ['a1', 'b1', 'a2'])

    if (how === 'is rolled back') await session.query('rollback')
    else {
      const backend = await backendOf(session)
      await pool.query('select pg_terminate_backend($1)', [backend])
      await eventually('it is gone', async () => {
        const { rows } = await pool.query('select from pg_stat_activity where pid = $1', [backend])
        return rows.length === 0
      })
    }

    const [first, second] = [
      await on(pool, queue).receive(1, { now: at(100) }),
      await on(pool, queue).receive(9, { now: at(101) }),
    ]
    assert.deepEqual([bodies(first), bodies(second)], [['a1'], ['b1', 'a2', 'a3']])
  })
}

test('messages that are gone when they are handed out, dead ones and expired ones let the next be first', async () => {
  const queue = await newQueue(pool, { group_mode: 'fair', max_attempts: 1 })
  await on(pool, queue).sendBatch([{ body: 'a1', group: 'a', ttlSeconds: 1 }, ...parcels('a2 a3 a4 a5')], {
    now: at(0),
  })

  // (The first receive may only get the expired one out of the way.)
  const gone = []
  for (let second = 100; gone.length === 0 && second < 110; second += 2)
    gone.push(...(await on(pool, queue).receive(1, { auto_ack: true, now: at(second) })))
  const failed = await on(pool, queue).receive(1, { now: at(200) })
  await on(pool, queue).nack([only(failed).receipt], { now: at(200) })
  const rest = await on(pool, queue).receive(9, { now: at(300) })

  assert.deepEqual([gone, failed, rest].map(bodies), [['a2'], ['a3'], ['a4', 'a5']])
})

test('a repeatable read consumer leaves its groups to the next one', async () => {
  const queue = await fairQueue()
  await on(pool, queue).sendBatch(parcels('a1 a2 b1'), { now: at(0) })
  const session = await db.connect()
  await session.query('begin isolation level repeatable read')
  await on(session, queue).receive(1, { now: at(0) })
  await session.query('commit')

  const rest = []
  for (let second = 100; second < 500; second += 100)
    rest.push(...bodies(await on(pool, queue).receive(9, { now: at(20 + second / 100) })))

  assert.deepEqual(rest.sort(), ['a2', 'b1'])
})

test('no transaction leaves a note of what it changed', async () => {
  assert.deepEqual((await pool.query('select * from postbag.group_change')).rows, [])
})
