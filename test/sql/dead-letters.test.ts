/* Dead letters: where a message goes that failed, was rejected, expired or had no room, and what is known of it afterwards. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, call, newQueue, on, only, type QueueConfig, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const reasons = ['attempts', 'rejected', 'expired', 'overflow'] as const

/** A message of this queue dies for a reason at at(100), from a queue that was made for it; its id. */
async function die(
  reason: (typeof reasons)[number],
  queue: string,
  config: QueueConfig,
  then?: string,
): Promise<string> {
  const own = { max_attempts: 1, max_messages: 1, overflow: 'drop-oldest', lease: '100 s' }
  await call(pool, 'create_queue', { queue, ...own, ...config })
  if (then) await pool.query(then)
  const session = on(await db.connect(), queue)
  const id = await session.send('dies', { type: 't', ttl: '100 s', now: at(0) })
  if (reason === 'attempts') await session.receive(1, { lease: '50 s', now: at(10) })
  if (reason === 'rejected')
    await session.nack(receipts(await session.receive(1, { now: at(10) })), {
      dead_letter: true,
      error: 'no',
      now: at(100),
    })
  if (reason === 'overflow') await session.send('fills', { now: at(99.999) })
  else await on(await db.connect(), queue).receive(1, { now: at(100) })
  return id
}

const attempts = { attempts: 1, rejected: 1, expired: 0, overflow: 0 }

for (const reason of reasons) {
  const death = {
    reason,
    attempts: attempts[reason],
    at: at(reason === 'overflow' ? 99.999 : 100).toISOString(),
    ...(reason === 'rejected' ? { error: 'no' } : {}),
  }

  test(`without a dead-letter queue, a message with reason ${reason} ${attempts[reason] ? 'stays as dead' : 'is deleted'}`, async () => {
    const queue = await newQueue(pool)
    const id = await die(reason, queue, {})

    if (attempts[reason] === 0) return void (await assert.rejects(on(pool, queue).get(id, at(100)), { code: 'PB005' }))
    const dead = await on(pool, queue).get(id, at(100))
    assert.deepEqual([dead.state, dead.dead_reason, dead.deaths], ['dead', reason, [{ queue, ...death }]])
    assert.deepEqual(dead.expires_at, at(100 + 14 * 86_400))
  })

  test(`in a queue that is its own dead-letter queue, a message with reason ${reason} stays as dead`, async () => {
    const queue = await newQueue(pool)
    const id = await die(reason, queue, { dead_letter_queue: queue, dead_letter_retention: '1 h' })

    const dead = await on(pool, queue).get(id, at(100))
    assert.deepEqual([dead.state, dead.type, dead.deaths], ['dead', 't', [{ queue, ...death }]])
    assert.deepEqual(dead.expires_at?.getTime(), new Date(death.at).getTime() + 3_600_000)
    assert.deepEqual(bodies(await on(await db.connect(), queue).receive(9, { now: at(1000) })).includes('dies'), false)
  })

  test(`another queue as dead-letter queue gets a message with reason ${reason}, ready to be received`, async () => {
    const [queue, target] = [await newQueue(pool), await newQueue(pool, { ttl: '1 h', delay: '1 h' })]
    const id = await die(reason, queue, { dead_letter_queue: target })

    await assert.rejects(on(pool, queue).get(id, at(100)), { code: 'PB005' })
    const moved = await on(pool, target).get(id, at(100))
    assert.deepEqual([moved.state, moved.attempts, moved.sent_at, moved.type], ['ready', 0, at(0), 't'])
    assert.deepEqual([moved.deaths, moved.dead_reason], [[{ queue, ...death }], reason])
    assert.deepEqual(moved.expires_at?.getTime(), new Date(death.at).getTime() + 3_600_000)
    const received = only(await on(await db.connect(), target).receive(9, { now: at(200) }))
    assert.deepEqual([received.id, received.attempts, received.deaths], [id, 1, moved.deaths])
  })

  test(`if its dead-letter queue is gone by then, a message with reason ${reason} stays as dead`, async () => {
    const [queue, target] = [await newQueue(pool), await newQueue(pool)]
    await on(pool, target).delete()

    const id = await die(
      reason,
      queue,
      {},
      `update postbag.queue set dead_letter_queue = '${target}' where name = '${queue}'`,
    )

    const dead = await on(pool, queue).get(id, at(100))
    assert.deepEqual([dead.state, dead.deaths], ['dead', [{ queue, ...death }]])
  })
}

test('a dead letter takes the highest priority that its queue knows, and keeps its last error', async () => {
  const target = await newQueue(pool, { max_priority: 3 })
  const queue = on(pool, await newQueue(pool, { max_priority: 9, dead_letter_queue: target }))
  const [high, low] = [await queue.send('high', { priority: 8 }), await queue.send('low', { priority: 2 })]

  await queue.nack(receipts(await queue.receive(2)), { dead_letter: true, error: 'x'.repeat(5000) })

  const moved = [await on(pool, target).get(high), await on(pool, target).get(low)]
  assert.deepEqual(
    moved.map((message) => message.priority),
    [3, 2],
  )
  assert.deepEqual(moved[0]?.last_error, 'x'.repeat(4000))
  assert.deepEqual(bodies(await on(await db.connect(), target).receive(2)), ['high', 'low'])
})

test('a message keeps the history of its last ten deaths, oldest first', async () => {
  const queue = await newQueue(pool)
  await call(pool, 'create_queue', { queue, dead_letter_queue: queue })
  const session = on(await db.connect(), queue)
  const id = await session.send('dies often', { now: at(0) })

  for (let moment = 1; moment <= 12; moment++) {
    const given = receipts(await session.receive(1, { now: at(moment) }))
    await session.nack(given, { dead_letter: true, error: `e${moment}`, now: at(moment) })
    await session.redrive({ now: at(moment) })
  }

  const { deaths } = await session.get(id, at(13))
  assert.deepEqual(
    deaths?.map((death) => death.error),
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map((moment) => `e${moment}`),
  )
  assert.deepEqual(only(await session.receive(1, { now: at(13) })).deaths, deaths)
})

test('a dead letter that dies in its dead-letter queue goes on from there, with both deaths known', async () => {
  const last = await newQueue(pool)
  const middle = await newQueue(pool, { dead_letter_queue: last })
  const first = await newQueue(pool, { dead_letter_queue: middle })
  const id = await on(pool, first).send('unlucky')
  for (const queue of [first, middle])
    await on(pool, queue).nack(receipts(await on(await db.connect(), queue).receive()), { dead_letter: true })

  const { deaths, state } = await on(pool, last).get(id)

  assert.deepEqual([deaths?.map((death) => death.queue), state], [[first, middle], 'ready'])
})

test('a grouped dead letter that waits for its turn is blocked, and one that is out is leased', async () => {
  const target = await newQueue(pool)
  const queue = on(pool, await newQueue(pool, { dead_letter_queue: target }))
  await queue.sendBatch(
    [1, 2, 3].map((body) => ({ body, group: 'g' })),
    { now: at(0) },
  )
  await queue.nack(receipts(await queue.receive(3, { now: at(0) })), { dead_letter: true, now: at(1) })
  const states = async () => (await on(pool, target).peek(9, { now: at(2) })).map((message) => message.state)

  const waiting = await states()
  const stats = await on(pool, target).stats(at(2))
  await on(await db.connect(), target).receive(2, { now: at(2) })

  assert.deepEqual(
    [waiting, await states()],
    [
      ['ready', 'blocked', 'blocked'],
      ['leased', 'leased', 'blocked'],
    ],
  )
  assert.deepEqual([stats.ready, stats.blocked, stats.dead], ['1', '2', '0'])
})

test('a receipt of a message that is dead by now is of no use', async () => {
  const queue = on(pool, await newQueue(pool, { max_attempts: 1 }))
  const moving = on(pool, await newQueue(pool, { max_attempts: 1, dead_letter_queue: await newQueue(pool) }))
  for (const [verbs, outcome] of [
    [queue, 'lease_lost'],
    [moving, 'message_gone'],
  ] as const) {
    await verbs.send(1)
    const given = receipts(await verbs.receive())
    assert.deepEqual(await verbs.nack([...given, ...given]), ['ok', outcome])

    assert.deepEqual([await verbs.ack(...given), await verbs.extend(given)], [[outcome], [outcome]])
  }
})

for (const [what, config, message] of [
  [
    'that is not there',
    { dead_letter_queue: 'nowhere' },
    /^deadLetterQueue must be a queue that exists .*, got 'nowhere'$/,
  ],
  [
    'that is volatile',
    { dead_letter_queue: 'volatile' },
    /^deadLetterQueue must be durable .* and "volatile" is volatile$/,
  ],
  ['that is durable, for a volatile one', { dead_letter_queue: 'durable', durability: 'volatile' }, /must be volatile/],
] as const) {
  test(`a dead-letter queue ${what} is refused`, async () => {
    await call(pool, 'create_queue', { queue: 'volatile', durability: 'volatile' })
    await call(pool, 'create_queue', { queue: 'durable' })

    await assert.rejects(call(pool, 'create_queue', { queue: `refused`, ...config }), { code: 'PB002', message })
  })
}
