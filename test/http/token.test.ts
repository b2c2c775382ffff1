/* Tokens: what a scope allows, and what is no token. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { sign } from 'hono/jwt'
import { type Action, allows, portalOf, signToken, verifyToken } from '../../src/http/token.ts'

const secret = 'a secret of at least 32 characters'
const now = new Date()

const allowed: readonly (readonly [scope: string, action: Action, queue: string, expected: boolean])[] = [
  ['admin', 'admin', '', true],
  ['admin', 'send', 'orders', true],
  ['send:orders', 'send', 'orders', true],
  ['send:orders', 'receive', 'orders', false],
  ['send:orders', 'admin', 'orders', false],
  ['send:orders', 'send', 'orders.eu', false],
  ['send:orders.*', 'send', 'orders.eu', true],
  ['send:orders.*', 'send', 'ordersXeu', false],
  ['send:orders.*', 'send', 'orders', false],
  ['receive:*', 'receive', 'anything', true],
  ['receive:*.eu', 'receive', 'orders.eu', true],
  ['receive:*.eu', 'receive', 'orders.eu.old', false],
  ['receive:a.c', 'receive', 'abc', false],
  ['receive:a*b*c', 'receive', 'a.b.b.c', true],
  ['receive:a*b*c', 'receive', 'a.c.b', false],
  ['receive:ab*ba', 'receive', 'aba', false],
  ['receive:**', 'receive', '', true],
  ['publish:orders.*', 'publish', 'orders.eu', true],
  ['publish:orders.*', 'publish', 'orders', false],
  ['publish:orders', 'send', 'orders', false],
  ['send:orders', 'publish', 'orders', false],
  ['publish:*', 'admin', 'orders', false],
  ['portal:orders', 'send', 'orders', false],
  ['portal:orders', 'receive', 'orders', false],
  ['portal:orders', 'admin', '', false],
  ['', 'send', 'orders', false],
]
for (const [scope, action, queue, expected] of allowed) {
  test(`"${scope}" ${expected ? 'allows' : 'does not allow'} ${action} on "${queue}"`, () => {
    assert.equal(allows([scope], action, queue), expected)
  })
}

test('a pattern with many stars is soon done with a name that nearly fits', () => {
  // (A regular expression with the same meaning is not, in a lifetime.)
  assert.equal(allows([`send:${'a*'.repeat(12)}b`], 'send', 'a'.repeat(10_000)), false)
})

test('a token is good though the clock of who made it is ahead', async () => {
  const token = await signToken(secret, { scopes: ['admin'], now: new Date(now.getTime() + 50_000) })

  assert.deepEqual(await verifyToken(secret, token), ['admin'])
})

test('a signed token tells its scopes', async () => {
  const token = await signToken(secret, {
    scopes: ['send:a', 'receive:b', 'publish:c.*'],
    expiresAt: new Date(Date.now() + 60_000),
    now,
  })

  assert.deepEqual(await verifyToken(secret, token), ['send:a', 'receive:b', 'publish:c.*'])
})

test('a scope that is none is refused when the token is made', async () => {
  for (const scope of [
    '',
    'write:orders',
    'send',
    'send:',
    'send:a b',
    'publish:',
    'admin:x',
    'portal',
    'portal:',
    'portal:a*',
    'portal:%FF',
  ]) {
    await assert.rejects(signToken(secret, { scopes: [scope], now }), { code: 'request_invalid' }, scope)
  }
})

test('an end that is no time is refused, also of a token for a portal', async () => {
  for (const scope of ['admin', 'portal:acme']) {
    await assert.rejects(signToken(secret, { scopes: [scope], now, expiresAt: new Date(Number.NaN) }), {
      code: 'request_invalid',
      message: 'expiresAt must be a time, got an invalid Date',
    })
  }
})

test('an expired token says so', async () => {
  const token = await signToken(secret, { scopes: ['admin'], expiresAt: new Date(Date.now() - 1000), now })

  await assert.rejects(verifyToken(secret, token), { code: 'token_expired' })
})

test('a token of another secret, without a signature, with another algorithm, or garbage is invalid', async () => {
  const other = await signToken('another secret of 32 characters ...', { scopes: ['admin'], now })
  const good = await signToken(secret, { scopes: ['send:a'], now })
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const unsigned = `${encode({ alg: 'none', typ: 'JWT' })}.${encode({ scope: 'admin' })}.`
  const [head, , signature] = good.split('.')
  const tampered = `${head}.${encode({ scope: 'admin' })}.${signature}`

  for (const token of [other, unsigned, tampered, 'garbage', `${good}x`]) {
    await assert.rejects(verifyToken(secret, token), { code: 'token_invalid' }, token)
  }
})

describe('a token for a portal', () => {
  const iat = Math.floor(now.getTime() / 1000)
  const exp = iat + 3600

  /** By somebody who has the secret and does not ask signToken. */
  const signed = (claims: Record<string, unknown>) => sign(claims, secret, 'HS256')

  test('lasts a week at most, whoever has signed it', async () => {
    const scopes = ['portal:acme']
    const week = new Date(now.getTime() + 604_800_000)
    const longer = new Date(now.getTime() + 604_801_000)

    assert.deepEqual(await verifyToken(secret, await signToken(secret, { scopes, now, expiresAt: week })), scopes)
    assert.deepEqual(await verifyToken(secret, await signed({ scope: 'portal:acme', iat, exp: iat + 604_800 })), scopes)
    await assert.rejects(signToken(secret, { scopes, now, expiresAt: longer }), {
      code: 'request_invalid',
      message: 'a token for a portal must end at most 604800 s (7 days) after it was made, got 604801 s',
    })
    await assert.rejects(signToken(secret, { scopes, now }), { message: /got one that says not when$/ })
  })

  test('tells whose it is', () => {
    assert.equal(portalOf(['portal:acme']), 'acme')
    assert.equal(portalOf(["portal:M%C3%BCller%20(a_b-c.d~e!')"]), "Müller (a_b-c.d~e!')")
    assert.equal(portalOf(['admin']), undefined)
    assert.equal(portalOf([]), undefined)
  })

  test('has no other scope', async () => {
    const expiresAt = new Date(now.getTime() + 60_000)
    for (const other of ['portal:acme2', 'admin', 'send:orders']) {
      const signing = signToken(secret, { scopes: [other, 'portal:acme'], now, expiresAt })
      await assert.rejects(signing, { code: 'request_invalid', message: /must have one scope/ })
    }
  })

  const wrong: [what: string, claims: Record<string, unknown>, code: string][] = [
    ['without an end', { scope: 'portal:acme', iat }, 'token_invalid'],
    ['without a beginning', { scope: 'portal:acme', exp }, 'token_invalid'],
    ['that lasts longer than a week', { scope: 'portal:acme', iat, exp: iat + 604_801 }, 'token_invalid'],
    ['that ends this week, but began before', { scope: 'portal:acme', iat: iat - 604_800, exp }, 'token_invalid'],
    ['that has not begun', { scope: 'portal:acme', iat: iat + 600, exp }, 'token_invalid'],
    ['that has ended', { scope: 'portal:acme', iat: iat - 120, exp: iat - 60 }, 'token_expired'],
    ['beside another one', { scope: 'portal:acme portal:acme2', iat, exp }, 'token_invalid'],
    ['before another scope', { scope: 'portal:acme admin', iat, exp }, 'token_invalid'],
    ['behind another scope', { scope: 'admin portal:acme', iat, exp }, 'token_invalid'],
    ['for all', { scope: 'portal:*', iat, exp }, 'token_invalid'],
    ['for some', { scope: 'portal:acme*', iat, exp }, 'token_invalid'],
    ['for none', { scope: 'portal:', iat, exp }, 'token_invalid'],
    ['without a name', { scope: 'portal', iat, exp }, 'token_invalid'],
    ['for what is no text', { scope: 'portal:%FF', iat, exp }, 'token_invalid'],
    ['for what cannot be stored', { scope: 'portal:%00', iat, exp }, 'token_invalid'],
    ['for too long a name', { scope: `portal:${'a'.repeat(129)}`, iat, exp }, 'token_invalid'],
  ]
  for (const [what, claims, code] of wrong) {
    test(`${what} is ${code}`, async () => assert.rejects(verifyToken(secret, await signed(claims)), { code }))
  }
})
