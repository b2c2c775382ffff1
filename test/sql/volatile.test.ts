/* Volatile queues, whose messages are in tables of their own: every verb does there what it does elsewhere. (What a crash makes of
 * them: test/db/crash.test.ts.) And relaxed durability, which holds for one call and its transaction. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { ackAndReceive } from '../../src/queue/receive.ts'
import { createDatabase } from '../support/database.ts'
import {
  at,
  backendOf,
  bodies,
  call,
  maintain,
  newQueue,
  on,
  only,
  receipts,
  waitsForLock,
} from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const volatile = { durability: 'volatile' }

test('a volatile queue writes to no table of the durable ones, and its tables are not logged', async () => {
  const queue = await newQueue(pool, { ...volatile, dedup_by: 'content' })
  await on(pool, queue).sendBatch([{ body: 1 }, { body: 2, group: 'g' }])

  const { rows } = await pool.query(`select (select count(*)::integer from postbag.message) as message,
    (select count(*)::integer from postbag.dedup) as dedup, (select count(*)::integer from postbag.volatile_message) as volatile,
    (select string_agg(distinct relpersistence::text, '') from pg_class where relname in ('volatile_message', 'volatile_dedup')) as how`)

  assert.deepEqual(rows, [{ message: 0, dedup: 0, volatile: 2, how: 'u' }])
})

test('messages are received, extended, given back, acked and found', async () => {
  const queue = on(pool, await newQueue(pool, { ...volatile, max_priority: 3, lease: '1 h' }))
  const sent = await queue.sendBatch(
    [1, 2, 3].map((priority) => ({ body: priority, priority, dedupId: `${priority}` })),
    { now: at(0) },
  )
  const [third, second, first] = receipts(await queue.receive(3, { now: at(0) }))

  const outcomes = [
    ...(await queue.extend([second], { now: at(1) })),
    ...(await queue.nack([first], { error: 'x', now: at(1) })),
    ...(await queue.ack(third, third, 'x')),
  ]

  assert.deepEqual(outcomes, ['ok', 'ok', 'ok', 'message_gone', 'receipt_invalid'])
  assert.deepEqual(
    (await queue.peek(9, { now: at(2) })).map((message) => message.state),
    ['ready', 'leased'],
  )
  assert.deepEqual(bodies(await queue.search(9, { of_state: 'leased', now: at(2) })), [2])
  assert.equal((await queue.get(sent[0]?.id ?? '', at(2))).last_error, 'x')
  assert.equal(only(await queue.sendBatch([{ body: 1, dedupId: '1' }], { now: at(2) })).duplicate, true)
  const { ready, leased, bytes } = await queue.stats(at(2))
  assert.deepEqual([ready, leased, bytes], ['1', '1', '2'])
  assert.deepEqual([await queue.purge(), await queue.delete()], [2, 0])
})

test('order, limits, auto-ack and groups hold', async () => {
  const lifo = on(pool, await newQueue(pool, { ...volatile, delivery_order: 'lifo', max_in_flight: 2 }))
  await lifo.sendBatch(
    [1, 2, 3].map((body) => ({ body })),
    { now: at(0) },
  )
  const grouped = on(pool, await newQueue(pool, { ...volatile, rate: 1, burst: 2 }))
  await grouped.sendBatch(
    [1, 2, 3].map((body) => ({ body, group: 'g' })),
    { now: at(0) },
  )
  const full = on(pool, await newQueue(pool, { ...volatile, max_messages: 1 }))
  await full.send(1)

  assert.deepEqual(bodies(await lifo.receive(9, { now: at(0) })), [3, 2])
  assert.deepEqual(bodies(await grouped.receive(9, { auto_ack: true, now: at(0) })), [1, 2])
  assert.deepEqual(bodies(await grouped.receive(9, { now: at(1) })), [3])
  await assert.rejects(full.send(2), { code: 'PB004' })
})

test('a message that dies goes to a volatile dead-letter queue, and back', async () => {
  const target = await newQueue(pool, volatile)
  const queue = on(pool, await newQueue(pool, { ...volatile, max_attempts: 1, dead_letter_queue: target }))
  await queue.sendBatch([{ body: 1 }, { body: 2, group: 'g' }, { body: 3, ttlSeconds: 1 }], { now: at(0) })
  await queue.nack(receipts(await queue.receive(2, { now: at(0) })), { now: at(0) })
  await queue.maintain(100, at(5))

  const dead = await on(pool, target).peek(9, { now: at(5) })
  const { redriven } = await on(pool, target).redrive({ now: at(5) })

  assert.deepEqual(
    dead.map((message) => message.dead_reason),
    ['attempts', 'attempts', 'expired'],
  )
  assert.deepEqual([redriven, bodies(await queue.peek(9, { now: at(5) }))], [3, [1, 2, 3]])
})

test('eight sessions at once share no message and leave none', async () => {
  const queue = await newQueue(pool, volatile)
  await on(pool, queue).sendBatch(Array.from({ length: 400 }, (_, body) => ({ body })))

  const taken = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const session = on(await db.connect(), queue)
      const mine = []
      for (let got = await session.receive(7); got.length > 0; got = await session.receive(7)) mine.push(...got)
      return mine
    }),
  )

  const rest = await on(await db.connect(), queue).receive(1000)
  assert.deepEqual([new Set(bodies([...taken.flat(), ...rest])).size, taken.flat().length + rest.length], [400, 400])
})

test('a transaction that is rolled back has sent nothing and received nothing', async () => {
  const queue = await newQueue(pool, volatile)
  const session = await db.connect()
  await on(session, queue).send('there')
  await session.query('begin')
  await on(session, queue).receive()
  await on(session, queue).send('undone')
  await session.query('rollback')

  assert.deepEqual(bodies(await on(session, queue).receive(9)), ['there'])
})

for (const [from, to] of [
  ['volatile', 'full'],
  ['full', 'volatile'],
  ['relaxed', 'volatile'],
] as const) {
  test(`a queue cannot be switched from ${from} to ${to}`, async () => {
    const queue = await newQueue(pool, { durability: from })
    await on(pool, queue).send('stays')

    await assert.rejects(call(pool, 'create_queue', { queue, durability: to }), {
      code: 'PB002',
      message: /^durability of queue/,
    })

    assert.deepEqual(bodies(await on(pool, queue).peek()), ['stays'])
  })

  test(`of two creations at once, ${from} and ${to}, the first stands and the second is refused`, async () => {
    const [first, second] = [await db.connect(), await db.connect()]
    const queue = `${from}-or-${to}`
    await first.query('begin')
    await call(first, 'create_queue', { queue, durability: from })
    const backend = await backendOf(second)

    const waiting = assert.rejects(call(second, 'create_queue', { queue, durability: to }), { code: 'PB002' })
    await waitsForLock(pool, backend)
    await first.query('commit')

    await waiting
    assert.equal(only(await call(pool, 'describe_queue', { queue }))['durability'], from)
  })
}

test('a group that a repeatable read transaction left without a head gets one', async () => {
  const queue = await newQueue(pool, volatile)
  const session = await db.connect()
  await session.query('begin isolation level repeatable read')
  await on(session, queue).send(1, { group_key: 'g' })
  await session.query('commit')

  await maintain(pool, {})

  assert.deepEqual(bodies(await on(await db.connect(), queue).receive(9)), [1])
})

type RunVerb = (session: pg.Client, queue: string, alone: boolean) => Promise<unknown>

/** With the synchronous_commit of a queue with full durability, when the call is the whole transaction. */
const verbs: [verb: string, full: 'on' | 'off', run: RunVerb][] = [
  ['send', 'on', (session, queue, alone) => on(session, queue).sendBatch([{ body: 2 }], { alone })],
  ['receive', 'off', (session, queue, alone) => on(session, queue).receive(1, { alone })],
  ['receive with auto_ack', 'on', (session, queue, alone) => on(session, queue).receive(1, { auto_ack: true, alone })],
  ['ack', 'off', async (session, queue, alone) => on(session, queue).ackWith(['1.1.1'], { alone })],
  ['nack', 'on', (session, queue, alone) => on(session, queue).nack(['1.1.1'], { alone })],
  ['extend', 'on', (session, queue, alone) => on(session, queue).extend(['1.1.1'], { alone })],
]

for (const [verb, full, run] of verbs) {
  const when =
    full === 'on' ? 'the queue is relaxed and the call is the whole transaction' : 'the call is the whole transaction'
  test(`a ${verb} waits for no disk if ${when}, and only then`, async () => {
    const session = await db.connect()
    await session.query('set synchronous_commit = on')
    const setting = async () => (await session.query('show synchronous_commit')).rows[0].synchronous_commit
    const found = []

    for (const [durability, alone] of [
      ['relaxed', true],
      ['relaxed', false],
      ['full', true],
      ['full', false],
    ] as const) {
      const queue = await newQueue(pool, { durability })
      await on(pool, queue).send(1)
      await session.query('begin')
      await run(session, queue, alone)
      const inside = await setting()
      await session.query('commit')
      found.push([durability, alone, inside, await setting()])
    }

    assert.deepEqual(found, [
      ['relaxed', true, 'off', 'on'],
      ['relaxed', false, 'on', 'on'],
      ['full', true, full, 'on'],
      ['full', false, 'on', 'on'],
    ])
  })
}

const acks: [how: string, run: (session: pg.Client, queue: string, done: string[]) => Promise<unknown>][] = [
  ['alone', (session, queue, done) => on(session, queue).ackWith(done, { alone: true })],
  [
    'together with a receive',
    (session, queue, done) => ackAndReceive(session, queue, { acks: done, max: 1 }, { alone: true }),
  ],
]
for (const [how, run] of acks) {
  test(`an ack of a message in a group, ${how}, waits for the disk: it must not come again after those behind it`, async () => {
    const found = []
    for (const durability of ['full', 'relaxed']) {
      const [queue, session] = [await newQueue(pool, { durability }), await db.connect()]
      await session.query('set synchronous_commit = on')
      await on(pool, queue).send(1, { group_key: 'g' })
      for (const body of [2, 3, 4]) await on(pool, queue).send(body)
      const given = receipts(await on(session, queue).receive(3))

      for (const done of [given.slice(0, 1), given, given.slice(1)]) {
        await session.query('begin')
        await run(session, queue, done)
        found.push((await session.query('show synchronous_commit')).rows[0].synchronous_commit)
        await session.query('rollback')
      }
    }

    assert.deepEqual(found, ['on', 'on', 'off', 'off', 'off', 'off'])
  })
}

test('a full queue may become relaxed and back, with its messages', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('kept')

  for (const durability of ['relaxed', 'full', 'relaxed']) await call(pool, 'create_queue', { queue, durability })

  assert.deepEqual(bodies(await on(pool, queue).receive()), ['kept'])
})
