/* A large body that reaches several queues is stored once, and is read as every other. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { fanoutOf, forgetAll, large, sharedBodies } from '../support/sql-bodies.ts'
import { at, call, on, only, type QueueConfig } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

describe('a body of several copies', () => {
  test('is stored once if it is large, and with each copy if it is small', async () => {
    const { publish } = await fanoutOf(pool, {}, {}, {})
    const before = await sharedBodies(pool)

    await publish({ body: large }, { body: 'small' }, { body: large })

    assert.equal((await sharedBodies(pool)) - before, 2)
  })

  test('is stored once whatever else is said of the message, and wherever it goes', async () => {
    const { queues, publish } = await fanoutOf(
      pool,
      { max_priority: 3 },
      { ttl: '1 h' },
      { max_bytes: 1_000_000 },
      { dedup_by: 'content' },
    )
    const before = await sharedBodies(pool)

    await publish(
      { body: large, dedupId: 'd', group: 'g', priority: 2, headers: { h: '1' } },
      { body: large, encoding: 'text' },
      { json: JSON.stringify({ large }) },
    )

    assert.equal((await sharedBodies(pool)) - before, 3)
    for (const queue of queues) {
      const found = await on(pool, queue).peek(9)
      assert.deepEqual(
        found.map(({ body, encoding }) => [encoding, body]),
        [
          ['json', JSON.stringify(large)],
          ['text', large],
          ['json', JSON.stringify({ large })],
        ],
      )
      assert.deepEqual([found[0]?.group_key, found[0]?.headers?.['h']], ['g', '1'])
    }
  })

  test('is not stored for duplicates, nor for those alone that are none', async () => {
    const { queues, publish } = await fanoutOf(pool, {}, {})
    await publish({ body: large, dedupId: 'd' })
    await on(pool, queues[0] ?? '').purge()
    const before = await sharedBodies(pool)

    await publish({ body: large, dedupId: 'd' }, { body: large, dedupId: 'e' }, { body: large, dedupId: 'e' })

    assert.equal((await sharedBodies(pool)) - before, 1)
    await on(pool, queues[1] ?? '').purge()
    await forgetAll(pool)
    assert.equal((await sharedBodies(pool)) - before, 0)
    assert.equal(JSON.parse(only(await on(pool, queues[0] ?? '').peek()).body), large)
  })

  test('is not shared with volatile queues, nor as bytes', async () => {
    const { queues, publish } = await fanoutOf(pool, {}, { durability: 'volatile' }, { durability: 'volatile' })
    const both = await fanoutOf(pool, {}, {})
    const before = await sharedBodies(pool)

    await publish({ body: large })
    await both.publish({ body: Buffer.from(large).toString('base64'), encoding: 'base64' })

    assert.equal(await sharedBodies(pool), before)
    for (const queue of queues) assert.equal(JSON.parse(only(await on(pool, queue).peek()).body), large)
    const [bytes] = await on(pool, both.queues[0] ?? '').peek()
    assert.equal(Buffer.from(bytes?.body ?? '', 'base64').toString(), large)
  })

  test('has the size that any body may have', async () => {
    const { publish } = await fanoutOf(pool, {}, {})

    for (const more of [{}, { dedupId: 'd' }]) {
      await assert.rejects(publish({ body: 'x'.repeat(1_048_576), ...more }), {
        constraint: 'message_body_is_at_most_1_mib',
      })
      await assert.rejects(publish({ json: `["${large}"`, ...more }), { code: '22P02' })
    }
  })

  test('is not shared where there is one copy', async () => {
    const { publish } = await fanoutOf(pool, {})
    const before = await sharedBodies(pool)

    await publish({ body: large })

    assert.equal(await sharedBodies(pool), before)
  })

  const ways: readonly [how: string, config: QueueConfig, read: (queue: string) => Promise<unknown>][] = [
    ['received', {}, async (queue) => JSON.parse(only(await on(await db.connect(), queue).receive()).body)],
    [
      'received newest first',
      { delivery_order: 'lifo' },
      async (queue) => JSON.parse(only(await on(pool, queue).receive()).body),
    ],
    [
      'received where priorities count',
      { max_priority: 3 },
      async (queue) => JSON.parse(only(await on(pool, queue).receive()).body),
    ],
    [
      'received at most once',
      {},
      async (queue) => JSON.parse(only(await call<{ body: string }>(pool, 'receive', { queue, auto_ack: true })).body),
    ],
    ['looked at', {}, async (queue) => JSON.parse(only(await on(pool, queue).peek()).body)],
    [
      'searched for',
      {},
      async (queue) => JSON.parse((await on(pool, queue).search(9, { body_contains: 'xxx' }))[0]?.body ?? ''),
    ],
  ]
  for (const [how, config, read] of ways) {
    test(`is read when it is ${how}`, async () => {
      const { queues, publish } = await fanoutOf(pool, {}, config)
      await publish({ body: large })

      assert.equal(await read(queues[1] ?? ''), large)
    })
  }

  test('is read by a session that goes the short way', async () => {
    const { queues, publish } = await fanoutOf(pool, {}, {})
    const session = on(await db.connect(), queues[0] ?? '')
    await publish(...Array(20).fill({ body: large }))

    for (let turn = 0; turn < 20; turn++) {
      const message = only(await session.receive(1, { now: at(1 + turn / 1000) }))
      assert.equal(JSON.parse(message.body), large)
    }
  })

  test('counts in each queue for what it is', async () => {
    const { queues, publish } = await fanoutOf(pool, {}, {})
    await publish({ body: large })

    for (const queue of queues) assert.equal((await on(pool, queue).stats(at(1))).bytes, String(large.length + 2))
  })

  test('makes room for itself where a queue got a limit afterwards', async () => {
    const { queues, publish } = await fanoutOf(pool, {}, {})
    const [queue = ''] = queues
    await publish({ body: large }, { body: large })
    await call(pool, 'create_queue', { queue, max_bytes: 15_000, overflow: 'drop-oldest' })

    await on(pool, queue).send('y'.repeat(4000), { now: at(1) })

    const left = await on(pool, queue).peek(9, { now: at(1) })
    assert.deepEqual(
      left.map(({ body }) => body.length),
      [10_002, 4002],
    )
  })
})
