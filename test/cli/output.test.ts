/* How results look to people. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { counted, listed, spoken, table } from '../../src/cli/output.ts'

test('a table has columns as wide as their widest cell', () => {
  assert.equal(
    table(
      ['NAME', 'N'],
      [
        ['a', '1'],
        ['longer', ''],
      ],
    ),
    ['NAME    N', 'a       1', 'longer'].join('\n'),
  )
})

test('a table has nothing that a terminal would obey, and a line for each row', () => {
  const rows = [
    ['\u001b]0;title\u0007', '1'],
    ['a\nb\tc\r', '2'],
    ['\u202eabc', '3'],
    ['\u009b2J', '4'],
  ]

  assert.equal(
    table(['NAME', 'N'], rows),
    ['NAME        N', ' ]0;title   1', 'a b c       2', ' abc        3', ' 2J         4'].join('\n'),
  )
})

test('a list has what is said in one column, and nothing that a terminal would obey', () => {
  assert.equal(
    listed([
      ['id', '1'],
      ['sent at', 'noon\u001b[2J'],
    ]),
    'id       1\nsent at  noon [2J',
  )
})

test('things are counted in words', () => {
  assert.equal(counted(0, 'message'), '0 messages')
  assert.equal(counted(1, 'message'), '1 message')
  assert.equal(counted(100_000, 'message'), '100,000 messages')
})

describe('a time is said in its largest unit', () => {
  for (const [seconds, words] of [
    [0, '0 s'],
    [1.5, '1.5 s'],
    [30, '30 s'],
    [90, '90 s'],
    [300, '5 min'],
    [43_200, '12 h'],
    [86_400, '1 d'],
    [31_536_000, '365 d'],
  ] as const) {
    test(words, () => assert.equal(spoken(seconds), words))
  }
})
