/* Endpoints and exchanges beside others: what is deleted, forgotten, disabled or changed while somebody is at it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { claim, claimOf, delivered, failed, newEndpoint, settle } from '../support/sql-endpoints.ts'
import { newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { at, backendOf, call, newQueue, on, only, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

test('the deletion of an endpoint waits for who is settling its deliveries, and is not in the way', async () => {
  const one = await newEndpoint(pool)
  await publishBatch(pool, one.exchange, [{ body: 1 }, { body: 2 }])
  const [first, second] = await claimOf(pool, one.endpoint, at(0))
  assert.ok(first && second)
  const [settling, deleting] = [await db.connect(), await db.connect()]

  await settling.query('begin')
  await on(settling, `webhooks.${one.endpoint}`).nack([first.receipt])
  const backend = await backendOf(deleting)
  const deleted = call(deleting, 'delete_endpoint', { endpoint: one.endpoint })
  await waitsForLock(pool, backend)
  const outcomes = await settle(settling, [second], failed, at(1))
  await settling.query('commit')

  assert.equal(only(outcomes).outcome, 'ok')
  assert.equal(only(await deleted)['delete_endpoint'], '2')
})

test('an answer that is settled while others open the breaker does not close it', async () => {
  const one = await newEndpoint(pool, { retries: Array(9).fill('1 s') })
  await publishBatch(pool, one.exchange, Array(6).fill({ body: 1 }), { now: at(0) })
  const claimed = await claimOf(pool, one.endpoint, at(0))
  await settle(pool, claimed.slice(0, 4), { ...failed, startedAt: at(1) }, at(2))
  const [opening, late] = [await db.connect(), await db.connect()]

  await opening.query('begin')
  await settle(opening, claimed.slice(4, 5), { ...failed, startedAt: at(1), millis: 1000 }, at(2))
  const backend = await backendOf(late)
  const settled = settle(late, claimed.slice(5), { ...delivered, startedAt: at(1), millis: 1000 }, at(2))
  await waitsForLock(pool, backend)
  await opening.query('commit')
  await settled

  const { failures, resting_until } = await one.describe()
  assert.deepEqual([failures, resting_until], [5, at(12)])
})

test('who binds to what is just being deleted is told that it is not there', async () => {
  const [exchange, target, queue] = [
    await newExchange(pool, 'direct'),
    await newExchange(pool, 'direct'),
    await newQueue(pool),
  ]
  const doomed = await newExchange(pool, 'direct')
  for (const [deletion, args, binding, code] of [
    ['delete_queue', { queue }, { exchange, queue }, 'PB001'],
    ['delete_exchange', { exchange: target }, { exchange, to_exchange: target }, 'PB010'],
    ['delete_exchange', { exchange: doomed }, { exchange: doomed, to_exchange: exchange }, 'PB010'],
  ] as const) {
    const [deleting, binder] = [await db.connect(), await db.connect()]
    await deleting.query('begin')
    await call(deleting, deletion, args)
    const backend = await backendOf(binder)
    const bound = call(binder, 'bind', { ...binding, routing_key: 'k' })
    const refused = assert.rejects(bound, { code })
    await waitsForLock(pool, backend)
    await deleting.query('commit')
    await refused
  }
})

test('an event that is sent again in the moment in which it is forgotten is kept', async () => {
  const one = await newEndpoint(pool)
  await publishBatch(pool, one.exchange, [{ body: 1 }], { now: at(0) })
  const first = only(await claimOf(pool, one.endpoint, at(0)))
  await settle(pool, [first], delivered, at(1))
  const { rows } = await pool.query('select kept_until from postbag.body where body_id = $1', [first.event_id.slice(4)])
  const until: Date = rows[0].kept_until
  const [resending, forgetting] = [await db.connect(), await db.connect()]

  await resending.query('begin')
  await call(resending, 'resend', {
    endpoint: one.endpoint,
    event_id: first.event_id,
    now: new Date(until.getTime() - 1),
  })
  // (Also hours later, if it stays open for so long; and nobody waits for it.)
  const hours = 3 * 3600 * 1000
  await call(forgetting, 'forget_bodies', { most: 10_000, now: new Date(until.getTime() + hours) })
  await resending.query('commit')

  const again = only(await claimOf(pool, one.endpoint, until))
  assert.deepEqual([again.event_id, again.body], [first.event_id, '1'])
  await assert.rejects(
    call(pool, 'resend', {
      endpoint: one.endpoint,
      event_id: first.event_id,
      now: new Date(until.getTime() + 86_400_000),
    }),
    { code: 'PB015' },
  )
})

for (const order of ['endpoint', 'group']) {
  test(`what a serializable transaction publishes is delivered to an endpoint with the order "${order}", too`, async () => {
    const one = await newEndpoint(pool, { ordering: order })
    const session = await db.connect()
    await session.query('begin isolation level serializable')
    await publishBatch(session, one.exchange, [{ body: 1, group: 'g' }], { now: at(0) })
    await session.query('commit')

    const { rows } = await pool.query('select postbag.next_delivery_at($1) as next_at', [at(1)])
    assert.deepEqual(rows[0].next_at, at(2))
    assert.deepEqual(await claim(pool, at(1)), [])
    assert.equal((await claimOf(pool, one.endpoint, at(2))).length, 1)
  })
}

test('an endpoint is disabled also where nobody can be told: a queue of the exchange postbag is full, or that is gone', async () => {
  const [full, before, after] = [
    await newQueue(pool, { max_messages: 1 }),
    await newEndpoint(pool),
    await newEndpoint(pool),
  ]
  await call(pool, 'bind', { exchange: 'postbag', queue: full, routing_key: '#' })
  await on(pool, full).send('the one that fits')
  const states: unknown[] = []
  for (const one of [before, after]) {
    await publishBatch(pool, one.exchange, [{ body: 1 }])
    await settle(pool, await claimOf(pool, one.endpoint, at(0)), { ...failed, status: 410, isGone: true }, at(1))
    states.push((await one.describe())['disabled_because'], (await one.attempts()).length)
    if (one === before) await call(pool, 'delete_exchange', { exchange: 'postbag' })
  }

  assert.deepEqual(states, ['gone', 1, 'gone', 1])
})

test('an answer 410 of the URL that an endpoint had before does not disable it', async () => {
  const one = await newEndpoint(pool)
  await publishBatch(pool, one.exchange, [{ body: 1 }])
  const claimed = await claimOf(pool, one.endpoint, at(0))
  await one.set({ url: 'https://example.com/new' })

  await settle(pool, claimed, { ...failed, status: 410, isGone: true }, at(1))

  const { state, failures } = await one.describe()
  assert.deepEqual([state, failures, (await one.attempts()).length], ['enabled', 0, 1])
})
