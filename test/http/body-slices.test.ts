/* The slices of bodies are exactly the source text, whatever the JSON around them looks like. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bodySlices } from '../../src/http/body-slices.ts'

test('a body keeps its numbers, spaces and order of keys', () => {
  const body = '{ "b" : 1.0, "a":12345678901234567890 ,"c":[1e400, " } ] \\" "]}'

  assert.deepEqual(bodySlices(`{"messages":[{"type":"x","body":${body}}]}`), [body])
  assert.deepEqual(bodySlices(` { "body" : ${body} , "priority":1 } `), [body])
})

test('a message without a body, and one that is no object, give none', () => {
  assert.deepEqual(bodySlices('{"messages":[{"type":"body"}, 7, {"body":1}, []]}'), [
    undefined,
    undefined,
    '1',
    undefined,
  ])
  assert.deepEqual(bodySlices('{"messages":7}'), [])
  assert.deepEqual(bodySlices('[]'), [undefined])
})

test('a key counts however it is escaped, and the last one if it stands twice', () => {
  assert.deepEqual(bodySlices('{"messages":[{"\\u0062ody":1,"body":2}]}'), ['2'])
})

test('a body inside a body is not taken for one', () => {
  assert.deepEqual(bodySlices('{"messages":[{"headers":{"body":"no"},"body":{"body":"yes"}}]}'), ['{"body":"yes"}'])
})

test('slices are what JSON.parse would see, for any JSON in any layout', () => {
  const layout = fc.constantFrom(undefined, 1, '\t', ' \r\n')
  const messages = fc.array(
    fc.record({ type: fc.string(), body: fc.jsonValue(), headers: fc.dictionary(fc.string(), fc.string()) }),
  )
  fc.assert(
    fc.property(messages, layout, (wanted, space) => {
      const text = JSON.stringify({ messages: wanted }, null, space?.toString().trim() === '' ? '  ' : space)

      const parsed = bodySlices(text).map((slice) => JSON.parse(slice ?? 'undefined'))

      assert.deepEqual(
        parsed,
        JSON.parse(text).messages.map((message: { body: unknown }) => message.body),
      )
    }),
  )
})
