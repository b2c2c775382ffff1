/* Endpoints of webhooks: what they are, and what reaches them. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { claim, claimOf, type Delivery, delivered, newEndpoint, secrets, settle } from '../support/sql-endpoints.ts'
import { newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { at, backendOf, call, newQueue, only, type Session, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

describe('an endpoint', () => {
  test('has defaults, and is described and listed as it was set', async () => {
    const one = await newEndpoint(pool, {
      application: 'acme',
      event_types: ['order.*'],
      metadata: JSON.stringify({ m: '1' }),
    })

    const { created_at, updated_at, ...created } = one.created
    assert.deepEqual(created, {
      name: one.endpoint,
      application: 'acme',
      url: `https://example.com/${one.endpoint}`,
      exchange: one.exchange,
      event_types: ['order.*'],
      filter: null,
      headers: {},
      description: null,
      metadata: { m: '1' },
      timeout_seconds: 15,
      retries_seconds: [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400],
      rate: null,
      burst: null,
      concurrency: 10,
      ordering: 'none',
      state: 'enabled',
      breaker: 'closed',
      disabled_at: null,
      disabled_because: null,
      failures: 0,
      failing_since: null,
      resting_until: null,
    })
    assert.deepEqual(await call(pool, 'list_endpoints', { application: 'acme' }), [one.created])
    assert.deepEqual(await one.describe(), one.created)
  })

  test('that is set again has the new configuration, and the old secrets if none are given', async () => {
    const one = await newEndpoint(pool, { event_types: ['a', 'b'] })

    const again = only(await one.set({ event_types: ['b', 'c'], url: 'https://example.com/new', secrets: null }))

    assert.deepEqual([again['url'], again['event_types']], ['https://example.com/new', ['b', 'c']])
    const reached = await publishBatch(
      pool,
      one.exchange,
      ['a', 'b', 'c'].map((routingKey) => ({ body: 1, routingKey })),
    )
    assert.deepEqual(reached, [0, 1, 1])
    assert.deepEqual(
      (await claimOf(pool, one.endpoint, at(0)))[0]?.secrets.map(({ sealed }) => sealed),
      ['new', 'old'],
    )
  })

  for (const [what, config, error] of [
    ['no secrets', { secrets: null }, /secrets must be given for a new endpoint/],
    ['a URL that is none', { url: 'ftp://x' }, /endpoint_url_is_http/],
    ['no event type', { event_types: [] }, /endpoint_event_types_are_1_to_100/],
    [
      'an event type that is too long',
      { event_types: ['x'.repeat(256)] },
      /eventTypes must be at most 255 characters each, got 256/,
    ],
    ['a filter of something else', { filter: '{"path":1}' }, /filter must be/],
    ['headers that are no strings', { headers: '{"a":1}' }, /headers must be an object of strings/],
    ['a pause that is too long', { retries: ['8 days'] }, /retries must be between 0 and 604800 seconds each/],
    ['an order that is none', { ordering: 'strict' }, /order must be none, group or endpoint, got strict/],
    ['a long timeout', { timeout: '61 s' }, /endpoint_timeout_is_1_to_60_seconds/],
    ['an exchange that is not there', { exchange: 'nowhere' }, /exchange "nowhere" does not exist/],
  ] as const) {
    test(`with ${what} is refused, and nothing is left of it`, async () => {
      const source = await newExchange(pool, 'topic')
      const args = { endpoint: 'refused', url: 'https://example.com', exchange: source, secrets, ...config }

      await assert.rejects(call(pool, 'set_endpoint', args), error)

      await assert.rejects(call(pool, 'describe_endpoint', { endpoint: 'refused' }), { code: 'PB014' })
      await assert.rejects(call(pool, 'describe_queue', { queue: 'webhooks.refused' }), { code: 'PB001' })
    })
  }

  for (const [type, event_types, error] of [
    ['fanout', ['order.#'], /eventTypes must be left out with an exchange of type fanout.*got order\.#/],
    ['direct', ['order', '#'], /eventTypes must be given with an exchange of type direct/],
  ] as const) {
    test(`of a ${type} exchange with the types ${event_types.join()} is refused, as those would say nothing`, async () => {
      const exchange = await newExchange(pool, type)

      await assert.rejects(newEndpoint(pool, { event_types }, exchange), error)
    })
  }

  test('keeps its queue as it needs it, and its exchange', async () => {
    const one = await newEndpoint(pool, { timeout: '60 s' })
    const [queue, exchange] = [`webhooks.${one.endpoint}`, one.exchange]

    await assert.rejects(call(pool, 'create_queue', { queue, max_messages: 10 }), {
      code: 'PB002',
      message: /must be configured as the endpoint/,
    })
    await assert.rejects(call(pool, 'delete_exchange', { exchange }), {
      code: 'PB012',
      message: `exchange "${exchange}" must have no endpoints to be deleted, got "${one.endpoint}": delete that first, or let it take from another`,
    })

    assert.equal(only(await one.set({ timeout: '30 s' }))['timeout_seconds'], 30)
    await call(pool, 'delete_endpoint', { endpoint: one.endpoint })
    await call(pool, 'delete_exchange', { exchange })
  })

  test('that two make at the same time has the secret of the one that was first, and the other is told that it was there', async () => {
    const exchange = await newExchange(pool, 'topic')
    const first = await db.connect()
    const second = await db.connect()
    const set = (session: Session, sealed: string) =>
      call(session, 'set_endpoint', {
        ...{ endpoint: 'raced', url: `https://example.com/${sealed}`, exchange },
        first_secrets: JSON.stringify([{ sealed }]),
      })
    await first.query('begin')
    const made = only(await set(first, 'a'))
    const backend = await backendOf(second)
    const waiting = set(second, 'b')
    await waitsForLock(pool, backend)
    await first.query('commit')
    const found = only(await waiting)

    assert.deepEqual(made['created_at'], made['updated_at'])
    assert.notDeepEqual(found['created_at'], found['updated_at'])
    assert.equal(found['url'], 'https://example.com/b')
    const { rows } = await pool.query("select secrets from postbag.endpoint where name = 'raced'")
    assert.deepEqual(rows[0].secrets, [{ sealed: 'a' }])
  })

  test('keeps what its deliveries rest upon, whatever policies say', async () => {
    const settings = {
      max_attempts: 1,
      dead_letter_queue: await newQueue(pool),
      delivery_order: 'lifo',
      max_priority: 9,
      delay: '1 h',
      dedup_by: 'content',
      ttl: '1 h',
    }
    await call(pool, 'set_policy', { policy: 'all', pattern: '*', settings: JSON.stringify(settings) })
    const one = await newEndpoint(pool)
    const { rows } = await pool.query(
      `select max_attempts, dead_letter_queue, delivery_order, max_priority, delay = '0 s' as is_prompt, dedup_by, ttl = '1 h' as has_ttl
      from postbag.queue where name = $1`,
      [`webhooks.${one.endpoint}`],
    )
    await call(pool, 'delete_policy', { policy: 'all' })

    assert.deepEqual(rows, [
      {
        max_attempts: null,
        dead_letter_queue: null,
        delivery_order: 'fifo',
        max_priority: 0,
        is_prompt: true,
        dedup_by: 'id',
        has_ttl: true,
      },
    ])
  })

  test('that is deleted is gone with what waits for it', async () => {
    const one = await newEndpoint(pool)
    await publishBatch(pool, one.exchange, [{ body: 1 }, { body: 2 }])

    assert.equal(only(await call(pool, 'delete_endpoint', { endpoint: one.endpoint }))['delete_endpoint'], '2')

    await assert.rejects(one.describe(), { code: 'PB014' })
    assert.deepEqual(await publishBatch(pool, one.exchange, [{ body: 3 }]), [0])
  })
})

test('an endpoint that is being deleted is not enabled or given a secret', async () => {
  for (const [verb, args] of [
    ['enable_endpoint', {}],
    ['rotate_secret', { sealed: 'new' }],
  ] as const) {
    const { endpoint } = await newEndpoint(pool)
    await call(pool, 'disable_endpoint', { endpoint })
    const [deleting, other] = await Promise.all([db.connect(), db.connect()])
    const backend = await backendOf(other)
    await deleting.query('begin')
    await call(deleting, 'delete_endpoint', { endpoint })

    const refused = assert.rejects(call(other, verb, { endpoint, ...args }), { code: 'PB014' }, verb)
    await waitsForLock(pool, backend)
    await deleting.query('commit')

    await refused
  }
})

test('an endpoint that is deleted while deliveries are claimed does not keep the others from theirs', async () => {
  const [resting, doomed, well] = [await newEndpoint(pool), await newEndpoint(pool), await newEndpoint(pool)]
  for (const { exchange } of [resting, doomed, well]) await publishBatch(pool, exchange, Array(5).fill({ body: 1 }))
  await settle(pool, await claimOf(pool, resting.endpoint, at(0)), { outcome: 'failed', error: 'status' }, at(1))
  const [holder, claimer] = await Promise.all([db.connect(), db.connect()])
  const backend = await backendOf(claimer)
  await holder.query('begin')
  await holder.query(
    'select from postbag.endpoint_health join postbag.endpoint using (queue_id) where name = $1 for update of endpoint_health',
    [resting.endpoint],
  )

  const claiming = claim(claimer, at(500))
  await waitsForLock(pool, backend)
  await call(pool, 'delete_endpoint', { endpoint: doomed.endpoint })
  await holder.query('commit')

  const claimed = (await claiming).map(({ endpoint }) => endpoint)
  assert.deepEqual(
    [resting, doomed, well].map((one) => claimed.includes(one.endpoint)),
    [true, false, true],
  )
})

describe('an event', () => {
  test('reaches the endpoints whose types and filters fit, one delivery each, and is stored once', async () => {
    const exchange = await newExchange(pool, 'topic')
    const all = await newEndpoint(pool, {}, exchange)
    const typed = await newEndpoint(pool, { event_types: ['order.#', '*.created'] }, exchange)
    const filtered = await newEndpoint(
      pool,
      { filter: JSON.stringify({ headers: { tenant: 'acme' }, body: { order: { paid: true } } }) },
      exchange,
    )
    const order = (paid: boolean) => ({ order: { id: 1, paid } })

    const reached = await publishBatch(pool, exchange, [
      { body: order(true), routingKey: 'order.created', headers: { tenant: 'acme', more: '1' } },
      { json: JSON.stringify(order(true)), routingKey: 'order.paid', headers: { tenant: 'acme' }, dedupId: 'd' },
      { body: order(false), routingKey: 'mail.sent', headers: { tenant: 'acme' } },
      { body: order(true), routingKey: 'mail.sent', headers: { tenant: 'else' } },
    ])

    assert.deepEqual(reached, [3, 3, 1, 1])
    const counts = [all, typed, filtered].map(async (endpoint) => (await endpoint.waiting()).length)
    assert.deepEqual(await Promise.all(counts), [4, 2, 2])
    const claimed = (await claim(pool, at(0))).filter(({ endpoint }) =>
      [all, typed, filtered].some((one) => one.endpoint === endpoint),
    )
    assert.equal(new Set(claimed.map(({ event_id }) => event_id)).size, 4)
    const { rows } = await pool.query('select count(*) from postbag.body where $1 = any (queue_ids)', [
      (await pool.query('select queue_id from postbag.queue where name = $1', [`webhooks.${all.endpoint}`])).rows[0]
        .queue_id,
    ])
    assert.equal(rows[0].count, '4')
  })

  test('that is JSON which jsonb cannot hold goes everywhere but to endpoints that look into it', async () => {
    const exchange = await newExchange(pool, 'topic')
    const [all, headed, looking] = [
      await newEndpoint(pool, {}, exchange),
      await newEndpoint(pool, { filter: JSON.stringify({ headers: { h: '1' } }) }, exchange),
      await newEndpoint(pool, { filter: JSON.stringify({ body: { a: 1 } }) }, exchange),
    ]
    const bodies = ['"\\u0000"', '"\\ud83d"', '{"a":1,"b":1e400000}', '{"a":1}']

    const reached = await publishBatch(
      pool,
      exchange,
      bodies.map((json) => ({ json, headers: { h: '1' } })),
    )

    assert.deepEqual(reached, [2, 2, 2, 3])
    const waiting = async (one: typeof all) => (await one.waiting()).map(({ body }) => body)
    assert.deepEqual(await Promise.all([all, headed, looking].map(waiting)), [bodies, bodies, ['{"a":1}']])
  })

  test('of bytes or text is delivered as what it is', async () => {
    const one = await newEndpoint(pool)
    await publishBatch(pool, one.exchange, [
      { body: 'words', encoding: 'text', contentType: 'text/plain' },
      { body: 'AAH/', encoding: 'base64' },
    ])

    const claimed = await call<Delivery & { encoding: string }>(pool, 'claim_deliveries', { now: at(0) })

    const own = claimed.filter(({ endpoint }) => endpoint === one.endpoint)
    assert.deepEqual(
      own.map(({ encoding, body }) => [encoding, body]),
      [
        ['text', 'words'],
        ['base64', 'AAH/'],
      ],
    )
  })

  test('that is sent again takes the time to live and the limits that policies set', async () => {
    const one = await newEndpoint(pool)
    await publishBatch(pool, one.exchange, [{ body: 1 }])
    const { event_id } = only(await claimOf(pool, one.endpoint, at(0)))
    const queue = `webhooks.${one.endpoint}`
    await call(pool, 'set_policy', { policy: queue, pattern: queue, settings: '{"ttl": "60 s", "max_messages": 3}' })
    const resend = () => call(pool, 'resend', { endpoint: one.endpoint, event_id })

    await resend()
    await resend()
    await assert.rejects(resend(), { code: 'PB004' })

    const { rows } = await pool.query(
      `select distinct extract(epoch from expires_at - sent_at)::integer as seconds
       from postbag.search($1) where expires_at is not null`,
      [queue],
    )
    assert.deepEqual(rows, [{ seconds: 60 }])
  })

  test('can be sent again, with its id, after it has arrived; but not when it is not kept any more', async () => {
    const one = await newEndpoint(pool)
    await publishBatch(pool, one.exchange, [{ body: { a: 1 }, type: 't', headers: { h: '1' }, routingKey: 'k' }], {
      now: at(-1),
    })
    const first = only(await claimOf(pool, one.endpoint, at(0)))
    await settle(pool, [first], delivered, at(1))
    await call(pool, 'forget_bodies', { most: 10_000 })

    await call(pool, 'resend', { endpoint: one.endpoint, event_id: first.event_id })

    const again = only(await claimOf(pool, one.endpoint, at(2)))
    const told = ({ event_id, body, type, headers }: Delivery) => ({ event_id, body, type, headers })
    assert.deepEqual(told(again), told(first))
    await settle(pool, [again], delivered, at(3))
    for (let round = 0; round < 3; round++) await call(pool, 'forget_bodies', { most: 10_000, now: at(90 * 86_400) })
    const refused = call(pool, 'resend', { endpoint: one.endpoint, event_id: first.event_id })
    await assert.rejects(refused, { code: 'PB015', message: /is not kept any more/ })
    assert.deepEqual(
      (await one.attempts()).map(({ event_id, id }) => [event_id, id]),
      [
        [null, again.id],
        [null, first.id],
      ],
    )
  })
})
