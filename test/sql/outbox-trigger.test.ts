/* A row change of a user's table becomes a message, in the transaction of the change: postbag.send_changes and its triggers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { bodies, call, newQueue, on, receipts, type Session } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

let made = 0

/** A table of orders that no other test uses; its name. */
async function newTable(more = ''): Promise<string> {
  const table = `orders_${++made}`
  await pool.query(
    `create table ${table} (id integer primary key, status text, amount numeric, "Odd name" text) ${more}`,
  )
  return table
}

const sendChanges = (relation: string, queue: string, more: object = {}) =>
  call<{ send_changes: number }>(pool, 'send_changes', { relation, queue, ...more })

/** What arrived, in order; it is acked. */
async function arrived(queue: string, session: Session = pool) {
  const messages = await on(session, queue).receive(1000)
  if (messages.length > 0) await on(session, queue).ack(...receipts(messages))
  return messages
}

const row = (id: number, status: string) => ({ id, status, amount: null, 'Odd name': null })

test('an insert, an update and a delete are sent with what was before and after', async () => {
  const [queue, table] = [await newQueue(pool), await newTable()]
  const [answer] = await sendChanges(table, queue)

  await pool.query(`insert into ${table} (id, status) values (1, 'new'), (2, 'new')`)
  await pool.query(`update ${table} set status = 'paid' where id = 2`)
  await pool.query(`delete from ${table} where id = 1`)

  assert.equal(answer?.send_changes, 3)
  const messages = await arrived(queue)
  const said = { schema: 'public', table }
  assert.deepEqual(bodies(messages), [
    { ...said, operation: 'insert', before: null, after: row(1, 'new') },
    { ...said, operation: 'insert', before: null, after: row(2, 'new') },
    { ...said, operation: 'update', changed: ['status'], before: row(2, 'new'), after: row(2, 'paid') },
    { ...said, operation: 'delete', before: row(1, 'new'), after: null },
  ])
  assert.deepEqual(
    messages.map(({ type, group_key }) => [type, group_key]),
    ['insert', 'insert', 'update', 'delete'].map((operation) => [`${table}.${operation}`, null]),
  )
})

test('columns, events, type, group and images are as chosen, and an update of other columns sends nothing', async () => {
  const [queue, table] = [await newQueue(pool), await newTable()]
  const [answer] = await sendChanges(table, queue, {
    columns: ['status', 'Odd name'],
    events: ['insert', 'update'],
    group_column: 'id',
    type: 'order',
    images: ['after'],
  })

  await pool.query(`insert into ${table} values (7, 'new', 1, 'x')`)
  await pool.query(`update ${table} set amount = 2`)
  await pool.query(`update ${table} set status = status`)
  await pool.query(`update ${table} set "Odd name" = 'y', amount = 3`)
  await pool.query(`delete from ${table}`)

  assert.equal(answer?.send_changes, 2)
  const messages = await arrived(queue)
  assert.deepEqual(bodies(messages), [
    { schema: 'public', table, operation: 'insert', after: { status: 'new', 'Odd name': 'x' } },
    { schema: 'public', table, operation: 'update', changed: ['Odd name'], after: { status: 'new', 'Odd name': 'y' } },
  ])
  assert.deepEqual(
    messages.map(({ type, group_key }) => [type, group_key]),
    [
      ['order.insert', '7'],
      ['order.update', '7'],
    ],
  )
})

test('what is rolled back, also to a savepoint, was never sent', async () => {
  const [queue, table, session] = [await newQueue(pool), await newTable(), await db.connect()]
  await sendChanges(table, queue, { images: [] })

  await session.query(`begin; insert into ${table} (id) values (1); savepoint s; insert into ${table} (id) values (2)`)
  await session.query(`rollback to s; update ${table} set status = 'x'; commit`)
  await session.query(`begin; delete from ${table}; rollback`)

  assert.deepEqual(
    (await arrived(queue)).map(({ type }) => type),
    [`${table}.insert`, `${table}.update`],
  )
})

test('a statement of 10,000 rows is sent in order, as a whole, with one notification', async () => {
  const [queue, table, waiting] = [await newQueue(pool), await newTable(), await db.connect()]
  await sendChanges(table, queue)
  const heard: string[] = []
  const marked = new Promise((resolve) =>
    waiting.on('notification', ({ payload = '' }) => (payload === '#' ? resolve(payload) : heard.push(payload))),
  )
  await waiting.query('listen postbag')
  await call(waiting, 'watch', { queues: [queue] })

  await pool.query(`insert into ${table} (id) select generate_series(1, 10000)`)
  await pool.query(`select pg_notify('postbag', '#')`)
  await marked

  assert.deepEqual(heard, [queue])
  const ids: number[] = []
  for (let batch = await arrived(queue); batch.length > 0; batch = await arrived(queue)) {
    ids.push(...bodies(batch).map((body) => (body as { after: { id: number } }).after.id))
  }
  assert.deepEqual(
    ids,
    Array.from({ length: 10_000 }, (_, i) => i + 1),
  )
})

test('each old row of a large update stands with what became of it, whatever the keys become', async () => {
  const [queue, table] = [await newQueue(pool), await newTable()]
  await pool.query(`insert into ${table} (id, status) select n, n::text from generate_series(1, 900) as n`)
  await sendChanges(table, queue)

  await pool.query(`update ${table} set id = id + 5000`)

  const pairs = bodies(await arrived(queue)) as { before: { id: number }; after: { id: number; status: string } }[]
  assert.equal(pairs.length, 900)
  for (const { before, after } of pairs) assert.deepEqual([after.id, after.status], [before.id + 5000, `${before.id}`])
})

test('large rows are sent in several calls, and one of more than 1 MiB refuses the statement as a send would', async () => {
  const [queue, table] = [await newQueue(pool), await newTable()]
  await sendChanges(table, queue)

  await pool.query(`insert into ${table} (id, status) select n, repeat('x', 900000) from generate_series(1, 40) as n`)
  const tooLarge = pool.query(`insert into ${table} (id, status) values (41, 'small'), (42, repeat('x', 1048577))`)

  await assert.rejects(tooLarge, { code: '23514', constraint: 'message_body_is_at_most_1_mib' })
  assert.equal((await on(pool, queue).purge()) + (await pool.query(`select from ${table}`)).rows.length, 80)
})

test('a partitioned table sends what is changed through it, also a row that moves to another partition', async () => {
  const [queue, table] = [await newQueue(pool), `parts_${++made}`]
  await pool.query(`create table ${table} (id integer, place text) partition by list (place)`)
  await pool.query(`create table ${table}_a (place text, id integer)`)
  await pool.query(`alter table ${table} attach partition ${table}_a for values in ('a')`)
  await pool.query(`create table ${table}_b partition of ${table} for values in ('b')`)
  await sendChanges(table, queue)

  await pool.query(`insert into ${table} values (1, 'a'), (2, 'b')`)
  await pool.query(`update ${table} set place = case place when 'a' then 'b' else 'a' end`)

  const moved = bodies((await arrived(queue)).slice(2)) as { table: string; before: object; after: object }[]
  assert.deepEqual(
    moved.map(({ table, before, after }) => [table, before, after]),
    [
      [table, { id: 1, place: 'a' }, { id: 1, place: 'b' }],
      [table, { id: 2, place: 'b' }, { id: 2, place: 'a' }],
    ],
  )
})

test('a row that another trigger swallows on its way to another partition refuses the update', async () => {
  const [queue, table] = [await newQueue(pool), `parts_${++made}`]
  await pool.query(`create table ${table} (id integer, place text) partition by list (place)`)
  await pool.query(`create table ${table}_a partition of ${table} for values in ('a')`)
  await pool.query(`create table ${table}_b partition of ${table} for values in ('b')`)
  await pool.query(`create function ${table}_none() returns trigger language plpgsql as 'begin return null; end'`)
  await pool.query(`create trigger none before insert on ${table}_b for each row execute function ${table}_none()`)
  await sendChanges(table, queue)
  await pool.query(`insert into ${table} values (1, 'a')`)

  const update = pool.query(`update ${table} set place = 'b'`)

  await assert.rejects(update, {
    code: 'PB002',
    message: /must keep every row, got one that another trigger swallowed/,
  })
})

test('an insert that updates what is there sends both kinds', async () => {
  const [queue, table] = [await newQueue(pool), await newTable()]
  await pool.query(`insert into ${table} (id, status) values (1, 'old')`)
  await sendChanges(table, queue)

  await pool.query(
    `insert into ${table} (id, status) values (1, 'new'), (2, 'new') on conflict (id) do update set status = excluded.status`,
  )

  assert.deepEqual((await arrived(queue)).map(({ type }) => type).sort(), [`${table}.insert`, `${table}.update`])
})

test('columns that come and go in a session that has sent before are seen', async () => {
  const [queue, table, session] = [await newQueue(pool), await newTable(), await db.connect()]
  await sendChanges(table, queue, { columns: ['id', 'status'] })
  await session.query(`insert into ${table} (id) values (1)`)
  await session.query(`alter table ${table} add column later text`)

  await session.query(`insert into ${table} (id, status, later) values (2, 'x', 'y')`)
  assert.deepEqual(
    bodies(await arrived(queue)).map((body) => (body as { after: object }).after),
    [
      { id: 1, status: null },
      { id: 2, status: 'x' },
    ],
  )

  await session.query(`alter table ${table} drop column status`)
  await assert.rejects(session.query(`insert into ${table} (id) values (3)`), {
    code: 'PB002',
    message: `table ${table} must have the column "status", got none of that name`,
  })
})

test('called again it replaces what was, and after stop_sending_changes nothing is sent, also if the queue has gone', async () => {
  const long = `q${'x'.repeat(70)}`
  const table = await newTable()
  await call(pool, 'create_queue', { queue: long })
  await sendChanges(table, long)
  await sendChanges(table, long, { events: ['delete'] })
  await pool.query(`insert into ${table} (id) values (1)`)
  await pool.query(`delete from ${table}`)
  assert.deepEqual(
    (await arrived(long)).map(({ type }) => type),
    [`${table}.delete`],
  )

  await on(pool, long).delete()
  await pool.query(`insert into ${table} (id) values (1)`)
  await assert.rejects(pool.query(`delete from ${table}`), { code: 'PB001', message: `queue "${long}" does not exist` })
  const stopped = await call(pool, 'stop_sending_changes', { relation: table, queue: long })

  assert.deepEqual(stopped, [{ stop_sending_changes: 1 }])
  await pool.query(`delete from ${table}`)
})

test('names that need quotes are quoted', async () => {
  const queue = await newQueue(pool)
  await pool.query(`create schema "My ""shop"""; create table "My ""shop"""."Order's" ("Id;" integer)`)
  const relation = '"My ""shop"""."Order\'s"'
  await sendChanges(relation, queue, { columns: ['Id;'], group_column: 'Id;', type: `it's` })

  await pool.query(`insert into ${relation} values (5)`)

  const [message] = await arrived(queue)
  assert.deepEqual(JSON.parse(message?.body ?? ''), {
    schema: 'My "shop"',
    table: "Order's",
    operation: 'insert',
    before: null,
    after: { 'Id;': 5 },
  })
  assert.deepEqual([message?.type, message?.group_key], ["it's.insert", '5'])
  assert.deepEqual(await call(pool, 'stop_sending_changes', { relation, queue }), [{ stop_sending_changes: 3 }])
})

for (const [options, problem] of [
  [{ columns: ['id', 'nope'] }, /must have the column "nope", got none/],
  [{ columns: [] }, /columns must be a list of at least one column/],
  [{ group_column: 'nope' }, /must have the column "nope"/],
  [{ events: ['truncate'] }, /events must be a list of insert, update and delete, got {truncate}/],
  [{ events: [] }, /events must be a list/],
  [{ images: ['old'] }, /images must be a list of before and after/],
  [{ type: '' }, /type must have 1 to 200 characters/],
] as const) {
  test(`${JSON.stringify(options)} is refused, and no trigger made`, async () => {
    const [queue, table] = [await newQueue(pool), await newTable()]

    await assert.rejects(sendChanges(table, queue, options), { code: 'PB002', message: problem })

    assert.deepEqual(await call(pool, 'stop_sending_changes', { relation: table, queue }), [
      { stop_sending_changes: 0 },
    ])
  })
}

test('a queue that is not there is refused when the trigger is made', async () => {
  const table = await newTable()

  await assert.rejects(sendChanges(table, 'nowhere'), { code: 'PB001', message: 'queue "nowhere" does not exist' })
})

test('a trigger made by hand works, and one that lacks what is needed says what that is', async () => {
  const [queue, table] = [await newQueue(pool), await newTable()]
  const make = (what: string, args: string) =>
    pool.query(`create or replace trigger t after ${what} execute function postbag.outbox_trigger(${args})`)
  const asNeeded = `insert on ${table} referencing new table as new_rows for each statement`

  await make(asNeeded, `'${queue}', '{"group_column": "id", "images": ["after"]}'`)
  await pool.query(`insert into ${table} (id) values (1)`)
  assert.deepEqual(
    (await arrived(queue)).map((message) => message.group_key),
    ['1'],
  )

  for (const [what, args, problem] of [
    [`insert on ${table} referencing new table as fresh for each statement`, `'${queue}'`, /new table as new_rows/],
    [`insert on ${table} for each row`, `'${queue}'`, /for each statement/],
    [asNeeded, '', /with a queue and perhaps options, got 0/],
    [asNeeded, `'${queue}', '{"colums": []}'`, /unknown field colums: known are columns, group_column, type, images/],
  ] as const) {
    await make(what, args)
    await assert.rejects(pool.query(`insert into ${table} (id) values (2)`), { code: 'PB002', message: problem })
  }
  await make(`truncate on ${table}`, `'${queue}'`)
  await assert.rejects(pool.query(`truncate ${table}`), { code: 'PB002', message: /for insert, update or delete/ })
})

test('a table may call its columns like anything that the trigger speaks of', async () => {
  const queue = await newQueue(pool)
  const names = ['changed', 'old_rows', 'new_rows', 'before', 'after', 'queue', 'options', 'message', 'messages', 'row']
  await pool.query(`create table speaking (id integer, ${names.map((name) => `"${name}" jsonb`).join()})`)
  await sendChanges('speaking', queue, { images: ['after'] })
  const of = (id: number, value: unknown) => ({ id, ...Object.fromEntries(names.map((name) => [name, value])) })

  await pool.query(`insert into speaking (id) values (1), (2)`)
  await pool.query(`update speaking set ${names.map((name) => `"${name}" = '{"is": "set"}'`).join()} where id = 2`)
  await pool.query('delete from speaking where id = 1')

  assert.deepEqual(
    bodies(await arrived(queue)).map((body) => (body as { after: object }).after),
    [of(1, null), of(2, null), of(2, { is: 'set' }), null],
  )
})

test('a group column may be empty, and one that is too long for a group is named', async () => {
  const [queue, table] = [await newQueue(pool), await newTable()]
  await sendChanges(table, queue, { group_column: 'status' })

  await pool.query(`insert into ${table} (id, status) values (1, ''), (2, null), (3, ' '), (4, $1)`, ['x'.repeat(128)])
  const tooLong = pool.query(`update ${table} set status = $1 where id = 1`, ['x'.repeat(129)])

  await assert.rejects(tooLong, {
    code: 'PB002',
    message: `column "status" of table "${table}" must have at most 128 characters, as it is the group of its messages, got 129`,
  })
  assert.deepEqual(
    (await arrived(queue)).map(({ group_key }) => group_key),
    [null, null, ' ', 'x'.repeat(128)],
  )
})

test('a column that is not sent may hold what a message cannot', async () => {
  const queue = await newQueue(pool)
  await pool.query(`create table loose (id integer, name text, content json)`)
  await sendChanges('loose', queue, { columns: ['id'], group_column: 'name' })

  const contents = ['"\\u0000"', '"\\ud800"', '1e1000000']
  for (const [id, content] of contents.entries()) {
    await pool.query('insert into loose values ($1, $2, $3)', [id, `group ${id}`, content])
  }
  await pool.query(`update loose set content = '1'`)

  assert.deepEqual(
    (await arrived(queue)).map(({ body, group_key }) => [JSON.parse(body).after, group_key]),
    contents.map((_, id) => [{ id }, `group ${id}`]),
  )
})

test('a column that Postgres computes when it is read is not sent, and refused where it is named', async () => {
  const { rows } = await pool.query(`select current_setting('server_version_num')::integer >= 180000 as knows`)
  // (Before Postgres 18 all are stored.)
  const kind = rows[0].knows ? 'virtual' : 'stored'
  const queue = await newQueue(pool)
  await pool.query(
    `create table computing (id integer, half integer, whole integer generated always as (half * 2) ${kind})`,
  )
  const asked = sendChanges('computing', queue, { columns: ['id', 'whole'] })
  if (kind === 'virtual') {
    await assert.rejects(asked, {
      code: 'PB002',
      message: 'column "whole" of table computing must be stored to be sent, got one that is computed when it is read',
    })
  } else await asked

  await sendChanges('computing', queue)
  await pool.query('insert into computing values (1, 2)')

  const [message] = bodies(await arrived(queue)) as { after: object }[]
  assert.deepEqual(message?.after, { id: 1, half: 2, ...(kind === 'stored' && { whole: 4 }) })
})

test('row-level security of the table hides no row from the messages', async () => {
  const [queue, table, session] = [await newQueue(pool), await newTable(), await db.connect()]
  await sendChanges(table, queue)
  const role = `postbag_test_${process.pid}_rls`
  await session.query(`begin; create role ${role}; grant select, insert, update, delete on ${table} to ${role}`)
  await session.query(`alter table ${table} enable row level security`)
  await session.query(`create policy w on ${table} for insert with check (true)`)
  await call(session, 'grant_send', { role, queues: [queue] })
  await session.query(`set local role ${role}`)

  await session.query(`insert into ${table} (id) values (1), (2)`)

  assert.deepEqual((await session.query(`select from ${table}`)).rows, [])
  await session.query('reset role')
  assert.equal((await arrived(queue, session)).length, 2)
  await session.query('rollback')
})
