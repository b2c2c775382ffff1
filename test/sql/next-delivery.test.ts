/* When a delivery is due: the answer that functions count on which do not deliver all the time. Never too late. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { claim, claimOf, delivered, failed, newEndpoint, settle } from '../support/sql-endpoints.ts'
import { newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { pagesTouched } from '../support/sql-plans.ts'
import { at, call, on, only, type Session } from '../support/sql-verbs.ts'

const { pool } = await createDatabase()

const nextAt = async (session: Session, now: Date) =>
  only(await call<{ next_delivery_at: Date | null }>(session, 'next_delivery_at', { now })).next_delivery_at

test('it is never while nothing waits, now for what is published, and at the end of the lease for what somebody has', async () => {
  const own = await createDatabase()
  const one = await newEndpoint(own.pool, { timeout: '15 s' })
  await call(own.pool, 'create_queue', { queue: 'webhooks.none' })
  await on(own.pool, 'webhooks.none').send(1)
  assert.equal(await nextAt(own.pool, at(0)), null)

  await publishBatch(own.pool, one.exchange, [{ body: 1 }], { now: at(0) })
  assert.deepEqual(await nextAt(own.pool, at(1)), at(0))
  const claimed = await claimOf(own.pool, one.endpoint, at(1))
  assert.deepEqual(await nextAt(own.pool, at(2)), at(1 + 15 + 45))
  await settle(own.pool, claimed, delivered, at(3))

  assert.equal(await nextAt(own.pool, at(4)), null)
})

test('it is when what failed is tried again, or when the endpoint has rested, and not while one is paused or disabled', async () => {
  const own = await createDatabase()
  const one = await newEndpoint(own.pool, { retries: Array(9).fill('10 s'), concurrency: 1 })
  await publishBatch(own.pool, one.exchange, [{ body: 1 }], { now: at(0) })
  const fail = async (second: number, more: object = {}) =>
    settle(own.pool, await claimOf(own.pool, one.endpoint, at(second)), { ...failed, ...more }, at(second))

  await fail(0)
  const retry = Number(await nextAt(own.pool, at(1)))
  assert.ok(retry >= Number(at(10)) && retry <= Number(at(12)), `${new Date(retry)}`)
  await fail(12, { status: 429, retryAfterSeconds: 100 })
  assert.deepEqual(await nextAt(own.pool, at(13)), at(112))
  for (const verb of ['pause', 'resume'] as const) {
    await call(own.pool, verb, { queue: `webhooks.${one.endpoint}` })
    assert.deepEqual(await nextAt(own.pool, at(14)), verb === 'pause' ? null : at(112))
  }
  await call(own.pool, 'disable_endpoint', { endpoint: one.endpoint })
  assert.equal(await nextAt(own.pool, at(15)), null)
})

test('it is the earliest of all endpoints', async () => {
  const own = await createDatabase()
  const exchange = await newExchange(own.pool, 'fanout')
  const slow = await newEndpoint(own.pool, { timeout: '60 s' }, exchange)
  const fast = await newEndpoint(own.pool, { timeout: '1 s' }, exchange)
  await publishBatch(own.pool, exchange, [{ body: 1 }], { now: at(0) })
  const claimed = await claim(own.pool, at(0))

  assert.deepEqual([claimed.length, await nextAt(own.pool, at(1))], [2, at(46)])
  const ofFast = claimed.filter(({ endpoint }) => endpoint === fast.endpoint)
  await settle(own.pool, ofFast, delivered, at(2))
  assert.deepEqual([slow.endpoint === fast.endpoint, await nextAt(own.pool, at(3))], [false, at(105)])
})

test('what waits for an endpoint, and queues and endpoints where nothing does, make it no dearer', async () => {
  const costs: number[] = []
  for (const many of [1, 300]) {
    const own = await createDatabase()
    const exchange = await newExchange(own.pool, 'fanout')
    await own.pool.query(
      `select count(postbag.send(made.name, '1')) from generate_series(1, $1::int) as n, lateral postbag.create_queue('q' || n) as made`,
      [many],
    )
    const loaded = await newEndpoint(own.pool, { concurrency: 1 }, exchange)
    await publishBatch(own.pool, exchange, Array(many).fill({ body: 1 }), { now: at(0) })
    for (let index = 0; index < many; index += 10) await newEndpoint(own.pool)
    // It has one, and no other may begin.
    assert.equal((await claimOf(own.pool, loaded.endpoint, at(0))).length, 1)
    const session = await own.connect()
    await session.query('vacuum analyze postbag.message')
    const cost = () => pagesTouched(session, `select postbag.next_delivery_at('${at(1).toISOString()}')`)
    costs.push(Math.min(await cost(), await cost(), await cost()))
  }

  const [few = 0, much = 0] = costs
  assert.ok(much <= few * 2 + 20, `${few} pages became ${much}`)
})

test('after 500 endpoints whose next delivery is later it looks no further: it says in 5 s', async () => {
  const exchange = await newExchange(pool, 'fanout')
  await pool.query(
    `select count(made.name) from generate_series(1, 501) as n, lateral postbag.set_endpoint(
      'many-' || n, 'https://example.com/', $1, secrets => '[{"sealed": "s"}]', timeout => '60 s') as made`,
    [exchange],
  )
  await publishBatch(pool, exchange, [{ body: 1 }], { now: at(0) })
  assert.equal((await claim(pool, at(0), 1000)).length, 501)

  assert.deepEqual(await nextAt(pool, at(1)), at(6))
  assert.deepEqual(await nextAt(pool, at(104)), at(105))
})
