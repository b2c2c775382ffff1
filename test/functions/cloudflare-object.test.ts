/* Waiting receives of a Worker that hold their places in its Durable Object. Nothing looks by itself while that listens, but who has waited
 * to the end; so a wake-up that is lost here lets its receive take 20 s, and its test fail. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { leaveWorker, startWorker } from '../runtimes/workerd.ts'
import { createDatabase } from '../support/database.ts'
import { newQueue, on } from '../support/sql-verbs.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { listenerRests, listeners, watchers } from '../wakeup/waiting.ts'
import { authorization, createWorld, secret, type World } from './worker-world.ts'

const entry = fileURLToPath(new URL('../../functions/cloudflare.ts', import.meta.url))
const resettable = fileURLToPath(new URL('../runtimes/resettable-worker.ts', import.meta.url))

const numbers = (count: number) => Array.from({ length: count }, (_, number) => number)
const sorted = (bodies: readonly unknown[]) => bodies.map(Number).sort((one, other) => one - other)

describe('the receives that wait at the object', () => {
  let world: World
  before(async () => {
    world = await createWorld(entry)
  })
  after(() => world.stop())

  test('are woken, fifty of them, over one connection, by a send in SQL', async () => {
    const { pool } = world.database
    const queue = await newQueue(pool)
    const waiting = numbers(50).map(() => world.receive(queue))
    await world.watched(queue)
    await until('all first looks', async () => world.proxy.connections >= 50 || undefined)

    await on(pool, queue).sendBatch(numbers(50).map((body) => ({ body })))

    assert.deepEqual(sorted((await Promise.all(waiting)).flat()), numbers(50))
    assert.equal((await listeners(pool)).length, 1)
  })

  test('and come again, ask the database nothing while the queue is empty', async () => {
    const { pool } = world.database
    const queue = await newQueue(pool)
    // The first looks before it waits, and is what keeps the queue watched.
    const first = world.receive(queue)
    await world.watched(queue)
    assert.deepEqual(await world.receive(queue, { waitSeconds: 1 }), [])
    const last = await listenerRests(pool)
    const connections = world.proxy.connections

    for (let times = 0; times < 3; times++) {
      const answers = await Promise.all(numbers(20).map(() => world.receive(queue, { waitSeconds: 1 })))
      assert.deepEqual(answers.flat(), [])
    }

    assert.equal(world.proxy.connections, connections)
    assert.equal(await listenerRests(pool), last)
    await on(pool, queue).send('woken')
    assert.deepEqual(await first, ['woken'])
  })

  test('and go away, take nothing: the next is woken instead', async () => {
    const { pool } = world.database
    const queue = await newQueue(pool)
    const request = { method: 'POST', headers: { authorization }, body: JSON.stringify({ waitSeconds: 20 }) }
    const leaving = leaveWorker(`${world.worker.url}/v1/queues/${queue}/receive`, request, 1000)
    await world.watched(queue)
    const stays = world.receive(queue)
    await leaving
    await sleep(100)

    await on(pool, queue).send(1)

    assert.deepEqual(await stays, [1])
    const { rows } = await pool.query(
      'select attempts from postbag.message join postbag.queue using (queue_id) where name = $1',
      [queue],
    )
    assert.deepEqual(rows, [{ attempts: 1 }])
  })

  test('are woken by what goes through the Worker, also where the database tells nobody', async () => {
    const { pool } = world.database
    const queue = await newQueue(pool)
    await on(pool, queue).send('gone')
    const first = await world.call('POST', `/v1/queues/${queue}/receive`, {})
    const { messages } = (await first.json()) as { messages: { receipt: string }[] }
    const receipts = messages.map(({ receipt }) => receipt)
    await world.call('POST', `/v1/queues/${queue}/ack`, { receipts })
    const waiting = world.receive(queue)
    await world.watched(queue)
    await pool.query(
      `insert into postbag.message (queue_id, available_at, sent_at, encoding, body)
      select queue_id, clock_timestamp(), clock_timestamp(), 'json', '1' from postbag.queue where name = $1`,
      [queue],
    )

    // (Nothing is given back by this, so the database has nothing to tell.)
    await world.call('POST', `/v1/queues/${queue}/nack`, { receipts })

    assert.deepEqual(await waiting, [1])
  })

  test('outlive the connection that listens, killed again and again', async () => {
    const { pool } = world.database
    const queue = await newQueue(pool)
    const waiting = numbers(20).map(() => world.receive(queue))
    for (let round = 0; round < 5; round++) {
      await world.watched(queue)
      const killed = await watchers(pool, queue)
      await pool.query('select pg_terminate_backend(pid) from unnest($1::integer[]) as one (pid)', [killed])
      await on(pool, queue).send(round)
      await until('another connection', async () =>
        (await watchers(pool, queue)).find((watcher) => !killed.includes(watcher)),
      )
    }

    await on(pool, queue).sendBatch(numbers(15).map((body) => ({ body: body + 5 })))

    assert.deepEqual(sorted((await Promise.all(waiting)).flat()), numbers(20))
  })

  test('are what /healthz tells of', async () => {
    const queue = await newQueue(world.database.pool)
    const waiting = world.receive(queue, { waitSeconds: 5 })
    await world.watched(queue)

    const { wakeUp } = (await (await world.call('GET', '/healthz')).json()) as { wakeUp: string }

    assert.equal(wakeUp, 'listen: a notification to itself arrived, in a Durable Object')
    await on(world.database.pool, queue).send(1)
    await waiting
  })
})

describe('an object that ends under those who wait', () => {
  let world: World
  before(async () => {
    world = await createWorld(resettable, { HUB_LINGER_SECONDS: '0' })
  })
  after(() => world.stop())

  const reset = async () => {
    const answer = await world.call('POST', '/test/reset')
    assert.equal(answer.status, 204, await answer.text())
  }

  test('again and again, while messages come, loses none', async () => {
    const { pool } = world.database
    const queue = await newQueue(pool)
    const waiting = numbers(40).map(() => world.receive(queue))

    for (let round = 0; round < 8; round++) {
      await world.watched(queue)
      await Promise.all([reset(), on(pool, queue).sendBatch(numbers(5).map((body) => ({ body: round * 5 + body })))])
    }

    assert.deepEqual(sorted((await Promise.all(waiting)).flat()), numbers(40))
  })

  test('once, does not keep those who waited all the time from being woken by what comes long after', async () => {
    const { pool } = world.database
    const queue = await newQueue(pool)
    const waiting = numbers(10).map(() => world.receive(queue))
    await world.watched(queue)
    const [before] = await watchers(pool, queue)
    await reset()
    await until('another that watches', async () => (await watchers(pool, queue)).find((pid) => pid !== before))
    await listenerRests(pool)

    await on(pool, queue).sendBatch(numbers(10).map((body) => ({ body })))

    assert.deepEqual(sorted((await Promise.all(waiting)).flat()), numbers(10))
  })

  test('is not the only one that may end: who was woken and never looked gives way to the next', async () => {
    const { pool } = world.database
    const queue = await newQueue(pool)
    // (As long as nothing listens, who waits is let look now and then.)
    const another = await newQueue(pool)
    const listening = world.receive(another)
    await world.watched(another)
    const abandoned = world.call('POST', `/test/abandon/${queue}`)
    await world.watched(queue)
    const waiting = world.receive(queue)
    // (Should it need longer to begin its wait, it finds the message by itself.)
    await sleep(500)

    await on(pool, queue).send('for somebody')

    assert.equal((await abandoned).status, 204)
    assert.deepEqual(await waiting, ['for somebody'])
    await on(pool, another).send(1)
    await listening
  })

  test('leaves no connection behind, nor does the last who waits', async () => {
    const { pool } = world.database
    const queue = await newQueue(pool)
    const noneListens = async () => (await listeners(pool)).length === 0 || undefined

    await world.receive(queue, { waitSeconds: 1 })
    await until('the end of the connection', noneListens)

    const waiting = world.receive(queue)
    await world.watched(queue)
    await on(pool, queue).send('again')
    assert.deepEqual(await waiting, ['again'])
    await until('the end of the connection', noneListens)
  })
})

describe('queues that are divided among objects', () => {
  test('have a connection for each', async (t) => {
    const world = await createWorld(entry, { HUB_OBJECTS: '3' })
    t.after(() => world.stop())
    const { pool } = world.database
    const queues = await Promise.all(numbers(12).map(() => newQueue(pool)))
    const waiting = queues.map((queue) => world.receive(queue))
    for (const queue of queues) await world.watched(queue)

    assert.equal((await listeners(pool)).length, 3)
    for (const queue of queues) await on(pool, queue).send(queue)

    assert.deepEqual((await Promise.all(waiting)).flat(), queues)
  })
})

describe('without a connection that listens', () => {
  test('because its address is another database, the object says so, and messages arrive', async (t) => {
    const elsewhere = await createDatabase()
    const world = await createWorld(entry, { DATABASE_DIRECT_URL: elsewhere.url })
    t.after(() => world.stop())
    const queue = await newQueue(world.database.pool)
    const waiting = world.receive(queue)
    const reason = 'poll: a notification to itself did not arrive'
    await until('the log', async () => world.log.find((line) => line.includes(`"wakeUp":"${reason}`)))

    await on(world.database.pool, queue).send(1)

    assert.deepEqual(await waiting, [1])
    const { wakeUp } = (await (await world.call('GET', '/healthz')).json()) as { wakeUp: string }
    assert.match(wakeUp, new RegExp(`^${reason}.*, in a Durable Object$`))
  })

  test('because nobody has waited yet, /healthz says so, and opens none', async (t) => {
    const direct = await startTcpProxy((await createDatabase()).url)
    const world = await createWorld(entry, { DATABASE_DIRECT_URL: direct.url })
    t.after(() => Promise.all([world.stop(), direct.stop()]))

    for (let times = 0; times < 3; times++) {
      const { wakeUp } = (await (await world.call('GET', '/healthz')).json()) as { wakeUp: string }
      assert.equal(wakeUp, 'not known yet: nobody has waited, in a Durable Object')
    }

    assert.deepEqual([world.proxy.connections, direct.connections], [0, 0])
  })

  test('because none is configured, the Worker polls, and /healthz says why', async () => {
    const { url } = await createDatabase()
    const vars = { POSTBAG_SECRET: secret }
    for (const [hub, reason] of [
      [false, 'poll: there is no binding HUB'],
      [true, 'poll: DATABASE_DIRECT_URL is not set'],
    ] as const) {
      const worker = await startWorker(entry, url, { vars, hub, onLog: () => {} })
      assert.deepEqual(await (await fetch(`${worker.url}/healthz`)).json(), { status: 'ok', wakeUp: reason })
      await worker.stop()
    }
  })
})
