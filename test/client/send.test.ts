/* send: what goes over the wire, and that a try that is repeated sends once. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createClient } from '../../src/client/index.ts'
import { hurry } from './manual-clock.ts'
import { cut, json, serve } from './scripted-server.ts'

const patient = { timeoutSeconds: 3600 }

describe('send', () => {
  test('writes JSON, text and bytes as the wire wants them', async (t) => {
    const server = await serve(t, {})
    const orders = createClient({ url: server.url, retries: 0 }).queue('orders')
    const everyByte = Uint8Array.from({ length: 70_000 }, (_, index) => index % 256)

    await orders.sendBatch([
      { body: { id: 1 } },
      { body: 'plain' },
      { body: 'plain', encoding: 'text' },
      { body: everyByte },
      { body: everyByte.buffer },
      { body: new DataView(everyByte.buffer, 255, 2) },
    ])

    assert.deepEqual(server.seen('messages')[0]?.body.messages, [
      { body: { id: 1 } },
      { body: 'plain' },
      { body: 'plain', encoding: 'text' },
      { body: Buffer.from(everyByte).toString('base64'), encoding: 'base64' },
      { body: Buffer.from(everyByte).toString('base64'), encoding: 'base64' },
      { body: '/wA=', encoding: 'base64' },
    ])
  })

  test('refuses what JSON would make null or {} of, and leaves it to the server to miss a body', async (t) => {
    const server = await serve(t, {})
    const orders = createClient({ url: server.url, retries: 0 }).queue('orders')
    const refused: readonly (readonly [body: unknown, got: string])[] = [
      [Number.NaN, 'number NaN'],
      [Number.NEGATIVE_INFINITY, 'number -Infinity'],
      [7n, 'bigint 7'],
      [new Map([[1, 2]]), 'object [object Map]'],
      [new Set([1]), 'object [object Set]'],
      [Promise.resolve(1), 'object [object Promise]'],
    ]

    for (const [body, got] of refused) {
      const error = { code: 'request_invalid', message: `body must be JSON or bytes, got ${got}` }
      await assert.rejects(orders.sendBatch([{ body: 1 }, { body }]), error)
      await assert.rejects(orders.request(body), error)
      await assert.rejects(orders.reply({ id: '1', replyTo: 'a' }, body), error)
    }
    assert.equal(server.seen('messages').length, 0)

    await orders.sendBatch([{ body: undefined }, { body: null }, { body: 0 }, { body: new Date(0) }])

    const sent = [{}, { body: null }, { body: 0 }, { body: '1970-01-01T00:00:00.000Z' }]
    assert.deepEqual(server.seen('messages')[0]?.body.messages, sent)
  })

  test('passes on what is said of a message, and nothing that is undefined', async (t) => {
    const server = await serve(t, {})
    const orders = createClient({ url: server.url }).queue('orders')
    const options = {
      type: 'order.created',
      contentType: 'application/vnd.order+json',
      priority: 3,
      delaySeconds: 60,
      availableAt: '2026-12-24T08:00:00.000Z',
      ttlSeconds: 3600,
      group: 'customer-7',
      headers: { region: 'eu' },
      dedupId: 'order-1',
    }

    await orders.send(1, { ...options, encoding: undefined, signal: undefined })

    assert.deepEqual(server.seen('messages')[0]?.body.messages, [{ ...options, body: 1 }])
  })

  test('of an empty batch is no request', async (t) => {
    const server = await serve(t, {})

    assert.deepEqual(await createClient({ url: server.url }).queue('orders').sendBatch([]), [])
    assert.equal(server.seen('messages').length, 0)
  })
})

describe('a send that is repeated because its answer got lost', () => {
  test('carries the same dedup ids, of which no two messages and no two calls share one', async (t) => {
    const server = await serve(t, { messages: [cut] })
    const orders = createClient({ url: server.url, sleep: hurry().sleep, ...patient }).queue('orders')

    await orders.sendBatch([{ body: 1 }, { body: 1, dedupId: undefined }])
    await orders.send(1)

    const [lost, repeated, next] = server.seen('messages').map((request) => dedupIds(request.body))
    assert.deepEqual(repeated, lost)
    assert.equal(new Set([...(lost ?? []), ...(next ?? [])]).size, 3)
    for (const id of lost ?? []) assert.match(id, /^[a-z0-9]{8,21}\.[01]$/)
  })

  test('is no duplicate to its caller', async (t) => {
    const server = await serve(t, { messages: [cut, json({ messages: [{ id: '7', duplicate: true }] })] })
    const orders = createClient({ url: server.url, sleep: hurry().sleep, ...patient }).queue('orders')

    assert.deepEqual(await orders.send(1), { id: '7', duplicate: false })
  })

  test('keeps the dedup id of its caller, who hears of duplicates', async (t) => {
    const answer = json({
      messages: [
        { id: '7', duplicate: true },
        { id: '8', duplicate: true },
      ],
    })
    const server = await serve(t, { messages: [answer] })
    const orders = createClient({ url: server.url }).queue('orders')

    const sent = await orders.sendBatch([{ body: 1, dedupId: 'order-1' }, { body: 2 }])

    assert.equal(dedupIds(server.seen('messages')[0]?.body)[0], 'order-1')
    assert.deepEqual(sent, [
      { id: '7', duplicate: true },
      { id: '8', duplicate: false },
    ])
  })

  test('cannot be when there are no retries, so that no dedup id is made', async (t) => {
    const server = await serve(t, {})

    await createClient({ url: server.url, retries: 0 }).queue('orders').send(1)

    assert.deepEqual(dedupIds(server.seen('messages')[0]?.body), [undefined])
  })
})

function dedupIds(body: { messages: { dedupId: string }[] }): string[] {
  return body.messages.map((message) => message.dedupId)
}
