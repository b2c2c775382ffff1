/* What a call costs does not depend on how much waits in the queue, on dead rows that a held snapshot keeps, or on statistics that
 * are out of date: the plans are pinned. Pages and plans are counted, not time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { pagesTouched, planNodes, readsOf } from '../support/sql-plans.ts'
import { at, newQueue, on, receipts } from '../support/sql-verbs.ts'

/** A database in which nobody tidies up on the side: autovacuum would make sessions plan anew, which touches the catalog. */
async function createQuietDatabase(): Promise<TestDatabase> {
  const database = await createDatabase()
  for (const table of ['message', 'dedup']) {
    await database.pool.query(
      `alter table postbag.${table} set (autovacuum_enabled = off, toast.autovacuum_enabled = off)`,
    )
  }
  return database
}

/** Send so many messages, a hundred at each millisecond from at(start) on, with dedup ids such as "0-1". */
async function fill(session: pg.Pool, queue: string, size: number, start = 0): Promise<void> {
  for (let sent = 0; sent < size; sent += 100) {
    const messages = Array.from({ length: 100 }, (_, index) => ({ body: 'x'.repeat(200), dedupId: `${sent}-${index}` }))
    await on(session, queue).sendBatch(messages, { now: at(start + sent / 100_000) })
  }
}

// What the planner knows when a session makes its plans, and how many messages come afterwards.
const statistics: [known: string, prepare: (pool: pg.Pool, queue: string) => Promise<unknown>, after: number][] = [
  ['nothing', async () => {}, 5000],
  ['that the tables are empty', async () => {}, 5000],
  ['a hundred messages', (pool, queue) => fill(pool, queue, 100), 5000],
  ['another queue with 5000 messages', async (pool) => fill(pool, await newQueue(pool), 5000), 100],
  ['5000 messages', (pool, queue) => fill(pool, queue, 5000), 0],
]

for (const [known, prepare, after] of statistics) {
  test(`claims, look-ups and dedup take their index if the planner knows ${known} when it plans`, async () => {
    const { pool, connect } = await createQuietDatabase()
    const queue = await newQueue(pool, { lease: '1 h' })
    await prepare(pool, queue)
    if (known !== 'nothing') await pool.query('vacuum analyze postbag.message, postbag.dedup')
    const session = await connect()
    const verbs = on(session, queue)
    const turn = async (moment: number) => {
      await verbs.sendBatch(
        [
          { body: 1, dedupId: `${moment}` },
          { body: 2, dedupId: '0-1' },
        ],
        { now: at(moment) },
      )
      const [first, second, third] = receipts(await verbs.receive(10, { now: at(moment) }))
      await verbs.extend([first], { now: at(moment) })
      await verbs.nack([second], { now: at(moment) })
      await verbs.ack(third)
    }
    // Often enough that cached plans would be kept.
    for (let moment = 100; moment < 800; moment += 100) await turn(moment)
    await fill(pool, queue, after, 800)

    const nodes = await planNodes(session, () => turn(1000))

    // (Now and then: is there something to tidy, or a group?)
    const nowAndThen = [
      'Index Scan message_by_expiry',
      'Index Only Scan message_by_expiry',
      'Index Only Scan message_by_group',
    ]
    assert.deepEqual(
      readsOf('message', nodes).filter((read) => !nowAndThen.includes(read)),
      ['Index Scan message_by_availability', 'Index Scan message_pkey', 'Tid Scan'],
    )
    assert.ok(readsOf('dedup', nodes).every((read) => ['Index Scan dedup_by_expiry', 'Tid Scan'].includes(read)))
  })
}

test('a session that goes the short way takes the next messages from the index, however many wait', async () => {
  const { pool, connect } = await createQuietDatabase()
  const queue = await newQueue(pool)
  const session = await connect()
  const cycle = async (moment: number) => {
    await on(session, queue).sendBatch([{ json: '1' }, { json: '2' }], { now: at(moment) })
    await on(session, queue).ackWith(receipts(await on(session, queue).receive(2, { now: at(moment) })), {
      now: at(moment),
    })
  }
  await pool.query('vacuum analyze postbag.message')
  for (let turn = 0; turn < 10; turn++) await cycle(turn / 1000)
  await fill(pool, queue, 5000, 0.01)

  const nodes = await planNodes(session, () => cycle(0.05))

  assert.deepEqual(readsOf('message', nodes), [
    'Index Scan message_by_availability',
    'Index Scan message_pkey',
    'Tid Scan',
  ])
  // (That of the acks, by their ids.)
  assert.equal(nodes.filter((node) => node['Node Type'] === 'Sort').length, 1)
  await session.query(`set track_functions = 'pl'; begin`)
  await cycle(0.05)
  const called = await session.query(
    `select funcname as name from pg_stat_xact_user_functions where schemaname = 'postbag' order by name`,
  )
  await session.query('commit')
  assert.deepEqual(
    called.rows.map(({ name }) => name),
    ['ack', 'receive', 'send_batch'],
  )
})

test('a session that goes the short ways with groups finds each line by its index, however many wait', async () => {
  const { pool, connect } = await createQuietDatabase()
  const queue = await newQueue(pool)
  const session = await connect()
  const cycle = async (moment: number, groups: readonly string[]) => {
    const messages = groups.map((group) => ({ json: '1', group }))
    await on(session, queue).sendBatch(messages, { now: at(moment), alone: true })
    const got = await on(session, queue).receive(4, { now: at(moment) })
    await on(session, queue).ackWith(receipts(got), { now: at(moment) })
    return got.map((message) => message.group_key)
  }
  await pool.query('vacuum analyze postbag.message')
  const groups = ['a', 'a', 'a', 'a', 'b', 'b', 'b', 'b']
  for (let turn = 0; turn < 10; turn++) await cycle(turn / 1000, groups)
  await fill(pool, queue, 5000, 0.02)

  const nodes = await planNodes(session, async () => assert.deepEqual(await cycle(0.05, groups), ['b', 'b', 'b', 'b']))

  assert.deepEqual(readsOf('message', nodes), [
    'Index Only Scan message_by_group',
    'Index Scan message_by_availability',
    'Index Scan message_by_group',
    'Index Scan message_pkey',
    'Tid Scan',
  ])
  await session.query(`set track_functions = 'pl'; begin`)
  await cycle(0.05, groups)
  const called = await session.query(
    `select funcname as name from pg_stat_xact_user_functions where schemaname = 'postbag' order by name`,
  )
  await session.query('commit')
  assert.deepEqual(
    called.rows.map(({ name }) => name),
    ['ack', 'lock_groups', 'receive', 'send_batch', 'send_to_groups'],
  )
})

test('a plan that was made for an empty queue neither scans nor is quadratic when the queue is full', async () => {
  const { pool, connect } = await createQuietDatabase()
  const queue = await newQueue(pool)
  const session = await connect()
  const verbs = on(session, queue)
  await pool.query('vacuum analyze postbag.message')
  for (let turn = 0; turn < 8; turn++) {
    await verbs.peek()
    await verbs.stats()
    await verbs.purge()
  }
  await fill(pool, queue, 5000)

  const purged = await planNodes(session, async () => assert.equal(await verbs.purge(), 5000))

  assert.deepEqual(
    purged.filter((node) => node['Node Type'] === 'Nested Loop'),
    [],
  )
  await fill(pool, queue, 1000, 1000)
  assert.deepEqual(readsOf('message', await planNodes(session, () => verbs.peek())), ['Index Scan message_pkey'])
  assert.deepEqual(readsOf('message', await planNodes(session, () => verbs.stats())).includes('Seq Scan'), false)
})

test('an operation touches about as many pages in a queue of 20,000 messages as in one of 100', async () => {
  const { pool, connect } = await createQuietDatabase()
  const costs: number[][] = []
  for (const size of [100, 20_000]) {
    const queue = await newQueue(pool)
    await fill(pool, queue, size)
    const session = await connect()
    const cost = (verb: string, rest: string) =>
      pagesTouched(session, `select * from postbag.${verb}('${queue}', ${rest})`)
    const cycle = async (moment: number) => {
      const now = `now => '${at(moment).toISOString()}'`
      const given = `'${JSON.stringify(receipts(await on(session, queue).receive(10, { now: at(moment) })))}'`
      return [
        await cost('receive', `10, ${now}`),
        await cost('receive', `1, ${now}`),
        await cost('extend', `${given}, ${now}`),
        await cost('nack', `${given}, ${now}`),
        await cost('ack', given),
        await cost('send', `'1', ${now}, dedup_id => '${moment}'`),
        await cost('peek', '10'),
      ]
    }
    // The first cycle reads the catalog, and so may any other in which Postgres has forgotten what it knew.
    const cycles = [await cycle(200), await cycle(300), await cycle(400)]
    costs.push(transposed(cycles).map((pages) => Math.min(...pages)))
  }

  for (const [few, many] of transposed(costs))
    assert.ok(Number(many) <= 2 * Number(few) + 20, `pages: ${costs.join(' became ')}`)
})

test('a nack in a group touches about as many pages, however long the line behind it is', async () => {
  const { pool, connect } = await createQuietDatabase()
  const costs: number[] = []
  for (const size of [100, 10_000]) {
    const queue = await newQueue(pool)
    const messages = Array.from({ length: 100 }, () => ({ body: 1, group: 'a' }))
    for (let sent = 0; sent < size; sent += 100) await on(pool, queue).sendBatch(messages, { now: at(0) })
    const session = await connect()
    const pages: number[] = []
    for (const moment of [1000, 2000, 3000]) {
      const [first] = receipts(await on(session, queue).receive(3, { now: at(moment) }))
      const nack = `select * from postbag.nack('${queue}', '["${first}"]', now => '${at(moment).toISOString()}')`
      pages.push(await pagesTouched(session, nack))
    }
    costs.push(Math.min(...pages))
  }

  assert.ok(Number(costs[1]) <= 2 * Number(costs[0]) + 20, `pages: ${costs.join(' became ')}`)
})

test('dead rows that a held snapshot keeps are walked over once by everybody, not by every receive', async () => {
  const { pool, connect } = await createQuietDatabase()
  const queue = await newQueue(pool, { lease: '1 h' })
  await fill(pool, queue, 20_000)
  const holder = await connect()
  await holder.query('begin isolation level repeatable read; select 1')
  const [session, fresh] = [await connect(), await connect()]
  for (let turn = 0; turn < 20; turn++)
    await on(session, queue).ack(...receipts(await on(session, queue).receive(1000, { now: at(10) })))
  await fill(pool, queue, 100, 10)
  const cost = (by: pg.Client) =>
    pagesTouched(by, `select * from postbag.receive('${queue}', 10, now => '${at(100).toISOString()}')`)

  const full = await cost(session)
  const next = [await cost(session), await cost(session), await cost(session)]
  // At the same moment another session, which knows nothing yet of this queue; but it has read the catalog.
  await on(fresh, await newQueue(pool)).receive(1, { now: at(100) })
  const others = [await cost(fresh), await cost(fresh), await cost(fresh)]

  assert.ok(full > 1500, `the full look touched only ${full} pages: no dead rows, no test`)
  assert.ok(Math.max(...next) < 500 && Math.min(...next) < 100, `receives touched ${next} pages`)
  assert.ok(Math.max(...others) < 500 && Math.min(...others) < 100, `a fresh session touched ${others} pages`)
  await holder.query('rollback')
})

test('what has expired and was removed, but is kept by a held snapshot, is not walked over by every send', async () => {
  const { pool, connect } = await createQuietDatabase()
  const queue = await newQueue(pool, { ttl: '1 s' })
  const [holder, session] = [await connect(), await connect()]
  await holder.query('begin isolation level repeatable read; select 1')
  await fill(pool, queue, 20_000)
  for (let more = true; more; ) more = (await on(pool, queue).maintain(10_000, at(100))).more
  const cost = (moment: number) =>
    pagesTouched(session, `select postbag.send('${queue}', '1', now => '${at(moment).toISOString()}')`)

  const costs = []
  for (let moment = 200; moment < 230; moment += 2) costs.push(await cost(moment))

  assert.ok(costs.filter((pages) => pages < 100).length >= 10, `sends touched ${costs} pages`)
  await holder.query('rollback')
})

test('an ack beside 20,000 dead rows touches no more pages than one without', async () => {
  const { pool, connect } = await createQuietDatabase()
  const queue = await newQueue(pool)
  const [holder, session] = [await connect(), await connect()]
  await holder.query('begin isolation level repeatable read; select 1')
  await fill(pool, queue, 20_000)
  assert.equal(await on(pool, queue).purge(), 20_000)
  await on(pool, queue).sendBatch(Array(20).fill({ body: 1 }), { now: at(100) })
  const given = receipts(await on(session, queue).receive(20, { now: at(100) }))
  // (The first ack of several reads the catalog.)
  await on(session, queue).ack(...given.slice(0, 2))

  const pages = await pagesTouched(
    session,
    `select * from postbag.ack('${queue}', '${JSON.stringify(given.slice(2, 12))}')`,
  )

  assert.ok(pages < 100, `the ack of ten touched ${pages} pages`)
  await holder.query('rollback')
})

test('claims and extensions are heap-only updates while the page has room: they leave the indexes alone', async () => {
  const { pool, connect } = await createQuietDatabase()
  const queue = await newQueue(pool)
  await fill(pool, queue, 100)
  const session = await connect()
  await session.query('begin')

  const received = await on(session, queue).receive(3, { now: at(10) })
  await on(session, queue).extend(receipts(received), { now: at(10) })

  const { rows } = await session.query(
    `select n_tup_upd::integer as updates, n_tup_hot_upd::integer as heap_only
     from pg_stat_xact_user_tables where relname = 'message'`,
  )
  assert.deepEqual(rows, [{ updates: 6, heap_only: 6 }])
  await session.query('rollback')
})

function transposed(rows: readonly (readonly number[])[]): number[][] {
  return (rows[0] ?? []).map((_, column) => rows.map((row) => row[column] as number))
}
