/* The leases of a consumer: kept while handlers run, and their loss is told. Time passes only when the test says so. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createClient, type QueueError } from '../../src/client/index.ts'
import { ManualClock, onlyGrace } from './manual-clock.ts'
import {
  after,
  cut,
  json,
  messages,
  messagesOf,
  outcome,
  type Reply,
  type ScriptedServer,
  serve,
} from './scripted-server.ts'

describe('while a handler runs', () => {
  test('all leases in hand are extended in one request, at every third of a lease', async (t) => {
    const server = await serve(t, { receive: [messages('1', '2')] })
    const { clock, finish } = await consuming(server, ['1', '2'])

    clock.pass(10_000)
    await server.request('extend', 1)
    await clock.sleeper(10_000)
    clock.pass(10_000)
    await server.request('extend', 2)
    await finish()

    const extension = { receipts: ['1.1', '2.1'], leaseSeconds: 30 }
    assert.deepEqual(
      server.seen('extend').map((request) => request.body),
      [extension, extension],
    )
    assert.deepEqual(server.seen('ack')[0]?.body.receipts, ['1.1', '2.1'])
  })

  test('however many there are: a thousand go together', async (t) => {
    const ids = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `${from + n}`)
    const server = await serve(t, {
      receive: [messagesOf('a', ...ids(0, 1000)), messagesOf('b', ...ids(1000, 1250))],
    })
    const { clock, finish, errors } = await consuming(server, ['0', '1000'], 1000)

    clock.pass(10_000)
    await server.request('extend', 2)

    assert.deepEqual(
      server.seen('extend').map((request) => request.body.receipts.length),
      [1000, 250],
    )
    assert.deepEqual(errors, [])
    await finish()
  })

  test('an extension that fails is tried again in time, and nobody notices but onError', async (t) => {
    const server = await serve(t, { receive: [messages('1')], extend: [cut] })
    const { clock, signals, errors, finish } = await consuming(server, ['1'])

    clock.pass(10_000)
    await clock.sleeper(50)
    clock.pass(50)
    await server.request('extend', 2)
    await finish()

    assert.equal(signals.get('1')?.aborted, false)
    assert.deepEqual(errors, [])
  })

  for (const lost of ['lease_lost', 'lease_expired', 'message_gone']) {
    test(`its signal aborts when the answer to an extension is ${lost}`, async (t) => {
      const mixed: Reply = json({
        results: [
          { receipt: '1.1', outcome: lost },
          { receipt: '2.1', outcome: 'ok' },
        ],
      })
      const server = await serve(t, { receive: [messages('1', '2')], extend: [mixed], ack: [mixed] })
      const { clock, signals, errors, aborted, finish } = await consuming(server, ['1', '2'])

      clock.pass(10_000)
      await aborted('1')
      await clock.sleeper(10_000)
      clock.pass(10_000)
      await server.request('extend', 2)
      await finish()

      assert.equal((signals.get('1')?.reason as QueueError | undefined)?.code, lost)
      assert.equal(signals.get('2')?.aborted, false)
      assert.deepEqual(errors, [[lost, '1']])
      assert.deepEqual(server.seen('extend')[1]?.body.receipts, ['2.1'])
    })
  }

  test('its lease lasts as long as it is extended', async (t) => {
    const server = await serve(t, { receive: [messages('1')] })
    const { clock, signals, finish } = await consuming(server, ['1'])

    for (let extensions = 1; extensions <= 6; extensions++) {
      clock.pass(10_000)
      await server.request('extend', extensions)
      await clock.onlySleeper(10_000)
    }
    await finish()

    assert.equal(signals.get('1')?.aborted, false)
  })

  test('its signal aborts when no extension got through until the lease must be over', async (t) => {
    const arrival = Promise.withResolvers<void>()
    const server = await serve(t, { receive: [after(arrival.promise, messages('1'))], extend: Array(99).fill(cut) })
    const { clock, signals, begun, aborted, finish } = consumer(server, 1)
    await server.request('receive', 1)
    clock.pass(5000)
    arrival.resolve()
    await begun

    for (const [pause, next] of [[5000, 10_000] as const, [10_000, 10_000] as const, [10_000, 5000] as const]) {
      clock.pass(pause)
      await clock.sleeper(next)
    }
    clock.pass(4999)
    assert.equal(signals.get('1')?.aborted, false)
    clock.pass(1)
    await aborted('1')
    await finish()

    assert.equal((signals.get('1')?.reason as QueueError | undefined)?.code, 'lease_expired')
  })

  test('and the work was done all the same, its message is acked: the lease may not have passed to anyone', async (t) => {
    const server = await serve(t, { receive: [messages('1')], extend: [outcome('lease_expired')] })
    const { clock, aborted, errors, finish } = await consuming(server, ['1'])

    clock.pass(10_000)
    await aborted('1')
    await finish()

    assert.deepEqual(server.seen('ack')[0]?.body.receipts, ['1.1'])
    assert.deepEqual(errors, [['lease_expired', '1']])
  })

  test('the answer to an extension that an ack has overtaken says nothing of that message', async (t) => {
    const late = Promise.withResolvers<void>()
    const server = await serve(t, {
      receive: [messages('1', '2')],
      extend: [after(late.promise, outcome('message_gone'))],
    })
    const { clock, signals, errors, end, aborted, finish } = await consuming(server, ['1', '2'])

    clock.pass(10_000)
    await server.request('extend', 1)
    end('1')
    await server.request('ack', 1)
    late.resolve()
    await aborted('2')
    await finish()

    assert.equal(signals.get('1')?.aborted, false)
    assert.deepEqual(errors, [['message_gone', '2']])
  })

  test('that was told to stop, its lease is kept until it ends', async (t) => {
    const server = await serve(t, { receive: [messages('1')] })
    const { clock, stop, finish } = await consuming(server, ['1'])

    stop()
    clock.pass(10_000)
    await server.request('extend', 1)
    await finish()

    assert.deepEqual(server.seen('extend')[0]?.body.receipts, ['1.1'])
  })
})

test('a handler that ends with the loss of its lease does not report it a second time', async (t) => {
  const server = await serve(t, {
    receive: [messages('1')],
    extend: [outcome('lease_lost')],
    nack: [outcome('lease_lost')],
  })
  const clock = new ManualClock()
  const stop = new AbortController()
  const begun = Promise.withResolvers<void>()
  const errors: unknown[] = []
  const orders = createClient({ url: server.url, sleep: clock.sleep, now: clock.now }).queue('orders')

  const consumed = orders.consume(
    { signal: stop.signal, onError: (error) => errors.push((error as QueueError).code) },
    ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
        begun.resolve()
      }),
  )
  await begun.promise
  stop.abort()
  clock.pass(10_000)
  await consumed

  assert.deepEqual(errors, ['lease_lost'])
})

test('a message is not extended any more once it was acked, though its handler goes on', async (t) => {
  const server = await serve(t, { receive: [messages('1', '2')] })
  const clock = new ManualClock()
  const stop = new AbortController()
  const end = Promise.withResolvers<void>()
  const acked = Promise.withResolvers<void>()
  const orders = createClient({ url: server.url, sleep: clock.sleep, now: clock.now }).queue('orders')

  const consumer = orders.consume({ concurrency: 2, signal: stop.signal }, async (message) => {
    if (message.id === '1') await message.ack().then(acked.resolve)
    await end.promise
  })
  await acked.promise
  clock.pass(10_000)
  const extension = await server.request('extend', 1)
  end.resolve()
  stop.abort()
  await server.request('ack', 2)
  clock.pass(500)
  await consumer

  assert.deepEqual(extension.body.receipts, ['2.1'])
})

test('messages that wait for their turn in their group are kept, and when the lease is lost, none of them is handled', async (t) => {
  const server = await serve(t, {
    receive: [messagesOf('a', '1', '2')],
    extend: [outcome('ok'), outcome('lease_lost')],
    nack: [outcome('lease_lost')],
    ack: [outcome('lease_lost')],
  })
  const clock = new ManualClock()
  const stop = new AbortController()
  const begun = Promise.withResolvers<void>()
  const lost = Promise.withResolvers<void>()
  const handled: string[] = []
  const errors: [string, string | undefined][] = []
  const orders = createClient({ url: server.url, sleep: clock.sleep, now: clock.now }).queue('orders')

  const onError = (error: unknown, message?: { id: string }) => errors.push([(error as QueueError).code, message?.id])
  const consumer = orders.consume({ concurrency: 2, signal: stop.signal, onError }, async ({ id, signal }) => {
    handled.push(id)
    signal.addEventListener('abort', () => lost.resolve())
    begun.resolve()
    await lost.promise
  })
  await begun.promise
  for (const extension of [1, 2]) {
    await clock.onlySleeper(10_000)
    clock.pass(10_000)
    await server.request('extend', extension)
  }
  await server.request('nack', 1)
  stop.abort()
  await clock.sleeper(500)
  clock.pass(500)
  await consumer

  assert.deepEqual(
    server.seen('extend').map((request) => request.body.receipts),
    [
      ['1.1', '2.1'],
      ['1.1', '2.1'],
    ],
  )
  assert.deepEqual(handled, ['1'])
  assert.deepEqual(errors, [
    ['lease_lost', '1'],
    ['lease_lost', '2'],
  ])
})

for (const [what, group] of Object.entries({ 'of the same group': 'a', 'without a group': undefined })) {
  test(`a handler does not begin on a message ${what} whose time was over before its turn came, though no timer had a turn`, async (t) => {
    const server = await serve(t, { receive: [messagesOf(group, '1', '2')] })
    const stop = new AbortController()
    const handled: string[] = []
    const errors: [string, string | undefined][] = []
    let milliseconds = 0
    const orders = createClient({ url: server.url, sleep: onlyGrace, now: () => milliseconds }).queue('orders')

    await orders.consume(
      {
        concurrency: 2,
        leaseSeconds: 30,
        signal: stop.signal,
        onError: (error, message) => errors.push([(error as QueueError).code, message?.id]),
      },
      ({ id }) => {
        handled.push(id)
        milliseconds += 30_000
        stop.abort()
      },
    )

    assert.deepEqual(handled, ['1'])
    assert.deepEqual(errors, [['lease_expired', '2']])
    assert.deepEqual(
      server.seen('nack').flatMap(({ body }) => body.receipts),
      ['2.1'],
    )
  })
}

test('a handler does not begin on a message whose time was over before its schema was done with it', async (t) => {
  const server = await serve(t, { receive: [messages('1'), messages('2')] })
  const stop = new AbortController()
  let milliseconds = 0
  const validate = async (value: unknown) => {
    if ((value as { id: string }).id === '1') milliseconds += 30_000
    return { value }
  }
  const schema = { '~standard': { version: 1, vendor: 'none', validate } } as const
  const orders = createClient({ url: server.url, sleep: onlyGrace, now: () => milliseconds }).queue('orders', {
    schema,
  })
  const handled: string[] = []

  await orders.consume({ leaseSeconds: 30, signal: stop.signal }, ({ id }) => {
    handled.push(id)
    stop.abort()
  })

  assert.deepEqual(handled, ['2'])
})

test('a loop does not get a message whose time was over before it asked for it, though no timer had a turn', async (t) => {
  const server = await serve(t, { receive: [messages('1', '2'), messages('3')] })
  const ids: string[] = []
  const codes: string[] = []
  let milliseconds = 0
  const orders = createClient({ url: server.url, sleep: onlyGrace, now: () => milliseconds }).queue('orders')

  for await (const { id } of orders.consume({
    concurrency: 2,
    leaseSeconds: 30,
    onError: (error) => codes.push((error as QueueError).code),
  })) {
    ids.push(id)
    if (id === '3' || ids.length > 1) break
    milliseconds += 30_000
  }

  assert.deepEqual(ids, ['1', '3'])
  assert.deepEqual(codes, ['lease_expired'])
})

/** A consumer that has these messages in hand. */
async function consuming(server: ScriptedServer, ids: readonly string[], concurrency = ids.length) {
  const consuming = consumer(server, concurrency, ids.length)
  await consuming.begun
  return consuming
}

/** A consumer with a lease of 30 s for so many messages at once, and handlers that end when the test says so. */
function consumer(server: ScriptedServer, concurrency: number, beginners = concurrency) {
  const clock = new ManualClock()
  const stopping = new AbortController()
  const begun = Promise.withResolvers<void>()
  const signals = new Map<string, AbortSignal>()
  const ends = new Map<string, () => void>()
  const errors: [string, string | undefined][] = []
  const orders = createClient({ url: server.url, random: () => 0.5, sleep: clock.sleep, now: clock.now }).queue(
    'orders',
  )

  const consumed = orders.consume(
    {
      concurrency,
      leaseSeconds: 30,
      signal: stopping.signal,
      onError: (error, message) => errors.push([(error as QueueError).code, message?.id]),
    },
    ({ id, signal }) => {
      signals.set(id, signal)
      if (signals.size === beginners) begun.resolve()
      return new Promise<void>((end) => ends.set(id, end))
    },
  )
  return {
    clock,
    signals,
    errors,
    begun: begun.promise,
    stop: () => stopping.abort(),
    end: (id: string) => ends.get(id)?.(),
    aborted: (id: string) =>
      new Promise<void>((resolve) => {
        const signal = signals.get(id)
        if (signal?.aborted) resolve()
        else signal?.addEventListener('abort', () => resolve())
      }),
    async finish() {
      stopping.abort()
      clock.pass(500)
      for (const end of ends.values()) end()
      await consumed
    },
  }
}
