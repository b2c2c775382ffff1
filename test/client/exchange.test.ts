/* Exchanges through the client, against the real server. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { type RealServer, startRealServer } from './real-server.ts'

let real: RealServer

before(async () => {
  real = await startRealServer()
})

const all = async <One>(pages: AsyncIterable<One>) => {
  const list: One[] = []
  for await (const one of pages) list.push(one)
  return list
}

test('what is published reaches the bound queues, once, and says where it came from', async () => {
  const [eu, us] = [await real.createQueue(), await real.createQueue()]
  const orders = real.client.exchange('client-orders')
  await orders.declare({ type: 'topic' })
  assert.equal(await orders.bind({ queue: eu.name, routingKey: 'order.*.eu' }), true)
  assert.equal(await orders.bind({ queue: eu.name, routingKey: 'order.*.eu' }), false)
  await orders.bind({ queue: us.name, routingKey: 'order.#' })

  const published = await orders.publish({ id: 1 }, { routingKey: 'order.created.eu', type: 'created' })
  const batch = await orders.publishBatch([
    { body: 'text', encoding: 'text', routingKey: 'order.paid' },
    { body: new Uint8Array([1, 2]), routingKey: 'nowhere' },
  ])

  assert.deepEqual([published, batch], [{ queues: 2 }, [{ queues: 1 }, { queues: 0 }]])
  const [message, ...others] = await eu.receive({ max: 9 })
  assert.deepEqual(others, [])
  assert.deepEqual(
    [message?.body, message?.type, message?.exchange, message?.routingKey],
    [{ id: 1 }, 'created', 'client-orders', 'order.created.eu'],
  )
  assert.deepEqual(
    (await us.receive({ max: 9 })).map(({ body }) => body),
    [{ id: 1 }, 'text'],
  )
  assert.deepEqual(await orders.publishBatch([]), [])
})

test('what must reach a queue and does not is refused', async () => {
  const strict = real.client.exchange('client-strict')
  await strict.declare()

  await assert.rejects(strict.publish(1, { mandatory: true, routingKey: 'x' }), { code: 'message_unroutable' })
  await assert.rejects(strict.declare({ type: 'fanout' }), { code: 'exchange_conflict' })
  await assert.rejects(real.client.exchange('client-none').publish(1), { code: 'exchange_not_found' })
})

test('exchanges and bindings are listed, explained and undone', async () => {
  const queue = await real.createQueue()
  const [first, second] = [real.client.exchange('client-list.1'), real.client.exchange('client-list.2')]
  await first.declare({ type: 'headers', alternate: 'client-list.2' })
  await second.declare({ type: 'fanout' })
  await first.bind({ queue: queue.name, headers: { format: 'pdf', size: null } })
  await second.bind({ exchange: 'client-list.1' })

  assert.deepEqual(
    (await all(real.client.exchanges({ prefix: 'client-list.' }))).map(({ name, type }) => [name, type]),
    [
      ['client-list.1', 'headers'],
      ['client-list.2', 'fanout'],
    ],
  )
  const [binding] = await all(first.bindings())
  assert.deepEqual(
    [binding?.queue, binding?.headers, binding?.match],
    [queue.name, { format: 'pdf', size: null }, 'all'],
  )
  assert.deepEqual(
    (await all(first.bindings({ direction: 'to' }))).map(({ source }) => source),
    ['client-list.2'],
  )
  const route = await first.route({ headers: { format: 'pdf', size: '3' } })
  assert.deepEqual(route.queues, [queue.name])
  assert.deepEqual(
    (await first.route()).steps.map(({ alternate }) => alternate),
    [true, false],
  )
  await assert.rejects(first.delete({ ifUnused: true }), { code: 'exchange_in_use' })
  assert.equal(await first.unbind({ queue: queue.name, headers: { format: 'pdf', size: null } }), true)
  assert.equal(await first.delete({ ifUnused: true }), 1)
  await assert.rejects(first.info(), { code: 'exchange_not_found' })
})
