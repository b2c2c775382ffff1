/* Who may do what: tokens, their scopes and ends, and forgeries. */
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { signToken } from '../../src/http/token.ts'
import { type Answer, assertProblem, type Call, type Case, call, json, type Target, tokenFor } from './target.ts'
import { newQueue, type TestQueue } from './test-queue.ts'

const base64url = (value: object | Buffer) =>
  (Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))).toString('base64url')

/** A token with any header and claims, signed or not. */
function forged(header: object, claims: object, sign?: { readonly hash: string; readonly secret: string }): string {
  const signed = `${base64url(header)}.${base64url(claims)}`
  const signature = sign ? base64url(createHmac(sign.hash, sign.secret).update(signed).digest()) : ''
  return `${signed}.${signature}`
}

const claims = { scope: 'admin' }

/** What is no token of this server, by what is wrong with it. */
const forgeries: Readonly<Record<string, (target: Target) => string | Promise<string>>> = {
  'without a signature (alg none)': () => forged({ alg: 'none', typ: 'JWT' }, claims),
  'that says alg none but is signed': ({ secret }) => forged({ alg: 'none' }, claims, { hash: 'sha256', secret }),
  'signed with another algorithm': ({ secret }) =>
    forged({ alg: 'HS512', typ: 'JWT' }, claims, { hash: 'sha512', secret }),
  'signed with an empty secret': () => forged({ alg: 'HS256', typ: 'JWT' }, claims, { hash: 'sha256', secret: '' }),
  'signed with another secret': () =>
    signToken('another secret, as long as ours is', { scopes: ['admin'], now: new Date() }),
  'with changed claims': async (target) => {
    const [header, , signature] = (await tokenFor(target, ['send:a'])).split('.')
    return `${header}.${base64url(claims)}.${signature}`
  },
  'with a changed signature': ({ token }) => `${token.slice(0, -4)}AAAA`,
  'with its signature cut off': ({ token }) => token.slice(0, token.lastIndexOf('.') + 1),
  'that is not valid yet': ({ secret }) =>
    forged({ alg: 'HS256', typ: 'JWT' }, { ...claims, nbf: 9_999_999_999 }, { hash: 'sha256', secret }),
  'that is no JWT': () => 'letmein',
  'of three dots': () => '...',
}

/** What a scope opens on the queue it names: [method, suffix, body]. */
const needs: Readonly<Record<string, readonly (readonly [string, string, Call])[]>> = {
  send: [['POST', '/messages', { body: { body: 1 } }]],
  receive: [
    ['POST', '/receive', { body: {} }],
    ['POST', '/ack', { body: { receipts: ['1.1'] } }],
    ['POST', '/nack', { body: { receipts: ['1.1'] } }],
    ['POST', '/extend', { body: { receipts: ['1.1'] } }],
    ['GET', '/messages', {}],
    ['GET', '/messages?state=dead', {}],
    ['GET', '/stats', {}],
    ['GET', '/stream?seconds=1', {}],
    ['GET', '', {}],
  ],
  admin: [
    ['PUT', '', { body: {} }],
    ['POST', '/pause', {}],
    ['POST', '/resume', {}],
    ['POST', '/redrive', { body: {} }],
    ['POST', '/purge', {}],
    ['DELETE', '', {}],
  ],
}

/** What the server says to everything an action may do, one after the other. */
async function reach(target: Target, queue: TestQueue, action: string, token: string | null) {
  const answers: { readonly request: string; readonly answer: Answer }[] = []
  for (const [method, suffix, options] of needs[action] ?? []) {
    const answer = await call(target, method, `${queue.path}${suffix}`, { ...options, token })
    answers.push({ request: `${method} ${suffix}`, answer })
  }
  return answers
}

async function assertOpens(target: Target, queue: TestQueue, action: string, token: string): Promise<void> {
  for (const { request, answer } of await reach(target, queue, action, token)) {
    assert.ok(answer.status < 300, `${request}: ${answer.text}`)
  }
}

export const accessCases: readonly Case[] = [
  {
    claim: 'without a token everything under /v1 is token_missing, with the scheme that is wanted',
    async run(target) {
      const queue = await newQueue(target)
      const answers = (await Promise.all(Object.keys(needs).map((action) => reach(target, queue, action, null)))).flat()
      answers.push({ request: 'GET /v1/queues', answer: await call(target, 'GET', '/v1/queues', { token: null }) })

      for (const { answer } of answers) {
        assertProblem(answer, 'token_missing', /Authorization: Bearer/)
        assert.equal(answer.headers.get('www-authenticate'), 'Bearer')
      }
    },
  },
  {
    claim: 'another scheme than Bearer is token_missing; Bearer may be written in any case',
    async run(target) {
      const queue = await newQueue(target)
      for (const authorization of ['Basic dTpw', `Token ${target.token}`, target.token, 'Bearer', 'Bearer ', '']) {
        assertProblem(
          await call(target, 'GET', queue.path, { token: null, headers: { authorization } }),
          'token_missing',
        )
      }
      const headers = { authorization: `bEARER  ${target.token}` }
      assert.equal((await call(target, 'GET', queue.path, { token: null, headers })).status, 200)
    },
  },
  {
    claim: 'a token works until its end, and is token_expired afterwards',
    async run(target) {
      const queue = await newQueue(target)
      const inAnHour = await tokenFor(target, ['admin'], new Date(Date.now() + 3_600_000))
      const anHourAgo = await tokenFor(target, ['admin'], new Date(Date.now() - 3_600_000))

      await assertOpens(target, queue, 'receive', inAnHour)
      for (const { answer } of await reach(target, queue, 'receive', anHourAgo)) {
        assertProblem(answer, 'token_expired')
        assert.match(answer.headers.get('www-authenticate') ?? '', /^Bearer/)
      }
    },
  },
  ...Object.entries(forgeries).map(
    ([what, forge]): Case => ({
      claim: `a token ${what} is token_invalid`,
      async run(target) {
        const queue = await newQueue(target)

        const answer = await call(target, 'GET', queue.path, { token: await forge(target) })

        assertProblem(answer, 'token_invalid')
      },
    }),
  ),
  {
    claim: 'send opens sending, receive what consumers do, admin everything; a refusal names the scope that is missing',
    async run(target) {
      for (const action of ['send', 'receive', 'admin']) {
        const queue = await newQueue(target)
        const token = await tokenFor(target, [action === 'admin' ? 'admin' : `${action}:${queue.name}`])
        for (const other of ['send', 'receive', 'admin']) {
          if (action === 'admin' || other === action) await assertOpens(target, queue, other, token)
          else {
            const missing = other === 'admin' ? 'admin' : `${other}:${queue.name}`
            for (const { answer } of await reach(target, queue, other, token)) {
              assertProblem(
                answer,
                'scope_missing',
                new RegExp(`needs the scope ${missing}, .* has: ${action}:${queue.name}$`),
              )
            }
          }
        }
      }
    },
  },
  {
    claim: 'a scope holds for the queues it names: one, those that fit a pattern, or several scopes together',
    async run(target) {
      for (const name of ['orders', 'orders.eu', 'orders.eu.north', 'my-orders.eu', 'ordersXeu', 'invoices']) {
        assert.ok((await call(target, 'PUT', `/v1/queues/${name}`, { body: {} })).status < 300)
      }
      const opened = async (...scopes: string[]) => {
        const token = await tokenFor(target, scopes)
        const names = ['orders', 'orders.eu', 'orders.eu.north', 'my-orders.eu', 'ordersXeu', 'invoices']
        const answers = await Promise.all(names.map((name) => call(target, 'GET', `/v1/queues/${name}`, { token })))
        return names.filter((_, index) => answers[index]?.status === 200)
      }

      assert.deepEqual(await opened('receive:orders'), ['orders'])
      assert.deepEqual(await opened('receive:orders.*'), ['orders.eu', 'orders.eu.north'])
      assert.deepEqual(await opened('receive:*.eu'), ['orders.eu', 'my-orders.eu'])
      assert.deepEqual(await opened('receive:*'), [
        'orders',
        'orders.eu',
        'orders.eu.north',
        'my-orders.eu',
        'ordersXeu',
        'invoices',
      ])
      assert.deepEqual(await opened('receive:invoices', 'receive:orders'), ['orders', 'invoices'])
      assert.deepEqual(await opened('send:*'), [])
    },
  },
  {
    claim: 'a scope on all queues neither lists nor maintains them: that needs admin',
    async run(target) {
      const token = await tokenFor(target, ['send:*', 'receive:*'])

      for (const [method, path] of [
        ['GET', '/v1/queues'],
        ['POST', '/v1/maintain'],
      ] as const) {
        assertProblem(await call(target, method, path, { token }), 'scope_missing', /needs the scope admin/)
        assertProblem(await call(target, method, path, { token: null }), 'token_missing')
      }
    },
  },
  {
    claim: 'looking at one message needs receive on its queue',
    async run(target) {
      const queue = await newQueue(target)
      const [id] = await queue.sendAll(1)
      const look = async (scope: string) =>
        call(target, 'GET', `${queue.path}/messages/${id}`, { token: await tokenFor(target, [scope]) })

      assert.equal((await look(`receive:${queue.name}`)).status, 200)
      assertProblem(await look(`send:${queue.name}`), 'scope_missing')
      assertProblem(await look('receive:other'), 'scope_missing')
    },
  },
  {
    claim: 'who has no access learns neither whether a queue exists nor what is wrong with a request',
    async run(target) {
      const token = await tokenFor(target, ['receive:other'])
      for (const [method, path] of [
        ['GET', '/v1/queues/nobody-made-this'],
        ['POST', '/v1/queues/nobody-made-this/receive'],
        ['POST', '/v1/queues/not%20a%20name/receive'],
      ] as const) {
        assertProblem(
          await call(target, method, path, { token, ...(method === 'POST' && { body: '{' }) }),
          'scope_missing',
        )
      }
    },
  },
  {
    claim:
      'a token for a portal opens what subscribers may do with their endpoints, and nothing else; it ends within a week',
    async run(target) {
      const queue = await newQueue(target)
      const token = await tokenFor(target, ['portal:acme'], new Date(Date.now() + 3_600_000))
      const endless = forged({ alg: 'HS256' }, { scope: 'portal:acme' }, { hash: 'sha256', secret: target.secret })

      const list = await call(target, 'GET', '/v1/endpoints?application=other', { token })
      assert.deepEqual(json(list), { endpoints: [] })
      assertProblem(await call(target, 'GET', '/v1/endpoints/other', { token }), 'endpoint_not_found')
      assertProblem(await call(target, 'PUT', '/v1/endpoints/own', { token, body: {} }), 'scope_missing')
      for (const { answer } of (
        await Promise.all(Object.keys(needs).map((each) => reach(target, queue, each, token)))
      ).flat())
        assertProblem(answer, 'scope_missing')
      assertProblem(await call(target, 'GET', '/v1/endpoints', { token: endless }), 'token_invalid', /604800 s/)
    },
  },
  {
    claim: 'a token without scopes opens nothing',
    async run(target) {
      const queue = await newQueue(target)
      for (const scope of [undefined, '', 7, ['admin'], 'Admin', 'administrator', `receive`, 'receive:']) {
        const token = forged({ alg: 'HS256', typ: 'JWT' }, { scope }, { hash: 'sha256', secret: target.secret })
        assertProblem(await call(target, 'GET', queue.path, { token }), 'scope_missing')
      }
    },
  },
]
