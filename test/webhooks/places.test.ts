/* Who has a place among the attempts of a deliverer, and who has to wait: endpoints that do not answer leave room for the others. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { maxBytesUnderWay, maxTrustedEndpoints } from '../../src/limits.ts'
import { createPlaces, type Places } from '../../src/webhooks/places.ts'

type Standing = Parameters<Places['begin']>[0]['standing']

/** So many attempts of as many endpoints begin. */
function begin(places: Places, count: number, now: number, standing: Standing = 'trusted', name: string = standing) {
  const one = (endpoint: string) => places.begin({ endpoint, standing, body: '{}' }, now)
  return Array.from({ length: count }, (_, index) => one(`${name}-${index}`))
}

test('an attempt has a slot until it ends, or for a second', () => {
  const places = createPlaces(8)
  const [end] = begin(places, 4, 0)

  assert.equal(places.room(500).most, 4)
  end?.()
  assert.equal(places.room(500).most, 5)
  assert.equal(places.room(1000).most, 8)
  assert.equal(places.underWay, 3)
})

test('nothing is claimed until a quarter of the slots is free, which is told beforehand if it comes by itself', () => {
  const places = createPlaces(8)
  begin(places, 1, 0)
  begin(places, 6, 10)

  const { most, mostDoubtful, changesAt } = places.room(20)
  assert.deepEqual([most, mostDoubtful, changesAt], [0, 0, 1000])
  assert.equal(places.room(1000).most, 2)
})

test('eight times as many as there are slots are under way at most', () => {
  const places = createPlaces(8)
  for (let second = 0; second < 8; second++) begin(places, 8, second * 1000)

  const { most, changesAt } = places.room(99_000)
  assert.deepEqual([most, changesAt], [0, Number.POSITIVE_INFINITY])
})

test('endpoints that are not trusted have half of the slots, and half of the room, and a sixteenth of the slots in one claim', () => {
  const places = createPlaces(32)
  assert.deepEqual([places.room(0).most, places.room(0).mostDoubtful], [32, 2])
  begin(places, 15, 0, 'unproven')
  assert.deepEqual([places.room(0).most, places.room(0).mostDoubtful], [17, 1])

  begin(places, 1, 500, 'slow')
  const { most, mostDoubtful, changesAt } = places.room(500)
  assert.deepEqual([most, mostDoubtful, changesAt], [16, 0, 1000])
  assert.equal(places.room(1000).mostDoubtful, 2)

  for (let second = 2; second < 9; second++) begin(places, 16, second * 1000, 'untrusted')
  assert.deepEqual([places.room(99_000).most, places.room(99_000).mostDoubtful], [32, 0])
})

test('bodies that are large fill the room, too', () => {
  const places = createPlaces(8)
  const body = 'x'.repeat(maxBytesUnderWay / 2)
  const ends = [0, 1].map(() => places.begin({ endpoint: 'e', standing: 'trusted', body }, 0))

  assert.deepEqual([places.room(0).most, places.room(0).mostBytes], [0, 0])
  for (let twice = 0; twice < 2; twice++) ends[0]?.()
  assert.deepEqual([places.room(0).most, places.room(0).mostBytes], [7, maxBytesUnderWay / 2])
})

test('an endpoint that does not answer gets nothing more until it has, unless it is known to be slow', () => {
  const places = createPlaces(64)
  const [end] = begin(places, 1, 0)
  begin(places, 1, 0, 'slow')
  begin(places, 1, 0, 'unproven')

  assert.deepEqual(places.room(999).avoided, [])
  assert.deepEqual(places.room(1000).avoided, ['trusted-0', 'unproven-0'])
  end?.()
  assert.deepEqual(places.room(1000).avoided, ['unproven-0'])
})

test('while many are silent that were well, only those are trusted that answered in the last ten seconds', () => {
  const places = createPlaces(64)
  begin(places, 30, 0, 'unproven')
  begin(places, 7, 0)
  const [end] = begin(places, 1, 500, 'untrusted')
  places.trust('early', 0)
  places.trust('late', 600)

  assert.equal(places.room(1400).trusted, undefined)
  assert.deepEqual(places.room(1500).trusted, ['early', 'late'])
  assert.deepEqual(places.room(10_000).trusted, ['late'])
  end?.()
  assert.equal(places.room(10_000).trusted, undefined)
})

test('in its first second a deliverer trusts those only that have answered', () => {
  const places = createPlaces(64)
  assert.deepEqual(places.room(5000).trusted, [])

  begin(places, 1, 5000)
  places.trust('one', 5100)
  assert.deepEqual(places.room(5999).trusted, ['one'])
  assert.equal(places.room(6000).trusted, undefined)
})

test('a bounded number of endpoints is remembered, those that answered last', () => {
  const places = createPlaces(64)
  for (let made = 0; made <= maxTrustedEndpoints; made++) places.trust(`e${made}`, 0)
  places.trust('e1', 0)

  const { trusted = [] } = places.room(0)
  assert.deepEqual([trusted.length, trusted[0], trusted.at(-1)], [maxTrustedEndpoints, 'e2', 'e1'])
})

test('an endpoint whose host takes no more gets nothing for a second', () => {
  const places = createPlaces(8)
  places.avoid('a', 0)
  places.avoid('b', 100)
  places.avoid('a', 200)

  assert.deepEqual([places.room(300).avoided, places.room(300).changesAt], [['b', 'a'], 1100])
  assert.deepEqual(places.room(1100).avoided, ['a'])
  assert.deepEqual([places.room(1200).avoided, places.room(1200).changesAt], [[], Number.POSITIVE_INFINITY])
})
