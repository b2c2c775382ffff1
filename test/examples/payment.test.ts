/* A payment is made exactly once, wherever its consumer is killed or cut off from its databases: at each step of its traffic in turn,
 * and then a fresh consumer comes. The same is tried with consumers that do it wrong, so as to see that it would be noticed. */
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { atEveryStep, createWorld, type Outcome, type World } from './payment/world.ts'

const worlds: World[] = []

before(async () => {
  worlds.push(...(await Promise.all(['one', 'two', 'three'].map(createWorld))))
})

/** What each consumer says to the world between its first word and its last, for one payment. */
const consumers = {
  'same-database': ['postbag.receive', 'begin', 'insert into', 'update', 'postbag.ack', 'commit'],
  inbox: ['postbag.receive', 'begin', 'postbag.inbox', 'insert into', 'update', 'commit', 'postbag.ack'],
  provider: ['postbag.receive', 'POST', 'begin', 'insert into', 'update', 'postbag.ack', 'commit'],
}

for (const [name, words] of Object.entries(consumers)) {
  describe(`payment/${name}: a payment is made exactly once though the consumer`, () => {
    test('is killed at any step', async (t) => {
      const outcomes = await atEveryStep(worlds, (world, step) => world.killed(name, step))

      t.diagnostic(`${outcomes.length} consumers`)
      madeOnce(name, outcomes)
      stoppedAtEach(words, outcomes)
    })

    test('loses its sessions at any step', async (t) => {
      const outcomes = await atEveryStep(worlds, (world, step) => world.cutOff(name, step))

      t.diagnostic(`${outcomes.length} consumers`)
      madeOnce(name, outcomes)
      stoppedAtEach(words, outcomes)
    })
  })
}

test('a consumer that acks after its commit pays twice', async () => {
  const outcomes = await atEveryStep(worlds, (world, step) => world.killed('acks-after', step))

  assert.deepEqual([...new Set(outcomes.map(({ booked }) => booked))].sort(), [1, 2])
})

test('a consumer that acks before its work loses the payment', async () => {
  const outcomes = await atEveryStep(worlds, (world, step) => world.cutOff('acks-before', step))

  assert.deepEqual([...new Set(outcomes.map(({ booked }) => booked))].sort(), [0, 1])
})

function madeOnce(consumer: string, outcomes: readonly Outcome[]): void {
  const charged = consumer === 'provider' ? 1 : 0
  for (const [index, { stoppedAt, ...outcome }] of outcomes.entries())
    assert.deepEqual(outcome, { booked: 1, balance: 5, left: 0, charged }, `stopped at step ${index + 1}: ${stoppedAt}`)
}

/** It was stopped after each of its words was sent, and after each was answered; at no step twice, and none was left out. */
function stoppedAtEach(words: readonly string[], outcomes: readonly Outcome[]): void {
  const steps = outcomes.map(({ stoppedAt }) => stoppedAt)
  const ends = steps.indexOf(undefined)
  assert.ok(steps.slice(ends).every((step) => step === undefined))
  const begin = steps.indexOf('sent postbag.receive')
  assert.ok(begin > 0)
  const expected = words.flatMap((word) => [`sent ${word}`, `answered ${word}`])
  assert.deepEqual(steps.slice(begin, begin + expected.length), expected)
}
