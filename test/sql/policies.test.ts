/* Policies: settings by pattern, who wins, and what happens to queues that are there. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { policiesOf } from '../support/sql-policies.ts'
import { at, eventually, on, only } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const { setPolicy, deletePolicy, deleteAll, names, create, describe } = policiesOf(db)

test('a queue has what the policy says, where it says nothing itself; else the built-in default', async () => {
  await setPolicy('given', 'given.*', { ttl: '1 h', max_attempts: 5, lease: 7.5 })

  const info = await create('given.a', { max_attempts: 3 })

  assert.deepEqual(
    [info['ttl_seconds'], info['max_attempts'], info['lease_seconds'], info['delay_seconds']],
    [3600, 3, 7.5, 0],
  )
  assert.deepEqual(info.origins, { ttl: 'policy given', lease: 'policy given', max_attempts: 'queue' })
  assert.deepEqual((await create('given')).origins, {})
})

test('a value that is the default counts as given too, and what is given no more comes from the policy', async () => {
  await setPolicy('same', 'same', { lease: '5 s' })

  const explicit = await create('same', { lease: '30 s' })
  const replaced = await create('same')

  assert.deepEqual([explicit['lease_seconds'], explicit.origins], [30, { lease: 'queue' }])
  assert.deepEqual([replaced['lease_seconds'], replaced.origins], [5, { lease: 'policy same' }])
})

test('a queue may have none of what a policy sets, and a policy none of what a wider one sets', async () => {
  await setPolicy('none-wide', 'none.*', { ttl: '1 h', max_messages: 5 })
  await setPolicy('none-narrow', 'none.b.*', { max_messages: null })

  const [a, b] = [await create('none.a', { without: ['ttl'] }), await create('none.b.1')]

  assert.deepEqual([a['ttl_seconds'], a['max_messages']], [null, '5'])
  assert.deepEqual(a.origins, { ttl: 'queue', max_messages: 'policy none-wide' })
  assert.deepEqual([b['ttl_seconds'], b['max_messages']], [3600, null])
  assert.deepEqual(b.origins, { ttl: 'policy none-wide', max_messages: 'policy none-narrow' })
  await assert.rejects(create('none.c', { without: ['ttl'], ttl: '1 s' }), { code: 'PB002', message: /^ttl must be/ })
})

test('queues that are there follow their policies as these come, change and go', async () => {
  await create('follow.a')
  await create('follow.b', { delay: '2 s' })
  const delays = async () => [
    (await describe('follow.a'))['delay_seconds'],
    (await describe('follow.b'))['delay_seconds'],
  ]
  const seen = []

  await setPolicy('follow', 'follow.*', { delay: '7 s' })
  seen.push(await delays())
  await setPolicy('follow', 'follow.*', { delay: '8 s' })
  seen.push(await delays())
  await setPolicy('follow', 'elsewhere.*', { delay: '8 s' })
  seen.push(await delays())
  await setPolicy('follow', 'f*.a', { delay: '9 s' })
  seen.push(await delays())
  assert.equal(await deletePolicy('follow'), 1)
  seen.push(await delays())

  assert.deepEqual(seen, [
    [7, 2],
    [8, 2],
    [0, 2],
    [9, 2],
    [0, 2],
  ])
})

test('what sends and receives obeys the policy at once', async () => {
  await create('obey.a')
  await on(pool, 'obey.a').send('first', { now: at(0) })

  await setPolicy('obey', 'obey.*', { lease: '77 s', max_messages: 1, max_priority: 3 })

  const [received] = await on(pool, 'obey.a').receive(1, { now: at(0) })
  assert.deepEqual(received?.leased_until, at(77))
  await assert.rejects(on(pool, 'obey.a').send('second'), { code: 'PB004' })
  await setPolicy('obey', 'obey.*', { max_priority: 3 })
  await on(pool, 'obey.a').send('high', { priority: 3 })
  // No message is stranded when the highest priority goes down again.
  await deletePolicy('obey')
  assert.equal((await on(await db.connect(), 'obey.a').receive(9, { now: at(1) })).length, 1)
})

test('a change of policy wakes who waits for a queue that it changes, and nobody else', async () => {
  await create('wake.a', { max_in_flight: 1 })
  await create('wake.b')
  const listener = await db.connect()
  const heard: (string | undefined)[] = []
  listener.on('notification', ({ payload }) => heard.push(payload))
  await listener.query('listen postbag')
  for (const queue of ['wake.a', 'wake.b']) await listener.query('select postbag.watch($1)', [[queue]])

  await setPolicy('wake', 'wake.*', { max_in_flight: 9 })

  await eventually('the change of wake.b is heard', async () => heard.length > 0)
  assert.deepEqual(heard, ['wake.b'])
})

test('a queue whose settings stay as they are is not updated', async () => {
  const before = await create('still.a', { now: at(0), ttl: '1 h' })

  await setPolicy('still', 'still.*', { ttl: '2 h', lease: '30 s' })

  const { origins, ...after } = await describe('still.a')
  assert.deepEqual({ ...after, origins: before.origins }, before)
  assert.deepEqual(origins, { ttl: 'queue', lease: 'policy still' })
})

test('a rate comes with its own burst, never with that of another policy', async () => {
  await setPolicy('pace', 'pace.*', { rate: 100, burst: 200 })

  const [plain, own] = [await create('pace.a'), await create('pace.b', { rate: 5 })]

  assert.deepEqual([plain['rate'], plain['burst']], [100, 200])
  assert.deepEqual([own['rate'], own['burst'], own.origins], [5, null, { rate: 'queue' }])
})

test('a pattern takes every character literally but *', async () => {
  for (const queue of ['liter_l', 'literal', 'liter.l', 'literl']) await create(queue)
  const matched = async (pattern: string) => only(await setPolicy('literally', pattern, {})).queues

  assert.deepEqual(
    [await matched('liter_l'), await matched('liter.l'), await matched('liter*l'), await matched('*teral*')],
    ['1', '1', '4', '1'],
  )
  await deletePolicy('literally')
})

test('policies are listed by how specific they are', async () => {
  await deleteAll()
  for (const [name, pattern] of [
    ['z-any', '*'],
    ['b-same', 'o.*'],
    ['a-same', 'o.*'],
    ['suffix', '*.eu'],
    ['both', 'o.*.eu'],
    ['exact', 'o'],
    ['long', 'o.x*'],
  ] as const) {
    await setPolicy(name, pattern, {})
  }

  assert.deepEqual(await names(), ['exact', 'long', 'both', 'a-same', 'b-same', 'suffix', 'z-any'])
  await deleteAll()
})

test('what is said does not depend on how a session writes intervals', async () => {
  const session = await db.connect()
  await session.query(`set intervalstyle = 'sql_standard'`)
  await setPolicy('style', 'style.*', { ttl: '1 day 02:00:00.5', retry_delay: '3 min' }, session)

  const info = await create('style.a', { delay: '1 day 1.5 s' }, session)

  assert.deepEqual([info['ttl_seconds'], info['retry_delay_seconds'], info['delay_seconds']], [93_600.5, 180, 86_401.5])
})
