/* Aborting ends a call wherever it stands, at once, with the signal's reason. */
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, test } from 'node:test'
import { createClient } from '../../src/client/index.ts'
import { ManualClock } from './manual-clock.ts'
import { cut, serve, silence } from './scripted-server.ts'

const reason = new Error('no longer wanted')

describe('aborting', () => {
  test('before a call keeps it from being made', async (t) => {
    const server = await serve(t, {})
    const orders = createClient({ url: server.url }).queue('orders')
    const { signal } = { signal: AbortSignal.abort(reason) }

    await assert.rejects(orders.send(1, { signal }), reason)
    await assert.rejects(orders.ack(['1.1'], { signal }), reason)

    assert.equal(server.seen('messages').length + server.seen('ack').length, 0)
  })

  test('while a token is fetched keeps it from being made', async (t) => {
    const server = await serve(t, {})
    const controller = new AbortController()
    const token = async () => {
      controller.abort(reason)
      return 'a token'
    }

    const sent = createClient({ url: server.url, token }).queue('orders').send(1, { signal: controller.signal })

    await assert.rejects(sent, reason)
    assert.equal(server.seen('messages').length, 0)
  })

  test('ends a call whose token never comes', async (t) => {
    const server = await serve(t, {})
    const controller = new AbortController()
    const token = () => new Promise<string>(() => {})

    const info = createClient({ url: server.url, token }).queue('orders').info({ signal: controller.signal })
    controller.abort(reason)

    await assert.rejects(info, reason)
    assert.equal(server.seen('queue').length, 0)
  })

  test('ends a consumer whose token never comes', async (t) => {
    const server = await serve(t, {})
    const clock = new ManualClock()
    const stop = new AbortController()
    const token = () => new Promise<string>(() => {})

    const consumer = createClient({ url: server.url, sleep: clock.sleep, token })
      .queue('orders')
      .consume({ signal: stop.signal }, () => {})
    stop.abort()
    await clock.sleeper(500)
    clock.pass(500)

    await consumer
  })

  test('ends a long poll, and the connection with it', async (t) => {
    const server = await serve(t, { receive: [silence] })
    const controller = new AbortController()

    const messages = createClient({ url: server.url })
      .queue('orders')
      .receive({ waitSeconds: 20, signal: controller.signal })
    const request = await server.request('receive', 1)
    controller.abort(reason)

    await assert.rejects(messages, reason)
    await request.abandoned
  })

  test('ends a backoff, and no further try is made', async (t) => {
    const server = await serve(t, { messages: [cut] })
    const clock = new ManualClock()
    const controller = new AbortController()
    const orders = createClient({ url: server.url, sleep: clock.sleep, random: () => 0.5 }).queue('orders')

    const sent = orders.send(1, { signal: controller.signal })
    await clock.sleeper(50)
    controller.abort(reason)

    await assert.rejects(sent, reason)
    clock.pass(1000)
    assert.equal(server.seen('messages').length, 1)
  })

  test('ends a real backoff too', async (t) => {
    const server = await serve(t, { messages: [cut] })
    const controller = new AbortController()
    const backoff = Promise.withResolvers<void>()
    const random = () => {
      if (server.seen('messages').length > 0) backoff.resolve()
      return 1
    }

    const sent = createClient({ url: server.url, random }).queue('orders').send(1, { signal: controller.signal })
    await backoff.promise
    controller.abort(reason)

    await assert.rejects(sent, reason)
  })

  test('costs a signal that lives long nothing: no call leaves a listener with it', async (t) => {
    const server = await serve(t, { messages: [cut] })
    const { signal } = new AbortController()
    const orders = createClient({ url: server.url, random: () => 0 }).queue('orders')

    await orders.send(1, { signal })
    await orders.ack(['1.1'], { signal })

    assert.deepEqual(getEventListeners(signal, 'abort'), [])
  })

  test('works for every verb', async (t) => {
    const server = await serve(t, {
      queue: Array(11).fill(silence),
      messages: [silence, silence],
      ack: [silence],
      nack: [silence],
      extend: [silence],
    })
    const client = createClient({ url: server.url })
    const orders = client.queue('orders')
    const controller = new AbortController()
    const { signal } = controller

    const calls = [
      orders.create({}, { signal }),
      orders.info({ signal }),
      orders.delete({ signal }),
      orders.purge({ signal }),
      orders.stats({ signal }),
      orders.pause({ signal }),
      orders.resume({ signal }),
      orders.redrive({}, { signal }),
      orders.get('1', { signal }),
      orders.sendBatch([{ body: 1 }], { signal }),
      orders.receive({ signal }),
      orders.peek({ signal }),
      orders.ack(['1.1'], { signal }),
      orders.nack(['1.1'], { signal }),
      orders.extend(['1.1'], { signal }),
      client.queues({ signal }).next(),
      client.maintain({ signal }),
    ]
    const ends = Promise.allSettled(calls)
    await Promise.all([
      server.request('queue', 11),
      server.request('messages', 2),
      server.request('receive', 1),
      server.request('ack', 1),
      server.request('nack', 1),
      server.request('extend', 1),
    ])
    controller.abort(reason)

    for (const end of await ends) assert.deepEqual(end, { status: 'rejected', reason })
  })
})
