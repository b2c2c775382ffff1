/* postbag exchange … and postbag publish. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { createPlace, jsonLines, type Outcome, postbag } from './command.ts'

let run: (...args: readonly string[]) => Promise<Outcome>

before(async () => {
  const place = await createPlace()
  run = (...args) => postbag(args, { env: place.env })
})

test('an exchange is declared, bound, tried, published to and deleted', async () => {
  assert.match((await run('exchange', 'list')).stdout, /^There is no exchange yet/)
  await run('queue', 'create', 'mails')
  await run('queue', 'create', 'rest')

  const declared = await run('exchange', 'declare', 'events', '--type', 'topic', '--alternate', 'others')
  await run('exchange', 'declare', 'others', '--type', 'fanout')
  const bound = await run('exchange', 'bind', 'events', '--queue', 'mails', '--key', 'order.*')
  const again = await run('exchange', 'bind', 'events', '--queue', 'mails', '--key', 'order.*')
  await run('exchange', 'bind', 'others', '--queue', 'rest')
  const list = await run('exchange', 'list')
  const bindings = await run('exchange', 'bindings', 'events')
  const tried = await run('exchange', 'test', 'events', '--key', 'payment.done')
  const published = await run('publish', 'events', '{"id": 1}', '--key', 'order.created')
  const received = await run('receive', 'mails')

  assert.equal(declared.stdout, 'events is a topic exchange; the rest goes to others.\n')
  assert.equal(bound.stdout, 'Bound events to the queue mails.\n')
  assert.equal(again.stdout, 'It was bound before: events to the queue mails.\n')
  assert.match(list.stdout, /^events +topic +\S+ +others$/m)
  assert.match(bindings.stdout, /^events +the queue mails +key order\.\*$/m)
  assert.match(tried.stdout, /^events +topic +the exchange others +nothing fits: its alternate$/m)
  assert.match(tried.stdout, /^others +fanout +the queue rest +everything goes there$/m)
  assert.match(tried.stdout, /^1 queue: rest\.$/m)
  assert.equal(published.stdout, 'Published to events: it reached 1 queue.\n')
  const [message] = jsonLines(received.stdout)
  assert.deepEqual(message?.['body'], { id: 1 })
  assert.deepEqual([message?.['exchange'], message?.['routingKey']], ['events', 'order.created'])

  const undone = await run('exchange', 'unbind', 'events', '--queue', 'mails', '--key', 'order.*')
  assert.equal(undone.stdout, 'Unbound events to the queue mails.\n')
  const lost = await run('publish', 'others', 'x', '--mandatory', '--json')
  assert.deepEqual(jsonLines(lost.stdout), [{ queues: 1 }])
  assert.equal((await run('exchange', 'delete', 'others')).stdout, 'Deleted the exchange others and 1 binding.\n')
})

test('a binding without a routing key is for the empty one, but of a fanout exchange for everything', async () => {
  await run('queue', 'create', 'keyless')
  for (const type of ['direct', 'topic', 'fanout']) {
    await run('exchange', 'declare', `by-${type}`, '--type', type)
    await run('exchange', 'bind', `by-${type}`, '--queue', 'keyless')
  }
  await run('exchange', 'bind', 'by-topic', '--to', 'by-direct')

  for (const [type, tried, listed] of [
    ['direct', 'the empty routing key', 'the empty routing key'],
    ['topic', 'the empty routing key', 'the empty routing key'],
    ['fanout', 'everything goes there', ''],
  ] as const) {
    const { stdout: steps } = await run('exchange', 'test', `by-${type}`)
    const { stdout: bindings } = await run('exchange', 'bindings', `by-${type}`)

    assert.match(steps, new RegExp(`^by-${type} +${type} +the queue keyless +${tried}$`, 'm'))
    assert.match(bindings, new RegExp(`^by-${type} +the queue keyless *${listed}$`, 'm'))
  }
  const { stdout: incoming } = await run('exchange', 'bindings', 'by-direct', '--incoming')
  assert.match(incoming, /^by-topic +the exchange by-direct +the empty routing key$/m)
})

test('what cannot be is refused, and says why', async () => {
  await run('exchange', 'declare', 'plain')

  const conflict = await run('exchange', 'declare', 'plain', '--type', 'fanout')
  const nowhere = await run('exchange', 'bind', 'plain')
  const unroutable = await run('publish', 'plain', 'x', '--mandatory', '--key', 'k')
  const empty = await run('publish', 'plain')
  const standard = await run('exchange', 'declare', 'default')

  assert.match(conflict.stderr, /type of exchange "plain" must be direct, as it was declared, got fanout/)
  assert.match(nowhere.stderr, /say where the binding leads: --queue or --to/)
  assert.match(unroutable.stderr, /message_unroutable/)
  assert.match(empty.stderr, /give a body or --file/)
  assert.equal(
    standard.stderr,
    'error: exchange must be another than default, which is always there, got default (request_invalid)\n',
  )
  for (const { code } of [conflict, nowhere, unroutable, empty, standard]) assert.notEqual(code, 0)
})
