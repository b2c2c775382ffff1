/* The bounds of every configurable value and of every option of a message or a call: what is within is taken, what is outside or of
 * another kind is refused, with the rule. */
import assert from 'node:assert/strict'
import type { QueueConfig } from '../../src/wire.ts'
import { refusal } from './refusals.ts'
import { assertProblem, type Case, call, json, type Target } from './target.ts'
import { newQueue } from './test-queue.ts'

type Bounds = readonly [field: string, min: number, max: number, whole?: 'whole']

const year = 31_536_000
const century = 100 * year

const configNumbers: readonly Bounds[] = [
  ['maxPriority', 0, 9, 'whole'],
  ['leaseSeconds', 0, 43_200],
  ['delaySeconds', 0, year],
  ['ttlSeconds', 0.001, year],
  ['maxAttempts', 1, 1000, 'whole'],
  ['retryDelaySeconds', 0, year],
  ['retryMaxDelaySeconds', 0, year],
  ['retryJitter', 0, 1],
  ['deadLetterRetentionSeconds', 1, year],
  ['dedupWindowSeconds', 0, 86_400],
  ['maxMessages', 1, 1_000_000_000, 'whole'],
  ['maxBytes', 1, 1_125_899_906_842_624, 'whole'],
  ['maxInFlight', 1, 100_000, 'whole'],
  ['ratePerSecond', 0.001, 1_000_000],
  ['rateBurst', 1, 1_000_000, 'whole'],
  ['groupRatePerSecond', 0.001, 1_000_000],
  ['groupRateBurst', 1, 1_000_000, 'whole'],
]

/** Those of which a queue may say that it has none. */
const withoutDefault = new Set(
  ['ttlSeconds', 'maxAttempts', 'maxMessages', 'maxBytes', 'maxInFlight'].concat([
    'ratePerSecond',
    'rateBurst',
    'groupRatePerSecond',
    'groupRateBurst',
  ]),
)

/** What some settings do not stand without. */
const beside: Readonly<Record<string, QueueConfig>> = {
  rateBurst: { ratePerSecond: 1 },
  groupRateBurst: { groupRatePerSecond: 1 },
}

const configWords: Readonly<Record<string, readonly string[]>> = {
  order: ['fifo', 'lifo'],
  groups: ['ordered', 'fair'],
  retryBackoff: ['fixed', 'exponential'],
  dedupBy: ['id', 'content'],
  dedupScope: ['queue', 'group'],
  overflow: ['reject', 'drop-oldest'],
  durability: ['full', 'relaxed', 'volatile'],
}

/** Numbers in requests: where, beside what else, which. */
const requestNumbers: readonly (readonly [suffix: string, rest: object, bounds: Bounds])[] = [
  ['messages', { body: 1 }, ['ttlSeconds', 0.001, year]],
  ['messages', { body: 1 }, ['delaySeconds', 0, year]],
  ['nack', { receipts: ['1.1'] }, ['delaySeconds', 0, year]],
  ['redrive', {}, ['minAgeSeconds', 0, century]],
  ['redrive', {}, ['maxAgeSeconds', 0, century]],
  ['redrive', {}, ['max', 1, 1000, 'whole']],
  ['redrive', {}, ['ratePerSecond', 0.001, 1_000_000]],
]

/** Texts in requests: where, beside what else, and how long at most. */
const requestTexts: readonly (readonly [suffix: string, rest: object, field: string, max: number])[] = [
  ['messages', { body: 1 }, 'group', 128],
  ['messages', { body: 1 }, 'dedupId', 128],
  ['messages', { body: 1 }, 'correlationId', 255],
  ['messages', { body: 1 }, 'replyTo', 255],
  ['reply', { body: 1, replyTo: '~' }, 'correlationId', 255],
  ['redrive', {}, 'type', 255],
  ['redrive', {}, 'group', 128],
  ['redrive', {}, 'errorContains', 1000],
]

/** The same in the query of a look, where a number is text. */
const queryNumbers: readonly Bounds[] = [
  ['max', 1, 1000, 'whole'],
  ['minAgeSeconds', 0, century],
  ['maxAgeSeconds', 0, century],
]

const queryTexts: readonly (readonly [field: string, max: number])[] = [
  ['type', 255],
  ['group', 128],
  ['contains', 1000],
]

const states = 'ready, leased, delayed, blocked or dead'
const reasons = 'attempts, expired, rejected or overflow'
const queueName = '1 to 80 letters, digits, .*, starting with a letter or digit'

const refused: readonly Parameters<typeof refusal>[0][] = [
  ['PUT', '', { deadLetterQueue: '' }, new RegExp(`^deadLetterQueue must be ${queueName}, got ""$`)],
  ['PUT', '', { deadLetterQueue: 'a b' }, new RegExp(`^deadLetterQueue must be ${queueName}, got "a b"$`)],
  ['PUT', '', { deadLetterQueue: 7 }, /^deadLetterQueue must be a string, got 7$/],
  [
    'PUT',
    '',
    { deadLetterQueue: 'nobody-made-this' },
    /^deadLetterQueue must be a queue that exists.*nobody-made-this/,
  ],
  ['PUT', '', { deadLetterExchange: 'a b' }, new RegExp(`^deadLetterExchange must be ${queueName}, got "a b"$`)],
  [
    'PUT',
    '',
    { deadLetterExchange: 'nobody-made-this' },
    /^deadLetterExchange must be an exchange that exists.*nobody-made-this/,
  ],
  [
    'PUT',
    '',
    { deadLetterExchange: 'default', deadLetterQueue: 'a' },
    /^deadLetterExchange must not be given beside deadLetterQueue, got "default"$/,
  ],
  [
    'PUT',
    '',
    { deadLetterRoutingKey: 'k' },
    /^deadLetterRoutingKey must not be given without deadLetterExchange, got "k"$/,
  ],
  [
    'PUT',
    '',
    { deadLetterExchange: 'default', deadLetterRoutingKey: 'k'.repeat(256) },
    /^deadLetterRoutingKey must be at most 255 characters/,
  ],
  ['PUT', '', { rateBurst: 5 }, /^rateBurst must not be given without ratePerSecond, got 5$/],
  ['PUT', '', { groupRateBurst: 5 }, /^groupRateBurst must not be given without groupRatePerSecond, got 5$/],
  ['PUT', '', { paused: true }, /^the request body has the unknown field paused: known are /],
  ['POST', '/messages', { body: 1, group: 7 }, /^group must be a string, got 7$/],
  ['POST', '/messages', { body: 1, group: 'a\0' }, /^group must be .* without U\+0000/],
  ['POST', '/messages', { body: 1, availableAt: 7 }, /^availableAt must be an ISO 8601 time such as .*, got 7$/],
  [
    'POST',
    '/messages',
    { body: 1, availableAt: 'tomorrow' },
    /^availableAt must be an ISO 8601 time .*, got "tomorrow"$/,
  ],
  ['POST', '/messages', { body: 1, availableAt: '2026-02-30T00:00:00Z' }, /^availableAt must be an ISO 8601 time /],
  ['POST', '/messages', { body: 1, availableAt: '2026-02-20T00:00:00' }, /^availableAt must be an ISO 8601 time /],
  [
    'POST',
    '/messages',
    { body: 1, availableAt: '9999-01-01T00:00:00Z' },
    /^availableAt must be at most a year ahead, got /,
  ],
  [
    'POST',
    '/messages',
    { body: 1, availableAt: '2020-01-01T00:00:00Z', delaySeconds: 1 },
    /^delaySeconds and availableAt exclude each other, got both$/,
  ],
  ['POST', '/receive', { autoAck: 'yes' }, /^autoAck must be true or false, got "yes"$/],
  ['POST', '/receive', { autoAck: null }, /^autoAck must be true or false, got null$/],
  ['POST', '/receive', { acks: [] }, /^acks must be between 1 and 1000 acks, got 0$/],
  ['POST', '/receive', { acks: 'a' }, /^acks must be an array of receipts, got "a"$/],
  ['POST', '/receive', { acks: [7] }, /^acks\[0\] must be a string, got 7$/],
  ['POST', '/receive', { autoAck: true, acks: ['1.1.1'] }, /^acks must not be given with autoAck, got both$/],
  ['POST', '/receive', { autoAck: true, leaseSeconds: 5 }, /^leaseSeconds must not be given with autoAck/],
  ['POST', '/nack', { receipts: ['1.1'], deadLetter: 1 }, /^deadLetter must be true or false, got 1$/],
  [
    'POST',
    '/nack',
    { receipts: ['1.1'], deadLetter: true, delaySeconds: 5 },
    /^delaySeconds must not be given with deadLetter/,
  ],
  ['POST', '/nack', { receipts: ['1.1'], untried: 'no' }, /^untried must be true or false, got "no"$/],
  [
    'POST',
    '/nack',
    { receipts: ['1.1'], untried: true, deadLetter: true },
    /^untried must not be given with deadLetter, got both$/,
  ],
  ['POST', '/redrive', { ids: [] }, /^ids must be between 1 and 1000 ids, got 0$/],
  ['POST', '/redrive', { ids: '1' }, /^ids must be an array, got "1"$/],
  ['POST', '/redrive', { ids: ['1', 'x'] }, /^ids\[1\] must be the id of a message, got "x"$/],
  ['POST', '/redrive', { ids: [7] }, /^ids\[0\] must be a string, got 7$/],
  ['POST', '/redrive', { headers: { a: 7 } }, /^headers\.a must be a string, got 7$/],
  ['POST', '/redrive', { headers: 'a' }, /^headers must be an object of strings, got "a"$/],
  ['POST', '/redrive', { reason: 'because' }, new RegExp(`^reason must be ${reasons}, got "because"$`)],
  ['POST', '/redrive', { target: '-' }, new RegExp(`^target must be ${queueName}, got "-"$`)],
  ['POST', '/redrive', { dryRun: 'yes' }, /^dryRun must be true or false, got "yes"$/],
  ['POST', '/redrive', { after: 'x' }, /^after must be the next of a redrive, got "x"$/],
  ['GET', '/messages?state=gone', undefined, new RegExp(`^state must be ${states}, got "gone"$`)],
  ['GET', '/messages?reason=because', undefined, new RegExp(`^reason must be ${reasons}, got "because"$`)],
  ['GET', '/messages?header=name', undefined, /^header\[0\] must be name:value, got "name"$/],
  ['GET', '/messages?header=a:%00', undefined, /^header\[0\] must be name:value in well-formed text without U\+0000/],
  [
    'GET',
    '/messages?header=a:1&header=a:2',
    undefined,
    /^header must be a different name each time, got \["a:1","a:2"\]$/,
  ],
  [
    'GET',
    '/messages?state=dead&state=ready',
    undefined,
    new RegExp(`^state must be ${states}, got \\["dead","ready"\\]$`),
  ],
  ['GET', '/messages?max=1&max=2', undefined, /^max must be a whole number, got \["1","2"\]$/],
  ['GET', '/messages/x', undefined, /^id must be the id of a message, got "x"$/],
  ['GET', '/messages/-1', undefined, /^id must be the id of a message, got "-1"$/],
  ['GET', `/messages/${'9'.repeat(19)}`, undefined, /^id must be the id of a message, got "9+"$/],
]

/** A value below, one above and, where only whole numbers fit, one between; as `ask` is answered they are refused. */
async function assertBounds(
  [field, min, max, whole]: Bounds,
  ask: (value: unknown) => ReturnType<typeof call>,
): Promise<void> {
  const outside = new RegExp(`^${field} must be between ${min} and ${max}, got `)
  assertProblem(await ask(min - (whole ? 1 : 0.001)), 'request_invalid', outside)
  assertProblem(await ask(max + 1), 'request_invalid', outside)
  if (whole)
    assertProblem(await ask(min + 0.5), 'request_invalid', new RegExp(`^${field} must be a whole number, got `))
  const another = new RegExp(`^${field} must be a (whole )?number, got "many"$`)
  assertProblem(await ask('many'), 'request_invalid', another)
}

async function assertTaken(answer: ReturnType<typeof call>): Promise<void> {
  const { status, text } = await answer
  assert.ok(status < 300, text)
}

/** Parameters of lists that begin or go on somewhere, and the most characters of each. */
const places = [
  ['/v1/queues', 'prefix', 80],
  ['/v1/queues', 'after', 80],
  ['/v1/exchanges', 'prefix', 80],
  ['/v1/exchanges', 'after', 80],
  ['/v1/endpoints', 'after', 71],
] as const

export const boundCases: readonly Case[] = [
  ...places.map(
    ([path, field, max]): Case => ({
      claim: `${field} of ${path} is one text of at most ${max} characters, which may be empty`,
      async run(target) {
        const list = (query: string) => call(target, 'GET', `${path}?${query}`)
        const storable = new RegExp(
          `^${field} must be at most ${max} characters of well-formed text without U\\+0000, got "`,
        )

        await assertTaken(list(`${field}=&max=1`))
        await assertTaken(list(`${field}=${'z'.repeat(max)}`))
        assertProblem(await list(`${field}=${'z'.repeat(max + 1)}`), 'request_invalid', storable)
        assertProblem(await list(`${field}=a%00`), 'request_invalid', storable)
        const twice = new RegExp(`^${field} must be a string, got \\["a","b"\\]$`)
        assertProblem(await list(`${field}=a&${field}=b`), 'request_invalid', twice)
      },
    }),
  ),
  ...configNumbers.map(
    (bounds): Case => ({
      claim: `a queue's ${bounds[0]} is ${bounds[1]} to ${bounds[2]}, and nothing else`,
      async run(target) {
        const [field, min, max] = bounds
        const { path } = await newQueue(target)
        const put = (value: unknown) => call(target, 'PUT', path, { body: { ...beside[field], [field]: value } })

        for (const value of [min, max]) {
          assert.equal(json<Record<string, unknown>>(await put(value))[field], value)
        }
        await assertBounds(bounds, put)
        assert.equal(json<Record<string, unknown>>(await call(target, 'GET', path))[field], max)
        const withNull = await put(null)
        if (withoutDefault.has(field)) assert.equal(json<Record<string, unknown>>(withNull)[field], undefined)
        else assertProblem(withNull, 'request_invalid', new RegExp(`^${field} must be a (whole )?number, got null$`))
      },
    }),
  ),
  ...Object.entries(configWords).map(
    ([field, words]): Case => ({
      claim: `a queue's ${field} is ${words.join(' or ')}, and nothing else`,
      async run(target) {
        const put = (path: string, value: unknown) => call(target, 'PUT', path, { body: { [field]: value } })

        for (const word of words) {
          // Each on a queue of its own: a volatile one stays that.
          const path = `/v1/queues/words-${field}-${word}`
          assert.equal(json<Record<string, unknown>>(await put(path, word), 201)[field], word)
          const rule = new RegExp(`^${field} must be ${words.slice(0, -1).join(', ')} or ${words.at(-1)}, got `)
          for (const wrong of ['', 'other', 7, null, true])
            assertProblem(await put(path, wrong), 'request_invalid', rule)
        }
      },
    }),
  ),
  ...requestNumbers.map(
    ([suffix, rest, bounds]): Case => ({
      claim: `${bounds[0]} of ${suffix} is ${bounds[1]} to ${bounds[2]}, and nothing else`,
      async run(target) {
        const [field, min, max] = bounds
        const queue = await newQueue(target)
        const ask = (value: unknown) => queue.post(suffix, { body: { ...rest, [field]: value } })

        await assertBounds(bounds, ask)
        assert.deepEqual((await queue.peek()).messages, [])
        for (const value of [min, max]) await assertTaken(ask(value))
      },
    }),
  ),
  ...requestTexts.map(
    ([suffix, rest, field, max]): Case => ({
      claim: `${field} of ${suffix} is a text of 1 to ${max} characters, and nothing else`,
      async run(target) {
        const queue = await newQueue(target)
        const ask = (value: unknown) => queue.post(suffix, { body: { ...rest, [field]: value } })
        const rule = new RegExp(`^${field} must be (a string|1 to ${max} characters of .*), got `)

        for (const wrong of ['', 'x'.repeat(max + 1), 'a\0', 7, null]) {
          assertProblem(await ask(wrong), 'request_invalid', rule)
        }
        assert.deepEqual((await queue.peek()).messages, [])
        await assertTaken(ask('x'.repeat(max)))
      },
    }),
  ),
  ...queryNumbers.map(
    (bounds): Case => ({
      claim: `${bounds[0]} of a look is ${bounds[1]} to ${bounds[2]}, and nothing else`,
      async run(target) {
        const [field, min, max] = bounds
        const queue = await newQueue(target)
        const ask = (value: unknown) => call(target, 'GET', `${queue.path}/messages?${field}=${value}`)

        await assertBounds(bounds, ask)
        for (const value of [min, max]) await assertTaken(ask(value))
      },
    }),
  ),
  ...queryTexts.map(
    ([field, max]): Case => ({
      claim: `${field} of a look is a text of 1 to ${max} characters, and nothing else`,
      async run(target) {
        const queue = await newQueue(target)
        const ask = (value: string) => call(target, 'GET', `${queue.path}/messages?${field}=${value}`)

        for (const wrong of ['', 'x'.repeat(max + 1), '%00']) {
          assertProblem(await ask(wrong), 'request_invalid', new RegExp(`^${field} must be 1 to ${max} characters of `))
        }
        await assertTaken(ask('x'.repeat(max)))
      },
    }),
  ),
  {
    claim: 'max of maintain is 1 to 100000, and nothing else',
    run: async (target: Target) => {
      await assertBounds(['max', 1, 100_000, 'whole'], (max) => call(target, 'POST', '/v1/maintain', { body: { max } }))
      assertProblem(
        await call(target, 'POST', '/v1/maintain', { body: { queue: 'a' } }),
        'request_invalid',
        /^the request body has the unknown field queue: known are max$/,
      )
    },
  },
  ...refused.map((request) => refusal(request, 'request_invalid')),
]
