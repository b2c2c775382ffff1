/* Queues: create and replace, describe, list, delete. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, backendOf, bodies, call, newQueue, on, only, receipts, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

interface Info {
  readonly name: string
  readonly lease_seconds: number
  readonly delay_seconds: number
  readonly max_priority: number
  readonly dedup_window_seconds: number
  readonly created_at: Date
  readonly updated_at: Date
}

const create = async (args: object) => only(await call<Info>(pool, 'create_queue', args))
const names = async (args: object) => (await call<Info>(pool, 'list_queues', args)).map((queue) => queue.name)

const defaults = {
  delivery_order: 'fifo',
  max_priority: 0,
  group_mode: 'ordered',
  lease_seconds: 30,
  delay_seconds: 0,
  ttl_seconds: null,
  max_attempts: null,
  retry_delay_seconds: 0,
  retry_backoff: 'fixed',
  retry_max_delay_seconds: 3600,
  retry_jitter: 0,
  dead_letter_queue: null,
  dead_letter_exchange: null,
  dead_letter_routing_key: null,
  dead_letter_retention_seconds: 1_209_600,
  dedup_window_seconds: 300,
  dedup_by: 'id',
  dedup_scope: 'queue',
  max_messages: null,
  max_bytes: null,
  overflow: 'reject',
  max_in_flight: null,
  rate: null,
  burst: null,
  group_rate: null,
  group_burst: null,
  durability: 'full',
  paused: false,
}

test('a new queue has the defaults, and is described as it was created', async () => {
  const created = await create({ queue: 'fresh', now: at(0) })

  assert.deepEqual(created, {
    name: 'fresh',
    ...defaults,
    created_at: at(0),
    updated_at: at(0),
    origins: {},
  })
  assert.deepEqual(await call(pool, 'describe_queue', { queue: 'fresh' }), [created])
})

test('replacing a queue sets everything that is not given back to its default', async () => {
  await create({ queue: 'again', lease: '1.5 s', delay: '1 day', max_priority: 9, dedup_window: '0 s', now: at(0) })

  const replaced = await create({ queue: 'again', lease: '2 s', now: at(60) })

  assert.deepEqual(replaced, {
    name: 'again',
    ...defaults,
    lease_seconds: 2,
    created_at: at(0),
    updated_at: at(60),
    origins: { lease: 'queue' },
  })
})

test('a replaced queue is told from a new one even if the clock stands still', async () => {
  await create({ queue: 'still', now: at(0) })

  await create({ queue: 'still', now: at(0) })

  const { rows } = await pool.query(
    `select updated_at > created_at as replaced from postbag.queue_info where name = 'still'`,
  )
  assert.deepEqual(rows, [{ replaced: true }])
})

test('the messages of a replaced queue stay, and its new configuration holds for them', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('kept', { now: at(0) })

  await create({ queue, lease: '77 s' })

  const received = only(await on(pool, queue).receive(1, { now: at(0) }))
  assert.deepEqual([received.body, received.leased_until], ['"kept"', at(77)])
})

test('lowering max_priority strands no message, not even one whose sender has yet to commit', async () => {
  const queue = await newQueue(pool, { max_priority: 9 })
  const sender = await db.connect()
  await on(pool, queue).send('committed', { priority: 9 })
  await sender.query('begin')
  await on(sender, queue).send('late', { priority: 8 })

  await create({ queue, max_priority: 0 })
  await sender.query('commit')

  assert.deepEqual(bodies(await on(await db.connect(), queue).receive(9)), ['committed', 'late'])
  await assert.rejects(on(pool, queue).send('too high', { priority: 1 }), { code: 'PB002', message: /between 0 and 0/ })
})

test('raising max_priority holds for the next send', async () => {
  const queue = await newQueue(pool)

  await create({ queue, max_priority: 3 })

  await on(pool, queue).send('high', { priority: 3 })
  await on(pool, queue).send('low')
  assert.deepEqual(bodies(await on(await db.connect(), queue).receive(2)), ['high', 'low'])
})

test('of two creations at once both succeed, and the later one stands', async () => {
  const [first, second] = [await db.connect(), await db.connect()]
  await first.query('begin')
  await call(first, 'create_queue', { queue: 'both', lease: '1 s' })

  const secondBackend = await backendOf(second)
  const waiting = call<Info>(second, 'create_queue', { queue: 'both', lease: '2 s' })
  await waitsForLock(pool, secondBackend)
  await first.query('commit')

  assert.equal(only(await waiting).lease_seconds, 2)
  assert.equal(only(await call<Info>(pool, 'describe_queue', { queue: 'both' })).lease_seconds, 2)
})

test('a creation that is rolled back leaves no queue', async () => {
  const session = await db.connect()
  await session.query('begin')
  await call(session, 'create_queue', { queue: 'undone' })
  await on(session, 'undone').send('inside')

  await session.query('rollback')

  await assert.rejects(call(pool, 'describe_queue', { queue: 'undone' }), { code: 'PB001' })
})

for (const name of ['', '-', '.a', '_a', 'a b', 'a/b', 'ä', 'a\n', 'a"', "a'", 'a'.repeat(81), '\u{1f4ec}']) {
  test(`a queue cannot be called ${JSON.stringify(name)}`, async () => {
    await assert.rejects(create({ queue: name }), { code: '23514', constraint: 'queue_name_is_safe' })
  })
}

for (const name of ['a', '7', 'A.b-c_d', 'a'.repeat(80)]) {
  test(`a queue may be called ${name}`, async () => {
    assert.equal((await create({ queue: name })).name, name)
  })
}

const outOfRange: [config: object, rule: string][] = [
  [{ lease: '-1 ms' }, 'queue_lease_is_0_to_43200_seconds'],
  [{ lease: '43200.001 s' }, 'queue_lease_is_0_to_43200_seconds'],
  [{ delay: '-1 ms' }, 'queue_delay_is_at_most_a_year'],
  [{ delay: '31536000.001 s' }, 'queue_delay_is_at_most_a_year'],
  [{ max_priority: -1 }, 'queue_max_priority_is_0_to_9'],
  [{ max_priority: 10 }, 'queue_max_priority_is_0_to_9'],
  [{ dedup_window: '-1 ms' }, 'queue_dedup_window_is_at_most_a_day'],
  [{ dedup_window: '86400.001 s' }, 'queue_dedup_window_is_at_most_a_day'],
]

for (const [config, constraint] of outOfRange) {
  test(`a queue with ${JSON.stringify(config)} is refused, and the existing one keeps its configuration`, async () => {
    const queue = await newQueue(pool, { lease: '5 s' })

    await assert.rejects(create({ queue, ...config }), { code: '23514', constraint })

    assert.equal(only(await call<Info>(pool, 'describe_queue', { queue })).lease_seconds, 5)
  })
}

test('the largest configuration is accepted', async () => {
  const config = { lease: '43200 s', delay: '31536000 s', max_priority: 9, dedup_window: '86400 s' }

  const created = await create({ queue: 'largest', ...config })

  assert.equal(created.delay_seconds, 31_536_000)
})

test('a name that is null is refused', async () => {
  await assert.rejects(create({ queue: null }), { code: '23502' })
  await assert.rejects(call(pool, 'describe_queue', { queue: null }), {
    code: 'PB001',
    message: 'queue "" does not exist',
  })
})

test('queues are listed by name in byte order, page by page', async () => {
  const all = ['page-10', 'page-2', 'page-B', 'page-a', 'page.c']
  for (const queue of [...all].reverse()) await create({ queue })

  const pages = [await names({ prefix: 'page', max_queues: 2 })]
  while (pages.at(-1)?.length) pages.push(await names({ prefix: 'page', max_queues: 2, after: pages.at(-1)?.at(-1) }))

  assert.deepEqual(pages.flat(), all)
  assert.deepEqual(
    pages.map((page) => page.length),
    [2, 2, 1, 0],
  )
})

test('a prefix is taken literally', async () => {
  for (const queue of ['like_this', 'like-this', 'likeness']) await create({ queue })

  assert.deepEqual(await names({ prefix: 'like_' }), ['like_this'])
  assert.deepEqual(await names({ prefix: 'like%' }), [])
  assert.deepEqual(await names({ prefix: 'like', after: 'like_this' }), ['likeness'])
})

for (const max_queues of [0, 1001, null]) {
  test(`a page of ${max_queues} queues is refused`, async () => {
    await assert.rejects(names({ max_queues }), {
      code: 'PB002',
      message: /^max_queues must be between 1 and 1000, got/,
    })
  })
}

test('deleting a queue takes all its messages along, and no other queue’s', async () => {
  const [doomed, other] = [await newQueue(pool), await newQueue(pool)]
  for (const queue of [doomed, other]) {
    await on(pool, queue).sendBatch([
      { body: 'leased', dedupId: 'same' },
      { body: 'ready' },
      { body: 'delayed', delaySeconds: 60 },
    ])
    await on(pool, queue).receive(1)
  }
  const { id } = only((await pool.query('select queue_id as id from postbag.queue where name = $1', [doomed])).rows)

  assert.equal(await on(pool, doomed).delete(), 3)

  await assert.rejects(on(pool, doomed).receive(), { code: 'PB001' })
  const left = await pool.query(
    `select 'message' from postbag.message where queue_id = $1 union all select 'dedup' from postbag.dedup where queue_id = $1
     union all select 'sweep' from postbag.sweep where queue_id = $1`,
    [id],
  )
  assert.deepEqual(left.rows, [])
  assert.equal((await on(pool, other).peek()).length, 3)
  assert.equal(only(await on(pool, other).sendBatch([{ body: 'again', dedupId: 'same' }])).duplicate, true)
})

test('a receipt of a deleted queue is worth nothing in a new one of the same name', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('old', { dedup_id: 'one' })
  const old = receipts(await on(pool, queue).receive())
  await on(pool, queue).delete()

  await create({ queue })

  assert.deepEqual(await on(pool, queue).ack(...old), ['message_gone'])
  assert.equal(only(await on(pool, queue).sendBatch([{ body: 'new', dedupId: 'one' }])).duplicate, false)
})

test('a send that commits after its queue was deleted succeeds, and nobody sees the message', async () => {
  const queue = await newQueue(pool)
  const sender = await db.connect()
  await sender.query('begin')
  await on(sender, queue).send('late')

  await on(pool, queue).delete()
  await sender.query('commit')
  await create({ queue })

  assert.deepEqual(await on(pool, queue).peek(), [])
})

test('of two deletions at once one deletes, and the other says that there is no such queue', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('counted once')
  const [first, second] = [await db.connect(), await db.connect()]
  await first.query('begin')
  assert.equal(await on(first, queue).delete(), 1)

  const backend = await backendOf(second)
  const waiting = assert.rejects(on(second, queue).delete(), { code: 'PB001' })
  await waitsForLock(pool, backend)
  await first.query('commit')

  await waiting
})

test('deleting a queue that is not there is refused', async () => {
  await assert.rejects(on(pool, 'nowhere').delete(), {
    code: 'PB001',
    message: 'queue "nowhere" does not exist',
  })
})
