/* A call that fails in passing is made again; one that fails for good is not. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { backoffMilliseconds } from '../../src/client/backoff.ts'
import { createClient, QueueError } from '../../src/client/index.ts'
import { hurry, ManualClock } from './manual-clock.ts'
import { cut, cutShort, html, json, problem, serve, silence } from './scripted-server.ts'

const info = json({ name: 'orders' })
const patient = { timeoutSeconds: 3600, random: () => 0.5 }

describe('a call that fails in passing', () => {
  for (const [failure, reply] of Object.entries({
    'a connection that was reset': cut,
    'an answer that broke off': cutShort,
    'a database that is away': problem('database_unavailable'),
    'a gateway that is overloaded': html(502),
    'a proxy that counts requests': html(429),
  })) {
    test(`is made again after ${failure}`, async (t) => {
      const server = await serve(t, { queue: [reply, reply, info] })
      const { sleep, waits } = hurry()
      const orders = createClient({ url: server.url, sleep, ...patient }).queue('orders')

      assert.equal((await orders.info()).name, 'orders')
      assert.deepEqual(waits, [50, 100])
    })
  }

  test('is made again when no answer comes in time', async (t) => {
    const server = await serve(t, { queue: [silence, info] })
    const clock = new ManualClock()
    const { sleep, now } = clock
    const orders = createClient({ url: server.url, timeoutSeconds: 7, random: () => 0.5, sleep, now }).queue('orders')

    const answer = orders.info()
    const first = await server.request('queue', 1)
    clock.pass(7000)
    await first.abandoned
    await clock.sleeper(50)
    clock.pass(50)

    assert.equal((await answer).name, 'orders')
  })

  test('has as much time as a long poll takes on top', async (t) => {
    const server = await serve(t, {})
    const clock = new ManualClock()
    const stop = new AbortController()
    const orders = createClient({ url: server.url, timeoutSeconds: 7, sleep: clock.sleep }).queue('orders')

    const messages = orders.receive({ waitSeconds: 20, signal: stop.signal })
    await clock.sleeper(27_000)
    stop.abort()

    await assert.rejects(messages, { name: 'AbortError' })
  })

  test('waits at least as long as the server asks, up to 30 s', async (t) => {
    const ask = (seconds: string) => problem('server_stopping', { 'retry-after': seconds })
    const server = await serve(t, { queue: [ask('2'), ask('3600'), ask('tomorrow'), info] })
    const { sleep, waits } = hurry()

    await createClient({ url: server.url, sleep, ...patient })
      .queue('orders')
      .info()

    assert.deepEqual(waits, [2050, 30_100, 200])
  })

  test('is made again as often as `retries` says, then throws what the server said last', async (t) => {
    const server = await serve(t, { queue: [cut, cut, problem('database_unavailable', { 'retry-after': '4' }), info] })
    const orders = createClient({ url: server.url, sleep: hurry().sleep, ...patient, retries: 2 }).queue('orders')

    await assert.rejects(orders.info(), {
      name: 'QueueError',
      code: 'database_unavailable',
      message: 'told to say database_unavailable (request request-1)',
      retryAfterSeconds: 4,
    })
    assert.equal(server.seen('queue').length, 3)
  })

  test('is not made again with retries: 0', async (t) => {
    const server = await serve(t, { queue: [cut, info] })
    const orders = createClient({ url: server.url, retries: 0 }).queue('orders')

    await assert.rejects(orders.info(), {
      code: 'network_error',
      message: /^http.*\/v1\/queues\/orders must answer, got /,
    })
    assert.equal(server.seen('queue').length, 1)
  })
})

describe('a call that fails for good', () => {
  test('is not made again, and throws what the server said', async (t) => {
    const server = await serve(t, { queue: [problem('queue_not_found')] })

    const failure = createClient({ url: server.url }).queue('orders').info()

    await assert.rejects(failure, (error: Error) => {
      assert.equal(error.message, 'told to say queue_not_found')
      assert.equal((error as Error & { code: string }).code, 'queue_not_found')
      assert.equal((error.cause as { requestId: string }).requestId, 'request-1')
      return true
    })
    assert.equal(server.seen('queue').length, 1)
  })

  test('says that the url is wrong when something else than Postbag answers', async (t) => {
    const page = (response: Parameters<typeof silence>[0]) =>
      response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Welcome</h1>')
    const server = await serve(t, { queue: [html(404), page] })
    const orders = createClient({ url: server.url }).queue('orders')

    await assert.rejects(orders.info(), { code: 'route_not_found', message: /must be Postbag, got 404 text\/html$/ })
    await assert.rejects(orders.info(), { code: 'route_not_found', message: /must be Postbag, got 200 text\/html$/ })
  })

  test('keeps to the codes it knows when a newer server has others', async (t) => {
    const newer = (status: number) => json({ code: 'queue_asleep', detail: 'the queue sleeps' }, status)
    const server = await serve(t, { queue: [newer(409), newer(500)] })
    const orders = createClient({ url: server.url, retries: 0 }).queue('orders')

    await assert.rejects(orders.info(), { code: 'request_invalid', message: 'the queue sleeps' })
    await assert.rejects(orders.info(), { code: 'internal' })
  })

  for (const timeoutSeconds of [0, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31]) {
    test(`is not even made when no timer can last as long as it may take: ${timeoutSeconds} s`, () => {
      assert.throws(() => createClient({ url: 'http://localhost:8787', timeoutSeconds }), {
        code: 'request_invalid',
        message: `timeoutSeconds must be between 0.001 and 86400, got ${timeoutSeconds}`,
      })
    })
  }

  test('is not even made when the url is none', () => {
    assert.throws(() => createClient({ url: 'localhost:8787' }), {
      code: 'request_invalid',
      message: 'url must be http(s)://host/path, got localhost:8787',
    })
  })
})

describe('a request', () => {
  test('goes below the path of the url, with the token that is good at that moment', async (t) => {
    const server = await serve(t, { queue: [cut, info, info] })
    const tokens = ['old', 'new']
    const url = `${server.url}/bag/`

    await createClient({ url, sleep: hurry().sleep, ...patient, token: () => tokens.shift() ?? '' })
      .queue('a b')
      .info()
    await createClient({ url, token: 'fixed' }).queue('orders').info()

    assert.deepEqual(
      server.seen('queue').map(({ path, headers }) => [path, headers.authorization]),
      [
        ['/bag/v1/queues/a%20b', 'Bearer old'],
        ['/bag/v1/queues/a%20b', 'Bearer new'],
        ['/bag/v1/queues/orders', 'Bearer fixed'],
      ],
    )
  })
})

describe('a token function that gives none', () => {
  const away = new TypeError('no token service')

  test('is asked again, as a server that is away would be', async (t) => {
    const server = await serve(t, { queue: [info] })
    const { sleep, waits } = hurry()
    let tries = 0
    const token = () => {
      if (++tries < 3) throw away
      return 'token'
    }

    await createClient({ url: server.url, sleep, ...patient, token })
      .queue('orders')
      .info()

    assert.deepEqual(waits, [50, 100])
    assert.equal(server.seen('queue')[0]?.headers.authorization, 'Bearer token')
  })

  test('makes a network error of what it threw', async (t) => {
    const server = await serve(t, {})
    const token = () => Promise.reject(away)

    await assert.rejects(createClient({ url: server.url, retries: 0, token }).queue('orders').info(), {
      code: 'network_error',
      message: 'the token function must answer, got TypeError: no token service',
      cause: away,
    })
  })

  test('has as long as a try may take', async (t) => {
    const server = await serve(t, {})
    const clock = new ManualClock()
    const token = () => new Promise<string>(() => {})
    const orders = createClient({ url: server.url, retries: 0, timeoutSeconds: 7, sleep: clock.sleep, token })

    const info = orders.queue('orders').info()
    await clock.sleeper(7000)
    clock.pass(7000)

    await assert.rejects(info, {
      code: 'network_error',
      message: 'the token function must answer, got no answer within 7 s',
    })
  })

  test('makes a network error also of what has no text', async (t) => {
    const token = () => Promise.reject(Object.create(null))

    await assert.rejects(
      createClient({ url: (await serve(t, {})).url, retries: 0, token })
        .queue('orders')
        .info(),
      {
        code: 'network_error',
      },
    )
  })

  test('ends the call with a QueueError of its own', async (t) => {
    const server = await serve(t, {})
    const ended = new QueueError('token_invalid', 'signed out')
    let tries = 0
    const token = () => {
      tries++
      throw ended
    }

    await assert.rejects(createClient({ url: server.url, token }).queue('orders').info(), ended)
    assert.equal(tries, 1)
  })
})

describe('a token that no header can hold', () => {
  for (const token of ['secret\npart', 'se cret', 'sécret', 'secret\u0000']) {
    test(`is refused at once, and not shown: ${JSON.stringify(token)}`, async (t) => {
      const server = await serve(t, {})
      const queue = createClient({ url: server.url, token: async () => token }).queue('orders')
      const refusal = {
        code: 'token_invalid',
        message: 'the token must be visible ASCII without spaces, got something else',
      }

      await assert.rejects(queue.info(), refusal)
      await assert.rejects(
        queue.consume({}, () => {}),
        refusal,
      )

      assert.deepEqual([...server.seen('queue'), ...server.seen('receive')], [])
    })
  }

  test('is not one with a line end after it, as files have', async (t) => {
    const server = await serve(t, { queue: [info] })

    await createClient({ url: server.url, token: ' secret\n' }).queue('orders').info()

    assert.equal(server.seen('queue')[0]?.headers.authorization, 'Bearer secret')
  })
})

describe('the backoff', () => {
  test('is anything from nothing to 0.1 s, doubled with every try, up to 10 s', () => {
    const most = (tries: number) => backoffMilliseconds(tries, 0, () => 1)

    assert.deepEqual([1, 2, 3, 7, 8, 9, 2000].map(most), [100, 200, 400, 6400, 10_000, 10_000, 10_000])
    assert.equal(
      backoffMilliseconds(5, 0, () => 0),
      0,
    )
  })
})
