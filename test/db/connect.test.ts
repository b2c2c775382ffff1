/* The pool: what a connection outlives, and what it does not. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { connect } from '../../src/db/connect.ts'
import { createDatabase } from '../support/database.ts'
import { startOpenServer } from '../support/open-server.ts'
import { eventually, newQueue, on } from '../support/sql-verbs.ts'

const { url, pool: observer } = await createDatabase()

test('a statement that is refused costs no connection', async (t) => {
  const pool = connect(url, { maxConnections: 1 })
  t.after(() => pool.end())
  const backend = async () => (await pool.query('select pg_backend_pid() as pid')).rows[0].pid
  const before = await backend()

  for (const [text, code] of [
    [`select postbag.send('not-there', '1')`, 'PB001'],
    ['select 1 / 0', '22012'],
    ['select nonsense', '42703'],
    [`do $$ begin perform pg_sleep(10); end $$`, '57014'],
  ] as const) {
    if (code === '57014') {
      setTimeout(() => observer.query('select pg_cancel_backend($1)', [before]), 100)
    }
    await assert.rejects(pool.query(text), { code })
    assert.equal(await backend(), before, code)
  }
})

test('times are read whatever the database says of dates', async (t) => {
  const database = await createDatabase()
  const queue = await newQueue(database.pool)
  await database.pool.query(`alter database ${new URL(database.url).pathname.slice(1)} set datestyle = 'German'`)
  const server = await startOpenServer(database.url)
  t.after(() => server.stop())

  const answer = await fetch(`${server.url}/v1/queues/${queue}`)

  assert.equal(answer.status, 200)
  const { createdAt } = (await answer.json()) as { createdAt: string }
  assert.ok(Math.abs(Date.parse(createdAt) - Date.now()) < 60_000, createdAt)
})

test('a connection that breaks under a statement is not used again', async (t) => {
  const pool = connect(url, { maxConnections: 1, answerTimeoutMillis: 300 })
  t.after(() => pool.end())
  const backend = async () => (await pool.query('select pg_backend_pid() as pid')).rows[0].pid
  const first = await backend()

  await assert.rejects(pool.query('select pg_terminate_backend(pg_backend_pid())'), { code: '57P01' })
  const second = await backend()
  await assert.rejects(pool.query('select pg_sleep(10)'), /timeout/)
  const third = await backend()

  assert.equal(new Set([first, second, third]).size, 3)
  assert.equal(pool.totalCount, 1)
})

test('a statement whose answer is given up is ended, and takes no connection more', async (t) => {
  const database = await createDatabase()
  const pool = connect(database.url, { maxConnections: 2, answerTimeoutMillis: 200 })
  t.after(() => pool.end())
  const queue = await newQueue(database.pool)
  await on(database.pool, queue).send('not lost')
  const open = await database.connect()
  await open.query('begin')
  await open.query('lock table postbag.message')

  for (let tries = 0; tries < 6; tries++)
    await assert.rejects(pool.query('select * from postbag.receive($1)', [queue]), /timeout/)
  await eventually('nobody waits for the lock', async () => {
    const { rows } = await open.query(
      'select from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())',
    )
    return rows.length === 0
  })
  await open.query('commit')

  assert.equal((await on(database.pool, queue).receive())[0]?.attempts, 1)
})

test('a connection that the server ends in the moment in which it is ready is an error of the statement, not the end of the process', async (t) => {
  const message = (type: string, ...parts: readonly (string | Buffer)[]) => {
    const content = Buffer.concat(parts.map((part) => Buffer.from(part)))
    const length = Buffer.alloc(4)
    length.writeInt32BE(content.length + 4)
    return Buffer.concat([Buffer.from(type), length, content])
  }
  const fields = ['SFATAL', 'VFATAL', 'C57P01', 'Mterminating connection due to administrator command']
  // What a server that is just told to end it sends, at once: authenticated, ready, terminated.
  const bytes = Buffer.concat([
    message('R', Buffer.alloc(4)),
    message('Z', 'I'),
    message('E', ...fields.map((field) => `${field}\0`), '\0'),
  ])
  const server = createServer((socket) => socket.on('error', () => {}).once('data', () => socket.end(bytes)))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.after(() => server.close())
  const pool = connect(`postgres://postgres@127.0.0.1:${(server.address() as AddressInfo).port}/none`)
  t.after(() => pool.end())

  await assert.rejects(pool.query('select 1'))

  assert.equal(pool.totalCount, 0)
})
