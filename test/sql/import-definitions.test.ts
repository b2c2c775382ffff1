/* postbag.import_definitions: exchanges, queues, policies and bindings at once; all or none, and never in place of what is there. */
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { createDatabase } from '../support/database.ts'
import { publish, route } from '../support/sql-exchanges.ts'
import { policiesOf } from '../support/sql-policies.ts'
import { call } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const { describe, names: policyNames, deleteAll } = policiesOf(db)

type Rows = readonly (readonly [kind: string, created: number, present: number])[]

/** What was created and what was there: exchanges, queues, policies, bindings. */
async function importAll(definitions: unknown, more: { readonly dry_run?: boolean; readonly now?: Date } = {}) {
  const rows = await call<{ kind: string; created: number; present: number }>(pool, 'import_definitions', {
    definitions: JSON.stringify(definitions),
    ...more,
  })
  return rows.map(({ kind, created, present }) => [kind, created, present]) satisfies Rows
}

/** Everything that an import may change. */
async function everything() {
  const { rows } = await pool.query(`
    select
      (select jsonb_agg(to_jsonb(known) order by queue_id) from postbag.queue as known) as queues,
      (select jsonb_agg(to_jsonb(known) order by exchange_id) from postbag.exchange as known) as exchanges,
      (select jsonb_agg(to_jsonb(known) order by binding_id) from postbag.binding as known) as bindings,
      (select jsonb_agg(to_jsonb(known) order by name) from postbag.policy as known) as policies,
      (select jsonb_agg(to_jsonb(known)) from postbag.policy_change as known) as changes`)
  return rows[0]
}

beforeEach(async () => {
  await deleteAll()
  for (const [list, remove] of [
    ['queue', 'delete_queue'],
    ['exchange', 'delete_exchange'],
  ]) {
    await pool.query(`select postbag.${remove}(name) from postbag.${list}`)
  }
})

const shop = {
  exchanges: [
    { name: 'events', type: 'topic', alternate: 'strays' },
    { name: 'strays', type: 'fanout' },
    { name: 'shares', type: 'hash' },
  ],
  queues: [
    { name: 'work', settings: { dead_letter_queue: 'retry', max_attempts: 3 } },
    { name: 'retry', settings: { dead_letter_queue: 'work', ttl: 60 } },
    { name: 'kept', settings: { ttl: null, lease: 0.5 } },
  ],
  policies: [{ name: 'all', pattern: '*', settings: { ttl: 3600 } }],
  bindings: [
    { exchange: 'events', queue: 'work', routing_key: 'order.#' },
    { exchange: 'events', to_exchange: 'shares', routing_key: '#' },
    { exchange: 'shares', queue: 'kept', weight: 3 },
    { exchange: 'strays', queue: 'kept' },
  ],
}

test('everything is there afterwards, also queues that are dead-letter queues of each other', async () => {
  const done = await importAll(shop)

  assert.deepEqual(done, [
    ['exchanges', 3, 0],
    ['queues', 3, 0],
    ['policies', 1, 0],
    ['bindings', 4, 0],
  ])
  const [work, retry, kept] = await Promise.all(['work', 'retry', 'kept'].map(describe))
  assert.deepEqual(
    [work?.['dead_letter_queue'], work?.['max_attempts'], Number(work?.['ttl_seconds'])],
    ['retry', 3, 3600],
  )
  assert.deepEqual([retry?.['dead_letter_queue'], Number(retry?.['ttl_seconds'])], ['work', 60])
  assert.deepEqual([kept?.['ttl_seconds'], Number(kept?.['lease_seconds'])], [null, 0.5])
  assert.deepEqual(await route(pool, 'events', 'order.new'), ['work', 'kept'])
  assert.equal(await publish(pool, 'events', 1, { routing_key: 'order.new' }), 2)
})

test('a second import finds everything, and changes nothing', async () => {
  await importAll(shop)
  const before = await everything()

  const again = await importAll(shop)

  assert.deepEqual(again, [
    ['exchanges', 0, 3],
    ['queues', 0, 3],
    ['policies', 0, 1],
    ['bindings', 0, 4],
  ])
  const { changes: _, ...kept } = await everything()
  const { changes: __, ...had } = before
  assert.deepEqual(kept, had)
})

test('a dry run counts the same, and leaves nothing', async () => {
  const before = await everything()

  const counted = await importAll(shop, { dry_run: true })

  assert.deepEqual(counted, [
    ['exchanges', 3, 0],
    ['queues', 3, 0],
    ['policies', 1, 0],
    ['bindings', 4, 0],
  ])
  const { changes: _, ...after } = await everything()
  const { changes: __, ...had } = before
  assert.deepEqual(after, had)
})

for (const [there, make, refusal] of [
  [
    'a queue',
    `select from postbag.create_queue('kept', lease => '1 min')`,
    /^nothing was imported, because of 1 of the queues: kept: queue "kept" is there with other settings: lease must be "00:01:00", as it is, got "00:00:00.5", ttl must be unsaid, as it is, got null$/,
  ],
  [
    'an exchange',
    `select postbag.declare_exchange('shares', type => 'direct')`,
    /1 of the exchanges: shares: type of exchange "shares" must be direct, as it was declared, got hash$/,
  ],
  [
    'a policy',
    `select from postbag.set_policy('all', 'a*', '{}')`,
    /1 of the policies: all: policy "all" is there, for a\* and with the settings \{\}, got \* and \{"ttl": 3600\}$/,
  ],
  [
    'a binding with another weight',
    `select postbag.declare_exchange('shares', type => 'hash'), postbag.bind('shares', queue => name, weight => 2)
     from postbag.create_queue('kept', lease => '500 ms', without => '{ttl}')`,
    /1 of the bindings: shares to kept: weight must be 2, as it was bound, got 3$/,
  ],
] as const) {
  test(`${there} that is not as it is to be refuses all of it`, async () => {
    await pool.query(make)
    const before = await everything()

    for (const dry_run of [true, false]) {
      await assert.rejects(importAll(shop, { dry_run }), { code: 'PB020', message: refusal })
    }

    assert.deepEqual(await everything(), before)
  })
}

test('what is wrong with the last binding leaves nothing of the first exchange', async () => {
  const before = await everything()
  const bindings = [...shop.bindings, { exchange: 'events', queue: 'nobody-made', routing_key: 'x' }]

  await assert.rejects(importAll({ ...shop, bindings }), {
    code: 'PB020',
    message: /1 of the bindings: events to nobody-made: queue "nobody-made" does not exist$/,
  })

  assert.deepEqual(await everything(), before)
})

test('all that is refused of a kind is named, up to twenty', async () => {
  const queues = Array.from({ length: 25 }, (_, index) => ({ name: `no name ${index}`, settings: {} }))

  await assert.rejects(importAll({ queues }), (error: Error) => {
    assert.match(error.message, /^nothing was imported, because of 25 of the queues: no name 0: refused by the rule: /)
    assert.match(error.message, /no name 19: .*; …$/)
    assert.doesNotMatch(error.message, /no name 20/)
    return true
  })
})

test('a dead-letter queue that is not there refuses all of it', async () => {
  const queues = [...shop.queues, { name: 'lone', settings: { dead_letter_queue: 'nobody-made' } }]

  await assert.rejects(importAll({ ...shop, queues }), {
    code: 'PB020',
    message: /because of queue "lone": deadLetterQueue must be a queue that exists .*, got 'nobody-made'$/,
  })

  assert.equal((await everything())?.queues, null)
})

for (const [problem, definitions, code, message] of [
  ['no object', [], 'PB002', /^definitions must be an object, got \[\]$/],
  ['an unknown list', { users: [] }, 'PB002', /^definitions has the unknown field users: known are exchanges, queues/],
  ['a list that is none', { queues: {} }, 'PB002', /^queues must be an array, got \{\}$/],
  ['elements that are no objects', { queues: ['a'] }, 'PB002', /^queues must be an array of objects$/],
  [
    'one name for two things',
    {
      exchanges: [{ name: 'a' }],
      queues: [{ name: 'a' }, { name: 'b' }, { name: 'a', settings: { max_attempts: 3 } }],
    },
    'PB002',
    /^queues must have each name once, or say the same of it, got "a" with different settings$/,
  ],
  [
    'a setting that is none',
    { queues: [{ name: 'a', settings: { color: 1 } }] },
    'PB020',
    /a: settings has the unknown field color/,
  ],
  ['settings that are none', { queues: [{ name: 'a', settings: 5 }] }, 'PB020', /a: settings must be an object, got 5/],
  ['an exchange without a name', { exchanges: [{}] }, '23502', /null value in column "name"/],
  [
    'too many',
    { queues: Array.from({ length: 10_001 }, () => ({})) },
    'PB003',
    /must be at most 10000 in all, got 10001$/,
  ],
] as const) {
  test(`refuses ${problem}`, async () => {
    await assert.rejects(importAll(definitions), { code, message })

    assert.equal((await everything())?.queues, null)
  })
}

test('two imports of the same at once: one creates, the other finds', async () => {
  const [one, other] = await Promise.all([importAll(shop), importAll(shop)])

  const created = [one, other].map((rows) => rows.reduce((sum, [, count]) => sum + count, 0)).sort()
  assert.deepEqual(created, [0, 11])
  assert.deepEqual(await policyNames(), ['all'])
})
