/* Signatures: what we sign, the independent libraries verify; and the published vector. */
import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes, verify } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { signedHeaders } from '../../src/webhooks/signing.ts'
import { StandardWebhook, SvixWebhook } from '../runtimes/webhook-verifiers.ts'

const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`

test('the vector of the specification comes out as it was published', async () => {
  const headers = await signedHeaders(
    ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    'msg_p5jXN8AQM9LWM0D4loKWxJek',
    new Date(1_614_265_330_000),
    '{"test": 2432232314}',
  )

  assert.equal(headers['webhook-signature'], 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
})

test('the packages standardwebhooks and svix verify whatever is signed, and nothing that was changed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary' }), fc.stringMatching(/^[\w-]{1,40}$/), async (text, id) => {
      const body = JSON.stringify({ text })
      const [secret, other] = [newSecret(), newSecret()]
      const headers = await signedHeaders([secret], id, new Date(), body)
      const named = (prefix: string) =>
        Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.replace('webhook', prefix), value]))

      assert.deepEqual(new StandardWebhook(secret).verify(body, headers), { text })
      assert.deepEqual(new SvixWebhook(secret).verify(body, named('svix')), { text })
      assert.throws(() => new StandardWebhook(secret).verify(`${body} `, headers))
      assert.throws(() => new StandardWebhook(other).verify(body, headers))
    }),
    { numRuns: 50 },
  )
})

test('while a secret is rotated, receivers that know the old one and those that know the new one both find theirs', async () => {
  const [fresh, old] = [newSecret(), newSecret()]

  const headers = await signedHeaders([fresh, old], 'msg_1', new Date(), '{}')

  for (const secret of [fresh, old]) assert.deepEqual(new StandardWebhook(secret).verify('{}', headers), {})
  assert.match(headers['webhook-signature'] ?? '', /^v1,\S+ v1,\S+$/)
})

for (const length of [32, 64]) {
  test(`a key of Ed25519 of ${length} bytes signs as v1a`, async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const seed = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url')
    const open = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url')
    const secret = `whsk_${Buffer.concat([seed, open]).subarray(0, length).toString('base64')}`

    const headers = await signedHeaders([secret], 'msg_1', new Date(1_700_000_000_000), 'ünïcode')

    const [version, signature = ''] = (headers['webhook-signature'] ?? '').split(',')
    assert.equal(version, 'v1a')
    const signed = Buffer.from('msg_1.1700000000.ünïcode')
    assert.ok(verify(null, signed, publicKey, Buffer.from(signature, 'base64')))
  })
}

for (const [what, secret] of [
  ['another prefix', `secret_${randomBytes(32).toString('base64')}`],
  ['too few bytes', `whsec_${randomBytes(23).toString('base64')}`],
  ['too many bytes', `whsec_${randomBytes(65).toString('base64')}`],
  ['what is no base64', 'whsec_not base64!'],
  ['base64 for URLs', `whsec_${'-_'.repeat(22)}`],
  ['a key of another length', `whsk_${randomBytes(33).toString('base64')}`],
] as const) {
  test(`a secret with ${what} is refused, and not named`, async () => {
    await assert.rejects(signedHeaders([secret], 'msg_1', new Date(), '{}'), (error: Error) => {
      assert.match(error.message, /^secret must be whsec_ and 24 to 64 bytes/)
      return !error.message.includes(secret.slice(8))
    })
  })
}
