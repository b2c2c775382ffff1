/* The view postbag.outbox stands in for a table of Debezium's outbox pattern. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { newQueue, on, only } from '../support/sql-verbs.ts'

const { pool, connect } = await createDatabase()

const insert = `insert into postbag.outbox (id, aggregatetype, aggregateid, type, payload)`

test('an insert as to an outbox table becomes a message, and gives its id back', async () => {
  const [queue, id] = [await newQueue(pool), randomUUID()]

  const { rows } = await pool.query(`${insert} values ($1, $2, $3, $4, $5::jsonb) returning id`, [
    id,
    queue,
    'order-7',
    'OrderCreated',
    '{"total":  3}',
  ])

  assert.deepEqual(rows, [{ id }])
  const message = only(await on(pool, queue).receive(9))
  assert.deepEqual(
    [message.body, message.encoding, message.type, message.group_key, message.headers],
    ['{"total": 3}', 'json', 'OrderCreated', 'order-7', { id }],
  )
})

test('the row may be deleted right after, which finds nothing and does nothing', async () => {
  const [queue, id, session] = [await newQueue(pool), randomUUID(), await connect()]

  await session.query('begin')
  await session.query(`${insert} values ($1, $2, 'a', 't', '{}')`, [id, queue])
  const deleted = await session.query('delete from postbag.outbox where id = $1', [id])
  await session.query('commit')

  assert.equal(deleted.rowCount, 0)
  assert.equal((await on(pool, queue).receive(9)).length, 1)
})

test('rows that are rolled back were never sent', async () => {
  const [queue, session] = [await newQueue(pool), await connect()]

  await session.query('begin')
  await session.query(`${insert} values ($1, $2, 'a', 't', '{}')`, [randomUUID(), queue])
  await session.query('rollback')

  assert.deepEqual(await on(pool, queue).receive(9), [])
})

test('several rows, to several queues, are sent in their order', async () => {
  const [one, other] = [await newQueue(pool), await newQueue(pool)]

  const { rowCount } = await pool.query(
    `insert into postbag.outbox (aggregatetype, aggregateid, payload) values ($1, 'a', '1'), ($2, 'a', '2'), ($1, 'a', '3')`,
    [one, other],
  )

  assert.equal(rowCount, 3)
  const bodiesOf = async (queue: string) => (await on(pool, queue).receive(9)).map((message) => message.body)
  assert.deepEqual([await bodiesOf(one), await bodiesOf(other)], [['1', '3'], ['2']])
})

test('an id twice is sent once', async () => {
  const [queue, id] = [await newQueue(pool), randomUUID()]

  for (const _ of [1, 2]) await pool.query(`${insert} values ($1, $2, null, null, '{}')`, [id, queue])

  assert.equal((await on(pool, queue).receive(9)).length, 1)
})

for (const [what, payload, body, encoding] of [
  ['a column of jsonb', `'{"a": 1}'::jsonb`, '{"a": 1}', 'json'],
  ['a column of json, byte for byte', `'{"a":   1}'::json`, '{"a":   1}', 'json'],
  ['a column of text that holds JSON', `'[1,2]'::varchar`, '[1,2]', 'json'],
  ['a column of text that holds something else', `'<a/>'::text`, '<a/>', 'text'],
  ['an empty string', `''`, '', 'text'],
  ['null', 'null', 'null', 'json'],
] as const) {
  test(`a payload may be ${what}`, async () => {
    const queue = await newQueue(pool)

    await pool.query(`${insert} values (gen_random_uuid(), $1, null, null, ${payload})`, [queue])

    const message = only(await on(pool, queue).receive(9))
    assert.deepEqual([message.body, message.encoding, message.group_key, message.type], [body, encoding, null, null])
  })
}

test('the usual additional columns become headers', async () => {
  const [queue, id] = [await newQueue(pool), randomUUID()]

  await pool.query(
    `insert into postbag.outbox (id, aggregatetype, "timestamp", tracingspancontext) values ($1, $2, '2030-01-01Z', 'traceparent=00-1')`,
    [id, queue],
  )

  const { headers } = only(await on(pool, queue).receive(9))
  assert.equal(new Date(headers?.timestamp ?? '').getTime(), Date.UTC(2030, 0, 1))
  assert.deepEqual([headers?.id, headers?.tracingspancontext], [id, 'traceparent=00-1'])
})

for (const [what, values, problem] of [
  ['a queue that is not there', `(gen_random_uuid(), 'nowhere', 'a', 't', '{}')`, /^queue "nowhere" does not exist$/],
  ['no aggregatetype', `(gen_random_uuid(), null, 'a', 't', '{}')`, /must have an id and an aggregatetype .* got null/],
  ['no id', `(null, 'nowhere', 'a', 't', '{}')`, /must have an id and an aggregatetype/],
] as const) {
  test(`${what} is refused`, async () => {
    await assert.rejects(pool.query(`${insert} values ${values}`), { message: problem })
  })
}

test('an empty aggregate id makes no group, and what is nested too deep for JSON is text', async () => {
  const queue = await newQueue(pool)
  const deep = '['.repeat(100_000)

  await pool.query(`${insert} values ($1, $2, '', 't', $3)`, [randomUUID(), queue, deep])

  const { group_key, encoding, body } = only(await on(pool, queue).receive(9))
  assert.deepEqual([group_key, encoding, body.length], [null, 'text', 100_000])
})
