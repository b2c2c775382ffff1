/* The deliverer: claims deliveries of all endpoints, makes their requests outside of any transaction, and settles them in batches
 * (round.ts).
 *
 *  1. A process that lives `run`s it: while there is nothing to deliver and nothing under way, it waits to be told that there is (wakeup/),
 *     so that nothing is asked; else it looks when something is settled, and once in `idleMillis`; after an error of the database, too.
 *  2. A function that is called, by a clock or after a publish, has it `drain`: within the time that its platform gives it. It ends its
 *     attempts itself before the platform does: what is cut by the platform has perhaps arrived, would not be counted, and so come again
 *     for ever.
 *  3. Several of them never have one delivery at the same time, unless an attempt takes longer than its lease, which is 45 s longer than
 *     the endpoint's timeout. */
import { createBell } from './bell.ts'
import { dueInMillis } from './deliveries.ts'
import { createRound, type RoundOptions } from './round.ts'

export interface DelivererOptions extends RoundOptions {
  /** How often to look while there is nothing to do. Defaults to 1000. */
  readonly idleMillis?: number
}

/** How who runs learns that there may be something to deliver. */
export interface Prompter {
  /** Resolves when there may be something; also when the signal aborts. Called after a look that found nothing. */
  rest(signal: AbortSignal): Promise<unknown>
  /** The look after that found something. */
  found(): void
}

/** Of a drain. Times are in milliseconds from its start; without them it ends when nothing is due any more. */
export interface DrainLimits {
  /** For how long deliveries are begun. */
  readonly beginMillis?: number
  /** When attempts are over, whatever their endpoints allow: what has not answered by then has failed with `timeout`. */
  readonly endMillis?: number
  readonly mostAttempts?: number
  /** Whether to wait for what becomes due while deliveries may be begun. Defaults to false: then it ends as soon as nothing is due. */
  readonly waits?: boolean
}

export interface Drained {
  readonly attempts: number
  /** When something is due: 0, there is more now; undefined: nothing waits. */
  readonly dueInMillis: number | undefined
}

export interface Deliverer {
  /** Deliver what is due, and what becomes due meanwhile. Rejects if the database cannot be asked; what was under way is settled all the
   * same.
   * @param stopping ends the attempts under way: they come again */
  drain(limits?: DrainLimits, stopping?: AbortSignal): Promise<Drained>
  /** Deliver until stopped: attempts under way are ended, and come again at once.
   * @param prompter defaults to looking once in idleMillis */
  run(stopping: AbortSignal, prompter?: Prompter): Promise<void>
}

/** After a look that found nothing of what was said to be due: somebody else has it, or is just taking it. */
const shortestRestMillis = 100

export function createDeliverer(options: DelivererOptions): Deliverer {
  const { executor, clock, idleMillis = 1000, onError } = options
  const bell = createBell()
  const due = () => dueInMillis(executor, clock?.())

  async function drain(limits: DrainLimits, stopping: AbortSignal): Promise<Drained> {
    const { beginMillis = Infinity, endMillis = Infinity, mostAttempts = Infinity, waits = false } = limits
    const started = performance.now()
    const millisLeft = () => started + beginMillis - performance.now()
    const round = createRound(options, { stopping, onSettled: bell.ring, endsAt: started + endMillis })
    try {
      while (!stopping.aborted && millisLeft() > 0 && round.begun < mostAttempts) {
        const since = bell.rings
        const { count, hasMore } = await round.begin(mostAttempts - round.begun)
        if (count === 0 && !hasMore) {
          const millis = round.isBusy ? Math.min(idleMillis, round.changesInMillis) : await due()
          const isOver = !waits || millis === undefined || millis > millisLeft()
          if (!round.isBusy && isOver) return { attempts: round.attempts, dueInMillis: millis }
          await bell.rest(Math.min(Math.max(millis ?? 0, shortestRestMillis), millisLeft()), stopping, since)
        }
        await round.room()
      }
    } finally {
      await round.finish()
    }
    return { attempts: round.attempts, dueInMillis: await due() }
  }

  async function run(stopping: AbortSignal, prompter?: Prompter): Promise<void> {
    const round = createRound(options, { stopping, onSettled: bell.ring })
    while (!stopping.aborted) {
      const since = bell.rings
      const begun = await round.begin().catch(onError ?? (() => {}))
      if (begun && begun.count > 0) prompter?.found()
      if (!begun?.hasMore) {
        const restMillis = Math.min(idleMillis, round.changesInMillis)
        if (begun?.count === 0 && prompter && !round.isBusy && restMillis === idleMillis) await prompter.rest(stopping)
        else await bell.rest(restMillis, stopping, since)
      }
      await round.room()
    }
    await round.finish()
  }

  return {
    drain: (limits = {}, stopping = new AbortController().signal) => drain(limits, stopping),
    run,
  }
}
