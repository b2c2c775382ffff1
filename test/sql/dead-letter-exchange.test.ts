/* Dead letters by an exchange: to every queue that it leads to, in the same step, as users of RabbitMQ know it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { newEndpoint } from '../support/sql-endpoints.ts'
import { bind, newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { planNodes, readsOf } from '../support/sql-plans.ts'
import { at, bodies, call, newQueue, on, only, type QueueConfig, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** All messages of a queue are rejected, at at(10). */
async function rejectAll(queue: string): Promise<void> {
  const verbs = on(await db.connect(), queue)
  await verbs.nack(receipts(await verbs.receive(1000, { now: at(5) })), { dead_letter: true, error: 'no', now: at(10) })
}

const waiting = async (queue: string) => on(pool, queue).peek(1000, { now: at(20) })
const bodiesIn = async (queue: string) => bodies(await waiting(queue)).sort()

test('each queue that the exchange leads to gets a copy, ready; the first keeps the id, and all know what happened', async () => {
  const exchange = await newExchange(pool, 'fanout')
  const targets = [
    await newQueue(pool, { ttl: '1 h' }),
    await newQueue(pool),
    await newQueue(pool, { max_priority: 3 }),
  ]
  for (const queue of targets) await bind(pool, exchange, { queue })
  const queue = await newQueue(pool, { dead_letter_exchange: exchange, max_priority: 9 })
  const id = await on(pool, queue).send({ a: 1 }, { type: 't', priority: 7, headers: { own: 'h' }, now: at(0) })

  await rejectAll(queue)

  assert.deepEqual(await waiting(queue), [])
  const copies = (await Promise.all(targets.map(waiting))).map(only)
  assert.deepEqual(
    copies.map(({ body, state, type, attempts, sent_at }) => [JSON.parse(body), state, type, attempts, sent_at]),
    Array(3).fill([{ a: 1 }, 'ready', 't', 0, at(0)]),
  )
  assert.equal(copies[0]?.id, id)
  assert.equal(new Set(copies.map((copy) => copy.id)).size, 3)
  assert.deepEqual(
    copies.map((copy) => copy.priority),
    [0, 0, 3],
  )
  assert.deepEqual(copies[0]?.expires_at, at(10 + 3600))
  for (const copy of copies) {
    assert.deepEqual(copy.headers, { own: 'h', 'postbag-exchange': exchange, 'postbag-routing-key': queue })
    assert.deepEqual(copy.deaths, [{ queue, reason: 'rejected', error: 'no', attempts: 1, at: at(10).toISOString() }])
  }
})

for (const [reason, die] of [
  ['attempts', async (queue: string) => on(await db.connect(), queue).receive(1, { now: at(5) })],
  ['expired', async () => {}],
  ['overflow', async (queue: string) => on(pool, queue).send('fills', { now: at(6) })],
] as const) {
  test(`so does one with reason ${reason}`, async () => {
    const exchange = await newExchange(pool, 'fanout')
    const targets = [await newQueue(pool), await newQueue(pool)]
    for (const queue of targets) await bind(pool, exchange, { queue })
    const config = { max_attempts: 1, max_messages: 1, overflow: 'drop-oldest', lease: '10 s', ttl: '100 s' }
    const queue = await newQueue(pool, { ...config, dead_letter_exchange: exchange })
    await on(pool, queue).send('dies', { now: at(0) })

    await die(queue)
    await on(pool, queue).maintain(10, at(100))

    for (const target of targets) {
      const letters = await on(pool, target).peek(9, { now: at(200) })
      assert.equal(letters.find((letter) => letter.body === '"dies"')?.dead_reason, reason)
    }
  })
}

test('the routing key is the configured one, else that of the message, else the name of the queue', async () => {
  const exchange = await newExchange(pool, 'direct')
  const [own, named, fixed] = [await newQueue(pool), await newQueue(pool), await newQueue(pool)]
  const source = await newExchange(pool, 'fanout')
  const queues = [
    await newQueue(pool, { dead_letter_exchange: exchange }),
    await newQueue(pool, { dead_letter_exchange: exchange, dead_letter_routing_key: 'graves' }),
  ] as const
  for (const queue of queues) await bind(pool, source, { queue })
  await bind(pool, exchange, { queue: own, routing_key: 'orders.new' })
  await bind(pool, exchange, { queue: named, routing_key: queues[0] })
  await bind(pool, exchange, { queue: fixed, routing_key: 'graves' })
  await publishBatch(pool, source, [{ body: 'published', routingKey: 'orders.new' }], { now: at(0) })
  await on(pool, queues[0]).send('sent', { now: at(0) })

  for (const queue of queues) await rejectAll(queue)

  assert.deepEqual(await bodiesIn(own), ['published'])
  assert.deepEqual(await bodiesIn(named), ['sent'])
  const letter = only(await waiting(fixed))
  assert.deepEqual(letter.headers, { 'postbag-exchange': exchange, 'postbag-routing-key': 'graves' })
  // Where it had come from is in its history.
  const { exchange: from, routingKey } = only(letter.deaths ?? [])
  assert.deepEqual([from, routingKey], [source, 'orders.new'])
})

test('by the exchange "default" they go to the queue that the key names', async () => {
  const target = await newQueue(pool)
  const queue = await newQueue(pool, { dead_letter_exchange: 'default', dead_letter_routing_key: target })
  await on(pool, queue).send(1, { now: at(0) })

  await rejectAll(queue)

  assert.deepEqual(await bodiesIn(target), [1])
})

test('a retry queue: rejected, it waits there for its time to live, and comes back, as often as it is rejected', async () => {
  const work = await newQueue(pool)
  const retry = await newQueue(pool, { ttl: '30 s', dead_letter_exchange: 'default', dead_letter_routing_key: work })
  await call(pool, 'create_queue', { queue: work, dead_letter_exchange: 'default', dead_letter_routing_key: retry })
  const id = await on(pool, work).send('again', { now: at(0) })

  for (const moment of [0, 100, 200]) {
    const worker = on(await db.connect(), work)
    const got = only(await worker.receive(1, { now: at(moment) }))
    assert.deepEqual([got.id, got.attempts, got.deaths?.length ?? 0], [id, 1, moment / 50])
    await worker.nack([got.receipt], { dead_letter: true, now: at(moment) })
    assert.deepEqual(await worker.receive(1, { now: at(moment + 29) }), [])
    await on(pool, retry).maintain(10, at(moment + 31))
  }
})

test('headers exchanges, alternates and bindings between exchanges lead dead letters as they lead what is published', async () => {
  const [byHeader, rest, topics] = [
    await newExchange(pool, 'headers'),
    await newExchange(pool, 'fanout'),
    await newExchange(pool, 'topic'),
  ]
  const exchange = await newExchange(pool, 'topic', rest)
  const [acme, others, errors] = [await newQueue(pool), await newQueue(pool), await newQueue(pool)]
  await bind(pool, exchange, { to_exchange: byHeader, routing_key: 'orders.#' })
  await bind(pool, exchange, { to_exchange: topics, routing_key: 'orders.#' })
  await bind(pool, byHeader, { queue: acme, headers: JSON.stringify({ tenant: 'acme' }) })
  await bind(pool, topics, { queue: errors, routing_key: '*.failed' })
  await bind(pool, rest, { queue: others })
  const source = await newExchange(pool, 'fanout')
  const queue = await newQueue(pool, { dead_letter_exchange: exchange })
  await bind(pool, source, { queue })
  await publishBatch(
    pool,
    source,
    [
      { body: 1, routingKey: 'orders.failed', headers: { tenant: 'acme' } },
      { body: 2, routingKey: 'orders.failed', headers: { tenant: 'else' } },
      { body: 3, routingKey: 'mails.failed', headers: { tenant: 'acme' } },
      { body: 4, routingKey: 'orders.late', headers: { tenant: 'else' } },
    ],
    { now: at(0) },
  )

  await rejectAll(queue)

  assert.deepEqual(await Promise.all([acme, errors, others].map(bodiesIn)), [[1], [1, 2], [3]])
  // What reaches nothing stays.
  assert.deepEqual(
    (await waiting(queue)).map(({ body, state }) => [body, state]),
    [['4', 'dead']],
  )
})

test('those that reach no queue, or only their own, stay as dead', async () => {
  const exchange = await newExchange(pool, 'fanout')
  const queue = await newQueue(pool, { dead_letter_exchange: exchange })
  await on(pool, queue).send(1, { now: at(0) })
  await rejectAll(queue)
  await bind(pool, exchange, { queue })
  await bind(pool, exchange, { queue: await newQueue(pool, { durability: 'volatile' }) })
  await on(pool, queue).send(2, { ttl: '1 s', now: at(0) })

  await on(pool, queue).maintain(10, at(10))

  const letters = await waiting(queue)
  assert.deepEqual(
    letters.map(({ body, state, dead_reason, headers }) => [body, state, dead_reason, headers]),
    [
      ['1', 'dead', 'rejected', null],
      ['2', 'dead', 'expired', null],
    ],
  )
})

test('so do all if the exchange is gone by then', async () => {
  const exchange = await newExchange(pool, 'fanout')
  await bind(pool, exchange, { queue: await newQueue(pool) })
  const queue = await newQueue(pool, { dead_letter_exchange: exchange })
  await on(pool, queue).send(1, { now: at(0) })
  await call(pool, 'delete_exchange', { exchange })

  await rejectAll(queue)

  assert.equal(only(await waiting(queue)).state, 'dead')
})

test('volatile queues have theirs in volatile queues', async () => {
  const exchange = await newExchange(pool, 'fanout')
  const [target, durable] = [await newQueue(pool, { durability: 'volatile' }), await newQueue(pool)]
  for (const queue of [target, durable]) await bind(pool, exchange, { queue })
  const queue = await newQueue(pool, { durability: 'volatile', dead_letter_exchange: exchange })
  await on(pool, queue).send('gone', { now: at(0) })

  await rejectAll(queue)

  assert.deepEqual([await bodiesIn(target), await bodiesIn(durable)], [['gone'], []])
})

test('a group stays a group, in order, in each queue', async () => {
  const exchange = await newExchange(pool, 'fanout')
  const targets = [await newQueue(pool), await newQueue(pool)]
  for (const queue of targets) await bind(pool, exchange, { queue })
  const queue = await newQueue(pool, { dead_letter_exchange: exchange })
  const messages = [1, 2, 3, 4].map((body) => ({ body, group: body % 2 ? 'odd' : 'even' }))
  await on(pool, queue).sendBatch(messages, { now: at(0) })

  await rejectAll(queue)

  for (const target of targets) {
    const states = (await waiting(target)).map(({ body, state }) => `${body} ${state}`)
    assert.deepEqual(states, ['1 ready', '2 ready', '3 blocked', '4 blocked'])
    assert.deepEqual(bodies(await on(await db.connect(), target).receive(4, { now: at(20) })).sort(), [1, 2, 3, 4])
  }
})

test('who sends does not say by which routing key his dead letter goes on, nor where it came from', async () => {
  const target = await newQueue(pool)
  const exchange = await newExchange(pool, 'fanout')
  await bind(pool, exchange, { queue: target })
  for (const durability of ['full', 'volatile'] as const) {
    const queue = await newQueue(pool, { dead_letter_exchange: 'default', durability })
    const headers = { 'postbag-routing-key': target, 'postbag-exchange': 'secret', own: 'h' }
    await on(pool, queue).sendBatch([{ body: 1, headers }, { body: 2 }, { body: 3, headers }], { now: at(0) })

    const got = (await waiting(queue)).map(({ body, headers: kept }) => [body, kept])
    assert.deepEqual(got, [
      ['1', { own: 'h' }],
      ['2', null],
      ['3', { own: 'h' }],
    ])
    await rejectAll(queue)
    assert.deepEqual(await bodiesIn(target), [])
  }
})

test('filters of endpoints count for dead letters, and strict order holds for them', async () => {
  const mine = { headers: { tenant: 'mine' }, body: { paid: true } }
  const { endpoint, exchange } = await newEndpoint(pool, { filter: mine, ordering: 'endpoint' })
  const queue = await newQueue(pool, { dead_letter_exchange: exchange, dead_letter_routing_key: 'failed' })
  const headers = { tenant: 'mine' }
  await on(pool, queue).sendBatch(
    [
      { body: { paid: true, n: 1 }, headers },
      { body: { paid: true }, headers: { tenant: 'other' } },
      { body: { paid: false }, headers },
      { body: { paid: true, n: 2 }, headers, group: 'g' },
      { body: 'text', encoding: 'text', headers },
      { body: 'Ynl0ZXM=', encoding: 'base64', headers },
    ],
    { now: at(0) },
  )

  await rejectAll(queue)

  const states = (await waiting(`webhooks.${endpoint}`)).map(({ body, group_key, state }) => [
    JSON.parse(body).n,
    group_key,
    state,
  ])
  assert.deepEqual(states, [
    [1, 'endpoint', 'ready'],
    [2, 'endpoint', 'blocked'],
  ])
  assert.deepEqual(
    (await on(pool, queue).peek(9, { now: at(20) })).map(({ state }) => state),
    Array(4).fill('dead'),
  )
  const explained = async (given: object) =>
    (await call(pool, 'explain_route', { exchange, routing_key: 'failed', headers: given })).length
  assert.deepEqual([await explained(headers), await explained({ tenant: 'other' })], [1, 0])
})

test('a redrive brings each copy back to where it came from', async () => {
  const exchange = await newExchange(pool, 'fanout')
  const target = await newQueue(pool)
  await bind(pool, exchange, { queue: target })
  const queue = await newQueue(pool, { dead_letter_exchange: exchange })
  const id = await on(pool, queue).send(1, { now: at(0) })
  await rejectAll(queue)

  await on(pool, target).redrive({ now: at(20) })

  assert.equal(only(await waiting(queue)).id, id)
})

for (const [what, config, message] of [
  [
    'that is not there',
    { dead_letter_exchange: 'nowhere' },
    /^deadLetterExchange must be an exchange that exists, got 'nowhere'$/,
  ],
  [
    'beside a dead-letter queue',
    { dead_letter_exchange: 'default', dead_letter_queue: 'same' },
    /go_to_a_queue_or_by_an_exchange/,
  ],
] as const) {
  test(`a dead-letter exchange ${what} is refused`, async () => {
    await assert.rejects(call(pool, 'create_queue', { queue: 'same', ...config } as QueueConfig & { queue: string }), {
      message,
    })
  })
}

test('a routing key without an exchange is refused', async () => {
  await assert.rejects(call(pool, 'create_queue', { queue: 'keyed', dead_letter_routing_key: 'k' }), {
    message: /routing_key_needs_a_dead_letter_exchange/,
  })
})

test('who says where dead letters go is not mixed up with who else says so', async () => {
  const exchange = await newExchange(pool, 'fanout')
  const target = await newQueue(pool)
  await call(pool, 'set_policy', {
    policy: 'graves',
    pattern: 'graves.*',
    settings: JSON.stringify({ dead_letter_exchange: exchange, dead_letter_routing_key: 'k' }),
  })
  const shown = ['dead_letter_queue', 'dead_letter_exchange', 'dead_letter_routing_key', 'origins']
  const describe = async (queue: string, config: QueueConfig) => {
    const described = only(await call(pool, 'create_queue', { queue, ...config }))
    return shown.map((field) => described[field])
  }

  const byPolicy = await describe('graves.policy', {})
  const own = await describe('graves.own', { dead_letter_queue: target })
  const other = await describe('graves.other', { dead_letter_exchange: 'default' })

  // (That there is no other way is said by the same.)
  const said = (by: string) => ({ dead_letter_queue: by, dead_letter_exchange: by, dead_letter_routing_key: by })
  assert.deepEqual(byPolicy, [null, exchange, 'k', said('policy graves')])
  assert.deepEqual(own, [target, null, null, said('queue')])
  assert.deepEqual(other, [null, 'default', null, said('queue')])
})

test('no step of a dead letter walks the queue: not its move, nor its end', async () => {
  const exchange = await newExchange(pool, 'fanout')
  const targets = [await newQueue(pool), await newQueue(pool)]
  for (const queue of targets) await bind(pool, exchange, { queue })
  const moving = await newQueue(pool, { dead_letter_exchange: exchange })
  const keeping = await newQueue(pool, { dead_letter_retention: '1 h' })
  const session = await db.connect()
  for (const queue of [moving, keeping])
    await on(session, queue).sendBatch(Array(20).fill({ body: 1, group: 'g' }), { now: at(0) })

  const nodes = await planNodes(session, async () => {
    for (const queue of [moving, keeping]) {
      const given = receipts(await on(session, queue).receive(10, { now: at(5) }))
      await on(session, queue).nack(given, { dead_letter: true, now: at(10) })
    }
    await on(session, keeping).maintain(100, at(10_000))
  })

  assert.deepEqual((await on(pool, keeping).peek(100, { now: at(10_000) })).length, 10)
  assert.deepEqual(
    readsOf('message', nodes).filter((read) => !/^(Tid Scan|Index)/.test(read)),
    [],
  )
})
