/* Dead letters beside others: a message is at every moment in exactly one place, and a transaction that fails moves nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { createDatabase } from '../support/database.ts'
import { at, backendOf, eventually, newQueue, on, only, receipts, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

const endings: [how: string, end: (session: pg.Client) => Promise<unknown>][] = [
  ['is rolled back', (session) => session.query('rollback')],
  ['is killed', async (session) => pool.query('select pg_terminate_backend($1)', [await backendOf(session)])],
]

for (const [how, end] of endings) {
  for (const reason of ['rejected', 'attempts', 'expired']) {
    test(`a transaction that made a dead letter (${reason}) and ${how} leaves everything as it was`, async () => {
      const target = await newQueue(pool)
      const queue = await newQueue(pool, { dead_letter_queue: target, max_attempts: 1, lease: '10 s' })
      const session = await db.connect()
      const id = await on(pool, queue).send(1, { ttl: '1 h', now: at(0) })
      const given = receipts(await on(session, queue).receive(1, { now: at(0) }))
      const before = await on(pool, queue).get(id, at(5))

      await session.query('begin')
      if (reason === 'expired') await on(session, queue).maintain(9, at(50))
      else await on(session, queue).nack(given, { dead_letter: reason === 'rejected', error: 'x', now: at(5) })
      const [moved] = await on(session, target).peek(1)
      await end(session)

      const rows = () => on(pool, target).peek(9)
      await eventually('it is back', async () => (await rows()).length === 0)
      assert.deepEqual([moved?.id, await on(pool, queue).get(id, at(5))], [id, before])
      assert.deepEqual(await on(pool, queue).ack(...given), ['ok'])
    })
  }
}

test('an observer finds every message in exactly one of two queues, while they are rejected, expire and are redriven', async () => {
  const target = await newQueue(pool, { lease: '1 h' })
  const queue = await newQueue(pool, { dead_letter_queue: target, lease: '1 h', max_attempts: 3 })
  await on(pool, queue).sendBatch(Array.from({ length: 60 }, (_, body) => ({ body })))
  let working = true

  const rejecting = [1, 2].map(async () => {
    const session = await db.connect()
    for (let turn = 0; turn < 40; turn++) {
      await session.query('begin')
      const given = receipts(await on(session, queue).receive(5))
      if (given.length > 0) await on(session, queue).nack(given, { dead_letter: true })
      await session.query(turn % 5 === 0 ? 'rollback' : 'commit')
    }
  })
  const redriving = [1, 2].map(async () => {
    const session = on(await db.connect(), target)
    for (let turn = 0; turn < 40; turn++) await session.redrive({ max_messages: 7 })
  })
  const observer = await db.connect()
  const observing = (async () => {
    const seen = new Set<string>()
    while (working) {
      const { rows } = await observer.query(
        `select count(*)::integer as number, count(distinct message_id)::integer as different
        from postbag.message where queue_id in (select queue_id from postbag.queue where name in ($1, $2))`,
        [queue, target],
      )
      seen.add(JSON.stringify(only(rows)))
    }
    return seen
  })()
  await Promise.all([...rejecting, ...redriving])
  working = false

  assert.deepEqual([...(await observing)], ['{"number":60,"different":60}'])
})

test('a nack that comes while the message is being removed as failed waits, and finds it gone', async () => {
  const queue = await newQueue(pool, { max_attempts: 1, lease: '10 s', dead_letter_queue: await newQueue(pool) })
  const [owner, other] = [await db.connect(), await db.connect()]
  await on(owner, queue).send(1, { now: at(0) })
  const given = receipts(await on(owner, queue).receive(1, { now: at(0) }))
  await other.query('begin')
  await on(other, queue).maintain(9, at(60))
  const backend = await backendOf(owner)

  const late = on(owner, queue).nack(given, { now: at(60) })
  await waitsForLock(pool, backend)
  await other.query('commit')

  assert.deepEqual(await late, ['message_gone'])
})

test('of an ack and a removal the one that comes first counts, and the message dies or is done once', async () => {
  const target = await newQueue(pool)
  const queue = await newQueue(pool, { max_attempts: 1, lease: '1 s', dead_letter_queue: target })
  await on(pool, queue).sendBatch(
    Array.from({ length: 200 }, (_, body) => ({ body })),
    { now: at(0) },
  )
  const given = receipts(await on(pool, queue).receive(200, { now: at(0) }))
  const [acking, tidying] = [on(await db.connect(), queue), on(await db.connect(), queue)]

  const ack = (async () => {
    const outcomes: string[] = []
    for (const receipt of given) outcomes.push(...(await acking.ackWith([receipt], { now: at(0.5) })))
    return outcomes
  })()
  const tidy = (async () => {
    for (let turn = 0; turn < 20; turn++) await tidying.maintain(10, at(100))
  })()
  const outcomes = await ack
  await tidy

  const acked = outcomes.filter((outcome) => outcome === 'ok').length
  const left = (await on(pool, target).peek(1000)).length + (await on(pool, queue).peek(1000)).length
  assert.deepEqual([acked + left, outcomes.every((outcome) => ['ok', 'message_gone'].includes(outcome))], [200, true])
})

for (const by of ['queue', 'exchange']) {
  test(`a message that dies while the queue that its dead-letter ${by} leads to is deleted stays as dead`, async () => {
    const target = await newQueue(pool)
    const to =
      by === 'queue'
        ? { dead_letter_queue: target }
        : { dead_letter_exchange: 'default', dead_letter_routing_key: target }
    const queue = await newQueue(pool, to)
    const id = await on(pool, queue).send(1, { ttl: '10 s', now: at(0) })
    const [tidying, deleting] = [await db.connect(), await db.connect()]
    const backend = await backendOf(tidying)
    await deleting.query('begin')
    // (So who tidies has seen where the message goes, and waits before it moves.)
    await deleting.query('lock table postbag.message in share mode')

    const tidied = tidying.query(
      'select tidy.* from postbag.queue as known cross join postbag.tidy(known, 9, $2) where known.name = $1',
      [queue, at(20)],
    )
    await waitsForLock(pool, backend)
    await on(deleting, target).delete()
    await deleting.query('commit')
    await tidied

    const kept = await on(pool, queue).get(id, at(20))
    assert.equal(kept?.state, 'dead')
  })
}
