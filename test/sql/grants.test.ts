/* What a role must be allowed, and no more: the functions run with the rights of their caller. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { at, call, newQueue, on, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

const sender = [
  'usage on schema postbag',
  'select on postbag.queue',
  'usage on sequence postbag.message_id',
  'insert on postbag.message',
  'select, insert, update, delete on postbag.dedup',
]
const consumer = [
  'usage on schema postbag',
  'select on postbag.queue',
  'select, update, delete on postbag.message',
  'select, update on postbag.sweep',
]

/** A session of a role that has these rights only; the role goes with the test. */
async function sessionOf(grants: readonly string[]) {
  const role = `postbag_test_${process.pid}`
  const session = await db.connect()
  await session.query(`begin; create role ${role}`)
  for (const grant of grants) await session.query(`grant ${grant} to ${role}`)
  await session.query(`set local role ${role}`)
  return session
}

test('a sender needs these grants, and cannot receive with them', async () => {
  const queue = await newQueue(pool)
  const session = await sessionOf(sender)

  // 300 of them, so that the send also forgets expired dedup ids.
  const sent = await on(session, queue).sendBatch(Array.from({ length: 300 }, (_, i) => ({ body: i, dedupId: `${i}` })))

  assert.equal(sent.length, 300)
  await assert.rejects(on(session, queue).receive(), { code: '42501' })
  await session.query('rollback')
})

test('a consumer needs these grants, and cannot send with them', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).sendBatch([{ body: 1 }, { body: 2 }], { now: at(0) })
  const session = await sessionOf(consumer)

  const [first, second] = receipts(await on(session, queue).receive(2, { now: at(0) }))
  await on(session, queue).extend([first], { now: at(0) })
  await on(session, queue).nack([second], { now: at(0) })
  await on(session, queue).ack(first)
  const [peeked, purged] = [await on(session, queue).peek(), await on(session, queue).purge()]

  assert.deepEqual([peeked.length, purged], [1, 1])
  await assert.rejects(on(session, queue).send('no'), { code: '42501' })
  await session.query('rollback')
})

test('without grants nothing works', async () => {
  const queue = await newQueue(pool)
  const session = await sessionOf([])

  await assert.rejects(call(session, 'describe_queue', { queue }), { code: '42501' })

  await session.query('rollback')
})
