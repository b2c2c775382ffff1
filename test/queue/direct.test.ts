/* The verbs over a database handle: they join the caller's transaction, whatever the handle is. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { Kysely, PostgresDialect } from 'kysely'
import { postbag } from '../../src/queue/direct.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
before(async () => {
  database = await createDatabase()
  await database.pool.query('create table customer_order (id integer primary key)')
})

describe('bodies come back as they were sent', () => {
  const bodies: readonly (readonly [string, unknown, 'json' | 'text' | undefined])[] = [
    ['an object', { id: 1, nested: [null, 'é', { '': '\u0000' }] }, undefined],
    ['null', null, undefined],
    ['a JSON string', 'hello', undefined],
    ['a text', 'grüße, 世界 👋', 'text'],
    ['an empty text', '', 'text'],
    ['bytes', Uint8Array.from({ length: 256 }, (_, byte) => byte), undefined],
  ]
  for (const [index, [name, body, encoding]] of bodies.entries()) {
    test(name, async () => {
      const queue = postbag({ executor: database.pool }).queue(`bodies-${index}`)
      await queue.create()

      await queue.send(body, encoding && { encoding })

      const [message] = await queue.receive()
      assert.deepEqual(message?.body, body)
    })
  }
})

test('buffers, and what looks into them, are bytes', async () => {
  const queue = postbag({ executor: database.pool }).queue('buffers')
  await queue.create()
  const { buffer } = Uint8Array.of(1, 2, 3)

  await queue.sendBatch([{ body: buffer }, { body: new DataView(buffer, 1, 2) }])

  const bodies = (await queue.receive({ max: 2 })).map(({ body }) => body)
  assert.deepEqual(bodies, [Uint8Array.of(1, 2, 3), Uint8Array.of(2, 3)])
})

test('what JSON would make null or {} of is refused, in a reply too, and so is no body at all', async () => {
  const queue = postbag({ executor: database.pool }).queue('no-json')
  await queue.create()

  for (const body of [undefined, () => 1, Number.NaN, Number.POSITIVE_INFINITY, 7n, new Map(), new Set([1])]) {
    const refused = { code: 'request_invalid', message: /^body (is missing|must be JSON or bytes, got .*)$/ }
    await assert.rejects(queue.sendBatch([{ body: 1 }, { body }]), refused)
    await assert.rejects(queue.request(body), refused)
  }
  await assert.rejects(
    queue.send(7, { encoding: 'text' }),
    /^QueueError: body must be a string with encoding text, got 7$/,
  )
  assert.deepEqual(await queue.receive(), [])
})

test('a number that JSON would make null of is refused, with the name of its field', async () => {
  const direct = postbag({ executor: database.pool })
  const queue = direct.queue('no-numbers')
  await queue.create()

  for (const field of ['priority', 'delaySeconds', 'ttlSeconds']) {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const refused = (subject: string) => ({
        code: 'request_invalid',
        message: `${subject}${field} must be a number, got ${value}`,
      })
      await assert.rejects(queue.send(1, { [field]: value }), refused(''))
      await assert.rejects(queue.request(1, { [field]: value }), refused(''))
      await assert.rejects(queue.sendBatch([{ body: 1 }, { body: 2, [field]: value }]), refused('messages[1].'))
    }
  }
  assert.deepEqual(await queue.receive(), [])
})

test('a send in a pg transaction exists exactly if it commits', async () => {
  const client = await database.connect()
  const inside = postbag({ executor: client }).queue('outbox-pg')
  const outside = postbag({ executor: database.pool }).queue('outbox-pg')
  await outside.create()

  await client.query('begin')
  await inside.send('rolled back')
  await client.query('rollback')
  await client.query('begin')
  await inside.send('committed')
  assert.deepEqual(await outside.receive({ max: 10 }), [])
  await client.query('commit')

  const received = await outside.receive({ max: 10 })
  assert.deepEqual(
    received.map((message) => message.body),
    ['committed'],
  )
})

test('a send in a Kysely transaction exists exactly if it commits', async () => {
  const kysely = new Kysely<{ customer_order: { id: number } }>({
    dialect: new PostgresDialect({ pool: database.pool }),
  })
  const outside = postbag({ executor: kysely }).queue('outbox-kysely')
  await outside.create()
  const order = (id: number, fail: boolean) =>
    kysely.transaction().execute(async (trx) => {
      await trx.insertInto('customer_order').values({ id }).execute()
      await postbag({ executor: trx }).queue('outbox-kysely').send({ id })
      if (fail) throw new Error('no stock')
    })

  await assert.rejects(order(1, true), /no stock/)
  await order(2, false)

  const orders = await kysely.selectFrom('customer_order').select('id').execute()
  assert.deepEqual(orders, [{ id: 2 }])
  const received = await outside.receive({ max: 10 })
  assert.deepEqual(
    received.map((message) => message.body),
    [{ id: 2 }],
  )
})

test('an ack that rolls back with its work gives the message back when the lease ends', async () => {
  const client = await database.connect()
  const queue = postbag({ executor: database.pool }).queue('ack-in-transaction')
  await queue.create()
  await queue.send('work')
  const [message] = await queue.receive({ leaseSeconds: 0 })

  await client.query('begin')
  const settled = await postbag({ executor: client })
    .queue('ack-in-transaction')
    .ack([message?.receipt ?? ''])
  await client.query('rollback')

  assert.equal(settled[0]?.outcome, 'ok')
  const [again] = await queue.receive()
  assert.equal(again?.attempts, 2)
})

test('time is an argument: a clock that is moved makes delays and leases end', async () => {
  let now = new Date('2030-01-01T00:00:00Z')
  const queue = postbag({ executor: database.pool, clock: () => now }).queue('clock')
  await queue.create({ leaseSeconds: 60 })
  await queue.send('later', { delaySeconds: 3600 })

  assert.deepEqual(await queue.receive(), [])
  now = new Date('2030-01-01T01:00:00Z')
  const [first] = await queue.receive()
  now = new Date('2030-01-01T01:01:00Z')
  const [second] = await queue.receive()

  assert.equal(first?.sentAt, '2030-01-01T00:00:00.000Z')
  assert.equal(first?.leasedUntil, '2030-01-01T01:01:00.000Z')
  assert.equal(second?.attempts, 2)
})

test('peek, stats, purge, list and delete over the handle', async () => {
  const { queue, queues } = postbag({ executor: database.pool })
  const looked = queue('looked-at')
  await looked.create({ maxPriority: 3 })
  await looked.sendBatch([
    { body: 1, type: 'one', headers: { a: 'b' }, priority: 3 },
    { body: 2, delaySeconds: 60 },
  ])

  const peeked = await looked.peek()

  assert.deepEqual(
    peeked.messages.map(({ body, state, type, priority, headers }) => ({ body, state, type, priority, headers })),
    [
      { body: 1, state: 'ready', type: 'one', priority: 3, headers: { a: 'b' } },
      { body: 2, state: 'delayed', type: undefined, priority: 0, headers: {} },
    ],
  )
  const { oldestReadyAt, ...counts } = await looked.stats()
  assert.equal(counts.ready + counts.delayed, 2)
  assert.equal(oldestReadyAt, peeked.messages[0]?.availableAt)
  assert.equal(await looked.purge(), 2)
  assert.equal((await queues({ prefix: 'looked' })).queues[0]?.maxPriority, 3)
  assert.equal(await looked.delete(), 0)
  await assert.rejects(looked.info(), { code: 'queue_not_found', message: /looked-at/ })
})

test('a request in one transaction, its reply with the work and the ack in another, or neither', async () => {
  const { queue } = postbag({ executor: database.pool })
  const [questions, answers] = [queue('questions'), queue('answers')]
  await Promise.all([questions.create(), answers.create()])
  const { id } = await questions.request({ n: 20 }, { keepSeconds: 600, correlationId: 'c-1' })
  await questions.send(1, { replyTo: 'answers' })
  const [first, second] = await questions.receive({ max: 2 })
  assert.ok(first && second)
  assert.deepEqual([first.correlationId, first.headers], ['c-1', {}])
  const client = await database.connect()
  const within = postbag({ executor: client }).queue('questions')

  await client.query('begin')
  assert.equal(await within.reply(first, 'undone'), 'ok')
  await client.query('rollback')
  assert.equal(await questions.fetchReply(id), undefined)
  await client.query('begin')
  assert.equal(await within.reply(first, new Uint8Array([1, 2]), { type: 'sum' }), 'ok')
  assert.equal(await within.reply(second, 'to a queue', { encoding: 'text' }), 'ok')
  await client.query('commit')

  const { repliedAt: _, ...reply } = (await questions.fetchReply(id)) ?? assert.fail('no reply')
  assert.deepEqual(reply, {
    body: new Uint8Array([1, 2]),
    encoding: 'base64',
    type: 'sum',
    correlationId: 'c-1',
    headers: {},
  })
  const [answer] = await answers.receive()
  assert.deepEqual([answer?.body, answer?.correlationId], ['to a queue', second.id])
  assert.deepEqual((await questions.peek()).messages, [])
  assert.equal(await questions.reply(first, 'again'), 'message_gone')
  await assert.rejects(questions.reply({ id: '1' }, 1), { code: 'request_invalid', message: /replyTo is missing/ })
})

test('an error of the database that is not ours passes through as it is', async () => {
  const client = await database.connect()
  await client.query('begin')
  await assert.rejects(client.query('select 1/0'))

  await assert.rejects(postbag({ executor: client }).queue('any').info(), { code: '25P02' })
})
