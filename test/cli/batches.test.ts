/* Batches out of a stream: full ones from a fast source, small ones at once from a slow one, and never more than fit. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { batchesOf } from '../../src/cli/batches.ts'

const limits = { maxItems: 3, maxSize: 100, sizeOf: (item: number) => item }

async function* sourceOf(...chunks: readonly (readonly number[])[]): AsyncGenerator<readonly number[]> {
  yield* chunks
}

async function collect(source: AsyncIterable<readonly number[]>): Promise<(readonly number[])[]> {
  const batches = []
  for await (const batch of batchesOf(source, limits)) batches.push(batch)
  return batches
}

describe('batches', () => {
  test('hold every item once, in order', async () => {
    const batches = await collect(sourceOf([1, 2, 3, 4, 5], [6], [], [7, 8]))

    assert.deepEqual(batches.flat(), [1, 2, 3, 4, 5, 6, 7, 8])
    assert.ok(batches.every((batch) => batch.length >= 1 && batch.length <= 3))
  })

  test('are at most so large together, and an item that is larger is alone', async () => {
    assert.deepEqual(await collect(sourceOf([60, 30, 20, 500, 1, 100])), [[60, 30], [20], [500], [1], [100]])
  })

  test('do not wait for more than there is', async () => {
    const more = Promise.withResolvers<void>()
    async function* slow() {
      yield [1]
      await more.promise
      yield [2]
    }
    const batches = batchesOf(slow(), limits)

    assert.deepEqual((await batches.next()).value, [1])
    more.resolve()
    assert.deepEqual((await batches.next()).value, [2])
    assert.equal((await batches.next()).done, true)
  })

  test('fill while the caller works, and then the source waits', async () => {
    let given = 0
    async function* fast() {
      while (given < 100) yield [++given]
    }
    const batches = batchesOf(fast(), limits)

    const taken = (await batches.next()).value?.length ?? 0
    for (let turns = 0; turns < 10; turns++) await new Promise(setImmediate)

    assert.equal(given - taken, 3, 'one batch waits')
    assert.equal((await batches.next()).value?.length, 3)
  })

  test('of what came before an error come before the error', async () => {
    async function* broken() {
      yield [1, 2]
      throw new Error('line 3')
    }
    const batches = batchesOf(broken(), limits)

    assert.deepEqual((await batches.next()).value, [1, 2])
    await assert.rejects(batches.next(), /line 3/)
  })

  test('are none where there is nothing', async () => {
    assert.deepEqual(await collect(sourceOf()), [])
    assert.deepEqual(await collect(sourceOf([])), [])
  })
})
