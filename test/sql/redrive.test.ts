/* Bringing dead letters back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, call, newQueue, on, only, type RedriveOptions, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** Two queues; of the messages 1 to n sent to the first, all were rejected, the i-th at at(i), and lie in the second. */
async function dead(number: number, config: { own?: boolean } = {}): Promise<{ queue: string; target: string }> {
  const target = await newQueue(pool)
  const queue = config.own ? await newQueue(pool) : await newQueue(pool, { dead_letter_queue: target })
  const session = on(await db.connect(), queue)
  for (let turn = 1; turn <= number; turn++) await session.send(turn, { now: at(0) })
  for (let turn = 1; turn <= number; turn++)
    await session.nack(receipts(await session.receive(1, { lease: '1 h', now: at(turn) })), {
      dead_letter: true,
      error: `error ${turn}`,
      now: at(turn),
    })
  return { queue, target: config.own ? queue : target }
}

test('all dead letters go back where they came from, fresh, and with their history', async () => {
  const { queue, target } = await dead(3)

  const result = await on(pool, target).redrive({ now: at(100) })

  assert.deepEqual([result, await on(pool, target).peek()], [{ redriven: 3, next: null }, []])
  const back = await on(await db.connect(), queue).receive(9, { now: at(100) })
  assert.deepEqual(bodies(back), [1, 2, 3])
  assert.deepEqual(
    back.map((message) => [message.attempts, message.sent_at, message.deaths?.length]),
    Array(3).fill([1, at(0), 1]),
  )
})

test('dead letters that were kept in their own queue become ready there', async () => {
  const { queue } = await dead(3, { own: true })

  const result = await on(pool, queue).redrive({ now: at(100) })

  assert.equal(result.redriven, 3)
  const [message] = await on(pool, queue).peek(9, { now: at(100) })
  assert.deepEqual(
    [message?.state, message?.attempts, message?.available_at, message?.dead_at, message?.expires_at],
    ['ready', 0, at(100), null, null],
  )
})

test('a dead letter that dies where it was brought stays there at a redrive', async () => {
  const [first, fixed] = [await newQueue(pool), await newQueue(pool)]
  const reject = async (queue: string, now: Date) =>
    on(pool, queue).nack(receipts(await on(pool, queue).receive(1, { now })), { dead_letter: true, now })
  await on(pool, first).send(1, { now: at(0) })
  await reject(first, at(1))
  await on(pool, first).redrive({ target: fixed, now: at(2) })
  await reject(fixed, at(3))

  await on(pool, fixed).redrive({ now: at(4) })

  const states = async (queue: string) => (await on(pool, queue).peek(9, { now: at(5) })).map(({ state }) => state)
  assert.deepEqual([await states(first), await states(fixed)], [[], ['ready']])
})

test('a redrive may name another target, whose time to live counts and whose priorities hold', async () => {
  const target = await newQueue(pool, { ttl: '1 h', max_priority: 1 })
  const own = await newQueue(pool, { max_priority: 9 })
  const id = await on(pool, own).send(1, { priority: 9, now: at(0) })
  await on(pool, own).nack(receipts(await on(pool, own).receive(1, { now: at(0) })), { dead_letter: true, now: at(0) })

  await on(pool, own).redrive({ target, now: at(100) })

  const moved = await on(pool, target).get(id, at(100))
  assert.deepEqual([moved.state, moved.priority, moved.expires_at], ['ready', 1, at(3700)])
})

test('a dead letter whose queue is gone becomes a message of the queue it lies in', async () => {
  const { queue, target } = await dead(1)
  await on(pool, queue).delete()

  assert.equal((await on(pool, target).redrive({ now: at(100) })).redriven, 1)

  const left = only(await on(pool, target).peek(9, { now: at(100) }))
  assert.deepEqual([left.state, left.dead_at], ['ready', null])
  assert.equal((await on(pool, target).redrive({ now: at(100) })).redriven, 0)
})

test('messages of a dead-letter queue that were sent there are not redriven', async () => {
  const { target } = await dead(1)
  await on(pool, target).send('sent here')

  await on(pool, target).redrive()

  assert.deepEqual(bodies(await on(pool, target).peek()), ['sent here'])
})

/** Six dead letters of every kind; which of them a redrive with this filter brings back. */
async function chosen(filter: (ids: readonly string[]) => RedriveOptions): Promise<unknown[]> {
  const queue = await newQueue(pool)
  const source = on(pool, await newQueue(pool, { dead_letter_queue: queue, max_attempts: 1 }))
  const messages = [
    { body: 0, type: 'a' },
    { body: 1, type: 'b', headers: { x: '1' } },
    { body: 2, headers: { x: '1', y: '2' } },
    { body: 3, headers: { x: '2' } },
    { body: 4, group: 'g' },
    { body: 5, ttlSeconds: 10 },
  ]
  const sent = await source.sendBatch(messages, { now: at(0) })
  const session = on(
    await db.connect(),
    (await pool.query(`select name from postbag.queue where dead_letter_queue = $1`, [queue])).rows[0].name,
  )
  const given = receipts(await session.receive(5, { now: at(1) }))
  for (const [index, receipt] of given.entries())
    await session.nack([receipt], { error: `e${index}`, dead_letter: index < 3, delay: null, now: at(1 + index) })
  await session.maintain(100, at(11))
  await on(pool, queue).redrive({ ...filter(sent.map(({ id }) => id)), now: at(20) })
  return bodies(await session.peek(9, { now: at(20) }))
}

const filters: [what: string, filter: (ids: readonly string[]) => RedriveOptions, brings: unknown[]][] = [
  ['none', () => ({}), [0, 1, 2, 3, 4, 5]],
  ['ids', (ids) => ({ ids: [ids[4] ?? '', ids[0] ?? '', '999999'] }), [0, 4]],
  ['a type', () => ({ type: 'b' }), [1]],
  ['headers', () => ({ headers: { x: '1' } }), [1, 2]],
  ['all of some headers', () => ({ headers: { x: '1', y: '2' } }), [2]],
  ['a group', () => ({ group_key: 'g' }), [4]],
  ['at least so long dead', () => ({ min_age: '16 s' }), [0, 1, 2, 3]],
  ['at most so long dead', () => ({ max_age: '16 s' }), [3, 4, 5]],
  ['what the error contains', () => ({ error_contains: '3' }), [3]],
  ['the reason rejected', () => ({ reason: 'rejected' }), [0, 1, 2]],
  ['the reason attempts', () => ({ reason: 'attempts' }), [3, 4]],
  ['the reason expired', () => ({ reason: 'expired' }), [5]],
  ['two that must hold together', () => ({ reason: 'rejected', headers: { x: '1' } }), [1, 2]],
]

for (const [what, filter, brings] of filters) {
  test(`a redrive by ${what} brings back ${brings.join(', ')}`, async () => {
    assert.deepEqual(await chosen(filter), brings)
  })
}

test('a redrive goes on where the last one ended, and a call that is repeated brings nothing back twice', async () => {
  const { queue, target } = await dead(7)
  const verbs = on(pool, target)

  const first = await verbs.redrive({ max_messages: 3, now: at(100) })
  const second = await verbs.redrive({ max_messages: 3, now: at(100), ...(first.next ? { after: first.next } : {}) })
  const again = await verbs.redrive({ max_messages: 3, now: at(100), ...(first.next ? { after: first.next } : {}) })
  const rest = await verbs.redrive({ now: at(100), ...(again.next ? { after: again.next } : {}) })

  assert.deepEqual(
    [first, second, again, rest].map((result) => result.redriven),
    [3, 3, 1, 0],
  )
  assert.equal(rest.next, null)
  assert.deepEqual(bodies(await on(pool, queue).peek(9)), [1, 2, 3, 4, 5, 6, 7])
})

test('a dry run counts, page by page, and changes nothing', async () => {
  const { target } = await dead(5)
  const before = await on(pool, target).peek(9)

  const first = await on(pool, target).redrive({ dry_run: true, max_messages: 3 })
  const rest = await on(pool, target).redrive({ dry_run: true, ...(first.next ? { after: first.next } : {}) })

  assert.deepEqual([first.redriven, rest], [3, { redriven: 2, next: null }])
  assert.deepEqual(await on(pool, target).peek(9), before)
})

test('what has expired stays away, also where nothing was tidied up', async () => {
  const target = await newQueue(pool, { ttl: '10 s' })
  const queue = on(pool, await newQueue(pool, { dead_letter_queue: target }))
  await queue.send('expired', { now: at(0) })
  await queue.nack(receipts(await queue.receive(1, { now: at(1) })), { dead_letter: true, now: at(1) })
  const session = await db.connect()
  await session.query('begin isolation level repeatable read')

  const result = await on(session, target).redrive({ now: at(100) })

  await session.query('commit')
  assert.equal(result.redriven, 0)
  assert.deepEqual(await queue.peek(9, { now: at(100) }), [])
})

test('with a rate they become available one after the other, from one call to the next', async () => {
  const { queue, target } = await dead(5)

  const first = await on(pool, target).redrive({ rate: 2, max_messages: 3, now: at(100) })
  await on(pool, target).redrive({ rate: 2, now: at(100.1), ...(first.next ? { after: first.next } : {}) })

  assert.deepEqual(
    (await on(pool, queue).peek(9)).map((message) => message.available_at),
    [100, 100.5, 101, 101.5, 102].map(at),
  )
})

test('two redrives at once bring every dead letter back once', async () => {
  const { queue, target } = await dead(30)
  const sessions = await Promise.all([1, 2, 3, 4].map(() => db.connect()))

  const results = await Promise.all(sessions.map((session) => on(session, target).redrive()))

  assert.equal(
    results.reduce((sum, result) => sum + result.redriven, 0),
    30,
  )
  assert.equal((await on(pool, queue).peek(100)).length, 30)
})

test('a redrive leaves what another has in hand, and what a consumer of the dead letters owns', async () => {
  const { target } = await dead(3)
  const holder = await db.connect()
  await on(await db.connect(), target).receive(1, { lease: '1 h', now: at(100) })
  await holder.query('begin')
  assert.equal((await on(holder, target).redrive({ max_messages: 1, now: at(100) })).redriven, 1)

  assert.equal((await on(pool, target).redrive({ now: at(100) })).redriven, 1)
  await holder.query('rollback')

  assert.deepEqual(
    (await on(pool, target).peek(9, { now: at(100) })).map((message) => message.state),
    ['leased', 'ready'],
  )
})

const refused: [args: object, code: string, message: RegExp][] = [
  [{ ids: '{}' }, 'PB002', /^ids must be a JSON array of 1 to 1000 ids$/],
  [{ ids: '[]' }, 'PB002', /^ids must be/],
  [{ ids: '["x"]' }, 'PB002', /^ids must be ids of messages, got \["x"\]$/],
  [{ target: 'nowhere' }, 'PB001', /^queue "nowhere" does not exist$/],
  [{ headers: '{"a":1}' }, 'PB002', /^headers must be an object of strings/],
  [{ reason: 'bad luck' }, 'PB002', /^reason must be attempts, expired, rejected or overflow, got 'bad luck'$/],
  [{ max_messages: 0 }, 'PB002', /^max must be between 1 and 1000, got 0$/],
  [{ max_messages: 1001 }, 'PB002', /^max must be between 1 and 1000, got 1001$/],
  [{ max_messages: null }, 'PB002', /^max must be between 1 and 1000, got null$/],
  [{ rate: 0 }, 'PB002', /^ratePerSecond must be between 0.001 and 1000000, got 0$/],
  [{ rate: 1e7 }, 'PB002', /^ratePerSecond must be/],
  [{ after: '17' }, 'PB002', /^after must be the next of a redrive, got '17'$/],
]

for (const [args, code, message] of refused) {
  test(`a redrive with ${JSON.stringify(args)} is refused`, async () => {
    await assert.rejects(call(pool, 'redrive', { queue: await newQueue(pool), ...args }), { code, message })
  })
}

test('a redrive to a volatile queue from a durable one is refused, and from a queue that is not there', async () => {
  const target = await newQueue(pool, { durability: 'volatile' })

  await assert.rejects(on(pool, await newQueue(pool)).redrive({ target }), {
    code: 'PB002',
    message: /^target must be durable/,
  })
  await assert.rejects(on(pool, 'nowhere').redrive(), { code: 'PB001' })
})
