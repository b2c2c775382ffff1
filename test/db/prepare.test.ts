/* Statements prepared by name: prepared once per connection, and run unnamed wherever the names cannot be relied on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, preparing } from '../../src/db/connect.ts'
import { createDatabase } from '../support/database.ts'
import { startTransactionPooler } from '../support/transaction-pooler.ts'

const addOne = 'insert into noted (value) values ($1) returning value'
const namesInSession = 'select name, statement as text from pg_prepared_statements order by name'

async function createNoted() {
  const database = await createDatabase()
  await database.pool.query('create table noted (value integer)')
  return database
}

test('a text is prepared once per connection, and each text by a name of its own', async (t) => {
  const { url } = await createNoted()
  const pool = connect(url, { maxConnections: 1 })
  t.after(() => pool.end())
  const executor = preparing(pool)

  for (const value of [1, 2, 3]) assert.deepEqual((await executor.query(addOne, [value])).rows, [{ value }])
  await executor.query('select 1', [])

  const { rows } = await pool.query(namesInSession)
  assert.deepEqual(rows.map(({ text }) => text).sort(), [addOne, 'select 1'])
  for (const { name } of rows) assert.match(name, /^postbag_0_[a-z0-9]+$/)
})

test('an error of the statement itself is thrown, and the next call uses the same name', async (t) => {
  const { url } = await createNoted()
  const pool = connect(url, { maxConnections: 1 })
  t.after(() => pool.end())
  const executor = preparing(pool)

  await assert.rejects(executor.query(addOne, ['no number']), { code: '22P02' })
  await executor.query(addOne, [1])

  assert.equal((await pool.query(namesInSession)).rows.length, 1)
})

test('a session that has lost its statements loses no call, and repeats none', async (t) => {
  const { url, pool: observer } = await createNoted()
  const pool = connect(url, { maxConnections: 1 })
  t.after(() => pool.end())
  const executor = preparing(pool)

  await executor.query(addOne, [1])
  await pool.query('deallocate all')
  for (const value of [2, 3]) await executor.query(addOne, [value])

  assert.deepEqual(
    (await observer.query('select value from noted order by value')).rows.map((row) => row.value),
    [1, 2, 3],
  )
  assert.deepEqual((await pool.query(namesInSession)).rows, [])
})

test('through a transaction pooler that mixes sessions up, every call takes effect once', async (t) => {
  const { url, pool: observer } = await createNoted()
  const pooler = await startTransactionPooler(url)
  t.after(() => pooler.stop())
  const values = Array.from({ length: 40 }, (_, value) => value)

  // Of two servers, because what one has prepared stands in the way of the other.
  const pools = [1, 2].map(() => connect(pooler.url, { maxConnections: 3 }))
  t.after(() => Promise.all(pools.map((pool) => pool.end())))
  const executors = pools.map(preparing)
  await Promise.all(values.map((value) => executors[value % 2]?.query(addOne, [value])))

  const { rows } = await observer.query('select value from noted order by value')
  assert.deepEqual(
    rows.map((row) => row.value),
    values,
  )
})

test('a text whose result another schema has changed is prepared anew', async (t) => {
  const { url, pool: observer } = await createNoted()
  const pool = connect(url, { maxConnections: 1 })
  t.after(() => pool.end())
  const executor = preparing(pool)
  const all = 'select * from noted'

  await executor.query(all, [])
  await observer.query('alter table noted add column more text')
  await observer.query('insert into noted (value, more) values (1, $1)', ['x'])

  assert.deepEqual((await executor.query(all, [])).rows, [{ value: 1, more: 'x' }])
  assert.deepEqual((await executor.query(all, [])).rows, [{ value: 1, more: 'x' }])
  assert.match((await pool.query(namesInSession)).rows.at(-1).name, /^postbag_1_/)
})

test('texts without end do not fill the session', async (t) => {
  const { url } = await createNoted()
  const pool = connect(url, { maxConnections: 1 })
  t.after(() => pool.end())
  const executor = preparing(pool)

  for (let count = 0; count < 100; count++) await executor.query(`select ${count}`, [])

  assert.equal((await pool.query(namesInSession)).rows.length, 64)
})
