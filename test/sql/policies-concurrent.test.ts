/* Policies and queues that change at once: whoever comes second waits for the first to end, and then sees what it did. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { policiesOf } from '../support/sql-policies.ts'
import { backendOf, only, waitsForLock } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const { setPolicy, deletePolicy, create, describe, inTransaction } = policiesOf(db)

test('a queue that is created while a policy is being set has its settings', async () => {
  const setter = await inTransaction((session) => setPolicy('race-1', 'race.1', { lease: '5 s' }, session))
  const creator = await db.connect()
  const backend = await backendOf(creator)

  const creating = create('race.1', {}, creator)
  await waitsForLock(pool, backend)
  await setter.query('commit')

  assert.equal((await creating)['lease_seconds'], 5)
})

test('a policy that is set while a queue is being created reaches it', async () => {
  const creator = await inTransaction((session) => create('race.2', {}, session))
  const setter = await db.connect()
  const backend = await backendOf(setter)

  const setting = setPolicy('race-2', 'race.2', { lease: '5 s' }, setter)
  await waitsForLock(pool, backend)
  await creator.query('commit')

  assert.equal(only(await setting).queues, '1')
  assert.equal((await describe('race.2'))['lease_seconds'], 5)
})

test('a policy that is deleted while a queue is being replaced leaves nothing in it', async () => {
  await setPolicy('race-3', 'race.3', { lease: '5 s' })
  await create('race.3', { delay: '1 s' })
  const creator = await inTransaction((session) => create('race.3', {}, session))
  const deleter = await db.connect()
  const backend = await backendOf(deleter)

  const deleting = deletePolicy('race-3', deleter)
  await waitsForLock(pool, backend)
  await creator.query('commit')
  await deleting

  assert.deepEqual((await describe('race.3')).origins, {})
  assert.equal((await describe('race.3'))['lease_seconds'], 30)
})

test('of two policies that are set at once both hold', async () => {
  await create('race.4')
  const first = await inTransaction((session) => setPolicy('race-4a', 'race.4', { lease: '5 s' }, session))
  const second = await db.connect()
  const backend = await backendOf(second)

  const setting = setPolicy('race-4b', 'race.*4', { lease: '9 s', delay: '9 s' }, second)
  await waitsForLock(pool, backend)
  await first.query('commit')
  await setting

  const info = await describe('race.4')
  assert.deepEqual([info['lease_seconds'], info['delay_seconds']], [5, 9])
})

test('creations do not wait for each other', async () => {
  const first = await inTransaction((session) => create('race.5', {}, session))

  await create('race.6')

  await first.query('rollback')
})

test('a transaction at repeatable read cannot create a queue by policies that are out of date, nor change policies', async () => {
  const session = await db.connect()
  await session.query('begin isolation level repeatable read')
  await session.query('select from postbag.queue limit 1')
  await setPolicy('race-7', 'race.7', { lease: '5 s' })

  await assert.rejects(create('race.7', {}, session), { code: '40001' })
  await session.query('rollback; begin isolation level repeatable read')
  await assert.rejects(setPolicy('race-8', 'race.8', {}, session), {
    code: 'PB002',
    message: /^policies must be changed at the isolation level read committed, got repeatable read/,
  })

  await session.query('rollback')
})
