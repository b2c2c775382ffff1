/* Ordered groups when something fails: leases that end, messages that are given back, that die, that expire. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, newQueue, on, only, type QueueConfig, receipts } from '../support/sql-verbs.ts'

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

test('what follows an acked head stays with its owner, and after the lease comes back one at a time', async () => {
  const queue = await queueOf('a1 a2 a3')
  const [first] = receipts(await queue.receive(3, { now: at(0) }))
  await queue.ackWith([first], { now: at(1) })

  const during = await queue.receive(9, { now: at(29) })
  const after = await queue.receive(9, { now: at(100) })

  assert.deepEqual([during, after].map(bodies), [[], ['a2']])
  assert.equal(only(after).attempts, 2)
})

test('a nacked head blocks its group until it is done; those behind it are given back, and used up no attempt', async () => {
  const queue = await queueOf('a1 a2 a3')
  const [first, second, third] = receipts(await queue.receive(3, { now: at(0) }))
  await queue.nack([first], { delay: '100 s', now: at(1) })

  assert.deepEqual(await queue.ack(second), ['lease_lost'])
  assert.deepEqual(await queue.extend([third], { now: at(1) }), ['lease_lost'])
  assert.deepEqual(await queue.receive(9, { now: at(90) }), [])

  const again = only(await queue.receive(1, { now: at(200) }))
  await queue.ackWith([again.receipt], { now: at(200) })
  const rest = await queue.receive(9, { now: at(300) })

  assert.deepEqual([again.body, again.attempts], ['"a1"', 2])
  assert.deepEqual(
    rest.map(({ body, attempts }) => [body, attempts]),
    [
      ['"a2"', 1],
      ['"a3"', 1],
    ],
  )
})

test('a head whose lease ended takes its followers back; their receipts are worth nothing then', async () => {
  const queue = await queueOf('a1 a2 a3')
  const stale = receipts(await queue.receive(3, { now: at(0) }))

  const again = await queue.receive(9, { now: at(100) })
  const outcomes = await queue.ack(...stale)
  await queue.ackWith(receipts(again), { now: at(101) })
  const rest = await queue.receive(9, { now: at(200) })

  assert.deepEqual(outcomes, ['lease_lost', 'lease_lost', 'lease_lost'])
  assert.deepEqual(
    [...again, ...rest].map(({ body, attempts }) => [body, attempts]),
    [
      ['"a1"', 2],
      ['"a2"', 1],
      ['"a3"', 1],
    ],
  )
})

test('a nacked follower waits for its time, holds those behind it up, and leaves the head where it is', async () => {
  const queue = await queueOf('a1 a2 a3')
  const [first, second, third] = receipts(await queue.receive(3, { now: at(0) }))
  await queue.nack([second], { delay: '100 s', now: at(1) })

  assert.deepEqual(await queue.ackWith([first, third], { now: at(2) }), ['ok', 'lease_lost'])
  assert.deepEqual(await queue.receive(9, { now: at(100) }), [])
  assert.deepEqual(bodies(await queue.receive(9, { now: at(200) })), ['a2'])
})

test('a message in an expired one’s shadow goes back with its head, too', async () => {
  const queue = await queueOf('1 a1')
  await queue.send('a2', { group_key: 'a', ttl: '0.3 s', now: at(0) })
  await queue.send('a3', { group_key: 'a', now: at(0) })
  // (So that this session has just tidied, and does not again.)
  await queue.receive(1, { now: at(0.1) })
  const [head, ...others] = await queue.receive(9, { now: at(0.5) })
  await queue.nack([head?.receipt], { now: at(0.6) })

  assert.deepEqual(
    await Promise.all(others.map((other) => queue.ack(other.receipt))),
    others.map(() => ['lease_lost']),
  )
})

test('a head that is dead lets its group go on, and its owner keep the others', async () => {
  const queue = await queueOf('a1 a2 a3', { max_attempts: 2 })
  const [first, second] = receipts(await queue.receive(2, { now: at(0) }))

  await queue.nack([first], { dead_letter: true, now: at(1) })
  assert.deepEqual(await queue.receive(9, { now: at(1) }), [])
  assert.deepEqual(await queue.ackWith([second], { now: at(1) }), ['ok'])

  const last = only(await queue.receive(9, { now: at(2) }))
  await queue.nack([last.receipt], { now: at(3) })
  await queue.nack(receipts(await queue.receive(9, { now: at(100) })), { now: at(100) })
  assert.equal(last.body, '"a3"')
  assert.deepEqual(
    (await queue.peek(9, { now: at(200) })).map((message) => [message.body, message.state, message.dead_reason]),
    [
      ['"a1"', 'dead', 'rejected'],
      ['"a3"', 'dead', 'attempts'],
    ],
  )
})

test('dead letters keep their group and order in a queue of their own, and come back to the end of the line', async () => {
  const letters = await newQueue(pool)
  const queue = await queueOf('a1 a2 a3', { dead_letter_queue: letters })
  const taken = receipts(await queue.receive(2, { now: at(0) }))
  await queue.nack(taken, { dead_letter: true, now: at(1) })

  const dead = await on(pool, letters).receive(1, { now: at(2) })
  assert.deepEqual(bodies([...dead, ...(await on(pool, letters).receive(9, { now: at(2) }))]), ['a1'])
  await on(pool, letters).nack(receipts(dead), { now: at(3) })
  assert.equal((await on(pool, letters).redrive({ now: at(4) })).redriven, 2)

  assert.deepEqual(bodies(await queue.receive(9, { now: at(100) })), ['a3', 'a1', 'a2'])
})

test('what expires in a line is gone, head or not, and the line goes on', async () => {
  const queue = await queueOf('')
  for (const body of ['a1', 'a2', 'a3', 'a4'])
    await queue.send(body, { group_key: 'a', now: at(0), ...(body !== 'a2' && body !== 'a4' && { ttl: '10 s' }) })

  const first = await queue.receive(9, { now: at(100) })
  const [got] = first.length > 0 ? [first] : [await queue.receive(9, { now: at(200) })]

  assert.deepEqual(bodies(got), ['a2', 'a4'])
  assert.equal((await queue.peek(9, { now: at(200) })).length, 2)
})

test('no transaction leaves a note of what it changed', async () => {
  assert.deepEqual((await pool.query('select * from postbag.group_change')).rows, [])
})
