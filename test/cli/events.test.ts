/* The generated input is what the runs on it say it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { binaryLine, eventLine } from './events.ts'

test('events are NDJSON lines of 200 to 2,000 bytes that printing anew would change', () => {
  const sizes: number[] = []
  let changed = 0
  for (let number = 0; number < 2000; number++) {
    const line = eventLine(number)
    assert.equal(JSON.parse(line).event, number)
    assert.ok(!line.includes('\n'))
    if (JSON.stringify(JSON.parse(line)) !== line) changed++
    sizes.push(Buffer.byteLength(line))
  }

  assert.ok(Math.min(...sizes) >= 200 && Math.max(...sizes) <= 2000, `${Math.min(...sizes)} – ${Math.max(...sizes)}`)
  assert.ok(changed > 1500, `${changed}`)
})

test('binary lines are no text, and one line', () => {
  for (let number = 0; number < 100; number++) {
    const line = Buffer.from(binaryLine(number))
    assert.ok(!line.includes(10))
    assert.throws(() => new TextDecoder('utf-8', { fatal: true }).decode(line))
  }
})
