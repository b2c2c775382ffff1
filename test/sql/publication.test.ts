/* Logical replication of a whole database (create publication … for all tables) refuses updates and deletes of tables that have no key. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { fanoutOf, forgetAll, large, sharedBodies } from '../support/sql-bodies.ts'
import { on, receipts } from '../support/sql-verbs.ts'

const { pool } = await createDatabase()

test('each table that is logged has a primary key', async () => {
  const { rows } = await pool.query(
    `select relation.relname
    from pg_class as relation
    where relation.relnamespace = 'postbag'::regnamespace
      and relation.relkind in ('r', 'p')
      and relation.relpersistence = 'p'
      and not exists (select from pg_index where pg_index.indrelid = relation.oid and pg_index.indisprimary)`,
  )

  assert.deepEqual(rows, [])
})

test('shared bodies are forgotten while all tables are published', async () => {
  await pool.query('create publication everything for all tables')
  const { queues, publish } = await fanoutOf(pool, {}, {})
  await publish({ body: large })
  await forgetAll(pool)
  assert.equal(await sharedBodies(pool), 1)

  for (const queue of queues) await on(pool, queue).ack(...receipts(await on(pool, queue).receive()))
  await forgetAll(pool)

  assert.equal(await sharedBodies(pool), 0)
})
