/* Receiving beside others: sessions that receive at the same time, that hold a claim uncommitted, that roll back, that die. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { createDatabase } from '../support/database.ts'
import { at, backendOf, bodies, eventually, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

test('eight sessions at once share no message and leave none', async () => {
  const queue = await newQueue(pool, { max_priority: 2 })
  const all = Array.from({ length: 1000 }, (_, body) => body)
  await on(pool, queue).sendBatch(all.map((body) => ({ body, priority: body % 3 })))

  const taken = await Promise.all(
    Array.from({ length: 8 }, async (_, index) => {
      const session = on(await db.connect(), queue)
      const mine = []
      for (let got = await session.receive(index + 1); got.length > 0; got = await session.receive(index + 1))
        mine.push(...got)
      return mine
    }),
  )
  // A session that found everything locked has gone home; what was locked is there for the next one.
  const rest = await on(await db.connect(), queue).receive(1000)

  assert.deepEqual(
    bodies([...taken.flat(), ...rest]).sort((a, b) => Number(a) - Number(b)),
    all,
  )
  assert.ok([...taken.flat(), ...rest].every((message) => message.attempts === 1))
})

test('senders, consumers and clients that fail at once: every message is acked once', async () => {
  const queue = await newQueue(pool, { lease: '1 h' })
  const acked: unknown[] = []
  const total = 6 * 40

  const sending = Array.from({ length: 6 }, async (_, sender) => {
    const session = await db.connect()
    for (let batch = 0; batch < 10; batch++) {
      await session.query('begin')
      await on(session, queue).sendBatch([0, 1, 2, 3].map((part) => ({ body: `${sender}-${batch}-${part}` })))
      // Every third transaction fails the first time.
      if (batch % 3 === 0) {
        await session.query('rollback; begin')
        await on(session, queue).sendBatch([0, 1, 2, 3].map((part) => ({ body: `${sender}-${batch}-${part}` })))
      }
      await session.query('commit')
    }
  })
  const consuming = Array.from({ length: 4 }, async (_, consumer) => {
    const session = await db.connect()
    const mine = on(session, queue)
    let turn = 0
    await eventually('all messages are acked', async () => {
      await session.query('begin')
      const got = await mine.receive(5)
      // Now and then the work fails: its transaction is undone, or the messages are given back.
      if (++turn % 7 === 0) return void (await session.query('rollback'))
      await session.query('commit')
      const [failed, done] = consumer === 0 ? [got.slice(0, 1), got.slice(1)] : [[], got]
      if (failed.length > 0 && only(failed).attempts < 3) await mine.nack(receipts(failed))
      else done.unshift(...failed)
      if (done.length > 0) {
        const outcomes = await mine.ack(...receipts(done))
        assert.ok(outcomes.every((outcome) => outcome === 'ok'))
        acked.push(...bodies(done))
      }
      return acked.length >= total
    })
  })
  await Promise.all([...sending, ...consuming])

  assert.equal(new Set(acked).size, total)
  assert.equal(acked.length, total)
  assert.deepEqual(await on(pool, queue).peek(), [])
})

const endings: [how: string, end: (session: pg.Client) => Promise<unknown>][] = [
  ['rolls back', (session) => session.query('rollback')],
  ['is terminated', async (session) => pool.query('select pg_terminate_backend($1)', [await backendOf(session)])],
  ['disconnects', (session) => session.end()],
]

for (const [how, end] of endings) {
  test(`messages that an open transaction has received are skipped, and available at once when it ${how}`, async () => {
    const queue = await newQueue(pool, { lease: '1 h' })
    await on(pool, queue).sendBatch([{ body: 'held' }, { body: 'free' }])
    const [holder, other] = [await db.connect(), on(await db.connect(), queue)]
    await holder.query('begin')
    assert.deepEqual(bodies(await on(holder, queue).receive()), ['held'])
    assert.deepEqual(bodies(await other.receive(2)), ['free'])

    await end(holder)

    const back = only(await eventually('it comes back', () => other.receive()))
    assert.deepEqual([back.body, back.attempts], ['"held"', 1])
  })
}

test('a message that an open transaction is acking is skipped, and gone or back afterwards', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch([{ body: 'done' }, { body: 'undone' }], { now: at(0) })
  const [done, undone] = receipts(await on(pool, queue).receive(2, { lease: '1 s', now: at(0) }))
  const [first, second, third] = [await db.connect(), await db.connect(), await db.connect()]
  for (const session of [first, second]) await session.query('begin')
  await on(first, queue).ack(done)
  await on(second, queue).ack(undone)

  const during = await on(third, queue).receive(2, { now: at(100) })
  await first.query('commit')
  await second.query('rollback')
  const after = await on(third, queue).receive(2, { now: at(200) })

  assert.deepEqual([during, after].map(bodies), [[], ['undone']])
})

test('a session that rolled its receive back receives the message again, as if it had not been there', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  await on(session, queue).sendBatch([{ body: 1 }, { body: 2 }], { now: at(0) })
  await session.query('begin')
  await on(session, queue).receive(2, { now: at(0) })
  await session.query('rollback')

  const again = await on(session, queue).receive(2, { now: at(0) })

  assert.deepEqual(
    again.map((message) => [message.body, message.attempts]),
    [
      ['1', 1],
      ['2', 1],
    ],
  )
})

test('a receive that a savepoint undoes leaves the message to the same transaction', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  await on(session, queue).send(1, { now: at(0) })
  await session.query('begin; savepoint here')
  await on(session, queue).receive(1, { now: at(0) })

  await session.query('rollback to here')

  assert.equal(only(await on(session, queue).receive(1, { now: at(0) })).attempts, 1)
  await session.query('commit')
})

test('a repeatable read transaction never gets a message that was received since its snapshot', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('taken', { now: at(0) })
  const session = await db.connect()
  await session.query('begin isolation level repeatable read; select 1')
  await on(pool, queue).receive(1, { now: at(0) })

  await assert.rejects(on(session, queue).receive(1, { now: at(0) }), { code: '40001' })

  await session.query('rollback')
})

test('a repeatable read transaction receives what its snapshot holds, and not what was sent since', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('before', { now: at(0) })
  const session = await db.connect()
  await session.query('begin isolation level repeatable read; select 1')
  await on(pool, queue).send('since', { now: at(0) })

  const during = await on(session, queue).receive(9, { now: at(100) })
  await session.query('commit')
  const after = await on(session, queue).receive(9, { now: at(100) })

  assert.deepEqual([during, after].map(bodies), [['before'], ['since']])
})
