/* A large body that reaches several queues is stored once, is read as every other, and goes with its last copy. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createDatabase } from '../support/database.ts'
import { bind, newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { planNodes, readsOf } from '../support/sql-plans.ts'
import { at, call, newQueue, on, only, type QueueConfig, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const large = 'x'.repeat(10_000)

async function fanout(...configs: readonly QueueConfig[]) {
  const exchange = await newExchange(pool, 'fanout')
  const queues: string[] = []
  for (const config of configs) {
    const queue = await newQueue(pool, config)
    await bind(pool, exchange, { queue })
    queues.push(queue)
  }
  return {
    exchange,
    queues,
    publish: (...messages: object[]) => publishBatch(pool, exchange, messages),
  }
}

/** How many bodies are shared now; those of earlier tests, too. */
async function sharedBodies(): Promise<number> {
  return Number((await pool.query('select count(*) from postbag.body')).rows[0].count)
}

async function forgetAll(): Promise<number> {
  let removed = 0
  for (let round = 0; round < 3; round++) {
    removed += Number(
      only(await call<{ forget_bodies: string }>(pool, 'forget_bodies', { most: 10_000 })).forget_bodies,
    )
  }
  return removed
}

describe('a body of several copies', () => {
  test('is stored once if it is large, and with each copy if it is small', async () => {
    const { publish } = await fanout({}, {}, {})
    const before = await sharedBodies()

    await publish({ body: large }, { body: 'small' }, { body: large })

    assert.equal((await sharedBodies()) - before, 2)
  })

  test('is stored once whatever else is said of the message, and wherever it goes', async () => {
    const { queues, publish } = await fanout(
      { max_priority: 3 },
      { ttl: '1 h' },
      { max_bytes: 1_000_000 },
      { dedup_by: 'content' },
    )
    const before = await sharedBodies()

    await publish(
      { body: large, dedupId: 'd', group: 'g', priority: 2, headers: { h: '1' } },
      { body: large, encoding: 'text' },
      { json: JSON.stringify({ large }) },
    )

    assert.equal((await sharedBodies()) - before, 3)
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
    const { queues, publish } = await fanout({}, {})
    await publish({ body: large, dedupId: 'd' })
    await on(pool, queues[0] ?? '').purge()
    const before = await sharedBodies()

    await publish({ body: large, dedupId: 'd' }, { body: large, dedupId: 'e' }, { body: large, dedupId: 'e' })

    assert.equal((await sharedBodies()) - before, 1)
    await on(pool, queues[1] ?? '').purge()
    await forgetAll()
    assert.equal((await sharedBodies()) - before, 0)
    assert.equal(JSON.parse(only(await on(pool, queues[0] ?? '').peek()).body), large)
  })

  test('is not shared with volatile queues, nor as bytes', async () => {
    const { queues, publish } = await fanout({}, { durability: 'volatile' }, { durability: 'volatile' })
    const both = await fanout({}, {})
    const before = await sharedBodies()

    await publish({ body: large })
    await both.publish({ body: Buffer.from(large).toString('base64'), encoding: 'base64' })

    assert.equal(await sharedBodies(), before)
    for (const queue of queues) assert.equal(JSON.parse(only(await on(pool, queue).peek()).body), large)
    const [bytes] = await on(pool, both.queues[0] ?? '').peek()
    assert.equal(Buffer.from(bytes?.body ?? '', 'base64').toString(), large)
  })

  test('has the size that any body may have', async () => {
    const { publish } = await fanout({}, {})

    for (const more of [{}, { dedupId: 'd' }]) {
      await assert.rejects(publish({ body: 'x'.repeat(1_048_576), ...more }), {
        constraint: 'message_body_is_at_most_1_mib',
      })
      await assert.rejects(publish({ json: `["${large}"`, ...more }), { code: '22P02' })
    }
  })

  test('is not shared where there is one copy', async () => {
    const { publish } = await fanout({})
    const before = await sharedBodies()

    await publish({ body: large })

    assert.equal(await sharedBodies(), before)
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
      const { queues, publish } = await fanout({}, config)
      await publish({ body: large })

      assert.equal(await read(queues[1] ?? ''), large)
    })
  }

  test('is read by a session that goes the short way', async () => {
    const { queues, publish } = await fanout({}, {})
    const session = on(await db.connect(), queues[0] ?? '')
    await publish(...Array(20).fill({ body: large }))

    for (let turn = 0; turn < 20; turn++) {
      const message = only(await session.receive(1, { now: at(1 + turn / 1000) }))
      assert.equal(JSON.parse(message.body), large)
    }
  })

  test('counts in each queue for what it is', async () => {
    const { queues, publish } = await fanout({}, {})
    await publish({ body: large })

    for (const queue of queues) assert.equal((await on(pool, queue).stats(at(1))).bytes, String(large.length + 2))
  })

  test('makes room for itself where a queue got a limit afterwards', async () => {
    const { queues, publish } = await fanout({}, {})
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

describe('with its last copy', () => {
  test('it goes, and not before, whichever way they go', async () => {
    const { queues, publish } = await fanout({}, {}, {}, {})
    await forgetAll()
    const before = await sharedBodies()
    await publish({ body: large })
    const [acked = '', purged = '', deleted = '', expires = ''] = queues
    const leave: (() => Promise<unknown>)[] = [
      async () => on(pool, acked).ack(...receipts(await on(pool, acked).receive())),
      async () => on(pool, purged).purge(),
      async () => on(pool, deleted).delete(),
      async () =>
        on(pool, expires)
          .receive(1, { now: at(1) })
          .then((got) => on(pool, expires).ack(...receipts(got))),
    ]

    for (const [index, go] of leave.entries()) {
      await forgetAll()
      assert.equal((await sharedBodies()) - before, 1, `${index} of 4 are gone`)
      await go()
    }

    await forgetAll()
    assert.equal(await sharedBodies(), before)
  })

  test('nobody waits: two that ack the last two copies at once leave nothing, and one that rolls back leaves all', async () => {
    const { queues, publish } = await fanout({}, {})
    await publish({ body: large })
    const sessions = [await db.connect(), await db.connect()]
    await forgetAll()
    const before = await sharedBodies()
    const settle = async (end: string) => {
      for (const [index, session] of sessions.entries()) {
        await session.query(`begin; set local lock_timeout = '1 s'`)
        const verbs = on(session, queues[index] ?? '')
        await verbs.ack(...receipts(await verbs.receive(1, { lease: '1 s', now: at(1) })))
      }
      for (const session of sessions) await session.query(end)
      await forgetAll()
      return sharedBodies()
    }

    assert.equal(await settle('rollback'), before)
    assert.equal(await settle('commit'), before - 1)
  })

  test('it goes when queues are tidied, once a second, without being asked', async () => {
    const { queues, publish } = await fanout({}, {})
    await forgetAll()
    const before = await sharedBodies()
    await publish(...Array(300).fill({ body: large }))
    for (const queue of queues) await on(pool, queue).purge()
    const session = await db.connect()
    const other = await newQueue(pool)

    for (let second = 100; second < 110; second++) await on(session, other).send(1, { now: at(second) })

    assert.equal(await sharedBodies(), before)
  })

  test('it goes in maintenance', async () => {
    const { queues, publish } = await fanout({}, {})
    await forgetAll()
    const before = await sharedBodies()
    await publish({ body: large })
    for (const queue of queues) await on(pool, queue).purge()

    for (let more = true; more; )
      more = only(await call<{ more: boolean }>(pool, 'maintain', { max_messages: 100 })).more
    await call(pool, 'maintain', {})

    assert.equal(await sharedBodies(), before)
  })
})

test('a copy that becomes a dead letter, or is redriven, takes its body along', async () => {
  const target = await newQueue(pool)
  const { queues, publish } = await fanout({ dead_letter_queue: target }, {})
  const [queue = '', other = ''] = queues
  await forgetAll()
  const before = await sharedBodies()
  await publish({ body: large })

  await on(pool, queue).nack(receipts(await on(pool, queue).receive()), { dead_letter: true })
  await on(pool, other).purge()
  await forgetAll()

  assert.equal(await sharedBodies(), before)
  assert.equal(JSON.parse(only(await on(pool, target).peek()).body), large)
  await on(pool, target).redrive()
  assert.equal(JSON.parse(only(await on(pool, queue).peek()).body), large)
})

test('a dead letter that goes by an exchange to several queues has its body stored once, and keeps it in each', async () => {
  const exchange = await newExchange(pool, 'fanout')
  const targets = [await newQueue(pool), await newQueue(pool), await newQueue(pool)]
  for (const queue of targets) await bind(pool, exchange, { queue })
  const { queues, publish } = await fanout({ dead_letter_exchange: exchange }, {})
  const [queue = ''] = queues
  await publish({ body: large })
  await on(pool, queue).send(large)
  await on(pool, queue).send('small')
  await forgetAll()
  const before = await sharedBodies()

  await on(pool, queue).nack(receipts(await on(pool, queue).receive(3)), { dead_letter: true })

  assert.equal((await sharedBodies()) - before, 2)
  await on(pool, targets[0] ?? '').purge()
  await forgetAll()
  for (const target of targets.slice(1)) {
    const found = (await on(pool, target).peek(9)).map(({ body }) => JSON.parse(body).length)
    assert.deepEqual(
      found.sort((a, b) => a - b),
      [5, large.length, large.length],
    )
    await on(pool, target).purge()
  }
  await forgetAll()
  // (That of the other queue that was published to is still there.)
  assert.equal(await sharedBodies(), before)
})

test('one that stays as dead, and is redriven, too', async () => {
  const { queues, publish } = await fanout({}, {})
  const [queue = '', other = ''] = queues
  await publish({ body: large })
  await on(pool, queue).nack(receipts(await on(pool, queue).receive()), { dead_letter: true })
  await on(pool, other).purge()
  await forgetAll()

  await on(pool, queue).redrive()
  await forgetAll()

  assert.equal(JSON.parse(only(await on(pool, queue).receive()).body), large)
})

test('whatever is published, acked, rejected, redriven, purged and forgotten at random: every message has its body, and none is left over', async () => {
  const dead = await newQueue(pool)
  const { queues, publish } = await fanout({}, { dead_letter_queue: dead }, {})
  const all = [...queues, dead]
  await forgetAll()
  const before = await sharedBodies()
  const step = fc.tuple(
    fc.constantFrom('publish', 'ack', 'reject', 'redrive', 'purge', 'forget', 'forget some'),
    fc.nat(all.length - 1),
    fc.integer({ min: 1, max: 3 }),
    fc.boolean(),
  )
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      let published = 0
      runs++
      for (const [what, which, count, hasIds] of steps) {
        const verbs = on(pool, all[which] ?? '')
        if (what === 'publish') {
          await publish(
            ...Array.from({ length: count }, () => {
              const message = { body: `${++published} ${large}`, type: `${published}` }
              return hasIds ? { ...message, dedupId: `${runs}-${published - (published % 2)}` } : message
            }),
          )
        } else if (what === 'ack' || what === 'reject') {
          const given = receipts(await verbs.receive(count))
          if (given.length > 0) await (what === 'ack' ? verbs.ack(...given) : verbs.nack(given, { dead_letter: true }))
        } else if (what === 'redrive') await verbs.redrive()
        else if (what === 'purge') await verbs.purge()
        else await call(pool, 'forget_bodies', { most: what === 'forget' ? 100 : count })
        for (const queue of all) {
          for (const { body, type } of await on(pool, queue).peek(1000))
            assert.equal(JSON.parse(body).split(' ')[0], type)
        }
      }
      for (const queue of all) await on(pool, queue).purge()
      await forgetAll()
      assert.equal(await sharedBodies(), before)
    }),
    { numRuns: 15 },
  )
})

test('whether a body is needed is asked of its copies by their ids, whatever else there is', async () => {
  const { publish } = await fanout({}, {})
  await publish(...Array(50).fill({ body: large }))

  const session = await db.connect()
  const forgotten = await planNodes(session, () => session.query('select postbag.forget_bodies(100)'))

  assert.deepEqual(
    [readsOf('message', forgotten), readsOf('body', forgotten)],
    [['Index Scan message_pkey'], ['Index Only Scan body_pkey', 'Index Scan body_pkey']],
  )
})
