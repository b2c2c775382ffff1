/* Tokens: what a scope allows, and what is no token. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Action, allows, signToken, verifyToken } from '../../src/http/token.ts'

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
  ['publish:orders.*', 'publish', 'orders.eu', true],
  ['publish:orders.*', 'publish', 'orders', false],
  ['publish:orders', 'send', 'orders', false],
  ['send:orders', 'publish', 'orders', false],
  ['publish:*', 'admin', 'orders', false],
  ['', 'send', 'orders', false],
]
for (const [scope, action, queue, expected] of allowed) {
  test(`"${scope}" ${expected ? 'allows' : 'does not allow'} ${action} on "${queue}"`, () => {
    assert.equal(allows([scope], action, queue), expected)
  })
}

test('a signed token tells its scopes', async () => {
  const token = await signToken(secret, {
    scopes: ['send:a', 'receive:b', 'publish:c.*'],
    expiresAt: new Date(Date.now() + 60_000),
    now,
  })

  assert.deepEqual(await verifyToken(secret, token), ['send:a', 'receive:b', 'publish:c.*'])
})

test('a scope that is none is refused when the token is made', async () => {
  for (const scope of ['', 'write:orders', 'send', 'send:', 'send:a b', 'publish:', 'admin:x']) {
    await assert.rejects(signToken(secret, { scopes: [scope], now }), { code: 'request_invalid' }, scope)
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
