/* Attribute values survive the HTTP headers of binary mode, whatever they are. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeHeader, encodeHeader } from '../../src/http/event-header.ts'

const value = fc.string({
  unit: fc.oneof(
    fc.constantFrom('%', '"', '\\', ' ', ',', '%2', '%41', 'é', '👋', '\u2028'),
    fc.string({ unit: 'binary' }),
  ),
})

test('every well-formed text comes back as it was, and travels as printable ASCII that Headers leave as it is', () => {
  fc.assert(
    fc.property(value, (text) => {
      const encoded = encodeHeader(text)

      assert.match(encoded, /^[!#-~]*$/)
      assert.equal(new Headers({ 'ce-x': encoded }).get('ce-x'), encoded)
      assert.equal(decodeHeader(encoded), text)
    }),
    { numRuns: 1000 },
  )
})

const decoded: readonly (readonly [header: string, text: string, what: string])[] = [
  ['Euro%20%E2%82%AC%20%F0%9F%98%80', 'Euro € 😀', 'the example of the standard'],
  ['%e2%82%ac', '€', 'small hexadecimal digits'],
  ['"a \\"quoted\\" %22value%22"', 'a "quoted" "value"', 'quotes, then percent signs'],
  ['%2541', '%41', 'one round only'],
  ['100%, %zz', '100%, %zz', 'a percent sign that encodes nothing'],
  ['Gr\xc3\xbc\xc3\x9fe', 'Grüße', 'raw bytes of UTF-8'],
  ['Grüße 日本%21', 'Grüße 日本!', 'what a platform has decoded'],
]
for (const [header, text, what] of decoded) {
  test(`reads ${what}: ${JSON.stringify(header)}`, () => assert.equal(decodeHeader(header), text))
}

test('bytes that are not UTF-8 are refused', () => {
  for (const header of ['%FF', '%C3', 'gr\xfc']) assert.throws(() => decodeHeader(header), TypeError)
})
