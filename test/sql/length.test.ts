/* Limits of length: what a full queue refuses or drops. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, call, newQueue, on, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const full = { code: 'PB004' }
const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => ({ body: from + index }))

test('a full queue refuses a send, and takes it when there is room again', async () => {
  const queue = await newQueue(pool, { max_messages: 3 })
  const verbs = on(pool, queue)
  await verbs.sendBatch(numbers(1, 2), { now: at(0) })
  await verbs.send(3, { now: at(0) })

  await assert.rejects(verbs.send(4, { now: at(0) }), {
    ...full,
    message: `queue "${queue}" is full: it may hold 3 messages`,
  })
  await verbs.ackWith(receipts(await verbs.receive(1, { now: at(0) })), { now: at(0) })
  await verbs.send(5, { now: at(0) })
  await assert.rejects(verbs.send(6, { now: at(0) }), full)

  assert.deepEqual(bodies(await verbs.peek()), [2, 3, 5])
})

test('single sends fill a queue to its limit, not one more and not one less', async () => {
  for (const limit of [1, 2, 7]) {
    const verbs = on(pool, await newQueue(pool, { max_messages: limit }))
    for (let sent = 1; sent <= limit; sent++) await verbs.send(sent)

    for (const _ of [1, 2, 3]) await assert.rejects(verbs.send('too many'), full)

    assert.equal((await verbs.peek()).length, limit)
  }
})

test('a batch that does not fit is refused whole', async () => {
  const verbs = on(pool, await newQueue(pool, { max_messages: 5 }))
  await verbs.sendBatch(numbers(1, 3))

  await assert.rejects(verbs.sendBatch(numbers(4, 6)), full)
  await assert.rejects(verbs.sendBatch(numbers(1, 6)), { code: 'PB003' })
  await verbs.sendBatch(numbers(7, 8))

  assert.deepEqual(bodies(await verbs.peek()), [1, 2, 3, 7, 8])
})

test('what is dead or has expired, and is not tidied up yet, is not what gives way; it takes no room, either', async () => {
  const queue = await newQueue(pool, { max_messages: 2, overflow: 'drop-oldest', max_attempts: 1 })
  const verbs = on(await db.connect(), queue)
  await verbs.send('dead', { now: at(0) })
  await verbs.receive(1, { lease: '0.1 s', now: at(0) })
  await verbs.send(1, { now: at(0) })
  assert.deepEqual(
    (await verbs.peek(9, { now: at(0.2) })).map(({ body, state }) => [JSON.parse(body), state]),
    [
      ['dead', 'dead'],
      [1, 'ready'],
    ],
  )

  await verbs.sendBatch(numbers(2, 3), { now: at(0.2) })

  assert.deepEqual(bodies(await verbs.peek(9, { now: at(0.3) })), ['dead', 2, 3])
})

test('a send for which not enough can be dropped, because too much is leased, is refused', async () => {
  const verbs = on(pool, await newQueue(pool, { max_messages: 10, overflow: 'drop-oldest', lease: '1 h' }))
  await verbs.sendBatch(numbers(1, 10))
  await verbs.receive(9)
  const small = on(pool, await newQueue(pool, { max_bytes: 10, overflow: 'drop-oldest', lease: '1 h' }))
  await small.send('123456')
  await small.receive(1)
  await small.send(1)

  await assert.rejects(verbs.sendBatch(numbers(11, 15)), { ...full, message: /too many of its messages are leased/ })
  await assert.rejects(small.send('1234'), full)
  await verbs.send(16)

  assert.deepEqual([(await verbs.peek(99)).length, (await small.peek(99)).length], [10, 2])
})

test('a batch of small messages takes the place of a large one', async () => {
  const verbs = on(pool, await newQueue(pool, { max_bytes: 100, overflow: 'drop-oldest' }))
  await verbs.send('x'.repeat(90))

  await verbs.sendBatch(numbers(10, 25))

  assert.equal((await verbs.peek(99)).length, 16)
})

for (const limit of [{ max_messages: 2 }, { max_bytes: 2 }]) {
  test(`what others are dropping at the same time makes room: ${Object.keys(limit)}`, async () => {
    const queue = await newQueue(pool, { ...limit, overflow: 'drop-oldest' })
    const verbs = on(pool, queue)
    const open = await db.connect()
    await verbs.sendBatch(numbers(1, 2))
    await open.query('begin')
    await on(open, queue).sendBatch(numbers(3, 4))

    await verbs.send(5)
    await open.query('commit')
    await verbs.send(6)

    assert.deepEqual(bodies(await verbs.peek()), [5, 6])
  })
}

test('what was moved into a queue while another transaction counted it counts', async () => {
  const queue = await newQueue(pool, { max_messages: 5 })
  const source = on(pool, await newQueue(pool, { dead_letter_queue: queue }))
  await source.sendBatch(numbers(1, 4))
  const given = receipts(await source.receive(4))
  const counting = await db.connect()
  await counting.query('begin')
  await on(counting, queue).sendBatch(numbers(5, 5))

  await source.nack(given, { dead_letter: true })
  await counting.query('commit')

  await assert.rejects(on(pool, queue).send('the sixth'), full)
  assert.equal((await on(pool, queue).peek(9)).length, 5)
})

test('ready, delayed and leased messages count, dead and expired ones do not', async () => {
  const verbs = on(pool, await newQueue(pool, { max_messages: 3, lease: '1 h' }))
  await verbs.send('leased', { now: at(0) })
  await verbs.receive(1, { now: at(0) })
  await verbs.send('delayed', { delay: '1 h', now: at(0) })
  await verbs.send('expires', { ttl: '10 s', now: at(0) })
  await assert.rejects(verbs.send('no', { now: at(9) }), full)

  await verbs.send('dies', { now: at(10) })
  await assert.rejects(verbs.send('no', { now: at(11) }), full)
  await verbs.nack(receipts(await verbs.receive(1, { now: at(11) })), { dead_letter: true, now: at(11) })
  await verbs.send('last', { now: at(12) })

  assert.deepEqual(bodies(await verbs.peek(9, { now: at(12) })), ['leased', 'delayed', 'dies', 'last'])
})

test('duplicates take no room, neither by number nor by size', async () => {
  const verbs = on(pool, await newQueue(pool, { max_messages: 2, max_bytes: 12 }))
  await verbs.sendBatch([
    { body: '123', dedupId: 'a' },
    { body: '456', dedupId: 'b' },
  ])

  const again = await verbs.sendBatch([
    { body: '123', dedupId: 'a' },
    { body: '456', dedupId: 'b' },
  ])

  assert.deepEqual(
    again.map((sent) => sent.duplicate),
    [true, true],
  )
  await assert.rejects(verbs.sendBatch([{ body: 1, dedupId: 'c' }]), full)
})

const sizes: [what: string, message: object, bytes: number][] = [
  ['JSON as it is stored', { body: { a: 'é' } }, 11],
  ['a JSON string with its quotes and escapes', { body: 'a"b\n' }, 8],
  ['JSON in a string', { json: '[ 1 ]' }, 5],
  ['text', { body: 'é"\n', encoding: 'text' }, 4],
  ['bytes', { body: 'AAECAwQ=', encoding: 'base64' }, 5],
]

for (const [what, message, bytes] of sizes) {
  test(`by size a queue counts ${what}`, async () => {
    const verbs = on(pool, await newQueue(pool, { max_bytes: 3 * bytes }))
    await verbs.sendBatch([message, message, message])

    await assert.rejects(verbs.sendBatch([message]), { ...full, message: /is full: it may hold \d+ bytes$/ })

    assert.equal((await verbs.stats()).bytes, String(3 * bytes))
  })
}

test('dropping the oldest makes room for what is sent, and leaves what is leased', async () => {
  const verbs = on(pool, await newQueue(pool, { max_messages: 4, overflow: 'drop-oldest', lease: '1 h' }))
  await verbs.sendBatch(numbers(1, 4), { now: at(0) })
  await verbs.receive(1, { now: at(0) })

  await verbs.sendBatch(numbers(5, 6), { now: at(1) })
  await verbs.send(7, { now: at(1) })

  assert.deepEqual(bodies(await verbs.peek(9, { now: at(1) })), [1, 5, 6, 7])
})

test('what is dropped goes to the dead-letter queue', async () => {
  const target = await newQueue(pool)
  const verbs = on(pool, await newQueue(pool, { max_messages: 2, overflow: 'drop-oldest', dead_letter_queue: target }))
  await verbs.sendBatch(numbers(1, 2))

  await verbs.sendBatch(numbers(3, 4))

  assert.deepEqual(bodies(await verbs.peek()), [3, 4])
  const dropped = await on(pool, target).peek()
  assert.deepEqual(bodies(dropped), [1, 2])
  assert.deepEqual(
    dropped.map((message) => message.dead_reason),
    ['overflow', 'overflow'],
  )
})

test('by size as many of the oldest are dropped as are needed, and dead letters in the same queue take no room', async () => {
  const queue = await newQueue(pool)
  await call(pool, 'create_queue', { queue, max_bytes: 10, overflow: 'drop-oldest', dead_letter_queue: queue })
  const verbs = on(pool, queue)
  for (const json of ['1111', '2222', '33']) await verbs.sendBatch([{ json }])

  await verbs.sendBatch([{ json: '44444' }])
  await verbs.sendBatch([{ json: '5' }])

  const states = (await verbs.peek()).map((message) => [message.body, message.state])
  assert.deepEqual(states, [
    ['1111', 'dead'],
    ['2222', 'dead'],
    ['33', 'ready'],
    ['44444', 'ready'],
    ['5', 'ready'],
  ])
})

test('a limit that is lowered drops no more than what is too much, however dear counting is', async () => {
  const queue = await newQueue(pool)
  const verbs = on(pool, queue)
  for (let batch = 0; batch < 12; batch++) await verbs.sendBatch(numbers(1, 1000), { now: at(0) })

  await call(pool, 'create_queue', { queue, max_messages: 10_500, overflow: 'drop-oldest' })
  for (let sent = 0; sent < 6; sent++) await verbs.send('new', { now: at(0) })

  // A count that is still good may let what is sent within that time exceed the limit.
  const left = Number((await verbs.stats(at(999))).ready)
  assert.ok(left >= 10_500 && left <= 10_506, `${left} messages are left`)
})

test('messages that are moved into a queue count like those sent to it', async () => {
  const target = await newQueue(pool, { max_messages: 5 })
  const verbs = on(pool, await newQueue(pool, { dead_letter_queue: target }))
  await on(pool, target).send('first')
  await verbs.sendBatch(numbers(1, 4))

  await verbs.nack(receipts(await verbs.receive(4)), { dead_letter: true })

  await assert.rejects(on(pool, target).send('too many'), full)
})

test('what was moved into a queue while it had no limit counts as soon as it has one', async () => {
  const target = await newQueue(pool, { max_messages: 5 })
  const verbs = on(pool, await newQueue(pool, { dead_letter_queue: target }))
  await verbs.sendBatch(numbers(1, 5))
  assert.equal((await on(pool, target).stats()).ready, '0')

  await call(pool, 'create_queue', { queue: target })
  await verbs.nack(receipts(await verbs.receive(5)), { dead_letter: true })
  await call(pool, 'create_queue', { queue: target, max_messages: 5 })

  await assert.rejects(on(pool, target).send('too many'), full)
})

test('dead letters that are redriven count', async () => {
  const verbs = on(pool, await newQueue(pool, { max_messages: 4 }))
  await verbs.sendBatch(numbers(1, 2))
  await verbs.nack(receipts(await verbs.receive(2)), { dead_letter: true })
  await verbs.sendBatch(numbers(3, 5))

  await verbs.redrive()

  await assert.rejects(verbs.send('too many'), full)
  assert.equal((await verbs.stats()).ready, '5')
})

test('eight sessions that send one after the other’s commit exceed the limit by no more than what was uncommitted', async () => {
  const queue = await newQueue(pool, { max_messages: 50 })
  const sessions = await Promise.all(Array.from({ length: 8 }, () => db.connect()))

  await Promise.all(
    sessions.map(async (session) => {
      for (let sent = 0; sent < 20; sent++)
        await on(session, queue)
          .send(sent)
          .catch((error) => assert.equal(error.code, 'PB004'))
    }),
  )

  const there = Number((await on(pool, queue).stats()).ready)
  assert.ok(there >= 50 && there <= 57, `${there} messages`)
})

test('what is rolled back takes no room', async () => {
  const queue = await newQueue(pool, { max_messages: 2 })
  const session = await db.connect()
  await session.query('begin')
  await on(session, queue).sendBatch(numbers(1, 2))
  await session.query('rollback')

  await on(session, queue).sendBatch(numbers(3, 4))

  await assert.rejects(on(session, queue).send(5), full)
})
