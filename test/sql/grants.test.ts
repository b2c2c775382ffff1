/* What a role must be allowed, and no more: the functions run with the rights of their caller. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import type pg from 'pg'
import { createDatabase } from '../support/database.ts'
import { at, call, newQueue, on, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

const sender = [
  'usage on schema postbag',
  'select on postbag.queue',
  'usage on sequence postbag.message_id',
  'insert on postbag.message',
  'select, insert, update, delete on postbag.dedup',
]
const senderToGroups = [...sender, 'select, insert on postbag.group_change']
const senderToLimitedQueues = [
  ...sender,
  'select on sequence postbag.message_id',
  'select, update, delete on postbag.message',
  'select, update on postbag.tally',
]
const consumer = [
  'usage on schema postbag',
  'select on postbag.queue',
  'select, update, delete on postbag.message',
  'select, update on postbag.sweep',
]
const consumerOfGroups = [
  ...consumer,
  'select, insert on postbag.group_change',
  'select, delete on postbag.group_pending',
]
const consumerOfThrottledQueues = [...consumer, 'select, insert, update on postbag.flow']
// Whose messages may become dead letters elsewhere; with these rights it also tidies up.
const consumerWithDeadLetters = [...consumer, 'insert on postbag.message', 'select, insert on postbag.group_change']
const router = ['exchange', 'binding', 'binding_term', 'binding_point'].map((table) => `select on postbag.${table}`)
const publisher = [
  ...sender,
  ...router,
  'select (queue_id, filter) on postbag.endpoint',
  'usage on sequence postbag.body_id',
  'insert on postbag.body',
]
const consumerOfPublished = [...consumer, 'select on postbag.body']
const requester = [...sender, 'select, insert on postbag.reply']
const replier = [...consumer, 'select, update on postbag.reply']
const volatile = (grants: readonly string[]) =>
  grants.map((grant) => grant.replace(/postbag\.(message|message_id|dedup)$/, 'postbag.volatile_$1'))

let made = 0
const open: pg.Client[] = []

// Also where a test has failed: the next one grants rights on the same tables, and would wait.
afterEach(async () => {
  for (const session of open.splice(0)) await session.query('rollback')
})

/** A session of a role that has these rights only; the role goes with the test. */
async function sessionOf(grants: readonly string[]) {
  const role = `postbag_test_${process.pid}_${++made}`
  const session = await db.connect()
  open.push(session)
  await session.query(`begin; create role ${role}`)
  for (const grant of grants) await session.query(`grant ${grant} to ${role}`)
  await session.query(`set local role ${role}`)
  return session
}

test('a sender needs these grants, and cannot receive with them', async () => {
  const queue = await newQueue(pool)
  const session = await sessionOf(sender)

  // 300 of them, so that the send also forgets expired dedup ids.
  const sent = await on(session, queue).sendBatch(Array.from({ length: 300 }, (_, i) => ({ body: i, dedupId: `${i}` })))

  assert.equal(sent.length, 300)
  await assert.rejects(on(session, queue).receive(), { code: '42501' })
})

test('a consumer needs these grants, and cannot send with them', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch([{ body: 1 }, { body: 2 }], { now: at(0) })
  const session = await sessionOf(consumer)

  const [first, second] = receipts(await on(session, queue).receive(2, { now: at(0) }))
  await on(session, queue).extend([first], { now: at(0) })
  await on(session, queue).nack([second], { now: at(0) })
  await on(session, queue).ack(first)
  const [peeked, purged] = [await on(session, queue).peek(), await on(session, queue).purge()]

  assert.deepEqual([peeked.length, purged], [1, 1])
  assert.deepEqual(await on(session, queue).receive(1, { now: at(100) }), [])
  await assert.rejects(on(session, queue).send('no'), { code: '42501' })
})

test('a sender to groups needs these grants', async () => {
  const queue = await newQueue(pool)
  const session = await sessionOf(senderToGroups)

  await on(session, queue).sendBatch([1, 2, 3].map((body) => ({ body, group: 'g', dedupId: `${body}` })))
  // What happens at commit needs no more.
  await session.query('set constraints all immediate')

  await session.query('reset role')
  assert.equal((await on(session, queue).receive(9)).length, 3)
})

for (const overflow of ['reject', 'drop-oldest']) {
  test(`a sender to a queue with a limit and overflow ${overflow} needs these grants`, async () => {
    const queue = await newQueue(pool, { max_messages: 5, overflow })
    const session = await sessionOf(senderToLimitedQueues)

    for (let body = 0; body < 5; body++) await on(session, queue).send(body)
    await session.query('savepoint here')
    const sixth = on(session, queue).send(6)

    if (overflow === 'reject') await assert.rejects(sixth, { code: 'PB004' })
    else await sixth
  })
}

test('a sender to groups cannot make time pass for the messages of others', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('precious', { ttl: '1 h' })
  const { rows } = await pool.query('select queue_id from postbag.queue where name = $1', [queue])
  const session = await sessionOf(senderToGroups)

  await session.query(
    `insert into postbag.group_change (queue_id, groups, tidies, changed_at) values ($1, '{}', true, now() + interval '1 year')`,
    [rows[0].queue_id],
  )
  await session.query('set constraints all immediate')

  await session.query('reset role')
  assert.equal((await on(session, queue).peek()).length, 1)
})

test('a consumer of groups needs these grants', async () => {
  const queue = await newQueue(pool, { group_rate: 100 })
  await on(pool, queue).sendBatch(
    [1, 2].map((body) => ({ body, group: `${body}` })),
    { now: at(0) },
  )
  const session = await sessionOf([...consumerOfGroups, ...consumerOfThrottledQueues])

  const [first, second] = receipts(await on(session, queue).receive(2, { now: at(100) }))
  const outcomes = await on(session, queue).nack([first], { now: at(100) })
  outcomes.push(...(await on(session, queue).extend([second], { now: at(100) })))
  outcomes.push(...(await on(session, queue).ack(second)))
  await session.query('set constraints all immediate')

  assert.deepEqual(outcomes, ['ok', 'ok', 'ok'])
})

test('a consumer of a queue with a rate and a limit of messages in flight needs these grants', async () => {
  const queue = await newQueue(pool, { rate: 10, max_in_flight: 3 })
  await on(pool, queue).sendBatch([{ body: 1 }, { body: 2 }], { now: at(0) })
  const session = await sessionOf(consumerOfThrottledQueues)

  assert.equal((await on(session, queue).receive(2, { now: at(0) })).length, 2)
})

test('a consumer whose messages become dead letters elsewhere needs these grants, and tidies up with them', async () => {
  const queue = await newQueue(pool, { max_attempts: 1, dead_letter_queue: await newQueue(pool) })
  await on(pool, queue).sendBatch([{ body: 1 }, { body: 2 }, { body: 'old', ttlSeconds: 1 }], { now: at(0) })
  const session = await sessionOf(consumerWithDeadLetters)

  const [first, second] = receipts(await on(session, queue).receive(2, { now: at(100) }))
  await on(session, queue).nack([first], { now: at(100) })
  await on(session, queue).nack([second], { dead_letter: true, now: at(100) })
  await session.query('set constraints all immediate')

  assert.deepEqual(await on(session, queue).peek(), [])
})

for (const [index, type] of ['direct', 'topic', 'fanout', 'headers', 'hash'].entries()) {
  test(`a publisher to a ${type} exchange needs these grants, and who receives its large bodies one more`, async () => {
    const exchange = `grants-${index}`
    const queues = [await newQueue(pool), await newQueue(pool)] as const
    await call(pool, 'declare_exchange', { exchange, type })
    const how = type === 'headers' ? { headers: '{"h": "1"}' } : {}
    for (const queue of queues) await call(pool, 'bind', { exchange, queue, ...how })
    const session = await sessionOf([...publisher, ...consumerOfPublished])

    const body = JSON.stringify('x'.repeat(10_000))
    await session.query('select postbag.publish($1, $2, headers => $3)', [exchange, body, { h: '1' }])
    const received = await Promise.all(queues.map((queue) => on(session, queue).receive()))

    const copies = received.flat().map((message) => message.body)
    assert.deepEqual(copies, Array(type === 'hash' ? 1 : 2).fill(body))
  })
}

test('a consumer whose dead letters go by an exchange may also read what leads where', async () => {
  await call(pool, 'declare_exchange', { exchange: 'grants-dead', type: 'topic' })
  const target = await newQueue(pool)
  await call(pool, 'bind', { exchange: 'grants-dead', queue: target, routing_key: '#' })
  const queue = await newQueue(pool, { dead_letter_exchange: 'grants-dead' })
  await on(pool, queue).send(1)
  const session = await sessionOf([...consumerWithDeadLetters, ...router])

  await on(session, queue).nack(receipts(await on(session, queue).receive()), { dead_letter: true })

  assert.equal((await on(session, target).peek()).length, 1)
})

test('a volatile queue needs the same grants on its own tables', async () => {
  const queue = await newQueue(pool, { durability: 'volatile' })
  const session = await sessionOf(volatile([...senderToGroups, ...consumerOfGroups]))

  await on(session, queue).sendBatch(
    [
      { body: 1, dedupId: '1' },
      { body: 2, group: 'g' },
    ],
    { now: at(0) },
  )
  await session.query('set constraints all immediate')
  const outcomes = await on(session, queue).ack(...receipts(await on(session, queue).receive(2, { now: at(1) })))

  assert.deepEqual(outcomes, ['ok', 'ok'])
})

for (const rights of ['insert, delete', 'select, insert, update, delete']) {
  test(`a role that may ${rights} messages, and nothing else, can send while there is something to tidy up`, async () => {
    const queue = await newQueue(pool, { dead_letter_queue: await newQueue(pool) })
    await on(pool, queue).send('old', { ttl: '1 s', group_key: 'g', now: at(0) })
    const session = await sessionOf([...sender, `${rights} on postbag.message`])

    await on(session, queue).send('new', { now: at(100) })
  })
}

test('who describes and lists queues needs these grants', async () => {
  const queue = await newQueue(pool, { lease: '5 s' })
  const rights = ['usage on schema postbag', 'select on postbag.queue', 'select on postbag.queue_info']
  const session = await sessionOf([...rights, 'select on postbag.policy'])

  const described = await call(session, 'describe_queue', { queue })
  const listed = await call(session, 'list_queues', { prefix: queue })

  assert.deepEqual([described.length, described], [1, listed])
})

test('without grants nothing works', async () => {
  const queue = await newQueue(pool)
  const session = await sessionOf([])

  await assert.rejects(call(session, 'describe_queue', { queue }), { code: '42501' })
})

test('who requests needs these grants', async () => {
  const queue = await newQueue(pool)
  const session = await sessionOf(requester)
  const args = { queue, body: '1', dedup_id: 'd', now: at(0) }

  const [first] = await call<{ id: string }>(session, 'request', args)
  const [again] = await call<{ id: string }>(session, 'request', args)

  assert.equal(again?.id, first?.id)
  const [fetched] = await call<{ state: string }>(session, 'fetch_reply', { queue, id: first?.id, now: at(0) })
  assert.equal(fetched?.state, 'pending')
})

test('who replies needs these grants', async () => {
  const queue = await newQueue(pool)
  await call(pool, 'request', { queue, body: '1', now: at(0) })
  const [message] = await on(pool, queue).receive(1, { now: at(0) })
  const session = await sessionOf(replier)
  const reply_to = message?.headers?.['postbag-reply-to']

  const replied = await call(session, 'reply', { queue, reply_to, receipt: message?.receipt, body: '2', now: at(1) })

  assert.deepEqual(replied, [{ reply: 'ok' }])
})
