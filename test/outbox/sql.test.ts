/* In a transaction of plain SQL, as from any language. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { postbag } from '../../src/queue/direct.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
before(async () => {
  database = await createDatabase()
})

test('one script: the commit and the outer savepoint deliver, the rollbacks do not', async () => {
  await database.pool.query(`
    select postbag.create_queue('orders');
    begin;
    select postbag.send('orders', '{"it''s": ["\\u2028", null, "👋"]}', type => 'order.created', headers => '{"a": "b"}');
    savepoint inner_one;
    select postbag.send('orders', '"inner"');
    rollback to inner_one;
    select postbag.send_batch('orders', '[{"body": 1}, {"body": 2}]');
    commit;
    begin;
    select postbag.send('orders', '"rolled back"');
    rollback;
  `)

  const messages = await postbag({ executor: database.pool }).queue('orders').receive({ max: 10 })
  assert.deepEqual(
    messages.map(({ body }) => body),
    [{ "it's": ['\u2028', null, '👋'] }, 1, 2],
  )
  assert.deepEqual([messages[0]?.type, messages[0]?.headers], ['order.created', { a: 'b' }])
})

test('receive and ack in a transaction that rolls back: it comes again', async () => {
  const client = await database.connect()
  const work = async (end: 'commit' | 'rollback') => {
    await client.query('begin')
    const { rows } = await client.query(`
      select settled.outcome
      from postbag.receive('work') as received,
        postbag.ack('work', jsonb_build_array(received.receipt)) as settled
    `)
    await client.query(end)
    return rows
  }
  await client.query(`select postbag.create_queue('work'); select postbag.send('work', '1')`)

  assert.deepEqual(await work('rollback'), [{ outcome: 'ok' }])
  assert.deepEqual(await work('commit'), [{ outcome: 'ok' }])
  assert.deepEqual(await work('commit'), [])
})

test('an error has its SQLSTATE', async () => {
  await assert.rejects(database.pool.query(`select postbag.send('no-such-queue', '1')`), { code: 'PB001' })
})
