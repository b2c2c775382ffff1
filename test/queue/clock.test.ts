/* What time does to messages, over a handle whose clock is moved: lifetimes, last leases, retries, dead letters, rates. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { type DirectQueue, postbag } from '../../src/queue/direct.ts'
import type { QueueConfig } from '../../src/wire.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
before(async () => {
  database = await createDatabase()
})

let made = 0

/** A queue of its own, and a clock that stands at second 0 until it is moved. */
async function queueAt0(config: QueueConfig = {}) {
  let now = at(0)
  const { queue: queueNamed, maintain } = postbag({ executor: database.pool, clock: () => now })
  const name = `clock-${++made}`
  const queue = queueNamed(name)
  await queue.create(config)
  return {
    name,
    queue,
    queueNamed,
    maintain,
    moveTo: (seconds: number) => {
      now = at(seconds)
    },
  }
}

function at(seconds: number): Date {
  return new Date(Date.UTC(2030, 0, 1) + seconds * 1000)
}

const receiptOf = async (queue: DirectQueue) => (await queue.receive())[0]?.receipt ?? assert.fail('no message')

test('a message expires when its time to live is over, and maintenance removes it', async () => {
  const { queue, moveTo, maintain } = await queueAt0({ ttlSeconds: 10 })
  await queue.sendBatch([{ body: 'short' }, { body: 'long', ttlSeconds: 20 }])

  moveTo(10)
  const { expiredMessages, more } = await maintain()
  const received = await queue.receive({ max: 10 })

  assert.deepEqual(
    received.map(({ body, expiresAt }) => [body, expiresAt]),
    [['long', at(20).toISOString()]],
  )
  assert.deepEqual([expiredMessages, more], [1, false])
})

test('a lease outlives the time to live: the message still acks, but is not handed out again once it is given back', async () => {
  const { queue, moveTo, maintain } = await queueAt0({ ttlSeconds: 10 })
  await queue.sendBatch([{ body: 'acked' }, { body: 'given back' }])
  const [acked, back] = await queue.receive({ max: 2, leaseSeconds: 60 })

  moveTo(30)
  const { expiredMessages } = await maintain()
  const outcomes = [
    ...(await queue.ack([acked?.receipt ?? ''])),
    ...(await queue.nack([back?.receipt ?? ''], { delaySeconds: 0 })),
  ]

  assert.equal(expiredMessages, 0)
  assert.deepEqual(
    outcomes.map(({ outcome }) => outcome),
    ['ok', 'ok'],
  )
  assert.deepEqual(await queue.receive({ max: 10 }), [])
  await assert.rejects(queue.get(back?.id ?? ''), { code: 'message_not_found' })
})

test('a delayed message of a group holds up the next one, and when its time has come they go in their order', async () => {
  const { queue, moveTo } = await queueAt0()
  await queue.send(1, { group: 'g', delaySeconds: 60 })
  await queue.send(2, { group: 'g' })
  const looks: unknown[][] = []

  for (const seconds of [0, 59, 60]) {
    moveTo(seconds)
    looks.push((await queue.receive({ max: 10 })).map(({ body }) => body))
  }

  assert.deepEqual(looks, [[], [], [1, 2]])
})

test('retries follow the policy: twice the delay every time, up to the longest', async () => {
  const { queue, moveTo } = await queueAt0({
    retryDelaySeconds: 10,
    retryBackoff: 'exponential',
    retryMaxDelaySeconds: 30,
  })
  const { id } = await queue.send(1)
  const rests: number[] = []
  for (let seconds = 0, attempt = 1; attempt <= 4; attempt++) {
    moveTo(seconds)
    await queue.nack([await receiptOf(queue)])
    const { availableAt = '' } = await queue.get(id)
    const next = (Date.parse(availableAt) - at(0).getTime()) / 1000
    rests.push(next - seconds)
    seconds = next
  }

  assert.deepEqual(rests, [10, 20, 30, 30])
})

test('a message whose last lease ends becomes a dead letter, and is removed when it was kept long enough', async () => {
  const { queue, moveTo, maintain } = await queueAt0({
    maxAttempts: 1,
    leaseSeconds: 5,
    deadLetterRetentionSeconds: 100,
  })
  const { id } = await queue.send(1)
  await queue.receive()

  moveTo(5)
  await maintain()
  const dead = await queue.get(id)
  moveTo(105)
  const { removedDeadLetters } = await maintain()

  assert.deepEqual(
    [dead.state, dead.deadReason, dead.deadAt, dead.expiresAt],
    ['dead', 'attempts', at(5).toISOString(), at(105).toISOString()],
  )
  assert.equal(removedDeadLetters, 1)
  await assert.rejects(queue.get(id), { code: 'message_not_found', message: new RegExp(id) })
})

test('dead letters go to another queue and back, with their bodies', async () => {
  const { name, queue, queueNamed, moveTo } = await queueAt0()
  const letters = queueNamed(`${name}-dead`)
  await letters.create()
  await queue.create({ deadLetterQueue: `${name}-dead` })
  const body = new Uint8Array([0, 255])
  const { id } = await queue.send(body, { type: 't' })
  await queue.nack([await receiptOf(queue)], { deadLetter: true, error: 'no use' })

  const { messages } = await letters.peek({ reason: 'rejected', type: 't' })
  moveTo(60)
  const counted = await letters.redrive({ minAgeSeconds: 60, errorContains: 'use', dryRun: true })
  const { redrivenMessages } = await letters.redrive({ ids: [id] })

  const deadLetter = { queue: name, reason: 'rejected', error: 'no use', attempts: 1, at: at(0).toISOString() }
  assert.deepEqual(messages[0]?.deadLetters, [deadLetter])
  assert.deepEqual(messages[0]?.body, body)
  assert.deepEqual([counted.redrivenMessages, redrivenMessages], [1, 1])
  const [back] = await queue.receive()
  assert.deepEqual([back?.id, back?.body, back?.attempts, back?.deadLetters], [id, body, 1, [deadLetter]])
})

test('a redrive in parts goes on at its rate', async () => {
  const { queue, moveTo } = await queueAt0()
  await queue.sendBatch(Array.from({ length: 4 }, (_, body) => ({ body })))
  const receipts = (await queue.receive({ max: 4 })).map(({ receipt }) => receipt)
  await queue.nack(receipts, { deadLetter: true })

  const { next } = await queue.redrive({ max: 2, ratePerSecond: 0.1 })
  moveTo(1)
  await queue.redrive({ max: 2, ratePerSecond: 0.1, ...(next && { after: next }) })

  assert.deepEqual(
    (await queue.peek()).messages.map(({ availableAt }) => availableAt),
    [at(0), at(10), at(20), at(30)].map((time) => time.toISOString()),
  )
})

test('a rate hands out its burst, and then one message after the other', async () => {
  const { queue, moveTo } = await queueAt0({ ratePerSecond: 0.5, rateBurst: 2 })
  await queue.sendBatch(Array.from({ length: 10 }, (_, body) => ({ body })))
  const sizes: number[] = []

  for (const seconds of [0, 1, 2, 3, 4, 100]) {
    moveTo(seconds)
    sizes.push((await queue.receive({ max: 10 })).length)
  }

  assert.deepEqual(sizes, [2, 0, 1, 0, 1, 2])
})

test('a pause holds until it is resumed', async () => {
  const { queue } = await queueAt0()
  await queue.send(1)

  assert.equal((await queue.pause()).paused, true)
  assert.deepEqual(await queue.receive(), [])
  assert.equal((await queue.resume()).paused, false)
  assert.equal((await queue.receive()).length, 1)
})

test('with autoAck a message is gone when it is handed out', async () => {
  const { queue } = await queueAt0()
  await queue.send({ id: 1 })

  const [message] = await queue.receive({ autoAck: true })

  assert.deepEqual([message?.body, message?.receipt, message?.leasedUntil], [{ id: 1 }, '', at(0).toISOString()])
  assert.equal((await queue.stats()).leased, 0)
  await assert.rejects(queue.receive({ autoAck: true, leaseSeconds: 5 }), { code: 'request_invalid' })
})

test('a look goes page by page over what meets its conditions', async () => {
  const { queue } = await queueAt0()
  await queue.sendBatch(Array.from({ length: 5 }, (_, body) => ({ body, headers: { odd: String(body % 2) } })))

  const first = await queue.peek({ headers: { odd: '0' }, max: 2 })
  const second = await queue.peek({ headers: { odd: '0' }, max: 2, ...(first.next && { after: first.next }) })

  assert.deepEqual(
    [first, second].map(({ messages }) => messages.map(({ body }) => body)),
    [[0, 2], [4]],
  )
  assert.equal(second.next, undefined)
})
