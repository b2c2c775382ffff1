/* Secrets of endpoints: sealed for one endpoint, opened with any key that is known; and how the keys are configured. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { hostedConfig } from '../../src/config.ts'
import { checkSecret, createSecretBox, newSecret } from '../../src/webhooks/secrets.ts'

const newKey = () => randomBytes(32).toString('base64')

test('a sealed secret says nothing, and is another each time', async () => {
  const box = createSecretBox(newKey())
  const secret = newSecret()

  const sealed = [await box.seal(secret, 'a'), await box.seal(secret, 'a')]

  assert.notEqual(sealed[0], sealed[1])
  for (const text of sealed) {
    assert.match(text, /^v1\.[\w-]{8}\.[\w-]{16}\.[\w-]+$/)
    assert.equal(await box.open(text, 'a'), secret)
  }
})

test('it is worth nothing at another endpoint, with another key, or changed', async () => {
  const box = createSecretBox(newKey())
  const sealed = await box.seal(newSecret(), 'a')
  const [version, id, iv, text = ''] = sealed.split('.')
  const changed = `${version}.${id}.${iv}.${text.startsWith('A') ? 'B' : 'A'}${text.slice(1)}`

  await assert.rejects(box.open(sealed, 'b'))
  await assert.rejects(createSecretBox(newKey()).open(sealed, 'a'), /sealed with a key that is not known/)
  await assert.rejects(box.open(changed, 'a'))
  for (const broken of ['', 'v2.a.b.c', 'v1', sealed.slice(0, 20)]) await assert.rejects(box.open(broken, 'a'))
})

test('a key is replaced without a gap: the first seals, all open', async () => {
  const [old, fresh] = [newKey(), newKey()]
  const sealed = await createSecretBox(old).seal('whsec_x', 'a')

  const both = createSecretBox(`${fresh}, ${old}`)

  assert.equal(await both.open(sealed, 'a'), 'whsec_x')
  assert.equal(await createSecretBox(fresh).open(await both.seal('whsec_y', 'a'), 'a'), 'whsec_y')
})

test('a new secret is one that may be brought', () => {
  assert.equal(newSecret().length, 'whsec_'.length + 44)
  checkSecret(newSecret())
})

describe('a secret that is brought', () => {
  const ofBytes = (prefix: string, length: number) =>
    `${prefix}_${Buffer.alloc(length, 'TOPSECRET').toString('base64')}`

  for (const [prefix, length] of [
    ['whsec', 24],
    ['whsec', 64],
    ['whsk', 32],
    ['whsk', 64],
  ] as const) {
    test(`may be ${prefix}_ and ${length} bytes`, () => checkSecret(ofBytes(prefix, length)))
  }

  const good = ofBytes('whsec', 32)
  const wrong: [what: string, given: string, message: RegExp][] = [
    ['without a prefix', ofBytes('', 32), /^secret must begin with whsec_ or whsk_, got 45 characters without$/],
    ['that is a public key', ofBytes('whpk', 32), /got one that begins with whpk_$/],
    ['that is empty', '', /got 0 characters without$/],
    ['of 23 bytes', ofBytes('whsec', 23), /base64 of 24 to 64 bytes after whsec_, got 23 bytes$/],
    ['of 65 bytes', ofBytes('whsec', 65), /got 65 bytes$/],
    ['of a key with 33 bytes', ofBytes('whsk', 33), /base64 of 32 or 64 bytes after whsk_, got 33 bytes$/],
    ['in base64url', `whsec_${'TOPSECRET_-'.repeat(4)}`, /^secret must be base64 .* after whsec_, got other text$/],
    ['without padding', good.replace('=', ''), /got other text$/],
    ['with a space', good.replace('_', '_ '), /got other text$/],
    ['with bits behind its end', good.replace(/.=$/, '1='), /got other text$/],
  ]
  for (const [what, given, message] of wrong) {
    test(`${what} is refused without showing it`, () =>
      assert.throws(
        () => checkSecret(given),
        (error: Error & { code: string }) =>
          error.code === 'request_invalid' &&
          message.test(error.message) &&
          !/TOPSE|VE9QU/.test(`${error.message}${error.stack}${JSON.stringify(error)}`),
      ))
  }
})

describe('the settings', () => {
  const settings = (env: Record<string, string>) => hostedConfig({ DATABASE_URL: 'postgres://a', ...env }).webhooks
  const key = newKey()

  test('are none without a key', () => assert.equal(settings({}), undefined))
  test('allow no private addresses', () =>
    assert.deepEqual(settings({ POSTBAG_WEBHOOK_KEY: key }), { keys: key, allowPrivate: false }))
  test('unless they say so', () =>
    assert.deepEqual(settings({ POSTBAG_WEBHOOK_KEY: key, POSTBAG_WEBHOOK_ALLOW_PRIVATE: 'true' }), {
      keys: key,
      allowPrivate: true,
    }))
  test('may name the only ports', () =>
    assert.deepEqual(settings({ POSTBAG_WEBHOOK_KEY: key, POSTBAG_WEBHOOK_PORTS: '443,8443' }), {
      keys: key,
      allowPrivate: false,
      ports: [443, 8443],
    }))
  for (const wrong of ['0', '443,', '1.5', '65536', 'https']) {
    test(`refuse the ports ${wrong}`, () =>
      assert.throws(
        () => settings({ POSTBAG_WEBHOOK_KEY: key, POSTBAG_WEBHOOK_PORTS: wrong }),
        /POSTBAG_WEBHOOK_PORTS must be ports between 1 and 65535, separated by commas, got /,
      ))
  }
  for (const wrong of ['short', `${key},short`, randomBytes(31).toString('base64'), `${key}=`]) {
    test(`refuse ${wrong.length} characters that are no key, without naming them`, () =>
      assert.throws(
        () => settings({ POSTBAG_WEBHOOK_KEY: wrong }),
        (error: Error) =>
          /POSTBAG_WEBHOOK_KEY must be 32 random bytes/.test(error.message) && !error.message.includes(wrong),
      ))
  }
  test('refuse another word than true or false', () =>
    assert.throws(
      () => settings({ POSTBAG_WEBHOOK_KEY: key, POSTBAG_WEBHOOK_ALLOW_PRIVATE: 'yes' }),
      /must be true or false, got yes/,
    ))
})
