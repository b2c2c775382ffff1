/* What becomes of an endpoint that fails: it rests, is probed, and is disabled at last; the others do not feel it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { claim, claimOf, type Delivery, delivered, failed, newEndpoint, settle } from '../support/sql-endpoints.ts'
import { newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { at, call, only } from '../support/sql-verbs.ts'

const { pool } = await createDatabase()

describe('an endpoint that fails', () => {
  test('rests after five failures in a row, longer each time; then one delivery is the probe, and the others follow it', async () => {
    const one = await newEndpoint(pool, { concurrency: 100, retries: Array(50).fill('0 s') })
    await publishBatch(pool, one.exchange, Array(20).fill({ body: 1 }))
    const first = await claimOf(pool, one.endpoint, at(0))
    await settle(pool, first.slice(0, 4), failed, at(1))
    assert.equal((await one.describe())['resting_until'], null)

    await settle(pool, first.slice(4), failed, at(1))
    const { failures, resting_until } = await one.describe()
    assert.deepEqual([failures, resting_until], [20, at(1 + 600)])
    assert.deepEqual(await claimOf(pool, one.endpoint, at(500)), [])
    const probe = await claimOf(pool, one.endpoint, at(700))
    assert.equal(probe.length, 1)
    assert.deepEqual(await claimOf(pool, one.endpoint, at(701)), [])

    await settle(pool, probe, delivered, at(702))
    assert.deepEqual([(await one.describe())['failures'], (await claimOf(pool, one.endpoint, at(703))).length], [0, 19])
  })

  test('is probed again at once where nobody made the request of the probe', async () => {
    const one = await newEndpoint(pool, { retries: Array(20).fill('1 s') })
    await publishBatch(pool, one.exchange, Array(5).fill({ body: 1 }))
    await settle(pool, await claimOf(pool, one.endpoint, at(0)), failed, at(1))
    const probe = await claimOf(pool, one.endpoint, at(60))
    assert.equal(probe.length, 1)

    await settle(pool, probe, { outcome: 'untried' }, at(61))

    assert.equal((await claimOf(pool, one.endpoint, at(63))).length, 1)
  })

  test('shows its breaker: closed, open while it rests, half-open until a delivery arrives', async () => {
    const one = await newEndpoint(pool, { retries: Array(50).fill('0 s') })
    const now = new Date()
    const later = new Date(now.getTime() + 60_000)
    await publishBatch(pool, one.exchange, [{ body: 1 }], { now })
    const shown = async () => {
      const { state, breaker } = await one.describe()
      return [state, breaker]
    }

    assert.deepEqual(await shown(), ['enabled', 'closed'])
    for (let times = 0; times < 5; times++) await settle(pool, await claimOf(pool, one.endpoint, later), failed, later)
    assert.deepEqual(await shown(), ['resting', 'open'])
    await pool.query(
      `update postbag.endpoint_health set resting_until = now() - interval '1 s'
      where queue_id = (select queue_id from postbag.endpoint where name = $1)`,
      [one.endpoint],
    )
    assert.deepEqual(await shown(), ['enabled', 'half-open'])
    await settle(pool, await claimOf(pool, one.endpoint, later), delivered, later)
    assert.deepEqual(await shown(), ['enabled', 'closed'])
  })

  test('rests for as long as its receiver asks, up to an hour', async () => {
    const one = await newEndpoint(pool, { retries: ['1 s', '1 s', '1 s'] })
    await publishBatch(pool, one.exchange, [{ body: 1 }])

    await settle(
      pool,
      await claimOf(pool, one.endpoint, at(0)),
      { ...failed, status: 429, retryAfterSeconds: 100 },
      at(0),
    )
    assert.deepEqual(await claimOf(pool, one.endpoint, at(99)), [])
    await settle(
      pool,
      await claimOf(pool, one.endpoint, at(101)),
      { ...failed, status: 503, retryAfterSeconds: 86_400 },
      at(101),
    )
    assert.deepEqual((await one.describe())['resting_until'], at(101 + 3600))
  })

  test('rests on, whatever comes of requests that had begun before it said so; and longer, if they ask for more', async () => {
    const one = await newEndpoint(pool, { retries: ['1 s', '1 s', '1 s'] })
    await publishBatch(pool, one.exchange, Array(4).fill({ body: 1 }), { now: at(0) })
    const [first, second, third, fourth] = await claimOf(pool, one.endpoint, at(0))
    assert.ok(first && second && third && fourth)
    const asked = { ...failed, status: 429, retryAfterSeconds: 100 }
    const rests: unknown[] = []
    for (const [delivery, result] of [
      [first, { ...asked, millis: 3000 }],
      [second, { ...delivered, millis: 4000 }],
      [third, { ...failed, millis: 4000 }],
      [fourth, { ...asked, retryAfterSeconds: 200, millis: 4000 }],
    ] as const) {
      await settle(pool, [delivery], { ...result, startedAt: at(1) }, at(5))
      rests.push((await one.describe())['resting_until'])
    }

    assert.deepEqual(rests, [at(105), at(105), at(105), at(205)])
    assert.deepEqual(await claimOf(pool, one.endpoint, at(204)), [])
    const probe = await claimOf(pool, one.endpoint, at(206))
    await settle(pool, probe, delivered, at(207))
    const { resting_until, failures } = await one.describe()
    assert.deepEqual([probe.length, resting_until, failures], [1, null, 0])
  })

  test('delays no other: the rest is claimed as if it were not there', async () => {
    const exchange = await newExchange(pool, 'topic')
    const [sick, well] = [
      await newEndpoint(pool, { event_types: ['sick'] }, exchange),
      await newEndpoint(pool, { event_types: ['well'] }, exchange),
    ]
    await publishBatch(pool, exchange, [
      ...Array(500).fill({ body: 1, routingKey: 'sick' }),
      ...Array(5).fill({ body: 2, routingKey: 'well' }),
    ])

    const first = await claim(pool, at(0), 20)
    const ofSick = first.filter(({ endpoint }) => endpoint === sick.endpoint)
    await settle(pool, ofSick, failed, at(0))
    const ofWell = first.filter(({ endpoint }) => endpoint === well.endpoint)
    await settle(pool, ofWell, delivered, at(0))
    await publishBatch(pool, exchange, Array(5).fill({ body: 3, routingKey: 'well' }))
    const later = await claim(pool, at(400), 20)

    // Of those that are well, all; of the other, what it takes at a time, and then the probe.
    const count = (claimed: readonly Delivery[], one: { readonly endpoint: string }) =>
      claimed.filter(({ endpoint }) => endpoint === one.endpoint).length
    assert.deepEqual([ofSick.length, ofWell.length, count(later, sick), count(later, well)], [10, 5, 1, 5])
  })

  test('is disabled if its receiver is gone, and says so; what is published does not wait for it any more', async () => {
    const watcher = await newEndpoint(pool, { event_types: ['endpoint.disabled'] }, 'postbag')
    const one = await newEndpoint(pool, { application: 'acme' })
    await publishBatch(pool, one.exchange, [{ body: 1 }])

    await settle(pool, await claimOf(pool, one.endpoint, at(0)), { ...failed, status: 410, isGone: true }, at(1))

    const { state, disabled_because } = await one.describe()
    assert.deepEqual([state, disabled_because], ['disabled', 'gone'])
    assert.deepEqual(await publishBatch(pool, one.exchange, [{ body: 2 }]), [0])
    const told = only(await claimOf(pool, watcher.endpoint, at(2)))
    const { type, data } = JSON.parse(told.body)
    assert.deepEqual(
      [type, data],
      ['endpoint.disabled', { endpoint: one.endpoint, application: 'acme', because: 'gone' }],
    )

    assert.equal(only(await call(pool, 'enable_endpoint', { endpoint: one.endpoint }))['state'], 'enabled')
    assert.deepEqual(await publishBatch(pool, one.exchange, [{ body: 3 }]), [1])
  })

  test('that has moved since is not disabled because its old receiver is gone, and the delivery goes to the new one', async () => {
    const one = await newEndpoint(pool, { retries: ['5 s'] })
    await publishBatch(pool, one.exchange, [{ body: 1 }])
    const claimed = await claimOf(pool, one.endpoint, at(0))
    await one.set({ retries: ['5 s'], url: 'https://example.com/moved' })

    await settle(pool, claimed, { ...failed, status: 410, isGone: true }, at(1))

    assert.equal((await one.describe())['state'], 'enabled')
    assert.equal(only(await claimOf(pool, one.endpoint, at(60))).url, 'https://example.com/moved')
  })

  test('that was made anew under an old name hears nothing of what came of the old one’s deliveries', async () => {
    const old = await newEndpoint(pool)
    await publishBatch(pool, old.exchange, [{ body: 1 }])
    const claimed = await claimOf(pool, old.endpoint, at(0))
    await call(pool, 'delete_endpoint', { endpoint: old.endpoint })
    await old.set({ application: 'another' })

    const settled = await settle(pool, claimed, { ...failed, status: 410, isGone: true, responseBody: 'mine' }, at(1))

    assert.equal(only(settled).outcome, 'message_gone')
    assert.equal((await old.describe())['state'], 'enabled')
    assert.deepEqual(await old.attempts(), [])
  })

  test('is disabled after five days of nothing else, and not before', async () => {
    const one = await newEndpoint(pool, { retries: Array(20).fill('1 day') })
    await publishBatch(pool, one.exchange, [{ body: 1 }])
    const states: unknown[] = []

    for (const day of [0, 2, 4, 6]) {
      await settle(pool, await claimOf(pool, one.endpoint, at(day * 86_400)), failed, at(day * 86_400))
      states.push((await one.describe())['disabled_because'])
    }

    assert.deepEqual(states, [null, null, null, 'failing'])
  })
})
