/* Endpoints that are new, slow, rest or do not answer leave room for the others, whatever waits for them; and cost a claim a look. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { claim, type Delivery, delivered, failed, newEndpoint, secrets, settle } from '../support/sql-endpoints.ts'
import { newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { pagesTouched } from '../support/sql-plans.ts'
import { at, backendOf, call, type Session, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** How many of each endpoint. */
const countOf = (deliveries: readonly Delivery[], ...endpoints: readonly { readonly endpoint: string }[]) =>
  endpoints.map(({ endpoint }) => deliveries.filter((delivery) => delivery.endpoint === endpoint).length)

/** One claim. */
const claimOnce = async (session: Session, now: Date, args: object) =>
  (await call<Delivery>(session, 'claim_deliveries', { now, ...args })).filter(({ receipt }) => receipt)

/** An endpoint with events waiting. */
async function withEvents(count: number, config: object = {}, of = pool) {
  const one = await newEndpoint(of, { retries: Array(9).fill('0 s'), ...config })
  for (let sent = 0; sent < count; sent += 1000) {
    await publishBatch(of, one.exchange, Array(Math.min(count - sent, 1000)).fill({ body: 1 }))
  }
  return one
}

describe('an endpoint that is not proven', () => {
  test('because it is new has one delivery at a time, until one has arrived', async () => {
    const exchange = await newExchange(pool, 'fanout')
    const one = { endpoint: 'brand-new' }
    await call(pool, 'set_endpoint', { ...one, url: 'https://example.com', exchange, secrets })
    await publishBatch(pool, exchange, Array(20).fill({ body: 1 }))

    const first = await claim(pool, at(0))
    assert.deepEqual(countOf(first, one), [1])
    assert.deepEqual(countOf(await claim(pool, at(1)), one), [0])
    await settle(pool, first, delivered, at(2))
    assert.deepEqual(countOf(await claim(pool, at(3)), one), [10])
  })

  test('because it failed has one at a time, until one has arrived', async () => {
    const one = await withEvents(20)
    const first = await claim(pool, at(0))
    await settle(pool, first.slice(0, 9), delivered, at(1))
    await settle(pool, first.slice(9), failed, at(2))

    const second = await claim(pool, at(3))
    assert.deepEqual(countOf([...first, ...second], one), [11])
    await settle(pool, second, delivered, at(4))
    assert.deepEqual(countOf(await claim(pool, at(5)), one), [10])
  })
})

test('an endpoint has the standing that its last answers gave it', async () => {
  const one = await withEvents(20, { concurrency: 2 })
  const seen: unknown[] = []
  for (const [second, result] of [
    { ...delivered, millis: 900 },
    { ...delivered, millis: 1100 },
    { ...delivered, millis: 600 },
    { ...delivered, millis: 400 },
    failed,
    delivered,
    delivered,
  ].entries()) {
    const claimed = (await claim(pool, at(second))).filter(({ endpoint }) => endpoint === one.endpoint)
    seen.push([claimed.length, ...new Set(claimed.map(({ standing }) => standing))])
    await settle(pool, claimed, result, at(second))
  }

  assert.deepEqual(seen, [
    [2, 'trusted'],
    [2, 'trusted'],
    [2, 'slow'],
    [2, 'slow'],
    [2, 'trusted'],
    [1, 'unproven'],
    [2, 'trusted'],
  ])
})

test('what is doubtful or avoided is passed over where there is no room for it, and the others are claimed', async () => {
  const own = (await createDatabase()).pool
  const slow = await withEvents(600, { concurrency: 1000 }, own)
  await settle(own, await claimOnce(own, at(0), { most: 1 }), { ...delivered, millis: 5000 }, at(0))
  const failing = await withEvents(600, {}, own)
  await settle(own, await claimOnce(own, at(0), { most: 1, most_doubtful: 0 }), failed, at(0))
  const silent = await withEvents(600, {}, own)
  const well = await withEvents(3, {}, own)
  const all = [slow, failing, silent, well]

  const none = await claimOnce(own, at(1), { most: 100, most_doubtful: 0, avoided: [silent.endpoint] })
  assert.deepEqual(countOf(none, ...all), [0, 0, 0, 3])
  const some = await claimOnce(own, at(2), { most: 100, most_doubtful: 5 })
  assert.deepEqual(countOf(some, ...all), [1, 1, 10, 0])
  const most = await claimOnce(own, at(3), { most: 100 })
  assert.deepEqual(countOf(most, ...all), [6, 0, 0, 0])
  // As many as it may: it ends, and says where to go on.
  const rows = await call<Delivery>(own, 'claim_deliveries', { now: at(4), most: 100, most_doubtful: 1 })
  assert.deepEqual([countOf(rows, ...all), rows.at(-1)?.next !== null], [[1, 0, 0, 0], true])
})

test('who trusts some only claims one at a time of each of the others, and no more of them than there is room for', async () => {
  const own = (await createDatabase()).pool
  const [known, ...others] = [
    await withEvents(20, {}, own),
    await withEvents(20, {}, own),
    await withEvents(20, {}, own),
  ]
  const trusted = [known.endpoint]

  const first = await claimOnce(own, at(0), { most: 100, most_doubtful: 1, trusted })
  const second = await claimOnce(own, at(1), { most: 100, trusted })
  const third = await claimOnce(own, at(2), { most: 100, trusted })

  const counts = (claimed: readonly Delivery[]) => countOf(claimed, known, ...others)
  assert.deepEqual(
    [first, second, third].map((claimed) => counts(claimed)[0]),
    [10, 0, 0],
  )
  assert.deepEqual(counts([...first, ...second, ...third]), [10, 1, 1])
  assert.deepEqual([first.length, second.length], [11, 1])
  assert.equal(second[0]?.standing, 'untrusted')
})

test('an event that is published while a claim is under way has the id that it has everywhere', async () => {
  const one = await withEvents(1)
  const { rows } = await pool.query('select queue_id from postbag.endpoint where name = $1', [one.endpoint])
  const [other, session] = await Promise.all([db.connect(), db.connect()])
  // As a receive that has not ended yet.
  await other.query('begin')
  await other.query('select pg_advisory_xact_lock(1886352385, hashint8($1))', [rows[0].queue_id])
  const backend = await backendOf(session)
  const claiming = claim(session, at(0))
  await waitsForLock(pool, backend)
  await publishBatch(pool, one.exchange, [{ body: 2 }])
  await other.query('commit')

  const ids = (await claiming).filter(({ endpoint }) => endpoint === one.endpoint).map(({ event_id }) => event_id)
  assert.equal(ids.length, 2)
  for (const id of ids) assert.match(id, /^evt_/)
})

test('a claim that leaves less than no room is refused', async () => {
  await assert.rejects(claimOnce(pool, at(0), { most_doubtful: -1 }), {
    code: 'PB002',
    message: 'mostDoubtful must be 0 or more, got -1',
  })
})

describe('what waits for an endpoint does not make a claim longer', () => {
  const hold = (of: TestDatabase) => claim(of.pool, at(0))

  for (const [state, arrange] of [
    ['rests', async (of) => settle(of.pool, await hold(of), { ...failed, retryAfterSeconds: 3600 }, at(0))],
    ['has as much under way as it takes', hold],
    [
      'has failed, and is being tried',
      async (of) => settle(of.pool, await hold(of), failed, at(0)).then(() => hold(of)),
    ],
  ] as [string, (of: TestDatabase) => Promise<unknown>][]) {
    test(`that ${state}`, async () => {
      const costs: number[] = []
      for (const many of [20, 5000]) {
        const own = await createDatabase()
        await withEvents(many, {}, own.pool)
        await arrange(own)
        await own.pool.query('vacuum analyze')
        const session = await own.connect()
        const look = `select * from postbag.claim_deliveries(100, now => '${at(1).toISOString()}')`
        assert.deepEqual((await session.query(look)).rows, [])
        costs.push(Math.min(await pagesTouched(session, look), await pagesTouched(session, look)))
      }

      const [few = 0, many = 0] = costs
      // (The index is a level or two deeper.)
      assert.ok(many <= few + 10, `${few} pages became ${many}`)
    })
  }
})
