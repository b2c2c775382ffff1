/* Transactions that change very many groups, on a server with room for fewer locks than the smallest has by default. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import pg from 'pg'
import { install } from '../../src/db/install.ts'
import { startScratch } from '../support/server.ts'
import { newQueue, on, only, type Session } from '../support/sql-verbs.ts'

const groups = 4000

// (Not in test/sql: it takes a server of its own.)
const server = await startScratch(18, { max_connections: '10', max_locks_per_transaction: '30', fsync: 'off' })
const pool = new pg.Pool({ connectionString: server.url })
pool.on('error', () => {})
after(async () => {
  await pool.end()
  await server.remove()
})
await install(pool)

async function sendToEach(session: Session, queue: string): Promise<void> {
  for (let sent = 0; sent < groups; sent += 1000) {
    const parcels = Array.from({ length: 1000 }, (_, index) => ({ body: index, group: `customer-${sent + index}` }))
    await on(session, queue).sendBatch(parcels)
  }
}

test('a queue of many groups can be purged', async () => {
  const queue = await newQueue(pool)
  await sendToEach(pool, queue)

  await on(pool, queue).purge()

  assert.deepEqual(await on(pool, queue).peek(1), [])
})

test('one transaction can send to many groups, and nobody passes it', async (t) => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('before', { group_key: 'customer-7' })
  const session = new pg.Client(server.url)
  t.after(() => session.end())
  await session.connect()
  await session.query('begin')
  await sendToEach(session, queue)
  await on(pool, queue).send('meanwhile', { group_key: 'customer-8' })
  await session.query('commit')

  const { rows } = await pool.query(
    `select array_agg(body order by group_position) as bodies from postbag.message where group_key in ('customer-7', 'customer-8') group by group_key order by group_key`,
  )
  assert.deepEqual(
    rows.map(({ bodies }) => bodies),
    [
      ['"before"', '7'],
      ['"meanwhile"', '8'],
    ],
  )
  const { rows: heads } = await pool.query(
    'select count(*)::integer as number from postbag.message where group_position = 0',
  )
  assert.equal(only(heads).number, groups)
})
