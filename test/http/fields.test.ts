/* What error messages show of what was given. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { shown } from '../../src/http/fields.ts'

/** Its JSON, of which the beginning is shown. */
function cut(value: unknown): string {
  const text = JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}

test('of any JSON value the beginning of its JSON is shown', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      // (As parsed: only there are fields called __proto__ what they look like.)
      const parsed = JSON.parse(JSON.stringify(value))
      assert.equal(shown(parsed), cut(parsed))
    }),
    { numRuns: 3000 },
  )
  assert.equal(shown(undefined), 'nothing')
})

test('of many fields, long strings and many elements, too', () => {
  for (const value of ['x'.repeat(1000), Array(1000).fill(1), { ['x'.repeat(200)]: 1 }, [[], [Array(100).fill([])]]])
    assert.equal(shown(value), cut(value))
})

test('of what is nested too deep to be written the beginning is shown, as of anything', () => {
  const deep = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)

  assert.equal(shown(deep), `${'['.repeat(77)}…`)
})

test('of a number that JSON has no word for its name is shown', () => {
  assert.deepEqual(
    [Infinity, -Infinity, Number.NaN].map((value) => shown(value)),
    ['Infinity', '-Infinity', 'NaN'],
  )
})
