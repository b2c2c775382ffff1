/* A lifo queue: what became available last is received first. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, call, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const lifo = { delivery_order: 'lifo', lease: '1 h' }

test('the newest message is received first, one by one and many at once', async () => {
  const queue = await newQueue(pool, lifo)
  const session = on(await db.connect(), queue)
  for (const body of [1, 2, 3, 4, 5]) await session.send(body, { now: at(body) })

  const received = [
    ...(await session.receive(1, { now: at(10) })),
    ...(await session.receive(3, { now: at(10) })),
    ...(await session.receive(9, { now: at(10) })),
  ]

  assert.deepEqual(bodies(received), [5, 4, 3, 2, 1])
})

test('of messages of one moment the one sent last is first', async () => {
  const queue = await newQueue(pool, lifo)
  await on(pool, queue).sendBatch(
    [1, 2, 3].map((body) => ({ body })),
    { now: at(0) },
  )

  assert.deepEqual(bodies(await on(await db.connect(), queue).receive(9, { now: at(0) })), [3, 2, 1])
})

test('what is sent meanwhile comes before what has waited', async () => {
  const queue = await newQueue(pool, lifo)
  const session = on(await db.connect(), queue)
  const order: unknown[] = []

  await session.sendBatch([{ body: 'a' }, { body: 'b' }, { body: 'c' }], { now: at(0) })
  for (const [moment, sent] of [[1], [2, 'd'], [3, 'e'], [4], [5], [6], [7]] as const) {
    if (sent) await session.send(sent, { now: at(moment) })
    order.push(...bodies(await session.receive(1, { now: at(moment) })))
  }

  assert.deepEqual(order, ['c', 'd', 'e', 'b', 'a'])
})

test('priority comes before age', async () => {
  const queue = await newQueue(pool, { ...lifo, max_priority: 2 })
  const session = on(await db.connect(), queue)
  for (const [moment, priority] of [2, 0, 1, 2, 0, 1].entries())
    await session.send(`${priority}-${moment}`, { priority, now: at(moment) })

  const received = [...(await session.receive(4, { now: at(9) })), ...(await session.receive(4, { now: at(9) }))]

  assert.deepEqual(bodies(received), ['2-3', '2-0', '1-5', '1-2', '0-4', '0-1'])
})

test('a message whose sender committed late is received, whatever was received before it', async () => {
  const queue = await newQueue(pool, lifo)
  const [sender, session] = [await db.connect(), on(await db.connect(), queue)]
  await session.send('before', { now: at(0) })
  await sender.query('begin')
  await on(sender, queue).send('late', { now: at(1) })
  await session.send('after', { now: at(2) })
  const during = await session.receive(9, { now: at(2) })

  await sender.query('commit')

  // Within two seconds at once; of an older one a session knows after a minute at most.
  assert.deepEqual([during, await session.receive(9, { now: at(2.5) })].map(bodies), [['after', 'before'], ['late']])
})

test('a message whose sender committed a minute late is received', async () => {
  const queue = await newQueue(pool, lifo)
  const [sender, session] = [await db.connect(), on(await db.connect(), queue)]
  await sender.query('begin')
  await on(sender, queue).send('late', { now: at(1) })
  for (let moment = 2; moment < 62; moment += 5) {
    await session.send(moment, { now: at(moment) })
    await session.receive(9, { now: at(moment) })
  }

  await sender.query('commit')

  assert.deepEqual(bodies(await session.receive(1, { now: at(130) })), ['late'])
})

test('a delayed message stands where its time has come, not where it was sent', async () => {
  const queue = await newQueue(pool, lifo)
  const session = on(await db.connect(), queue)
  await session.send('delayed', { delay: '5 s', now: at(0) })
  await session.send('sent later', { now: at(1) })

  const early = await session.receive(9, { now: at(2) })
  await session.send('newest', { now: at(6) })
  const late = await session.receive(9, { now: at(7) })

  assert.deepEqual([early, late].map(bodies), [['sent later'], ['newest', 'delayed']])
})

test('a message that is given back is first again; one whose lease ended keeps its age', async () => {
  const queue = await newQueue(pool, { delivery_order: 'lifo', lease: '10 s' })
  const session = on(await db.connect(), queue)
  for (const body of ['old', 'middle', 'new']) await session.send(body, { now: at(0) })
  const [, middle] = receipts(await session.receive(2, { now: at(1) }))
  await session.nack([middle], { now: at(2) })

  const givenBack = await session.receive(1, { now: at(3) })
  const ended = await on(await db.connect(), queue).receive(9, { now: at(100) })

  assert.deepEqual([givenBack, ended].map(bodies), [['middle'], ['middle', 'new', 'old']])
  assert.deepEqual(
    ended.map((message) => message.attempts),
    [3, 2, 1],
  )
})

test('a session finds within a minute that a lease has ended', async () => {
  const queue = await newQueue(pool, { delivery_order: 'lifo' })
  const session = on(await db.connect(), queue)
  await session.send('dropped', { now: at(0) })
  await session.receive(1, { lease: '3 s', now: at(0) })

  for (let moment = 1; moment < 120; moment++) {
    const [back] = await session.receive(1, { now: at(moment) })
    if (back) return void assert.ok(moment >= 3, `received at ${moment}, before its lease ended`)
  }

  assert.fail('the message never came back')
})

test('a receive that was rolled back leaves the order as it was', async () => {
  const queue = await newQueue(pool, lifo)
  const session = await db.connect()
  for (const body of [1, 2, 3]) await on(session, queue).send(body, { now: at(body) })
  await session.query('begin')
  await on(session, queue).receive(2, { now: at(4) })
  await session.query('rollback')

  assert.deepEqual(bodies(await on(session, queue).receive(9, { now: at(4) })), [3, 2, 1])
})

test('eight sessions at once, with sends meanwhile, share no message and leave none', async () => {
  const queue = await newQueue(pool, { ...lifo, max_priority: 1 })
  const sender = on(await db.connect(), queue)
  await sender.sendBatch(Array.from({ length: 300 }, (_, body) => ({ body, priority: body % 2 })))

  const receiving = Array.from({ length: 8 }, async () => {
    const session = on(await db.connect(), queue)
    const mine = []
    for (let got = await session.receive(7); got.length > 0; got = await session.receive(7)) mine.push(...got)
    return mine
  })
  for (let body = 300; body < 400; body++) await sender.send(body)
  const taken = (await Promise.all(receiving)).flat()
  const rest = await on(await db.connect(), queue).receive(1000)

  assert.deepEqual(
    bodies([...taken, ...rest]).sort((a, b) => Number(a) - Number(b)),
    Array.from({ length: 400 }, (_, body) => body),
  )
})

test('a message with a group is refused', async () => {
  const queue = await newQueue(pool, lifo)

  await assert.rejects(on(pool, queue).send(1, { group_key: 'g' }), {
    code: 'PB002',
    message: `group must not be given for queue "${queue}", whose order is lifo, got g`,
  })
})

test('messages that waited when a queue changed its order are received in the new one', async () => {
  const queue = await newQueue(pool, { lease: '1 h' })
  const session = on(await db.connect(), queue)
  for (const body of [1, 2, 3, 4, 5]) await session.send(body, { now: at(body) })
  const oldest = await session.receive(1, { now: at(9) })

  await call(pool, 'create_queue', { queue, ...lifo })
  const newest = await session.receive(2, { now: at(9) })
  await call(pool, 'create_queue', { queue, lease: '1 h' })
  const rest = await session.receive(9, { now: at(9) })

  assert.deepEqual([oldest, newest, rest].map(bodies), [[1], [5, 4], [2, 3]])
})

test('a priority is refused where none is configured, and what is above the highest', async () => {
  const [plain, ranked] = [await newQueue(pool), await newQueue(pool, { max_priority: 3 })]

  await assert.rejects(on(pool, plain).send(1, { priority: 1 }), {
    code: 'PB002',
    message: `priority must be between 0 and 0, the maxPriority of queue "${plain}", got 1`,
  })
  await assert.rejects(on(pool, ranked).send(1, { priority: 4 }), { code: 'PB002', message: /between 0 and 3/ })
  assert.equal(only(await on(pool, plain).sendBatch([{ body: 1, priority: 0 }])).duplicate, false)
})
