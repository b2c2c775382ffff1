/* Exchanges over a database handle: they join the caller's transaction. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { postbag } from '../../src/exchange/direct.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
before(async () => {
  database = await createDatabase()
})

const over = () => postbag({ executor: database.pool })

test('a publish in a pg transaction exists exactly if it commits', async () => {
  const client = await database.connect()
  const inside = postbag({ executor: client }).exchange('outbox')
  const queue = over().queue('outbox')
  await queue.create()
  await over().exchange('outbox').declare({ type: 'topic' })
  await over().exchange('outbox').bind({ queue: 'outbox', routingKey: 'order.#' })

  await client.query('begin')
  assert.deepEqual(await inside.publish('rolled back', { routingKey: 'order.created' }), { queues: 1 })
  await client.query('rollback')
  await client.query('begin')
  await inside.publish('committed', { routingKey: 'order.created' })
  assert.deepEqual(await queue.receive({ max: 10 }), [])
  await client.query('commit')

  const received = await queue.receive({ max: 10 })
  assert.deepEqual(
    received.map(({ body }) => body),
    ['committed'],
  )
})

test('an exchange, a binding and a publish that are rolled back were never there', async () => {
  const client = await database.connect()
  const inside = postbag({ executor: client })
  await over().queue('undone').create()

  await client.query('begin')
  await inside.exchange('undone').declare()
  await inside.exchange('undone').bind({ queue: 'undone' })
  await inside.exchange('undone').publish(1)
  await client.query('rollback')

  await assert.rejects(over().exchange('undone').info(), { code: 'exchange_not_found' })
  assert.deepEqual(await over().queue('undone').receive(), [])
})

test('bodies of all kinds reach each queue as they were published, one result per message', async () => {
  const bodies = [{ nested: [null, 'é'] }, 'text', Uint8Array.of(0, 255)]
  const exchange = over().exchange('bodies')
  await exchange.declare({ type: 'direct' })
  for (const name of ['bodies-a', 'bodies-b']) {
    await over().queue(name).create()
    await exchange.bind({ queue: name, routingKey: 'both' })
  }

  const published = await exchange.publishBatch([
    { body: bodies[0], routingKey: 'both' },
    { body: bodies[1], routingKey: 'both', encoding: 'text', type: 'note' },
    { body: bodies[2], routingKey: 'both' },
    { body: 'lost' },
  ])

  assert.deepEqual(published, [{ queues: 2 }, { queues: 2 }, { queues: 2 }, { queues: 0 }])
  for (const name of ['bodies-a', 'bodies-b']) {
    const received = await over().queue(name).receive({ max: 10 })
    assert.deepEqual(
      received.map(({ body }) => body),
      bodies,
    )
    assert.equal(received[1]?.type, 'note')
    assert.deepEqual([received[0]?.exchange, received[0]?.routingKey], ['bodies', 'both'])
  }
})

test('with mandatory nothing is sent if one message reaches no queue', async () => {
  const exchange = over().exchange('default')
  await over().queue('wanted').create()
  const messages = [
    { body: 1, routingKey: 'wanted' },
    { body: 2, routingKey: 'nobody' },
  ]

  await assert.rejects(exchange.publishBatch(messages, { mandatory: true }), { code: 'message_unroutable' })
  await assert.rejects(exchange.publish(2, { routingKey: 'nobody', mandatory: true }), { code: 'message_unroutable' })
  assert.deepEqual(await over().queue('wanted').receive(), [])

  assert.deepEqual(await exchange.publishBatch(messages), [{ queues: 1 }, { queues: 0 }])
})

test('an exchange is declared, described, listed, bound, explained and deleted', async () => {
  const now = new Date('2026-02-03T04:05:06.789Z')
  const { exchange, exchanges, queue } = postbag({ executor: database.pool, clock: () => now })
  await queue('life').create()
  const createdAt = now.toISOString()
  const info = { name: 'life', type: 'topic', alternate: 'life-rest', createdAt }

  assert.deepEqual(await exchange('life').declare({ type: 'topic', alternate: 'life-rest' }), info)
  assert.deepEqual(await exchange('life').info(), info)
  await exchange('life-rest').declare({ type: 'fanout' })
  assert.deepEqual(await exchanges({ prefix: 'life', max: 1 }), { exchanges: [info], next: 'life' })
  assert.equal((await exchanges({ prefix: 'life', after: 'life' })).exchanges[0]?.name, 'life-rest')
  await assert.rejects(exchange('life').declare({ type: 'direct' }), { code: 'exchange_conflict' })

  assert.equal(await exchange('life').bind({ queue: 'life', routingKey: 'a.*' }), true)
  assert.equal(await exchange('life').bind({ queue: 'life', routingKey: 'a.*' }), false)
  assert.equal(await exchange('life-rest').bind({ exchange: 'life' }), true)
  const [from, to] = [await exchange('life').bindings(), await exchange('life').bindings({ direction: 'to' })]
  assert.deepEqual(
    [...from.bindings, ...to.bindings].map(({ id, ...binding }) => binding),
    [
      { source: 'life', queue: 'life', routingKey: 'a.*', createdAt },
      { source: 'life-rest', exchange: 'life', routingKey: '', createdAt },
    ],
  )
  assert.deepEqual(await exchange('life').route({ routingKey: 'a.b' }), {
    queues: ['life'],
    steps: [{ source: 'life', type: 'topic', routingKey: 'a.*', queue: 'life', alternate: false }],
  })
  assert.deepEqual((await exchange('life').route({ routingKey: 'b' })).steps[0], {
    source: 'life',
    type: 'topic',
    exchange: 'life-rest',
    alternate: true,
  })

  assert.deepEqual(await exchange('life').publish(1, { routingKey: 'a.b' }), { queues: 1 })
  assert.equal((await queue('life').receive())[0]?.sentAt, createdAt)

  assert.equal(await exchange('life-rest').unbind({ exchange: 'life' }), true)
  assert.equal(await exchange('life-rest').unbind({ exchange: 'life' }), false)
  await assert.rejects(exchange('life').delete({ ifUnused: true }), { code: 'exchange_in_use' })
  assert.equal(await exchange('life').delete(), 1)
  await assert.rejects(exchange('life').publish(1), { code: 'exchange_not_found' })
})
