/* Exchanges: declare, bind, list, delete, and what is refused. */
import assert from 'node:assert/strict'
import type { ExchangeInfo, ExchangeListResponse } from '../../src/wire.ts'
import { assertProblem, type Call, type Case, call, json, tokenFor } from './target.ts'
import { exchangeNamed, newExchange } from './test-exchange.ts'
import { newQueue } from './test-queue.ts'

/** Every operation on one exchange: [method, suffix, request, scope it needs]. */
const operations: readonly (readonly [string, string, Call, 'admin' | 'publish'])[] = [
  ['GET', '', {}, 'admin'],
  ['GET', '/bindings', {}, 'admin'],
  ['GET', '/bindings?direction=to', {}, 'admin'],
  ['PUT', '/bindings', { body: { queue: 'a' } }, 'admin'],
  ['DELETE', '/bindings', { body: { queue: 'a' } }, 'admin'],
  ['POST', '/publish', { body: { body: 1 } }, 'publish'],
  ['POST', '/publish', { body: { messages: [{ body: 1 }] } }, 'publish'],
  ['POST', '/publish', { body: 'raw', contentType: 'text/plain' }, 'publish'],
  ['POST', '/route', { body: {} }, 'publish'],
  ['DELETE', '', {}, 'admin'],
]

const long = 'x'.repeat(256)
const many = Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`h${index}`, null]))

/** Requests to a direct exchange that is bound to nothing, and how the refusal reads. */
const invalid: readonly (readonly [method: string, suffix: string, body: unknown, detail: RegExp])[] = [
  ['PUT', '', { type: 'x-random' }, /^type must be direct, topic, fanout, headers or hash, got "x-random"$/],
  ['PUT', '', { alternate: '-' }, /^alternate must be 1 to 80 letters, digits, .* got "-"$/],
  ['PUT', '', { alternate: null }, /^alternate must be a string, got null$/],
  ['PUT', '', { durable: true }, /^the request body has the unknown field durable: known are type, alternate$/],
  ['PUT', '', [], /^the request body must be an object, got \[\]$/],
  ['DELETE', '?ifUnused=perhaps', undefined, /^ifUnused must be true or false, got "perhaps"$/],
  ['DELETE', '?ifEmpty=true', undefined, /^the query has the unknown field ifEmpty: known are ifUnused$/],
  ['PUT', '/bindings', {}, /^the request body must have either a queue or an exchange, got neither$/],
  ['PUT', '/bindings', { queue: 'a', exchange: 'b' }, /^the request body must have .* got both$/],
  ['PUT', '/bindings', { queue: 'a b' }, /^queue must be 1 to 80 letters, digits, .* got "a b"$/],
  ['PUT', '/bindings', { exchange: 7 }, /^exchange must be a string, got 7$/],
  ['PUT', '/bindings', { queue: 'a', routingKey: long }, /^routingKey must be at most 255 characters/],
  ['PUT', '/bindings', { queue: 'a', routingKey: 'a\0' }, /^routingKey must be .* without U\+0000/],
  ['PUT', '/bindings', { queue: 'a', headers: [] }, /^headers must be an object of strings and nulls, got \[\]$/],
  ['PUT', '/bindings', { queue: 'a', headers: { n: 7 } }, /^headers\.n must be a string or null, got 7$/],
  ['PUT', '/bindings', { queue: 'a', headers: many }, /^headers must be at most 32, got 33$/],
  ['PUT', '/bindings', { queue: 'a', match: 'some' }, /^match must be all or any, got "some"$/],
  ['PUT', '/bindings', { queue: 'a', weight: 0 }, /^weight must be between 1 and 100, got 0$/],
  ['PUT', '/bindings', { queue: 'a', weight: 101 }, /^weight must be between 1 and 100, got 101$/],
  ['PUT', '/bindings', { queue: 'a', weight: 1.5 }, /^weight must be a whole number, got 1.5$/],
  ['PUT', '/bindings', { queue: 'a', weight: 2 }, /^weight must be given for hash exchanges only, and /],
  ['PUT', '/bindings', { queue: 'a', headers: {} }, /^headers must be given for headers exchanges only, and /],
  ['PUT', '/bindings', { queue: 'a', key: 'k' }, /^the request body has the unknown field key: known are queue, /],
  ['DELETE', '/bindings', {}, /^the request body must have either a queue or an exchange, got neither$/],
  ['DELETE', '/bindings', { queue: 'a', weight: 1 }, /^the request body has the unknown field weight: /],
  ['GET', '/bindings?direction=up', undefined, /^direction must be from or to, got "up"$/],
  ['GET', '/bindings?max=1001', undefined, /^max must be between 1 and 1000, got 1001$/],
  ['GET', '/bindings?after=x', undefined, /^after must be the next of a page, got "x"$/],
  ['POST', '/publish', {}, /^body is missing$/],
  ['POST', '/publish', '7', /^the message must be an object, got 7$/],
  ['POST', '/publish', { messages: [] }, /^messages must be between 1 and 1000 messages, got 0$/],
  ['POST', '/publish', { messages: [{ body: 1 }, {}] }, /^messages\[1\]\.body is missing$/],
  ['POST', '/publish', { body: 1, routingKey: 7 }, /^routingKey must be a string, got 7$/],
  ['POST', '/publish', { body: 1, routingKey: long }, /^routingKey must be at most 255 characters/],
  ['POST', '/publish', { messages: [{ body: 1, routingKey: long }] }, /^messages\[0\]\.routingKey must be at most 255/],
  ['POST', '/publish', { body: 1, mandatory: 'yes' }, /^mandatory must be true or false, got "yes"$/],
  [
    'POST',
    '/publish',
    { messages: [{ body: 1, mandatory: true }] },
    /^messages\[0\] has the unknown field mandatory: /,
  ],
  ['POST', '/publish', { body: 1, encoding: 'base64' }, /^body must be a string with encoding base64, got 1$/],
  ['POST', '/publish', { body: 1, key: 'k' }, /^the message has the unknown field key: known are body, .*routingKey/],
  ['POST', '/publish?routingKey=k', { body: 1 }, /^the query has the unknown field routingKey: known are mandatory$/],
  ['POST', '/publish?mandatory=1', { body: 1 }, /^mandatory must be true or false, got "1"$/],
  ['POST', '/route', { routingKey: long }, /^routingKey must be at most 255 characters/],
  ['POST', '/route', { headers: { n: null } }, /^headers\.n must be a string, got null$/],
  ['POST', '/route', { body: 1 }, /^the request body has the unknown field body: known are routingKey, headers$/],
]

export const exchangeCases: readonly Case[] = [
  {
    claim: 'an exchange is declared with 201, found again with 200, and described',
    async run(target) {
      const { path } = exchangeNamed(target, 'declared')
      const body = { type: 'topic', alternate: 'declared-later' }

      const info = json<ExchangeInfo>(await call(target, 'PUT', path, { body }), 201)

      assert.deepEqual(info, { name: 'declared', ...body, createdAt: info.createdAt })
      assert.equal(new Date(info.createdAt).toISOString(), info.createdAt)
      assert.deepEqual(json(await call(target, 'PUT', path, { body })), info)
      assert.deepEqual(json(await call(target, 'GET', path)), info)
    },
  },
  {
    claim: 'an exchange that is declared without a body is a direct one',
    async run(target) {
      const info = json<ExchangeInfo>(await call(target, 'PUT', '/v1/exchanges/declared-plainly'), 201)

      assert.deepEqual(info, { name: 'declared-plainly', type: 'direct', createdAt: info.createdAt })
    },
  },
  {
    claim: 'an exchange that is declared as something else is exchange_conflict, and stays what it was',
    async run(target) {
      const { path } = await newExchange(target, { type: 'fanout' })

      const [type, alternate] = [
        await call(target, 'PUT', path, { body: {} }),
        await call(target, 'PUT', path, { body: { type: 'fanout', alternate: 'a' } }),
      ]

      assertProblem(type, 'exchange_conflict', /^type of exchange ".+" must be fanout, as it was declared, got direct$/)
      assertProblem(alternate, 'exchange_conflict', /^alternate of exchange ".+" must be none, .* got a$/)
      assert.equal(json<ExchangeInfo>(await call(target, 'GET', path)).type, 'fanout')
    },
  },
  {
    claim: 'the exchange default cannot be declared, and leads to the queue that the routing key names',
    async run(target) {
      const queue = await newQueue(target)
      const standard = exchangeNamed(target, 'default')

      assertProblem(
        await call(target, 'PUT', standard.path),
        'request_invalid',
        /^exchange must be another than default/,
      )
      assert.deepEqual(await standard.publish({ body: 'direct', routingKey: queue.name }), [1])
      assert.equal((await queue.receiveOne()).body, 'direct')
    },
  },
  {
    claim: 'exchanges are listed by name, a page at a time',
    async run(target) {
      const names = ['listed-a', 'listed-b', 'listed-c']
      for (const name of names) json(await call(target, 'PUT', `/v1/exchanges/${name}`), 201)
      const list = async (query: string) =>
        json<ExchangeListResponse>(await call(target, 'GET', `/v1/exchanges?prefix=listed-${query}`))

      const [all, first] = [await list(''), await list('&max=2')]
      const rest = await list(`&max=2&after=${first.next}`)

      assert.deepEqual(
        all.exchanges.map(({ name }) => name),
        names,
      )
      assert.equal(all.next, undefined)
      assert.equal(first.next, 'listed-b')
      assert.deepEqual(
        rest.exchanges.map(({ name }) => name),
        ['listed-c'],
      )
      assert.equal(rest.next, undefined)
      assertProblem(await call(target, 'GET', '/v1/exchanges?max=0'), 'request_invalid', /^max must be between 1 and/)
    },
  },
  {
    claim: 'an exchange goes with its bindings; with ifUnused only if nothing is bound to it',
    async run(target) {
      const [exchange, other, queue] = [await newExchange(target), await newExchange(target), await newQueue(target)]
      await exchange.bind({ queue: queue.name })
      await other.bind({ exchange: exchange.name })

      const inUse = await call(target, 'DELETE', `${exchange.path}?ifUnused=true`)
      const gone = await call(target, 'DELETE', `${exchange.path}?ifUnused=false`)

      assertProblem(inUse, 'exchange_in_use', /must have no bindings/)
      assert.deepEqual(json(gone), { deletedBindings: 2 })
      assert.deepEqual((await other.bindings()).bindings, [])
      assert.deepEqual(json(await call(target, 'DELETE', `${other.path}?ifUnused=true`)), { deletedBindings: 0 })
      assertProblem(await call(target, 'DELETE', other.path), 'exchange_not_found')
    },
  },
  {
    claim: 'a binding is made once and undone once, and both say whether that changed something',
    async run(target) {
      const [exchange, queue] = [await newExchange(target, { type: 'topic' }), await newQueue(target)]
      const binding = { queue: queue.name, routingKey: 'a.*' }

      assert.deepEqual([await exchange.bind(binding), await exchange.bind(binding)], [true, false])
      assert.equal(await exchange.unbind({ queue: queue.name, routingKey: 'a.#' }), false)
      assert.deepEqual([await exchange.unbind(binding), await exchange.unbind(binding)], [true, false])
      assert.deepEqual((await exchange.bindings()).bindings, [])
    },
  },
  {
    claim: 'a binding of a hash exchange that is bound again has the new weight',
    async run(target) {
      const [exchange, queue] = [await newExchange(target, { type: 'hash' }), await newQueue(target)]

      assert.equal(await exchange.bind({ queue: queue.name, weight: 2 }), true)
      assert.equal(await exchange.bind({ queue: queue.name, weight: 100 }), true)
      assert.equal(await exchange.bind({ queue: queue.name, weight: 100 }), false)

      assert.deepEqual(
        (await exchange.bindings()).bindings.map(({ weight }) => weight),
        [100],
      )
    },
  },
  {
    claim: 'bindings are listed from an exchange, to an exchange and to a queue, as they were made, a page at a time',
    async run(target) {
      const [source, middle] = [await newExchange(target, { type: 'headers' }), await newExchange(target)]
      const queue = await newQueue(target)
      const headers = { region: 'eu', urgent: null }
      await source.bind({ exchange: middle.name, headers, match: 'any' })
      await source.bind({ queue: queue.name })
      await middle.bind({ queue: queue.name, routingKey: 'k' })

      const from = await source.bindings('?direction=from')
      const to = await middle.bindings('?direction=to')
      const list = async (query: string) => json(await call(target, 'GET', `${queue.path}/bindings${query}`))
      const shown = (list: typeof from) => list.bindings.map(({ id, createdAt, ...binding }) => binding)

      const onward = { source: source.name, exchange: middle.name, routingKey: '', headers, match: 'any' }
      const straight = { source: source.name, queue: queue.name, routingKey: '', headers: {}, match: 'all' }
      const keyed = { source: middle.name, queue: queue.name, routingKey: 'k' }
      assert.deepEqual(shown(from), [onward, straight])
      assert.deepEqual(shown(to), [onward])
      assert.deepEqual(shown((await list('')) as typeof from), [straight, keyed])
      const first = (await list('?max=1')) as typeof from
      assert.deepEqual(shown(first), [straight])
      assert.deepEqual(shown((await list(`?after=${first.next}`)) as typeof from), [keyed])
      const [{ id, createdAt } = { id: '', createdAt: '' }] = from.bindings
      assert.match(id, /^[0-9]+$/)
      assert.equal(new Date(createdAt).toISOString(), createdAt)
    },
  },
  {
    claim:
      'what is not there is named: the exchange, the queue or exchange it should lead to, the queue whose bindings are asked',
    async run(target) {
      const exchange = await newExchange(target)
      for (const [method, suffix, request] of operations) {
        assertProblem(
          await call(target, method, `/v1/exchanges/nobody-declared-this${suffix}`, request),
          'exchange_not_found',
          /^exchange "nobody-declared-this" does not exist$/,
        )
      }
      for (const method of ['PUT', 'DELETE']) {
        const to = (body: object) => call(target, method, `${exchange.path}/bindings`, { body })
        assertProblem(await to({ queue: 'nobody-made-this' }), 'queue_not_found')
        assertProblem(await to({ exchange: 'nobody-declared-this' }), 'exchange_not_found')
      }
      assertProblem(await call(target, 'GET', '/v1/queues/nobody-made-this/bindings'), 'queue_not_found')
    },
  },
  {
    claim: 'an exchange is named like a queue',
    async run(target) {
      for (const name of ['-a', '.a', 'a%20b', 'a%2Fb', '%C3%A4', 'a'.repeat(81)]) {
        const rule = /^exchange must be 1 to 80 letters, digits, ".", "_" and "-", .* got /
        assertProblem(await call(target, 'PUT', `/v1/exchanges/${name}`), 'request_invalid', rule)
        assertProblem(
          await call(target, 'POST', `/v1/exchanges/${name}/publish`, { body: { body: 1 } }),
          'request_invalid',
          rule,
        )
      }
    },
  },
  ...invalid.map(
    ([method, suffix, body, detail]): Case => ({
      claim: `refused: ${method} /v1/exchanges/…${suffix} ${JSON.stringify(body)?.slice(0, 60) ?? ''} ${detail}`,
      async run(target) {
        const [exchange, queue] = [await newExchange(target), await newQueue(target)]
        const named = JSON.stringify(body)?.replace('"queue":"a"', `"queue":"${queue.name}"`)
        const text = typeof body === 'string' ? body : named

        const answer = await call(target, method, `${exchange.path}${suffix}`, text === undefined ? {} : { body: text })

        assertProblem(answer, 'request_invalid', detail)
        assert.deepEqual((await exchange.bindings()).bindings, [])
        assert.equal(json<ExchangeInfo>(await call(target, 'GET', exchange.path)).type, 'direct')
      },
    }),
  ),
  {
    claim: 'publish opens publishing and asking where it would go, on the exchanges it names; admin the rest',
    async run(target) {
      const exchange = await newExchange(target)
      const queue = await newQueue(target)
      const one = await tokenFor(target, [`publish:${exchange.name}`])
      const pattern = await tokenFor(target, ['publish:case-exchange-*'])
      const others = await tokenFor(target, ['publish:other', `send:${exchange.name}`, 'receive:*'])

      for (const [method, suffix, request, scope] of operations) {
        const reach = (token: string | null) => call(target, method, `${exchange.path}${suffix}`, { ...request, token })
        const missing = scope === 'admin' ? /needs the scope admin, / : /needs the scope publish:case-exchange-\d+, /
        assertProblem(await reach(null), 'token_missing')
        assertProblem(await reach(others), 'scope_missing', missing)
        for (const token of [one, pattern]) {
          if (scope === 'admin') assertProblem(await reach(token), 'scope_missing', missing)
          else assert.ok((await reach(token)).status < 300)
        }
      }
      for (const [method, path] of [
        ['PUT', exchange.path],
        ['GET', '/v1/exchanges'],
        ['GET', `${queue.path}/bindings`],
      ] as const) {
        assertProblem(await call(target, method, path, { token: pattern }), 'scope_missing', /needs the scope admin, /)
      }
      assertProblem(
        await call(target, 'POST', `${queue.path}/messages`, {
          body: { body: 1 },
          token: await tokenFor(target, ['publish:*']),
        }),
        'scope_missing',
      )
    },
  },
]
