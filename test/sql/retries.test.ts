/* What becomes of a message that failed: when it may be received again, and after how many attempts never more. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, call, newQueue, on, only, type QueueConfig, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** The rests, in seconds, that a message of such a queue gets after each of its first failures. */
async function rests(config: QueueConfig, failures: number, delay?: string): Promise<number[]> {
  const queue = on(pool, await newQueue(pool, config))
  await queue.send('fails', { now: at(0) })
  const found: number[] = []
  for (let moment = 0; found.length < failures; ) {
    await queue.nack(receipts(await queue.receive(1, { now: at(moment) })), { delay: delay ?? null, now: at(moment) })
    const { available_at } = only(await queue.peek(1, { now: at(moment) }))
    found.push((available_at.getTime() - at(moment).getTime()) / 1000)
    moment = (available_at.getTime() - at(0).getTime()) / 1000 + 1
  }
  return found
}

const policies: [policy: QueueConfig, rests: number[]][] = [
  [{}, [0, 0, 0]],
  [{ retry_delay: '10 s' }, [10, 10, 10]],
  [{ retry_delay: '10 s', retry_max_delay: '1 s' }, [10, 10]],
  [{ retry_delay: '10 s', retry_backoff: 'exponential' }, [10, 20, 40, 80]],
  [{ retry_delay: '10 s', retry_backoff: 'exponential', retry_max_delay: '25 s' }, [10, 20, 25, 25]],
  [{ retry_delay: '10 s', retry_backoff: 'exponential', retry_max_delay: '0 s' }, [0, 0]],
  [
    { retry_delay: '1 s', retry_backoff: 'exponential' },
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600],
  ],
  [{ retry_backoff: 'exponential' }, [0, 0, 0]],
]

for (const [policy, expected] of policies) {
  test(`with ${JSON.stringify(policy)} a failed message rests for ${expected.join(', ')} s`, async () => {
    assert.deepEqual(await rests(policy, expected.length), expected)
  })
}

test('a nack that names a delay overrules the policy, zero too', async () => {
  const policy = { retry_delay: '10 s', retry_backoff: 'exponential', retry_jitter: 1 }

  assert.deepEqual(await rests(policy, 3, '7 s'), [7, 7, 7])
  assert.deepEqual(await rests(policy, 2, '0 s'), [0, 0])
})

test('jitter takes up to its share off a rest, and draws it anew each time', async () => {
  const jittered = await rests({ retry_delay: '100 s', retry_jitter: 0.3 }, 40)

  assert.ok(
    jittered.every((seconds) => seconds >= 70 && seconds <= 100),
    `${jittered}`,
  )
  assert.ok(new Set(jittered).size > 30, `${jittered}`)
  assert.ok(Math.max(...jittered) - Math.min(...jittered) > 10, `${jittered}`)
})

test('jitter counts after the cap', async () => {
  const policy = { retry_delay: '50 s', retry_backoff: 'exponential', retry_max_delay: '100 s', retry_jitter: 1 }

  const [, ...capped] = await rests(policy, 20)

  assert.ok(capped.every((seconds) => seconds <= 100) && Math.min(...capped) < 60, `${capped}`)
})

test('a message that failed two thousand times is given back like any other', async () => {
  const queue = await newQueue(pool, { retry_delay: '1 s', retry_backoff: 'exponential', retry_max_delay: '9 s' })
  await on(pool, queue).send('stubborn', { now: at(0) })
  await pool.query(
    `update postbag.message set attempts = 2000
     where queue_id = (select queue_id from postbag.queue where name = $1)`,
    [queue],
  )
  const given = receipts(await on(pool, queue).receive(1, { now: at(1) }))

  assert.deepEqual(await on(pool, queue).nack(given, { now: at(1) }), ['ok'])

  assert.deepEqual(only(await on(pool, queue).peek(1)).available_at, at(10))
})

test('a message that failed by nack as often as it may is dead, and never handed out again', async () => {
  const queue = on(pool, await newQueue(pool, { max_attempts: 3, retry_delay: '5 s' }))
  const id = await queue.send('fails', { now: at(0) })
  for (const moment of [0, 10, 20])
    await queue.nack(receipts(await queue.receive(1, { now: at(moment) })), { error: `e${moment}`, now: at(moment) })

  const dead = await queue.get(id, at(20))

  assert.deepEqual([dead.state, dead.attempts, dead.last_error, dead.dead_reason], ['dead', 3, 'e20', 'attempts'])
  assert.deepEqual(
    await on(await db.connect(), only([dead.deaths?.[0]?.queue ?? ''])).receive(9, { now: at(9999) }),
    [],
  )
})

test('a message whose last lease ended is dead, though nobody said that it failed', async () => {
  const queue = await newQueue(pool, { max_attempts: 2, lease: '10 s' })
  const session = on(await db.connect(), queue)
  const id = await session.send('dropped', { now: at(0) })
  await session.receive(1, { now: at(0) })
  await session.receive(1, { now: at(100) })

  const before = await session.get(id, at(109.999))
  const received = await on(await db.connect(), queue).receive(1, { now: at(110) })

  const dead = await session.get(id, at(110))
  assert.deepEqual([before.state, received, dead.state, dead.dead_reason], ['leased', [], 'dead', 'attempts'])
  assert.equal(dead.attempts, 2)
})

test('between the end of its last lease and its removal nobody receives a message, and its owner may still ack it', async () => {
  const queue = await newQueue(pool, { max_attempts: 1, lease: '10 s' })
  const session = await db.connect()
  await on(session, queue).send('last', { now: at(0) })
  const [last] = await on(session, queue).receive(1, { now: at(9.5) })

  // Within the same second of this session nothing is tidied up.
  assert.deepEqual(await on(session, queue).receive(1, { lease: '1 s', now: at(9.6) }), [])
  assert.deepEqual(await on(session, queue).ack(last?.receipt), ['ok'])
  assert.deepEqual(await on(session, queue).peek(9), [])
})

test('an extension of the last attempt puts its end off', async () => {
  const queue = await newQueue(pool, { max_attempts: 1, lease: '10 s' })
  const owner = on(await db.connect(), queue)
  const id = await owner.send('long work', { now: at(0) })
  const [receipt] = receipts(await owner.receive(1, { now: at(0) }))

  assert.deepEqual(await owner.extend([receipt], { lease: '100 s', now: at(5) }), ['ok'])
  const other = await on(await db.connect(), queue).receive(1, { now: at(104) })
  const kept = await owner.get(id, at(104))
  await on(await db.connect(), queue).receive(1, { now: at(105) })

  assert.deepEqual([other, kept.state, (await owner.get(id, at(105))).state], [[], 'leased', 'dead'])
})

test('a message that had more attempts than a lower limit allows is handed out once more at most', async () => {
  const queue = await newQueue(pool)
  const session = on(await db.connect(), queue)
  await session.send('fails', { now: at(0) })
  for (const moment of [0, 1, 2, 3])
    await session.nack(receipts(await session.receive(1, { now: at(moment) })), { now: at(moment) })

  await call(pool, 'create_queue', { queue, max_attempts: 2 })
  const again = await session.receive(1, { now: at(4) })
  await session.nack(receipts(again), { now: at(4) })

  assert.deepEqual([again.length, (await session.stats(at(5))).dead], [1, '1'])
})

test('a limit that is raised while a message is out for the last time lets it live', async () => {
  const queue = await newQueue(pool, { max_attempts: 1 })
  const session = on(await db.connect(), queue)
  const id = await session.send('saved', { now: at(0) })
  const given = receipts(await session.receive(1, { now: at(0) }))

  await call(pool, 'create_queue', { queue, max_attempts: 2 })
  await session.nack(given, { now: at(1) })

  const saved = await session.get(id, at(9999))
  assert.deepEqual([saved.state, saved.expires_at], ['ready', null])
})

for (const [more, message] of [
  [{ delay: '-1 ms' }, 'delaySeconds must be between 0 and 31536000, got -0.001'],
  [{ delay: '31536000.001 s' }, 'delaySeconds must be between 0 and 31536000, got 31536000.001'],
  [{ delay: '0 s', dead_letter: true }, 'delaySeconds must not be given with deadLetter, got both'],
] as const) {
  test(`a nack with ${JSON.stringify(more)} is refused`, async () => {
    const queue = on(pool, await newQueue(pool))
    await queue.send(1)
    const given = receipts(await queue.receive(1))

    await assert.rejects(queue.nack(given, more), { code: 'PB002', message })

    assert.deepEqual(await queue.ack(...given), ['ok'])
  })
}
