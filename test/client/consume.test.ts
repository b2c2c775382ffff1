/* consume with a handler: many at once, acked or nacked, until told to stop. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { z } from 'zod'
import { type ClientOptions, createClient, type Queue, type QueueError } from '../../src/client/index.ts'
import { hurry, ManualClock, onlyGrace } from './manual-clock.ts'
import { after, cut, messages, messagesOf, outcome, type ScriptedServer, serve, silence } from './scripted-server.ts'

const queueOf = (server: ScriptedServer, options: Partial<ClientOptions> = {}): Queue =>
  createClient({ url: server.url, random: () => 0.5, sleep: onlyGrace, ...options }).queue('orders')

describe('consume', () => {
  test('handles messages side by side, as many as `concurrency` says, and asks only for what it has hands for', async (t) => {
    const server = await serve(t, { receive: [messages('1', '2'), messages('3')] })
    const stop = new AbortController()
    const started: string[] = []
    const first = Promise.withResolvers<void>()
    const all = Promise.withResolvers<void>()

    const consumer = queueOf(server).consume({ concurrency: 3, leaseSeconds: 60, signal: stop.signal }, ({ id }) => {
      started.push(id)
      return id === '1' ? first.promise : all.promise
    })
    await server.request('receive', 2)
    first.resolve()
    await server.request('receive', 3)
    stop.abort()
    all.resolve()
    await consumer

    assert.deepEqual(started, ['1', '2', '3'])
    assert.deepEqual(
      server.seen('receive').map((request) => request.body),
      [3, 1, 1].map((max) => ({ max, waitSeconds: 20, leaseSeconds: 60 })),
    )
  })

  test('acks what was handled with the next receive, which then does not wait for messages', async (t) => {
    const release = Promise.withResolvers<void>()
    const server = await serve(t, {
      receive: [messages('1', '2', '3', '4', '5'), after(release.promise, messages())],
    })
    const stop = new AbortController()
    const ends = new Map<string, () => void>()

    const consumer = queueOf(server).consume(
      { concurrency: 5, signal: stop.signal },
      ({ id }) => new Promise<void>((end) => ends.set(id, end)),
    )
    await server.request('receive', 1)
    while (ends.size < 5) await new Promise(setImmediate)
    for (const id of ['1', '2']) ends.get(id)?.()
    await server.request('receive', 2)
    for (const id of ['3', '4', '5']) ends.get(id)?.()
    release.resolve()
    await server.request('receive', 4)
    stop.abort()
    await consumer

    assert.deepEqual(
      server.seen('receive').map((request) => request.body),
      [
        { max: 5, waitSeconds: 20, leaseSeconds: 30 },
        { max: 2, acks: ['1.1', '2.1'], leaseSeconds: 30 },
        { max: 3, acks: ['3.1', '4.1', '5.1'], leaseSeconds: 30 },
        { max: 5, waitSeconds: 20, leaseSeconds: 30 },
      ],
    )
  })

  test('has two receives under way, each for half of its hands, while there are more messages than hands', async (t) => {
    const server = await serve(t, { receive: [messages('1', '2', '3', '4'), silence, silence] })
    const stop = new AbortController()

    const consumer = queueOf(server).consume({ concurrency: 4, signal: stop.signal }, () => {})
    await server.request('receive', 3)
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate)
    const bodies = server.seen('receive').map((request) => request.body)
    stop.abort()
    await consumer

    assert.deepEqual(bodies, [
      { max: 4, waitSeconds: 20, leaseSeconds: 30 },
      { max: 2, leaseSeconds: 30, acks: ['1.1', '2.1', '3.1', '4.1'] },
      { max: 2, leaseSeconds: 30 },
    ])
  })

  test('acks at once while a receive waits, and gathers while an ack is under way', async (t) => {
    const firstAck = Promise.withResolvers<void>()
    const server = await serve(t, {
      receive: [messages('1', '2', '3')],
      ack: [after(firstAck.promise, outcome('ok'))],
    })
    const stop = new AbortController()
    const ends = new Map<string, () => void>()

    const consumer = queueOf(server).consume(
      { concurrency: 4, signal: stop.signal },
      ({ id }) => new Promise<void>((end) => ends.set(id, end)),
    )
    await server.request('receive', 2)
    ends.get('1')?.()
    await server.request('ack', 1)
    for (const id of ['2', '3']) ends.get(id)?.()
    firstAck.resolve()
    await server.request('ack', 2)
    stop.abort()
    await consumer

    assert.deepEqual(
      server.seen('ack').map(({ path, body }) => [path, body.receipts]),
      [
        ['/v1/queues/orders/ack', ['1.1']],
        ['/v1/queues/orders/ack', ['2.1', '3.1']],
      ],
    )
    assert.equal(server.seen('receive').length, 2)
  })

  test('acks again what went along with a receive that failed, for as long as the lease is ours', async (t) => {
    const server = await serve(t, {
      receive: [messages('1'), cut, cut],
      ack: [cut, outcome('message_gone')],
    })
    const stop = new AbortController()
    const errors: unknown[] = []
    const onError = (error: unknown) => errors.push(error) === 2 && stop.abort()
    const { sleep } = hurry()

    await queueOf(server, { timeoutSeconds: 3600, sleep }).consume(
      { leaseSeconds: 43_200, onError, signal: stop.signal },
      () => {},
    )

    assert.deepEqual(
      server.seen('ack').map(({ path, body }) => [path.split('/').at(-1), body.receipts]),
      [
        ['receive', ['1.1']],
        ['receive', ['1.1']],
        ['ack', ['1.1']],
        ['ack', ['1.1']],
      ],
    )
    // Both receives and the first ack by itself; that the message is gone is what an ack wants.
    assert.equal(errors.length, 3)
  })

  test('slows down when acks take long', async (t) => {
    const firstAck = Promise.withResolvers<void>()
    const server = await serve(t, {
      receive: [messagesOf('group', '1', '2'), messages('3')],
      ack: [after(firstAck.promise, outcome('ok'))],
    })
    const stop = new AbortController()
    const handled: string[] = []

    const consumer = queueOf(server).consume({ signal: stop.signal }, ({ id }) => {
      handled.push(id)
    })
    await server.request('ack', 1)
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate)
    const whileTheAckWasUnderWay = server.seen('receive').length
    firstAck.resolve()
    await server.request('receive', 3)
    stop.abort()
    await consumer

    assert.equal(whileTheAckWasUnderWay, 1)
    assert.deepEqual(handled, ['1', '2', '3'])
  })

  test('nacks what a handler threw at, with the error, leaves the delay to the queue, and goes on', async (t) => {
    const server = await serve(t, { receive: [messages('1'), messages('2')] })
    const stop = new AbortController()
    const errors: [unknown, string | undefined][] = []
    const onError = (error: unknown, message?: { id: string }) => errors.push([error, message?.id])
    const boom = new RangeError('no such order: \0')

    const consumer = queueOf(server).consume({ onError, signal: stop.signal }, ({ id }) => {
      if (id === '1') throw boom
    })
    await server.request('ack', 1)
    stop.abort()
    await consumer

    assert.deepEqual(server.seen('nack')[0]?.body, {
      receipts: ['1.1'],
      error: 'RangeError: no such order: \uFFFD',
    })
    assert.deepEqual(server.seen('ack')[0]?.body.receipts, ['2.1'])
    assert.deepEqual(errors, [[boom, '1']])
  })

  test('nacks also where what was thrown has no text, and goes on', async (t) => {
    const server = await serve(t, { receive: [messages('1'), messages('2')] })
    const stop = new AbortController()

    await queueOf(server).consume({ signal: stop.signal }, ({ id }) => {
      if (id === '1') throw Object.create(null)
      stop.abort()
    })

    assert.deepEqual(receiptsOf(server, 'nack'), ['1.1'])
    assert.deepEqual(receiptsOf(server, 'ack'), ['2.1'])
  })

  test('nacks after the delay that the caller wants', async (t) => {
    const server = await serve(t, { receive: [messages('1'), messages('2'), messages('3')] })
    const stop = new AbortController()
    const fail = () => {
      throw new Error('never')
    }
    const retryDelaySeconds = ({ id }: { id: string }) => (id === '3' ? undefined : Number(id) * 100)

    const consumer = queueOf(server).consume({ retryDelaySeconds, signal: stop.signal }, fail)
    await server.request('nack', 3)
    stop.abort()
    await consumer

    assert.deepEqual(
      server.seen('nack').map((request) => request.body.delaySeconds),
      [100, 200, undefined],
    )
  })

  test('leaves alone what the handler settled itself', async (t) => {
    const server = await serve(t, { receive: [messages('1', '2', '3')] })
    const stop = new AbortController()

    const consumer = queueOf(server).consume({ concurrency: 3, signal: stop.signal }, async (message) => {
      if (message.id === '3') return
      await (message.id === '1' ? message.ack() : message.nack({ delaySeconds: 7 }))
      throw new Error('too late to matter')
    })
    await Promise.all([server.request('ack', 2), server.request('nack', 1)])
    stop.abort()
    await consumer

    assert.deepEqual([...new Set(server.seen('ack').flatMap((request) => request.body.receipts))].sort(), [
      '1.1',
      '3.1',
    ])
    assert.deepEqual(
      server.seen('nack').map((request) => request.body),
      [{ receipts: ['2.1'], delaySeconds: 7 }],
    )
  })

  test('makes a dead letter of what the handler rejects', async (t) => {
    const server = await serve(t, { receive: [messages('1')] })
    const stop = new AbortController()

    const consumer = queueOf(server).consume({ signal: stop.signal }, (message) =>
      message.reject(new Error('no \0 id')),
    )
    await server.request('nack', 1)
    stop.abort()
    await consumer

    const rejected = { receipts: ['1.1'], deadLetter: true, error: 'Error: no \uFFFD id' }
    assert.deepEqual(
      server.seen('nack').map((request) => request.body),
      [rejected],
    )
    assert.deepEqual(server.seen('ack'), [])
  })

  test('nacks what the schema refuses, and never shows it to the handler', async (t) => {
    const server = await serve(t, { receive: [messages('1'), messages('22')] })
    const schema = z.object({ id: z.string().min(2) })
    const stop = new AbortController()
    const handled: string[] = []

    const consumer = createClient({ url: server.url, sleep: onlyGrace })
      .queue('orders', { schema })
      .consume({ signal: stop.signal }, ({ id }) => {
        handled.push(id)
      })
    await server.request('ack', 1)
    stop.abort()
    await consumer

    assert.deepEqual(handled, ['22'])
    assert.match(server.seen('nack')[0]?.body.error, /^QueueError: body\.id: /)
  })

  test('refuses what cannot work', async (t) => {
    const orders = queueOf(await serve(t, {}))
    const handler = () => {}

    await assert.rejects(orders.consume({ concurrency: 0 }, handler), {
      message: 'concurrency must be between 1 and 1000, got 0',
    })
    await assert.rejects(orders.consume({ leaseSeconds: 0 }, handler), {
      message: 'leaseSeconds must be between 1 and 43200, got 0',
    })
  })
})

describe('stopping', () => {
  test('before it began receives nothing', async (t) => {
    const server = await serve(t, {})

    await queueOf(server).consume({ signal: AbortSignal.abort() }, () => {})

    assert.equal(server.seen('receive').length, 0)
  })

  test('lets running handlers end and acks them, and does not abort their messages', async (t) => {
    const server = await serve(t, { receive: [messages('1')] })
    const stop = new AbortController()
    const begun = Promise.withResolvers<AbortSignal>()
    const end = Promise.withResolvers<void>()

    const consumer = queueOf(server).consume({ signal: stop.signal }, ({ signal }) => {
      begun.resolve(signal)
      return end.promise
    })
    const signal = await begun.promise
    stop.abort()
    end.resolve()
    await consumer

    assert.equal(signal.aborted, false)
    assert.deepEqual(server.seen('ack')[0]?.body.receipts, ['1.1'])
    assert.equal(server.seen('receive').length, 1)
  })

  test('gives back what a receive brings that was under way', async (t) => {
    const late = Promise.withResolvers<void>()
    const server = await serve(t, { receive: [after(late.promise, messages('1', '2'))] })
    const stop = new AbortController()

    const consumer = queueOf(server, new ManualClock()).consume({ concurrency: 2, signal: stop.signal }, () =>
      assert.fail('not handled'),
    )
    await server.request('receive', 1)
    stop.abort()
    late.resolve()
    await consumer

    assert.deepEqual(
      server.seen('nack').map((request) => request.body),
      [{ receipts: ['1.1', '2.1'], delaySeconds: 0, untried: true }],
    )
  })

  test('aborts a receive that is idle after half a second', async (t) => {
    const server = await serve(t, {})
    const clock = new ManualClock()
    const stop = new AbortController()

    const consumer = queueOf(server, clock).consume({ signal: stop.signal }, () => {})
    const request = await server.request('receive', 1)
    stop.abort()
    await clock.sleeper(500)
    clock.pass(500)

    await request.abandoned
    await consumer
  })
})

describe('a handler that settles its message itself', () => {
  test('and does not wait for it, hears of nothing, but onError does: the process goes on', async (t) => {
    const lost = outcome('lease_lost')
    const server = await serve(t, { receive: [messages('1')], ack: [lost, lost] })
    const stop = new AbortController()
    const errors: string[] = []

    await queueOf(server).consume(
      { signal: stop.signal, onError: (error) => errors.push((error as QueueError).code) },
      async (message) => {
        void message.ack()
        await server.request('ack', 1)
        await new Promise((resolve) => setTimeout(resolve, 50))
        stop.abort()
      },
    )

    assert.deepEqual(errors, ['lease_lost'])
  })

  test('and nobody knows whether it arrived, leaves it to the end of the handler', async (t) => {
    const server = await serve(t, { receive: [messages('1'), messages('2')], ack: [cut], nack: [cut] })
    const stop = new AbortController()
    const errors: unknown[] = []
    const orders = createClient({ url: server.url, sleep: onlyGrace, retries: 0 }).queue('orders')

    await orders.consume({ signal: stop.signal, onError: (error) => errors.push(error) }, async (message) => {
      if (message.id === '1') await message.ack().catch(() => {})
      else {
        await message.nack().catch(() => {})
        stop.abort()
      }
    })

    assert.deepEqual([receiptsOf(server, 'ack'), receiptsOf(server, 'nack')], [['1.1', '1.1', '2.1'], ['2.1']])
    assert.deepEqual(errors, [])
  })
})

function receiptsOf(server: ScriptedServer, verb: 'ack' | 'nack'): string[] {
  return server.seen(verb).flatMap(({ body }) => body.receipts)
}
