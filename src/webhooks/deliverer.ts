/* The deliverer: claims deliveries of all endpoints, makes their requests outside of any transaction, and settles them in batches.
 *
 *  1. As many attempts are under way as there are slots. When a quarter of them is free, so many deliveries are claimed, in one statement
 *     for all endpoints (migrations: claim_deliveries.sql), which takes no more of one than its concurrency and its fair share.
 *  2. What came of them is gathered for a moment, and settled in one statement for all (settle_deliveries.sql). So a delivery costs a small
 *     part of two statements.
 *  3. A deliverer that dies leaves leases, which end: somebody delivers once more. Several deliverers never have one delivery at the same
 *     time, unless an attempt takes longer than its lease, which is 45 s longer than the endpoint's timeout.
 *  4. While there is nothing to deliver it looks once in `idleMillis`; after an error of the database, too. */
import { type Clock, databaseClock } from '../clock.ts'
import type { Executor } from '../db/call.ts'
import { type DeliverOptions, deliver } from './deliver.ts'
import { claimDeliveries, type Delivery, type Result, settleDeliveries } from './deliveries.ts'

export interface DelivererOptions extends DeliverOptions {
  readonly executor: Executor
  /** Attempts under way at a time, 1 – 1000. Defaults to 256. */
  readonly slots?: number
  /** How often to look while there is nothing to do. Defaults to 1000. */
  readonly idleMillis?: number
  /** How long results are gathered before they are settled. Defaults to 20. */
  readonly gatherMillis?: number
  readonly clock?: Clock
  /** Hears of what goes wrong with the database; the deliverer goes on. */
  readonly onError?: (error: unknown) => void
}

export interface Deliverer {
  /** Deliver what there is now, and what becomes of it meanwhile, until nothing is left or the time is over; how many attempts that were. For
   * functions that are called by a clock. */
  drain(deadline: AbortSignal): Promise<number>
  /** Deliver until stopped: attempts under way are ended, and come again at once. */
  run(stopping: AbortSignal): Promise<void>
}

export function createDeliverer(options: DelivererOptions): Deliverer {
  const { executor, slots = 256, idleMillis = 1000, gatherMillis = 20, clock = databaseClock, onError } = options
  const underWay = new Set<Promise<void>>()
  const results: Result[] = []
  let after: string | undefined
  let settling: Promise<void> | undefined
  let settled = Promise.withResolvers<void>()
  let attempts = 0

  /** Claim for the slots that are free, and begin; whether there may be more at once. */
  async function begin(signal: AbortSignal): Promise<boolean> {
    const { deliveries, next } = await claimDeliveries(executor, slots - underWay.size, after, clock())
    after = next
    for (const delivery of deliveries) start(delivery, signal)
    return deliveries.length > 0 || next !== undefined
  }

  function start(delivery: Delivery, signal: AbortSignal): void {
    const work = deliver(delivery, options, signal, clock()).then((result) => {
      if (result.outcome !== 'untried') attempts++
      results.push(result)
      settling ??= settle()
    })
    underWay.add(work)
    work.finally(() => underWay.delete(work))
  }

  /** Until there are no results any more. What comes while a batch is settled is the next one. */
  async function settle(): Promise<void> {
    await pause(gatherMillis)
    while (results.length > 0) {
      try {
        await settleDeliveries(executor, results.splice(0, 1000), clock())
      } catch (error) {
        // (Their leases end, and they are delivered once more.)
        onError?.(error)
      }
      settled.resolve()
      settled = Promise.withResolvers()
    }
    settling = undefined
  }

  async function loop(signal: AbortSignal, untilEmpty: boolean): Promise<void> {
    while (!signal.aborted) {
      // What is settled from now on lets others of its endpoint go.
      const { promise: change } = settled
      let hasMore = false
      try {
        hasMore = await begin(signal)
      } catch (error) {
        onError?.(error)
      }
      if (!hasMore) {
        if (untilEmpty && underWay.size === 0 && !settling) return
        await rest(idleMillis, signal, change)
      }
      while (!signal.aborted && slots - underWay.size < Math.max(1, slots / 4)) await Promise.race(underWay)
    }
    await Promise.all(underWay)
    await settling
  }

  return {
    async drain(deadline) {
      const before = attempts
      await loop(deadline, true)
      return attempts - before
    },
    run: (stopping) => loop(stopping, false),
  }
}

/** For so long, or until stopped, or until something has changed. */
function rest(millis: number, signal: AbortSignal, change: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, millis)
    signal.addEventListener('abort', done)
    change.then(done)
  })
}

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))
