/* Who makes something available wakes who waits for it: at commit, once, and only if somebody waits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { createDatabase } from '../support/database.ts'
import { claim, claimOf, newEndpoint } from '../support/sql-endpoints.ts'
import { newExchange, publishBatch } from '../support/sql-exchanges.ts'
import { at, call, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** A session that waits for queues, as the hub's does. */
async function listenTo(...queues: readonly string[]) {
  const session = await db.connect()
  const heard: string[] = []
  session.on('notification', ({ payload = '' }) => heard.push(payload))
  await session.query('listen postbag')
  await watch(session, queues)
  return {
    session,
    /** What was notified until now. Notifications come in the order of the commits. */
    async heard(): Promise<readonly string[]> {
      const marked = new Promise((resolve) =>
        session.on('notification', ({ payload }) => payload === '#' && resolve(payload)),
      )
      await pool.query(`select pg_notify('postbag', '#')`)
      await marked
      return heard.splice(0).filter((payload) => payload !== '#')
    },
  }
}

interface Watched {
  readonly queue: string
  readonly gone: boolean
  readonly available_in: number | null
  readonly fence: string
  readonly snapshot: string
}

function watch(session: pg.Client, queues: readonly string[]): Promise<Watched[]> {
  return call<Watched>(session, 'watch', { queues })
}

async function slotsHeld(session: pg.Client): Promise<number> {
  const { rows } = await session.query(
    `select from pg_locks where locktype = 'advisory' and classid = 1886352386 and pid = pg_backend_pid()`,
  )
  return rows.length
}

type Verbs = ReturnType<typeof on>

/** What makes something available in a queue, or lets its waiters know otherwise. `before` is done before anybody waits. */
const wakers: readonly {
  readonly what: string
  readonly config?: Parameters<typeof newQueue>[1]
  readonly before?: (verbs: Verbs, queue: string) => Promise<unknown>
  readonly does: (verbs: Verbs, before: never, queue: string) => Promise<unknown>
}[] = [
  { what: 'a send', does: (verbs) => verbs.send(1) },
  { what: 'a delayed send', does: (verbs) => verbs.send(1, { delay: '1 h' }) },
  { what: 'a send to a volatile queue', config: { durability: 'volatile' }, does: (verbs) => verbs.send(1) },
  {
    what: 'a nack',
    before: (verbs) => verbs.send(1).then(() => verbs.receive()),
    does: (verbs, received: never) => verbs.nack(receipts(received)),
  },
  {
    what: 'an extend that shortens the lease',
    before: (verbs) => verbs.send(1).then(() => verbs.receive(1, { lease: '1 h' })),
    does: (verbs, received: never) => verbs.extend(receipts(received), { lease: '5 s' }),
  },
  {
    what: 'the ack of the head of a group, at commit',
    before: (verbs) => verbs.sendBatch([1, 2].map((body) => ({ body, group: 'g' }))).then(() => verbs.receive(1)),
    does: (verbs, received: never) => verbs.ack(...receipts(received)),
  },
  {
    what: 'an ack where the number in flight is limited',
    config: { max_in_flight: 1 },
    before: (verbs) => verbs.sendBatch([{ body: 1 }, { body: 2 }]).then(() => verbs.receive(1)),
    does: (verbs, received: never) => verbs.ack(...receipts(received)),
  },
  {
    what: 'a purge where the number in flight is limited',
    config: { max_in_flight: 1 },
    does: (verbs) => verbs.purge(),
  },
  { what: 'resuming', before: (verbs) => verbs.pause(), does: (verbs) => verbs.resume() },
  { what: 'another configuration', does: (_, __, queue) => call(pool, 'create_queue', { queue, max_in_flight: 9 }) },
  { what: 'a redrive', before: deadLetter, does: (verbs) => verbs.redrive() },
  { what: 'deleting the queue', does: (verbs) => verbs.delete() },
]

async function deadLetter(verbs: Verbs): Promise<void> {
  await verbs.send(1)
  await verbs.nack(receipts(await verbs.receive()), { dead_letter: true })
}

for (const { what, config, before, does } of wakers) {
  test(`${what} notifies who waits, once`, async () => {
    const queue = await newQueue(pool, config)
    const verbs = on(pool, queue)
    const done = await before?.(verbs, queue)
    const waiting = await listenTo(queue)

    await does(verbs, done as never, queue)

    assert.deepEqual(await waiting.heard(), [queue])
  })
}

/** What makes nothing available. */
const quiet: typeof wakers = [
  { what: 'a receive', before: (verbs) => verbs.send(1), does: (verbs) => verbs.receive() },
  {
    what: 'an ack',
    before: (verbs) => verbs.send(1).then(() => verbs.receive()),
    does: (verbs, received: never) => verbs.ack(...receipts(received)),
  },
  {
    what: 'an extend',
    before: (verbs) => verbs.send(1).then(() => verbs.receive()),
    does: (verbs, received: never) => verbs.extend(receipts(received), { lease: '1 h' }),
  },
  { what: 'pausing', does: (verbs) => verbs.pause() },
  { what: 'a purge', before: (verbs) => verbs.send(1), does: (verbs) => verbs.purge() },
]

for (const { what, before, does } of quiet) {
  test(`${what} notifies nobody`, async () => {
    const queue = await newQueue(pool)
    const verbs = on(pool, queue)
    const done = await before?.(verbs, queue)
    const waiting = await listenTo(queue)

    await does(verbs, done as never, queue)

    assert.deepEqual(await waiting.heard(), [])
  })
}

test('a message that dies wakes who waits for the dead-letter queue', async () => {
  const letters = await newQueue(pool)
  const queue = await newQueue(pool, { dead_letter_queue: letters })
  await on(pool, queue).send(1)
  const received = await on(pool, queue).receive()
  const waiting = await listenTo(letters)

  await on(pool, queue).nack(receipts(received), { dead_letter: true })

  assert.deepEqual(await waiting.heard(), [letters])
})

test('nobody is notified where nobody waits, or no longer', async () => {
  const queue = await newQueue(pool)
  const waiting = await listenTo()
  await on(pool, queue).send(1)
  await watch(waiting.session, [queue])
  await waiting.session.query('select postbag.unwatch($1)', [[queue]])

  await on(pool, queue).send(2)

  assert.deepEqual(await waiting.heard(), [])
})

test('who waits and who else waits are both notified, until the last has gone', async () => {
  const queue = await newQueue(pool)
  const [one, other] = [await listenTo(queue), await listenTo(queue)]
  await on(pool, queue).send(1)
  assert.deepEqual([await one.heard(), await other.heard()], [[queue], [queue]])

  await one.session.end()
  await on(pool, queue).send(2)

  assert.deepEqual(await other.heard(), [queue])
})

for (const isolation of ['read committed', 'repeatable read', 'serializable']) {
  test(`in a transaction that is ${isolation}, who began to wait after its snapshot is notified, once, at commit`, async () => {
    const queue = await newQueue(pool)
    const session = await db.connect()
    await session.query(`begin isolation level ${isolation}`)
    await session.query('select 1 from postbag.queue')
    const waiting = await listenTo(queue)

    for (let batch = 0; batch < 10; batch++) {
      await on(session, queue).sendBatch(Array.from({ length: 1000 }, (_, body) => ({ body })))
    }
    assert.deepEqual(await waiting.heard(), [])
    await session.query('commit')

    assert.deepEqual(await waiting.heard(), [queue])
    assert.equal(await slotsHeld(session), 0)
  })
}

test('what is rolled back notifies nobody, and leaves no lock', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  const waiting = await listenTo(queue)
  await session.query('begin; savepoint here')
  await on(session, queue).send('undone')
  await session.query('rollback to savepoint here; commit; begin')

  await on(session, queue).send('undone, too')
  await session.query('rollback')

  assert.deepEqual(await waiting.heard(), [])
  assert.equal(await slotsHeld(session), 0)
})

test('a session that sends beside others keeps no lock, and who waits does not stay in the way', async () => {
  const queue = await newQueue(pool)
  const senders = await Promise.all(Array.from({ length: 8 }, () => db.connect()))
  const { session } = await listenTo()

  await Promise.all([
    ...senders.map(async (sender) => {
      for (let sent = 0; sent < 100; sent++) await on(sender, queue).send(sent)
    }),
    (async () => {
      for (let round = 0; round < 100; round++) {
        await watch(session, [queue])
        await session.query('select postbag.unwatch($1)', [[queue]])
      }
    })(),
  ])

  assert.deepEqual(await Promise.all([...senders, session].map(slotsHeld)), Array(9).fill(0))
})

test('a role that may only send wakes who waits', async () => {
  const queue = await newQueue(pool)
  const role = `postbag_waker_${process.pid}`
  const session = await db.connect()
  const waiting = await listenTo(queue)
  await session.query(`begin; create role ${role}; grant usage on schema postbag to ${role};
    grant select on postbag.queue to ${role}; grant usage on sequence postbag.message_id to ${role};
    grant insert on postbag.message to ${role}; set local role ${role}`)

  await on(session, queue).send(1)
  await session.query(`reset role; drop owned by ${role}; drop role ${role}; commit`)

  assert.deepEqual(await waiting.heard(), [queue])
})

test('watching tells of the transactions that may have come too early to know, until they end', async () => {
  const queue = await newQueue(pool)
  const early = await db.connect()
  await early.query('begin')
  await on(early, queue).send(1)
  const { rows } = await early.query('select pg_current_xact_id()::text as xid')
  const { session, heard } = await listenTo()

  const before = only(await watch(session, [queue]))
  await early.query('commit')
  const after = only(await watch(session, [queue]))

  const sees = async ({ snapshot }: Watched) =>
    (await pool.query('select pg_visible_in_snapshot($1::xid8, $2) as it', [rows[0].xid, snapshot])).rows[0].it
  assert.deepEqual([before.available_in, await sees(before)], [null, false])
  assert.deepEqual([after.available_in, await sees(after)], [0, true])
  assert.ok(BigInt(before.fence) > BigInt(rows[0].xid))
  assert.deepEqual(await heard(), [])
})

test('a session may wait for more queues than there are slots', async () => {
  const queues = Array.from({ length: 3000 }, (_, n) => `unknown-${n}`)
  const { session } = await listenTo()

  const watched = await watch(session, queues)

  assert.ok(watched.every(({ gone }) => gone))
  assert.ok((await slotsHeld(session)) <= 1024)
  await session.query('select postbag.unwatch($1)', [queues])
  assert.equal(await slotsHeld(session), 0)
})

async function nextAt(queue: string, now: Date): Promise<number | null> {
  const { rows } = await pool.query(
    'select extract(epoch from postbag.next_available_at($1, $2) - $3)::double precision as next',
    [queue, now, at(0)],
  )
  return rows[0].next
}

/** When something is available next, in seconds of the tests' time, at second 10. */
const prospects: readonly {
  readonly claim: string
  readonly config?: Parameters<typeof newQueue>[1]
  readonly given: (verbs: Verbs) => Promise<unknown>
  readonly next: number | null
}[] = [
  { claim: 'of an empty queue: never', given: async () => {}, next: null },
  { claim: 'of a waiting message: since it was sent', given: (verbs) => verbs.send(1, { now: at(5) }), next: 5 },
  { claim: 'of a delayed message: then', given: (verbs) => verbs.send(1, { now: at(5), delay: '60 s' }), next: 65 },
  {
    claim: 'of several priorities: the earliest',
    config: { max_priority: 9 },
    given: async (verbs) => {
      await verbs.send(1, { now: at(5), delay: '60 s', priority: 9 })
      await verbs.send(1, { now: at(5), delay: '50 s', priority: 3 })
    },
    next: 55,
  },
  {
    claim: 'of a leased message: when the lease ends',
    given: (verbs) => verbs.send(1, { now: at(0) }).then(() => verbs.receive(1, { now: at(5), lease: '30 s' })),
    next: 35,
  },
  {
    claim: 'of a message that stands behind another in its group: when the lease of that one ends',
    given: (verbs) =>
      verbs
        .sendBatch(
          [1, 2].map((body) => ({ body, group: 'g' })),
          { now: at(0) },
        )
        .then(() => verbs.receive(1, { now: at(5), lease: '30 s' })),
    next: 35,
  },
  {
    claim: 'of a message whose time to live ends before anything else: then, to be tidied',
    given: (verbs) => verbs.send(1, { now: at(0), delay: '60 s', ttl: '5 s' }),
    next: 60,
  },
  {
    claim: 'of a paused queue: never',
    given: (verbs) => verbs.send(1, { now: at(0) }).then(() => verbs.pause()),
    next: null,
  },
  {
    claim: 'of a queue whose places in flight are taken: when a lease ends',
    config: { max_in_flight: 1 },
    given: (verbs) =>
      verbs
        .sendBatch([{ body: 1 }, { body: 2 }], { now: at(0) })
        .then(() => verbs.receive(1, { now: at(5), lease: '30 s' })),
    next: 35,
  },
  {
    claim: 'of a queue whose rate is used up: when it goes on',
    config: { rate: 0.05, burst: 1 },
    given: (verbs) =>
      verbs.sendBatch([{ body: 1 }, { body: 2 }], { now: at(0) }).then(() => verbs.receive(1, { now: at(5) })),
    next: 25,
  },
  {
    claim: 'of a queue with 1000 leased messages at its head: now, for it cannot tell',
    given: async (verbs) => {
      await verbs.sendBatch(
        Array.from({ length: 1000 }, (_, body) => ({ body })),
        { now: at(0) },
      )
      await verbs.receive(1000, { now: at(5), lease: '30 s' })
    },
    next: 10,
  },
]

for (const { claim, config = {}, given, next } of prospects) {
  for (const durability of ['full', 'volatile']) {
    test(`the next look at a ${durability} queue: ${claim}`, async () => {
      const queue = await newQueue(pool, { ...config, durability })

      await given(on(pool, queue))

      assert.equal(await nextAt(queue, at(10)), next)
    })
  }
}

test('who delivers waits for all endpoints under one name: a publish to many of them is one notification', async () => {
  const exchange = await newExchange(pool, 'topic')
  const [one, two] = [await newEndpoint(pool, {}, exchange), await newEndpoint(pool, {}, exchange)]
  const plain = await newQueue(pool)
  await call(pool, 'bind', { exchange, queue: plain, routing_key: 'plain' })
  await publishBatch(pool, exchange, [{ body: 1 }])
  const { session, heard } = await listenTo('~webhooks')
  assert.deepEqual(await heard(), [])

  await publishBatch(pool, exchange, [{ body: 2 }, { body: 3 }])
  assert.deepEqual(await heard(), ['~webhooks'])
  const [eventId] = (await claim(pool, at(1000))).map(({ event_id }) => event_id)
  await call(pool, 'resend', { endpoint: one.endpoint, event_id: eventId })
  assert.deepEqual(await heard(), ['~webhooks'])
  await call(pool, 'pause', { queue: `webhooks.${two.endpoint}` })
  await heard()
  await call(pool, 'resume', { queue: `webhooks.${two.endpoint}` })
  assert.deepEqual(await heard(), ['~webhooks'])
  await on(pool, plain).send(1)
  assert.deepEqual(await heard(), [])

  await call(session, 'unwatch', { queues: ['~webhooks'] })
  await publishBatch(pool, exchange, [{ body: 4 }])
  assert.deepEqual(await heard(), [])
})

test('what is to be delivered, and when, is what who waits for all endpoints is told of', async () => {
  const own = await createDatabase()
  const session = await own.connect()
  const told = async () => only(await watch(session, ['~webhooks'])).available_in
  const { exchange, endpoint } = await newEndpoint(own.pool, { timeout: '15 s' })
  assert.equal(await told(), null)

  await publishBatch(own.pool, exchange, [{ body: 1 }], { now: new Date() })
  assert.equal(await told(), 0)
  assert.equal((await claimOf(own.pool, endpoint, new Date())).length, 1)

  const seconds = (await told()) ?? 0
  assert.ok(seconds > 50 && seconds <= 60, String(seconds))
})
