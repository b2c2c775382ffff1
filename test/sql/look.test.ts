/* Looking at a queue (peek, queue_stats) and emptying it (purge). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, call, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** A queue at at(100) with one message of each kind: leased, expired (its lease ended), ready, delayed, given back for later. */
async function mixedQueue(): Promise<string> {
  const queue = await newQueue(pool, { max_priority: 9 })
  for (const body of ['leased', 'expired', 'nacked']) await on(pool, queue).send(body, { now: at(0) })
  await on(pool, queue).receive(1, { lease: '1 h', now: at(0) })
  await on(pool, queue).receive(1, { lease: '100 s', now: at(0) })
  const nacked = receipts(await on(pool, queue).receive(1, { lease: '100 s', now: at(0) }))
  await on(pool, queue).nack(nacked, { delay: '200 s', error: 'no luck', now: at(50) })
  await on(pool, queue).send('ready', { priority: 9, now: at(60) })
  await on(pool, queue).send('delayed', { delay: '41 s', now: at(60) })
  return queue
}

test('peek shows every message in the order they were sent, and its state', async () => {
  const queue = await mixedQueue()

  const messages = await on(pool, queue).peek(10, { now: at(100) })

  assert.deepEqual(
    messages.map((message) => [JSON.parse(message.body), message.state, message.available_at, message.leased_until]),
    [
      ['leased', 'leased', at(0), at(3600)],
      ['expired', 'ready', at(0), at(100)],
      ['nacked', 'delayed', at(250), null],
      ['ready', 'ready', at(60), null],
      ['delayed', 'delayed', at(101), null],
    ],
  )
})

test('peek shows all that is known of a message', async () => {
  const queue = await newQueue(pool, { max_priority: 3 })
  const options = { type: 'a.b', headers: { a: 'b' }, priority: 3, encoding: 'base64', content_type: 'image/png' }
  const id = await on(pool, queue).send('/w==', { ...options, now: at(0) })
  await on(pool, queue).nack(receipts(await on(pool, queue).receive(1, { now: at(1) })), { error: 'bad', now: at(2) })

  assert.deepEqual(only(await on(pool, queue).peek(1, { now: at(3) })), {
    id,
    state: 'ready',
    body: '/w==',
    encoding: 'base64',
    type: 'a.b',
    content_type: 'image/png',
    headers: { a: 'b' },
    priority: 3,
    group_key: null,
    attempts: 1,
    last_error: 'bad',
    sent_at: at(0),
    available_at: at(2),
    first_received_at: at(1),
    leased_until: null,
    expires_at: null,
    dead_at: null,
    dead_reason: null,
    deaths: null,
  })
})

test('peek gives one page after the other, without gap or repetition', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch(Array.from({ length: 25 }, (_, body) => ({ body })))

  const pages = [await on(pool, queue).peek()]
  for (let last = pages[0]?.at(-1); last; last = pages.at(-1)?.at(-1))
    pages.push(await on(pool, queue).peek(10, { after: last.id }))

  assert.deepEqual(
    pages.map((page) => page.length),
    [10, 10, 5, 0],
  )
  assert.deepEqual(
    bodies(pages.flat()),
    Array.from({ length: 25 }, (_, body) => body),
  )
})

test('peek changes nothing, takes no lock and is not stopped by one', async () => {
  const queue = await mixedQueue()
  const rows = async () =>
    (await pool.query('select ctid, xmin, xmax, * from postbag.message order by message_id')).rows
  const holder = await db.connect()
  await holder.query('begin')
  await on(holder, queue).receive(9, { now: at(100) })
  const before = await rows()

  assert.equal((await on(pool, queue).peek(10, { now: at(100) })).length, 5)

  assert.deepEqual(await rows(), before)
  await holder.query('rollback')
})

for (const [args, message] of [
  [{ max_messages: 0 }, 'max must be between 1 and 1000, got 0'],
  [{ max_messages: 1001 }, 'max must be between 1 and 1000, got 1001'],
  [{ max_messages: null }, 'max must be between 1 and 1000, got null'],
  [{ after: '-1' }, "after must be the id of a message, got '-1'"],
  [{ after: "x'" }, "after must be the id of a message, got 'x'''"],
  [{ after: '9'.repeat(19) }, `after must be the id of a message, got '${'9'.repeat(19)}'`],
] as const) {
  test(`peek with ${JSON.stringify(args)} is refused`, async () => {
    const queue = await newQueue(pool)

    await assert.rejects(call(pool, 'peek', { queue, ...args }), { code: 'PB002', message })
  })
}

test('statistics count each state, and know since when the oldest ready message has been available', async () => {
  const queue = await mixedQueue()

  const first = await on(pool, queue).stats(at(100))
  await on(pool, queue).receive(1, { lease: '1 h', now: at(200) })
  const second = await on(pool, queue).stats(at(200))

  assert.deepEqual(
    [first, second].map(({ ready, leased, delayed }) => [ready, leased, delayed]),
    [
      ['2', '1', '2'],
      ['2', '2', '1'],
    ],
  )
  assert.deepEqual([first.oldest_ready_at, second.oldest_ready_at], [at(0), at(0)])
})

test('the statistics of an empty queue are zeros', async () => {
  const queue = await newQueue(pool)

  assert.deepEqual(await on(pool, queue).stats(at(0)), {
    ready: '0',
    leased: '0',
    delayed: '0',
    blocked: '0',
    dead: '0',
    bytes: '0',
    oldest_ready_at: null,
    in_per_second: 0,
    out_per_second: 0,
    counted_at: at(0),
    capped: false,
  })
})

test('a purge deletes what is ready, leased and delayed, says how many, and leaves other queues alone', async () => {
  const [queue, other] = [await mixedQueue(), await mixedQueue()]

  assert.equal(await on(pool, queue).purge(), 5)

  assert.deepEqual(await on(pool, queue).peek(), [])
  assert.equal((await on(pool, other).peek()).length, 5)
  assert.equal(await on(pool, queue).purge(), 0)
})

test('a receipt of a purged message is of no use', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('purged')
  const receipt = receipts(await on(pool, queue).receive())

  await on(pool, queue).purge()

  assert.deepEqual(await on(pool, queue).ack(...receipt), ['message_gone'])
})

test('a purge does not wait for a message that is being received or acked: it leaves it', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch([{ body: 'acked' }, { body: 'received' }, { body: 'purged' }])
  const [acked] = receipts(await on(pool, queue).receive())
  const [acking, receiving, purging] = [await db.connect(), await db.connect(), await db.connect()]
  for (const session of [acking, receiving]) await session.query('begin')
  await on(acking, queue).ack(acked)
  await on(receiving, queue).receive()

  await purging.query(`set lock_timeout = '2s'`)
  assert.equal(await on(purging, queue).purge(), 1)

  await acking.query('rollback')
  await receiving.query('commit')
  assert.deepEqual(bodies(await on(pool, queue).peek()), ['acked', 'received'])
})

test('a purge leaves what has not committed yet, and undone it leaves everything', async () => {
  const queue = await newQueue(pool)
  const [sender, purging] = [await db.connect(), await db.connect()]
  await on(pool, queue).send('there')
  await sender.query('begin')
  await on(sender, queue).send('later')
  await purging.query('begin')

  assert.equal(await on(purging, queue).purge(), 1)
  await sender.query('commit')
  await purging.query('rollback')

  assert.deepEqual(bodies(await on(pool, queue).peek()), ['there', 'later'])
})

for (const verb of ['peek', 'queue_stats', 'purge']) {
  test(`${verb} of a queue that does not exist is refused`, async () => {
    await assert.rejects(call(pool, verb, { queue: 'nowhere' }), { code: 'PB001' })
  })
}
