/* Ordered groups: whose turn it is. Beside others: groups-concurrent.test.ts; at random: groups-model.test.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, call, newQueue, on, only, type QueueConfig, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** A queue that holds these messages, which are called by their group and number ('a1'; '1' is in no group), sent at at(0). */
async function queueOf(names: string, config: QueueConfig = {}) {
  const queue = on(pool, await newQueue(pool, { lease: '30 s', ...config }))
  if (names) await queue.sendBatch(parcels(names), { now: at(0) })
  return queue
}

function parcels(names: string) {
  return names.split(' ').map((body) => ({ body, ...(/^[a-z]/.test(body) && { group: body[0] }) }))
}

for (const durability of ['full', 'volatile']) {
  test(`a group is handed out in order, and to one at a time (durability ${durability})`, async () => {
    const queue = await queueOf('a1 a2 b1 1 a3', { durability })

    const first = await queue.receive(1, { now: at(0) })
    const others = await queue.receive(9, { now: at(1) })
    await queue.ackWith(receipts(first), { now: at(2) })
    const rest = await queue.receive(9, { now: at(2) })

    assert.deepEqual([first, others, rest].map(bodies), [['a1'], ['b1', '1'], ['a2', 'a3']])
  })
}

test('a receive takes the heads first, and then fills up with what stands behind them', async () => {
  const queue = await queueOf('a1 a2 a3 b1 b2 c1 1')

  const messages = await queue.receive(6, { now: at(0) })

  assert.deepEqual(bodies(messages), ['a1', 'b1', 'c1', '1', 'a2', 'b2'])
  assert.deepEqual(
    messages.map((message) => message.group_key),
    ['a', 'b', 'c', null, 'a', 'b'],
  )
  assert.equal(new Set(messages.map((message) => message.leased_until.getTime())).size, 1)
})

test('a group is given to nobody else before all of a lease is done, in whatever order it is acked', async () => {
  const queue = await queueOf('a1 a2 a3 a4')
  const [first, second, third] = receipts(await queue.receive(3, { now: at(0) }))

  const seen = []
  for (const receipt of [second, third, first]) {
    seen.push(bodies(await queue.receive(9, { now: at(1) })))
    assert.deepEqual(await queue.ackWith([receipt], { now: at(1) }), ['ok'])
  }

  assert.deepEqual(seen, [[], [], []])
  assert.deepEqual(bodies(await queue.receive(9, { now: at(2) })), ['a4'])
})

test('a delayed message does not hold up those before it, but those behind it', async () => {
  const queue = await queueOf('a1')
  await queue.send('a2', { group_key: 'a', delay: '100 s', now: at(0) })
  await queue.send('a3', { group_key: 'a', now: at(0) })

  const early = await queue.receive(9, { now: at(1) })
  await queue.ackWith(receipts(early), { now: at(2) })
  const blocked = await queue.receive(9, { now: at(99) })
  const late = await queue.receive(9, { now: at(200) })

  assert.deepEqual([early, blocked, late].map(bodies), [['a1'], [], ['a2', 'a3']])
})

test('extending one message of a lease keeps the others of its group, too', async () => {
  const queue = await queueOf('a1 a2 b1')
  const [first, other, second] = receipts(await queue.receive(3, { now: at(0) }))
  await queue.extend([second], { lease: '100 s', now: at(20) })

  assert.deepEqual(bodies(await queue.receive(9, { now: at(110) })), ['b1'])
  assert.deepEqual(await queue.extend([first], { now: at(110) }), ['ok'])
  assert.deepEqual(await queue.ack(other, first, second), ['lease_lost', 'ok', 'ok'])
})

test('order within a group goes before priority; heads are taken by their own', async () => {
  const queue = await queueOf('', { max_priority: 2 })
  for (const [body, priority] of [
    ['a1', 0],
    ['a2', 2],
    ['b1', 1],
    ['c1', 2],
  ] as const)
    await queue.send(body, { group_key: body[0] as string, priority, now: at(0) })

  assert.deepEqual(bodies(await queue.receive(2, { now: at(0) })), ['c1', 'b1'])
  assert.deepEqual(bodies(await queue.receive(9, { now: at(1) })), ['a1', 'a2'])
})

test('a purge leaves no line behind: the next message of a group is its head', async () => {
  const queue = await queueOf('a1 a2 b1 b2')
  await queue.receive(1, { now: at(0) })

  assert.equal(await queue.purge(), 4)
  await queue.sendBatch(parcels('a3 a4'), { now: at(1) })

  assert.deepEqual(bodies(await queue.receive(9, { now: at(1) })), ['a3', 'a4'])
})

test('messages that are gone when they are handed out let their group go on', async () => {
  const queue = await queueOf('a1 a2 a3 b1')

  const turns = []
  for (const max of [1, 2, 9]) turns.push(bodies(await queue.receive(max, { auto_ack: true, now: at(1) })))

  assert.deepEqual(turns, [['a1'], ['b1', 'a2'], ['a3']])
})

test('those that fill a receive up count as in flight', async () => {
  const queue = await queueOf('a1 a2 a3 a4 b1', { max_in_flight: 3 })
  const taken = await queue.receive(9, { now: at(0) })

  const beyond = await queue.receive(9, { now: at(1) })
  await queue.nack([only(taken.slice(0, 1)).receipt], { now: at(2) })

  assert.deepEqual([taken, beyond].map(bodies), [['a1', 'b1', 'a2'], []])
  // The nack gave back a1 and a2.
  assert.deepEqual(bodies(await queue.receive(9, { now: at(3) })), ['a1'])
})

test('a group that used up its rate is put off, the others go on', async () => {
  const queue = await queueOf('a1 a2 a3 b1', { group_rate: 0.01, group_burst: 2 })

  const turns = []
  for (const second of [0, 1, 2, 70, 140]) {
    const got = await queue.receive(9, { now: at(second) })
    if (got.length > 0) await queue.ackWith(receipts(got), { now: at(second) })
    turns.push(bodies(got))
  }

  assert.deepEqual(turns, [['a1', 'b1'], ['a2'], [], [], ['a3']])
})

test('of a fair group with a rate, a receive takes one message, also of those that are retried or were delayed', async () => {
  const queue = await queueOf('', { group_mode: 'fair', group_rate: 1 })
  const parcels = ['a', 'a', 'a', 'b'].map((group, n) => ({ body: `${group}${n}`, group, delaySeconds: 1 }))
  await queue.sendBatch(parcels, { now: at(0) })

  const turns = []
  for (const second of [1, 1.5, 2, 2.5, 3, 9]) {
    const got = await queue.receive(9, { now: at(second) })
    turns.push(bodies(got))
  }

  assert.deepEqual(turns, [['a0', 'b3'], [], ['a1'], [], ['a2'], []])
})

test('a lease on several of a group holds when the queue becomes a fair one', async () => {
  const name = await newQueue(pool)
  const queue = on(pool, name)
  await queue.sendBatch(
    ['a1', 'a2', 'a3'].map((body) => ({ body, group: 'a' })),
    { now: at(0) },
  )
  const leased = receipts(await queue.receive(9, { now: at(0), lease: '1 h' }))
  await call(pool, 'create_queue', { queue: name, group_mode: 'fair' })
  await queue.sendBatch([{ body: 'a4', group: 'a', delaySeconds: 1 }], { now: at(0) })

  assert.deepEqual(bodies(await queue.receive(9, { now: at(2) })), ['a4'])
  assert.deepEqual(await queue.ack(...leased), ['ok', 'ok', 'ok'])
})

test('a group must have 1 to 128 characters', async () => {
  const queue = await queueOf('')

  for (const group of ['', 'g'.repeat(129)])
    await assert.rejects(queue.sendBatch([{ body: 1, group }]), { constraint: 'message_group_is_1_to_128_characters' })
  await queue.sendBatch([{ body: 1, group: 'ü'.repeat(128) }])
})

test('no transaction leaves a note of what it changed', async () => {
  assert.deepEqual((await pool.query('select * from postbag.group_change')).rows, [])
})
