/* Typed bodies: a schema decides what is sent and what is received. The validator is Zod's; any other that speaks Standard Schema will do. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { z } from 'zod'
import { createClient, type QueueError } from '../../src/client/index.ts'
import { json, messages, serve } from './scripted-server.ts'

const order = z.object({ id: z.string().transform(Number), tags: z.array(z.string()).default([]) })

describe('a queue with a schema', () => {
  test('sends what the schema takes, as it is, and receives what the schema makes of it', async (t) => {
    const server = await serve(t, { receive: [messages('17')] })
    const orders = createClient({ url: server.url, retries: 0 }).queue('orders', { schema: order })

    await orders.send({ id: '17' })
    const [message] = await orders.receive()
    const body: { id: number; tags: string[] } | undefined = message?.body

    assert.deepEqual(server.seen('messages')[0]?.body.messages, [{ body: { id: '17' } }])
    assert.deepEqual(body, { id: 17, tags: [] })
  })

  test('refuses to send anything else, saying every issue, and sends nothing of the batch', async (t) => {
    const server = await serve(t, {})
    const orders = createClient({ url: server.url }).queue('orders', { schema: order })
    // @ts-expect-error: the types refuse it too
    const wrong: z.input<typeof order> = { id: 5, tags: ['a', 7] }

    await assert.rejects(orders.sendBatch([{ body: { id: '1' } }, { body: wrong }]), (error: QueueError) => {
      assert.equal(error.code, 'request_invalid')
      assert.match(error.message, /^body\.id: .*; body\.tags\.1: /)
      return true
    })
    assert.equal(server.seen('messages').length, 0)
  })

  test('receives messages that do not fit beside those that do, and throws when their body is read', async (t) => {
    const stranger = { id: '2', receipt: '2.1', encoding: 'text', body: 'hello', headers: {} }
    const fitting = { id: '3', receipt: '3.1', encoding: 'json', body: { id: '3' }, headers: {} }
    const server = await serve(t, { receive: [json({ messages: [stranger, fitting] })] })

    const received = await createClient({ url: server.url }).queue('orders', { schema: order }).receive({ max: 2 })

    assert.throws(() => received[0]?.body, { name: 'QueueError', code: 'request_invalid', message: /^body: / })
    assert.equal(received[0]?.id, '2')
    assert.equal(received[1]?.body.id, 3)
  })

  test('names the place of an issue in whichever of the two ways the standard knows', async (t) => {
    const issues = [{ message: 'is wrong', path: ['lines', { key: 0 }, { key: 'price' }] }, { message: 'is odd' }]
    const validate = () => ({ issues })
    const schema = { '~standard': { version: 1, vendor: 'none', validate } } as const
    const orders = createClient({ url: (await serve(t, {})).url }).queue('orders', { schema })

    await assert.rejects(orders.send({}), { message: 'body.lines.0.price: is wrong; body: is odd' })
  })

  test('may have one that answers later', async (t) => {
    const server = await serve(t, { receive: [messages('1')] })
    const later = order.refine(async ({ id }) => id !== 1, 'must not be the first')
    const orders = createClient({ url: server.url }).queue('orders', { schema: later })

    const [message] = await orders.receive()

    await orders.send({ id: '2' })
    assert.throws(() => message?.body, { message: 'body: must not be the first' })
  })
})
