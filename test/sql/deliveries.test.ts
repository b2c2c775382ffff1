/* Deliveries to endpoints: claimed, settled, tried again. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import {
  claim,
  claimOf,
  type Delivery,
  delivered,
  failed,
  newEndpoint,
  secrets,
  settle,
} from '../support/sql-endpoints.ts'
import { newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { pagesTouched, planNodes, readsOf } from '../support/sql-plans.ts'
import { at, call, on, only } from '../support/sql-verbs.ts'
import { until } from '../support/until.ts'

const db = await createDatabase()
const { pool } = db

describe('deliveries', () => {
  test('come with what a request needs', async () => {
    const one = await newEndpoint(pool, { headers: JSON.stringify({ 'x-own': '1' }), timeout: '7 s' })
    await publishBatch(pool, one.exchange, [{ body: { a: 1 }, type: 'order.created', routingKey: 'order.created' }])

    const delivery = only(await claimOf(pool, one.endpoint, at(1000)))

    const { receipt, id, event_id, url, request_headers, timeout_seconds, attempts, body, type } = delivery
    assert.match(`${receipt} ${id} ${event_id}`, /^\d+\.1\.\d+ \d+ evt_\d+$/)
    assert.deepEqual(
      {
        url,
        request_headers,
        timeout_seconds,
        attempts,
        body,
        type,
        secrets: delivery.secrets.map(({ sealed }) => sealed),
      },
      {
        url: `https://example.com/${one.endpoint}`,
        request_headers: { 'x-own': '1' },
        timeout_seconds: 7,
        attempts: 1,
        body: '{"a": 1}',
        type: 'order.created',
        // (The other one's time is over.)
        secrets: ['new'],
      },
    )
  })

  test('are claimed by one of those that claim at the same time, each once', async () => {
    const exchange = await newExchange(pool, 'fanout')
    const endpoints = await Promise.all(
      Array.from({ length: 10 }, () => newEndpoint(pool, { concurrency: 1000 }, exchange)),
    )
    await publishBatch(
      pool,
      exchange,
      Array.from({ length: 20 }, (_, body) => ({ body })),
    )
    const sessions = await Promise.all([1, 2, 3, 4].map(() => db.connect()))

    const claimed = (await Promise.all(sessions.map((session) => claim(session, at(0), 30)))).flat()

    const own = claimed.filter(({ endpoint }) => endpoints.some((one) => one.endpoint === endpoint))
    assert.equal(own.length, 200)
    assert.equal(new Set(own.map(({ endpoint, id }) => `${endpoint} ${id}`)).size, 200)
  })

  test('are no more at a time than the endpoint takes', async () => {
    const one = await newEndpoint(pool, { concurrency: 3 })
    await publishBatch(pool, one.exchange, Array(10).fill({ body: 1 }))

    const first = await claimOf(pool, one.endpoint, at(0))
    const second = await claimOf(pool, one.endpoint, at(1))
    await settle(pool, first.slice(0, 2), delivered, at(2))
    const third = await claimOf(pool, one.endpoint, at(3))

    assert.deepEqual([first.length, second.length, third.length], [3, 0, 2])
  })

  test('are of no more bytes at a time than who claims them has room for, and at least one', async () => {
    const exchange = await newExchange(pool, 'fanout')
    const endpoints = await Promise.all(
      Array.from({ length: 3 }, async () => (await newEndpoint(pool, { concurrency: 1000 }, exchange)).endpoint),
    )
    await publishBatch(pool, exchange, Array(10).fill({ body: 'x'.repeat(100_000) }))

    const counts: number[] = []
    for (let after = null, round = 0; round < 30 && counts.reduce((sum, count) => sum + count, 0) < 30; round++) {
      const rows: Delivery[] = await call<Delivery>(pool, 'claim_deliveries', {
        ...{ most: 100, after, now: at(0), most_bytes: round === 0 ? 1 : 400_000 },
      })
      counts.push(rows.filter(({ endpoint }) => endpoints.includes(endpoint)).length)
      after = rows.at(-1)?.next ?? null
    }

    assert.equal(counts[0], 1)
    assert.ok(Math.max(...counts) <= 4, counts.join())
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      30,
    )
  })

  test('that failed are tried again after the pauses of the endpoint, and a fifth longer at most; then they are dead letters', async () => {
    const one = await newEndpoint(pool, { retries: ['10 s', '100 s'] })
    await publishBatch(pool, one.exchange, [{ body: 1 }])
    const seen: number[] = []

    for (let second = 0; second < 150; second++) {
      for (const delivery of await claimOf(pool, one.endpoint, at(second))) {
        seen.push(second)
        await settle(pool, [delivery], failed, at(second))
      }
    }

    const [first, retried = 0, last = 0, ...more] = seen
    assert.deepEqual([first, more], [0, []])
    assert.ok(retried >= 10 && retried <= 12, `tried again after ${retried} s`)
    assert.ok(last - retried >= 100 && last - retried <= 121, `and after ${last - retried} s`)
    const letter = only(await on(pool, `webhooks.${one.endpoint}`).peek(9, { now: at(1000) }))
    assert.deepEqual([letter.state, letter.last_error], ['dead', 'status: 500'])
    assert.deepEqual(
      (await one.attempts()).map(({ number, outcome, status }) => [number, outcome, status]),
      [
        [3, 'failed', 500],
        [2, 'failed', 500],
        [1, 'failed', 500],
      ],
    )
  })

  test('that nobody has tried come again at once, and are not counted', async () => {
    const one = await newEndpoint(pool)
    await publishBatch(pool, one.exchange, [{ body: 1 }])

    await settle(pool, await claimOf(pool, one.endpoint, at(0)), { outcome: 'untried' }, at(1))

    const again = only(await claimOf(pool, one.endpoint, at(3)))
    assert.deepEqual([again.attempts, await one.attempts()], [1, []])
  })

  test('that are settled once more, because nobody has heard that they were, are noted and counted once', async () => {
    const one = await newEndpoint(pool, { retries: ['5 s'] })
    await publishBatch(pool, one.exchange, [{ body: 'goes on' }, { body: 'arrives' }])
    const [goesOn, arrives] = (await claimOf(pool, one.endpoint, at(0))) as [Delivery, Delivery]
    const outcomes: string[] = []

    for (const now of [at(1), at(2)]) {
      outcomes.push(only(await settle(pool, [goesOn], failed, now)).outcome)
      outcomes.push(only(await settle(pool, [arrives], delivered, now)).outcome)
    }
    const [last] = (await claimOf(pool, one.endpoint, at(60))) as [Delivery]
    for (const now of [at(61), at(62)]) await settle(pool, [last], { ...failed, startedAt: at(60) }, now)

    assert.deepEqual(outcomes, ['ok', 'ok', 'lease_lost', 'message_gone'])
    assert.deepEqual((await one.attempts()).map(({ number, outcome }) => [number, outcome]).sort(), [
      [1, 'delivered'],
      [1, 'failed'],
      [2, 'failed'],
    ])
    assert.equal((await one.describe())['failures'], 1)
  })

  test('that were claimed by somebody else meanwhile are not settled', async () => {
    const one = await newEndpoint(pool, { timeout: '1 s' })
    await publishBatch(pool, one.exchange, [{ body: 1 }])
    const slow = await claimOf(pool, one.endpoint, at(0))
    const other = await claimOf(pool, one.endpoint, at(100))

    const outcomes = [await settle(pool, slow, delivered, at(101)), await settle(pool, other, delivered, at(102))]

    assert.deepEqual(
      outcomes.flat().map(({ outcome }) => outcome),
      ['lease_lost', 'ok'],
    )
  })

  test('of a group that is ordered wait for the one before them, however often that fails', async () => {
    const one = await newEndpoint(pool, { ordering: 'group' })
    await publishBatch(
      pool,
      one.exchange,
      [1, 2, 3].map((body) => ({ body, group: 'g' })),
    )
    const turn = async (moment: number, result: object) => {
      const claimed = await claimOf(pool, one.endpoint, at(moment))
      for (const delivery of claimed) await settle(pool, [delivery], result, at(moment))
      return claimed.map(({ body }) => body)
    }

    assert.deepEqual(await turn(0, failed), ['1'])
    assert.deepEqual(await turn(1, delivered), [])
    assert.deepEqual(
      [await turn(10, delivered), await turn(11, delivered), await turn(12, delivered)],
      [['1'], ['2'], ['3']],
    )
  })

  test('of an endpoint in order wait for the one before them, whatever their groups, until it arrives or has failed for good', async () => {
    const exchange = await newExchange(pool, 'topic')
    const one = await newEndpoint(pool, { ordering: 'endpoint', retries: ['10 s'] }, exchange)
    const other = await newEndpoint(pool, {}, exchange)
    await publishBatch(pool, exchange, [{ body: 1 }, { body: 2, group: 'g' }, { body: 3, group: 'h' }])
    await publishBatch(pool, exchange, [{ body: 4 }])
    const bodies: string[] = []
    for (const [moment, result] of [
      [0, failed],
      [1, delivered],
      [20, failed],
      [21, delivered],
      [22, delivered],
      [23, delivered],
      [24, delivered],
    ] as const) {
      const claimed = await claim(pool, at(moment))
      const own = claimed.filter(({ endpoint }) => endpoint === one.endpoint)
      if (own.length > 0) await settle(pool, own, result, at(moment))
      bodies.push(own.map(({ body }) => body).join())
      if (moment === 0) assert.equal(claimed.filter(({ endpoint }) => endpoint === other.endpoint).length, 4)
    }

    assert.deepEqual(bodies, ['1', '', '1', '2', '3', '4', ''])
  })

  test('that are recovered are the same events to their receivers, and kept as long as they wait', async () => {
    const one = await newEndpoint(pool, { retries: [] })
    await publishBatch(pool, one.exchange, [{ body: { a: 1 } }], { now: at(-40 * 86_400) })
    const first = only(await claimOf(pool, one.endpoint, at(0)))
    await settle(pool, [first], failed, at(0))

    await on(pool, `webhooks.${one.endpoint}`).redrive({ now: at(1) })
    for (let round = 0; round < 3; round++) await call(pool, 'forget_bodies', { most: 10_000, now: at(2) })

    const again = only(await claimOf(pool, one.endpoint, at(3)))
    assert.deepEqual([again.id, again.event_id, again.body, again.attempts], [first.id, first.event_id, '{"a": 1}', 1])
  })
})

test('queues that are no endpoints do not make a claim longer, nor endpoints without deliveries', async () => {
  const own = await createDatabase()
  const source = await newExchange(own.pool, 'fanout')
  const costs: number[] = []
  for (const many of [1, 300]) {
    await own.pool.query(
      `select count(postbag.send(made.name, '1')) from generate_series(1, $1::int) as n, lateral postbag.create_queue('q' || $1 || '-' || n) as made`,
      [many],
    )
    for (let index = 0; index < many; index += 10) {
      const args = { endpoint: `e${many}-${index}`, url: 'https://example.com/', exchange: source, secrets }
      await call(own.pool, 'set_endpoint', args)
    }
    const session = await own.connect()
    const cost = () =>
      pagesTouched(session, `select * from postbag.claim_deliveries(100, now => '${at(0).toISOString()}')`)
    costs.push(Math.min(await cost(), await cost(), await cost()))
  }

  const [few = 0, many = 0] = costs
  assert.ok(many <= few + 20, `${few} pages became ${many}`)
})

test('an event that is committed while a claim is under way is claimed as that event, by its id', async () => {
  const own = await createDatabase()
  const one = await newEndpoint(own.pool)
  await publishBatch(own.pool, one.exchange, [{ body: 1 }], { now: at(0) })
  const [blocker, claimer] = [await own.connect(), await own.connect()]
  // The claim has begun, and waits for its turn at the endpoint, when the second is published.
  await blocker.query(
    `begin; select pg_advisory_xact_lock(1886352385, hashint8(queue_id)) from postbag.queue where name = 'webhooks.${one.endpoint}'`,
  )
  const claiming = claim(claimer, at(1))
  const waits = `select from pg_locks where locktype = 'advisory' and not granted and database = (
    select oid from pg_database where datname = current_database())`
  await until('the claim to wait', async () => (await own.pool.query(waits)).rowCount || undefined)
  await publishBatch(own.pool, one.exchange, [{ body: 2 }], { now: at(0) })
  await blocker.query('commit')

  const claimed = await claiming
  assert.deepEqual(claimed.map(({ body }) => body).sort(), ['1', '2'])
  for (const { event_id } of claimed) assert.match(event_id, /^evt_\d+$/)
})

test('a claim finds what there is by the index, whatever waits', async () => {
  const one = await newEndpoint(pool, { concurrency: 1000 })
  const session = await db.connect()
  await publishBatch(pool, one.exchange, Array(200).fill({ body: 1 }))

  const nodes = await planNodes(
    session,
    async () => void (await call(session, 'claim_deliveries', { most: 100, now: at(0) })),
  )

  assert.deepEqual(
    readsOf('message', nodes).filter((read) => !/^(Tid Scan|Index)/.test(read)),
    [],
  )
})

test('the attempts at a delivery are found by its id, however many others there are', async () => {
  const one = await newEndpoint(pool)
  const session = await db.connect()
  await session.query(
    `insert into postbag.attempt (queue_id, message_id, number, started_at, millis, outcome)
    select endpoint.queue_id, 1000000 + made, 1, now(), 1, 'delivered'
    from postbag.endpoint, generate_series(1, 20000) as made
    where endpoint.name = $1`,
    [one.endpoint],
  )
  await session.query('analyze postbag.attempt')

  const list = (id: string) => `select * from postbag.list_attempts('${one.endpoint}', of_id => '${id}')`
  const costs: number[] = []
  for (let times = 0; times < 8; times++) costs.push(await pagesTouched(session, list('1000001')))

  assert.ok(Math.max(...costs.slice(1)) < 60, costs.join())
  assert.deepEqual((await session.query(list('1000001'))).rows.length, 1)
  assert.deepEqual((await session.query(list('no id'))).rows, [])
})
