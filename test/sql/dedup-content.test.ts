/* Deduplication by content, and per group. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, backendOf, bodies, newQueue, on, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const byContent = { dedup_by: 'content' }
const duplicates = (sent: readonly { duplicate: boolean }[]) => sent.map((message) => message.duplicate)

test('by content, the same body is sent once', async () => {
  const verbs = on(pool, await newQueue(pool, byContent))

  const first = await verbs.sendBatch([{ body: { a: 1, b: [2] } }, { body: 'text', encoding: 'text' }], { now: at(0) })
  const second = await verbs.sendBatch(
    [{ body: { b: [2], a: 1 }, type: 'other' }, { body: 'text', encoding: 'text' }, { body: 'new' }],
    { now: at(1) },
  )

  assert.deepEqual([first, second].map(duplicates), [
    [false, false],
    [true, true, false],
  ])
  assert.deepEqual(
    second.slice(0, 2).map((message) => message.id),
    first.map((message) => message.id),
  )
})

const different: [a: object, b: object][] = [
  [{ body: '5' }, { body: 5 }],
  [{ body: null }, { body: '' }],
  [{ body: null }, { body: 'null' }],
  [{ body: 'true' }, { body: true }],
  [{ body: '{"a": 1}' }, { body: { a: 1 } }],
  [
    { body: 'AAAA', encoding: 'text' },
    { body: 'AAAA', encoding: 'base64' },
  ],
  [{ body: 'a', encoding: 'text' }, { body: 'a' }],
  [{ json: '[1]' }, { json: '[ 1]' }],
  [{ body: 'a' }, { body: 'A' }],
]

for (const [a, b] of different) {
  test(`by content, ${JSON.stringify(a)} and ${JSON.stringify(b)} differ`, async () => {
    const verbs = on(pool, await newQueue(pool, byContent))

    assert.deepEqual(duplicates(await verbs.sendBatch([a, b, a])), [false, false, true])
  })
}

test('by content, a dedup id counts for nothing', async () => {
  const verbs = on(pool, await newQueue(pool, byContent))

  const sent = await verbs.sendBatch([
    { body: 1, dedupId: 'a' },
    { body: 1, dedupId: 'b' },
    { body: 1 },
    { body: 2, dedupId: 'a' },
  ])

  assert.deepEqual(duplicates(sent), [false, true, true, false])
})

test('by id, a body counts for nothing', async () => {
  const verbs = on(pool, await newQueue(pool))

  assert.deepEqual(duplicates(await verbs.sendBatch([{ body: 1 }, { body: 1 }, { body: 1, dedupId: null }])), [
    false,
    false,
    false,
  ])
})

test('by content too, the window ends', async () => {
  const verbs = on(pool, await newQueue(pool, { ...byContent, dedup_window: '10 s' }))

  const sent = []
  for (const moment of [0, 9.999, 10]) sent.push(...(await verbs.sendBatch([{ body: 1 }], { now: at(moment) })))

  assert.deepEqual(duplicates(sent), [false, true, false])
})

test('per group, an id counts in each group, and among those without one', async () => {
  const verbs = on(pool, await newQueue(pool, { dedup_scope: 'group' }))
  const batch = [{ group: 'a' }, { group: 'b' }, {}, { group: 'a' }, {}].map((more, body) => ({
    body,
    dedupId: '1',
    ...more,
  }))

  const sent = await verbs.sendBatch(batch)

  assert.deepEqual(duplicates(sent), [false, false, false, true, true])
  assert.deepEqual([sent[3]?.id, sent[4]?.id], [sent[0]?.id, sent[2]?.id])
  assert.deepEqual(duplicates(await verbs.sendBatch([{ body: 1, dedupId: '1', group: 'b' }])), [true])
})

test('per queue, an id counts across groups', async () => {
  const verbs = on(pool, await newQueue(pool))

  const sent = await verbs.sendBatch([
    { body: 1, dedupId: '1', group: 'a' },
    { body: 2, dedupId: '1', group: 'b' },
  ])

  assert.deepEqual(duplicates(sent), [false, true])
})

test('per group and by content, a body counts in each group', async () => {
  const verbs = on(pool, await newQueue(pool, { ...byContent, dedup_scope: 'group' }))

  const sent = await verbs.sendBatch(['a', 'b', 'a'].map((group) => ({ body: 1, group })))

  assert.deepEqual(duplicates(sent), [false, false, true])
})

for (const [ending, duplicate] of [
  ['commit', true],
  ['rollback', false],
] as const) {
  test(`a body that another transaction has sent is waited for; after its ${ending} it is ${duplicate ? 'a duplicate' : 'sent'}`, async () => {
    const queue = await newQueue(pool, { ...byContent, dedup_scope: 'group' })
    const [first, second, third] = [await db.connect(), await db.connect(), await db.connect()]
    await first.query('begin')
    await on(first, queue).sendBatch([{ body: 1, group: 'g' }])
    const backend = await backendOf(second)

    const waiting = on(second, queue).sendBatch([{ body: 1, group: 'g' }])
    await waitsForLock(pool, backend)
    // Another group does not wait.
    assert.deepEqual(duplicates(await on(third, queue).sendBatch([{ body: 1, group: 'h' }])), [false])
    await first.query(ending)

    assert.deepEqual(duplicates(await waiting), [duplicate])
    assert.equal((await on(pool, queue).peek()).length, 2)
  })
}

test('ten sessions that send the same bodies in any order send each once, in each group', async () => {
  const queue = await newQueue(pool, { ...byContent, dedup_scope: 'group' })
  const all = ['g', 'h'].flatMap((group) => Array.from({ length: 20 }, (_, body) => ({ body, group })))
  const sessions = await Promise.all(Array.from({ length: 10 }, () => db.connect()))

  await Promise.all(
    sessions.map(async (session, index) => {
      for (let turn = 0; turn < 4; turn++) {
        const start = (index * 7 + turn * 13) % all.length
        await on(session, queue).sendBatch([...all.slice(start), ...all.slice(0, start)])
      }
    }),
  )

  const there = await on(pool, queue).peek(100)
  assert.equal(there.length, all.length)
  assert.equal(new Set(there.map((message) => `${message.group_key} ${message.body}`)).size, all.length)
  assert.deepEqual(bodies(there).filter((body) => body === 0).length, 2)
})
