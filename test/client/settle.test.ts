/* ack, nack and extend: a result per receipt, and what a repeated try means. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createClient, type Queue } from '../../src/client/index.ts'
import { hurry } from './manual-clock.ts'
import { cut, messages, outcome, problem, type Reply, type ScriptedServer, serve } from './scripted-server.ts'

const queueOf = (server: ScriptedServer): Queue =>
  createClient({ url: server.url, sleep: hurry().sleep, timeoutSeconds: 3600 }).queue('orders')

describe('settling receipts', () => {
  test('gives a result for each and throws for none', async (t) => {
    const server = await serve(t, { ack: [outcome('message_gone')], nack: [outcome('lease_lost')] })
    const orders = queueOf(server)

    assert.deepEqual(await orders.ack(['1.1', '2.1']), [
      { receipt: '1.1', outcome: 'message_gone' },
      { receipt: '2.1', outcome: 'message_gone' },
    ])
    assert.deepEqual(await orders.nack(['1.1'], { delaySeconds: 5, error: 'no stock' }), [
      { receipt: '1.1', outcome: 'lease_lost' },
    ])
    assert.deepEqual(await orders.extend(['1.1'], { leaseSeconds: 60 }), [{ receipt: '1.1', outcome: 'ok' }])
    assert.deepEqual(server.seen('nack')[0]?.body, { receipts: ['1.1'], delaySeconds: 5, error: 'no stock' })
    assert.deepEqual(server.seen('extend')[0]?.body, { receipts: ['1.1'], leaseSeconds: 60 })
  })

  test('of none is no request', async (t) => {
    const server = await serve(t, {})

    assert.deepEqual(await queueOf(server).ack([]), [])
    assert.equal(server.seen('ack').length, 0)
  })
})

describe('after a try whose answer got lost', () => {
  const cases: [verb: 'ack' | 'nack' | 'extend', failure: Reply, second: string, seen: string][] = [
    ['ack', cut, 'message_gone', 'ok'],
    ['ack', problem('database_unavailable'), 'message_gone', 'ok'],
    ['ack', cut, 'lease_lost', 'lease_lost'],
    ['nack', cut, 'lease_lost', 'ok'],
    ['nack', cut, 'message_gone', 'ok'],
    ['nack', cut, 'receipt_invalid', 'receipt_invalid'],
    ['extend', cut, 'ok', 'ok'],
    ['extend', cut, 'lease_lost', 'lease_lost'],
    ['extend', cut, 'message_gone', 'message_gone'],
  ]
  for (const [verb, failure, second, seen] of cases) {
    test(`${second} is ${seen} to ${verb === 'ack' ? 'an' : 'a'} ${verb}`, async (t) => {
      const server = await serve(t, { [verb]: [failure, outcome(second)] })

      assert.deepEqual(await queueOf(server)[verb](['1.1']), [{ receipt: '1.1', outcome: seen }])
    })
  }
})

describe('a message', () => {
  test('settles its own lease', async (t) => {
    const server = await serve(t, { receive: [messages('1')] })
    const [message] = await queueOf(server).receive()

    await message?.extend(90)
    await message?.nack({ delaySeconds: 2 })
    await message?.nack()
    await message?.reject(new RangeError('no such order'))
    await message?.reject()
    await message?.ack()

    assert.deepEqual(server.seen('extend')[0]?.body, { receipts: ['1.1'], leaseSeconds: 90 })
    assert.deepEqual(
      server.seen('nack').map((request) => request.body),
      [
        { receipts: ['1.1'], delaySeconds: 2 },
        { receipts: ['1.1'] },
        { receipts: ['1.1'], deadLetter: true, error: 'RangeError: no such order' },
        { receipts: ['1.1'], deadLetter: true },
      ],
    )
    assert.deepEqual(server.seen('ack')[0]?.body, { receipts: ['1.1'] })
  })

  test('throws the outcome when the lease was not ours any more', async (t) => {
    const server = await serve(t, {
      receive: [messages('1')],
      ack: [outcome('lease_lost')],
      extend: [outcome('lease_expired')],
    })
    const [message] = await queueOf(server).receive()

    await assert.rejects(message?.ack() ?? Promise.resolve(), {
      name: 'QueueError',
      code: 'lease_lost',
      message: 'message 1 must be leased by this receipt to ack it, got lease_lost',
    })
    await assert.rejects(message?.extend() ?? Promise.resolve(), { code: 'lease_expired' })
  })
})
