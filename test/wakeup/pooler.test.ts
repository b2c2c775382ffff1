/* Listening through a transaction pooler, which cannot be: that is found out, said, and leaves no trace in sessions that are everybody's. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { createDatabase } from '../support/database.ts'
import { startTransactionPooler } from '../support/transaction-pooler.ts'
import { until } from '../support/until.ts'
import { createWaiting } from './waiting.ts'

const settings = `select
  current_setting('statement_timeout') as statement_timeout,
  current_setting('lock_timeout') as lock_timeout,
  current_setting('default_transaction_isolation') as isolation,
  array(select pg_listening_channels()) as channels`

for (const [what, options] of [
  ['a session for each client', {}],
  ['one session for all', { mostSessions: 1 }],
] as const) {
  test(`a transaction pooler with ${what} is recognised, and named as what may be the reason; others find its sessions as they were`, async (t) => {
    const database = await createDatabase()
    await database.pool.query(`do $$ begin
      execute format('alter database %I set statement_timeout = 7000', current_database());
      execute format('alter database %I set lock_timeout = 3000', current_database());
      execute format('alter database %I set default_transaction_isolation = serializable', current_database());
    end $$`)
    const pooler = await startTransactionPooler(database.url, options)
    t.after(() => pooler.stop())
    const other = new pg.Client(pooler.url)
    await other.connect()
    const { rows: before } = await other.query(settings)

    const own = await createWaiting(database, { url: pooler.url })
    await until('the mode', async () => own.hub.mode.startsWith('poll') || undefined)

    assert.match(
      own.hub.mode,
      /^poll: a notification to itself did not arrive within 2 s: is a transaction pooler in between\? Set DATABASE_DIRECT_URL$/,
    )
    assert.deepEqual((await other.query(settings)).rows, before)
    await other.end()
  })
}
