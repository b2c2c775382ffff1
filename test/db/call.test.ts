/* The database's errors made ours: every way in which a database can be away, and what must pass through. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import pg from 'pg'
import { asQueueError, call } from '../../src/db/call.ts'
import { connect } from '../../src/db/connect.ts'
import { QueueError } from '../../src/errors.ts'
import { createDatabase } from '../support/database.ts'

test('a server that is not there is database_unavailable, with a time to try again', async () => {
  const pool = connect('postgres://postgres@127.0.0.1:1/none')

  await assert.rejects(call(pool, 'select 1', []), { code: 'database_unavailable', retryAfterSeconds: 1 })
  await pool.end()
})

test('a server that accepts and never answers is database_unavailable after the connect time-out', async () => {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const pool = connect(`postgres://postgres@127.0.0.1:${port}/none`, { connectTimeoutMillis: 50 })

  await assert.rejects(call(pool, 'select 1', []), { code: 'database_unavailable' })
  await pool.end()
  silent.close()
})

test('a backend that is terminated under a query is database_unavailable, and the next call works', async () => {
  const { url, pool: killer } = await createDatabase()
  const pool = connect(url, { maxConnections: 1 })
  const { rows } = await pool.query('select pg_backend_pid() as pid')

  const asleep = assert.rejects(call(pool, 'select pg_sleep(60)', []), { code: 'database_unavailable' })
  await killer.query('select pg_terminate_backend($1)', [rows[0].pid])
  await asleep

  assert.deepEqual(await call(pool, 'select 1 as one', []), [{ one: 1 }])
  await pool.end()
})

test('a client that was closed is database_unavailable', async () => {
  const { connect: open } = await createDatabase()
  const client = await open()
  await client.end()

  await assert.rejects(call(client, 'select 1', []), { code: 'database_unavailable' })
})

test('a database that takes no writes for now is database_unavailable, and what only reads works', async () => {
  const { connect: open } = await createDatabase()
  const client = await open()
  await client.query('set default_transaction_read_only = on')

  await assert.rejects(call(client, `select * from postbag.create_queue('q')`, []), {
    code: 'database_unavailable',
    retryAfterSeconds: 1,
    message: /read-only transaction/,
  })

  assert.deepEqual(await call(client, 'select * from postbag.list_queues()', []), [])
})

// Which of these the system says depends on how it resolves names.
for (const code of ['EAI_AGAIN', 'EAI_FAIL', 'ENOTFOUND']) {
  test(`a database whose name has no address is database_unavailable: ${code}`, () => {
    const found = asQueueError(Object.assign(new Error(`getaddrinfo ${code} db.example.com`), { code }))

    assert.ok(found instanceof QueueError)
    assert.deepEqual([found.code, found.retryAfterSeconds], ['database_unavailable', 1])
  })
}

// (Supabase's pooler says the first of these of a session to the database that it lost.)
for (const severity of ['FATAL', 'PANIC', 'ERROR']) {
  test(`an internal error is database_unavailable if the session ends with it: ${severity}`, () => {
    const told = Object.assign(new Error('DbHandler exited'), { code: 'XX000', severity })

    const found = asQueueError(told)

    const code = found instanceof QueueError ? found.code : undefined
    assert.equal(code, severity === 'ERROR' ? undefined : 'database_unavailable')
  })
}

test('a mistake of the program, as Node names it, passes through', () => {
  const mistake = Object.assign(new TypeError('invalid argument'), { code: 'ERR_INVALID_ARG_TYPE' })

  assert.equal(asQueueError(mistake), mistake)
})

test('a database without Postbag is schema_mismatch, and says what to run', async () => {
  const { url } = await createDatabase()
  const empty = new pg.Client(url)
  await empty.connect()
  await empty.query('drop schema postbag cascade')

  await assert.rejects(call(empty, `select * from postbag.receive('q')`, []), {
    code: 'schema_mismatch',
    message: /postbag migrate/,
  })
  await empty.end()
})

test('an error in a statement that is not ours passes through with its own code', async () => {
  const { pool } = await createDatabase()

  await assert.rejects(call(pool, 'select * from no_such_table', []), { code: '42P01' })
})

test('a broken rule names the rule, and never the row', async () => {
  const { pool } = await createDatabase()
  const broken = call(pool, `select * from postbag.create_queue('no spaces allowed')`, [])

  await assert.rejects(broken, { code: 'request_invalid', message: 'refused by the rule: queue name is safe' })
})
