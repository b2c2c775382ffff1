/* What a message's columns become in an answer. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isoTime } from '../../src/queue/message.ts'

test('a time is written as ISO 8601 in UTC, to the millisecond', () => {
  fc.assert(
    fc.property(fc.date({ noInvalidDate: true, min: new Date(-8e12), max: new Date(8e12) }), (time) => {
      assert.equal(isoTime(time), time.toISOString())
      assert.equal(isoTime(time.toISOString()), time.toISOString())
    }),
    { numRuns: 3000 },
  )
})

test('a time that is none is refused', () => {
  assert.throws(() => isoTime('never'), RangeError)
})
