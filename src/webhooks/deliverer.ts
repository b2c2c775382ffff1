/* The deliverer: claims deliveries of all endpoints, makes their requests outside of any transaction, and settles them in batches.
 *
 *  1. When a quarter of the slots is free, so many deliveries are claimed, in one statement for all endpoints (migrations:
 *     claim_deliveries.sql), which takes no more of one than its concurrency and its fair share. Who has a slot, and for how long: places.ts.
 *  2. What came of them is gathered for a moment, and settled in one statement for all (settle_deliveries.sql). So a delivery costs a small
 *     part of two statements.
 *  3. A deliverer that dies leaves leases, which end: somebody delivers once more. Several deliverers never have one delivery at the same
 *     time, unless an attempt takes longer than its lease, which is 45 s longer than the endpoint's timeout.
 *  4. While there is nothing to deliver it looks once in `idleMillis`; after an error of the database, too. */
import { type Clock, databaseClock } from '../clock.ts'
import type { Executor } from '../db/call.ts'
import { type DeliverOptions, deliver } from './deliver.ts'
import { claimDeliveries, type Delivery, type Result, settleDeliveries } from './deliveries.ts'
import { createPlaces, type Room } from './places.ts'

export interface DelivererOptions extends DeliverOptions {
  readonly executor: Executor
  /** Attempts that begin at a time, 1 – 1000; there may be eight times as many under way, of which most wait for an answer that takes long.
   * Defaults to 256. */
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
  const places = createPlaces(slots)
  // What comes of those that are trusted does not wait for what comes of the others.
  const lanes = [createLane(), createLane()] as const
  let after: string | undefined
  const ended = createSign()
  const settled = createSign()
  let attempts = 0

  /** Claim for the slots that are free, and begin; whether there may be more at once. */
  async function begin(room: Room, signal: AbortSignal): Promise<boolean> {
    const { deliveries, next } = await claimDeliveries(executor, room, after, clock())
    after = next
    for (const delivery of deliveries) start(delivery, signal)
    return next !== undefined
  }

  function start(delivery: Delivery, signal: AbortSignal): void {
    const end = places.begin(delivery, performance.now())
    void deliver(delivery, options, signal, clock()).then((result) => {
      end()
      if (result.error === 'busy') places.avoid(result.endpoint, performance.now())
      if (result.outcome === 'delivered') places.trust(result.endpoint, performance.now())
      if (result.outcome !== 'untried') attempts++
      const lane = lanes[delivery.standing === 'trusted' ? 0 : 1]
      lane.results.push(result)
      lane.settling ??= settle(lane)
      ended.happened()
    })
  }

  /** Until there are no results any more. What comes while a batch is settled is the next one. */
  async function settle(lane: Lane): Promise<void> {
    const { results } = lane
    await pause(gatherMillis)
    while (results.length > 0) {
      try {
        await settleDeliveries(executor, results.splice(0, 1000), clock())
      } catch (error) {
        // (Their leases end, and they are delivered once more.)
        onError?.(error)
      }
      settled.happened()
    }
    lane.settling = undefined
  }

  async function loop(signal: AbortSignal, untilEmpty: boolean): Promise<void> {
    while (!signal.aborted) {
      const room = places.room(performance.now())
      // What is settled from now on lets others of its endpoint go.
      const [endedBefore, settledBefore] = [ended.times, settled.times]
      if (room.most === 0) {
        await ended.next(endedBefore, restMillis(room), signal)
        continue
      }
      let hasMore = false
      try {
        hasMore = await begin(room, signal)
      } catch (error) {
        onError?.(error)
      }
      if (hasMore) continue
      if (untilEmpty && places.underWay === 0 && lanes.every(({ settling }) => !settling)) return
      await settled.next(settledBefore, restMillis(room), signal)
    }
    while (places.underWay > 0) await ended.next(ended.times)
    await Promise.all(lanes.map(({ settling }) => settling))
  }

  /** How long to wait, if nothing happens, until there may be something to do. */
  function restMillis({ changesAt }: Room): number {
    return Math.max(0, Math.min(idleMillis, Math.ceil(changesAt - performance.now())))
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

/** Results that are gathered, and settled one batch after the other. */
interface Lane {
  readonly results: Result[]
  settling: Promise<void> | undefined
}

const createLane = (): Lane => ({ results: [], settling: undefined })

/** Something that happens again and again, and one who waits for it. (Promises of it would keep all who ever waited in vain.) */
function createSign() {
  let times = 0
  let tell: (() => void) | undefined
  return {
    get times() {
      return times
    },
    happened() {
      times++
      tell?.()
    },
    /** Resolves when it has happened more often than `before`, after so long, or when the signal is aborted. */
    async next(before: number, millis?: number, signal?: AbortSignal): Promise<void> {
      if (times > before || signal?.aborted) return
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = millis === undefined ? undefined : setTimeout(resolve, millis)
      const done = () => resolve()
      signal?.addEventListener('abort', done)
      tell = resolve
      await promise
      tell = undefined
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
    },
  }
}

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))
