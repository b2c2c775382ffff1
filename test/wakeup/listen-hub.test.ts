/* The hub on one LISTEN connection: who waits is woken by whatever makes something available, in the order of arrival, and by nothing
 * else; and waiting costs nothing. There is no poll behind it: a wake-up that is lost here lets its test fail. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../src/db/connect.ts'
import { createListenHub } from '../../src/wakeup/listen-hub.ts'
import { createPollHub } from '../../src/wakeup/poll-hub.ts'
import { createDatabase } from '../support/database.ts'
import { newQueue, on, receipts } from '../support/sql-verbs.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/until.ts'
import { createWaiting, listenerRests, listenerSettles, listeners, watchers } from './waiting.ts'

const world = await createWaiting()
const { database, hub } = world
const { pool } = database

describe('a waiting receive is woken by', () => {
  test('a send of another process', async () => {
    const queue = await newQueue(pool)
    const waiting = world.wait(queue)
    await world.watched(queue)

    await on(pool, queue).send('sent')

    assert.deepEqual(await waiting, ['"sent"'])
  })

  test('a poke of its own process, with a send that notifies nobody', async () => {
    const queue = await newQueue(pool)
    const waiting = world.wait(queue)
    await world.watched(queue)
    await pool.query(
      `insert into postbag.message (queue_id, available_at, sent_at, encoding, body)
      select queue_id, clock_timestamp(), clock_timestamp(), 'json', '1' from postbag.queue where name = $1`,
      [queue],
    )

    hub.poke(queue)

    assert.deepEqual(await waiting, ['1'])
  })

  test('the end of a delay, and of a lease', async () => {
    const queue = await newQueue(pool)
    const { send, receive } = on(pool, queue)
    await send('delayed', { delay: '0.3 s' })
    const before = world.looks
    assert.deepEqual(await world.wait(queue, { leaseSeconds: 0.3 }), ['"delayed"'])

    assert.deepEqual(await world.wait(queue), ['"delayed"'])

    assert.deepEqual(await receive(), [])
    // Each looks once before it waits, and once when the time has come.
    assert.ok(world.looks - before <= 5, `${world.looks - before} looks`)
  })

  test('a delayed message that is due before the one it waits for', async () => {
    const queue = await newQueue(pool)
    await on(pool, queue).send('later', { delay: '1 h' })
    const waiting = world.wait(queue)
    await world.watched(queue)

    await on(pool, queue).send('sooner', { delay: '0.2 s' })

    assert.deepEqual(await waiting, ['"sooner"'])
  })

  test('a nack, resuming, and a lease that is shortened to nothing', async () => {
    const queue = await newQueue(pool)
    const { send, receive, nack, extend, pause, resume } = on(pool, queue)
    await send(1)

    const nacked = receipts(await receive())
    const first = world.wait(queue, { leaseSeconds: 0 })
    await until('the watch', async () => (await watchers(pool, queue))[0])
    await nack(nacked)
    assert.deepEqual(await first, ['1'])

    await pause()
    const second = world.wait(queue, { leaseSeconds: 0 })
    await until('the watch', async () => (await watchers(pool, queue))[0])
    await resume()
    assert.deepEqual(await second, ['1'])

    const held = receipts(await receive(1, { lease: '1 h' }))
    const third = world.wait(queue)
    await until('the watch', async () => (await watchers(pool, queue))[0])
    await extend(held, { lease: '0 s' })
    assert.deepEqual(await third, ['1'])
  })

  test('the ack of the message before it in its group', async () => {
    const queue = await newQueue(pool)
    const { sendBatch, receive, ack } = on(pool, queue)
    await sendBatch([1, 2].map((body) => ({ body, group: 'g' })))
    const [first] = receipts(await receive(1))
    const waiting = world.wait(queue)
    await world.watched(queue)

    await ack(first)

    assert.deepEqual(await waiting, ['2'])
  })

  test('the end of the time to live of the message before it in its group', async () => {
    const queue = await newQueue(pool)
    const { sendBatch } = on(pool, queue)
    await sendBatch([
      { body: 1, group: 'g', delaySeconds: 0.2, ttlSeconds: 0.001 },
      { body: 2, group: 'g' },
    ])

    assert.deepEqual(await world.wait(queue), ['2'])
  })

  test('a place in flight that becomes free', async () => {
    const queue = await newQueue(pool, { max_in_flight: 1 })
    const { sendBatch, receive, ack } = on(pool, queue)
    await sendBatch([{ body: 1 }, { body: 2 }])
    const [first] = receipts(await receive(1))
    const waiting = world.wait(queue)
    await world.watched(queue)

    await ack(first)

    assert.deepEqual(await waiting, ['2'])
  })

  test('a dead letter that comes to its queue', async () => {
    const letters = await newQueue(pool)
    const queue = await newQueue(pool, { dead_letter_queue: letters })
    await on(pool, queue).send(1)
    const received = receipts(await on(pool, queue).receive())
    const waiting = world.wait(letters)
    await world.watched(letters)

    await on(pool, queue).nack(received, { dead_letter: true })

    assert.deepEqual(await waiting, ['1'])
  })

  test('the deletion of its queue, which it says, as everybody else who waits', async () => {
    const queue = await newQueue(pool)
    const answers = Promise.allSettled(Array.from({ length: 5 }, () => world.wait(queue)))
    await world.watched(queue)

    await on(pool, queue).delete()

    for (const outcome of await answers) {
      assert.equal(outcome.status === 'rejected' && outcome.reason.code, 'queue_not_found')
    }
  })

  test('a commit that was on its way when it began to wait', async () => {
    const queue = await newQueue(pool)
    const early = await database.connect()
    await early.query('begin')
    await on(early, queue).send('early')
    const waiting = world.wait(queue)
    await world.watched(queue)

    await early.query('commit')

    assert.deepEqual(await waiting, ['"early"'])
  })

  test('a receive that is rolled back', async () => {
    const queue = await newQueue(pool)
    await on(pool, queue).send('given back')
    const other = await database.connect()
    await other.query('begin')
    await on(other, queue).receive()
    const waiting = world.wait(queue)
    await world.watched(queue)

    await other.query('rollback')

    assert.deepEqual(await waiting, ['"given back"'])
  })

  test('a send, while transactions older than its wait stay open', async () => {
    const queue = await newQueue(pool)
    const old = await database.connect()
    await old.query('begin; select pg_current_xact_id()')
    const waiting = world.wait(queue)
    await world.watched(queue)

    await on(pool, queue).send(1)

    assert.deepEqual(await waiting, ['1'])
    await old.query('rollback')
  })
})

describe('of those who wait', () => {
  test('those that came first are served first, each in its turn', async () => {
    const queue = await newQueue(pool)
    const served: number[] = []
    const before = world.looked
    const waiting = Array.from({ length: 10 }, (_, place) => world.wait(queue).then(() => served.push(place)))
    await until('all first looks', async () => world.looked - before === 10 || undefined)

    for (let sent = 0; sent < 10; sent++) {
      await world.watched(queue)
      await listenerRests(pool)
      await on(pool, queue).send(sent)
      await until(`answer ${sent}`, async () => served.length > sent || undefined)
    }

    await Promise.all(waiting)
    assert.deepEqual(served, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  test('no more look than there may be messages for', async () => {
    const queue = await newQueue(pool)
    const leave = new AbortController()
    const waiting = Array.from({ length: 100 }, () => world.wait(queue, { signal: leave.signal }))
    await world.watched(queue)
    await listenerRests(pool)
    const before = world.looks

    await on(pool, queue).send(1)

    await Promise.race(waiting)
    await world.watched(queue)
    await listenerRests(pool)
    // The one who was served, and the next, for whom there might have been more.
    assert.ok(world.looks - before <= 3, `${world.looks - before} looks`)
    leave.abort()
    assert.equal((await Promise.all(waiting)).filter((found) => found.length === 1).length, 1)
  })

  test('a batch reaches everybody', async () => {
    const queue = await newQueue(pool)
    const waiting = Array.from({ length: 50 }, () => world.wait(queue))
    await world.watched(queue)

    await on(pool, queue).sendBatch(Array.from({ length: 50 }, (_, body) => ({ body })))

    const bodies = (await Promise.all(waiting)).flat().map(Number)
    assert.deepEqual(
      bodies.sort((one, other) => one - other),
      [...Array(50).keys()],
    )
  })

  test('who goes away takes nothing', async () => {
    const queue = await newQueue(pool)
    const leaving = new AbortController()
    const left = world.wait(queue, { signal: leaving.signal })
    const stays = world.wait(queue)
    await world.watched(queue)
    // (A look that is under way when he leaves may find it.)
    await until('all looks to be over', async () => world.looked === world.looks || undefined)

    leaving.abort()
    await on(pool, queue).send(1)

    assert.deepEqual([await left, await stays], [[], ['1']])
  })

  test('each is answered in its time', async () => {
    const queue = await newQueue(pool)

    assert.deepEqual(await world.wait(queue, { seconds: 0.1 }), [])
  })
})

describe('waiting costs', () => {
  test('no query, however many wait, come and go', async () => {
    const queue = await newQueue(pool)
    const first = world.wait(queue)
    await world.watched(queue)
    await listenerSettles(pool)
    const last = await listenerRests(pool)
    const before = world.looks

    const waves = Array.from({ length: 3 }, () =>
      Promise.all(Array.from({ length: 300 }, () => world.wait(queue, { seconds: 0.2 }))),
    )
    assert.equal((await Promise.all(waves)).flat(2).length, 0)

    assert.equal(world.looks, before)
    assert.equal(await listenerRests(pool), last)
    await on(pool, queue).send(1)
    assert.deepEqual(await first, ['1'])
  })

  test('one connection, which goes some time after the last one', async () => {
    const { wait, watched, database: own } = await createWaiting(undefined, { lingerMillis: 0 })
    const queue = await newQueue(own.pool)
    const leave = new AbortController()
    const waiting = Array.from({ length: 20 }, () => wait(queue, { signal: leave.signal }))
    await watched(queue)

    assert.equal((await listeners(own.pool)).length, 1)
    leave.abort()
    await Promise.all(waiting)

    await until('the end of the connection', async () => ((await listeners(own.pool)).length === 0 ? true : undefined))
    const again = wait(queue)
    await watched(queue)
    await on(own.pool, queue).send('again')
    assert.deepEqual(await again, ['"again"'])
  })

  test('a connection that outlives the last one by as long as it is to, no longer', async () => {
    const { wait, watched, database: own } = await createWaiting(undefined, { lingerMillis: 2000 })
    const queue = await newQueue(own.pool)
    const leave = new AbortController()
    const waiting = wait(queue, { signal: leave.signal })
    await watched(queue)

    leave.abort()
    await waiting
    const left = performance.now()

    await until('the end of the connection', async () => ((await listeners(own.pool)).length === 0 ? true : undefined))
    const millis = performance.now() - left
    assert.ok(millis > 1900 && millis < 3500, `${millis} ms`)
  })

  test('few notifications, where many send what nobody is to have yet', async () => {
    const queue = await newQueue(pool)
    const leave = new AbortController()
    const waiting = Array.from({ length: 20 }, () => world.wait(queue, { signal: leave.signal }))
    await world.watched(queue)
    const ear = await database.connect()
    let heard = 0
    ear.on('notification', ({ payload }) => payload === queue && heard++)
    await ear.query('listen postbag')

    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let sent = 0; sent < 100; sent++) await on(pool, queue).send(sent, { delay: '1 h' })
      }),
    )

    await ear.query('select 1')
    assert.ok(heard < 400, `${heard} notifications of 800 sends`)
    leave.abort()
    await Promise.all(waiting)
  })
})

describe('at its start', () => {
  test('it is tried whether a notification arrives, and nothing stays open', async () => {
    const modes: string[] = []
    const own = await createWaiting(undefined, { say: (mode) => modes.push(mode) })

    await until('the mode', async () => modes[0])

    assert.deepEqual(modes, ['listen, when somebody waits: a notification to itself arrived'])
    assert.equal(own.hub.mode, modes[0])
    await until('the end of the connection', async () =>
      (await listeners(own.database.pool)).length === 0 ? true : undefined,
    )
  })

  test('a database that is away is no reason to fail, and is said; who waits later is served', async () => {
    const database = await createDatabase()
    const proxy = await startTcpProxy(database.url)
    await proxy.refuse()
    const own = await createWaiting(database, { url: proxy.url })
    await until('the mode', async () => own.hub.mode.startsWith('poll: connect ECONNREFUSED') || undefined)
    await proxy.restore()
    const queue = await newQueue(database.pool)

    const waiting = own.wait(queue)
    await own.watched(queue)
    await on(database.pool, queue).send(1)

    assert.deepEqual(await waiting, ['1'])
    assert.equal(own.hub.mode, 'listen: a notification to itself arrived')
    await own.hub.close()
    await proxy.stop()
  })
})

describe('without its connection', () => {
  test('a hub whose listening address is another database says so, and looks now and then', async () => {
    const elsewhere = await createDatabase()
    const own = await createWaiting(undefined, { url: elsewhere.url })
    const queue = await newQueue(own.database.pool)
    const waiting = own.wait(queue)
    await until('the mode', async () => (own.hub.mode.startsWith('poll') ? true : undefined))
    assert.match(own.hub.mode, /^poll: a notification to itself did not arrive within 2 s: .*DATABASE_DIRECT_URL$/)

    await on(own.database.pool, queue).send(1)

    assert.deepEqual(await waiting, ['1'])
    const { rows } = await elsewhere.pool.query(
      `select from pg_stat_activity where application_name = 'postbag listen' and datname = current_database()`,
    )
    assert.equal(rows.length, 0)
  })

  test('while it is killed again and again, every message arrives', async () => {
    const own = await createWaiting()
    const queue = await newQueue(own.database.pool)
    const { pool: ownPool } = own.database
    const seen: number[] = []
    const consumer = (async () => {
      while (seen.length < 50) seen.push(...(await own.wait(queue, { max: 3 })).map(Number))
    })()

    for (let round = 0; round < 10; round++) {
      await until('a connection', async () => (await listeners(ownPool))[0])
      await Promise.all([
        ...(await listeners(ownPool)).map((pid) => ownPool.query('select pg_terminate_backend($1)', [pid])),
        ...Array.from({ length: 5 }, (_, sent) => on(ownPool, queue).send(round * 5 + sent)),
      ])
    }

    await consumer
    assert.deepEqual(
      seen.sort((one, other) => one - other),
      [...Array(50).keys()],
    )
  })

  test('once it is back, a receive that waited all the time is woken by the next send', async () => {
    const own = await createWaiting()
    const { pool: ownPool } = own.database
    const queue = await newQueue(ownPool)
    const waiting = own.wait(queue)
    for (let round = 0; round < 5; round++) {
      const killed = await until('a watcher', async () => (await watchers(ownPool, queue))[0])
      await ownPool.query('select pg_terminate_backend($1)', [killed])
      await until('another connection', async () => (await watchers(ownPool, queue)).find((pid) => pid !== killed))
    }

    await on(ownPool, queue).send('after')

    assert.deepEqual(await waiting, ['"after"'])
  })

  test('the database goes away and comes back under 200 who wait and 8 who send, and all is served', async () => {
    const own = await createDatabase()
    const proxy = await startTcpProxy(own.url)
    const throughProxy = connect(proxy.url)
    const { wait } = await createWaiting({ ...own, pool: throughProxy }, { url: proxy.url })
    // Short, because what was handed out as the connection broke comes again when its lease ends.
    const queue = await newQueue(own.pool, { lease: '1 s' })
    const seen = new Set<number>()
    const consumers = Array.from({ length: 200 }, async () => {
      while (seen.size < 400) {
        const found = await wait(queue, { max: 2, seconds: 1 }).catch(() => sleep(20).then(() => []))
        for (const body of found) seen.add(Number(body))
      }
    })
    await until('the watch', async () => (await watchers(own.pool, queue))[0])

    const senders = Array.from({ length: 8 }, async (_, sender) => {
      for (let sent = 0; sent < 50; sent++) {
        await on(own.pool, queue).send(sender * 50 + sent)
        await sleep(10)
      }
    })
    for (let round = 0; round < 5; round++) {
      await proxy.refuse()
      await sleep(50)
      await proxy.restore()
      await sleep(50)
    }

    await Promise.all([...senders, ...consumers])
    assert.equal(seen.size, 400)
    await throughProxy.end()
    await proxy.stop()
  })
})

test('a closed hub answers everybody, and closes its connection', async () => {
  const own = await createWaiting()
  const queue = await newQueue(own.database.pool)
  const waiting = [own.wait(queue), own.wait(queue)]
  await own.watched(queue)

  await own.hub.close()

  assert.deepEqual(await Promise.all(waiting), [[], []])
  assert.equal(own.hub.closed, true)
  await until('the end of the watch', async () =>
    (await watchers(own.database.pool, queue)).length === 0 ? true : undefined,
  )
})

test('who begins to wait in a closed hub is answered at once', async () => {
  const { signal } = new AbortController()
  for (const closing of [createListenHub({ url: database.url, executor: pool }), createPollHub({ executor: pool })]) {
    await closing.close()

    const waiter = closing.wait(await newQueue(pool), 1)

    assert.deepEqual([waiter.looksFirst, await waiter.hint(20_000, signal)], [false, false])
  }
})

test('a send that ends after the hub was closed keeps no process alive', async (t) => {
  const own = await createWaiting()
  const queue = await newQueue(own.database.pool)
  const waiting = own.wait(queue)
  await own.watched(queue)
  await own.hub.close()
  await waiting
  const timers = t.mock.method(globalThis, 'setTimeout')

  own.hub.poke(queue)

  assert.equal(timers.mock.callCount(), 0)
})
