/* What becomes of a body that a person or a pipe gives: JSON, text or bytes, and never anything else than what was given. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  argumentBody,
  BadBody,
  fileBody,
  messageJson,
  ndjsonBody,
  plainBody,
  type WireBody,
} from '../../src/cli/body.ts'

const bytes = (text: string) => Buffer.from(text)
const oddBytes = Uint8Array.from([0xff, 0, 0xc3, 0x28])

/** What a receiver gets. */
function received({ encoding, json }: WireBody): Buffer {
  if (encoding === 'json') return Buffer.from(json)
  return Buffer.from(JSON.parse(json), encoding === 'text' ? 'utf8' : 'base64')
}

describe('an argument', () => {
  for (const text of [
    '{"id": 1.0}',
    '[1, 2]',
    '"quoted"',
    '42',
    'true',
    'null',
    ' {"a":1} ',
    '-0',
    '12345678901234567890',
  ]) {
    test(`that is JSON is JSON as it stands: ${text}`, () => {
      assert.deepEqual(argumentBody(text), { encoding: 'json', json: text })
    })
  }

  for (const text of ['hello', 'Hello World!', '', '007', 'True', "it's", '1,2', '😀', 'a "b"']) {
    test(`that is no JSON is text: ${JSON.stringify(text)}`, () => {
      assert.deepEqual(argumentBody(text), { encoding: 'text', json: JSON.stringify(text) })
    })
  }

  for (const text of ['{"id": 1', '{id: 1}', '[1, 2', '"open', '  {']) {
    test(`that only begins like JSON is refused: ${text}`, () => {
      assert.throws(
        () => argumentBody(text),
        (error) => error instanceof BadBody && /--text/.test(error.message),
      )
    })
  }
})

describe('a file', () => {
  test('is JSON or text like an argument', () => {
    assert.equal(fileBody(bytes('{"a":1}')).encoding, 'json')
    assert.equal(fileBody(bytes('Dear all')).encoding, 'text')
  })

  test('that no text column can hold is bytes', () => {
    for (const content of [oddBytes, bytes('a\0b')]) {
      const body = fileBody(content)
      assert.equal(body.encoding, 'base64')
      assert.deepEqual(received(body), Buffer.from(content))
    }
  })
})

describe('a line of NDJSON', () => {
  test('is JSON as it stands', () => {
    assert.deepEqual(ndjsonBody(bytes('{"a": 1.0 }\r')), { encoding: 'json', json: '{"a": 1.0 }\r' })
  })

  test('is refused if it is anything else', () => {
    assert.throws(() => ndjsonBody(bytes('hello')), /is not JSON \(.*\): --lines/)
    assert.throws(() => ndjsonBody(oddBytes), /not UTF-8 text: --lines/)
    assert.throws(() => ndjsonBody(bytes('\ufeff{}')), BadBody)
  })

  test('is not quoted at length when it is refused', () => {
    assert.throws(
      () => ndjsonBody(bytes('x'.repeat(10_000))),
      ({ message }: Error) => message.length < 300,
    )
  })
})

test('any line comes back byte for byte', () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), fc.string({ unit: 'binary' }).map(bytes)), (line) => {
      assert.deepEqual(received(plainBody(line)), Buffer.from(line))
    }),
  )
})

test('a message holds its body as it stands, behind its options', () => {
  const body: WireBody = { encoding: 'json', json: '{"a": 1.0}' }

  assert.equal(
    messageJson(body, { type: 'x', priority: 3 }),
    '{"type":"x","priority":3,"encoding":"json","body":{"a": 1.0}}',
  )
})
