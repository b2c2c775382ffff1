/* What the receiver's side believes, and every way in which it does not. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { verifyWebhook } from '../../src/webhooks/signing/verify.ts'
import { StandardWebhook, SvixWebhook } from '../runtimes/webhook-verifiers.ts'
import {
  body,
  bytesOf,
  now,
  otherSecret,
  privateKey,
  publicKeyOf,
  type RawHeaders,
  refused,
  secret,
  signed,
} from './signed.ts'

const seconds = (number: number) => new Date(now.getTime() + number * 1000)
const publicKey = publicKeyOf(privateKey)
const otherPublicKey = publicKeyOf(`whsk_${btoa('x'.repeat(32))}`)

describe('verifyWebhook believes', () => {
  for (const [name, Webhook] of Object.entries({ StandardWebhook, SvixWebhook })) {
    test(`what ${name} signs, whatever the text`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.string({ unit: 'grapheme' }), async (text) => {
          const headers = {
            'webhook-id': 'msg_1',
            'webhook-timestamp': String(now.getTime() / 1000),
            'webhook-signature': new Webhook(secret).sign('msg_1', now, text),
          }
          assert.equal((await verifyWebhook({ headers, body: text }, secret, { now })).body, text)
        }),
      )
    })
  }

  test('a Request, and says what was in it', async () => {
    const headers = new Headers((await signed()) as Record<string, string>)
    const request = new Request('https://receiver.example/', { method: 'POST', headers, body })

    const webhook = await verifyWebhook(request, secret, { now })

    const { bytes, ...rest } = webhook
    assert.deepEqual(rest, { id: 'msg_1', timestamp: now, body, json: JSON.parse(body) })
    assert.deepEqual(bytes, bytesOf(body))
  })

  test('a body that is no JSON, which then has no json', async () => {
    const headers = { 'webhook-id': 'a', 'webhook-timestamp': String(now.getTime() / 1000) }
    const signature = new StandardWebhook(secret).sign('a', now, 'no: json')

    const webhook = await verifyWebhook(
      { headers: { ...headers, 'webhook-signature': signature }, body: 'no: json' },
      secret,
      { now },
    )

    assert.equal('json' in webhook, false)
  })

  test('a body as text, as bytes and as a buffer', async () => {
    const headers = await signed()

    for (const form of [body, bytesOf(body), Buffer.from(body), bytesOf(body).buffer]) {
      assert.equal((await verifyWebhook({ headers, body: form }, secret, { now })).body, body)
    }
  })

  test('a signature by any of several secrets, among any others', async () => {
    const headers = await signed({}, now, [otherSecret, privateKey])
    const among = { ...headers, 'webhook-signature': `v2,AAAA v1,broken ${headers['webhook-signature']} v9` }

    for (const secrets of [otherSecret, publicKey, [secret, otherSecret], [secret, otherPublicKey, publicKey]]) {
      assert.equal((await verifyWebhook({ headers: among, body }, secrets, { now })).id, 'msg_1')
    }
  })

  test('what is as old or as new as tolerated', async () => {
    for (const at of [seconds(-300), seconds(300)]) {
      const webhook = await verifyWebhook({ headers: await signed({}, at), body }, secret, { now })
      assert.deepEqual(webhook.timestamp, at)
    }
  })

  test('the present, by the clock of this machine', async () => {
    await verifyWebhook({ headers: await signed({}, new Date()), body }, secret)
  })
})

describe('verifyWebhook refuses', () => {
  const headerCases: [what: string, changed: RawHeaders, code: string][] = [
    ['no id', { 'webhook-id': undefined }, 'header_missing'],
    ['an empty id', { 'webhook-id': '' }, 'header_missing'],
    ['an id with a full stop', { 'webhook-id': 'msg.1' }, 'header_invalid'],
    ['an id with a space', { 'webhook-id': 'msg 1' }, 'header_invalid'],
    ['two ids in one', { 'webhook-id': 'msg_1, msg_1' }, 'header_invalid'],
    ['two ids', { 'webhook-id': ['msg_1', 'msg_1'] }, 'header_invalid'],
    ['an id that is too long', { 'webhook-id': 'a'.repeat(256) }, 'header_invalid'],
    ['another id', { 'webhook-id': 'msg_2' }, 'signature_mismatch'],
    ['no timestamp', { 'webhook-timestamp': undefined }, 'header_missing'],
    ...['hello', '-1', '1.5', '1e9', ' 1', '01', '0x1', 'NaN', '9999999999999', '1764331200 ', '１'].map(
      (text): [string, RawHeaders, string] => [
        `the timestamp "${text}"`,
        { 'webhook-timestamp': text },
        'header_invalid',
      ],
    ),
    ['milliseconds', { 'webhook-timestamp': String(now.getTime()) }, 'header_invalid'],
    ['another timestamp', { 'webhook-timestamp': String(now.getTime() / 1000 + 1) }, 'signature_mismatch'],
    ['no signature', { 'webhook-signature': undefined }, 'header_missing'],
    ...[
      'v1,',
      'v1',
      ',',
      ' , ',
      'v1,dawfeoifkpqwoekfpqoekf',
      'v1a,',
      'v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=',
    ].map((text): [string, RawHeaders, string] => [
      `the signature "${text}"`,
      { 'webhook-signature': text },
      'signature_mismatch',
    ]),
    ['33 signatures', { 'webhook-signature': Array(33).fill('v1,AAAA').join(' ') }, 'header_invalid'],
  ]
  for (const [what, changed, code] of headerCases) {
    test(what, async () => assert.equal((await refused(await signed(changed))).code, code))
  }

  test('a good signature that is cut, doubled without a space, of another version, or in another alphabet', async () => {
    const good = String((await signed({}, now, [secret]))['webhook-signature'])
    const bad = [good.slice(0, 8), `${good},${good}`, good.replace('v1,', 'v2,'), good.replace('v1,', 'v1a,')]
    bad.push(good.replace(/=$/, ''), good.toUpperCase(), good.replace(',', ', '), `v1:${good.slice(3)}`)

    for (const signature of bad) {
      assert.equal(
        (await refused(await signed({ 'webhook-signature': signature }))).code,
        'signature_mismatch',
        signature,
      )
    }
  })

  test('any change of one bit of the body, with either kind of signature', async () => {
    const headers = await signed({}, now, [secret, privateKey])

    await fc.assert(
      fc.asyncProperty(fc.nat({ max: body.length * 8 - 1 }), async (bit) => {
        const changed = bytesOf(body)
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        assert.equal((await refused(headers, changed, [secret, publicKey])).code, 'signature_mismatch')
      }),
    )
  })

  test('any change of one bit of a signature', async () => {
    for (const [signing, verifying, bits] of [
      [secret, secret, 256],
      [privateKey, publicKey, 512],
    ] as const) {
      const headers = await signed({}, now, [signing])
      const [version, text = ''] = String(headers['webhook-signature']).split(',')
      await fc.assert(
        fc.asyncProperty(fc.nat({ max: bits - 1 }), async (bit) => {
          const bytes = Buffer.from(text, 'base64')
          bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
          const changed = { ...headers, 'webhook-signature': `${version},${bytes.toString('base64')}` }
          assert.equal((await refused(changed, body, verifying)).code, 'signature_mismatch')
        }),
      )
    }
  })

  test('what was moved between id, timestamp and body', async () => {
    // Signed: msg_1.{seconds}.{body}. As if it were another id, and a body that begins with what was the timestamp.
    const headers = await signed()
    const moved = { ...headers, 'webhook-id': `msg_1.${headers['webhook-timestamp']}` }

    assert.equal((await refused(moved)).code, 'header_invalid')
  })

  test('what is older or newer than tolerated', async () => {
    assert.equal((await refused(await signed({}, seconds(-301)))).code, 'timestamp_too_old')
    assert.equal((await refused(await signed({}, seconds(301)))).code, 'timestamp_too_new')
    assert.match((await refused(await signed({}, seconds(-301)))).message, /at most 300 s ago, got 301 s ago/)
    const strict = { toleranceSeconds: 10 }
    assert.equal((await refused(await signed({}, seconds(-11)), body, secret, strict)).code, 'timestamp_too_old')
  })

  test('another secret, another public key, or the wrong kind', async () => {
    const headers = await signed({}, now, [secret, privateKey])

    for (const secrets of [otherSecret, otherPublicKey, [otherSecret, otherPublicKey]]) {
      assert.equal((await refused(headers, body, secrets)).code, 'signature_mismatch')
    }
    const asymmetric = await signed({}, now, [privateKey])
    assert.equal((await refused(asymmetric, body, secret)).code, 'signature_mismatch')
    assert.equal((await refused(await signed(), body, publicKey)).code, 'signature_mismatch')
  })

  test("the sender's private key as a secret, no secret, and too many", async () => {
    const headers = await signed()

    assert.match((await refused(headers, body, privateKey)).message, /whsec_ or whpk_, got one that begins with whsk_$/)
    assert.equal((await refused(headers, body, '')).code, 'secret_invalid')
    assert.equal((await refused(headers, body, [])).code, 'option_invalid')
    assert.equal((await refused(headers, body, Array(11).fill(secret))).code, 'option_invalid')
  })

  test('options that would switch the check of time off', async () => {
    const headers = await signed()

    for (const toleranceSeconds of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 86_401]) {
      assert.equal((await refused(headers, body, secret, { toleranceSeconds })).code, 'option_invalid')
    }
    const when = new Date(Number.NaN)
    assert.equal((await refused(headers, body, secret, { now: when })).code, 'option_invalid')
  })

  test('a body that is too large, of which it reads no more', async () => {
    let pulled = 0
    const endless = new ReadableStream({
      pull(stream) {
        pulled++
        stream.enqueue(new Uint8Array(1000))
      },
    })
    const headers = new Headers((await signed()) as Record<string, string>)
    // (The types of the web lack duplex, which Node wants with a stream.)
    const init = { method: 'POST', headers, body: endless, duplex: 'half' }
    const request = new Request('https://receiver.example/', init)

    await assert.rejects(verifyWebhook(request, secret, { now, maxBodyBytes: 10_000 }), { code: 'body_too_large' })
    assert.ok(pulled <= 13, `${pulled} parts`)
    assert.equal((await refused(await signed(), body, secret, { maxBodyBytes: 10 })).code, 'body_too_large')
  })

  test('a request whose body was read before, or that was parsed', async () => {
    const headers = new Headers((await signed()) as Record<string, string>)
    const request = new Request('https://receiver.example/', { method: 'POST', headers, body })
    await request.json()

    await assert.rejects(verifyWebhook(request, secret, { now }), { code: 'body_unreadable' })
    const parsed = { headers: await signed(), body: JSON.parse(body) }
    await assert.rejects(verifyWebhook(parsed, secret, { now }), { code: 'body_unreadable' })
  })

  test('without showing a secret or a signature', async () => {
    const headers = await signed({ 'webhook-id': 'msg_2' })
    const secretText = secret.slice('whsec_'.length)

    for (const error of [
      await refused(headers),
      await refused(headers, body, secretText),
      await refused(headers, body, `${secret}=`),
    ]) {
      assert.doesNotMatch(JSON.stringify(error) + error.message, /MfKQ|v1,/)
    }
  })
})
