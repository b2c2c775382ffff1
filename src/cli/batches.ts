/* Grouping a stream into batches without waiting for one to fill.
 *
 * A batch is what has come in since the last one was taken, within its limits. Reading goes on while the caller works on a batch, and
 * stops when the next one is full. So a slow source is passed on at once, a fast one in full batches, and never more than two
 * batches (and what the source yields at once) are in memory. */

export interface BatchLimits<Item> {
  readonly maxItems: number
  /** Most of the items' sizes together; an item that is larger than that is a batch of its own. */
  readonly maxSize: number
  readonly sizeOf: (item: Item) => number
}

/** @throws what the source throws, after the batches of what came before. */
export async function* batchesOf<Item>(
  source: AsyncIterable<readonly Item[]>,
  limits: BatchLimits<Item>,
): AsyncGenerator<readonly Item[]> {
  const waiting: Item[] = []
  let size = 0
  let end: { readonly error?: unknown } | undefined
  let change = Promise.withResolvers<void>()
  const changed = () => {
    change.resolve()
    change = Promise.withResolvers<void>()
  }

  void read()
  while (true) {
    while (waiting.length === 0 && !end) await change.promise
    if (waiting.length === 0) break
    const batch = take(waiting, limits)
    for (const item of batch) size -= limits.sizeOf(item)
    changed()
    yield batch
  }
  if (end && 'error' in end) throw end.error

  async function read(): Promise<void> {
    try {
      for await (const items of source) {
        for (const item of items) {
          waiting.push(item)
          size += limits.sizeOf(item)
        }
        changed()
        while (waiting.length >= limits.maxItems || size >= limits.maxSize) await change.promise
      }
      end = {}
    } catch (error) {
      end = { error }
    }
    changed()
  }
}

/** Remove a batch from the front. */
function take<Item>(waiting: Item[], { maxItems, maxSize, sizeOf }: BatchLimits<Item>): readonly Item[] {
  let count = 0
  let size = 0
  for (const item of waiting) {
    size += sizeOf(item)
    if (count === maxItems || (count > 0 && size > maxSize)) break
    count++
  }
  return waiting.splice(0, count)
}
