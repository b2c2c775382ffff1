/* What a message's columns become in an answer. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isoTime, liftedHeaders } from '../../src/queue/message.ts'

test('a time is written as ISO 8601 in UTC, to the millisecond', () => {
  fc.assert(
    fc.property(fc.date({ noInvalidDate: true, min: new Date(-8e12), max: new Date(8e12) }), (time) => {
      assert.equal(isoTime(time), time.toISOString())
      assert.equal(isoTime(time.toISOString()), time.toISOString())
    }),
    { numRuns: 3000 },
  )
})

test('a time in seconds is the same to the millisecond as a timestamp: every microsecond, its last before the next', () => {
  const second = fc.integer({ min: 0, max: Date.parse('2100-01-01') / 1000 })
  const microsecond = fc.oneof(
    fc.integer({ min: 0, max: 999_999 }),
    fc.integer({ min: 0, max: 999 }).chain((millis) => fc.constantFrom(millis * 1000, millis * 1000 + 999)),
  )
  fc.assert(
    fc.property(second, microsecond, (seconds, micros) => {
      const written = new Date(seconds * 1000 + Math.floor(micros / 1000)).toISOString()

      assert.equal(isoTime((seconds * 1e6 + micros) / 1e6), written)
    }),
    { numRuns: 3000 },
  )
})

test('a time that is none is refused', () => {
  assert.throws(() => isoTime('never'), RangeError)
})

test('fields that are kept among the headers are shown as fields, and the other headers as they are', () => {
  const named = fc.record(
    { 'postbag-correlation-id': fc.string(), 'postbag-reply-to': fc.string() },
    { requiredKeys: [], noNullPrototype: true },
  )
  fc.assert(
    fc.property(
      fc.dictionary(fc.string({ maxLength: 5 }), fc.string(), { noNullPrototype: true }),
      named,
      (headers, fields) => {
        const stored = { ...headers, ...fields }

        const { headers: shown, correlationId, replyTo, ...rest } = liftedHeaders(stored)

        assert.deepEqual(shown, headers)
        assert.deepEqual([correlationId, replyTo], [fields['postbag-correlation-id'], fields['postbag-reply-to']])
        assert.deepEqual(rest, {})
        assert.deepEqual(stored, { ...headers, ...fields })
      },
    ),
  )
  assert.deepEqual(liftedHeaders(null), { headers: {} })
})
