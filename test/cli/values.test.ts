/* Option values: times, numbers, headers and addresses, and what is none. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  bytes,
  collected,
  duration,
  fraction,
  header,
  httpUrl,
  instant,
  oneOf,
  portNumber,
  rate,
  wholeNumber,
} from '../../src/cli/values.ts'

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

describe('a point in time', () => {
  for (const [text, time] of [
    ['2026-12-24T08:00Z', '2026-12-24T08:00:00.000Z'],
    ['2026-12-24T08:00:30.5+01:00', '2026-12-24T07:00:30.500Z'],
    ['2028-02-29T08:00Z', '2028-02-29T08:00:00.000Z'],
    ['2026-12-24T08:00', new Date(2026, 11, 24, 8).toISOString()],
  ] as const) {
    test(`is ${text}, in UTC`, () => assert.equal(instant(text), time))
  }

  const noDates = [
    '2027-02-31T00:00Z',
    '2027-02-31T00:00',
    '2027-02-29T00:00+01:00',
    '2026-04-31T12:00',
    '2026-04-00T12:00Z',
  ]
  for (const text of ['', 'tomorrow', '2026-12-24', '2026-13-24T08:00Z', '08:00', '1766563200', ...noDates]) {
    test(`is not ${JSON.stringify(text)}`, () => assert.throws(() => instant(text), /must be a time such as/))
  }
})

describe('a rate', () => {
  for (const [text, perSecond] of [
    ['10', 10],
    ['0.5', 0.5],
    ['10/s', 10],
    ['600/m', 10],
    ['1800/h', 0.5],
    ['86400/d', 1],
  ] as const) {
    test(`of ${text} is ${perSecond} in a second`, () => assert.equal(rate(text), perSecond))
  }

  for (const text of ['', '-1', '10/w', '10 /s', 'fast', '/s']) {
    test(`is not ${JSON.stringify(text)}`, () => assert.throws(() => rate(text), /must be a rate such as/))
  }
})

describe('a size', () => {
  for (const [text, size] of [
    ['500', 500],
    ['64KiB', 65_536],
    ['10MiB', 10_485_760],
    ['2GiB', 2_147_483_648],
    ['1024TiB', 1_125_899_906_842_624],
  ] as const) {
    test(`of ${text} is ${size} bytes`, () => assert.equal(bytes(text), size))
  }

  for (const text of ['', '-1', '1.5', '10MB', '10 MiB', 'large']) {
    test(`is not ${JSON.stringify(text)}`, () => assert.throws(() => bytes(text), /must be a size such as/))
  }
})

test('a fraction is a number such as 0.5', () => {
  assert.deepEqual(['0', '0.25', '1'].map(fraction), [0, 0.25, 1])
  for (const text of ['', '.5', '50%', '-0.5', 'half']) assert.throws(() => fraction(text), /a number such as 0\.5/)
})

test('a choice is one of its values', () => {
  const order = oneOf(['fifo', 'lifo'])

  assert.equal(order('lifo'), 'lifo')
  assert.throws(() => order('filo'), /one of fifo, lifo/)
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
