/* Received messages on their way out: as lines, and as bodies, byte for byte. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { bodyBytes, messageLine, receivedOf } from '../../src/cli/received.ts'
import type { ReceivedMessage } from '../../src/wire.ts'

/** An answer with one message. */
function answer(encoding: string, body: string) {
  const text = `{"messages":[{"id":"1","encoding":"${encoding}","headers":{},"body":${body}}]}`
  const { messages } = JSON.parse(text) as { messages: readonly ReceivedMessage[] }
  const [only] = receivedOf(messages, text)
  assert.ok(only)
  return only
}

describe('a message as a line', () => {
  test('has its JSON body as it was sent', () => {
    const body = '{"a": 1.0, "b":12345678901234567890,"a":"\\u00e9 }"}'

    assert.equal(messageLine(answer('json', body)), `{"id":"1","encoding":"json","headers":{},"body":${body}}`)
  })

  test('is one line, also when the body is several', () => {
    const line = messageLine(answer('json', '{\r\n  "a": "x\\ny"\n}'))

    assert.doesNotMatch(line, /[\r\n]/)
    assert.deepEqual(JSON.parse(line).body, { a: 'x\ny' })
  })
})

describe('a body alone', () => {
  for (const [encoding, body, expected] of [
    ['json', '{\n "a": 1.0 }', '{\n "a": 1.0 }'],
    ['json', '"quoted"', '"quoted"'],
    ['text', '"two\\nlines \\ud83d\\ude00"', 'two\nlines 😀'],
    ['text', '""', ''],
  ] as const) {
    test(`is what was sent: ${encoding} ${JSON.stringify(expected)}`, () => {
      assert.equal(String(bodyBytes(answer(encoding, body))), expected)
    })
  }

  test('is the bytes that were sent', () => {
    assert.deepEqual([...bodyBytes(answer('base64', '"/wAK"'))], [255, 0, 10])
  })
})
