/* The deliverer, with a real database and real receivers: what is published arrives, signed, at least once, whatever happens. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Executor } from '../../src/db/call.ts'
import { prove } from '../support/sql-endpoints.ts'
import { call } from '../support/sql-verbs.ts'
import { until } from '../support/until.ts'
import { newReceiver, newWorld, secret } from './deliverer-world.ts'
import { verified } from './webhook-receiver.ts'

test('an event arrives at each endpoint that wants it: signed, with its id, and as it was published', async () => {
  const world = await newWorld()
  const receiver = await newReceiver()
  await world.endpoint('all', `${receiver.url}/all`, { headers: JSON.stringify({ 'x-own': 'h' }) })
  await world.endpoint('orders', `${receiver.url}/orders`, { event_types: ['order.*'] })
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  await world.publish(
    {
      json: '{"id":1,  "text":"ünïcode"}',
      type: 'order.created',
      routingKey: 'order.created',
      headers: { traceparent },
    },
    { body: { id: 2 }, routingKey: 'mail.sent' },
    { body: 'words', encoding: 'text', routingKey: 'mail.sent' },
  )

  assert.equal(await world.deliverAt(1), 4)

  const paths = receiver.got.map(({ path, body }) => `${path} ${body}`).sort()
  assert.deepEqual(paths, [
    '/all words',
    '/all {"id": 2}',
    '/all {"id":1,  "text":"ünïcode"}',
    '/orders {"id":1,  "text":"ünïcode"}',
  ])
  for (const { headers, body } of receiver.got) {
    if (body === 'words') assert.equal(headers['content-type'], 'text/plain; charset=utf-8')
    else assert.deepEqual(verified(secret, { headers, body }), JSON.parse(body))
  }
  const orders = receiver.got.filter(({ body }) => body.includes('"id":1'))
  assert.equal(new Set(orders.map(({ headers }) => headers['webhook-id'])).size, 1)
  assert.deepEqual(
    orders.map(({ headers }) => headers['traceparent']),
    [traceparent, traceparent],
  )
  assert.deepEqual(
    receiver.got.filter(({ path }) => path === '/all').map(({ headers }) => headers['x-own']),
    ['h', 'h', 'h'],
  )
  const [attempt] = await world.attempts('orders')
  assert.deepEqual(
    [attempt?.['outcome'], attempt?.['status'], attempt?.['response_body']],
    ['delivered', 200, 'thanks'],
  )
})

test('an endpoint with all the headers that it may have is delivered to, and what no header can carry is left out', async () => {
  const world = await newWorld()
  const receiver = await newReceiver()
  const own = Object.fromEntries(Array.from({ length: 32 }, (_, at) => [`x-${at}`, 'h']))
  await world.endpoint('headed', receiver.url, { headers: JSON.stringify(own) })
  await world.publish({
    body: 'words',
    encoding: 'text',
    contentType: 'text/plain; name=ü',
    headers: { traceparent: 'ü' },
  })

  assert.equal(await world.deliverAt(1), 1)

  const headers: Readonly<Record<string, unknown>> = receiver.got[0]?.headers ?? {}
  assert.deepEqual(
    [headers['x-31'], headers['content-type'], headers['traceparent']],
    ['h', 'text/plain; charset=utf-8', undefined],
  )
})

test('what fails is tried again with the same id, after the pauses of the endpoint, until it arrives', async () => {
  const world = await newWorld()
  let failures = 2
  const receiver = await newReceiver((_, response) => response.writeHead(failures-- > 0 ? 500 : 204).end())
  await world.endpoint('flaky', receiver.url, { retries: ['10 s', '100 s'] })
  await world.publish({ body: 1 })

  const made: number[] = []
  for (const moment of [0, 5, 13, 20, 140, 1000]) made.push(await world.deliverAt(moment))

  assert.deepEqual(made, [1, 0, 1, 0, 1, 0])
  assert.equal(new Set(receiver.got.map(({ headers }) => headers['webhook-id'])).size, 1)
  const attempts = await world.attempts('flaky')
  assert.deepEqual(
    attempts.map(({ number, status, error }) => [number, status, error]),
    [
      [3, 204, null],
      [2, 500, 'status'],
      [1, 500, 'status'],
    ],
  )
})

test('a receiver that is overloaded says when to come again, one that is gone is left alone, one that redirects is not followed', async () => {
  const world = await newWorld()
  const elsewhere = await newReceiver()
  const receiver = await newReceiver(({ path }, response) => {
    if (path === '/busy') response.writeHead(429, { 'retry-after': '60' }).end()
    if (path === '/gone') response.writeHead(410).end()
    if (path === '/moved') response.writeHead(302, { location: elsewhere.url }).end()
  })
  for (const name of ['busy', 'gone', 'moved'])
    await world.endpoint(name, `${receiver.url}/${name}`, { retries: ['5 s', '5 s'] })
  await world.publish({ body: 1 })

  assert.equal(await world.deliverAt(0), 3)
  await world.deliverAt(10)

  assert.deepEqual(receiver.got.map(({ path }) => path).sort(), ['/busy', '/gone', '/moved', '/moved'])
  assert.deepEqual(elsewhere.got, [])
  const gone = await world.describe('gone')
  assert.deepEqual([gone['state'], gone['disabled_because']], ['disabled', 'gone'])
  await world.deliverAt(61)
  assert.equal(receiver.got.filter(({ path }) => path === '/busy').length, 2)
})

test('several deliverers together make each attempt once, though all claim and deliver at the same time', async () => {
  const world = await newWorld()
  const most = 4
  const begin = Promise.withResolvers<void>()
  const claimed = Promise.withResolvers<void>()
  const receiver = await newReceiver((_, response) => void claimed.promise.then(() => response.end()))
  for (let index = 0; index < 20; index++) {
    await world.endpoint(`e${index}`, `${receiver.url}/${index}`, { concurrency: 1000 })
  }
  await world.publish(...Array.from({ length: 20 }, (_, body) => ({ body })))
  // Each has a session of its own. Nobody claims before all are about to, and nobody gets an answer before all have claimed.
  let ready = 0
  let done = 0
  const inOverlap = async () => {
    const session = await world.connect()
    let isFirst = true
    return {
      async query(text: string, values: unknown[]) {
        if (!isFirst || !text.includes('claim')) return session.query(text, values)
        isFirst = false
        if (++ready === most) begin.resolve()
        await begin.promise
        return session.query(text, values).finally(() => ++done === most && claimed.resolve())
      },
    }
  }
  const sessions = await Promise.all(Array.from({ length: most }, inOverlap))

  const made = await Promise.all(sessions.map((executor) => world.deliverer({ executor, slots: 40 }).drain()))

  const counts = made.map(({ attempts }) => attempts)
  assert.equal(
    counts.reduce((sum, count) => sum + count),
    400,
  )
  assert.ok(
    counts.every((count) => count > 0),
    counts.join(),
  )
  assert.equal(new Set(receiver.got.map(({ path, body }) => `${path} ${body}`)).size, 400)
  assert.equal(receiver.got.length, 400)
})

test('who drains waits until what came of it is settled, however long that takes', async () => {
  const world = await newWorld()
  const receiver = await newReceiver()
  await world.endpoint('one', receiver.url)
  await world.publish({ body: 1 })
  const query = async (text: string, values: unknown[]) => {
    if (text.includes('settle')) await world.pool.query('select pg_sleep(0.2)')
    return world.pool.query(text, values)
  }

  await world.deliverer({ executor: { query }, idleMillis: 1 }).drain()

  assert.deepEqual(
    (await world.attempts('one')).map(({ outcome }) => outcome),
    ['delivered'],
  )
})

test('a receiver that never answers delays nobody else', async () => {
  const world = await newWorld()
  const well = await newReceiver()
  const sick = await newReceiver(() => {})
  await world.endpoint('sick', sick.url, { event_types: ['sick'], timeout: '60 s' })
  await world.endpoint('well', well.url, { event_types: ['well'] })
  await world.publish(
    ...Array(100).fill({ body: 1, routingKey: 'sick' }),
    ...Array(100).fill({ body: 2, routingKey: 'well' }),
  )
  const stopping = new AbortController()
  const running = world.deliverer({ slots: 40 }).run(stopping.signal)

  await until('what was published', async () => (well.got.length >= 100 ? true : undefined))
  stopping.abort()
  await running

  assert.equal(well.got.length, 100)
  assert.equal(sick.got.length, 1)
  // What was under way has not been counted, and comes again.
  assert.deepEqual(await world.attempts('sick'), [])
})

test('what a deliverer had that was killed is delivered by another, once its leases have ended', async () => {
  const world = await newWorld()
  const receiver = await newReceiver()
  await world.endpoint('one', receiver.url, { timeout: '10 s' })
  await prove(world.pool, 'one')
  await world.publish({ body: 1 }, { body: 2 })
  // Killed with its requests made, and nothing settled.
  const dying = world.deliverer({
    executor: {
      query: async (text: string, values: unknown[]) =>
        text.includes('settle') ? new Promise(() => {}) : world.pool.query(text, values),
    },
  })
  const killed = new AbortController()
  void dying.drain({}, killed.signal).catch(() => {})
  await until('what was published', async () => (receiver.got.length >= 2 ? true : undefined))
  killed.abort()

  assert.equal(await world.deliverAt(30), 0)
  assert.equal(await world.deliverAt(60), 2)

  const ids = receiver.got.map(({ headers, body }) => `${headers['webhook-id']} ${body}`)
  assert.equal(new Set(ids).size, 2)
  assert.deepEqual(
    (await world.attempts('one')).map(({ number }) => number),
    [2, 2],
  )
})

test('an endpoint whose secret cannot be opened fails, and its secret is nowhere', async () => {
  const world = await newWorld()
  const receiver = await newReceiver()
  await world.endpoint('locked', receiver.url)
  await world.publish({ body: 1 })

  const deliverer = world.deliverer({ open: async (sealed: string) => Promise.reject(new Error(`no ${sealed}`)) })
  await deliverer.drain()

  assert.deepEqual(receiver.got, [])
  const [attempt] = await world.attempts('locked')
  assert.deepEqual([attempt?.['outcome'], attempt?.['error']], ['failed', 'refused_headers'])
  assert.ok(!JSON.stringify(attempt).includes(secret))
})

test('a database that is away for a moment is asked again', async () => {
  const world = await newWorld()
  const receiver = await newReceiver()
  await world.endpoint('one', receiver.url)
  await world.publish({ body: 1 })
  const errors: unknown[] = []
  let isAway = true
  const query = async (text: string, values: unknown[]) => {
    if (isAway) throw new Error('away')
    return world.pool.query(text, values)
  }
  const stopping = new AbortController()
  const onError = (error: unknown) => {
    errors.push(error)
    isAway = errors.length < 3
  }
  const running = world.deliverer({ executor: { query }, idleMillis: 5, onError }).run(stopping.signal)

  await until('an attempt that is noted', async () => ((await world.attempts('one')).length > 0 ? true : undefined))
  stopping.abort()
  await running

  assert.equal(errors.length, 3)
  assert.equal(receiver.got.length, 1)
  assert.deepEqual(
    (await world.attempts('one')).map(({ outcome }) => outcome),
    ['delivered'],
  )
})

test('a connection that breaks while it is settled what came of deliveries has none of them made again', async () => {
  const world = await newWorld()
  const receiver = await newReceiver()
  await world.endpoint('one', receiver.url)
  await prove(world.pool, 'one')
  await world.publish({ body: 1 }, { body: 2 })
  const { executor, errors, onError } = breaking(world.pool, 2)

  await world.deliverer({ executor, onError, againMillis: 5 }).drain()

  assert.deepEqual([await world.deliverAt(61), receiver.got.length, errors.length], [0, 2, 2])
  assert.deepEqual(
    (await world.attempts('one')).map(({ outcome }) => outcome),
    ['delivered', 'delivered'],
  )
})

test('what cannot be settled is given up when its leases have ended, and is delivered once more', async (t) => {
  const world = await newWorld()
  const receiver = await newReceiver()
  await world.endpoint('one', receiver.url, { timeout: '10 s' })
  await world.publish({ body: 1 })
  const { executor, errors } = breaking(world.pool)
  let passed = 0
  const now = performance.now.bind(performance)
  t.mock.method(performance, 'now', () => now() + passed)
  const onError = (error: unknown) => {
    errors.push(error)
    if (errors.length === 2) passed = 40_000
    if (errors.length === 3) passed = 56_000
  }

  await world.deliverer({ executor, onError, againMillis: 5 }).drain()

  assert.equal(errors.length, 3)
  assert.deepEqual([await world.deliverAt(60), receiver.got.length], [1, 2])
})

test('while nothing can be settled little more is claimed', async () => {
  const world = await newWorld()
  const receiver = await newReceiver()
  await world.endpoint('one', receiver.url, { concurrency: 1000 })
  await prove(world.pool, 'one')
  await world.publish(...Array.from({ length: 200 }, (_, body) => ({ body })))
  const { executor } = breaking(world.pool, 8, () => receiver.got.length >= 20)
  const heard: number[] = []
  const onError = () => heard.push(receiver.got.length)

  await world.deliverer({ executor, onError, slots: 4, gatherMillis: 0, againMillis: 50 }).drain()

  const [first = 0, last = 0] = [heard[0], heard.at(-1)]
  assert.ok(heard.length === 8 && last - first <= 12, heard.join())
  assert.equal(receiver.got.length, 200)
})

test('who is stopped, or has no time left, does not wait for a database that is away', {
  timeout: 30_000,
}, async () => {
  const world = await newWorld()
  const receiver = await newReceiver()
  for (const name of ['one', 'two']) await world.endpoint(name, receiver.url, { event_types: [name] })
  const stopping = new AbortController()
  const { executor, errors, onError } = breaking(world.pool)
  const deliverer = world.deliverer({ executor, onError, againMillis: 25_000 })
  const failure = (count: number) => until('a failure', async () => (errors.length === count ? true : undefined))

  await world.publish({ body: 1, routingKey: 'one' })
  const stopped = deliverer.run(stopping.signal)
  await failure(1)
  stopping.abort()
  await stopped
  // (Tried once more at once.)
  assert.equal(errors.length, 2)

  await world.publish({ body: 2, routingKey: 'two' })
  await deliverer.drain({ endMillis: 20_000 })
  assert.deepEqual([errors.length, receiver.got.length], [3, 2])
})

test('an endpoint that is deleted while what came of its deliveries is settled does not undo what came of others', async () => {
  const world = await newWorld()
  const blocker = await world.connect()
  const blocked = Promise.withResolvers<void>()
  const receiver = await newReceiver((_, response) => void blocked.promise.then(() => response.end()))
  for (const name of ['stays', 'goes']) await world.endpoint(name, `${receiver.url}/${name}`)
  await world.publish({ body: 1 })

  const drained = world.deliverer().drain()
  await until('both requests', async () => (receiver.got.length === 2 ? true : undefined))
  // The settling waits at the first of them, and meanwhile the second is deleted.
  await blocker.query(
    `begin; select from postbag.message join postbag.queue using (queue_id) where name = 'webhooks.stays' for update`,
  )
  blocked.resolve()
  const waits = `select from pg_stat_activity where query ~ 'settle_deliveries' and wait_event_type = 'Lock' and datname = current_database()`
  await until('the settling to wait', async () => (await world.pool.query(waits)).rowCount || undefined)
  await call(world.pool, 'delete_endpoint', { endpoint: 'goes' })
  await blocker.query('commit')

  assert.equal((await drained).attempts, 2)
  assert.deepEqual(
    (await world.attempts('stays')).map(({ outcome }) => outcome),
    ['delivered'],
  )
})

test('what the database has no time to settle is settled in smaller batches, and no delivery is made again', async () => {
  const world = await newWorld()
  const [session, blocker] = await Promise.all([world.connect(), world.connect()])
  const names = Array.from({ length: 8 }, (_, index) => `e${index}`)
  const answering = Promise.withResolvers<void>()
  const receiver = await newReceiver((_, response) => void answering.promise.then(() => response.end()))
  for (const name of names) await world.endpoint(name, receiver.url)
  await world.publish({ body: 1 })
  const { executor, settled } = settling(world.pool, session)
  const noted = async () => (await world.pool.query('select from postbag.attempt')).rowCount
  const errors: { code?: string; message: string }[] = []

  const drained = world
    .deliverer({ executor, onError: (error: Error) => errors.push(error), gatherMillis: 200, againMillis: 5 })
    .drain()
  await until('all requests', async () => (receiver.got.length === 8 ? true : undefined))
  await blocker.query('begin; lock table postbag.attempt')
  await session.query(`set statement_timeout = '100ms'`)
  answering.resolve()
  await until('batches that are undone', async () => (errors.length >= 5 ? true : undefined))
  await session.query('set statement_timeout = 0')
  await blocker.query('rollback')
  await drained

  assert.deepEqual([await world.deliverAt(200), receiver.got.length], [0, 8])
  assert.equal(await noted(), 8)
  for (const { code, message } of errors) {
    assert.equal(code, 'database_unavailable')
    assert.match(message, /\(statement_timeout\): nothing was changed/)
  }
  for (const [index, { size, isDone }] of settled.entries()) {
    const next = settled[index + 1]?.size ?? 0
    assert.ok(next <= (isDone ? size * 2 : Math.max(size / 2, 1)), settled.map(({ size }) => size).join())
  }
})

test('one delivery that is locked for long does not keep what came of others from being settled', async () => {
  const world = await newWorld()
  const [session, blocker] = await Promise.all([world.connect(), world.connect()])
  const names = Array.from({ length: 8 }, (_, index) => `e${index}`)
  const answering = Promise.withResolvers<void>()
  const receiver = await newReceiver((_, response) => void answering.promise.then(() => response.end()))
  for (const name of names) await world.endpoint(name, receiver.url)
  await world.publish({ body: 1 })
  await session.query(`set lock_timeout = '50ms'`)
  const { executor } = settling(world.pool, session)
  const noted = async () => (await world.pool.query('select from postbag.attempt')).rowCount

  const drained = world.deliverer({ executor, onError: () => {}, gatherMillis: 200, againMillis: 5 }).drain()
  await until('all requests', async () => (receiver.got.length === 8 ? true : undefined))
  await blocker.query('begin; select from postbag.message order by message_id limit 1 for update')
  answering.resolve()
  await until('the others', async () => ((await noted()) === 7 ? true : undefined))
  await blocker.query('rollback')
  await drained

  assert.deepEqual([await world.deliverAt(200), receiver.got.length], [0, 8])
  assert.equal(await noted(), 8)
})

/** The database, of which a session settles: how many results each settling had, and whether it was done. */
function settling(pool: Executor, session: Executor) {
  const settled: { readonly size: number; isDone: boolean }[] = []
  return {
    settled,
    executor: {
      async query(text: string, values: unknown[]) {
        if (!text.includes('settle')) return pool.query(text, values)
        const one = { size: JSON.parse(String(values[0])).length, isDone: false }
        settled.push(one)
        const answer = await session.query(text, values)
        one.isDone = true
        return answer
      },
    },
  }
}

/** The database, over a connection that breaks whenever something is settled: so often, or always, once that begins. */
function breaking(pool: Executor, times = Infinity, begins = () => true) {
  const errors: unknown[] = []
  let broken = 0
  return {
    errors,
    onError: (error: unknown) => void errors.push(error),
    executor: {
      async query(text: string, values: unknown[]) {
        if (!text.includes('settle') || broken === times || !begins()) return pool.query(text, values)
        broken++
        throw Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
      },
    },
  }
}
