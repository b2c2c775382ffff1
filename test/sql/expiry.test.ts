/* Times: when a message becomes available, and when it is worth nothing any more. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, call, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const year = 31_536_000

const expiries: [what: string, queue: object, message: object, expires: Date | null][] = [
  ['no time to live', {}, {}, null],
  ['its queue’s', { ttl: '60 s' }, {}, at(60)],
  ['its own', {}, { ttlSeconds: 0.001 }, at(0.001)],
  ['its own, though its queue’s is shorter', { ttl: '60 s' }, { ttlSeconds: 90 }, at(90)],
  ['its own, though its queue’s is longer', { ttl: '60 s' }, { ttlSeconds: 30 }, at(30)],
  ['its queue’s, counted from when it becomes available', { ttl: '60 s' }, { delaySeconds: 10 }, at(70)],
  ['its queue’s, counted from its queue’s delay', { ttl: '60 s', delay: '5 s' }, {}, at(65)],
  ['its own, counted from its time', {}, { ttlSeconds: 1, availableAt: at(100) }, at(101)],
  ['its own, of a year', {}, { ttlSeconds: year }, at(year)],
  ['its queue’s, because its own is null', { ttl: '60 s' }, { ttlSeconds: null }, at(60)],
]

for (const [what, config, message, expires] of expiries) {
  test(`a message has ${what}`, async () => {
    const queue = on(pool, await newQueue(pool, config))

    const { id } = only(await queue.sendBatch([{ body: 1, ...message }], { now: at(0) }))

    assert.deepEqual((await queue.get(id, at(0))).expires_at, expires)
  })
}

for (const [message, problem] of [
  [{ ttlSeconds: 0 }, 'ttlSeconds must be between 0.001 and 31536000, got 0'],
  [{ ttlSeconds: year + 0.001 }, 'ttlSeconds must be between 0.001 and 31536000, got 31536000.001'],
  [{ ttlSeconds: -1 }, 'ttlSeconds must be between 0.001 and 31536000, got -1'],
  [{ availableAt: at(year + 1) }, /^availableAt must be at most a year ahead, got 2031-01-01/],
  [{ availableAt: 'infinity' }, 'availableAt must be at most a year ahead, got infinity'],
  [{ availableAt: at(5), delaySeconds: 5 }, 'delaySeconds and availableAt exclude each other, got both'],
] as const) {
  test(`a send with ${JSON.stringify(message)} is refused`, async () => {
    const queue = on(pool, await newQueue(pool, { ttl: '1 h' }))

    await assert.rejects(queue.sendBatch([{ body: 1, ...message }], { now: at(0) }), {
      code: 'PB002',
      message: problem,
    })
  })
}

test('a message is available from the time that its sender names, whatever the queue’s delay', async () => {
  const queue = await newQueue(pool, { delay: '1 h' })
  const session = on(await db.connect(), queue)
  await session.send('named', { available_at: at(10), now: at(0) })
  await session.send('past', { available_at: at(-500), now: at(0) })
  await session.send('in a year', { available_at: at(year), now: at(0) })

  const received = []
  for (const moment of [0, 9.999, 10, year]) received.push(await session.receive(9, { now: at(moment) }))

  assert.deepEqual(received.map(bodies), [['past'], [], ['named'], ['past', 'named', 'in a year']])
  assert.deepEqual(only((received[2] ?? []).map((message) => message.sent_at)), at(0))
})

test('an expired message is never handed out, even before it is removed', async () => {
  const queue = await newQueue(pool, { ttl: '10 s' })
  const session = on(await db.connect(), queue)
  await session.send('old', { now: at(0) })
  await session.send('new', { now: at(9.2) })

  // This session tidied up when it sent; within that second it does not again.
  const received = await session.receive(9, { now: at(10) })

  assert.deepEqual(bodies(received), ['new'])
  assert.deepEqual(only(received).expires_at, at(19.2))
})

test('a leased message may be settled after its time to live has ended', async () => {
  const queue = await newQueue(pool, { ttl: '10 s', lease: '1 h' })
  const session = on(await db.connect(), queue)
  for (const body of ['acked', 'extended', 'nacked']) await session.send(body, { now: at(0) })
  const [acked, extended, nacked] = receipts(await session.receive(3, { now: at(9) }))

  await on(await db.connect(), queue).receive(1, { now: at(20) })

  assert.deepEqual(await session.ackWith([acked], { now: at(20) }), ['ok'])
  assert.deepEqual(await session.extend([extended], { lease: '2 h', now: at(20) }), ['ok'])
  assert.deepEqual(await session.nack([nacked], { now: at(20) }), ['ok'])
  assert.deepEqual(
    (await session.peek(9, { now: at(20) })).map((message) => [message.body, message.state]),
    [['"extended"', 'leased']],
  )
  assert.deepEqual(await on(await db.connect(), queue).receive(9, { now: at(20) }), [])
})

test('a time to live that ends with the lease counts like any other', async () => {
  const queue = await newQueue(pool, { ttl: '60 s', lease: '30 s' })
  const session = on(await db.connect(), queue)
  const [nacked, extended] = [await session.send(1, { now: at(0) }), await session.send(2, { now: at(0) })]
  const [first, second] = receipts(await session.receive(2, { now: at(30) }))

  await session.nack([first], { now: at(31) })
  await session.extend([second], { lease: '1 h', now: at(31) })

  assert.deepEqual((await session.get(nacked, at(31))).expires_at, at(60))
  assert.deepEqual((await session.get(extended, at(31))).expires_at, at(60))
})

for (const group of [undefined, 'g']) {
  test(`a last attempt that is given back untried keeps the time to live${group ? ', and so do those behind it' : ''}`, async () => {
    const queue = await newQueue(pool, { ttl: '60 s', lease: '30 s', max_attempts: 1 })
    const session = on(await db.connect(), queue)
    await session.sendBatch(
      [1, 2].map((body) => ({ body, ...(group && { group }) })),
      { now: at(0) },
    )
    const given = receipts(await session.receive(2, { now: at(10) }))

    await session.nack(group ? given.slice(0, 1) : given, { untried: true, now: at(11) })

    const found = await session.peek(9, { now: at(12) })
    assert.deepEqual(
      found.map(({ attempts, expires_at }) => [attempts, expires_at]),
      [1, 2].map(() => [0, at(60)]),
    )
    assert.deepEqual(await session.receive(9, { now: at(61) }), [])
  })
}

test('sends and receives remove what has expired, up to a thousand at a time', async () => {
  const queue = await newQueue(pool, { ttl: '1 s' })
  const verbs = on(pool, queue)
  for (const _ of [1, 2, 3]) await verbs.sendBatch(Array(900).fill({ body: 'old' }), { now: at(0) })
  const left = async () =>
    Number(
      (
        await pool.query(
          `select count(*) from postbag.message
    where queue_id = (select queue_id from postbag.queue where name = $1)`,
          [queue],
        )
      ).rows[0].count,
    )

  await on(await db.connect(), queue).send('new', { ttl: '1 h', now: at(100) })
  const afterSend = await left()
  const received = await on(await db.connect(), queue).receive(9, { now: at(100) })
  const afterReceive = await left()
  await on(await db.connect(), queue).receive(9, { now: at(100) })

  assert.deepEqual([afterSend, afterReceive, await left()], [1701, 701, 1])
  assert.deepEqual(bodies(received), ['new'])
})

test('a removal leaves what another transaction is settling', async () => {
  const queue = await newQueue(pool, { ttl: '10 s' })
  const [owner, other] = [await db.connect(), await db.connect()]
  await on(owner, queue).send('done', { now: at(0) })
  const given = receipts(await on(owner, queue).receive(1, { lease: '1 s', now: at(5) }))
  await owner.query('begin')
  await on(owner, queue).ackWith(given, { now: at(20) })

  await other.query(`set lock_timeout = '2s'`)
  assert.deepEqual(await on(other, queue).receive(9, { now: at(20) }), [])
  await owner.query('rollback')

  assert.deepEqual(await on(owner, queue).ackWith(given, { now: at(20) }), ['ok'])
})

for (const verb of ['send', 'receive'] as const) {
  test(`a ${verb} in a repeatable read transaction does not fail over what others have removed meanwhile`, async () => {
    const queue = await newQueue(pool)
    const [session, other] = [await db.connect(), await db.connect()]
    await on(pool, queue).sendBatch(Array(5).fill({ body: 'old', ttlSeconds: 1 }), { now: at(0) })
    await session.query('begin isolation level repeatable read; select 1')
    await on(other, queue).receive(9, { now: at(100) })

    if (verb === 'send') await on(session, queue).send('new', { now: at(100) })
    else assert.deepEqual(await on(session, queue).receive(9, { now: at(100) }), [])

    await session.query('commit')
  })
}

test('an expired message is not to be seen, though it has not been removed yet', async () => {
  const queue = on(pool, await newQueue(pool, { ttl: '10 s' }))
  const id = await queue.send('old', { now: at(0) })
  const shown = async (moment: number) => [
    await queue.peek(9, { now: at(moment) }),
    await queue.search(9, { now: at(moment) }),
  ]

  assert.deepEqual(
    (await shown(9.999)).map((page) => page.length),
    [1, 1],
  )
  assert.deepEqual(await shown(10), [[], []])
  await assert.rejects(queue.get(id, at(10)), { code: 'PB005', message: /has no message .* \(any more\)$/ })
  const { ready, delayed, dead, bytes } = await queue.stats(at(10))
  assert.deepEqual([ready, delayed, dead, bytes], ['0', '0', '0', '0'])
})

test('a replaced time to live holds for messages sent from then on', async () => {
  const queue = await newQueue(pool, { ttl: '10 s' })
  const first = await on(pool, queue).send(1, { now: at(0) })

  await call(pool, 'create_queue', { queue })
  const second = await on(pool, queue).send(2, { now: at(0) })

  assert.deepEqual((await on(pool, queue).get(first, at(0))).expires_at, at(10))
  assert.equal((await on(pool, queue).get(second, at(0))).expires_at, null)
})
