/* Option values: times, numbers, headers and addresses, and what is none. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { collected, duration, header, httpUrl, portNumber, wholeNumber } from '../../src/cli/values.ts'

describe('a time', () => {
  for (const [text, seconds] of [
    ['30', 30],
    ['0', 0],
    ['1.5', 1.5],
    ['500ms', 0.5],
    ['45s', 45],
    ['5m', 300],
    ['12h', 43_200],
    ['30d', 2_592_000],
  ] as const) {
    test(`of ${text} is ${seconds} seconds`, () => assert.equal(duration(text), seconds))
  }

  for (const text of ['', 'soon', '-1', '1 h', '5min', '1e3', '٣', 'Infinity']) {
    test(`is not ${JSON.stringify(text)}`, () => assert.throws(() => duration(text), /must be a time such as/))
  }
})

describe('a number', () => {
  test('is whole, and at most so large that it is exact', () => {
    assert.equal(wholeNumber('0'), 0)
    assert.equal(wholeNumber('1000'), 1000)
    for (const text of ['', '-1', '1.5', '1e3', '0x10', '9'.repeat(16)]) assert.throws(() => wholeNumber(text))
  })

  test('of a port is at most 65535', () => {
    assert.equal(portNumber('65535'), 65_535)
    assert.throws(() => portNumber('65536'), /between 0 and 65535/)
  })
})

describe('a header', () => {
  test('is a name and a value, and joins those before it', () => {
    assert.deepEqual(header('b=2=3', header('a=')), { a: '', b: '2=3' })
  })

  test('has a name', () => {
    for (const text of ['', 'a', '=b']) assert.throws(() => header(text), /a name and a value/)
  })
})

test('what may be given several times is collected', () => {
  assert.deepEqual(collected('b', collected('a')), ['a', 'b'])
})

test('an address begins with http: or https:, or is not given', () => {
  for (const text of ['http://127.0.0.1:8787', 'https://example.com/queues', '']) assert.equal(httpUrl(text), text)
  for (const text of ['127.0.0.1:8787', 'localhost', 'postgres://localhost/x', '/v1']) {
    assert.throws(() => httpUrl(text), /must be an address/)
  }
})
