/* What no policy may say, and what no queue can have. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { maxPolicies } from '../../src/limits.ts'
import { createDatabase } from '../support/database.ts'
import { policiesOf } from '../support/sql-policies.ts'
import { call, on } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { pool } = db
const { setPolicy, deletePolicy, deleteAll, names, create, describe } = policiesOf(db)

const refusals: [
  problem: string,
  pattern: string | null,
  settings: unknown,
  error: { code: string; message: RegExp },
][] = [
  [
    'an unknown setting',
    '*',
    { tll: 5 },
    { code: 'PB002', message: /^settings has the unknown field tll: known are .*ttl/ },
  ],
  [
    'durability',
    '*',
    { durability: 'full' },
    { code: 'PB002', message: /^durability must be set by each queue itself/ },
  ],
  ['null where there must be something', '*', { lease: null }, { code: 'PB002', message: /^lease must not be null/ }],
  [
    'a dead-letter queue that is not there',
    '*',
    { dead_letter_queue: 'no' },
    { code: 'PB002', message: /exists, got 'no'$/ },
  ],
  ['no object', '*', [1], { code: 'PB002', message: /^settings must be an object, got \[1\]$/ }],
  ['nothing', '*', null, { code: 'PB002', message: /^settings must be an object, got null$/ }],
  [
    'a value out of range',
    'nobody.*',
    { max_attempts: 0 },
    { code: '23514', message: /queue_max_attempts_is_1_to_1000/ },
  ],
  [
    'a time out of range',
    'nobody.*',
    { lease: '13 h' },
    { code: '23514', message: /queue_lease_is_0_to_43200_seconds/ },
  ],
  ['a burst without a rate', 'nobody.*', { burst: 5 }, { code: '23514', message: /burst_needs_a_rate/ }],
  ['a word that is none', 'nobody.*', { overflow: 'flood' }, { code: '23514', message: /queue_overflow_is/ }],
  ['another kind of value', 'nobody.*', { max_attempts: 'five' }, { code: '22P02', message: /five/ }],
  ['a fraction', 'nobody.*', { max_attempts: 1.5 }, { code: '22P02', message: /1\.5/ }],
  ['a time that is none', 'nobody.*', { ttl: 'soon' }, { code: '22007', message: /soon/ }],
  ['an empty pattern', '', {}, { code: '23514', message: /policy_pattern_is/ }],
  ['a pattern of 81 characters', '*'.repeat(81), {}, { code: '23514', message: /policy_pattern_is/ }],
  ['a pattern with other characters', 'a%', {}, { code: '23514', message: /policy_pattern_is/ }],
  ['no pattern', null, {}, { code: '23502', message: /pattern/ }],
]

for (const [problem, pattern, settings, error] of refusals) {
  test(`a policy with ${problem} is refused, and leaves nothing behind`, async () => {
    const queues = 'select count(*) from postbag.queue'
    const before = (await pool.query(queues)).rows

    await assert.rejects(setPolicy('refused', pattern, settings), error)

    assert.deepEqual((await pool.query(queues)).rows, before)
    await assert.rejects(call(pool, 'describe_policy', { policy: 'refused' }), {
      code: 'PB009',
      message: 'policy "refused" does not exist',
    })
  })
}

test('a policy that one queue cannot have is refused whole, and the queue is named', async () => {
  await create('fit.dead')
  await create('fit.a')
  await create('fit.volatile', { durability: 'volatile' })

  await assert.rejects(setPolicy('fit', 'fit.*', { dead_letter_queue: 'fit.dead', lease: '3 s' }), {
    code: 'PB002',
    message: /^the policies must fit every queue, and queue "fit.volatile" does not: deadLetterQueue must be volatile/,
  })

  assert.deepEqual((await describe('fit.a')).origins, {})
  await setPolicy('fit', 'fit.a*', { dead_letter_queue: 'fit.dead' })
  assert.equal((await describe('fit.a'))['dead_letter_queue'], 'fit.dead')
})

test('a policy cannot go while a queue needs what it says, and the queue is named', async () => {
  await setPolicy('need', 'need.*', { rate: 10 })
  await create('need.a', { burst: 5 })

  await assert.rejects(deletePolicy('need'), {
    code: 'PB002',
    message: /queue "need.a" does not: refused by the rule: queue rate burst needs a rate$/,
  })

  assert.equal((await describe('need.a'))['rate'], 10)
  await on(pool, 'need.a').delete()
  assert.equal(await deletePolicy('need'), 0)
})

test('a dead-letter queue that matches its own policy keeps its dead letters', async () => {
  await create('own.dead')

  await setPolicy('own', 'own.*', { dead_letter_queue: 'own.dead', max_attempts: 2 })

  assert.equal((await describe('own.dead'))['dead_letter_queue'], 'own.dead')
  await on(pool, 'own.dead').delete()
  // A queue whose dead-letter queue is gone can still get other settings.
  await setPolicy('own2', 'own.dea*', {})
  await assert.rejects(create('own.a'), { code: 'PB002', message: /exists .*, got 'own.dead'$/ })
  await create('own.dead')
  await create('own.a')
})

test('a dead-letter queue that was deleted does not stand in the way of other changes', async () => {
  await create('gone.dead')
  await create('gone.a', { dead_letter_queue: 'gone.dead' })
  await on(pool, 'gone.dead').delete()

  await setPolicy('gone', 'gone.*', { lease: '3 s' })

  assert.equal((await describe('gone.a'))['lease_seconds'], 3)
})

test(`there are at most ${maxPolicies} policies, and one that is there can be replaced`, async () => {
  await deleteAll()
  for (let i = 0; i < maxPolicies; i++) await setPolicy(`many-${i}`, 'many', {})

  await assert.rejects(setPolicy('many-more', 'many', {}), { code: 'PB002', message: /at most 100 policies/ })
  await setPolicy('many-0', 'many.0', {})

  assert.equal((await names()).length, maxPolicies)
  await deleteAll()
})
