/* Functions that run with their owner's rights run nothing of the caller's: what a session makes for itself (types, tables) they do not see. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { call, newQueue, on } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

test('each looks for temporary objects last', async () => {
  const { rows } = await pool.query(
    `select proname as name, proconfig as settings from pg_proc where pronamespace = 'postbag'::regnamespace and prosecdef`,
  )

  assert.notEqual(rows.length, 0)
  for (const { name, settings } of rows)
    assert.ok(
      settings?.some((setting: string) => /^search_path=.*, pg_temp$/.test(setting)),
      name,
    )
})

test('a role that may only send cannot have its own function run by the owner, with a type of its own', async () => {
  const queue = await newQueue(pool)
  await on(pool, await newQueue(pool)).send('secret')
  const session = await db.connect()
  const role = `sender_${process.pid}`
  await session.query(`begin; create role "${role}"`)
  await call(session, 'grant_send', { role, queues: [queue] })
  await session.query(`set local session authorization "${role}"`)
  await session.query(`create temp table seen (by_whom pg_catalog.text)`)
  await session.query(`create function pg_temp.spy(given pg_catalog.text) returns boolean language plpgsql as $$
    begin
      if current_user <> '${role}' then
        insert into pg_temp.seen select current_user from postbag.message;
      end if;
      return true;
    end $$`)
  await session.query(`create domain pg_temp.text as pg_catalog.text check (pg_temp.spy(value))`)

  await session.query(
    `update postbag.restricted_call set verb = 'send', queue = $1, arguments = '{"messages": [{"body": 1, "group": "g"}]}'`,
    [queue],
  )
  await session.query('set constraints all immediate')

  assert.deepEqual((await session.query('select * from pg_temp.seen')).rows, [])
  await session.query('rollback')
})
