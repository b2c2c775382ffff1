/* Policies through the client, against the real server; and through the handle, in its own transaction. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { postbag } from '../../src/index.ts'
import { createDatabase } from '../support/database.ts'
import { type RealServer, startRealServer } from './real-server.ts'

let real: RealServer

before(async () => {
  real = await startRealServer()
})

test('a policy is set, shown, listed and deleted, and its queues say where a setting comes from', async () => {
  const orders = real.client.queue('policed.a')
  await orders.create({ delaySeconds: 3 })
  const policy = real.client.policy('policed')

  const set = await policy.set({
    pattern: 'policed.*',
    settings: { ttlSeconds: 60, delaySeconds: 4, maxAttempts: null },
  })

  assert.deepEqual([set.name, set.pattern, set.matchingQueues], ['policed', 'policed.*', 1])
  assert.deepEqual(set.settings, { ttlSeconds: 60, delaySeconds: 4, maxAttempts: null })
  assert.deepEqual(await policy.info(), set)
  assert.deepEqual(await real.client.policies(), [set])
  const info = await orders.info()
  assert.deepEqual([info.ttlSeconds, info.delaySeconds], [60, 3])
  assert.deepEqual(info.origins, { ttlSeconds: 'policy policed', delaySeconds: 'queue', maxAttempts: 'policy policed' })
  assert.equal(await policy.delete(), 1)
  await assert.rejects(policy.info(), { code: 'policy_not_found' })
  await assert.rejects(policy.delete(), { code: 'policy_not_found' })
})

test('a policy that cannot be is refused', async () => {
  const policy = real.client.policy('refused')

  await assert.rejects(policy.set({ pattern: 'a b', settings: {} }), { code: 'request_invalid', message: /^pattern/ })
  await assert.rejects(policy.set({ pattern: '*', settings: { maxAttempts: 0 } }), { code: 'request_invalid' })
})

test('in a transaction of its caller a policy exists exactly if that commits', async () => {
  const database = await createDatabase()
  const session = await database.connect()
  const [inside, outside] = [postbag({ executor: session }), postbag({ executor: database.pool })]
  await outside.queue('own').create()

  await session.query('begin')
  await inside.policy('own').set({ pattern: 'own', settings: { leaseSeconds: 5 } })
  assert.equal((await inside.queue('own').info()).leaseSeconds, 5)
  await session.query('rollback')

  assert.deepEqual(await outside.policies(), [])
  assert.equal((await outside.queue('own').info()).leaseSeconds, 30)
  await outside.policy('own').set({ pattern: 'own', settings: { leaseSeconds: 5 } })
  assert.equal((await outside.policy('own').info()).matchingQueues, 1)
  assert.equal(await outside.policy('own').delete(), 1)
})
