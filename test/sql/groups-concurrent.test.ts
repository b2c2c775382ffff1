/* Ordered groups beside others: transactions that stay open, that commit in another order, that fail. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { createDatabase } from '../support/database.ts'
import { drained, impatient, parcels } from '../support/sql-groups.ts'
import { at, backendOf, bodies, eventually, newQueue, on, receipts, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** One message in no group, and two of a group whose line is the reverse of their ids: who commits first stands first. */
async function receivedAgainstIds(queue: string) {
  const late = await db.connect()
  await late.query('begin')
  await on(late, queue).sendBatch([{ body: 'second of its group', group: 'g' }])
  await on(pool, queue).send('in no group')
  await on(pool, queue).sendBatch([{ body: 'first of its group', group: 'g' }])
  await late.query('commit')
  const taken = await on(pool, queue).receive(3)
  assert.equal(taken.length, 3)
  return taken
}

test('sends, acks and receives in transactions that stay open keep nobody from sending to these groups and receiving', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch(parcels('a1 b1 c1 c2'), { now: at(0) })
  const [, second] = receipts(await on(pool, queue).receive(2, { now: at(0) }))
  const [sender, acker, receiver] = [await db.connect(), await db.connect(), await db.connect()]
  for (const session of [sender, acker, receiver]) await session.query('begin')
  await on(sender, queue).sendBatch(parcels('a2 b2 c3 d1'), { now: at(1) })
  await on(acker, queue).ackWith([second], { now: at(1) })
  await on(receiver, queue).receive(1, { now: at(1) })

  const other = await impatient(db)
  await on(other, queue).sendBatch(parcels('a3 b3 c4 d2'), { now: at(2) })
  const got = await on(other, queue).receive(9, { now: at(2) })
  for (const session of [sender, acker, receiver]) await session.query('commit')

  assert.deepEqual(bodies(got), ['d2'])
  assert.deepEqual((await drained(other, queue, 100)).sort(), 'a1 a2 a3 b2 b3 c1 c2 c3 c4 d1 d2'.split(' '))
})

test('transactions that touch the same groups in opposite orders do not deadlock', async () => {
  const queue = await newQueue(pool)
  const names = Array.from({ length: 20 }, (_, index) => `${String.fromCharCode(97 + index)}1`)
  const sessions = await Promise.all([0, 1, 2, 3].map(() => db.connect()))

  for (let round = 0; round < 10; round++) {
    for (const [index, session] of sessions.entries()) {
      await session.query('begin')
      for (const name of index % 2 ? names : names.toReversed()) await on(session, queue).sendBatch(parcels(name))
    }
    await Promise.all(sessions.map((session) => session.query('commit')))
  }

  assert.equal(await on(pool, queue).purge(), 4 * 10 * 20)
})

test('an extension that waits for one message holds none of a group that it has not come to', async () => {
  const queue = await newQueue(pool)
  const [acking, extending] = [await db.connect(), await db.connect()]
  const taken = await receivedAgainstIds(queue)
  const receiptOf = (what: string) => receipts(taken.filter(({ body }) => JSON.parse(body) === what))

  await acking.query('begin')
  await on(acking, queue).ack(...receiptOf('in no group'))
  const backend = await backendOf(extending)
  const extended = on(extending, queue).extend([...receiptOf('second of its group'), ...receiptOf('in no group')])
  await waitsForLock(pool, backend)
  assert.deepEqual(await on(acking, queue).ack(...receiptOf('first of its group')), ['ok'])
  await acking.query('commit')

  assert.deepEqual(await extended, ['ok', 'message_gone'])
})

for (const how of ['commit', 'rollback'] as const) {
  test(`a nack waits for who is settling one behind it, so that after the ${how} the group has one owner`, async () => {
    const queue = await newQueue(pool)
    await on(pool, queue).sendBatch(parcels('a1 a2 a3'), { now: at(0) })
    const [first, second] = receipts(await on(pool, queue).receive(2, { now: at(0) }))
    const [acking, nacking] = [await db.connect(), await db.connect()]
    await acking.query('begin')
    await on(acking, queue).ackWith([second], { now: at(1) })

    const backend = await backendOf(nacking)
    const nacked = on(nacking, queue).nack([first], { delay: '0 s', now: at(1) })
    await waitsForLock(pool, backend)
    await acking.query(how)

    assert.deepEqual(await nacked, ['ok'])
    const again = await on(pool, queue).receive(9, { now: at(2) })
    assert.deepEqual(bodies(again), ['a1'])
    assert.deepEqual(await on(pool, queue).ackWith([second], { now: at(2) }), [
      how === 'commit' ? 'message_gone' : 'lease_lost',
    ])
    await on(pool, queue).ackWith(receipts(again), { now: at(2) })
    assert.deepEqual(await drained(pool, queue, 100), how === 'commit' ? ['a3'] : ['a2', 'a3'])
  })
}

test('a nack that waits for one behind it holds none that comes later in the order of ids', async () => {
  const queue = await newQueue(pool)
  const [acking, nacking] = [await db.connect(), await db.connect()]
  const taken = await receivedAgainstIds(queue)
  const receiptOf = (what: string) => receipts(taken.filter(({ body }) => JSON.parse(body) === what))

  await acking.query('begin')
  await on(acking, queue).ack(...receiptOf('second of its group'))
  const backend = await backendOf(nacking)
  const nacked = on(nacking, queue).nack([...receiptOf('first of its group'), ...receiptOf('in no group')])
  await waitsForLock(pool, backend)
  assert.deepEqual(await on(acking, queue).ack(...receiptOf('in no group'), ...receiptOf('first of its group')), [
    'ok',
    'ok',
  ])
  await acking.query('commit')

  assert.deepEqual(await nacked, ['message_gone', 'message_gone'])
})

test('a message that is given back while the one before it is acked is the next of its group', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch(parcels('a1 a2 a3'), { now: at(0) })
  const [first, second, third] = receipts(await on(pool, queue).receive(3, { now: at(0) }))
  const giver = await db.connect()

  await giver.query('begin')
  await on(giver, queue).nack([second, third], { delay: '0 s', now: at(1) })
  await on(pool, queue).ackWith([first], { now: at(1) })
  await giver.query('commit')

  const left = await on(pool, queue).peek(9, { now: at(2) })
  assert.deepEqual(
    left.map(({ body, state }) => [JSON.parse(body), state]),
    [
      ['a2', 'ready'],
      ['a3', 'blocked'],
    ],
  )
})

test('acks of one lease at the same time, each for itself, leave no group without a head', async () => {
  const queue = await newQueue(pool)
  const sessions = await Promise.all(Array.from({ length: 5 }, () => db.connect()))

  for (let round = 0; round < 20; round++) {
    await on(pool, queue).sendBatch(parcels('a1 a2 a3 a4 a5 a6'), { now: at(round * 1000) })
    const got = receipts(await on(pool, queue).receive(5, { now: at(round * 1000) }))
    const acked = got.map((receipt, index) =>
      on(sessions[index] as pg.Client, queue).ackWith([receipt], { now: at(round * 1000) }),
    )
    const sent = on(pool, queue).sendBatch(parcels('a7'), { now: at(round * 1000) })
    assert.deepEqual((await Promise.all(acked)).flat(), ['ok', 'ok', 'ok', 'ok', 'ok'])
    await sent

    assert.deepEqual(await drained(pool, queue, round * 1000 + 100), ['a6', 'a7'])
  }
})

for (const how of ['commit', 'rollback'] as const) {
  test(`a follower that an open transaction has acked keeps nobody waiting, and its group goes on after the ${how}`, async () => {
    const queue = await newQueue(pool, { lease: '30 s' })
    await on(pool, queue).sendBatch(parcels('a1 a2 a3'), { now: at(0) })
    const [first, second] = receipts(await on(pool, queue).receive(2, { now: at(0) }))
    const [acker, other] = [await db.connect(), await impatient(db)]
    await acker.query('begin')
    await on(acker, queue).ackWith([second], { now: at(1) })

    await on(other, queue).ackWith([first], { now: at(1) })
    for (const name of ['a4', 'a5']) await on(other, queue).sendBatch(parcels(name), { now: at(1) })
    assert.deepEqual(await on(other, queue).receive(9, { now: at(2) }), [])
    await acker.query(how)

    assert.deepEqual(await drained(other, queue, 100), [...(how === 'rollback' ? ['a2'] : []), 'a3', 'a4', 'a5'])
  })
}

test('a receive of an ended lease does not wait for the follower that its owner is acking', async () => {
  const queue = await newQueue(pool, { lease: '30 s' })
  await on(pool, queue).sendBatch(parcels('a1 a2 a3'), { now: at(0) })
  const [first, second] = receipts(await on(pool, queue).receive(2, { now: at(0) }))
  const [owner, other] = [await db.connect(), await impatient(db)]
  await owner.query('begin')
  await on(owner, queue).ackWith([second], { now: at(1) })

  const again = await on(other, queue).receive(9, { now: at(100) })
  assert.deepEqual(bodies(again), ['a1'])
  assert.deepEqual(await on(owner, queue).ackWith([first], { now: at(101) }), ['lease_lost'])
  await owner.query('commit')
  await on(other, queue).ackWith(receipts(again), { now: at(101) })

  assert.deepEqual(await drained(other, queue, 200), ['a3'])
})

test('senders and consumers at once, some of whom fail: each group has one owner at a time, keeps each sender’s order, loses nothing', async () => {
  const queue = await newQueue(pool, { lease: '1 h' })
  const rounds = 20
  const owners = new Map<string | null, number>()
  const done: string[] = []

  const sending = [0, 1, 2, 3].map(async (sender) => {
    const session = await db.connect()
    for (let round = 0; round < rounds; round++) {
      const parts = [0, 1, 2].map((part) => ({
        body: `${sender}-${round * 3 + part}`,
        group: `${(sender + part) % 3}`,
      }))
      // Every second send is the whole transaction; of the others every third fails the first time, every fourth has a snapshot of its own.
      if (round % 2 === 1) {
        await on(session, queue).sendBatch(parts, { alone: true })
        continue
      }
      for (const how of round % 3 === 0 ? ['rollback', 'commit'] : ['commit']) {
        await session.query(`begin isolation level ${round % 4 === 0 ? 'repeatable read' : 'read committed'}`)
        await on(session, queue).sendBatch(parts)
        await session.query(how)
      }
    }
  })
  const consuming = [0, 1, 2, 3].map(async (consumer) => {
    let session = await db.connect()
    let turn = 0
    await eventually('all messages are acked', async () => {
      if (++turn % 20 === 0) {
        // It dies between its claim and the commit.
        await session.query('begin')
        await on(session, queue).receive(3)
        await pool.query('select pg_terminate_backend($1)', [await backendOf(session)])
        session = await db.connect()
      }
      const got = await on(session, queue).receive(4)
      const groups = new Set(got.map((message) => message.group_key))
      for (const group of groups) assert.equal(owners.get(group), undefined, `group ${group} has two owners`)
      for (const group of groups) owners.set(group, consumer)
      // What failed is given back with all that follows it in its group; the rest is acked one by one, at once.
      const failed = turn % 5 === 0 ? got[0]?.group_key : undefined
      const [back, mine] = [
        got.filter((message) => message.group_key === failed),
        got.filter((message) => message.group_key !== failed),
      ]
      for (const { body } of mine) done.push(JSON.parse(body))
      for (const group of groups) owners.delete(group)
      await Promise.all([
        ...(back.length > 0 ? [on(pool, queue).nack([back[0]?.receipt])] : []),
        ...mine.map(async ({ receipt }) => assert.deepEqual(await on(pool, queue).ack(receipt), ['ok'])),
      ])
      return done.length >= 4 * 3 * rounds
    })
  })
  await Promise.all([...sending, ...consuming])

  assert.equal(new Set(done).size, 4 * 3 * rounds)
  assert.equal(done.length, 4 * 3 * rounds)
  for (const sender of [0, 1, 2, 3])
    for (const part of [0, 1, 2]) {
      const numbers = done.filter((body) => body.startsWith(`${sender}-`)).map((body) => Number(body.split('-')[1]))
      const ofGroup = numbers.filter((number) => number % 3 === part)
      assert.deepEqual(
        ofGroup,
        ofGroup.toSorted((a, b) => a - b),
      )
    }
})

for (const [step, left] of [
  ['receive', 'a1 a2 a3'],
  ['ack', 'a1 a2 a3'],
  ['send', 'a1 a2 a3'],
] as const) {
  test(`a backend that is killed after a ${step} that it has not committed leaves the group as it was`, async () => {
    const queue = await newQueue(pool, { lease: '30 s' })
    await on(pool, queue).sendBatch(parcels('a1 a2 a3'), { now: at(0) })
    const [first] = step === 'ack' ? receipts(await on(pool, queue).receive(1, { now: at(0) })) : []
    const session = await db.connect()
    await session.query('begin')
    if (step === 'receive') await on(session, queue).receive(2, { now: at(0) })
    if (step === 'ack') await on(session, queue).ackWith([first], { now: at(0) })
    if (step === 'send') await on(session, queue).sendBatch(parcels('a4 b1'), { now: at(0) })

    const backend = await backendOf(session)
    await pool.query('select pg_terminate_backend($1)', [backend])
    await eventually('it is gone', async () => {
      const { rows } = await pool.query('select from pg_stat_activity where pid = $1', [backend])
      return rows.length === 0
    })

    const head = await on(pool, queue).receive(1, { now: at(100) })
    await on(pool, queue).ackWith(receipts(head), { now: at(100) })
    assert.deepEqual([...bodies(head), ...(await drained(pool, queue, 200))], left.split(' '))
  })
}
