/* publish: one copy per queue, all or none, in the caller's transaction. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { bind, newExchange, publish, publishBatch, queuesReached } from '../support/sql-exchanges.ts'
import { at, backendOf, bodies, newQueue, on, type QueueConfig, receipts, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** A fanout exchange, and a queue for each of these configurations behind it. */
async function fanout(...configs: readonly QueueConfig[]) {
  const exchange = await newExchange(pool, 'fanout')
  const queues: string[] = []
  for (const config of configs) {
    const queue = await newQueue(pool, config)
    await bind(pool, exchange, { queue })
    queues.push(queue)
  }
  return { exchange, queues }
}

describe('a publish', () => {
  test('puts a copy into each queue, with all that was said of the message, and where it came from', async () => {
    const { exchange, queues } = await fanout({}, {})

    const reached = await publish(
      pool,
      exchange,
      { id: 1 },
      { routing_key: 'order.created', type: 'created', headers: { tenant: 'a' }, now: at(0) },
    )

    assert.equal(reached, 2)
    for (const queue of queues) {
      const [message] = await on(pool, queue).receive(9, { now: at(1) })
      assert.deepEqual([message?.body, message?.type, message?.sent_at], ['{"id": 1}', 'created', at(0)])
      assert.deepEqual(message?.headers, {
        tenant: 'a',
        'postbag-exchange': exchange,
        'postbag-routing-key': 'order.created',
      })
    }
  })

  test('keeps the order of its messages in each queue, whatever the planner knows of the queues', async () => {
    const exchange = await newExchange(pool, 'fanout')
    const queues: string[] = []
    for (let made = 0; made < 60; made++) {
      queues.push(await newQueue(pool))
      await bind(pool, exchange, { queue: queues[made] ?? '' })
      if (made !== 1 && made !== 59) continue
      await pool.query('analyze postbag.queue')
      const session = await db.connect()
      await publishBatch(
        session,
        exchange,
        Array.from({ length: 20 }, (_, body) => ({ body })),
      )
    }

    for (const [index, queue] of queues.entries()) {
      const found = (await on(pool, queue).peek(100)).map(({ body }) => Number(body))
      const once = Array.from({ length: 20 }, (_, body) => body)
      assert.deepEqual(found, index < 2 ? [...once, ...once] : once)
    }
  })

  test('of several messages keeps their order in each queue, and says of each how many it reached', async () => {
    const exchange = await newExchange(pool, 'topic')
    const [all, some] = [await newQueue(pool), await newQueue(pool)]
    await bind(pool, exchange, { queue: all, routing_key: '#' })
    await bind(pool, exchange, { queue: some, routing_key: 'b.*' })
    const keys = ['a', 'b.1', 'c', 'b.2', 'b.3']

    const reached = await publishBatch(
      pool,
      exchange,
      keys.map((routingKey) => ({ body: routingKey, routingKey })),
    )

    assert.deepEqual(reached, [1, 2, 1, 2, 2])
    assert.deepEqual(bodies(await on(pool, all).receive(9)), keys)
    assert.deepEqual(bodies(await on(pool, some).receive(9)), ['b.1', 'b.2', 'b.3'])
  })

  test('is there when its transaction commits, and not at all if it rolls back', async () => {
    const { exchange, queues } = await fanout({}, { max_priority: 9, max_messages: 10 }, { durability: 'volatile' })
    const publisher = await db.connect()

    await publisher.query('begin')
    await publish(publisher, exchange, 'undone')
    await publisher.query('rollback; begin; savepoint part')
    await publish(publisher, exchange, 'undone too')
    await publisher.query('rollback to part')
    await publish(publisher, exchange, 'kept')
    assert.deepEqual(await queuesReached(pool, queues), [0, 0, 0])
    await publisher.query('commit')

    for (const queue of queues) assert.deepEqual(bodies(await on(pool, queue).receive(9)), ['kept'])
  })

  test('gives each queue its own: delay, time to live, priorities, groups, deduplication', async () => {
    const { exchange, queues } = await fanout(
      { delay: '10 s' },
      { ttl: '5 s' },
      { max_priority: 3 },
      { delivery_order: 'lifo' },
      { durability: 'volatile' },
    )
    const options = { priority: 7, group_key: 'g', dedup_id: 'once', now: at(0) }

    assert.equal(await publish(pool, exchange, 'x', options), 5)
    assert.equal(await publish(pool, exchange, 'x', options), 5)

    const [delayed, mortal, ranked, lifo, quick] = await Promise.all(
      queues.map(async (queue) => (await on(pool, queue).peek(9, { now: at(1) })).map((message) => message)),
    )
    for (const messages of [delayed, mortal, ranked, lifo, quick]) assert.equal(messages?.length, 1)
    assert.equal(delayed?.[0]?.state, 'delayed')
    assert.deepEqual(mortal?.[0]?.expires_at, at(5))
    assert.deepEqual([ranked?.[0]?.priority, mortal?.[0]?.priority], [3, 0])
    assert.deepEqual([ranked?.[0]?.group_key, lifo?.[0]?.group_key], ['g', null])
  })

  test('goes nowhere at all if one queue is full', async () => {
    const { exchange, queues } = await fanout({}, { max_messages: 1 })
    await publish(pool, exchange, 'fits')

    await assert.rejects(publish(pool, exchange, 'too many'), { code: 'PB004' })

    assert.deepEqual(await queuesReached(pool, queues), [1, 1])
  })

  test('with mandatory is refused if a message reaches no queue, and changes nothing', async () => {
    const exchange = await newExchange(pool, 'direct')
    const queue = await newQueue(pool)
    await bind(pool, exchange, { queue, routing_key: 'a' })
    const messages = [
      { body: 1, routingKey: 'a' },
      { body: 2, routingKey: 'b' },
    ]

    await assert.rejects(publishBatch(pool, exchange, messages, { mandatory: true }), {
      code: 'PB013',
      message: `a message with mandatory must reach a queue, and messages[1] with routing key "b" reaches none from exchange "${exchange}"`,
    })
    assert.deepEqual(await queuesReached(pool, [queue]), [0])
    assert.deepEqual(await publishBatch(pool, exchange, messages), [1, 0])
  })

  for (const [messages, code, message] of [
    ['x', 'PB002', /messages must be a JSON array, got string/],
    [[], 'PB002', /messages must be between 1 and 1000, got 0/],
    [Array(1001).fill({ body: 1 }), 'PB003', /messages must be between 1 and 1000, got 1001/],
    [[1], 'PB002', /messages\[0\] must be an object, got number/],
    [[{ body: 1 }, { body: 1, routingKey: 5 }], 'PB002', /messages\[1\]\.routingKey must be a string, got 5/],
    [[{ body: 1, routingKey: 'k'.repeat(256) }], 'PB002', /routingKey must be at most 255 characters, got 256/],
    [[{ body: 1, routing_key: 'a' }], 'PB002', /messages\[0\] has the unknown field routing_key/],
    [[{ routingKey: 'a' }], 'PB002', /messages\[0\] must have a body/],
    [[{ body: 1, headers: { a: 1 } }], 'PB002', /headers must be an object of strings, got \{"a": 1\}/],
    [[{ body: 1, headers: 'a' }], 'PB002', /headers must be an object of strings, got "a"/],
  ] as const) {
    test(`of ${JSON.stringify(messages).slice(0, 50)} is refused`, async () => {
      const { exchange, queues } = await fanout({}, { max_priority: 1 })

      await assert.rejects(publishBatch(pool, exchange, messages), { code, message })
      assert.deepEqual(await queuesReached(pool, queues), [0, 0])
    })
  }

  test('of more than 100,000 copies is refused', async () => {
    const exchange = await newExchange(pool, 'fanout')
    await pool.query(
      `select postbag.bind($1, queue => made.name) from generate_series(1, 101) as i,
        lateral postbag.create_queue('wide-' || i) as made`,
      [exchange],
    )

    await assert.rejects(publishBatch(pool, exchange, Array(1000).fill({ body: 1 })), {
      code: 'PB003',
      message: /at most 100000 copies/,
    })
  })

  test('is counted in the statistics of each queue', async () => {
    const { exchange, queues } = await fanout({}, {})
    const publisher = await db.connect()

    await publishBatch(publisher, exchange, [{ body: 1 }, { body: 2 }], { now: at(0) })
    await publish(publisher, exchange, 3, { now: at(2) })

    for (const queue of queues) {
      const { ready, in_per_second } = await on(pool, queue).stats(at(3))
      assert.deepEqual([ready, Math.round(in_per_second * 60)], ['3', 3])
    }
  })
})

test('a copy that is acked leaves the others where they are', async () => {
  const { exchange, queues } = await fanout({}, {})
  await publish(pool, exchange, 'x')

  const [first = '', second = ''] = queues
  await on(pool, first).ack(...receipts(await on(pool, first).receive(1)))

  assert.deepEqual(await queuesReached(pool, [first, second]), [0, 1])
})

test('a queue that is deleted while the publish waits for another one is left out', async () => {
  const { exchange, queues } = await fanout({}, {})
  const [first = '', second = ''] = queues
  const [holding, publishing] = [await db.connect(), await db.connect()]
  const backend = await backendOf(publishing)

  await holding.query('begin')
  await publish(holding, exchange, 'x', { dedup_id: 'once' })
  const published = publish(publishing, exchange, 'y', { dedup_id: 'once' })
  await waitsForLock(pool, backend)
  await on(pool, second).delete()
  await holding.query('rollback')

  await published
  assert.deepEqual(bodies(await on(pool, first).receive(9)), ['y'])
})

test('queues, exchanges and bindings that come and go beside publishes lose none of those that stay', async () => {
  const { exchange, queues } = await fanout({}, { max_priority: 1 })
  const [publisher, changer] = [await db.connect(), await db.connect()]
  let done = false

  const changing = (async () => {
    while (!done) {
      const passing = await newQueue(changer)
      await bind(changer, exchange, { queue: passing })
      await on(changer, passing).delete()
    }
  })()
  try {
    for (let number = 0; number < 200; number++) await publish(publisher, exchange, number)
  } finally {
    done = true
    await changing
  }

  assert.deepEqual(await queuesReached(pool, queues), [200, 200])
})
