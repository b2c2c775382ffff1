/* peek and get: every filter, what is shown of a message, and that nothing is taken. Against the real server. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { PeekOptions, Queue } from '../../src/client/index.ts'
import { type RealServer, startRealServer } from './real-server.ts'

let real: RealServer
let orders: Queue

before(async () => {
  real = await startRealServer()
  orders = await real.createQueue()
  await orders.sendBatch([
    { body: 'rejected', type: 'order.created', headers: { tenant: 'acme', region: 'eu: "1"' } },
    { body: 'leased', type: 'order.created', group: 'customer-7', headers: { tenant: 'acme' } },
    { body: 'blocked', group: 'customer-7' },
    { body: 'ready', headers: { tenant: 'other' } },
    { body: 'delayed', delaySeconds: 60 },
  ])
  const [rejected] = await orders.receive({ max: 2 })
  await rejected?.reject('no such customer')
})

async function bodies(filters: PeekOptions): Promise<unknown[]> {
  return (await orders.peek(filters)).messages.map(({ body }) => body)
}

describe('peek', () => {
  const cases: [filters: PeekOptions, found: unknown[]][] = [
    [{ state: 'dead' }, ['rejected']],
    [{ state: 'leased' }, ['leased']],
    [{ state: 'blocked' }, ['blocked']],
    [{ state: 'ready' }, ['ready']],
    [{ state: 'delayed' }, ['delayed']],
    [{ type: 'order.created' }, ['rejected', 'leased']],
    [{ headers: { tenant: 'acme' } }, ['rejected', 'leased']],
    [{ headers: { tenant: 'acme', region: 'eu: "1"' } }, ['rejected']],
    [{ group: 'customer-7' }, ['leased', 'blocked']],
    [{ reason: 'rejected' }, ['rejected']],
    [{ reason: 'expired' }, []],
    [{ contains: 'read' }, ['ready']],
    [{ minAgeSeconds: 3600 }, []],
    [{ maxAgeSeconds: 3600, type: 'order.created', state: 'leased' }, ['leased']],
    [{ max: 2, state: undefined }, ['rejected', 'leased']],
  ]
  for (const [filters, found] of cases) {
    test(`finds what fits ${JSON.stringify(filters)}`, async () => {
      assert.deepEqual(await bodies(filters), found)
    })
  }

  test('refuses a filter that cannot be', async () => {
    await assert.rejects(orders.peek({ state: 'lost' as 'dead' }), { code: 'request_invalid' })
  })
})

describe('get', () => {
  test('shows one message as peek does, with all that is known of it', async () => {
    const [peeked] = (await orders.peek({ state: 'dead' })).messages

    const message = await orders.get(peeked?.id ?? '')

    assert.deepEqual(message, peeked)
    assert.deepEqual([message.state, message.deadReason, message.lastError], ['dead', 'rejected', 'no such customer'])
    assert.deepEqual(message.deadLetters, [
      { queue: orders.name, reason: 'rejected', error: 'no such customer', attempts: 1, at: message.deadAt },
    ])
  })

  test('decodes bytes', async () => {
    const files = await real.createQueue()
    const { id } = await files.send(Uint8Array.of(0, 255))

    assert.deepEqual((await files.get(id)).body, Uint8Array.of(0, 255))
  })

  test('throws if there is no such message', async () => {
    await assert.rejects(orders.get('999999'), { code: 'message_not_found' })
    await assert.rejects(orders.get('a/b'), { code: 'request_invalid' })
    await assert.rejects(real.client.queue('absent').get('1'), { code: 'queue_not_found' })
  })
})
