/* Imports: exchanges, queues, policies and bindings at once. Each case has names of its own: they run side by side. */
import assert from 'node:assert/strict'
import type { Definitions, ImportResponse, QueueInfo } from '../../src/wire.ts'
import { assertProblem, type Case, call, json, type Target, tokenFor } from './target.ts'
import { exchangeNamed } from './test-exchange.ts'
import { queueNamed } from './test-queue.ts'

const post = (target: Target, body: object | string) => call(target, 'POST', '/v1/import', { body })

/** Two queues that are each other's dead-letter queues, and how messages come to the first. */
const circle = (name: string): Required<Definitions> => ({
  exchanges: [{ name, type: 'topic', alternate: `${name}.rest` }],
  queues: [
    { name: `${name}.work`, maxAttempts: 3, deadLetterQueue: `${name}.later` },
    { name: `${name}.later`, ttlSeconds: 0.5, deadLetterExchange: 'default', deadLetterRoutingKey: `${name}.work` },
  ],
  policies: [{ name, pattern: `${name}.*`, settings: { leaseSeconds: 7, maxBytes: null } }],
  bindings: [{ source: name, queue: `${name}.work`, routingKey: 'order.#' }],
})

export const importCases: readonly Case[] = [
  {
    claim: 'an import makes everything, and finds it when it is made again',
    async run(target) {
      const definitions = circle('imported')

      const made = json<ImportResponse>(await post(target, definitions))
      const found = json<ImportResponse>(await post(target, definitions))

      const [created, present] = [
        { created: 1, present: 0 },
        { created: 0, present: 1 },
      ]
      const both = { created: 2, present: 0 }
      assert.deepEqual(made, { exchanges: created, queues: both, policies: created, bindings: created })
      assert.deepEqual(found, {
        exchanges: present,
        queues: { created: 0, present: 2 },
        policies: present,
        bindings: present,
      })
      const work = json<QueueInfo>(await call(target, 'GET', queueNamed(target, 'imported.work').path))
      assert.deepEqual([work.maxAttempts, work.deadLetterQueue, work.leaseSeconds], [3, 'imported.later', 7])
      assert.deepEqual(await exchangeNamed(target, 'imported').publish({ body: 1, routingKey: 'order.new' }), [1])
    },
  },
  {
    claim: 'a dry run of an import counts, and makes nothing',
    async run(target) {
      const counted = json<ImportResponse>(await post(target, { ...circle('dry'), dryRun: true }))

      assert.deepEqual(counted.queues, { created: 2, present: 0 })
      assertProblem(await call(target, 'GET', queueNamed(target, 'dry.work').path), 'queue_not_found')
      assertProblem(await call(target, 'GET', exchangeNamed(target, 'dry').path), 'exchange_not_found')
      assertProblem(await call(target, 'GET', '/v1/policies/dry'), 'policy_not_found')
    },
  },
  {
    claim: 'an import that meets something else of the same name is import_conflict, and makes nothing',
    async run(target) {
      json(await call(target, 'PUT', '/v1/policies/met', { body: { pattern: 'met', settings: {} } }), 201)

      const answer = await post(target, circle('met'))

      assertProblem(
        answer,
        'import_conflict',
        /^nothing was imported, because of 1 of the policies: met: policy "met" is there, for met/,
      )
      assertProblem(await call(target, 'GET', queueNamed(target, 'met.work').path), 'queue_not_found')
      assertProblem(await call(target, 'GET', exchangeNamed(target, 'met').path), 'exchange_not_found')
    },
  },
  {
    claim: 'an import of what cannot be is refused, and makes nothing',
    async run(target) {
      const queues = [{ name: 'unmade' }]
      for (const [body, code, detail] of [
        ['{', 'json_invalid', /JSON/],
        [[], 'request_invalid', /^the request body must be an object, got \[\]$/],
        [
          { queues, users: [] },
          'request_invalid',
          /unknown field users: known are exchanges, queues, policies, bindings, dryRun$/,
        ],
        [{ queues: {} }, 'request_invalid', /^queues must be an array, got \{\}$/],
        [{ queues: [{}] }, 'request_invalid', /^queues\[0\]\.name must be a string, got nothing$/],
        [{ queues: [{ name: 'a b' }] }, 'request_invalid', /^queues\[0\]\.name must be 1 to 80 letters/],
        [{ queues: [{ name: 'a', ttl: 5 }] }, 'request_invalid', /^queues\[0\] has the unknown field ttl/],
        [
          { queues: [{ name: 'a', rateBurst: 5 }] },
          'request_invalid',
          /^queues\[0\]\.rateBurst must not be given without/,
        ],
        [
          { queues, exchanges: [{ name: 'unmade', type: 'x' }] },
          'request_invalid',
          /^exchanges\[0\]\.type must be direct/,
        ],
        [
          { queues, exchanges: [{ name: 'default' }] },
          'import_conflict',
          /default: exchange must be another than default, which is always there, got default$/,
        ],
        [
          { queues, bindings: [{ source: 'a' }] },
          'request_invalid',
          /^bindings\[0\] must have either a queue or an exchange, got neither$/,
        ],
        [
          { queues, bindings: [{ source: 'absent', queue: 'unmade' }] },
          'import_conflict',
          /exchange "absent" does not exist$/,
        ],
        [
          { queues: [...queues, { name: 'b', deadLetterQueue: 'absent' }] },
          'import_conflict',
          /because of queue "b": deadLetterQueue/,
        ],
        [
          { queues, policies: [{ name: 'p', pattern: '%', settings: {} }] },
          'request_invalid',
          /^policies\[0\]\.pattern must be/,
        ],
        [
          { queues: [...queues, { name: 'b' }, ...queues] },
          'request_invalid',
          /^queues\[2\]\.name must be another than those before it, got "unmade"$/,
        ],
        [
          { queues, exchanges: [{ name: 'a', type: 'topic' }, { name: 'a' }] },
          'request_invalid',
          /^exchanges\[1\]\.name must be another/,
        ],
        [
          { queues: Array.from({ length: 10_001 }, () => queues[0]) },
          'batch_too_large',
          /must have at most 10000 .*, got 10001$/,
        ],
      ] as const) {
        assertProblem(await post(target, body), code, detail)
      }

      assertProblem(await call(target, 'GET', queueNamed(target, 'unmade').path), 'queue_not_found')
    },
  },
  {
    claim: 'imports are for admins',
    async run(target) {
      const token = await tokenFor(target, ['send:*', 'receive:*', 'publish:*'])

      assertProblem(await call(target, 'POST', '/v1/import', { body: {}, token }), 'scope_missing', /admin/)
    },
  },
]
