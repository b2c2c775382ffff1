/* The inbox: the first time that a consumer sees a message is told from every other. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, backendOf, call, only, type Session, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

/** Whether it is the first time. */
async function inbox(session: Session, consumer: unknown, message_id: unknown, more: object = {}): Promise<boolean> {
  return only(await call<{ inbox: boolean }>(session, 'inbox', { consumer, message_id, ...more })).inbox
}

test('a message is new to a consumer once, and to another consumer, too', async () => {
  const answers = []
  for (const consumer of ['mail', 'mail', 'invoice', 'mail']) answers.push(await inbox(pool, consumer, '1'))

  assert.deepEqual([...answers, await inbox(pool, 'mail', '2')], [true, false, true, false, true])
})

test('a transaction that rolls back has seen nothing', async () => {
  const session = await db.connect()
  await session.query('begin')
  assert.equal(await inbox(session, 'undone', '1'), true)
  assert.equal(await inbox(session, 'undone', '1'), false)

  await session.query('rollback')

  assert.equal(await inbox(pool, 'undone', '1'), true)
})

for (const [ending, first] of [
  ['commit', false],
  ['rollback', true],
] as const) {
  test(`of two transactions with one message the second waits; after the first one’s ${ending} it is ${first ? '' : 'not '}new`, async () => {
    const [one, two] = [await db.connect(), await db.connect()]
    await one.query('begin')
    await inbox(one, ending, '1')
    const backend = await backendOf(two)

    const waiting = inbox(two, ending, '1')
    await waitsForLock(pool, backend)
    await one.query(ending)

    assert.equal(await waiting, first)
  })
}

test('of twenty sessions at once one is the first', async () => {
  const sessions = await Promise.all(Array.from({ length: 20 }, () => db.connect()))

  const answers = await Promise.all(sessions.map((session) => inbox(session, 'crowd', '1')))

  assert.equal(answers.filter(Boolean).length, 1)
})

test('a message is forgotten when it was kept long enough, and a second look does not prolong that', async () => {
  const answers = []
  for (const moment of [0, 9, 9.999, 10, 11])
    answers.push(await inbox(pool, 'kept', '1', { keep: '10 s', now: at(moment) }))

  assert.deepEqual(answers, [true, false, false, true, false])
})

test('by default a message is kept for seven days', async () => {
  await inbox(pool, 'week', '1', { now: at(0) })

  assert.equal(await inbox(pool, 'week', '1', { now: at(7 * 86_400 - 1) }), false)
  assert.equal(await inbox(pool, 'week', '1', { now: at(7 * 86_400) }), true)
})

for (const [args, code] of [
  [{ consumer: '' }, '23514'],
  [{ consumer: 'c'.repeat(129) }, '23514'],
  [{ consumer: null }, '23502'],
  [{ message_id: '' }, '23514'],
  [{ message_id: 'm'.repeat(256) }, '23514'],
  [{ message_id: null }, '23502'],
  [{ keep: '0 s' }, 'PB002'],
  [{ keep: '31536001 s' }, 'PB002'],
  [{ keep: null }, 'PB002'],
] as const) {
  test(`an inbox entry with ${JSON.stringify(args).slice(0, 40)} is refused`, async () => {
    await assert.rejects(call(pool, 'inbox', { consumer: 'c', message_id: 'm', ...args }), { code })
  })
}

test('the longest names and time are accepted', async () => {
  assert.equal(await inbox(pool, 'c'.repeat(128), 'm'.repeat(255), { keep: '31536000 s' }), true)
})
