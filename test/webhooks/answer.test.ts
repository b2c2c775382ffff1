/* What is kept of an answer. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { headOf, keepBody } from '../../src/webhooks/answer.ts'

const now = new Date(0)
const bytes = (text: string) => new TextEncoder().encode(text)

describe('the headers that are kept', () => {
  test('have their names in lower case, and one value each', () => {
    const { headers, areHeadersCut } = headOf(
      200,
      [
        ['X-A', '1'],
        ['x-a', '2'],
        ['Via', 'b\x7f'],
      ],
      now,
    )

    assert.deepEqual(headers, { 'x-a': '1, 2', via: 'b\ufffd' })
    assert.equal(areHeadersCut, false)
  })

  test('are no more than 64, and no more than 8 KiB', () => {
    const many = Array.from({ length: 65 }, (_, at) => [`x-${at}`, ''] as const)
    const large = [
      ['a', 'x'.repeat(8000)],
      ['b', 'x'.repeat(200)],
      ['c', 'x'.repeat(100)],
    ] as const

    assert.deepEqual(
      [Object.keys(headOf(200, many, now).headers).length, headOf(200, many, now).areHeadersCut],
      [64, true],
    )
    assert.deepEqual(
      [Object.keys(headOf(200, large, now).headers), headOf(200, large, now).areHeadersCut],
      [['a', 'c'], true],
    )
  })

  test('may be called like what every object has', () => {
    assert.deepEqual(
      Object.entries(
        headOf(
          200,
          [
            ['__proto__', 'a'],
            ['constructor', 'b'],
          ],
          now,
        ).headers,
      ),
      [
        ['__proto__', 'a'],
        ['constructor', 'b'],
      ],
    )
  })

  test('do not decide about Retry-After, which counts once, even if it is not kept', () => {
    const pairs = [
      ['a', 'x'.repeat(8190)],
      ['Retry-After', '5'],
      ['retry-after', '9'],
    ] as const

    assert.equal(headOf(503, pairs, now).retryAfterSeconds, 5)
  })
})

describe('the body that is kept', () => {
  test('is its first 4 KiB, in however many pieces it comes', () => {
    const body = keepBody()

    assert.equal(body.take(bytes('a'.repeat(4095))), 4095)
    assert.equal(body.isCut, false)
    assert.equal(body.take(bytes('bc')), 4097)
    assert.deepEqual([body.isCut, body.text()], [true, `${'a'.repeat(4095)}b`])
  })

  test('ends before a character that the cut goes through', () => {
    const body = keepBody()
    body.take(bytes(`${'a'.repeat(4095)}ü`))

    assert.equal(body.text(), 'a'.repeat(4095))
  })

  test('is text that can be stored, whatever came', () => {
    const body = keepBody()
    body.take(Uint8Array.from([0, 0xff, 0x61, 0xed, 0xa0, 0x80]))

    assert.match(body.text(), /^\ufffd\ufffda\ufffd+$/)
  })
})
