/* postbag import rabbitmq, from a file to the queues that messages reach. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { postbag } from '../command.ts'
import { createWorld, exported, nothing } from './world.ts'

const { client, env, everything, fileOf, run, withStream } = await createWorld()

test('messages reach the queues that RabbitMQ led them to', async () => {
  const imported = await run(exported, '--vhost', '/')

  assert.equal(imported.stderr, '')
  assert.equal(imported.code, 0)
  assert.match(imported.stdout, /^Created 7 exchanges, 10 queues, 3 policies and 10 bindings\.$/m)
  for (const [exchange, routingKey, headers, queues] of [
    ['shop.events', 'order.new.eu', {}, ['audit', 'shop.orders']],
    ['shop.events', 'order.new.us', {}, ['audit']],
    ['shop.events', 'order', {}, ['audit']],
    ['shop.events', 'payment.done', {}, ['strays']],
    ['shop.delayed', 'mail', {}, ['shop.mails']],
    ['shop.delayed', 'letter', {}, ['strays']],
    ['shop.files', '', { format: 'pdf', pages: '1', more: 'x' }, ['pdfs']],
    ['shop.files', '', { format: 'pdf', pages: '2' }, []],
    ['amq.topic', 'sensors.kitchen', {}, ['live']],
    ['default', 'audit', {}, ['audit']],
  ] as const) {
    const { queues: reached } = await client.exchange(exchange).route({ routingKey, headers })
    const published = await client.exchange(exchange).publish(routingKey, { routingKey, headers })

    assert.deepEqual([...reached].sort(), queues, `${exchange} ${routingKey}`)
    assert.equal(published.queues, queues.length)
  }
  const { queues: [shard = '', ...more] = [] } = await client.exchange('shop.events').route({ routingKey: 'sharded.7' })
  assert.match(shard, /^shard\.[12]$/)
  assert.deepEqual(more, [])
})

test('a file may begin with a byte order mark', async () => {
  const { code, stderr } = await run(await fileOf('\ufeff{"queues": [{"name": "orders"}]}'))

  assert.deepEqual([code, stderr], [0, ''])
})

test('a queue that a file has twice, with its dead-letter queue, and binds twice to a hash exchange, is imported', async () => {
  const queue = { name: 'q', arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' } }
  const binding = { source: 'shards', destination: 'q', destination_type: 'queue' }
  const file = await fileOf({
    queues: [queue, { name: 'dead' }, queue],
    exchanges: [{ name: 'shards', type: 'x-consistent-hash' }],
    bindings: [
      { ...binding, routing_key: '2' },
      { ...binding, routing_key: '1' },
    ],
  })

  const { code, stdout, stderr } = await run(file)

  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout, /^Created 1 exchange, 2 queues, 0 policies and 1 binding\.$/m)
})

test('dead letters go where they went, and limits hold as they did', async () => {
  await run(exported, '--vhost', '/')
  await client.exchange('shop.events').publish({ id: 1 }, { routingKey: 'order.new.eu' })
  await client.queue('shop.mails').send({ id: 2 }, { priority: 5 })

  const [order] = await client.queue('shop.orders').receive()
  await order?.reject('broken')
  const [mail] = await client.queue('shop.mails').receive()
  await mail?.reject('bounced')

  const dead = await client.queue('failed').receive({ max: 10 })
  assert.deepEqual(dead.map(({ deadLetters }) => deadLetters?.map(({ queue, error }) => [queue, error])).sort(), [
    [['shop.mails', 'bounced']],
    [['shop.orders', 'broken']],
  ])
  const infos = await Promise.all(
    ['shop.orders', 'shop.mails', 'audit', 'live'].map((name) => client.queue(name).info()),
  )
  assert.deepEqual(
    infos.map(({ ttlSeconds, maxMessages, maxAttempts, overflow, durability }) => [
      ttlSeconds,
      maxMessages,
      maxAttempts,
      overflow,
      durability,
    ]),
    [
      [undefined, 50_000, 5, 'drop-oldest', 'full'],
      [3600, 1000, undefined, 'reject', 'full'],
      [604_800, undefined, undefined, 'reject', 'full'],
      [604_800, undefined, undefined, 'reject', 'volatile'],
    ],
  )
})

test('a dry run shows what would be there, and changes nothing', async () => {
  const dry = await run(exported, '--vhost', '/', '--dry-run')

  assert.deepEqual([dry.code, dry.stderr], [0, ''])
  for (const line of [
    /^KIND +NAME +WHAT$/m,
    /^exchange +shop\.events +topic, the rest goes to shop\.strays$/m,
    /^queue +live +durability volatile$/m,
    /^policy +everything +for \*: ttl 7 d$/m,
    /^binding +shop\.events +to the queue shop\.orders, key order\.\*\.eu$/m,
    /^Not quite the same \(\d+\):$/m,
    /^Left out, without a difference to messages \(\d+\):$/m,
    /^Would create 7 exchanges, 10 queues, 3 policies and 10 bindings\.$/m,
  ]) {
    assert.match(dry.stdout, line)
  }
  assert.equal(await everything(), nothing)
})

test('a second import finds everything there', async () => {
  await run(exported, '--vhost', '/')
  const before = await everything()

  const again = await run(exported, '--vhost', '/')

  assert.equal(again.code, 0)
  assert.match(again.stdout, /^Created 0 exchanges, 0 queues, 0 policies and 0 bindings; 30 are there just so\.$/m)
  assert.equal(await everything(), before)
})

test('what cannot be mapped refuses all of it, and is named', async () => {
  const file = await withStream()

  for (const args of [[], ['--dry-run']]) {
    const refused = await run(file, '--vhost', '/', ...args)

    assert.equal(refused.code, 1)
    assert.match(
      refused.stdout,
      /^Cannot be mapped \(1\):\n {2}queue log: is a stream, and there are no queues that keep what was read$/m,
    )
    assert.doesNotMatch(refused.stdout, /reate/)
    assert.match(
      refused.stderr,
      /^error: nothing (was|would be) imported: one thing cannot be mapped; --partial imports the rest$/m,
    )
  }
  assert.equal(await everything(), nothing)
})

test('--partial imports the rest', async () => {
  const partial = await run(await withStream(), '--vhost', '/', '--partial')

  assert.equal(partial.code, 0)
  assert.match(partial.stdout, /^Cannot be mapped \(1\):$/m)
  assert.match(partial.stdout, /^Created 7 exchanges, 10 queues/m)
})

test('with --json it is one object, also when it is refused', async () => {
  const done = await run(exported, '--vhost', '/', '--json')
  const refused = await run(await withStream(), '--vhost', '/', '--json')

  const { vhost, dryRun, refused: isRefused, imported, findings, definitions } = JSON.parse(done.stdout)
  assert.deepEqual([vhost, dryRun, isRefused], ['/', false, false])
  assert.deepEqual(imported.queues, { created: 10, present: 0 })
  assert.equal(definitions.queues.length, 10)
  assert.ok(
    findings.some(
      ({ kind, subject }: { kind: string; subject: string }) => kind === 'ignored' && subject === 'users (1)',
    ),
  )
  assert.deepEqual([JSON.parse(refused.stdout).refused, JSON.parse(refused.stdout).imported], [true, undefined])
  assert.equal(refused.code, 1)
})

test('standard input may be what is imported', async () => {
  const input = JSON.stringify({ queues: [{ name: 'piped', arguments: {} }] })

  const { code, stdout } = await postbag(['import', 'rabbitmq', '-'], { env, input })

  assert.deepEqual([code, stdout], [0, 'Created 0 exchanges, 1 queue, 0 policies and 0 bindings.\n'])
})
