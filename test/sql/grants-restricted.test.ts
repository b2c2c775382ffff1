/* Roles that may send to or receive from certain queues and do nothing else: postbag.grant_send, postbag.grant_receive. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { createDatabase } from '../support/database.ts'
import { bind, newExchange, publish, publishBatch } from '../support/sql-exchanges.ts'
import { bodies, call, newQueue, on, receipts } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

let made = 0

/** A session whose transaction has a new role with these permissions, and is it; the role goes with the test. */
async function sessionOf(permissions: { readonly send?: readonly string[]; readonly receive?: readonly string[] }) {
  const role = `Postbag test ${process.pid} ${++made}`
  const session = await db.connect()
  await session.query(`begin; create role "${role}"`)
  for (const [verb, queues] of Object.entries(permissions)) await call(session, `grant_${verb}`, { role, queues })
  await session.query(`set local role "${role}"`)
  return { role, session }
}

/** The statement is refused for want of a right; what was done before stays. */
async function refused(session: pg.Client, message: RegExp, act: () => Promise<unknown>): Promise<void> {
  await session.query('savepoint here')
  await assert.rejects(act, { code: '42501', message })
  await session.query('rollback to savepoint here')
}

const kinds = [
  {},
  { durability: 'volatile' },
  { max_messages: 5, rate: 1000, max_in_flight: 5 },
  { durability: 'relaxed', max_priority: 5 },
]

for (const config of kinds) {
  test(`a role may send to what it was granted, of the kind ${JSON.stringify(config)}, and no more`, async () => {
    const [queue, other] = [await newQueue(pool, config), await newQueue(pool)]
    const { session } = await sessionOf({ send: [queue] })

    const id = await on(session, queue).send({ a: 1 }, { group_key: 'g', dedup_id: 'd', headers: { h: '1' } })
    const again = await on(session, queue).sendBatch([{ body: 2, group: 'g', dedupId: 'd' }], { alone: true })

    assert.deepEqual(again, [{ id, duplicate: true }])
    await refused(session, /must be granted send on queue/, () => on(session, other).send(1))
    await refused(session, /must be granted receive on queue/, () => on(session, queue).receive())
    await session.query('set constraints all immediate; reset role')
    assert.deepEqual(bodies(await on(session, queue).receive(9)), [{ a: 1 }])
    await session.query('rollback')
  })

  test(`a role may receive from what it was granted, of the kind ${JSON.stringify(config)}, and no more`, async () => {
    const [queue, other] = [await newQueue(pool, config), await newQueue(pool)]
    await on(pool, other).send('secret')
    const hidden = receipts(await on(pool, other).receive())
    const sent = await on(pool, queue).sendBatch([
      { body: 1, headers: { h: '1' }, type: 't' },
      { body: 'text', encoding: 'text' },
      { body: 'AAH/', encoding: 'base64', group: 'g' },
    ])
    const { session } = await sessionOf({ receive: [queue] })

    const messages = await on(session, queue).receive(9, { lease: '1 min' })
    const [first = '', second = '', third = ''] = receipts(messages)

    assert.deepEqual(
      messages.map(({ id, body, headers, sent_at }) => [id, body, headers, sent_at instanceof Date]),
      [
        [sent[0]?.id, '1', { h: '1' }, true],
        [sent[1]?.id, 'text', null, true],
        [sent[2]?.id, 'AAH/', null, true],
      ],
    )
    assert.deepEqual(await on(session, queue).extend([first], { lease: '2 min' }), ['ok'])
    assert.deepEqual(await on(session, queue).nack([second], { delay: '1 h', error: 'no' }), ['ok'])
    assert.deepEqual(await on(session, queue).ack(first, third, 'x'), ['ok', 'ok', 'receipt_invalid'])
    assert.deepEqual(await on(session, queue).receive(9, { auto_ack: true }), [])
    await refused(session, /must be granted receive on queue/, () => on(session, other).receive())
    for (const verb of ['ack', 'nack', 'extend'] as const) {
      await refused(session, /must be granted receive on queue/, () => on(session, other)[verb](hidden as never))
    }
    await refused(session, /must be granted send on queue/, () => on(session, queue).send(1))
    await session.query('rollback')
  })
}

test('all else is refused: other verbs, the tables, and permissions of its own', async () => {
  const queue = await newQueue(pool)
  await on(pool, queue).send('secret')
  const { role, session } = await sessionOf({ send: ['*'], receive: ['*'] })
  const verbs = on(session, queue)

  const ways: readonly (() => Promise<unknown>)[] = [
    () => verbs.purge(),
    () => verbs.delete(),
    () => verbs.peek(),
    () => verbs.search(),
    () => verbs.stats(),
    () => verbs.pause(),
    () => verbs.redrive(),
    () => verbs.maintain(),
    () => call(session, 'create_queue', { queue: 'more' }),
    () => call(session, 'list_queues', {}),
    () => call(session, 'grant_send', { role, queues: ['more'] }),
    () => call(session, 'revoke_send', { role }),
    () => call(session, 'volatile_purge', { queue }),
    () => call(session, 'send_in_full', { queue, messages: '[{"body":1}]' }),
    () => call(session, 'receive_in_full', { queue, max_messages: 1, lease: null, now: new Date() }),
    ...['queue', 'message', 'volatile_message', 'dedup', 'permission', 'group_change', 'group_pending'].map(
      (table) => () => session.query(`select * from postbag.${table}`),
    ),
    () =>
      session.query(`insert into postbag.message (queue_id, available_at, sent_at, encoding, body)
      values (1, now(), now(), 'json', '1')`),
    () => session.query(`insert into postbag.permission values (current_user::regrole, 'send', 'x')`),
  ]

  for (const way of ways) await refused(session, /permission denied/, way)
  await session.query('rollback')
})

test('what it says of itself, its search path and the clock are no way around', async () => {
  const [queue, other] = [await newQueue(pool), await newQueue(pool)]
  await on(pool, queue).send('leased')
  await on(pool, queue).receive(1, { lease: '1 h' })
  const { session } = await sessionOf({ send: [queue], receive: [queue] })

  await refused(session, /must be granted send/, () =>
    session.query(
      `update postbag.restricted_call set caller = 'postgres', verb = 'send', queue = $1, arguments = '{"messages": [{"body": 1}]}'`,
      [other],
    ),
  )
  await refused(session, /must be granted purge/, () =>
    session.query(`update postbag.restricted_call set verb = 'purge', queue = $1`, [queue]),
  )
  for (const trigger of ['call_as_granted', 'apply_group_changes']) {
    await refused(session, /permission denied for function/, async () => {
      await session.query('create temp table mine (caller name, verb text, queue text, arguments jsonb, outcome json)')
      await session.query(`create trigger t after update on mine for each row execute function postbag.${trigger}()`)
    })
  }
  assert.deepEqual(await on(session, queue).receive(1, { now: new Date(Date.now() + 7_200_000) }), [])
  await session.query('rollback')
})

test('a grant holds for a beginning of names, adds up, and is taken back word by word', async () => {
  const { role, session } = await sessionOf({ send: ['orders.*', 'single'] })
  await session.query('reset role')
  for (const queue of ['orders.eu', 'orders', 'single', 'singles']) await call(session, 'create_queue', { queue })
  const maySend = async (queue: string) => {
    await session.query(`savepoint here; set local role "${role}"`)
    const sent = await on(session, queue)
      .send(1)
      .then(
        () => true,
        (error) => assert.equal(error.code, '42501'),
      )
    await session.query('rollback to savepoint here')
    return sent === true
  }

  assert.deepEqual(
    await Promise.all([
      await maySend('orders.eu'),
      await maySend('orders'),
      await maySend('single'),
      await maySend('singles'),
    ]),
    [true, false, true, false],
  )
  assert.deepEqual(await call(session, 'grant_send', { role, queues: ['orders', 'single'] }), [{ grant_send: 3 }])
  assert.equal(await maySend('orders'), true)
  assert.deepEqual(await call(session, 'revoke_send', { role, queues: ['orders.*'] }), [{ revoke_send: 2 }])
  assert.deepEqual([await maySend('orders.eu'), await maySend('orders')], [false, true])
  assert.deepEqual(await call(session, 'revoke_send', { role }), [{ revoke_send: 0 }])
  assert.equal(await maySend('orders'), false)
  await session.query(`drop role "${role}"; rollback`)
})

test('members of a role have its grants, also through a security definer function, whose owner counts', async () => {
  const queue = await newQueue(pool)
  const { role, session } = await sessionOf({ send: [queue] })
  await session.query(`reset role; create role "${role} member"; grant "${role}" to "${role} member"`)
  await session.query(`create role "${role} stranger"`)
  await session.query(`create function pg_temp.told() returns text language sql security definer
    return postbag.send('${queue}', '1')`)
  await session.query(`alter function pg_temp.told() owner to "${role}"`)
  // An administrator who calls a function of a restricted role's lends it none of his rights.
  const other = await newQueue(session)
  await session.query(`create function pg_temp.forbidden() returns text language sql security definer
    return postbag.send('${other}', '1')`)
  await session.query(`alter function pg_temp.forbidden() owner to "${role}"`)

  await refused(session, /must be granted send/, () => session.query('select pg_temp.forbidden()'))
  await session.query(`set local role "${role} member"`)
  await on(session, queue).send(1)
  await session.query(`set local role "${role} stranger"`)
  await session.query('select pg_temp.told()')
  await refused(session, /permission denied for schema postbag/, () => on(session, queue).send(3))

  await session.query('reset role')
  assert.equal((await on(session, queue).receive(9)).length, 2)
  await session.query('rollback')
})

test('a queue that does not exist looks like any other that was not granted', async () => {
  const { session } = await sessionOf({ send: ['there.*'] })

  await refused(session, /must be granted send on queue "elsewhere"/, () => on(session, 'elsewhere').send(1))
  await assert.rejects(on(session, 'there.not').send(1), { code: 'PB001', message: 'queue "there.not" does not exist' })
  await session.query('rollback')
})

test('the outbox view and the outbox trigger work for a role that may send', async () => {
  const queue = await newQueue(pool)
  const { role, session } = await sessionOf({ send: [queue] })
  await session.query('reset role; create table thing (id integer)')
  await call(session, 'send_changes', { relation: 'thing', queue })
  await session.query(`grant insert on thing to "${role}"; set local role "${role}"`)

  await session.query('insert into thing values (1)')
  await session.query(`insert into postbag.outbox (aggregatetype, payload) values ($1, '"x"')`, [queue])
  await session.query('delete from postbag.outbox')

  await session.query('reset role')
  assert.equal((await on(session, queue).receive(9)).length, 2)
  await session.query('rollback')
})

for (const [what, args, problem] of [
  ['no such role', { role: 'nobody here', queues: ['a'] }, /role must be one of the database, got "nobody here"/],
  ['no queues', { role: 'pg_monitor', queues: [] }, /queues must be between 1 and 1000, got 0/],
  ['a pattern in the middle', { role: 'pg_monitor', queues: ['a*b'] }, /beginnings of names and a \*, got a\*b/],
  ['a superuser', { role: 'postgres', queues: ['a'] }, /must have no rights on the tables of Postbag/],
] as const) {
  test(`a grant to ${what} is refused`, async () => {
    await assert.rejects(call(pool, 'grant_receive', args), { code: 'PB002', message: problem })
  })
}

test('a role may publish to the exchanges it was granted, wherever they lead, and no more', async () => {
  const [exchange, other] = [await newExchange(pool, 'fanout'), await newExchange(pool, 'fanout')]
  const [plain, ranked] = [await newQueue(pool), await newQueue(pool, { max_priority: 1 })]
  for (const queue of [plain, ranked]) await bind(pool, exchange, { queue })
  const { session, role } = await sessionOf({})
  await session.query('reset role')
  await call(session, 'grant_publish', { role, exchanges: [exchange] })
  await session.query(`set local role "${role}"`)

  assert.equal(await publish(session, exchange, 1, { routing_key: 'a' }), 2)
  assert.deepEqual(await publishBatch(session, exchange, [{ body: 2 }], { mandatory: true, alone: true }), [2])

  await refused(session, /must be granted publish on exchange/, () => publish(session, other, 1))
  await refused(session, /must be granted send on queue/, () => on(session, plain).send(1))
  await session.query('reset role')
  for (const queue of [plain, ranked]) assert.deepEqual(bodies(await on(session, queue).receive(9)), [1, 2])
  assert.deepEqual(await call(session, 'revoke_publish', { role, exchanges: [exchange] }), [{ revoke_publish: 0 }])
  await session.query(`set local role "${role}"`)
  await refused(session, /permission denied/, () => publish(session, exchange, 1))
  await session.query('rollback')
})
