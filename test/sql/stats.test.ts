/* Statistics: how many messages in which state, how many bytes, how many per second, and as of when. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, call, newQueue, on, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

for (const durability of ['full', 'volatile']) {
  test(`each state is counted (${durability})`, async () => {
    const queue = on(await db.connect(), await newQueue(pool, { durability, lease: '1 h' }))
    for (const body of ['leased', 'dead']) await queue.send(body, { now: at(0) })
    const [, dead] = receipts(await queue.receive(2, { now: at(1) }))
    await queue.nack([dead], { dead_letter: true, now: at(1) })
    await queue.sendBatch(
      [1, 2, 3].map((body) => ({ body, group: 'g' })),
      { now: at(2) },
    )
    await queue.send('delayed', { delay: '1 h', now: at(3) })
    await queue.send('expired', { ttl: '1 s', now: at(3) })
    await queue.send('ready', { now: at(4) })

    const stats = await queue.stats(at(10))

    const { ready, leased, delayed, blocked, dead: buried, counted_at, oldest_ready_at, capped } = stats
    assert.deepEqual([ready, leased, delayed, blocked, buried], ['2', '1', '1', '2', '1'])
    assert.deepEqual([counted_at, oldest_ready_at, capped], [at(10), at(2), false])
  })
}

test('bytes are those of the bodies that wait, as they are stored', async () => {
  const queue = on(pool, await newQueue(pool))
  await queue.sendBatch([
    { body: { a: 'é' } },
    { body: 'é', encoding: 'text' },
    { body: 'AAECAwQ=', encoding: 'base64' },
  ])

  assert.equal((await queue.stats()).bytes, String(11 + 2 + 5))
})

test('the rates are of the last minute, and of the queue alone', async () => {
  const [session, name] = [await db.connect(), await newQueue(pool)]
  const [queue, other] = [on(session, name), on(session, await newQueue(pool))]
  await queue.sendBatch(Array(30).fill({ body: 1 }), { now: at(0) })
  const given = receipts(await queue.receive(12, { lease: '1 h', now: at(2) }))
  await queue.ackWith(given, { now: at(4) })
  await queue.send('noted later', { now: at(6) })
  await other.sendBatch(Array(9).fill({ body: 1 }), { now: at(6) })

  const rates = async (moment: number) => {
    const { in_per_second, out_per_second } = await queue.stats(at(moment))
    return [in_per_second * 60, out_per_second * 60].map(Math.round)
  }

  assert.deepEqual(
    [await rates(10), await rates(61), await rates(200)],
    [
      [31, 12],
      [1, 12],
      [0, 0],
    ],
  )
})

test('what a session did before a long rest is not counted as done after it', async () => {
  const [session, name] = [await db.connect(), await newQueue(pool)]
  for (const body of [1, 2, 3]) await on(session, name).send(body, { now: at(0) })

  await on(session, name).send(4, { now: at(90) })

  const rate = async (moment: number) => Math.round((await on(pool, name).stats(at(moment))).in_per_second * 60)
  assert.deepEqual([await rate(1), await rate(91)], [3, 1])
})

test('many queues in one session do not mix up their rates', async () => {
  const session = await db.connect()
  const queues = []
  for (let made = 0; made < 70; made++) queues.push(on(session, await newQueue(pool)))

  for (const moment of [0, 2, 4]) for (const queue of queues) await queue.send(1, { now: at(moment) })

  const rates = await Promise.all(
    queues.map(async (queue) => Math.round((await queue.stats(at(5))).in_per_second * 60)),
  )
  assert.deepEqual(new Set(rates), new Set([3]))
})

test('a count that was dear is not repeated at once, and says when it was made', async () => {
  const name = await newQueue(pool)
  const queue = on(pool, name)
  await queue.sendBatch(Array(1000).fill({ body: 1 }), { now: at(0) })
  // As if it had taken a second.
  await pool.query(
    `update postbag.tally set counted_at = $2, took_us = 1000000, ready = 20000, newest_id = 0
     where queue_id = (select queue_id from postbag.queue where name = $1)`,
    [name, at(0)],
  )

  const [soon, later] = [await queue.stats(at(19)), await queue.stats(at(21))]

  assert.deepEqual([soon.ready, soon.counted_at], ['20000', at(0)])
  assert.deepEqual([later.ready, later.counted_at], ['1000', at(21)])
})

test('looking at the statistics works in a repeatable read transaction', async () => {
  const queue = await newQueue(pool, { max_messages: 10 })
  const session = await db.connect()
  await session.query('begin isolation level repeatable read; select 1')
  await on(pool, queue).send(1)
  await on(pool, queue).stats()

  assert.equal((await on(session, queue).stats()).ready, '0')
  await session.query('commit')
  assert.equal((await on(session, queue).stats()).ready, '1')
})

test('looking at the statistics works in a read-only transaction', async () => {
  const queue = await newQueue(pool, { max_messages: 10 })
  const session = await db.connect()
  await on(pool, queue).send(1)
  await session.query('begin read only')

  assert.equal((await on(session, queue).stats()).ready, '1')
  await session.query('commit')
})

test('the statistics of a queue that is not there are refused', async () => {
  await assert.rejects(call(pool, 'queue_stats', { queue: 'nowhere' }), { code: 'PB001' })
})
