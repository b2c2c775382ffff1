/* Endpoints of webhooks: what they are, what reaches them, and how deliveries are claimed and settled. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { pagesTouched, planNodes, readsOf } from '../support/sql-plans.ts'
import { at, call, on, only, type Session } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const secrets = JSON.stringify([{ sealed: 'new' }, { sealed: 'old', until: at(100).toISOString() }])

interface Delivery {
  readonly endpoint: string
  readonly url: string
  readonly request_headers: Record<string, string>
  readonly timeout_seconds: number
  readonly secrets: readonly { readonly sealed: string }[]
  readonly receipt: string | null
  readonly id: string
  readonly event_id: string
  readonly attempts: number
  readonly body: string
  readonly type: string | null
  readonly headers: Record<string, string>
  readonly next: string | null
}

let made = 0

/** An endpoint that no other test has, of an exchange of its own; or of this one. */
async function newEndpoint(config: object = {}, exchange?: string) {
  const endpoint = `endpoint-${++made}`
  const source = exchange ?? (await newExchange(pool, 'topic'))
  const set = (more: object = {}) =>
    call(pool, 'set_endpoint', {
      endpoint,
      url: `https://example.com/${endpoint}`,
      exchange: source,
      secrets,
      ...config,
      ...more,
    })
  return {
    endpoint,
    exchange: source,
    created: only(await set()),
    set,
    describe: async () => only(await call(pool, 'describe_endpoint', { endpoint })),
    waiting: () => on(pool, `webhooks.${endpoint}`).peek(1000, { now: at(0) }),
    attempts: (more: object = {}) => call(pool, 'list_attempts', { endpoint, ...more }),
  }
}

/** All there is now, in as many rounds as it takes. */
async function claim(session: Session, now: Date, most = 100): Promise<Delivery[]> {
  const claimed: Delivery[] = []
  for (let round = -1, after: string | null = null; round !== claimed.length || after !== null; ) {
    if (after === null) round = claimed.length
    const rows: Delivery[] = await call<Delivery>(session, 'claim_deliveries', { most, after, now })
    claimed.push(...rows.filter((row) => row.receipt))
    after = rows.at(-1)?.next ?? null
  }
  return claimed
}

/** The deliveries of one endpoint among all that there are; the others stay leased. */
const claimOf = async (endpoint: string, now: Date) =>
  (await claim(pool, now)).filter((delivery) => delivery.endpoint === endpoint)

const settle = (deliveries: readonly Delivery[], result: object, now: Date) =>
  call<{ receipt: string; outcome: string }>(pool, 'settle_deliveries', {
    results: JSON.stringify(
      deliveries.map(({ endpoint, receipt }) => ({ endpoint, receipt, startedAt: now, millis: 5, ...result })),
    ),
    now,
  })

const delivered = { outcome: 'delivered', status: 200, responseHeaders: { a: 'b' }, responseBody: 'ok' }
const failed = { outcome: 'failed', status: 500, error: 'status' }

describe('an endpoint', () => {
  test('has defaults, and is described and listed as it was set', async () => {
    const one = await newEndpoint({
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
      is_ordered: false,
      state: 'enabled',
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
    const one = await newEndpoint({ event_types: ['a', 'b'] })

    const again = only(await one.set({ event_types: ['b', 'c'], url: 'https://example.com/new', secrets: null }))

    assert.deepEqual([again['url'], again['event_types']], ['https://example.com/new', ['b', 'c']])
    const reached = await publishBatch(
      pool,
      one.exchange,
      ['a', 'b', 'c'].map((routingKey) => ({ body: 1, routingKey })),
    )
    assert.deepEqual(reached, [0, 1, 1])
    assert.deepEqual(
      (await claimOf(one.endpoint, at(0)))[0]?.secrets.map(({ sealed }) => sealed),
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

  test('that is deleted is gone with what waits for it', async () => {
    const one = await newEndpoint()
    await publishBatch(pool, one.exchange, [{ body: 1 }, { body: 2 }])

    assert.equal(only(await call(pool, 'delete_endpoint', { endpoint: one.endpoint }))['delete_endpoint'], '2')

    await assert.rejects(one.describe(), { code: 'PB014' })
    assert.deepEqual(await publishBatch(pool, one.exchange, [{ body: 3 }]), [0])
  })
})

describe('an event', () => {
  test('reaches the endpoints whose types and filters fit, one delivery each, and is stored once', async () => {
    const exchange = await newExchange(pool, 'topic')
    const all = await newEndpoint({}, exchange)
    const typed = await newEndpoint({ event_types: ['order.#', '*.created'] }, exchange)
    const filtered = await newEndpoint(
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

  test('of bytes or text is delivered as what it is', async () => {
    const one = await newEndpoint()
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

  test('can be sent again, with its id, after it has arrived; but not when it is not kept any more', async () => {
    const one = await newEndpoint()
    await publishBatch(pool, one.exchange, [{ body: { a: 1 }, type: 't', headers: { h: '1' }, routingKey: 'k' }], {
      now: at(-1),
    })
    const first = only(await claimOf(one.endpoint, at(0)))
    await settle([first], delivered, at(1))
    await call(pool, 'forget_bodies', { most: 10_000 })

    await call(pool, 'resend', { endpoint: one.endpoint, event_id: first.event_id })

    const again = only(await claimOf(one.endpoint, at(2)))
    const told = ({ event_id, body, type, headers }: Delivery) => ({ event_id, body, type, headers })
    assert.deepEqual(told(again), told(first))
    await settle([again], delivered, at(3))
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

describe('deliveries', () => {
  test('come with what a request needs', async () => {
    const one = await newEndpoint({ headers: JSON.stringify({ 'x-own': '1' }), timeout: '7 s' })
    await publishBatch(pool, one.exchange, [{ body: { a: 1 }, type: 'order.created', routingKey: 'order.created' }])

    const delivery = only(await claimOf(one.endpoint, at(1000)))

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
    const endpoints = await Promise.all(Array.from({ length: 10 }, () => newEndpoint({ concurrency: 1000 }, exchange)))
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
    const one = await newEndpoint({ concurrency: 3 })
    await publishBatch(pool, one.exchange, Array(10).fill({ body: 1 }))

    const first = await claimOf(one.endpoint, at(0))
    const second = await claimOf(one.endpoint, at(1))
    await settle(first.slice(0, 2), delivered, at(2))
    const third = await claimOf(one.endpoint, at(3))

    assert.deepEqual([first.length, second.length, third.length], [3, 0, 2])
  })

  test('that failed are tried again after the pauses of the endpoint, and a fifth longer at most; then they are dead letters', async () => {
    const one = await newEndpoint({ retries: ['10 s', '100 s'] })
    await publishBatch(pool, one.exchange, [{ body: 1 }])
    const seen: number[] = []

    for (let second = 0; second < 150; second++) {
      for (const delivery of await claimOf(one.endpoint, at(second))) {
        seen.push(second)
        await settle([delivery], failed, at(second))
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
    const one = await newEndpoint()
    await publishBatch(pool, one.exchange, [{ body: 1 }])

    await settle(await claimOf(one.endpoint, at(0)), { outcome: 'untried' }, at(1))

    const again = only(await claimOf(one.endpoint, at(3)))
    assert.deepEqual([again.attempts, await one.attempts()], [1, []])
  })

  test('that were claimed by somebody else meanwhile are not settled', async () => {
    const one = await newEndpoint({ timeout: '1 s' })
    await publishBatch(pool, one.exchange, [{ body: 1 }])
    const slow = await claimOf(one.endpoint, at(0))
    const other = await claimOf(one.endpoint, at(100))

    const outcomes = [await settle(slow, delivered, at(101)), await settle(other, delivered, at(102))]

    assert.deepEqual(
      outcomes.flat().map(({ outcome }) => outcome),
      ['lease_lost', 'ok'],
    )
  })

  test('of a group that is ordered wait for the one before them, however often that fails', async () => {
    const one = await newEndpoint({ is_ordered: true })
    await publishBatch(
      pool,
      one.exchange,
      [1, 2, 3].map((body) => ({ body, group: 'g' })),
    )
    const turn = async (moment: number, result: object) => {
      const claimed = await claimOf(one.endpoint, at(moment))
      for (const delivery of claimed) await settle([delivery], result, at(moment))
      return claimed.map(({ body }) => body)
    }

    const [first, ...rest] = await claimOf(one.endpoint, at(0))
    await settle(first ? [first] : [], failed, at(0))
    // Those that were behind it go back, too.
    assert.deepEqual(
      (await settle(rest, delivered, at(0))).map(({ outcome }) => outcome),
      ['lease_lost', 'lease_lost'],
    )
    assert.deepEqual(await turn(1, delivered), [])
    assert.deepEqual([await turn(10, delivered), await turn(11, delivered)], [['1'], ['2', '3']])
  })
})

describe('an endpoint that fails', () => {
  test('rests after five failures in a row, longer each time; then one delivery is the probe, and the others follow it', async () => {
    const one = await newEndpoint({ concurrency: 100, retries: Array(50).fill('0 s') })
    await publishBatch(pool, one.exchange, Array(20).fill({ body: 1 }))
    const first = await claimOf(one.endpoint, at(0))
    await settle(first.slice(0, 4), failed, at(1))
    assert.equal((await one.describe())['resting_until'], null)

    await settle(first.slice(4), failed, at(1))
    const { failures, resting_until } = await one.describe()
    assert.deepEqual([failures, resting_until], [20, at(1 + 600)])
    assert.deepEqual(await claimOf(one.endpoint, at(500)), [])
    const probe = await claimOf(one.endpoint, at(700))
    assert.equal(probe.length, 1)
    assert.deepEqual(await claimOf(one.endpoint, at(701)), [])

    await settle(probe, delivered, at(702))
    assert.deepEqual([(await one.describe())['failures'], (await claimOf(one.endpoint, at(703))).length], [0, 19])
  })

  test('rests for as long as its receiver asks, up to an hour', async () => {
    const one = await newEndpoint({ retries: ['1 s', '1 s', '1 s'] })
    await publishBatch(pool, one.exchange, [{ body: 1 }])

    await settle(await claimOf(one.endpoint, at(0)), { ...failed, status: 429, retryAfterSeconds: 100 }, at(0))
    assert.deepEqual(await claimOf(one.endpoint, at(99)), [])
    await settle(await claimOf(one.endpoint, at(101)), { ...failed, status: 503, retryAfterSeconds: 86_400 }, at(101))
    assert.deepEqual((await one.describe())['resting_until'], at(101 + 3600))
  })

  test('delays no other: the rest is claimed as if it were not there', async () => {
    const exchange = await newExchange(pool, 'topic')
    const [sick, well] = [
      await newEndpoint({ event_types: ['sick'] }, exchange),
      await newEndpoint({ event_types: ['well'] }, exchange),
    ]
    await publishBatch(pool, exchange, [
      ...Array(500).fill({ body: 1, routingKey: 'sick' }),
      ...Array(5).fill({ body: 2, routingKey: 'well' }),
    ])

    const first = await claim(pool, at(0), 20)
    const ofSick = first.filter(({ endpoint }) => endpoint === sick.endpoint)
    await settle(ofSick, failed, at(0))
    const ofWell = first.filter(({ endpoint }) => endpoint === well.endpoint)
    await settle(ofWell, delivered, at(0))
    await publishBatch(pool, exchange, Array(5).fill({ body: 3, routingKey: 'well' }))
    const later = await claim(pool, at(400), 20)

    // Of those that are well, all; of the other, what it takes at a time, and then the probe.
    const count = (claimed: readonly Delivery[], one: { readonly endpoint: string }) =>
      claimed.filter(({ endpoint }) => endpoint === one.endpoint).length
    assert.deepEqual([ofSick.length, ofWell.length, count(later, sick), count(later, well)], [10, 5, 1, 5])
  })

  test('is disabled if its receiver is gone, and says so; what is published does not wait for it any more', async () => {
    const watcher = await newEndpoint({ event_types: ['endpoint.disabled'] }, 'postbag')
    const one = await newEndpoint({ application: 'acme' })
    await publishBatch(pool, one.exchange, [{ body: 1 }])

    await settle(await claimOf(one.endpoint, at(0)), { ...failed, status: 410, isGone: true }, at(1))

    const { state, disabled_because } = await one.describe()
    assert.deepEqual([state, disabled_because], ['disabled', 'gone'])
    assert.deepEqual(await publishBatch(pool, one.exchange, [{ body: 2 }]), [0])
    const told = only(await claimOf(watcher.endpoint, at(2)))
    const { type, data } = JSON.parse(told.body)
    assert.deepEqual(
      [type, data],
      ['endpoint.disabled', { endpoint: one.endpoint, application: 'acme', because: 'gone' }],
    )

    assert.equal(only(await call(pool, 'enable_endpoint', { endpoint: one.endpoint }))['state'], 'enabled')
    assert.deepEqual(await publishBatch(pool, one.exchange, [{ body: 3 }]), [1])
  })

  test('is disabled after five days of nothing else, and not before', async () => {
    const one = await newEndpoint({ retries: Array(20).fill('1 day') })
    await publishBatch(pool, one.exchange, [{ body: 1 }])
    const states: unknown[] = []

    for (const day of [0, 2, 4, 6]) {
      await settle(await claimOf(one.endpoint, at(day * 86_400)), failed, at(day * 86_400))
      states.push((await one.describe())['disabled_because'])
    }

    assert.deepEqual(states, [null, null, null, 'failing'])
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

test('a claim finds what there is by the index, whatever waits', async () => {
  const one = await newEndpoint({ concurrency: 1000 })
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
