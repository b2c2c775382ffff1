/* What a snapshot tells of who was open: also those that it does not list. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openBefore } from '../../src/wakeup/snapshot.ts'

for (const [snapshot, open, why] of [
  ['20:20:', 0, 'all have ended'],
  ['10:15:10', 6, 'one is listed, and those from 15 to 19 lie above'],
  ['10:20:10,12,19', 3, 'all are listed'],
  ['10:30:10,25', 1, 'what is newer does not count'],
  ['18446744073709551615:18446744073709551615:', 0, 'ids have 64 bits'],
] as const) {
  test(`before 20 ${open} are open in ${snapshot}: ${why}`, () => {
    assert.equal(openBefore(snapshot, 20n), open)
  })
}
