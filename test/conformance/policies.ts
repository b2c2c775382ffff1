/* Policies: settings of queues by the pattern of their names. Each case has a pattern of its own: they run side by side. */
import assert from 'node:assert/strict'
import type { PolicyInfo, PolicyListResponse, QueueInfo } from '../../src/wire.ts'
import { assertProblem, type Case, call, json, type Target, tokenFor } from './target.ts'
import { queueNamed } from './test-queue.ts'

const put = (target: Target, name: string, body: object) => call(target, 'PUT', `/v1/policies/${name}`, { body })
const created = async (target: Target, queue: string, body: object = {}) =>
  json<QueueInfo>(await call(target, 'PUT', queueNamed(target, queue).path, { body }), 201)
const described = async (target: Target, queue: string) =>
  json<QueueInfo>(await call(target, 'GET', queueNamed(target, queue).path))

const settings = {
  order: 'lifo',
  maxPriority: 4,
  leaseSeconds: 7.5,
  ttlSeconds: 0.25,
  maxAttempts: null,
  retryBackoff: 'exponential',
  maxBytes: 1_125_899_906_842_624,
  ratePerSecond: 0.125,
}

export const policyCases: readonly Case[] = [
  {
    claim:
      'a policy is created with 201 and replaced with 200, comes back as it was given, and is gone when it is deleted',
    async run(target) {
      const path = '/v1/policies/Round.trip_1'
      await created(target, 'round.trip.a')

      const first = json<PolicyInfo>(await put(target, 'Round.trip_1', { pattern: 'round.trip.*', settings }), 201)
      const { createdAt, updatedAt, ...rest } = first
      assert.deepEqual(rest, { name: 'Round.trip_1', pattern: 'round.trip.*', settings, matchingQueues: 1 })
      assert.equal(createdAt, updatedAt)
      assert.deepEqual(json(await call(target, 'GET', path)), first)
      const second = json<PolicyInfo>(await put(target, 'Round.trip_1', { pattern: 'round.trip', settings: {} }), 200)
      assert.deepEqual([second.settings, second.matchingQueues, second.createdAt], [{}, 0, createdAt])
      assert.deepEqual(json(await call(target, 'DELETE', path)), { matchingQueues: 0 })

      for (const method of ['GET', 'DELETE']) assertProblem(await call(target, method, path), 'policy_not_found')
    },
  },
  {
    claim: 'a queue has what it says itself, else what the most specific policy says, else the default; and says which',
    async run(target) {
      await put(target, 'wide', { pattern: 'wide*', settings: { ttlSeconds: 60, leaseSeconds: 5, maxMessages: 9 } })
      await put(target, 'narrow', { pattern: 'wide.narrow.*', settings: { leaseSeconds: 6, delaySeconds: 7 } })

      const info = await created(target, 'wide.narrow.a', { delaySeconds: 0, maxMessages: null })

      assert.deepEqual(
        [info.ttlSeconds, info.leaseSeconds, info.delaySeconds, info.maxMessages, info.retryDelaySeconds],
        [60, 6, 0, undefined, 0],
      )
      assert.deepEqual(info.origins, {
        ttlSeconds: 'policy wide',
        leaseSeconds: 'policy narrow',
        delaySeconds: 'queue',
        maxMessages: 'queue',
      })
      assert.deepEqual(await described(target, 'wide.narrow.a'), info)
    },
  },
  {
    claim: 'queues that are there follow a policy when it comes and when it goes',
    async run(target) {
      await created(target, 'followed')
      const queue = queueNamed(target, 'followed')

      json(await put(target, 'follows', { pattern: 'followed', settings: { maxMessages: 1 } }), 201)
      await queue.send({ body: 1 })
      assertProblem(await queue.post('messages', { body: { body: 2 } }), 'queue_full')
      assert.deepEqual(json(await call(target, 'DELETE', '/v1/policies/follows')), { matchingQueues: 1 })

      await queue.send({ body: 2 })
      assert.deepEqual((await described(target, 'followed')).origins, {})
    },
  },
  {
    claim: 'policies are listed, the most specific first',
    async run(target) {
      for (const [name, pattern] of [
        ['listed-1', 'listed*'],
        ['listed-2', 'listed.a'],
        ['listed-3', 'listed.*'],
      ] as const) {
        json(await put(target, name, { pattern, settings: {} }), 201)
      }

      const { policies } = json<PolicyListResponse>(await call(target, 'GET', '/v1/policies'))

      const ours = policies.map(({ name }) => name).filter((name) => name.startsWith('listed-'))
      assert.deepEqual(ours, ['listed-2', 'listed-3', 'listed-1'])
    },
  },
  {
    claim: 'a policy with what it cannot say is refused, and there is none',
    async run(target) {
      for (const [body, detail] of [
        [{ settings: {} }, /^pattern must be a string, got nothing$/],
        [{ pattern: 'a*' }, /^settings must be an object, got nothing$/],
        [{ pattern: '', settings: {} }, /^pattern must be 1 to 80 letters.*got ""$/],
        [{ pattern: 'a%', settings: {} }, /^pattern must be 1 to 80 letters.*got "a%"$/],
        [{ pattern: '*'.repeat(81), settings: {} }, /^pattern must be 1 to 80 letters/],
        [{ pattern: 'a*', settings: { ttl: 5 } }, /^settings has the unknown field ttl: known are .*ttlSeconds/],
        [{ pattern: 'a*', settings: { durability: 'full' } }, /^settings has the unknown field durability/],
        [{ pattern: 'a*', settings: {}, priority: 1 }, /^the request body has the unknown field priority/],
        [{ pattern: 'a*', settings: { leaseSeconds: 43_201 } }, /^settings.leaseSeconds must be between 0 and 43200/],
        [{ pattern: 'a*', settings: { leaseSeconds: null } }, /^settings.leaseSeconds must be a number, got null$/],
        [{ pattern: 'a*', settings: { rateBurst: 5 } }, /^settings.rateBurst must not be given without ratePerSecond/],
        [
          { pattern: 'a*', settings: { deadLetterQueue: 'nobody-made' } },
          /^deadLetterQueue must be a queue that exists/,
        ],
      ] as const) {
        assertProblem(await put(target, 'refused', body), 'request_invalid', detail)
      }

      assertProblem(await call(target, 'GET', '/v1/policies/refused'), 'policy_not_found', /"refused" does not exist/)
      assertProblem(
        await put(target, '-', { pattern: 'a', settings: {} }),
        'request_invalid',
        /^policy must be 1 to 80/,
      )
    },
  },
  {
    claim: 'a policy that one queue cannot have is refused with the name of the queue',
    async run(target) {
      await created(target, 'unfit.dead')
      await created(target, 'unfit.volatile', { durability: 'volatile' })

      const answer = await put(target, 'unfit', { pattern: 'unfit.*', settings: { deadLetterQueue: 'unfit.dead' } })

      assertProblem(answer, 'request_invalid', /queue "unfit.volatile" does not: deadLetterQueue must be/)
      assert.deepEqual((await described(target, 'unfit.dead')).origins, {})
    },
  },
  {
    claim: 'policies are for admins',
    async run(target) {
      const token = await tokenFor(target, ['send:*', 'receive:*'])

      for (const [method, path] of [
        ['GET', ''],
        ['GET', '/any'],
        ['PUT', '/any'],
        ['DELETE', '/any'],
      ] as const) {
        assertProblem(await call(target, method, `/v1/policies${path}`, { token }), 'scope_missing', /scope admin/)
      }
    },
  },
]
