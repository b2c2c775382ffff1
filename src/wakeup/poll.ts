/* The poll: where the database cannot tell of messages, it is asked. One for all queues and waiters of a hub.
 *
 *  1. It asks for every queue whose line rests (wakeup/line.ts), in one statement for 200 queues, which takes nothing and locks nothing
 *     (postbag.prospects). Where there is something, those who came first look; nobody else does.
 *  2. The pause before the next poll doubles from 50 ms to half a second, and starts anew when something was found. Within that bound it is
 *     at least 20 times as long as the database worked for the poll.
 *  3. The answer says, too, when the next delay or lease ends. If that is before the next poll, somebody looks at that moment.
 *  4. An answer "now" is not always true for a receive (another transaction may hold the message). A queue where those who looked found
 *     nothing is left out for a time that doubles to half a second. One whose answer was expensive (dead rows at its head) is not asked for
 *     again for 20 times as long; meanwhile somebody looks, as a claim knows a way around them.
 *  5. If the poll fails, one of those who wait for each queue looks: what happens to that look is for its caller to hear.
 *  6. A wait that ends needs no last look if its queue was asked for a moment ago.
 *
 * What it costs, whatever the number of queues (up to 200) and of waiters: 120 queries a minute; 1,200 where every poll finds something.
 * Besides, each receive looks when it comes.
 *
 * Why a lone waiter, too, asks before it looks: a question costs the database a quarter of what a claim in vain costs (0.1 and 0.4 ms beside the
 * round trip; each of 100 queues 0.05 ms), so from the second poll of a wait on, the two statements at its end are the cheaper way; and a claim
 * would not tell when a delay ends. */
import { call, type Executor, neverCached } from '../db/call.ts'
import type { Line } from './line.ts'
import { costlyMillis, mostPerStatement, type Prospect } from './prospect.ts'

const shortestPauseMillis = 50
const longestPauseMillis = 500

export interface Poll {
  /** Somebody waits in the line of this queue, and nobody looks: ask for it from now on. `found`: whether a look found something lately. */
  rest(queue: string, line: Line, found: boolean): void
  /** Whether it has been seen within the last second that nothing is there. */
  hasSeenNothing(queue: string): boolean
  forget(queue: string): void
  /** Ask no more; the queues that would have been asked for. */
  stop(): readonly string[]
  /** Resolves when no question is open. */
  settled(): Promise<void>
}

interface Polled {
  readonly queue: string
  readonly line: Line
  /** When something becomes available by itself. */
  dueAt: number
  /** How often in a row there should have been something, and was not; and until when it is left out for that. */
  misses: number
  absentUntil: number
  /** From when on it may be asked for again. */
  affordableAt: number
  /** When it was seen last that nothing is there. */
  emptyAt?: number
}

export function createPoll(executor: Executor): Poll {
  const queues = new Map<string, Polled>()
  let pauseMillis = shortestPauseMillis
  let nextAt = 0
  let notBefore = 0
  let hasFound = false
  let timer: ReturnType<typeof setTimeout> | undefined
  let tookSeconds = 0
  let asking: Promise<void> | undefined

  function polledFor(queue: string, line: Line): Polled {
    const known = queues.get(queue)
    if (known) return known
    const made = { queue, line, dueAt: 0, misses: 0, absentUntil: 0, affordableAt: 0 }
    queues.set(queue, made)
    return made
  }

  function resting(): Polled[] {
    return [...queues.values()].filter(({ line }) => line.isResting)
  }

  function setAlarm(): void {
    clearTimeout(timer)
    timer = undefined
    const those = resting()
    if (those.length === 0) return
    const at = those.reduce((first, { dueAt }) => Math.min(first, dueAt), asking ? Number.POSITIVE_INFINITY : nextAt)
    if (at < Number.POSITIVE_INFINITY) timer = setTimeout(ring, Math.max(at - performance.now(), 0))
  }

  function ring(): void {
    const now = performance.now()
    for (const { dueAt, line } of resting()) if (dueAt <= now) line.wake(1)
    // (A timer may be early by its rounding.)
    if (!asking && nextAt <= now + 5) {
      asking = askForAll().finally(() => {
        asking = undefined
        setAlarm()
      })
    }
    setAlarm()
  }

  async function askForAll(): Promise<void> {
    const started = performance.now()
    const present = resting().filter(({ absentUntil }) => absentUntil <= started)
    for (const polled of present) if (polled.affordableAt > started) letLookPerhaps(polled)
    const asked = present.filter(({ affordableAt }) => affordableAt <= started)
    for (let next = 0; next < asked.length; next += mostPerStatement) {
      try {
        await askFor(asked.slice(next, next + mostPerStatement))
      } catch {
        for (const { line } of asked.slice(next)) if (line.isResting) line.wake(1)
        break
      }
    }
    pauseMillis = hasFound ? shortestPauseMillis : Math.min(pauseMillis * 2, longestPauseMillis)
    const now = performance.now()
    notBefore = now + Math.min(20_000 * tookSeconds, longestPauseMillis)
    nextAt = Math.max(now + pauseMillis, notBefore)
    hasFound = false
    tookSeconds = 0
  }

  async function askFor(part: readonly Polled[]): Promise<void> {
    const started = performance.now()
    const names = part.map(({ queue }) => queue)
    const text = `select * from postbag.prospects($1) where ${neverCached}`
    for (const prospect of await call<Prospect>(executor, text, [names])) {
      const polled = queues.get(prospect.queue)
      if (polled) heed(polled, prospect, started)
    }
  }

  function heed(polled: Polled, { gone, available_in, took }: Prospect, started: number): void {
    const now = performance.now()
    tookSeconds += took
    polled.affordableAt = now + costlyMillis(took)
    if (available_in !== 0) {
      polled.misses = 0
      polled.emptyAt = started
      polled.dueAt = available_in === null ? Number.POSITIVE_INFINITY : now + available_in * 1000 + 1
    }
    if (!polled.line.isResting) return
    if (gone) polled.line.wake(Number.POSITIVE_INFINITY)
    else if (available_in === 0) {
      hasFound ||= polled.misses === 0
      letLookPerhaps(polled)
    }
  }

  /** There seems to be something. */
  function letLookPerhaps(polled: Polled): void {
    polled.misses++
    polled.absentUntil = performance.now() + Math.min(shortestPauseMillis * 2 ** polled.misses, longestPauseMillis)
    polled.line.wake(1)
  }

  function end(): void {
    clearTimeout(timer)
    timer = undefined
    pauseMillis = shortestPauseMillis
    queues.clear()
  }

  return {
    rest(queue, line, found) {
      const polled = polledFor(queue, line)
      // (A moment to come stays known, though somebody has looked before it.)
      if (polled.dueAt <= performance.now()) polled.dueAt = Number.POSITIVE_INFINITY
      if (found) {
        polled.misses = 0
        polled.absentUntil = 0
        hasFound = asking !== undefined
        pauseMillis = shortestPauseMillis
      }
      const at = Math.max(performance.now() + pauseMillis, notBefore)
      const isSoon = timer !== undefined && nextAt <= at
      if (!isSoon) nextAt = at
      if (!isSoon || polled.dueAt < nextAt) setAlarm()
    },
    hasSeenNothing(queue) {
      const emptyAt = queues.get(queue)?.emptyAt
      return emptyAt !== undefined && performance.now() - emptyAt < 2 * longestPauseMillis
    },
    forget(queue) {
      queues.delete(queue)
      if (queues.size === 0) end()
    },
    stop() {
      const left = resting().map(({ queue }) => queue)
      end()
      return left
    },
    async settled() {
      await asking
    },
  }
}
