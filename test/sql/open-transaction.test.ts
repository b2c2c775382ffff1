/* A transaction that has sent and stays open delays nobody: beside one of each kind, every verb is called with a bound on its waits for
 * locks. What does wait, by nature, is named here, and nothing else may. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type pg from 'pg'
import { install } from '../../src/db/install.ts'
import { createDatabase } from '../support/database.ts'
import { bodies, call, on, type QueueConfig } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db

interface Kind {
  readonly queue?: QueueConfig
  /** What the open transaction does: $1 is the queue, $2 the exchange that leads to it, $3 a table whose changes go to it. */
  readonly does: readonly string[]
  /** The verbs that wait for it, as named below, and why: */
  readonly waits?: Readonly<Record<string, string>>
}

const send = `select postbag.send($1, '"late"')`
const sameId = 'nobody knows yet whether the first message with the id exists'

const triggers = 'Postgres changes no trigger of a table while somebody writes to it'

const kinds: Readonly<Record<string, Kind>> = {
  'a send': { does: [send] },
  'a batch': { does: [`select id from postbag.send_batch($1, '[{"body":"late"},{"body":"late"}]')`] },
  'a send with priority and a time to live': {
    does: [`select postbag.send($1, '"late"', priority => 1, ttl => '1 h')`],
  },
  'a send to a group': { does: [`select postbag.send($1, '"late"', group_key => 'g')`] },
  'a send to a group of a fair queue': {
    queue: { group_mode: 'fair' },
    does: [`select postbag.send($1, '"late"', group_key => 'g')`],
  },
  'a send with a dedup id': {
    does: [`select postbag.send($1, '"late"', dedup_id => 'id')`],
    waits: { 'send with the dedup id': sameId },
  },
  'a send that is deduplicated by content': {
    queue: { dedup_by: 'content' },
    does: [`select postbag.send($1, '"content"')`],
    waits: { 'send of the content': sameId },
  },
  'a send to a queue with a limit': { queue: { max_messages: 1000 }, does: [send] },
  'a send to a queue with a limit of bytes': { queue: { max_bytes: 1_000_000 }, does: [send] },
  'a send that drops the oldest': {
    queue: { max_messages: 4, overflow: 'drop-oldest' },
    does: [send],
    waits: { delete_queue: 'it deletes the count of messages, too, which the send has changed' },
  },
  'a send to a queue with rates and a limit in flight': {
    queue: { rate: 1e6, group_rate: 1e6, max_in_flight: 100 },
    does: [send],
  },
  'a send to a volatile queue': { queue: { durability: 'volatile' }, does: [send] },
  'a publish': { does: [`select * from postbag.publish($2, '"late"')`] },
  'a publish to a group': { does: [`select * from postbag.publish($2, '"late"', group_key => 'g')`] },
  'a request': { does: [`select id from postbag.request($1, '"late"')`] },
  'a row change': {
    does: ['insert into %3 values (1)'],
    waits: { 'send_changes again': triggers, stop_sending_changes: triggers },
  },
  'an insert into the view outbox': {
    does: [`insert into postbag.outbox (aggregatetype, aggregateid, payload) values ($1, 'g', '"late"')`],
  },
}

/** Everything that may be called beside it, of one queue and of all; what deletes stands last. $1, $2 and $3 as above, $4 the receipt of a
 * message that is leased, $5 its id, $6 the queue's durability. */
const verbs: Readonly<Record<string, string>> = {
  send: `select postbag.send($1, '1')`,
  send_batch: `select id from postbag.send_batch($1, '[{"body":1}]')`,
  'send to a group': `select postbag.send($1, '2', group_key => 'g')`,
  'send with another dedup id': `select postbag.send($1, '3', dedup_id => 'other')`,
  'send with the dedup id': `select postbag.send($1, '4', dedup_id => 'id')`,
  'send of the content': `select postbag.send($1, '"content"')`,
  request: `select id from postbag.request($1, '5')`,
  publish: `select * from postbag.publish($2, '6')`,
  'publish to a group': `select * from postbag.publish($2, '7', group_key => 'g')`,
  explain_route: 'select * from postbag.explain_route($2)',
  'a row change': 'insert into %3 values (2)',
  outbox: `insert into postbag.outbox (aggregatetype, aggregateid, payload) values ($1, 'g', '8')`,
  extend: 'select outcome from postbag.extend($1, $4)',
  nack: `select outcome from postbag.nack($1, $4, delay => '0 s')`,
  receive: 'select receipt from postbag.receive($1, 1)',
  'receive and ack': `select receipt from postbag.receive($1, 1, auto_ack => true)`,
  ack: 'select outcome from postbag.ack($1, $4)',
  next_available_at: 'select postbag.next_available_at($1)',
  watch: 'select * from postbag.watch(array[$1])',
  unwatch: 'select * from postbag.unwatch(array[$1])',
  peek: 'select id from postbag.peek($1)',
  search: `select id from postbag.search($1, body_contains => '1')`,
  get_message: 'select id from postbag.get_message($1, $5)',
  queue_stats: 'select * from postbag.queue_stats($1)',
  redrive: 'select * from postbag.redrive($1)',
  maintain: 'select * from postbag.maintain()',
  inbox: `select postbag.inbox('consumer', $1)`,
  pause: 'select * from postbag.pause($1)',
  resume: 'select * from postbag.resume($1)',
  describe_queue: 'select * from postbag.describe_queue($1)',
  list_queues: 'select * from postbag.list_queues()',
  'create another queue': `select name from postbag.create_queue('another-' || $1)`,
  'replace the queue': 'select name from postbag.create_queue($1, durability => $6)',
  set_policy: `select * from postbag.set_policy('all', '*', '{"lease": "40 s"}')`,
  describe_policy: `select * from postbag.describe_policy('all')`,
  list_policies: 'select * from postbag.list_policies()',
  delete_policy: `select postbag.delete_policy('all')`,
  'declare another exchange': `select * from postbag.declare_exchange('another-' || $1)`,
  'declare the exchange': `select * from postbag.declare_exchange($2, 'fanout')`,
  describe_exchange: 'select * from postbag.describe_exchange($2)',
  list_exchanges: 'select * from postbag.list_exchanges()',
  bind: `select postbag.bind($2, $1, 'another')`,
  list_bindings: 'select * from postbag.list_bindings($2)',
  unbind: `select postbag.unbind($2, $1, 'another')`,
  grant_send: `select postbag.grant_send('pg_monitor', array[$1])`,
  grant_publish: `select postbag.grant_publish('pg_monitor', array[$2])`,
  grant_receive: `select postbag.grant_receive('pg_monitor', array[$1])`,
  revoke_send: `select postbag.revoke_send('pg_monitor')`,
  'send_changes again': `select postbag.send_changes('%3', $1)`,
  stop_sending_changes: `select postbag.stop_sending_changes('%3', $1)`,
  purge: 'select postbag.purge($1)',
  delete_exchange: 'select postbag.delete_exchange($2)',
  delete_queue: 'select postbag.delete_queue($1)',
}

let made = 0

describe('beside an open transaction with', () => {
  for (const [kind, { queue: config = {}, does, waits = {} }] of Object.entries(kinds)) {
    test([kind, 'nobody waits', ...Object.keys(waits).map((verb) => `but for ${verb}`)].join(', '), async () => {
      const names = await prepare(config)
      const [open, beside] = await Promise.all([db.connect(), db.connect()])
      await open.query('begin')
      for (const statement of does) await open.query(...filledIn(statement, names))

      const waiting: Record<string, unknown> = {}
      for (const [verb, statement] of Object.entries(verbs)) {
        if (await waitsForLock(beside, filledIn(statement, names))) waiting[verb] = waits[verb]
      }
      await open.query('commit')

      assert.deepEqual(waiting, waits)
      // All else was purged, beside it.
      const late = bodies(await on(pool, names.queue).receive(100))
      assert.equal(late.length, does.join().includes('send_batch') ? 2 : 1, JSON.stringify(late))
    })
  }
})

test('an installation that finds nothing to do waits for nobody; a change of the table of messages waits for who has sent', async () => {
  const { queue } = await prepare({})
  const [open, beside] = await Promise.all([db.connect(), db.connect()])
  await open.query('begin')
  await on(open, queue).send('late')

  await install(pool)

  assert.ok(await waitsForLock(beside, ['alter table postbag.message add column more text', []]))
  await open.query('rollback')
})

interface Names {
  readonly queue: string
  readonly exchange: string
  readonly table: string
  readonly receipts: string
  readonly id: string
  readonly durability: string
}

async function prepare(config: QueueConfig): Promise<Names> {
  const number = ++made
  const { durability = 'full' } = config
  const [queue, exchange, table] = [`queue-${number}`, `exchange-${number}`, `changed_${number}`]
  await call(pool, 'create_queue', { queue, max_priority: 9, ...config })
  await call(pool, 'declare_exchange', { exchange, type: 'fanout' })
  await call(pool, 'bind', { exchange, queue })
  await pool.query(`create table ${table} (id integer)`)
  await call(pool, 'send_changes', { relation: table, queue })
  await on(pool, queue).send('leased')
  const [leased] = await on(pool, queue).receive(1, { lease: '1 h' })
  for (const body of ['older', 'old', 'new']) await on(pool, queue).send(body)
  return { queue, exchange, table, receipts: JSON.stringify([leased?.receipt]), id: leased?.id ?? '', durability }
}

/** The statement, with the values that it names, as query() wants them. */
function filledIn(statement: string, { queue, exchange, table, receipts, id, durability }: Names): [string, string[]] {
  const values = [queue, exchange, table, receipts, id, durability]
  const used: string[] = []
  const text = statement.replace('%3', table).replaceAll(/\$(\d)/g, (_, place) => {
    used.push(values[Number(place) - 1] ?? '')
    return `$${used.length}${place === '4' ? '::jsonb' : '::text'}`
  })
  return [text, used]
}

/** Whether it cannot be done and committed now. Nothing else is under way, so whatever is waited for is the open transaction. */
async function waitsForLock(session: pg.Client, [text, values]: [string, string[]]): Promise<boolean> {
  try {
    await session.query(`begin; set local lock_timeout = '100 ms'`)
    await session.query(text, values)
    // (The queue is still needed.)
    await session.query(text.includes('delete_queue') ? 'rollback' : 'commit')
    return false
  } catch (error) {
    await session.query('rollback')
    if ((error as { code?: string }).code !== '55P03') throw error
    return true
  }
}
