/* Which requests have deliveries begun: those after which one may be due that was not before, and no others. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createApp } from '../../src/app.ts'
import { createPollHub } from '../../src/wakeup/poll-hub.ts'
import { createDatabase } from '../support/database.ts'
import { call } from '../support/sql-verbs.ts'

const keys = Buffer.alloc(32, 1).toString('base64')

test('those that publish, resend, enable and resume, and those that put messages into the queue of an endpoint', async () => {
  const { pool } = await createDatabase()
  await call(pool, 'declare_exchange', { exchange: 'events', type: 'fanout' })
  await call(pool, 'create_queue', { queue: 'plain' })
  const endpoint = { endpoint: 'one', url: 'https://example.com/', exchange: 'events' }
  await call(pool, 'set_endpoint', { ...endpoint, secrets: '[{"sealed": "s"}]' })
  const hub = createPollHub({ executor: pool })
  let begun = 0
  const begins = async (webhooks: { keys: string; allowPrivate: boolean } | undefined, request: string, body = {}) => {
    begun = 0
    const delivering = { begin: () => void begun++, run: async () => ({ attempts: 0, dueInMillis: undefined }) }
    const [method = '', path] = request.split(' ')
    const init = method === 'GET' ? { method } : { method, body: JSON.stringify(body) }
    const app = createApp({ access: { kind: 'open' }, webhooks })
    await app.fetch(new Request(`http://127.0.0.1/v1/${path}`, init), { executor: pool, hub, delivering })
    return begun
  }
  const webhooks = { keys, allowPrivate: false }

  for (const request of [
    'POST exchanges/events/publish',
    'POST queues/webhooks.one/messages',
    'POST queues/webhooks.one/resume',
    'POST queues/webhooks.one/redrive',
    'POST endpoints/one/test',
    'POST endpoints/one/recover',
    'POST endpoints/one/resume',
    'POST endpoints/one/enable',
  ]) {
    const body = /publish|messages/.test(request) ? { body: 1 } : {}
    assert.equal(await begins(webhooks, request, body), 1, request)
    assert.equal(await begins(undefined, request, body), 0, request)
  }
  for (const request of [
    'GET endpoints/one',
    'GET exchanges/events',
    'POST queues/plain/messages',
    'POST queues/plain/receive',
    'POST endpoints/one/pause',
    'POST exchanges/none/publish',
    'POST exchanges/events/route',
    'POST maintain',
    'POST deliver',
  ]) {
    assert.equal(await begins(webhooks, request, { body: 1 }), 0, request)
  }
  assert.equal(await begins(webhooks, 'POST deliver', { maxSeconds: 0 }), 1)
})
