/* Pausing a queue: nothing is handed out, everything else goes on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, bodies, call, newQueue, on, only, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

for (const config of [{}, { delivery_order: 'lifo' }, { durability: 'volatile' }, { rate: 1 }, { max_in_flight: 9 }]) {
  test(`a paused queue with ${JSON.stringify(config)} hands nothing out until it is resumed`, async () => {
    const queue = on(await db.connect(), await newQueue(pool, config))
    await queue.send('waits', { now: at(0) })

    await queue.pause(at(1))
    const during = [await queue.receive(9, { now: at(2) }), await queue.receive(9, { auto_ack: true, now: at(2) })]
    await queue.resume(at(3))

    assert.deepEqual(during, [[], []])
    assert.deepEqual(bodies(await queue.receive(9, { now: at(4) })), ['waits'])
  })
}

test('in a paused queue messages are sent, settled and looked at as ever', async () => {
  const queue = on(pool, await newQueue(pool, { lease: '1 h' }))
  for (const body of ['acked', 'nacked', 'extended', 'rejected']) await queue.send(body, { now: at(0) })
  const [acked, nacked, extended, rejected] = receipts(await queue.receive(4, { now: at(0) }))

  await queue.pause(at(1))

  assert.deepEqual(await queue.ackWith([acked], { now: at(2) }), ['ok'])
  assert.deepEqual(await queue.nack([nacked], { now: at(2) }), ['ok'])
  assert.deepEqual(await queue.extend([extended], { now: at(2) }), ['ok'])
  assert.deepEqual(await queue.nack([rejected], { dead_letter: true, now: at(2) }), ['ok'])
  await queue.send('sent', { now: at(2) })
  const { ready, leased, dead } = await queue.stats(at(2))
  assert.deepEqual([ready, leased, dead], ['2', '1', '1'])
  assert.equal(await queue.purge(), 4)
})

test('a pause and a resume say how the queue is configured, and when that was; a second one changes nothing', async () => {
  const queue = await newQueue(pool, { lease: '7 s', now: at(0) })
  const states = []
  for (const [verb, moment] of [
    ['pause', 1],
    ['pause', 2],
    ['resume', 3],
    ['resume', 4],
  ] as const)
    states.push(only(await call(pool, verb, { queue, now: at(moment) })))

  assert.deepEqual(
    states.map((state) => [state['name'], state['paused'], state['updated_at'], state['lease_seconds']]),
    [
      [queue, true, at(1), 7],
      [queue, true, at(1), 7],
      [queue, false, at(3), 7],
      [queue, false, at(3), 7],
    ],
  )
})

test('a new configuration does not end a pause', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).pause()

  const replaced = only(await call(pool, 'create_queue', { queue, lease: '5 s' }))

  assert.equal(replaced['paused'], true)
})

test('a pause that is not committed holds for nobody, one that is rolled back never', async () => {
  const queue = await newQueue(pool)
  const session = await db.connect()
  await on(pool, queue).sendBatch([{ body: 1 }, { body: 2 }])
  await session.query('begin')
  await on(session, queue).pause()

  assert.equal((await on(pool, queue).receive()).length, 1)
  await session.query('rollback')

  assert.equal((await on(pool, queue).receive()).length, 1)
})

for (const verb of ['pause', 'resume']) {
  test(`a ${verb} of a queue that is not there is refused`, async () => {
    await assert.rejects(call(pool, verb, { queue: 'nowhere' }), { code: 'PB001' })
  })
}
