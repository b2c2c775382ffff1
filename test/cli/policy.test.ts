/* postbag policy …, and how queue show says who sets what. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { createPlace, jsonLines, type Outcome, postbag } from './command.ts'

let run: (...args: readonly string[]) => Promise<Outcome>

before(async () => {
  const place = await createPlace()
  run = (...args) => postbag(args, { env: place.env })
})

test('policies are set, listed and deleted, and queue show says who sets what', async () => {
  assert.match((await run('policy', 'list')).stdout, /^There is no policy yet/)
  await run('queue', 'create', 'shop.a', '--max-attempts', '5')

  const set = await run('policy', 'set', 'shop', 'shop.*', '--ttl', '1h', '--rate', '10')
  await run('policy', 'set', 'all', '*', '--lease', '60', '--ttl', '2h')
  const list = await run('policy', 'list')
  const show = await run('queue', 'show', 'shop.a')
  const deleted = await run('policy', 'delete', 'shop')

  assert.equal(set.stdout, 'Set policy shop for shop.* (1 queue now): ttl 1 h, rate 10/s.\n')
  const [headings, first, second] = list.stdout.split('\n')
  assert.match(headings ?? '', /^NAME +PATTERN +QUEUES +SETTINGS$/)
  assert.match(first ?? '', /^shop +shop\.\* +1 +ttl 1 h, rate 10\/s$/)
  assert.match(second ?? '', /^all +\* +1 +lease 1 min, ttl 2 h$/)
  for (const line of [
    /^ttl +1 h \(policy shop\)$/m,
    /^lease +1 min \(policy all\)$/m,
    /^max attempts +5 \(the queue itself\)$/m,
    /^delay +0 s$/m,
  ]) {
    assert.match(show.stdout, line)
  }
  assert.equal(deleted.stdout, 'Deleted the policy shop, which matched 1 queue.\n')
  assert.match((await run('queue', 'show', 'shop.a')).stdout, /^ttl +2 h \(policy all\)$/m)
})

test('with --json they are objects', async () => {
  const set = await run('policy', 'set', 'machine', 'machine.*', '--delay', '5', '--json')
  const list = await run('policy', 'list', '--json')

  assert.deepEqual(JSON.parse(set.stdout).settings, { delaySeconds: 5 })
  assert.ok(jsonLines<{ name: string }>(list.stdout).some(({ name }) => name === 'machine'))
  assert.deepEqual(JSON.parse((await run('policy', 'delete', 'machine', '--json')).stdout), { matchingQueues: 0 })
})

for (const [problem, args, code, sentence] of [
  ['a bad pattern', ['set', 'x', 'a b'], 1, /^error: pattern must be 1 to 80.*\(request_invalid\)/],
  ['a value out of range', ['set', 'x', '*', '--lease', '13h'], 1, /leaseSeconds must be between 0 and 43200/],
  ['durability', ['set', 'x', '*', '--durability', 'full'], 2, /unknown option/],
  ['what is not there', ['delete', 'absent'], 1, /^error: policy "absent" does not exist.*\(policy_not_found\)/],
] as const) {
  test(`refuses ${problem}`, async () => {
    const outcome = await run('policy', ...args)

    assert.deepEqual([outcome.code, outcome.stdout], [code, ''])
    assert.match(outcome.stderr, sentence)
  })
}
