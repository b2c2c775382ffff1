/* A round of a deliverer: what it has under way at a time.
 *
 *  1. When a quarter of the slots is free, so many deliveries are claimed, in one statement for all endpoints (migrations:
 *     claim_deliveries.sql), which takes no more of one than its concurrency and its fair share. Who has a slot, and for how long: places.ts.
 *  2. What came of them is gathered for a moment, and settled in one statement for all (settle_deliveries.sql). So a delivery costs a small
 *     part of two statements.
 *  3. A database that is away for a moment is told again, until the leases end. What it had settled, though its answer got lost, stays as it
 *     is, by the receipts. Meanwhile little more is claimed, as the results are kept here. So it is with what the database undid (it took
 *     longer than it may, or met a lock), but in smaller batches, and after the others, so that one that is locked for long keeps none from it.
 *  4. Who dies leaves leases, which end: somebody delivers once more. */
import { type Clock, databaseClock } from '../clock.ts'
import { asUndone, type Executor } from '../db/call.ts'
import { QueueError } from '../errors.ts'
import { createBell } from './bell.ts'
import { type DeliverOptions, deliver } from './deliver.ts'
import { claimDeliveries, type Delivery, leaseMarginMillis, type Result, settleDeliveries } from './deliveries.ts'
import { createPlaces } from './places.ts'

/** Most results that are settled in one statement. */
const maxBatch = 1000

export interface RoundOptions extends DeliverOptions {
  readonly executor: Executor
  /** Attempts that begin at a time, 1 – 1000. Defaults to 256. */
  readonly slots?: number
  /** How many times as many may be under way, of which most wait for an answer that takes long. Defaults to 8. */
  readonly roomPerSlot?: number
  /** How long results are gathered before they are settled. Defaults to 20. */
  readonly gatherMillis?: number
  /** After which they are settled again, if the database was away. Defaults to 1000. */
  readonly againMillis?: number
  readonly clock?: Clock
  /** Hears of what goes wrong with the database, and is not told otherwise. */
  readonly onError?: (error: unknown) => void
}

export interface Round {
  /** Claim for the slots that are free, up to `most`, and begin: how many, and whether there may be more at once. */
  begin(most?: number): Promise<{ readonly count: number; readonly hasMore: boolean }>
  /** Resolves when so many slots are free that a claim is worth it. */
  room(): Promise<void>
  /** In how long there may be more to claim, though nothing happens; Infinity: never. */
  readonly changesInMillis: number
  /** Whether anything is under way. */
  readonly isBusy: boolean
  readonly begun: number
  /** Those that were made. */
  readonly attempts: number
  /** Resolves when nothing is under way, and all is settled that can be. */
  finish(): Promise<void>
}

export interface RoundLimits {
  /** Ends the attempts under way: they come again. */
  readonly stopping: AbortSignal
  /** When attempts are to be over, as performance.now() counts. Defaults to never. */
  readonly endsAt?: number
  /** Something is settled: that lets others of its endpoint go. */
  readonly onSettled: () => void
}

export function createRound(options: RoundOptions, limits: RoundLimits): Round {
  const { stopping, endsAt = Infinity, onSettled } = limits
  const { executor, slots = 256, roomPerSlot = 8, clock = databaseClock, onError } = options
  const { gatherMillis = 20, againMillis = 1000 } = options
  const places = createPlaces(slots, roomPerSlot)
  const ended = createBell()
  // What comes of those that are trusted does not wait for what comes of the others.
  const lanes = [createLane(), createLane()] as const
  let after: string | undefined
  let begun = 0
  let attempts = 0

  function start(delivery: Delivery): void {
    begun++
    const leasedUntil = performance.now() + delivery.timeout_seconds * 1000 + leaseMarginMillis
    const end = places.begin(delivery, performance.now())
    void deliver(delivery, options, stopping, clock(), endsAt - performance.now()).then((result) => {
      end()
      if (result.error === 'busy') places.avoid(result.endpoint, performance.now())
      if (result.outcome === 'delivered') places.trust(result.endpoint, performance.now())
      if (result.outcome !== 'untried') attempts++
      const lane = lanes[delivery.standing === 'trusted' ? 0 : 1]
      lane.kept.push({ result, leasedUntil })
      lane.settling ??= settle(lane)
      ended.ring()
    })
  }

  /** Until there are no results any more. What comes while a batch is settled is the next one. */
  async function settle(lane: Lane): Promise<void> {
    const { kept } = lane
    await pause(gatherMillis)
    while (kept.length > 0) {
      const batch = kept.slice(0, lane.most)
      const unsettled = await settleBatch(lane, batch)
      kept.splice(0, batch.length)
      kept.push(...unsettled)
      lane.isHeldUp = unsettled.length > 0
      ended.ring()
      if (lane.isHeldUp) await createBell().rest(againMillis, stopping, 0)
      else onSettled()
    }
    lane.settling = undefined
  }

  /** Those that are to be settled again. What cannot be settled (its endpoint is just being deleted) does not keep the others from it. */
  async function settleBatch(lane: Lane, batch: readonly Kept[]): Promise<readonly Kept[]> {
    try {
      const results = batch.map(({ result }) => result)
      await settleDeliveries(executor, results, clock())
      lane.most = Math.min(lane.most * 2, maxBatch)
      return []
    } catch (error) {
      const half = Math.ceil(batch.length / 2)
      const undone = asUndone(error)
      if (undone) lane.most = half
      const isAway = undone || (error instanceof QueueError && error.code === 'database_unavailable')
      if (isAway || batch.length === 1) onError?.(undone ?? error)
      if (isAway) return batch.filter(canWait)
      if (batch.length === 1) return []
      return [...(await settleBatch(lane, batch.slice(0, half))), ...(await settleBatch(lane, batch.slice(half)))]
    }
  }

  /** Who stops tries once more, without a pause. (What is given up is delivered once more, when its lease has ended.) */
  function canWait({ leasedUntil }: Kept): boolean {
    return !stopping.aborted && performance.now() + againMillis < Math.min(leasedUntil, endsAt)
  }

  /** Whether so much waits for a database that is away that no more is to be begun. */
  const isHeldUp = () => lanes.some((lane) => lane.isHeldUp && lane.kept.length >= slots)
  const changesInMillis = () => Math.max(0, Math.ceil(places.room(performance.now()).changesAt - performance.now()))

  return {
    async begin(most = slots) {
      if (isHeldUp()) return { count: 0, hasMore: true }
      const room = places.room(performance.now())
      const bounded = { ...room, most: Math.min(room.most, most), mostDoubtful: Math.min(room.mostDoubtful, most) }
      const { deliveries, next } = await claimDeliveries(executor, bounded, after, clock())
      // One that finds nothing behind the place where the last one ended has not looked before it.
      const hasMore = next !== undefined || (deliveries.length === 0 && after !== undefined)
      after = next
      for (const delivery of deliveries) start(delivery)
      return { count: deliveries.length, hasMore }
    },
    async room() {
      while (!stopping.aborted) {
        const since = ended.rings
        const held = isHeldUp()
        if (!held && places.room(performance.now()).most > 0) return
        await ended.rest(held ? againMillis : Math.min(changesInMillis(), 1000), stopping, since)
      }
    },
    get changesInMillis() {
      return changesInMillis()
    },
    get isBusy() {
      return places.underWay > 0 || lanes.some(({ settling }) => settling !== undefined)
    },
    get begun() {
      return begun
    },
    get attempts() {
      return attempts
    },
    async finish() {
      const never = new AbortController().signal
      while (places.underWay > 0) await ended.rest(1000, never, ended.rings)
      await Promise.all(lanes.map(({ settling }) => settling))
    },
  }
}

/** Results that are gathered, and settled one batch after the other. */
interface Lane {
  readonly kept: Kept[]
  /** Most results of the next batch: half of the last one, if the database undid that. */
  most: number
  /** The database was away when they were last settled. */
  isHeldUp: boolean
  settling: Promise<void> | undefined
}

interface Kept {
  readonly result: Result
  /** As performance.now() counts. */
  readonly leasedUntil: number
}

const createLane = (): Lane => ({ kept: [], most: maxBatch, isHeldUp: false, settling: undefined })

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))
