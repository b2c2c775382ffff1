/* Policies of a file and the queues that it knows nothing of: they are not changed unless somebody says so. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createWorld } from './world.ts'

const { client, everything, fileOf, run } = await createWorld()

const limits = { name: 'limits', pattern: '^shop\\.', definition: { 'max-length': 1 } }

test('a policy that would change queues that are not in the file refuses all of it, and names them', async () => {
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) await client.queue(`shop.${name}`).create()
  await client.queue('other').create()
  const before = await everything()
  const file = await fileOf({ queues: [{ name: 'shop.a' }, { name: 'shop.new' }], policies: [limits] })

  for (const [done, args] of [
    ['was', []],
    ['would be', ['--dry-run']],
  ] as const) {
    const { code, stdout, stderr } = await run(file, ...args)

    assert.equal(code, 1)
    assert.doesNotMatch(stdout, /reate/)
    assert.equal(
      stderr,
      `error: nothing ${done} imported: policies would change queues that are there and not in the file; --change-others lets them
  policy limits for shop.*: 6 queues: shop.b, shop.c, shop.d, shop.e, shop.f …\n`,
    )
  }
  assert.equal(await everything(), before)
})

test('with --change-others it is imported, and the queues are named', async () => {
  await client.queue('shop.old').create()
  const file = await fileOf({ queues: [{ name: 'shop.new' }], policies: [limits] })

  const dry = await run(file, '--change-others', '--dry-run')
  const done = await run(file, '--change-others')
  const again = await run(file)

  const named = 'Queues that are not in the file:\n  policy limits for shop.*: 1 queue: shop.old\n'
  assert.deepEqual([dry.code, done.code, again.code], [0, 0, 0], dry.stderr + done.stderr + again.stderr)
  assert.ok(dry.stdout.endsWith(`${named}Would create 0 exchanges, 1 queue, 1 policy and 0 bindings.\n`), dry.stdout)
  assert.equal(done.stdout, `${named}Created 0 exchanges, 1 queue, 1 policy and 0 bindings.\n`)
  assert.equal(again.stdout, 'Created 0 exchanges, 0 queues, 0 policies and 0 bindings; 2 are there just so.\n')
  assert.equal((await client.queue('shop.old').info()).overflow, 'drop-oldest')
})

test('queues that say it themselves, or have it of a more specific policy, stay as they are and refuse nothing', async () => {
  await client.queue('shop.own').create({ maxMessages: 5, overflow: 'reject' })
  await client.policy('mine').set({ pattern: 'shop.mine.*', settings: { maxMessages: 7, overflow: 'reject' } })
  await client.queue('shop.mine.too').create()

  const { code, stderr } = await run(await fileOf({ queues: [], policies: [limits] }))

  assert.deepEqual([code, stderr], [0, ''])
  const infos = [await client.queue('shop.own').info(), await client.queue('shop.mine.too').info()]
  assert.deepEqual(
    infos.map(({ maxMessages, overflow }) => [maxMessages, overflow]),
    [
      [5, 'reject'],
      [7, 'reject'],
    ],
  )
})

test('one that is less specific does not stand in its way', async () => {
  await client.policy('wide').set({ pattern: '*', settings: { maxMessages: 7, overflow: 'reject' } })
  await client.queue('shop.old').create()

  const { code, stdout, stderr } = await run(await fileOf({ queues: [], policies: [limits] }), '--json')

  const { refused, imported, changesOfOthers } = JSON.parse(stdout)
  assert.deepEqual([code, refused, imported], [1, true, undefined])
  assert.deepEqual(changesOfOthers, [{ policy: 'limits', pattern: 'shop.*', queues: 1, names: ['shop.old'] }])
  assert.match(stderr, /^ {2}policy limits for shop\.\*: 1 queue: shop\.old$/m)
})
