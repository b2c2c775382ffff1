/* Limits on handing out: how many messages are in flight, and how many go out per second. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, backendOf, bodies, call, newQueue, on, receipts, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const many = Array.from({ length: 200 }, (_, body) => ({ body }))

/** A queue with 200 messages; a session on it. */
async function filled(config: object) {
  const queue = await newQueue(pool, config)
  await on(pool, queue).sendBatch(many, { now: at(0) })
  return { queue, session: on(await db.connect(), queue) }
}

test('no more messages are in flight than a queue allows; each that is settled makes room', async () => {
  const { session } = await filled({ max_in_flight: 3, lease: '1 h' })
  const counts: number[] = []
  const receive = async (max: number) => {
    const got = await session.receive(max, { now: at(1) })
    counts.push(got.length)
    return receipts(got)
  }

  const [acked, nacked, buried] = [...(await receive(2)), ...(await receive(9))]
  await receive(9)
  await session.ackWith([acked], { now: at(1) })
  await receive(9)
  await session.nack([nacked], { delay: '1 h', now: at(1) })
  await receive(9)
  await session.nack([buried], { dead_letter: true, now: at(1) })
  await receive(9)
  await receive(9)

  assert.deepEqual(counts, [2, 1, 0, 1, 1, 1, 0])
})

test('a lease that ends makes room, and an extended one does not', async () => {
  const { session } = await filled({ max_in_flight: 2, lease: '10 s' })
  const [extended] = receipts(await session.receive(9, { now: at(0) }))
  await session.extend([extended], { lease: '100 s', now: at(5) })

  const before = await session.receive(9, { now: at(9.999) })
  const after = await session.receive(9, { now: at(10) })

  assert.deepEqual([before.length, after.length], [0, 1])
})

test('ten sessions that receive and ack at once never have more in flight than a queue allows', async () => {
  const { queue } = await filled({ max_in_flight: 5, lease: '1 h' })
  const observer = await db.connect()
  let working = true
  const observing = (async () => {
    let most = 0
    while (working) {
      const { rows } = await observer.query(
        `select count(*)::integer as number from postbag.message
        where leased_until is not null and queue_id = (select queue_id from postbag.queue where name = $1)`,
        [queue],
      )
      most = Math.max(most, rows[0].number)
    }
    return most
  })()

  let acked = 0
  await Promise.all(
    Array.from({ length: 10 }, async () => {
      const session = on(await db.connect(), queue)
      while (acked < many.length) {
        const given = receipts(await session.receive(3, { now: at(0.5) }))
        if (given.length === 0) continue
        const outcomes = await session.ackWith(given, { now: at(0.5) })
        acked += outcomes.length
      }
    }),
  )
  working = false

  const most = await observing
  assert.ok(most >= 2 && most <= 5, `${most} in flight`)
  assert.equal(acked, many.length)
})

for (const config of [{ max_in_flight: 5 }, { rate: 5, burst: 5 }]) {
  test(`with ${JSON.stringify(config)}, receives of open transactions take turns, and together stay within it`, async () => {
    const { queue } = await filled({ lease: '1 h', ...config })
    const [first, second] = [await db.connect(), await db.connect()]
    await first.query('begin')
    assert.equal((await on(first, queue).receive(4, { now: at(0) })).length, 4)
    const backend = await backendOf(second)

    const waiting = on(second, queue).receive(4, { now: at(0) })
    await waitsForLock(pool, backend)
    await first.query('commit')

    assert.equal((await waiting).length, 1)
  })

  test(`with ${JSON.stringify(config)}, a receive that is rolled back has used nothing up`, async () => {
    const { queue } = await filled({ lease: '1 h', ...config })
    const session = await db.connect()
    await session.query('begin')
    await on(session, queue).receive(5, { now: at(0) })
    await session.query('rollback')

    assert.equal((await on(session, queue).receive(9, { now: at(0) })).length, 5)
  })
}

test('receives of a fair queue with a rate per group take turns, and hand out no more of a group than it allows', async () => {
  const queue = await newQueue(pool, { lease: '1 h', group_mode: 'fair', group_rate: 1 })
  await on(pool, queue).sendBatch(
    ['a', 'b', 'b', 'a'].map((group) => ({ body: group, group, delaySeconds: 1 })),
    { now: at(0) },
  )
  const [first, second] = [await db.connect(), await db.connect()]
  await first.query('begin')
  assert.equal((await on(first, queue).receive(1, { now: at(2) })).length, 1)
  const backend = await backendOf(second)

  const waiting = on(second, queue).receive(4, { now: at(2) })
  await waitsForLock(pool, backend)
  await first.query('commit')

  assert.deepEqual(
    (await waiting).map(({ body }) => body),
    ['"b"'],
  )
})

const rates: [config: object, received: [moment: number, number: number][]][] = [
  [
    { rate: 10 },
    [
      [0, 10],
      [0, 0],
      [0.05, 0],
      [0.1, 1],
      [0.35, 2],
      [1.35, 10],
      [100, 10],
    ],
  ],
  [
    { rate: 10, burst: 1 },
    [
      [0, 1],
      [0.099, 0],
      [0.1, 1],
      [5, 1],
      [5, 0],
    ],
  ],
  [
    { rate: 1, burst: 20 },
    [
      [0, 20],
      [0.999, 0],
      [1, 1],
      [3, 2],
      [1000, 20],
    ],
  ],
  [
    { rate: 0.5 },
    [
      [0, 1],
      [1.999, 0],
      [2, 1],
      [4, 1],
    ],
  ],
  [
    { rate: 0.001 },
    [
      [0, 1],
      [999, 0],
      [1000, 1],
    ],
  ],
  [
    { rate: 2.5 },
    [
      [0, 3],
      [0.4, 1],
      [0.8, 1],
      [1.2, 1],
    ],
  ],
  [
    { rate: 1_000_000, burst: 1_000_000 },
    [
      [0, 50],
      [0, 50],
    ],
  ],
]

for (const [config, expected] of rates) {
  test(`with ${JSON.stringify(config)} are received ${expected.map(([moment, number]) => `${number} at ${moment} s`).join(', ')}`, async () => {
    const { session } = await filled(config)

    const received = []
    for (const [moment] of expected)
      received.push([moment, (await session.receive(50, { lease: '12 h', now: at(moment) })).length])

    assert.deepEqual(received, expected)
  })
}

test('a group that has used up its rate is not handed out because an older message is out of the claim’s sight', async () => {
  const queue = await newQueue(pool, { group_rate: 1, group_burst: 1 })
  const session = await db.connect()
  const verbs = on(session, queue)
  await verbs.sendBatch([{ body: 'a1', group: 'a' }], { now: at(0) })
  await verbs.receive(1, { lease: '1.1 s', now: at(0) })
  await verbs.sendBatch(
    [1, 2].map((n) => ({ body: `b${n}`, group: 'b' })),
    { now: at(1) },
  )
  const first = await verbs.receive(1, { now: at(1) })
  assert.deepEqual(bodies(first), ['b1'])
  await verbs.ackWith(receipts(first), { now: at(1.05) })
  // The session's look back is not due yet, as where it takes long.
  await session.query(
    `select set_config('postbag.look_' || queue_id % 256, concat_ws(':', queue_id, due.us, due.us, 2000, 1000000, due.us), false)
    from postbag.queue, (select postbag.microseconds($2) as us) as due where name = $1`,
    [queue, at(2)],
  )

  assert.deepEqual(bodies(await verbs.receive(1, { now: at(1.2) })), [])
  assert.deepEqual(bodies(await verbs.receive(9, { now: at(70) })).sort(), ['a1', 'b2'])
})

test('a rate counts what is handed out, not what is asked for', async () => {
  const queue = await newQueue(pool, { rate: 1, burst: 5 })
  const session = on(await db.connect(), queue)
  await session.sendBatch(many.slice(0, 2), { now: at(0) })

  const first = await session.receive(5, { now: at(0) })
  await session.sendBatch(many.slice(0, 9), { now: at(0.5) })
  const second = await session.receive(9, { now: at(0.5) })

  assert.deepEqual([first.length, second.length], [2, 3])
})

test('ten sessions at once receive no more than the rate and its burst', async () => {
  const { queue } = await filled({ rate: 10, burst: 20, lease: '1 h' })
  const sessions = await Promise.all(Array.from({ length: 10 }, () => db.connect()))

  const received = await Promise.all(
    sessions.map(async (session) => {
      let mine = 0
      for (const moment of [0, 0.5, 1]) {
        const got = await on(session, queue).receive(7, { now: at(moment) })
        mine += got.length
      }
      return mine
    }),
  )

  const total = received.reduce((sum, number) => sum + number, 0)
  assert.ok(total >= 20 && total <= 30, `${total} messages`)
})

test('both limits hold together, and every priority under them', async () => {
  const queue = await newQueue(pool, { rate: 10, max_in_flight: 4, max_priority: 2, lease: '1 h' })
  const session = on(await db.connect(), queue)
  await session.sendBatch(
    many.slice(0, 20).map(({ body }) => ({ body, priority: body % 3 })),
    { now: at(0) },
  )

  const first = await session.receive(9, { now: at(0) })
  await session.ackWith(receipts(first), { now: at(0) })
  const second = await session.receive(9, { now: at(0) })
  await session.ackWith(receipts(second), { now: at(0) })
  const third = await session.receive(9, { now: at(0) })

  assert.deepEqual([first.length, second.length, third.length], [4, 4, 2])
  assert.deepEqual(new Set(first.map((message) => message.priority)), new Set([2]))
})

test('a limit that is set, changed or taken away holds from the next receive on', async () => {
  const { queue, session } = await filled({ max_in_flight: 2, lease: '1 h' })
  const counts = [(await session.receive(9, { now: at(0) })).length]

  for (const config of [{ max_in_flight: 5 }, { max_in_flight: 3 }, { rate: 1 }, {}]) {
    await call(pool, 'create_queue', { queue, lease: '1 h', ...config })
    counts.push((await session.receive(9, { now: at(0) })).length)
  }

  assert.deepEqual(counts, [2, 3, 0, 1, 9])
})
