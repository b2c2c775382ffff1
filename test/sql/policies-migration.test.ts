/* Queues that were there before there were policies: what is not the built-in default is theirs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { packagedMigrations, uninstall } from '../../src/db/install.ts'
import { createDatabase } from '../support/database.ts'
import { policiesOf } from '../support/sql-policies.ts'
import { call } from '../support/sql-verbs.ts'

test('a queue from before keeps what it was given, and the rest follows policies', async () => {
  const db = await createDatabase()
  const { setPolicy, describe } = policiesOf(db)
  const migrations = packagedMigrations().map(({ sql }) => sql)
  const first = migrations.findIndex((sql) => sql.includes('create table postbag.policy '))
  await uninstall(db.pool)
  await db.pool.query('create schema postbag')
  for (const sql of migrations.slice(0, first)) await db.pool.query(sql)
  await call(db.pool, 'create_queue', {
    queue: 'old',
    lease: '1.5 s',
    ttl: '90 min',
    rate: 0.1,
    burst: 7,
    group_mode: 'fair',
    // The default, written in another way.
    dead_letter_retention: '1209600 s',
  })

  for (const sql of migrations.slice(first)) await db.pool.query(sql)

  const explicit = { lease: 'queue', ttl: 'queue', rate: 'queue', burst: 'queue', group_mode: 'queue' }
  const old = await describe('old')
  assert.deepEqual(old.origins, explicit)
  await setPolicy('p', '*', { lease: '5 s', ttl: '1 s', rate: 9, group_mode: 'ordered', max_attempts: 3 })
  const { origins, updated_at, ...after } = await describe('old')
  assert.deepEqual(origins, { ...explicit, max_attempts: 'policy p' })
  assert.deepEqual({ ...after, max_attempts: null, origins: explicit, updated_at: old.updated_at }, old)
})
