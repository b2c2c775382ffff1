/* Settling: ack, nack and extend, each outcome of their contracts, and two of them at once on the same messages. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, backendOf, bodies, call, newQueue, on, only, receipts, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
type Verb = 'ack' | 'nack' | 'extend'
const verbs = ['ack', 'nack', 'extend'] as const

/** A queue with so many messages, leased from at(0) to at(100); their receipts. */
async function leasedQueue(size: number): Promise<[queue: string, first: string, ...more: string[]]> {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch(
    Array.from({ length: size }, (_, body) => ({ body })),
    { now: at(0) },
  )
  const [first = '', ...more] = receipts(await on(pool, queue).receive(size, { lease: '100 s', now: at(0) }))
  return [queue, first, ...more]
}

function settle(
  verb: Verb,
  queue: string,
  given: readonly unknown[],
  now = at(50),
  session: Parameters<typeof on>[0] = pool,
) {
  const mine = on(session, queue)
  return verb === 'ack' ? mine.ack(...given) : verb === 'nack' ? mine.nack(given, { now }) : mine.extend(given, { now })
}

test('an acked message is gone', async () => {
  const [queue, receipt] = await leasedQueue(1)

  assert.deepEqual(await on(pool, queue).ack(receipt), ['ok'])

  assert.deepEqual(await on(pool, queue).peek(), [])
})

test('a nacked message is available again at once, with the attempt counted', async () => {
  const [queue, receipt] = await leasedQueue(1)

  assert.deepEqual(await on(pool, queue).nack([receipt], { now: at(50) }), ['ok'])

  const again = only(await on(pool, queue).receive(1, { now: at(50) }))
  assert.deepEqual([again.attempts, again.first_received_at], [2, at(0)])
})

test('a nack with a delay keeps the message back that long, and null means no delay', async () => {
  const [queue, one, two] = await leasedQueue(2)

  await on(pool, queue).nack([one], { delay: '31536000 s', now: at(50) })
  await on(pool, queue).nack([two], { delay: null, now: at(50) })

  const [delayed, ready] = await on(pool, queue).peek(2, { now: at(50) })
  assert.deepEqual([delayed?.state, delayed?.available_at], ['delayed', at(50 + 31_536_000)])
  assert.deepEqual([ready?.state, ready?.available_at], ['ready', at(50)])
})

test('a nack keeps the first 4000 characters of its error, and one without an error keeps the last', async () => {
  const [queue, receipt] = await leasedQueue(1)
  await on(pool, queue).nack([receipt], { error: `é${'x'.repeat(4999)}`, now: at(50) })
  const again = receipts(await on(pool, queue).receive(1, { now: at(60) }))

  await on(pool, queue).nack(again, { now: at(61) })

  assert.equal(only(await on(pool, queue).peek()).last_error, `é${'x'.repeat(3999)}`)
})

test('an extended lease lasts from now on, as long as the queue or the call says, and the receipt stays good', async () => {
  const [queue, one, two] = await leasedQueue(2)

  assert.deepEqual(await on(pool, queue).extend([one], { now: at(50) }), ['ok'])
  assert.deepEqual(await on(pool, queue).extend([two], { lease: '500 s', now: at(50) }), ['ok'])

  assert.deepEqual(
    (await on(pool, queue).peek()).map((message) => message.leased_until),
    [at(80), at(550)],
  )
  assert.deepEqual(bodies(await on(pool, queue).receive(2, { now: at(549) })), [0])
  assert.deepEqual(await on(pool, queue).ack(two), ['ok'])
})

test('an extension to 0 s ends the lease', async () => {
  const [queue, receipt] = await leasedQueue(1)

  await on(pool, queue).extend([receipt], { lease: '0 s', now: at(50) })

  assert.equal((await on(pool, queue).receive(1, { now: at(50) })).length, 1)
})

test('outcomes come in the order of the receipts, and every receipt has one', async () => {
  const [queue, a, b, c] = await leasedQueue(3)
  await on(pool, queue).ack(b)
  const given = [c, 'nonsense', b, a]

  const rows = await call(pool, 'ack', { queue, receipts: JSON.stringify(given) })

  assert.deepEqual(rows, [
    { receipt: c, outcome: 'ok' },
    { receipt: 'nonsense', outcome: 'receipt_invalid' },
    { receipt: b, outcome: 'message_gone' },
    { receipt: a, outcome: 'ok' },
  ])
})

for (const verb of verbs) {
  test(`${verb}: what is no receipt is receipt_invalid, and harms no other`, async () => {
    const [queue, receipt] = await leasedQueue(1)
    const spoilt = [
      `${receipt}.1`,
      `${receipt}99999999999`,
      ` ${receipt}`,
      `${receipt}\n`,
      `-${receipt}`,
      `${'9'.repeat(19)}${receipt}`,
    ]
    const nonsense = ['', 'x', '1', '1.', '1.1', '.1.1', null, {}, ...spoilt]

    const outcomes = await settle(verb, queue, [...nonsense, receipt])

    assert.deepEqual(outcomes, [...nonsense.map(() => 'receipt_invalid'), 'ok'])
  })

  test(`${verb}: a message that was acked before, is of another queue or never was is message_gone`, async () => {
    const [queue, acked] = await leasedQueue(1)
    const [other, foreign] = await leasedQueue(1)
    await on(pool, queue).ack(acked)

    assert.deepEqual(
      await settle(verb, queue, [acked, foreign, foreign.replace(/^\d+/, '999999999999999999')]),
      Array(3).fill('message_gone'),
    )

    assert.deepEqual(await on(pool, other).ack(foreign), ['ok'])
  })

  test(`${verb}: a receipt is fenced once the message was received again`, async () => {
    const [queue, old] = await leasedQueue(1)
    const [current] = receipts(await on(pool, queue).receive(1, { lease: '1 h', now: at(100) }))

    assert.deepEqual(await settle(verb, queue, [old], at(150)), ['lease_lost'])

    assert.equal(only(await on(pool, queue).peek(1, { now: at(150) })).leased_until?.getTime(), at(3700).getTime())
    assert.deepEqual(await on(pool, queue).ack(current), ['ok'])
  })

  test(`${verb}: a receipt from a receive that was undone is no good for the lease that came instead`, async () => {
    const queue = await newQueue(pool)
    await on(pool, queue).send(1, { now: at(0) })
    const session = await db.connect()
    await session.query('begin')
    const [undone] = receipts(await on(session, queue).receive(1, { lease: '100 s', now: at(0) }))
    await session.query('rollback')
    const [current] = receipts(await on(pool, queue).receive(1, { lease: '100 s', now: at(0) }))

    assert.deepEqual(await settle(verb, queue, [undone]), ['lease_lost'])

    assert.deepEqual(await on(pool, queue).ack(current), ['ok'])
  })

  test(`${verb}: a receipt is fenced once the message was given back`, async () => {
    const [queue, receipt] = await leasedQueue(1)
    await on(pool, queue).nack([receipt], { now: at(50) })

    assert.deepEqual(await settle(verb, queue, [receipt], at(60)), ['lease_lost'])
  })

  test(`${verb}: a lease that ended but passed to nobody`, async () => {
    const [queue, receipt] = await leasedQueue(1)

    assert.deepEqual(await settle(verb, queue, [receipt], at(100)), [verb === 'extend' ? 'lease_expired' : 'ok'])
  })

  test(`${verb}: a transaction that rolls back has changed nothing`, async () => {
    const [queue, receipt] = await leasedQueue(1)
    const session = await db.connect()
    const before = await on(pool, queue).peek(1, { now: at(0) })
    await session.query('begin')
    assert.deepEqual(await settle(verb, queue, [receipt], at(50), session), ['ok'])

    await session.query('rollback')

    assert.deepEqual(await on(pool, queue).peek(1, { now: at(0) }), before)
    assert.deepEqual(await on(pool, queue).ack(receipt), ['ok'])
  })

  test(`${verb}: 1000 receipts are settled at once, 1001 or none are refused`, async () => {
    const [queue, ...all] = await leasedQueue(1000)

    for (const [given, code] of [
      [[...all, 'more'], 'PB003'],
      [[], 'PB002'],
    ] as const) {
      await assert.rejects(settle(verb, queue, given), {
        code,
        message: /^receipts must be between 1 and 1000, got (1001|0)$/,
      })
    }

    assert.deepEqual(new Set(await settle(verb, queue, all)), new Set(['ok']))
  })

  test(`${verb}: receipts that are no list, or a queue that is not there, are refused`, async () => {
    const queue = await newQueue(pool)

    for (const given of ['{}', '"1.1"', null]) {
      await assert.rejects(call(pool, verb, { queue, receipts: given }), {
        code: 'PB002',
        message: /^receipts must be a JSON array/,
      })
    }
    await assert.rejects(call(pool, verb, { queue: 'nowhere', receipts: '["1.1"]' }), { code: 'PB001' })
  })
}

test('a receipt given twice in one call counts once', async () => {
  const [queue, a, b] = await leasedQueue(2)

  assert.deepEqual(await on(pool, queue).extend([a, a], { now: at(50) }), ['ok', 'ok'])
  assert.deepEqual((await on(pool, queue).nack([b, b], { now: at(50) })).sort(), ['lease_lost', 'ok'])
  assert.deepEqual((await on(pool, queue).ack(a, a)).sort(), ['message_gone', 'ok'])
})

for (const [verb, more, message] of [
  ['nack', { delay: '-1 ms' }, 'delaySeconds must be between 0 and 31536000, got -0.001'],
  ['nack', { delay: '31536001 s' }, 'delaySeconds must be between 0 and 31536000, got 31536001'],
  ['extend', { lease: '-1 ms' }, 'leaseSeconds must be between 0 and 43200, got -0.001'],
  ['extend', { lease: '43201 s' }, 'leaseSeconds must be between 0 and 43200, got 43201'],
] as const) {
  test(`${verb} with ${JSON.stringify(more)} is refused, and changes nothing`, async () => {
    const [queue, receipt] = await leasedQueue(1)

    await assert.rejects(call(pool, verb, { queue, receipts: JSON.stringify([receipt]), ...more }), {
      code: 'PB002',
      message,
    })

    assert.equal(only(await on(pool, queue).peek(1, { now: at(50) })).leased_until?.getTime(), at(100).getTime())
  })
}

for (const end of ['commit', 'rollback'] as const) {
  test(`an ack waits for an open transaction that extends the message, and succeeds after its ${end}`, async () => {
    const [queue, receipt] = await leasedQueue(1)
    const [extending, acking] = [await db.connect(), await db.connect()]
    const backend = await backendOf(acking)
    await extending.query('begin')
    await on(extending, queue).extend([receipt], { now: at(50) })

    const [outcome] = await Promise.all([
      on(acking, queue).ack(receipt),
      waitsForLock(pool, backend).then(() => extending.query(end)),
    ])

    assert.deepEqual(outcome, ['ok'])
  })
}

test('an extend that waited for an ack finds the message gone, and one that waited for a nack has lost it', async () => {
  for (const [verb, expected] of [
    ['ack', 'message_gone'],
    ['nack', 'lease_lost'],
  ] as const) {
    const [queue, receipt] = await leasedQueue(1)
    const [settling, extending] = [await db.connect(), await db.connect()]
    const backend = await backendOf(extending)
    await settling.query('begin')
    await settle(verb, queue, [receipt], at(50), settling)

    const [outcome] = await Promise.all([
      on(extending, queue).extend([receipt], { now: at(50) }),
      waitsForLock(pool, backend).then(() => settling.query('commit')),
    ])

    assert.deepEqual(outcome, [expected])
  }
})

test('an ack that waited for the next receive of its message has lost it', async () => {
  const [queue, receipt] = await leasedQueue(1)
  const [receiving, acking] = [await db.connect(), await db.connect()]
  const backend = await backendOf(acking)
  await receiving.query('begin')
  const [current] = receipts(await on(receiving, queue).receive(1, { now: at(200) }))

  const [outcome] = await Promise.all([
    on(acking, queue).ack(receipt),
    waitsForLock(pool, backend).then(() => receiving.query('commit')),
  ])

  assert.deepEqual(outcome, ['lease_lost'])
  assert.deepEqual(await on(pool, queue).ack(current), ['ok'])
})

test('two acks of the same receipts in opposite order do not deadlock, and each message is acked once', async () => {
  const [queue, ...all] = await leasedQueue(100)
  const [holder, up, down] = [await db.connect(), await db.connect(), await db.connect()]
  const backends = [await backendOf(up), await backendOf(down)] as const
  await holder.query('begin')
  await on(holder, queue).extend([all[50]], { now: at(50) })

  // Each stops at the message that is held, with what it has taken so far; then one of them goes on into what the other has.
  const [rising, falling] = await Promise.all([
    on(up, queue).ack(...all),
    waitsForLock(pool, backends[0]).then(() => on(down, queue).ack(...[...all].reverse())),
    waitsForLock(pool, backends[0])
      .then(() => waitsForLock(pool, backends[1]))
      .then(() => holder.query('rollback')),
  ])

  assert.equal([...rising, ...falling].filter((outcome) => outcome === 'ok').length, 100)
  assert.ok(falling.reverse().every((outcome, index) => [outcome, rising[index]].includes('message_gone')))
})

test('deleting a queue while its messages are being acked does not deadlock', async () => {
  const { connect, pool } = await createDatabase()
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch([{ body: 'first' }, { body: 'second' }], { now: at(0) })
  const [first, second] = receipts(await on(pool, queue).receive(2, { lease: '1 h', now: at(0) }))
  // Now the first message lies behind the second one in the table, and by its statistics the planner reads it front to back.
  await on(pool, queue).nack([first], { now: at(0) })
  const [again] = receipts(await on(pool, queue).receive(1, { lease: '1 h', now: at(0) }))
  await pool.query('analyze postbag.message')
  const [holder, deleting, acking] = [await connect(), await connect(), await connect()]
  const backends = [await backendOf(deleting), await backendOf(acking)] as const
  await holder.query('begin')
  await on(holder, queue).extend([second], { now: at(50) })

  const outcomes = await Promise.allSettled([
    on(deleting, queue).delete(),
    waitsForLock(pool, backends[0]).then(() => on(acking, queue).ack(again, second)),
    waitsForLock(pool, backends[0])
      .then(() => waitsForLock(pool, backends[1]))
      .then(() => holder.query('rollback')),
  ])

  assert.deepEqual(
    outcomes.map((outcome) => outcome.status),
    Array(3).fill('fulfilled'),
  )
})
