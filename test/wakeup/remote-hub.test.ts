/* The hub of a Worker before an object that is silent. (With a real object: test/functions/cloudflare-object.test.ts.) */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRemoteHub, type HubNamespace } from '../../src/wakeup/remote-hub.ts'

test('an object that does not answer keeps nobody who asks how it learns of messages', {
  timeout: 10_000,
}, async () => {
  const silent = new Proxy({}, { get: () => () => new Promise(() => {}) })
  const namespace = { getByName: () => silent } as unknown as HubNamespace
  const hub = createRemoteHub({ namespace, keep() {} })

  assert.equal(await hub.mode, 'not known: the Durable Object does not answer')
})
