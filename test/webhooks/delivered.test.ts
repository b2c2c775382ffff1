/* What the deliverer signs, receivers verify: with our helper and with libraries of others, whatever a publisher calls an event. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { verifyWebhook } from '../../src/webhooks/signing/index.ts'
import { StandardWebhook, SvixWebhook } from '../runtimes/webhook-verifiers.ts'
import { call } from '../support/sql-verbs.ts'
import { newReceiver, newWorld } from './deliverer-world.ts'
import { otherSecret, privateKey, publicKeyOf, secret } from './signed.ts'

test('what is delivered verifies with each secret that signs, by our helper and by the packages standardwebhooks and svix', async () => {
  const world = await newWorld()
  const receiver = await newReceiver()
  const secrets = [{ sealed: secret }, { sealed: otherSecret, until: '2100-01-01T00:00:00Z' }, { sealed: privateKey }]
  await world.endpoint('one', receiver.url, { secrets: JSON.stringify(secrets) })
  await world.publish(
    { json: '{"id":1,  "text":"ünïcode"}', dedupId: 'with.full.stops' },
    { body: {}, dedupId: 'evt_1.1764331200' },
    { body: 'words', encoding: 'text', dedupId: 'ünïcode and spaces' },
    { body: 'AAEC', encoding: 'base64' },
  )
  // (No event, but it comes to the endpoint as one.)
  await call(world.pool, 'send', { queue: 'webhooks.one', body: '"sent"' })

  assert.equal(await world.deliverAt(1), 5)

  assert.equal(new Set(receiver.got.map(({ headers }) => headers['webhook-id'])).size, 5)
  for (const { headers, body } of receiver.got) {
    const { 'webhook-id': id, 'webhook-timestamp': seconds, 'webhook-signature': signatures } = headers
    assert.match(String(id), /^(evt_\d+|msg_\d+_\d+)$/)
    for (const each of [secret, otherSecret, publicKeyOf(privateKey)]) {
      assert.equal((await verifyWebhook({ headers, body }, each)).id, id)
    }
    for (const Webhook of [StandardWebhook, SvixWebhook]) {
      for (const each of [secret, otherSecret]) {
        const signature = new Webhook(each).sign(String(id), new Date(Number(seconds) * 1000), body)
        assert.ok(String(signatures).split(' ').includes(signature), signature)
      }
    }
  }
})
