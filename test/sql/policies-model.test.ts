/* Policies and queues at random, against a naive model: for each setting, the most specific of all who match and say it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { allows } from '../../src/http/token.ts'
import { createDatabase } from '../support/database.ts'
import { type Info, policiesOf } from '../support/sql-policies.ts'
import { runsOf } from '../support/sql-property.ts'
import { call } from '../support/sql-verbs.ts'

const db = await createDatabase()
const { setPolicy, deletePolicy, create, inTransaction } = policiesOf(db)

type Said = Readonly<Record<string, number | null>>
type ModelPolicy = { readonly pattern: string; readonly settings: Said }

function expected(queue: string, explicit: Said, policies: ReadonlyMap<string, ModelPolicy>, setting: string) {
  if (setting in explicit) return [explicit[setting], 'queue']
  let best: [name: string, policy: ModelPolicy] | undefined
  for (const [name, policy] of policies) {
    // The one meaning of *: that of a token's scope.
    if (!allows([`send:${policy.pattern}`], 'send', queue) || !(setting in policy.settings)) continue
    if (!best || isMoreSpecific([name, policy.pattern], [best[0], best[1].pattern])) best = [name, policy]
  }
  return best ? [best[1].settings[setting], `policy ${best[0]}`] : [setting === 'lease' ? 30 : null, undefined]
}

function isMoreSpecific([name, pattern]: readonly [string, string], [other, otherPattern]: readonly [string, string]) {
  const rank = (text: string) => {
    const star = text.indexOf('*')
    return [star < 0 ? 1 : 0, star < 0 ? text.length : star, text.replaceAll('*', '').length]
  }
  const [ours, theirs] = [rank(pattern), rank(otherPattern)]
  for (const [index, value] of ours.entries()) if (value !== theirs[index]) return value > (theirs[index] ?? 0)
  return name < other
}

const text = (letters: string, min: number, max: number) =>
  fc.array(fc.constantFrom(...letters), { minLength: min, maxLength: max }).map((list) => list.join(''))
const said = fc.record(
  {
    lease: fc.integer({ min: 1, max: 99 }),
    ttl: fc.option(fc.integer({ min: 1, max: 99 }), { nil: null }),
    max_attempts: fc.option(fc.integer({ min: 1, max: 99 }), { nil: null }),
  },
  { requiredKeys: [] },
)
const step = fc.oneof(
  fc.record({
    kind: fc.constant('create' as const),
    queue: text('ab.', 0, 3).map((rest) => `q${rest}`),
    settings: said,
  }),
  fc.record({
    kind: fc.constant('set' as const),
    policy: fc.constantFrom('P1', 'p2', 'p3', 'p10'),
    pattern: text('qab.*', 1, 4),
    settings: said,
  }),
  fc.record({ kind: fc.constant('delete' as const), policy: fc.constantFrom('P1', 'p2', 'p3', 'p10') }),
)

test('whatever policies and queues come and go, each setting is what the most specific says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
      const policies = new Map<string, ModelPolicy>()
      const queues = new Map<string, Said>()
      const session = await inTransaction((fresh) =>
        fresh.query('delete from postbag.policy; delete from postbag.queue'),
      )
      for (const one of steps) {
        if (one.kind === 'create') {
          queues.set(one.queue, one.settings)
          const given = Object.entries(one.settings).filter(([, value]) => value !== null)
          const without = Object.entries(one.settings).flatMap(([name, value]) => (value === null ? [name] : []))
          const args = given.map(([name, value]) => [name, name === 'max_attempts' ? value : `${value} s`])
          await create(one.queue, { ...Object.fromEntries(args), without }, session)
        } else if (one.kind === 'set') {
          policies.set(one.policy, one)
          await setPolicy(one.policy, one.pattern, one.settings, session)
        } else if (policies.delete(one.policy)) {
          await deletePolicy(one.policy, session)
        }
      }
      const found = await call<Info>(session, 'list_queues', { prefix: 'q' })
      await session.query('rollback')
      await session.end()

      assert.deepEqual(found.map(({ name }) => name).sort(), [...queues.keys()].sort())
      for (const info of found) {
        for (const [setting, column] of [
          ['lease', 'lease_seconds'],
          ['ttl', 'ttl_seconds'],
          ['max_attempts', 'max_attempts'],
        ] as const) {
          assert.deepEqual(
            [info[column], info.origins[setting]],
            expected(info.name, queues.get(info.name) ?? {}, policies, setting),
            `${setting} of ${info.name}`,
          )
        }
      }
    }),
    runsOf(60),
  )
})
