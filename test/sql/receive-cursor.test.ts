/* A session's notes (where it last found something, when it next looks at the whole queue) make receives fast, and never wrong: what
 * commits late, what comes back, and what other sessions leave behind is found, whatever the notes say. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createDatabase } from '../support/database.ts'
import { at, backendOf, bodies, eventually, newQueue, on, only, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

test('a transaction that sent long ago and commits now is delivered promptly to a session that is far past it', async () => {
  const queue = await newQueue(pool)
  const [sender, consumer] = [await db.connect(), on(await db.connect(), queue)]
  await sender.query('begin')
  await on(sender, queue).send('late', { now: new Date(Date.now() - 3_600_000) })
  for (const body of [1, 2, 3]) {
    await on(pool, queue).send(body)
    await consumer.receive(2)
  }

  const committed = Date.now()
  await sender.query('commit')
  const late = await eventually('the late message is received', () => consumer.receive())

  assert.deepEqual(bodies(late), ['late'])
  assert.ok(Date.now() - committed < 1000)
})

test('while full looks are rare, a commit that was overtaken by less than two seconds is still found', async () => {
  const queue = await newQueue(pool)
  const [slow, consumer] = [await db.connect(), on(await db.connect(), queue)]
  await announce(queue, { due: 160, start: 0 })
  await slow.query('begin')
  await on(slow, queue).send('slow', { now: at(99) })
  await on(pool, queue).send('fast', { now: at(100.9) })

  const first = await consumer.receive(1, { now: at(101) })
  await slow.query('commit')
  const second = await consumer.receive(1, { now: at(103) })

  assert.deepEqual([first, second].map(bodies), [['fast'], ['slow']])
})

test('a message that another transaction held amid those received, and gave up, is found without looking back', async () => {
  const queue = await newQueue(pool, { lease: '1 h' })
  const [holder, consumer] = [await db.connect(), on(await db.connect(), queue)]
  await on(pool, queue).send('middle', { now: at(2) })
  await holder.query('begin')
  await on(holder, queue).receive(1, { now: at(4) })
  for (const [moment, body] of [
    [1, 'before'],
    [3, 'behind'],
  ] as const)
    await on(pool, queue).send(body, { now: at(moment) })

  const first = await consumer.receive(3, { now: at(4) })
  await holder.query('rollback')
  const second = await consumer.receive(3, { now: at(4) })

  assert.deepEqual([first, second].map(bodies), [['before', 'behind'], ['middle']])
})

test('of two fresh sessions, the second gets the low priority that the first one left', async () => {
  const queue = await newQueue(pool, { max_priority: 9 })
  await on(pool, queue).send('low', { now: at(0) })
  await on(pool, queue).send('high', { priority: 9, now: at(1) })

  const first = await on(await db.connect(), queue).receive(1, { now: at(2) })
  const second = await on(await db.connect(), queue).receive(1, { now: at(2) })

  assert.deepEqual([first, second].map(bodies), [['high'], ['low']])
})

test('what one session’s expensive look found behind the others’ cursors is there for the others too', async () => {
  const queue = await newQueue(pool)
  const passed = on(await db.connect(), queue)
  await passed.receive(1, { now: at(0) })
  await on(pool, queue).sendBatch(
    [1, 2, 3, 4].map((body) => ({ body })),
    { now: at(-1000) },
  )

  const slow = await db.connect()
  const found = await whileLocked(20, slow, () => on(slow, queue).receive(2, { now: at(100) }))
  const others = await passed.receive(2, { now: at(100) })

  assert.deepEqual([found, others].map(bodies), [
    [1, 2],
    [3, 4],
  ])
})

test('one receive that had to wait for a lock does not hide a message whose lease ends', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('abandoned', { now: at(0) })
  await on(pool, queue).send('next', { now: at(50) })
  await on(await db.connect(), queue).receive(1, { lease: '101 s', now: at(0) })
  const session = await db.connect()

  await whileLocked(300, session, () => on(session, queue).receive(1, { lease: '1 h', now: at(100) }))

  assert.deepEqual(bodies(await on(session, queue).receive(1, { now: at(103) })), ['abandoned'])
})

for (const [span, before, after] of [
  ['20 s', 1030, 1010],
  ['8 minutes', 1030, 550],
  ['a day', 86_400, 0],
] as const) {
  test(`after the clock was set back by ${span}, what is sent then is received at once, and what commits late soon`, async () => {
    const queue = await newQueue(pool, { lease: '12 h' })
    const [consumer, late] = [on(await db.connect(), queue), await db.connect()]
    for (const moment of [before - 70, before]) await consumer.receive(1, { now: at(moment) })
    await late.query('begin')
    await on(late, queue).send('late', { now: at(after - 50) })

    await on(pool, queue).send('sent', { now: at(after) })
    const first = await consumer.receive(2, { now: at(after) })
    const none = await consumer.receive(2, { now: at(after + 5) })
    await late.query('commit')
    const second = await consumer.receive(2, { now: at(after + 125) })

    assert.deepEqual([first, none, second].map(bodies), [['sent'], [], ['late']])
  })
}

const garbage = [
  'garbage',
  '',
  ':',
  ':::::',
  '1',
  '1:',
  '1:2',
  '1:x',
  'x:1',
  '1:-5',
  '{1,1}',
  '1:1:1:1:1',
  '1:9223372036854775807',
  '9:1:1:1:1',
]

for (const note of garbage) {
  test(`a note that says ${JSON.stringify(note)} harms nothing`, async () => {
    const queue = await newQueue(pool)
    const session = await db.connect()
    await on(session, queue).send('here', { now: at(0) })

    await scribble(session, queue, note)

    assert.deepEqual(bodies(await on(session, queue).receive(1, { now: at(100) })), ['here'])
  })
}

test('notes about another queue, or none after DISCARD ALL, harm nothing', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  const received = []
  const foreign = `set postbag.cursor_${(await idOf(queue)) % 256}_0 = '1234567:${at(49).getTime()}000'`
  for (const forget of [foreign, 'discard all']) {
    await on(session, queue).send(forget, { now: at(0) })
    await on(session, queue).receive(1, { lease: '0 s', now: at(50) })

    await session.query(forget)

    received.push(only(await on(session, queue).receive(1, { lease: '1 h', now: at(50) })))
  }

  assert.deepEqual(bodies(received), [foreign, 'discard all'])
})

test('queues that share a slot of the notes do not disturb each other', async () => {
  const one = await newQueue(pool)
  await pool.query(`select setval(pg_get_serial_sequence('postbag.queue', 'queue_id'), $1)`, [(await idOf(one)) + 255])
  const other = await newQueue(pool)
  assert.equal((await idOf(other)) - (await idOf(one)), 256)
  const session = await db.connect()

  const got = []
  for (let body = 0; body < 20; body++) {
    await on(session, one).send(body)
    await on(session, other).send(body + 100)
    got.push(...bodies([...(await on(session, one).receive()), ...(await on(session, other).receive())]))
  }

  assert.deepEqual(got, Array.from({ length: 20 }, (_, body) => [body, body + 100]).flat())
})

test('a pooled session may change hands between any two calls', async () => {
  const queue = await newQueue(pool, { lease: '1 h' })
  const sessions = await Promise.all([1, 2, 3].map(() => db.connect()))
  const got = []

  for (let body = 0; body < 60; body++) {
    const [sender, receiver] = [sessions[body % 3], sessions[(body * 7 + 1) % 3]]
    if (!sender || !receiver) throw new Error('three sessions')
    await on(sender, queue).send(body)
    if (body % 5 === 0) await receiver.query('discard all')
    got.push(...bodies(await eventually(`message ${body} is received`, () => on(receiver, queue).receive())))
  }

  assert.deepEqual(
    got,
    Array.from({ length: 60 }, (_, body) => body),
  )
})

/** As if a session had just looked at the whole queue, at great cost: the next such look, and where to start until then. */
async function announce(queue: string, { due, start }: { due: number; start: number }): Promise<void> {
  await pool.query(
    `update postbag.sweep set due_us = $2::bigint * 1000, pause_us = 60000000, start_at = $3 where queue_id = $1`,
    [await idOf(queue), at(due).getTime(), at(start)],
  )
}

async function idOf(queue: string): Promise<number> {
  const { rows } = await pool.query('select queue_id from postbag.queue where name = $1', [queue])
  return Number(rows[0].queue_id)
}

/** Write over every note the session has or could have about the queue, with the queue's own id wherever the note says 1. */
async function scribble(session: Awaited<ReturnType<typeof db.connect>>, queue: string, note: string): Promise<void> {
  const id = await idOf(queue)
  for (const name of [`cursor_${id % 256}_0`, `look_${id % 256}`, `dedup_${id % 64}`]) {
    await session.query('select set_config($1, $2, false)', [`postbag.${name}`, note.replace(/^1/, String(id))])
  }
}

/** Run what the session does while another one holds the table of messages for so many milliseconds. */
async function whileLocked<T>(
  millis: number,
  session: Awaited<ReturnType<typeof db.connect>>,
  work: () => Promise<T>,
): Promise<T> {
  const [holder, backend] = [await db.connect(), await backendOf(session)]
  await holder.query('begin; lock table postbag.message in access exclusive mode')
  const working = work()
  await waitsForLock(pool, backend)
  await sleep(millis)
  await holder.query('commit')
  return working
}
