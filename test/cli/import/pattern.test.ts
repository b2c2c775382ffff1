/* Patterns of RabbitMQ's policies: which can be said with * for any characters, and what they match then. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bySpecificity, matches, starPattern } from '../../../src/cli/import/pattern.ts'

for (const [expression, pattern] of [
  ['', '*'],
  ['^', '*'],
  ['.*', '*'],
  ['^.*$', '*'],
  ['.+', '*'],
  ['^.+$', '*'],
  ['^orders$', 'orders'],
  ['^orders', 'orders*'],
  ['^orders\\.', 'orders.*'],
  ['^orders\\..*$', 'orders.*'],
  ['orders', '*orders*'],
  ['\\.dead$', '*.dead'],
  ['^a.*z$', 'a*z'],
  ['^a\\-b\\_c', 'a-b_c*'],
  ['^amq\\.', 'amq.*'],
] as const) {
  test(`${expression || 'an empty expression'} is ${pattern}`, () => {
    assert.equal(starPattern(expression), pattern)
  })
}

for (const expression of [
  '^$',
  '^orders.',
  '^orders.+',
  '^(a|b)$',
  'a|b',
  '^(?!amq\\.)',
  '^[a-z]+$',
  '^a?b',
  '^ab*',
  '^a{2}',
  '^\\d+$',
  '\\w',
  'a^b',
  'a$b',
  'a\\$',
  '^app:',
  '^.*?$',
  '(?i)orders',
  'x'.repeat(81),
]) {
  test(`${expression.slice(0, 20)} has no counterpart`, () => {
    assert.equal(starPattern(expression), undefined)
  })
}

const letters = fc.string({ unit: fc.constantFrom('a', 'b', '.', '-'), maxLength: 8 })
const expressions = fc
  .tuple(fc.boolean(), fc.array(fc.constantFrom('a', 'b', '\\.', '.*', '-'), { maxLength: 6 }), fc.boolean())
  .map(([fromStart, parts, toEnd]) => `${fromStart ? '^' : ''}${parts.join('')}${toEnd ? '$' : ''}`)

test('what is rewritten matches the very names that the expression matched', () => {
  fc.assert(
    fc.property(expressions, letters, (expression, rest) => {
      const name = `a${rest}`
      const pattern = starPattern(expression)
      fc.pre(pattern !== undefined)

      assert.equal(matches(pattern, name), new RegExp(expression).test(name), `${expression} ${pattern} ${name}`)
    }),
    { numRuns: 2000 },
  )
})

test('patterns come in the order in which Postbag prefers them', () => {
  const preferred = ['orders.eu.new', 'orders.eu.*', 'orders.*.new', 'orders.*', '*']

  const sorted = preferred
    .toReversed()
    .map((pattern) => ({ name: pattern, pattern }))
    .sort(bySpecificity)

  assert.deepEqual(
    sorted.map(({ pattern }) => pattern),
    preferred,
  )
})
