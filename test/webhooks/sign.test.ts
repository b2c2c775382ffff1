/* What the sender's side promises: the published vectors, several secrets, and that libraries of others verify what we sign. */
import assert from 'node:assert/strict'
import { createPublicKey, verify } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createKeys } from '../../src/webhooks/signing/keys.ts'
import { signWebhook } from '../../src/webhooks/signing/sign.ts'
import { verifyWebhook } from '../../src/webhooks/signing/verify.ts'
import { StandardWebhook, SvixWebhook } from '../runtimes/webhook-verifiers.ts'
import { bytesOf, otherSecret, privateKey, publicKeyOf, secret } from './signed.ts'

const vector = {
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  timestamp: new Date(1_614_265_330_000),
  body: bytesOf('{"test": 2432232314}'),
}

describe('the published vectors', () => {
  test('v1, of the JavaScript library', async () => {
    const headers = await signWebhook(vector, [secret])

    assert.deepEqual(headers, {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    })
  })

  test('v1a, of the Go library', async () => {
    const headers = await signWebhook(vector, [privateKey])

    assert.equal(
      headers['webhook-signature'],
      'v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==',
    )
  })
})

describe('what we sign', () => {
  const libraries = { StandardWebhook, SvixWebhook }
  for (const [name, Webhook] of Object.entries(libraries)) {
    test(`${name} verifies, whatever the text`, async () => {
      const id = fc.string({ unit: fc.constantFrom(...'abcXYZ019_-/+:~!'), minLength: 1, maxLength: 255 })

      await fc.assert(
        fc.asyncProperty(id, fc.json(), async (id, text) => {
          const headers = await signWebhook({ id, timestamp: new Date(), body: bytesOf(text) }, [secret])
          assert.deepEqual(new Webhook(secret).verify(text, { ...headers }), JSON.parse(text))
        }),
      )
    })

    test(`${name} refuses when the body has changed`, async () => {
      const headers = await signWebhook({ id: 'a', timestamp: new Date(), body: bytesOf('{"a":1}') }, [secret])

      assert.throws(() => new Webhook(secret).verify('{"a":2}', { ...headers }), /No matching signature found/)
    })

    test(`${name} verifies with the old and with the new secret while both sign, an ed25519 signature beside them`, async () => {
      const message = { id: 'a', timestamp: new Date(), body: bytesOf('{}') }
      const headers = await signWebhook(message, [privateKey, otherSecret, secret])

      assert.match(headers['webhook-signature'], /^v1a,\S{88} v1,\S{44} v1,\S{44}$/)
      for (const each of [secret, otherSecret]) assert.deepEqual(new Webhook(each).verify('{}', { ...headers }), {})
    })
  }

  test('with ed25519, OpenSSL verifies, whatever the bytes', async () => {
    const publicKey = publicKeyOf(privateKey)
    const x = Buffer.from(publicKey.replace('whpk_', ''), 'base64').toString('base64url')
    const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } })

    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 5000 }), async (body) => {
        const headers = await signWebhook({ ...vector, body }, [privateKey])
        const signature = Buffer.from(headers['webhook-signature'].replace('v1a,', ''), 'base64')
        const content = Buffer.concat([Buffer.from(`${vector.id}.1614265330.`), body])
        assert.ok(verify(null, content, key, signature))
      }),
    )
  })

  test('with a private key of 64 bytes, the seed and the public key, is the same', async () => {
    const [seed, open] = [privateKey, publicKeyOf(privateKey)].map((text) => Buffer.from(text.slice(5), 'base64'))
    const both = `whsk_${Buffer.concat([seed, open] as Buffer[]).toString('base64')}`

    assert.deepEqual(await signWebhook(vector, [both]), await signWebhook(vector, [privateKey]))
  })

  test('as text is signed as its bytes in UTF-8', async () => {
    const text = 'ünïcode'

    assert.deepEqual(
      await signWebhook({ ...vector, body: text }, [secret]),
      await signWebhook({ ...vector, body: bytesOf(text) }, [secret]),
    )
  })

  test('we verify, whatever the bytes and the id', async () => {
    const publicKey = publicKeyOf(privateKey)
    const visible = Array.from({ length: 94 }, (_, at) => String.fromCharCode(33 + at)).filter((one) => one !== '.')
    const ids = fc.string({ unit: fc.constantFrom(...visible), minLength: 1, maxLength: 255 })

    await fc.assert(
      fc.asyncProperty(ids, fc.uint8Array({ maxLength: 5000 }), async (id, body) => {
        const headers = { ...(await signWebhook({ ...vector, id, body }, [secret, privateKey])) }
        for (const each of [secret, publicKey]) {
          const verified = await verifyWebhook({ headers, body }, each, { now: vector.timestamp })
          assert.equal(verified.id, id)
          assert.deepEqual(verified.timestamp, vector.timestamp)
          assert.deepEqual(verified.bytes, new Uint8Array(body))
        }
      }),
    )
  })
})

describe('is not signed', () => {
  const wrong: [what: string, change: object, secrets: readonly string[], error: { code: string; message: RegExp }][] =
    [
      ['an id with a full stop', { id: 'a.1' }, [secret], { code: 'header_invalid', message: /without a full stop/ }],
      ['an empty id', { id: '' }, [secret], { code: 'header_invalid', message: /got 0 characters/ }],
      ['an id with a line break', { id: 'a\r\nx: y' }, [secret], { code: 'header_invalid', message: /visible ASCII/ }],
      ['an id that is too long', { id: 'a'.repeat(256) }, [secret], { code: 'header_invalid', message: /got 256/ }],
      ['no time', { timestamp: new Date(Number.NaN) }, [secret], { code: 'header_invalid', message: /whole seconds/ }],
      [
        'a time before 1970',
        { timestamp: new Date(-1000) },
        [secret],
        { code: 'header_invalid', message: /since 1970/ },
      ],
      ['without a secret', {}, [], { code: 'option_invalid', message: /1 to 10, got 0/ }],
      ['with too many', {}, Array(11).fill(secret), { code: 'option_invalid', message: /1 to 10, got 11/ }],
      [
        'with a public key',
        {},
        [`whpk_${btoa('x'.repeat(32))}`],
        { code: 'secret_invalid', message: /whsec_ or whsk_/ },
      ],
    ]
  for (const [what, change, secrets, error] of wrong) {
    test(what, () => assert.rejects(signWebhook({ ...vector, ...change }, secrets), error))
  }
})

describe('imported keys', () => {
  const secretOf = (number: number) => `whsec_${btoa(String(number).padStart(32, '0'))}`

  test('are kept, at most so many, and the longest unused goes first', async () => {
    const keys = createKeys(2)
    const [first] = [await keys.of(secretOf(1), ['shared'])]

    await keys.of(secretOf(2), ['shared'])
    assert.equal(await keys.of(secretOf(1), ['shared']), first)
    await keys.of(secretOf(3), ['shared']) // secret 2 goes
    assert.equal(keys.size, 2)
    assert.equal(await keys.of(secretOf(1), ['shared']), first)
    await keys.of(secretOf(2), ['shared']) // secret 3 goes
    await keys.of(secretOf(3), ['shared']) // secret 1 goes
    assert.notEqual(await keys.of(secretOf(1), ['shared']), first)
  })

  test('are imported once for all who ask at the same time', async () => {
    const keys = createKeys()
    const found = await Promise.all(Array.from({ length: 50 }, () => keys.of(privateKey, ['private'])))

    assert.equal(new Set(found).size, 1)
  })

  test('do not make a secret good for what it may not be used for', async () => {
    const keys = createKeys()
    await keys.of(privateKey, ['private'])

    await assert.rejects(keys.of(privateKey, ['shared', 'public']), { code: 'secret_invalid' })
  })
})
