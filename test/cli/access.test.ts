/* Tokens on the command line: made by "postbag token", given by --token or POSTBAG_TOKEN, and refused with a hint. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { tokenAccess } from '../../src/config.ts'
import { signToken, verifyToken } from '../../src/http/token.ts'
import { createPlace, type Place, postbag } from './command.ts'

const secret = 'a secret of more than 32 characters'
const env = { POSTBAG_SECRET: secret }

async function tokenFor(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await postbag(['token', ...args], { env })
  assert.equal(code, 0, stderr)
  return stdout.trimEnd()
}

/** The claims of a token. */
function claimsOf(token: string): { scope: string; iat: number; exp?: number } {
  return JSON.parse(String(Buffer.from(token.split('.')[1] ?? '', 'base64url')))
}

describe('postbag token', () => {
  test('prints a token with the scopes, and nothing else', async () => {
    const { code, stdout, stderr } = await postbag(['token', '--scope', 'send:orders.*', '--scope', 'receive:audit'], {
      env,
    })

    assert.equal(code, 0)
    assert.equal(stderr, '')
    assert.match(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    assert.deepEqual(await verifyToken(secret, stdout.trim()), ['send:orders.*', 'receive:audit'])
  })

  test('makes none that is worth nothing at once', async () => {
    const { code, stdout, stderr } = await postbag(['token', '--scope', 'admin', '--expires', '0'], { env })

    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, /--expires.*must be at least a second/s)
  })

  test('makes it end after --expires, or never', async () => {
    const month = claimsOf(await tokenFor('--scope', 'admin', '--expires', '30d'))
    const forever = claimsOf(await tokenFor('--scope', 'admin'))

    assert.equal((month.exp ?? 0) - month.iat, 30 * 86_400)
    assert.equal(forever.exp, undefined)
  })

  for (const [problem, args, environment, code, sentence] of [
    ['no scope', [], env, 2, /--scope/],
    ['an unknown scope', ['--scope', 'delete:all'], env, 1, /scope must be admin, send.*got delete:all/],
    ['a portal without an end', ['--scope', 'portal:acme'], env, 1, /must end at most 604800 s/],
    ['a portal for too long', ['--scope', 'portal:acme', '--expires', '8d'], env, 1, /got 691200 s/],
    ['an end that no calendar has', ['--scope', 'admin', '--expires', '999999999d'], env, 2, /at most 36500d/],
    ['one of a portal', ['--scope', 'portal:acme', '--expires', '999999999d'], env, 2, /at most 36500d/],
    ['a time that is none', ['--scope', 'admin', '--expires', 'soon'], env, 2, /30d/],
    ['no secret', ['--scope', 'admin'], {}, 1, /POSTBAG_SECRET is not set/],
    ['a short secret', ['--scope', 'admin'], { POSTBAG_SECRET: 'short' }, 1, /at least 32 characters/],
  ] as const) {
    test(`refuses ${problem}`, async () => {
      const outcome = await postbag(['token', ...args], { env: environment })

      assert.equal(outcome.code, code)
      assert.equal(outcome.stdout, '')
      assert.match(outcome.stderr, sentence)
    })
  }
})

describe('a server that wants tokens', () => {
  let place: Place
  let admin: string

  before(async () => {
    place = await createPlace(tokenAccess(secret))
    admin = await tokenFor('--scope', 'admin')
    await postbag(['queue', 'create', 'orders', '--token', admin], { env: place.env })
  })

  test('takes one from --token or POSTBAG_TOKEN', async () => {
    const sender = await tokenFor('--scope', 'send:ord*')

    const sent = await postbag(['send', 'orders', 'a'], { env: { ...place.env, POSTBAG_TOKEN: sender } })
    const received = await postbag(['receive', 'orders', '--body', '--token', admin], { env: place.env })

    assert.equal(sent.code, 0, sent.stderr)
    assert.equal(received.stdout, 'a\n')
  })

  test('refuses a command without one, and the hint says how to get it', async () => {
    const { code, stderr } = await postbag(['stats', 'orders'], { env: place.env })

    assert.equal(code, 1)
    assert.match(stderr, /\(token_missing\)\n.*postbag token.*POSTBAG_TOKEN/)
  })

  test('names the scope that is missing', async () => {
    const token = await tokenFor('--scope', 'send:orders')

    const { code, stderr } = await postbag(['receive', 'orders', '--token', token], { env: place.env })

    assert.equal(code, 1)
    assert.match(stderr, /receive:orders.*\(scope_missing\)/)
  })

  test('refuses one that has expired, or is of another secret', async () => {
    const now = new Date()
    const expired = await signToken(secret, { scopes: ['admin'], now, expiresAt: now })
    const { stdout: foreign } = await postbag(['token', '--scope', 'admin'], {
      env: { POSTBAG_SECRET: secret.toUpperCase() },
    })

    const results = await Promise.all(
      [expired, foreign.trim()].map((token) => postbag(['stats', 'orders', '--token', token], { env: place.env })),
    )

    assert.match(results[0]?.stderr ?? '', /\(token_expired\)/)
    assert.match(results[1]?.stderr ?? '', /\(token_invalid\)/)
  })
})
