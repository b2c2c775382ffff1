/* What is kept because it takes long to make: each thing once, a bounded number of them, and nothing that failed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { remembering } from '../../src/webhooks/signing/remember.ts'

test('what was made is not made again, until others have taken its place', async () => {
  const made: string[] = []
  const get = remembering(2, async (a: string, b: string) => {
    made.push(`${a}${b}`)
    return `${a}${b}`.toUpperCase()
  })

  const got = await Promise.all([get('a', 'b'), get('a', 'b'), get('ab', ''), get('c', 'd'), get('c', 'd')])
  assert.deepEqual(got, ['AB', 'AB', 'AB', 'CD', 'CD'])
  assert.deepEqual(made, ['ab', 'ab', 'cd'])
  await get('a', 'b')
  assert.deepEqual(made, ['ab', 'ab', 'cd', 'ab'])
})

test('what could not be made is tried again', async () => {
  let fails = true
  const get = remembering(2, async (a: string) => {
    if (fails) throw new Error('not now')
    return a
  })

  await assert.rejects(get('a'), /not now/)
  fails = false
  assert.equal(await get('a'), 'a')
})
