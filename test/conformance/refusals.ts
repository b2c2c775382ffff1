/* What is refused, and that the refusal says what is wrong: subject, rule, got. Nothing is changed by it. */
import assert from 'node:assert/strict'
import type { ErrorCode } from '../../src/errors.ts'
import { assertProblem, type Call, type Case, call } from './target.ts'
import { newQueue } from './test-queue.ts'

/** Every operation on one queue. */
const operations: readonly (readonly [method: string, suffix: string, call: Call])[] = [
  ['GET', '', {}],
  ['DELETE', '', {}],
  ['POST', '/purge', {}],
  ['POST', '/pause', {}],
  ['POST', '/resume', {}],
  ['POST', '/redrive', { body: {} }],
  ['GET', '/stats', {}],
  ['POST', '/messages', { body: { body: 1 } }],
  ['POST', '/messages', { body: 'raw', contentType: 'text/plain' }],
  ['GET', '/messages', {}],
  ['GET', '/messages/1', {}],
  ['POST', '/receive', { body: {} }],
  ['POST', '/receive', { body: { autoAck: true } }],
  ['POST', '/ack', { body: { receipts: ['1.1'] } }],
  ['POST', '/nack', { body: { receipts: ['1.1'] } }],
  ['POST', '/extend', { body: { receipts: ['1.1'] } }],
]

const badNames = ['-a', '.a', '_a', 'a%20b', 'a%2Fb', 'a%00b', '%C3%A4', 'a%', '%F0%9F%93%AE', 'a'.repeat(81)]

/** Nested deeper than what reads it could write. */
const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`

/** Requests to a queue without priorities, and how the refusal reads. */
const invalid: readonly (readonly [method: string, suffix: string, body: unknown, detail: RegExp])[] = [
  ['PUT', '', { leaseSeconds: 50_000 }, /^leaseSeconds must be between 0 and 43200, got 50000$/],
  ['PUT', '', { leaseSeconds: -1 }, /^leaseSeconds must be between 0 and 43200, got -1$/],
  ['PUT', '', { leaseSeconds: '30' }, /^leaseSeconds must be a number, got "30"$/],
  ['PUT', '', { leaseSeconds: null }, /^leaseSeconds must be a number, got null$/],
  ['PUT', '', { delaySeconds: 31_536_001 }, /^delaySeconds must be between 0 and 31536000, got 31536001$/],
  ['PUT', '', { maxPriority: 10 }, /^maxPriority must be between 0 and 9, got 10$/],
  ['PUT', '', { maxPriority: 1.5 }, /^maxPriority must be a whole number, got 1.5$/],
  ['PUT', '', { dedupWindowSeconds: 86_401 }, /^dedupWindowSeconds must be between 0 and 86400, got 86401$/],
  ['PUT', '', [], /^the request body must be an object, got \[\]$/],
  ['PUT', '', '"queue"', /^the request body must be an object, got "queue"$/],
  ['PUT', '', 'null', /^the request body must be an object, got null$/],
  ['POST', '/messages', {}, /^body is missing$/],
  ['POST', '/messages', '', /^body is missing$/],
  ['POST', '/messages', '7', /^the message must be an object, got 7$/],
  ['POST', '/messages', '[{"body":1}]', /^the message must be an object, got /],
  ['POST', '/messages', { messages: [] }, /^messages must be between 1 and 1000 messages, got 0$/],
  ['POST', '/messages', { messages: { body: 1 } }, /^messages must be an array, got /],
  ['POST', '/messages', { messages: [{ body: 1 }, 7] }, /^messages\[1\] must be an object, got 7$/],
  ['POST', '/messages', { messages: [{ body: 1 }, {}] }, /^messages\[1\]\.body is missing$/],
  ['POST', '/messages', { body: 1, encoding: 'utf8' }, /^encoding must be json, text or base64, got "utf8"$/],
  ['POST', '/messages', { body: 1, encoding: 'text' }, /^body must be a string with encoding text, got 1$/],
  ['POST', '/messages', { body: 1, type: '' }, /^type must be 1 to 255 characters/],
  ['POST', '/messages', { body: 1, type: 'x'.repeat(256) }, /^type must be 1 to 255 characters/],
  ['POST', '/messages', { body: 1, type: 'a\0' }, /^type must be .* without U\+0000/],
  ['POST', '/messages', { body: 1, contentType: 7 }, /^contentType must be a string, got 7$/],
  ['POST', '/messages', { body: 1, priority: 1 }, /^priority must be between 0 and 0.*, got 1$/],
  ['POST', '/messages', { body: 1, priority: 10 }, /^priority must be between 0 and 9, got 10$/],
  ['POST', '/messages', { body: 1, priority: -1 }, /^priority must be between 0 and 9, got -1$/],
  ['POST', '/messages', { body: 1, delaySeconds: 4e7 }, /^delaySeconds must be between 0 and 31536000, got 40000000$/],
  ['POST', '/messages', { body: 1, dedupId: 'x'.repeat(129) }, /^dedupId must be 1 to 128 characters/],
  ['POST', '/messages', { body: 1, headers: ['a'] }, /^headers must be an object of strings, got /],
  ['POST', '/messages', { body: 1, headers: { n: 7 } }, /^headers\.n must be a string, got 7$/],
  ['POST', '/messages', { body: 1, headers: { n: 'a\0' } }, /^headers must be well-formed text without U\+0000$/],
  [
    'POST',
    '/messages',
    '{"body":1,"headers":{"__proto__":"x","a":"b"}}',
    /^headers must have other names than __proto__/,
  ],
  [
    'POST',
    '/messages',
    { body: 1, headers: { a: 'x'.repeat(16_367), b: '' } },
    /^headers must be at most 16384 bytes of JSON, got 16385$/,
  ],
  ['POST', '/receive', { max: 0 }, /^max must be between 1 and 1000, got 0$/],
  ['POST', '/receive', { max: 1001 }, /^max must be between 1 and 1000, got 1001$/],
  ['POST', '/receive', { max: 2.5 }, /^max must be a whole number, got 2.5$/],
  ['POST', '/receive', { max: '1' }, /^max must be a whole number, got "1"$/],
  ['POST', '/receive', { waitSeconds: 21 }, /^waitSeconds must be between 0 and 20, got 21$/],
  ['POST', '/receive', { leaseSeconds: 50_000 }, /^leaseSeconds must be between 0 and 43200, got 50000$/],
  ['POST', '/receive', '{"leaseSeconds":1e999}', /^leaseSeconds must be a number, got Infinity$/],
  ['POST', '/ack', {}, /^receipts must be an array of receipts, got nothing$/],
  ['POST', '/ack', { receipts: [] }, /^receipts must be between 1 and 1000 receipts, got 0$/],
  ['POST', '/ack', { receipts: '1.1' }, /^receipts must be an array of receipts, got "1.1"$/],
  ['POST', '/ack', { receipts: ['1.1', 7] }, /^receipts\[1\] must be a string, got 7$/],
  ['POST', '/ack', { receipts: ['1.1', 'a\0'] }, /^receipts\[1\] must be well-formed text without U\+0000/],
  ['POST', '/ack', '{"receipts":["\\ud800"]}', /^receipts\[0\] must be well-formed text without U\+0000/],
  ['POST', '/nack', { receipts: ['1.1'], delaySeconds: -1 }, /^delaySeconds must be between 0 and 31536000, got -1$/],
  ['POST', '/nack', { receipts: ['1.1'], error: 7 }, /^error must be a string, got 7$/],
  [
    'POST',
    '/extend',
    { receipts: ['1.1'], leaseSeconds: 43_201 },
    /^leaseSeconds must be between 0 and 43200, got 43201$/,
  ],
  ['GET', '/messages?max=0', undefined, /^max must be between 1 and 1000, got 0$/],
  ['GET', '/messages?minAgeSeconds=-Infinity', undefined, /^minAgeSeconds must be a number, got -Infinity$/],
  ['GET', '/messages?max=ten', undefined, /^max must be a /],
  ['GET', '/messages?after=x', undefined, /^after must be the id of a message, got "x"$/],
  ['POST', '/messages?delaySeconds=3600', { body: 1 }, /^the query must be empty where .* JSON.*, got delaySeconds$/],
  ['POST', '/messages?priority=0&type=x', { messages: [{ body: 1 }] }, /^the query must be empty .*, got priority$/],
  ['POST', '/messages?prio=0', { body: 1 }, /^the query must be empty where the body is JSON .*, got prio$/],
  ['POST', '/messages', `{"type":${deep}}`, /^type must be a string, got \[/],
  ['POST', '/messages', `{"type":{"a":${deep}}}`, /^type must be a string, got \{/],
  ['POST', '/messages', `{"headers":{"a":${deep}}}`, /^headers\.a must be a string, got \[/],
  ['POST', '/messages', `{"encoding":"text","body":${deep}}`, /^body must be a string with encoding text, got \[/],
  ['POST', '/messages', `{"messages":${deep}}`, /^messages\[0\] must be an object, got \[/],
  ['POST', '/receive', `{"max":${deep}}`, /^max must be a whole number, got \[/],
  ['PUT', '', deep, /^the request body must be an object, got \[/],
]

const unknown: readonly (readonly [method: string, suffix: string, body: unknown, detail: RegExp])[] = [
  [
    'PUT',
    '',
    { leaseSecond: 1 },
    /^the request body has the unknown field leaseSecond: known are order, maxPriority, groups, leaseSeconds, .*, durability$/,
  ],
  [
    'POST',
    '/messages',
    { body: 1, prio: 1 },
    /^the message has the unknown field prio: known are body, encoding, contentType, headers, type, priority, delaySeconds, availableAt, ttlSeconds, group, dedupId, correlationId, replyTo$/,
  ],
  [
    'POST',
    '/messages',
    { messages: [{ body: 1 }, { body: 2, groups: 'g' }] },
    /^messages\[1\] has the unknown field groups: known are /,
  ],
  [
    'POST',
    '/messages',
    { messages: [{ body: 1 }], body: 1 },
    /^the request body has the unknown field body: known are messages$/,
  ],
  [
    'POST',
    '/messages',
    '{"body":1,"__proto__":{"type":"x"}}',
    /^the message has the unknown field __proto__: known are /,
  ],
  [
    'POST',
    '/receive',
    { wait: 5 },
    /^the request body has the unknown field wait: known are max, waitSeconds, leaseSeconds, autoAck, acks$/,
  ],
  ['POST', '/ack', { receipt: '1.1', receipts: ['1.1'] }, /has the unknown field receipt: known are receipts$/],
  [
    'POST',
    '/nack',
    { receipts: ['1.1'], delay: 5 },
    /has the unknown field delay: known are receipts, delaySeconds, error, deadLetter, untried$/,
  ],
  [
    'POST',
    '/extend',
    { receipts: ['1.1'], seconds: 5 },
    /has the unknown field seconds: known are receipts, leaseSeconds$/,
  ],
  [
    'GET',
    '/messages?limit=5',
    undefined,
    /^the query has the unknown field limit: known are max, after, state, .*, reason$/,
  ],
  ['GET', '/messages/1?max=5', undefined, /^the query has the unknown field max: known are none$/],
  ['POST', '/pause', { paused: true }, /^the request body has the unknown field paused: known are none$/],
  ['POST', '/redrive', { id: '1' }, /has the unknown field id: known are ids, type, headers, .*, after$/],
]

const notJson = [
  '{',
  '{"body":1',
  '{"body":1,}',
  "{'body':1}",
  '{"body":NaN}',
  'undefined',
  '{}{}',
  '\ufffe{}',
  '{"body":"\t"}',
]

/** A case of a request to a queue of its own that is refused and changes nothing. */
export function refusal([method, suffix, body, detail]: (typeof invalid)[number], code: ErrorCode): Case {
  const shown = body === undefined ? '' : ` ${typeof body === 'string' ? body : JSON.stringify(body)}`
  return {
    claim: `${method} ${suffix || '/'}${shown.slice(0, 70)} is refused: ${detail.source.slice(0, 60)}`,
    async run(target) {
      const queue = await newQueue(target)
      const options = body === undefined ? {} : { body: body as object | string }

      assertProblem(await call(target, method, `${queue.path}${suffix}`, options), code, detail)

      assert.deepEqual((await queue.peek()).messages, [])
    },
  }
}

export const refusalCases: readonly Case[] = [
  ...invalid.map((request) => refusal(request, 'request_invalid')),
  ...unknown.map((request) => refusal(request, 'request_invalid')),
  ...operations.map(
    ([method, suffix, options]): Case => ({
      claim: `${method} ${suffix || '/'} (${options.contentType ?? 'JSON'}) of an unknown queue is queue_not_found`,
      async run(target) {
        const answer = await call(target, method, `/v1/queues/nobody-made-this${suffix}`, options)

        assertProblem(answer, 'queue_not_found', /nobody-made-this/)
      },
    }),
  ),
  ...badNames.map(
    (name): Case => ({
      claim: `the queue name ${name.slice(0, 20)} is refused, with the rule`,
      async run(target) {
        const rule = /^queue must be 1 to 80 letters, digits, "\.", "_" and "-", starting with a letter or digit, got /
        const config = { body: {} }
        assertProblem(await call(target, 'PUT', `/v1/queues/${name}`, config), 'request_invalid', rule)
        assertProblem(await call(target, 'GET', `/v1/queues/${name}`), 'request_invalid', rule)
        for (const verb of ['messages', 'receive', 'ack']) {
          assertProblem(await call(target, 'POST', `/v1/queues/${name}/${verb}`, config), 'request_invalid', rule)
        }
      },
    }),
  ),
  {
    claim: 'the longest queue name works',
    async run(target) {
      const path = `/v1/queues/${'a'.repeat(80)}`
      assert.equal((await call(target, 'PUT', path, { body: {} })).status, 201)
      assert.equal((await call(target, 'POST', `${path}/messages`, { body: { body: 1 } })).status, 201)
    },
  },
  ...notJson.map(
    (body): Case => ({
      claim: `${JSON.stringify(body)} is not JSON`,
      async run(target) {
        const queue = await newQueue(target)
        for (const verb of ['messages', 'receive', 'ack']) {
          assertProblem(await queue.post(verb, { body }), 'json_invalid', /^the request body must be JSON/)
        }
        assertProblem(await call(target, 'PUT', queue.path, { body }), 'json_invalid')
      },
    }),
  ),
  {
    claim: 'JSON nested deeper than the database can read is refused, not a failure',
    async run(target) {
      const queue = await newQueue(target)

      assertProblem(await queue.post('messages', { body: `{"body":${deep}}` }), 'request_invalid')
    },
  },
  {
    claim: 'a batch of more than 1000 is refused',
    async run(target) {
      const queue = await newQueue(target)
      const messages = Array.from({ length: 1001 }, () => ({ body: 1 }))
      const receipts = messages.map((_, index) => `${index + 1}.1`)

      const refused = await queue.post('messages', { body: { messages } })

      assertProblem(refused, 'batch_too_large', /^messages must be between 1 and 1000 messages, got 1001$/)
      for (const verb of ['ack', 'nack', 'extend']) {
        assertProblem(
          await queue.post(verb, { body: { receipts } }),
          'batch_too_large',
          /^receipts must be between 1 and 1000 receipts, got 1001$/,
        )
      }
    },
  },
  {
    claim: 'a request of more than 16 MiB is refused, whether it tells its length or not, and a web page may read why',
    needs: 'hands on large requests',
    async run(target) {
      const queue = await newQueue(target)
      const bytes = Buffer.alloc(16_777_217, 32)
      const headers = { origin: 'https://shop.example.com' }
      const streamed = {
        method: 'POST',
        headers: { ...headers, authorization: `Bearer ${target.token}`, 'content-type': 'text/plain' },
      }

      const whole = await queue.post('messages', { body: bytes, contentType: 'text/plain', headers })
      const response = await fetch(`${target.url}${queue.path}/messages`, {
        ...streamed,
        body: new Blob([bytes]).stream(),
        duplex: 'half',
      } as RequestInit)

      const inParts = { status: response.status, headers: response.headers, text: await response.text() }
      for (const answer of [whole, inParts]) {
        assertProblem(answer, 'request_too_large', /16777216/)
        assert.equal(answer.headers.get('access-control-allow-origin'), '*')
      }
      assert.deepEqual((await queue.peek()).messages, [])
    },
  },
  {
    claim: 'a request that is too large for the platform is refused by it, and one of 4 MiB is not',
    without: 'hands on large requests',
    async run(target) {
      const queue = await newQueue(target)
      const sized = (bytes: number) => JSON.stringify({ messages: Array(4).fill({ body: 'x'.repeat(bytes / 4 - 20) }) })

      const refused = await queue.post('messages', { body: sized(16_777_217) })
      const taken = await queue.post('messages', { body: sized(4_194_304) })

      assert.equal(refused.status, 413)
      assert.equal(taken.status, 201, taken.text)
      assert.equal((await queue.receive({ max: 10 })).length, 4)
    },
  },
  {
    claim: 'a wrong method is method_not_allowed, with the list of those allowed',
    async run(target) {
      const wrong = [
        ['POST', '/v1/queues', 'GET'],
        ['PATCH', '/v1/queues/a', 'PUT, GET, DELETE'],
        ['DELETE', '/v1/queues/a/messages', 'POST, GET'],
        ['GET', '/v1/queues/a/receive', 'POST'],
        ['PUT', '/v1/queues/a/ack', 'POST'],
        ['DELETE', '/v1/queues/a/messages/1', 'GET'],
        ['GET', '/v1/queues/a/pause', 'POST'],
        ['GET', '/v1/maintain', 'POST'],
        ['POST', '/healthz', 'GET'],
        ['POST', '/openapi.json', 'GET'],
      ] as const
      for (const [method, path, allowed] of wrong) {
        const answer = await call(target, method, path)
        assertProblem(answer, 'method_not_allowed', new RegExp(`${path} takes ${allowed}, got ${method}$`))
        assert.equal(answer.headers.get('allow'), allowed)
      }
    },
  },
  {
    claim: 'an unknown path is route_not_found',
    async run(target) {
      for (const path of [
        '/',
        '/v1',
        '/v1/queues/',
        '/v1/queues/a/',
        '/v1/queues/a/nothing',
        '/v2/queues',
        '/v1/queues/a/b/c',
      ]) {
        assertProblem(await call(target, 'GET', path), 'route_not_found', /openapi\.json/)
      }
    },
  },
]
