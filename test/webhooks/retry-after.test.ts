/* What Retry-After asks for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { retryAfterSeconds } from '../../src/webhooks/retry-after.ts'

const now = new Date('1994-11-06T08:49:30Z')

const values: [value: string | undefined, seconds: number | undefined][] = [
  [undefined, undefined],
  ['', undefined],
  ['0', 0],
  [' 120 ', 120],
  ['86401', 86_400],
  ['99999999999999', 86_400],
  ['-1', undefined],
  ['1.5', undefined],
  ['soon', undefined],
  ['1e3', undefined],
  ['Sun, 06 Nov 1994 08:49:37 GMT', 7],
  ['Sunday, 06-Nov-94 08:49:37 GMT', 7],
  ['Sun Nov  6 08:49:37 1994', 7],
  ['Sun, 06 Nov 1994 08:49:29 GMT', 0],
  ['Sun, 06 Nov 2050 08:49:37 GMT', 86_400],
  ['Saturday, 06-Nov-93 08:49:37 GMT', 0],
  ['Sun, 99 Nov 1994 08:49:37 GMT', undefined],
  ['Sun, 06 Nov 1994 08:49:37', undefined],
  ['1994-11-06T08:49:37Z', undefined],
]

for (const [value, seconds] of values) {
  test(`Retry-After ${JSON.stringify(value)} asks for ${seconds} seconds`, () => {
    assert.equal(retryAfterSeconds(value, now), seconds)
  })
}
