/* consume while things are out of order: the server is away, refuses, or answers too quickly. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ClientOptions, createClient, type Queue, type QueueError } from '../../src/client/index.ts'
import { hurry, ManualClock, onlyGrace } from './manual-clock.ts'
import {
  after,
  cut,
  html,
  json,
  messages,
  outcome,
  problem,
  receiveAnswer,
  type ScriptedServer,
  serve,
} from './scripted-server.ts'

describe('while the server is away', () => {
  test('consume asks again with a growing backoff, for ever, and says so', async (t) => {
    const server = await serve(t, { receive: [...Array(9).fill(cut), html(502), messages('1')] })
    const { sleep, waits } = hurry()
    const stop = new AbortController()
    const codes: string[] = []

    const consumer = tireless(server, sleep).consume(
      { leaseSeconds: 43_200, onError: (error) => codes.push((error as QueueError).code), signal: stop.signal },
      () => stop.abort(),
    )
    await consumer

    const backoffs = waits.filter((milliseconds) => milliseconds !== 500)
    assert.deepEqual(backoffs, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000])
    assert.deepEqual(codes, Array(10).fill('network_error'))
    assert.deepEqual(server.seen('ack')[0]?.body.receipts, ['1.1'])
  })

  test('consume stops at once', async (t) => {
    const server = await serve(t, { receive: [cut] })
    const clock = new ManualClock()
    const stop = new AbortController()

    await tireless(server, clock.sleep).consume({ onError: () => stop.abort(), signal: stop.signal }, () => {})

    assert.equal(server.seen('receive').length, 1)
  })

  test('acks are tried again for as long as the lease is ours', async (t) => {
    const server = await serve(t, { receive: [messages('1')], ack: [...Array(6).fill(cut), outcome('message_gone')] })
    const stop = new AbortController()
    const errors: unknown[] = []

    await tireless(server, hurry().sleep).consume(
      { leaseSeconds: 43_200, onError: (error) => errors.push(error), signal: stop.signal },
      () => stop.abort(),
    )

    assert.equal(server.seen('ack').length, 7)
    assert.equal(errors.length, 6)
  })

  test('acks are given up when the lease is over', async (t) => {
    const server = await serve(t, { receive: [messages('1')], ack: Array(9).fill(cut), extend: Array(99).fill(cut) })
    const clock = new ManualClock()
    const stop = new AbortController()
    const codes: string[] = []
    const orders = createClient({ url: server.url, random: () => 0.5, sleep: clock.sleep, now: clock.now }).queue(
      'orders',
    )

    const consumer = orders.consume(
      { leaseSeconds: 30, onError: (error) => codes.push((error as QueueError).code), signal: stop.signal },
      () => stop.abort(),
    )
    await server.request('ack', 1)
    await clock.sleeper(50)
    clock.pass(30_000)
    await consumer

    assert.ok(codes.includes('lease_expired'), `${codes}`)
    assert.ok(server.seen('ack').length <= 2)
  })

  test('an answer that comes at once and empty is no reason to ask again at once', async (t) => {
    const empty = json({ messages: [] })
    const server = await serve(t, { receive: [empty, empty, empty, messages('1')] })
    const { sleep, waits } = hurry()
    const stop = new AbortController()

    await tireless(server, sleep).consume({ leaseSeconds: 43_200, signal: stop.signal }, () => stop.abort())

    assert.deepEqual(
      waits.filter((milliseconds) => milliseconds !== 500),
      [50, 100, 200],
    )
  })
})

test('while the token function throws, consume goes on, and what was handled is acked in the end', async (t) => {
  const server = await serve(t, { receive: [messages('1')] })
  const stop = new AbortController()
  const codes: string[] = []
  let missing = 0
  const token = () => {
    if (missing-- > 0) throw new TypeError('no token service')
    return 'token'
  }

  const consumer = tireless(server, hurry().sleep, token).consume(
    { leaseSeconds: 43_200, onError: (error) => codes.push((error as QueueError).code), signal: stop.signal },
    () => {
      missing = 5
    },
  )
  await Promise.race([server.request('ack', 1), consumer])
  stop.abort()
  await consumer

  assert.deepEqual(server.seen('ack')[0]?.body.receipts, ['1.1'])
  assert.deepEqual(codes, Array(5).fill('network_error'))
})

describe('consume ends with an error', () => {
  for (const code of ['token_expired', 'scope_missing', 'queue_not_found'] as const) {
    test(`when a receive is refused with ${code}, after its handlers have ended`, async (t) => {
      const refused = Promise.withResolvers<void>()
      const server = await serve(t, { receive: [messages('1'), after(refused.promise, problem(code))] })
      const end = Promise.withResolvers<void>()

      const consumer = tireless(server).consume({ concurrency: 2 }, () => end.promise)
      const failed = assert.rejects(consumer, { code })
      await server.request('receive', 2)
      refused.resolve()
      end.resolve()

      await failed
      assert.deepEqual(server.seen('ack')[0]?.body.receipts, ['1.1'])
    })
  }

  test('when something else than Postbag is at the url', async (t) => {
    const server = await serve(t, { receive: [html(404)] })

    await assert.rejects(
      tireless(server).consume({}, () => {}),
      { code: 'route_not_found' },
    )
  })

  test('when onError throws', async (t) => {
    const server = await serve(t, { receive: [cut, messages('1')] })
    const enough = new Error('enough')
    const onError = () => {
      throw enough
    }

    await assert.rejects(
      tireless(server, hurry().sleep).consume({ leaseSeconds: 43_200, onError }, () => {}),
      enough,
    )
  })

  test('when the promise of onError rejects', async (t) => {
    const server = await serve(t, { receive: [cut, cut, cut, messages('1')] })
    const enough = new Error('enough')

    await assert.rejects(
      tireless(server, hurry().sleep).consume(
        { leaseSeconds: 43_200, onError: () => Promise.reject(enough) },
        () => {},
      ),
      enough,
    )
  })

  test('when the function for the delay throws', async (t) => {
    const server = await serve(t, { receive: [messages('1')] })
    const bug = new TypeError('a bug')
    const fail = () => {
      throw bug
    }

    await assert.rejects(
      tireless(server).consume({ retryDelaySeconds: fail }, () => assert.fail()),
      bug,
    )
  })
})

test('a refused ack is reported with its message, and the consumer goes on', async (t) => {
  const second = { id: '2', receipt: '2.1', encoding: 'json', body: {} }
  const server = await serve(t, {
    receive: [messages('1'), receiveAnswer([second], 'lease_lost')],
    ack: [problem('internal'), problem('request_invalid')],
  })
  const stop = new AbortController()
  const errors: [string, string | undefined][] = []

  await tireless(server, hurry().sleep).consume(
    {
      leaseSeconds: 43_200,
      onError: (error, message) => errors.push([(error as QueueError).code, message?.id]),
      signal: stop.signal,
    },
    ({ id }) => {
      if (id === '2') stop.abort()
    },
  )

  assert.deepEqual(errors, [
    ['lease_lost', '1'],
    ['internal', undefined],
    ['request_invalid', '2'],
  ])
})

function tireless(server: ScriptedServer, sleep = onlyGrace, token?: ClientOptions['token']): Queue {
  return createClient({ url: server.url, timeoutSeconds: 3600, random: () => 0.5, sleep, token }).queue('orders')
}
