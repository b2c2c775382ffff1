/* Maintenance: what nobody needs any more is removed, from queues that nobody uses as well. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { planNodes, readsOf } from '../support/sql-plans.ts'
import { at, bodies, call, eventually, maintain, newQueue, on, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const rowsOf = async (table: string) =>
  Number((await pool.query(`select count(*) from postbag.${table}`)).rows[0].count)

for (const durability of ['full', 'volatile']) {
  test(`in a queue with durability ${durability} it removes what has expired, failed attempts, dead letters and dedup ids`, async () => {
    const config = { durability, max_attempts: 1, lease: '10 s', dead_letter_retention: '1 h' }
    const queue = on(pool, await newQueue(pool, config))
    await queue.sendBatch([{ body: 'old', ttlSeconds: 5, dedupId: 'a' }, { body: 'kept' }, { body: 'fails' }], {
      now: at(0),
    })
    await queue.receive(1, { lease: '1 h', now: at(6) })
    await queue.receive(1, { now: at(6) })

    const results: Awaited<ReturnType<typeof maintain>>[] = []
    for (const moment of [15, 20, 4000, 40_000]) results.push(await queue.maintain(100, at(moment)))

    assert.deepEqual(
      results.map((result) => [result.expired, result.removed]),
      [
        [0, 0],
        [1, 0],
        [1, 1],
        [0, 1],
      ],
    )
    assert.equal(
      results.reduce((sum, result) => sum + result.forgotten, 0),
      1,
    )
    assert.deepEqual(await queue.peek(9, { now: at(40_000) }), [])
  })
}

test('it removes no more than it is asked to, and says whether there is more', async () => {
  const queue = on(pool, await newQueue(pool, { ttl: '1 s' }))
  await queue.sendBatch(Array(25).fill({ body: 'old' }), { now: at(0) })

  const results = []
  for (let turn = 0; turn < 4; turn++) results.push(await queue.maintain(10, at(100)))

  assert.deepEqual(
    results.map((result) => [result.expired, result.more]),
    [
      [10, true],
      [10, true],
      [5, false],
      [0, false],
    ],
  )
})

test('without a queue it goes through all of them, and a queue that has nothing to remove keeps everything', async () => {
  const queues = [
    await newQueue(pool, { ttl: '1 s' }),
    await newQueue(pool, { ttl: '1 s', durability: 'volatile' }),
    await newQueue(pool),
  ]
  for (const queue of queues) await on(pool, queue).send('x', { now: at(0) })

  const { expired } = await maintain(pool, { now: at(100) })

  assert.equal(expired, 2)
  assert.deepEqual(
    await Promise.all(queues.map(async (queue) => (await on(pool, queue).peek(9, { now: at(0) })).length)),
    [0, 0, 1],
  )
})

for (const durability of ['full', 'volatile']) {
  test(`messages of a ${durability} queue that was deleted while they were sent are removed, and others are not`, async () => {
    const [queue, other] = [await newQueue(pool, { durability }), await newQueue(pool, { durability })]
    const sender = await db.connect()
    await on(pool, other).send('stays')
    await sender.query('begin')
    await on(sender, queue).sendBatch(Array.from({ length: 5 }, (_, body) => ({ body, dedupId: `orphan ${body}` })))
    await on(pool, queue).delete()
    await sender.query('commit')

    const results = [await maintain(pool, { max_messages: 3 }), await maintain(pool, {}), await maintain(pool, {})]

    assert.deepEqual(
      results.map((result) => result.orphans),
      [3, 2, 0],
    )
    assert.equal(results[0]?.more, true)
    assert.deepEqual(bodies(await on(pool, other).peek()), ['stays'])
    const { rows } = await pool.query(
      `select from postbag.${durability === 'full' ? '' : 'volatile_'}dedup where dedup_id like 'orphan%'`,
    )
    assert.equal(rows.length, 0)
  })
}

test('it waits for nobody: what another transaction holds is left', async () => {
  const queue = await newQueue(pool, { ttl: '10 s', lease: '1 s' })
  const [owner, session] = [await db.connect(), await db.connect()]
  await on(owner, queue).send('held', { now: at(0) })
  const given = receipts(await on(owner, queue).receive(1, { now: at(5) }))
  await call(owner, 'inbox', { consumer: 'held', message_id: '1', now: at(-1e6) })
  await owner.query('begin')
  await on(owner, queue).ackWith(given, { now: at(8) })
  await call(owner, 'inbox', { consumer: 'held', message_id: '1', now: at(8) })
  await session.query(`set lock_timeout = '2s'`)

  const { expired } = await on(session, queue).maintain(100, at(50))

  assert.equal(expired, 0)
  await owner.query('rollback')
})

test('it does not wait for a receive that uses up a rate, nor for who holds notes of traffic', async () => {
  const queue = await newQueue(pool, { rate: 1000 })
  const [owner, session] = [await db.connect(), await db.connect()]
  await on(pool, queue).sendBatch([{ body: 1 }, { body: 2 }], { now: at(0) })
  await on(pool, queue).receive(1, { now: at(0) })
  await owner.query('begin')
  assert.equal((await on(owner, queue).receive(1, { now: at(5) })).length, 1)
  await owner.query('select from postbag.traffic for update')
  await session.query(`set lock_timeout = '2s'`)

  await maintain(session, { now: at(10_000) })

  await owner.query('rollback')
})

test('notes of traffic and of the inbox are removed in time', async () => {
  await pool.query('delete from postbag.traffic')
  const session = on(await db.connect(), await newQueue(pool))
  for (const moment of [0, 2, 4]) await session.send('x', { now: at(moment) })
  await call(pool, 'inbox', { consumer: 'c', message_id: '1', keep: '1 h', now: at(0) })
  const before = await rowsOf('traffic')

  await maintain(pool, { now: at(10_000) })

  assert.ok(before >= 1)
  assert.deepEqual([await rowsOf('traffic'), await rowsOf('inbox')], [0, 0])
})

test('four at once remove everything once', async () => {
  const queue = await newQueue(pool, { ttl: '1 s', dead_letter_queue: await newQueue(pool) })
  for (let batch = 0; batch < 4; batch++)
    await on(pool, queue).sendBatch(Array(250).fill({ body: 'old' }), { now: at(0) })
  const sessions = await Promise.all([1, 2, 3, 4].map(() => db.connect()))

  const results = await Promise.all(sessions.map((session) => on(session, queue).maintain(1000, at(100))))

  const first = results.reduce((sum, result) => sum + result.expired, 0)
  const { expired } = await on(pool, queue).maintain(1000, at(100))
  assert.equal(first + expired, 1000)
})

test('a queue at rest costs next to nothing, whatever it holds', async () => {
  const { pool, connect } = await createDatabase()
  const queues = await Promise.all(Array.from({ length: 50 }, () => newQueue(pool)))
  const messages = [{ body: 1 }, { body: 2, ttlSeconds: 3600, dedupId: 'a' }, { body: 3, group: 'g' }]
  for (const queue of queues) await on(pool, queue).sendBatch(messages, { now: at(0) })
  await on(pool, queues[0] ?? '').sendBatch(Array(1000).fill({ body: 1 }), { now: at(0) })
  const session = await connect()

  await session.query(`set track_functions = 'pl'; begin`)
  const nodes = await planNodes(session, () => maintain(session, { now: at(1) }))
  const { rows } = await session.query(
    `select calls from pg_stat_xact_user_functions where schemaname = 'postbag' and funcname = 'tidy'`,
  )
  await session.query('commit')

  assert.deepEqual(rows, [])
  // (The walk over the queues that have messages, for those that are gone, goes by the primary key.)
  const unexpected = (read: string) => !/^Index (Only )?Scan (\w+_by_expiry|message_pkey)$/.test(read)
  assert.deepEqual([...readsOf('message', nodes), ...readsOf('dedup', nodes)].filter(unexpected), [])
})

for (const max_messages of [0, 100_001, null]) {
  test(`maintenance of ${max_messages} messages is refused`, async () => {
    await assert.rejects(call(pool, 'maintain', { max_messages }), {
      code: 'PB002',
      message: /^max must be between 1 and 100000/,
    })
  })
}

test('maintenance of a queue that is not there is refused', async () => {
  await assert.rejects(maintain(pool, { queue: 'nowhere' }), { code: 'PB001' })
  assert.ok(await eventually('the pool still works', async () => (await pool.query('select 1')).rows))
})
