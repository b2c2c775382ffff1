/* Dedup ids: a second send with one sends nothing, whoever else is sending it at the moment; and they are forgotten in time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, backendOf, bodies, newQueue, on, only, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

test('a second send with the id sends nothing, and gives back the first one’s id', async () => {
  const queue = await newQueue(pool)
  const first = await on(pool, queue).send('first', { dedup_id: 'one', now: at(0) })

  const second = await on(pool, queue).sendBatch([{ body: 'second', dedupId: 'one', priority: 0 }], { now: at(299) })

  assert.deepEqual(second, [{ id: first, duplicate: true }])
  assert.deepEqual(bodies(await on(pool, queue).peek()), ['first'])
})

test('the first one’s id is given back even if that message was acked or purged', async () => {
  const queue = await newQueue(pool)
  const first = await on(pool, queue).send('first', { dedup_id: 'one' })
  await on(pool, queue).purge()

  assert.equal(await on(pool, queue).send('second', { dedup_id: 'one' }), first)
})

test('in one batch the first with the id counts, and messages without one are all sent', async () => {
  const queue = await newQueue(pool)
  const ids = ['b', undefined, 'a', 'b', undefined, 'a', 'b']

  const sent = await on(pool, queue).sendBatch(ids.map((dedupId, body) => ({ body, dedupId })))

  assert.deepEqual(
    sent.map((message) => message.duplicate),
    [false, false, false, true, false, true, true],
  )
  assert.deepEqual(sent[3]?.id, sent[0]?.id)
  assert.deepEqual(bodies(await on(pool, queue).peek()), [0, 1, 2, 4])
})

test('the window begins with the first send, and a duplicate does not prolong it', async () => {
  const queue = await newQueue(pool, { dedup_window: '10 s' })
  const first = await on(pool, queue).send(0, { dedup_id: 'one', now: at(0) })
  const duplicate = await on(pool, queue).send(1, { dedup_id: 'one', now: at(9.999) })

  const next = await on(pool, queue).send(2, { dedup_id: 'one', now: at(10) })
  const again = await on(pool, queue).send(3, { dedup_id: 'one', now: at(19.999) })

  assert.deepEqual([duplicate, again], [first, next])
  assert.deepEqual(bodies(await on(pool, queue).peek()), [0, 2])
})

test('a window of 0 s lets every send through', async () => {
  const queue = await newQueue(pool, { dedup_window: '0 s' })

  for (const body of [1, 2]) await on(pool, queue).send(body, { dedup_id: 'one', now: at(0) })

  assert.deepEqual(bodies(await on(pool, queue).peek()), [1, 2])
})

test('a window of 0 s lets every message of a batch through, which may be of several senders, also by content', async () => {
  const byId = on(pool, await newQueue(pool, { dedup_window: '0 s' }))
  const byContent = on(pool, await newQueue(pool, { dedup_window: '0 s', dedup_by: 'content' }))

  const sent = [
    ...(await byId.sendBatch([1, 2].map((body) => ({ body, dedupId: 'one' })))),
    ...(await byContent.sendBatch([1, 1].map((body) => ({ body })))),
  ]

  assert.deepEqual(
    sent.map(({ duplicate }) => duplicate),
    [false, false, false, false],
  )
  assert.deepEqual(
    [bodies(await byId.peek()), bodies(await byContent.peek())],
    [
      [1, 2],
      [1, 1],
    ],
  )
})

test('ids are those of their queue, and told apart by case and by accent', async () => {
  const [one, other] = [await newQueue(pool), await newQueue(pool)]

  for (const dedupId of ['a', 'A', 'a\u0301', 'á', 'a ']) await on(pool, one).sendBatch([{ body: dedupId, dedupId }])
  await on(pool, other).send('a', { dedup_id: 'a' })

  assert.equal((await on(pool, one).peek()).length, 5)
  assert.equal((await on(pool, other).peek()).length, 1)
})

for (const end of ['commit', 'rollback'] as const) {
  test(`a send waits for a transaction that has sent the id, and after its ${end} knows`, async () => {
    const queue = await newQueue(pool)
    const [first, second] = [await db.connect(), await db.connect()]
    const backend = await backendOf(second)
    await first.query('begin')
    const firstId = await on(first, queue).send('first', { dedup_id: 'one' })

    const waiting = on(second, queue).sendBatch([{ body: 'second', dedupId: 'one' }])
    await waitsForLock(pool, backend)
    await first.query(end)

    const { id, duplicate } = only(await waiting)
    assert.deepEqual([duplicate, id === firstId], end === 'commit' ? [true, true] : [false, false])
    assert.deepEqual(bodies(await on(pool, queue).peek()), end === 'commit' ? ['first'] : ['second'])
  })
}

test('a repeatable read transaction sends no second message with an id that was sent since its snapshot', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  await session.query('begin isolation level repeatable read; select 1')
  await on(pool, queue).send('first', { dedup_id: 'one' })

  await assert.rejects(on(session, queue).send('second', { dedup_id: 'one' }), { code: '40001' })

  await session.query('rollback')
})

test('of many senders of one id at once, one sends', async () => {
  const queue = await newQueue(pool)

  const ids = await Promise.all(
    Array.from({ length: 20 }, (_, body) => on(pool, queue).send(body, { dedup_id: 'one' })),
  )

  assert.equal(new Set(ids).size, 1)
  assert.equal((await on(pool, queue).peek()).length, 1)
})

test('two batches with the same ids in opposite order do not deadlock', async () => {
  const queue = await newQueue(pool)
  const [holder, up, down] = [await db.connect(), await db.connect(), await db.connect()]
  const ids = Array.from({ length: 100 }, (_, number) => `${number + 100}`)
  const batch = (order: readonly string[]) => order.map((dedupId) => ({ body: dedupId, dedupId }))
  const backends = [await backendOf(up), await backendOf(down)] as const
  await holder.query('begin')
  await on(holder, queue).send('holder', { dedup_id: '150' })

  // Each stops at the holder's id, with what it has taken so far; then one of them goes on into what the other has.
  const rising = on(up, queue).sendBatch(batch(ids))
  await waitsForLock(pool, backends[0])
  const falling = on(down, queue).sendBatch(batch([...ids].reverse()))
  await waitsForLock(pool, backends[1])
  await holder.query('rollback')

  const sent = await Promise.all([rising, falling])
  assert.equal(sent.flat().filter((message) => !message.duplicate).length, 100)
})

test('forgetting expired ids does not make two batches deadlock', async () => {
  const queue = await newQueue(pool, { dedup_window: '60 s' })
  const [holder, one, other] = [await db.connect(), await db.connect(), await db.connect()]
  const backends = [await backendOf(one), await backendOf(other)] as const
  await on(pool, queue).send('old', { dedup_id: 'expired', now: at(0) })
  await holder.query('begin')
  await on(holder, queue).send('holder', { dedup_id: '0', now: at(120) })

  // 300 messages: enough that a send forgets what has expired.
  const many = Array.from({ length: 300 }, (_, body) => ({ body }))
  const first = on(one, queue).sendBatch([...many, { body: 1, dedupId: '0' }, { body: 2, dedupId: 'a' }], {
    now: at(120),
  })
  await waitsForLock(pool, backends[0])
  const second = on(other, queue).sendBatch(
    [
      { body: 3, dedupId: 'a' },
      { body: 4, dedupId: 'expired' },
    ],
    { now: at(120) },
  )
  // Either it waits for the first one, or it is not in its way at all.
  await Promise.race([waitsForLock(pool, backends[1]), second])
  await holder.query('rollback')

  const outcomes = await Promise.allSettled([first, second])
  assert.deepEqual(
    outcomes.map((outcome) => outcome.status),
    ['fulfilled', 'fulfilled'],
  )
})

test('a send does not wait for a transaction that sent other ids', async () => {
  const queue = await newQueue(pool, { dedup_window: '60 s' })
  const [one, other] = [await db.connect(), await db.connect()]
  await on(pool, queue).send('old', { dedup_id: 'expired', now: at(0) })
  await one.query('begin')
  await on(one, queue).sendBatch(
    Array.from({ length: 300 }, (_, body) => ({ body, dedupId: `${body}` })),
    { now: at(120) },
  )

  await other.query(`set lock_timeout = '2s'`)
  const again = only(await on(other, queue).sendBatch([{ body: 'new', dedupId: 'expired' }], { now: at(120) }))

  assert.equal(again.duplicate, false)
  await one.query('rollback')
})

test('expired ids are forgotten while others are sent, and live ones never', async () => {
  const queue = await newQueue(pool, { dedup_window: '60 s' })
  await on(pool, queue).sendBatch(batchOf('old', 1000), { now: at(0) })
  await on(pool, queue).sendBatch(batchOf('live', 1000), { now: at(86_400) })

  for (let round = 0; round < 8; round++) {
    await on(pool, queue).sendBatch(batchOf(`new-${round}-`, 300), { now: at(86_400) })
  }

  assert.deepEqual(await rememberedIds(queue), { old: 0, live: 1000 + 8 * 300 })
})

test('ids are forgotten too in a queue that is sent to in turns with another', async () => {
  const [one, other] = [await newQueue(pool, { dedup_window: '0 s' }), await newQueue(pool, { dedup_window: '0 s' })]
  await pool.query(`select setval('postbag.message_id', (nextval('postbag.message_id') / 256 + 1) * 256)`)

  for (let round = 0; round < 100; round++) {
    for (const queue of [one, other])
      await on(pool, queue).sendBatch(batchOf(`${round}-`, 32), { now: at(round * 7200) })
  }

  for (const queue of [one, other]) {
    const { old, live } = await rememberedIds(queue)
    assert.ok(old + live < 3200, `${old + live} of 3200 expired ids are still there`)
  }
})

function batchOf(prefix: string, size: number) {
  return Array.from({ length: size }, (_, number) => ({ body: number, dedupId: `${prefix}${number}` }))
}

async function rememberedIds(queue: string): Promise<{ old: number; live: number }> {
  const { rows } = await pool.query(
    `select count(*) filter (where dedup_id ~ '^old')::integer as old, count(*) filter (where dedup_id !~ '^old')::integer as live
     from postbag.dedup join postbag.queue using (queue_id) where name = $1`,
    [queue],
  )
  return rows[0]
}
