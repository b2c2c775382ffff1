/* What postbag import rabbitmq refuses, with nothing of it imported: what is there otherwise, and files that are none. */
import assert from 'node:assert/strict'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createWorld, exported, nothing } from './world.ts'

const { client, everything, fileOf, folder, run } = await createWorld()

test('a conflict at the last binding leaves nothing', async () => {
  await client.exchange('shards').declare({ type: 'hash' })
  await client.queue('last').create()
  await client.exchange('shards').bind({ queue: 'last', weight: 2 })
  const before = await everything()
  const file = await fileOf({
    queues: [{ name: 'first' }, { name: 'last' }],
    exchanges: [
      { name: 'events', type: 'topic' },
      { name: 'shards', type: 'x-consistent-hash' },
    ],
    policies: [{ name: 'all', pattern: '^first', definition: { 'message-ttl': 1000 } }],
    bindings: [
      { source: 'events', destination: 'first', destination_type: 'queue', routing_key: '#' },
      { source: 'shards', destination: 'last', destination_type: 'queue', routing_key: '3' },
    ],
  })

  for (const args of [[], ['--dry-run']]) {
    const refused = await run(file, ...args)

    assert.equal(refused.code, 1)
    assert.match(
      refused.stderr,
      /1 of the bindings: shards to last: weight must be 2, as it was bound, got 3 \(import_conflict\)$/m,
    )
  }
  assert.equal(await everything(), before)
})

test('a queue that is there otherwise is named, with what differs', async () => {
  await client.queue('audit').create({ leaseSeconds: 60 })
  const before = await everything()

  const refused = await run(exported, '--vhost', '/')

  assert.equal(refused.code, 1)
  assert.match(
    refused.stderr,
    /queue "audit" is there with other settings: lease must be "00:01:00", as it is, got unsaid/,
  )
  assert.equal(await everything(), before)
})

test('several virtual hosts must be told apart', async () => {
  const { code, stderr } = await run(exported)

  assert.equal(code, 2)
  assert.match(stderr, /^error: --vhost must say which virtual host to import: "\/", "staging"$/m)
})

test('more than may be imported is refused', async () => {
  const queues = Array.from({ length: 10_001 }, (_, index) => ({ name: `q${index}` }))

  const { code, stderr } = await run(await fileOf({ queues }))

  assert.equal(code, 65)
  assert.match(
    stderr,
    /^error: the virtual host must have at most 10000 queues, exchanges, bindings and policies, got 10001$/m,
  )
  assert.equal(await everything(), nothing)
})

for (const [problem, content, message] of [
  ['what is no JSON', 'queues', /: Unexpected token/],
  ['another shape', '{"queues": [{"name": 5}]}', /: queues\[0\]\.name must be a string, got 5$/m],
  ['what is no text', Buffer.from([0x7b, 0xff]), /: it must be UTF-8 text, got other bytes$/m],
] as const) {
  test(`refuses ${problem}`, async () => {
    const { code, stdout, stderr } = await run(await fileOf(content))

    assert.deepEqual([code, stdout], [65, ''])
    assert.match(stderr, message)
  })
}

test('refuses a file of 100 MB without reading all of it', async () => {
  const path = join(folder, 'large.json')
  const file = await open(path, 'w')
  await file.truncate(100_000_000)
  await file.close()

  const { code, stderr } = await run(path)

  assert.equal(code, 65)
  assert.match(stderr, /: it must be at most 16777216 bytes$/m)
})

test('refuses a file that is not there', async () => {
  const { code, stderr } = await run(join(folder, 'absent.json'))

  assert.equal(code, 1)
  assert.match(stderr, /ENOENT/)
})
