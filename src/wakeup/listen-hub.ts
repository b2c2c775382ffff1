/* The hub of a process that lives: one connection on which the database tells of messages, for any number of waiting receives.
 * While nothing happens it asks nothing, however many wait.
 *
 * How a wake-up is not lost. What makes something available earlier than was known (a send, a nack, a resume …) calls postbag.wake at
 * its end, which looks whether anybody watches the queue, and if so notifies at commit. For each queue that somebody waits for, this hub
 *
 *  1. watches: takes the queue's lock, then an id x of a transaction of its own, then notes which older transactions are open, then
 *     asks when something is available (postbag.watch, one statement; functions/next_available_at.sql says "nothing" only if it is so).
 *  2. Let W be a change that makes something available. Its wake came either after the lock was taken: then it notifies. Or before: then
 *     W had its id before x was drawn, so it is older. If it had committed when we noted who is open, the question saw what it did.
 *     If not, it is among the noted ones; when it has ended, they are fewer, and then the hub asks again (with a pause that grows
 *     from a millisecond to a second: one cheap statement for all queues). When none of them is open any more, everybody who comes has seen the
 *     lock.
 *  3. If the answer is "now", somebody looks; if it is "in 5 s", a timer says so then, one per queue.
 *  4. What is notified ends the watch: the lock is given up, so that further sends notify nobody (commits that notify wait for each
 *     other); those who wait look (wakeup/line.ts); and when they find nothing more, it begins anew at 1, which misses nothing that was
 *     sent meanwhile. So a burst of sends causes one notification per watch; and from one watch to the next there is a pause, of 2 ms at
 *     least, and more where notifications follow each other closely.
 *  5. While a queue is watched and the answer was "not now", nothing is there for anybody: who comes new need not look either.
 *
 * An answer "now" is not always true for a receive: another transaction may hold the message, or the claim's cursor may have passed it.
 * If those who look find nothing, the queue stays watched, and they look again after a pause that grows from 5 ms to a second. An answer
 * that was expensive (dead rows at the head of the queue) is not asked for again for 20 times as long; meanwhile it counts as such a "now".
 *
 * When the connection is lost, the locks are lost, so all begins anew; until there is another, or where LISTEN does not work at all, the
 * database is asked now and then (poll.ts). */
import type { Executor } from '../db/call.ts'
import { allEndpoints, type Hub } from './hub.ts'
import { createLine, type Line } from './line.ts'
import { createListener, type Watched } from './listener.ts'
import { createPoll } from './poll.ts'
import { costlyMillis, mostPerStatement, type Prospect } from './prospect.ts'
import { openBefore } from './snapshot.ts'

export interface ListenHubOptions {
  /** An address through which a session stays a session: not a transaction pooler's. */
  readonly url: string
  /** What the receives work with; must be the same database. */
  readonly executor: Executor
  /** How long the connection, and the watch of a queue, outlive the last waiter, in milliseconds. Defaults to a minute. Too short: a consumer
   * that comes again opens another; too long: a database that sleeps when nobody is connected does not. */
  readonly lingerMillis?: number
  /** How often the connection is pinged while somebody waits, in milliseconds. Defaults to 15,000. An answer may take a third of that: until
   * then nobody who waits is told anything, if the connection is lost without a word. */
  readonly pingMillis?: number
  /** Hears of a change of mode, in words. */
  readonly say?: (mode: string) => void
}

interface Awaited {
  readonly queue: string
  readonly line: Line
  /** Told by nobody (without a connection, polled for); about to be watched; being asked for; watched. */
  state: 'loose' | 'pausing' | 'asking' | 'watched'
  timer?: ReturnType<typeof setTimeout> | undefined
  /** Watched: until this moment there is nothing for sure. */
  emptyUntil: number
  /** Watched: when to look, without being told. */
  dueAt: number
  /** Watched: since when, and how many transactions that may not know of it are open. */
  fence: bigint
  early: number
  /** Asking: how many messages were hinted at meanwhile. */
  hinted: number
  /** How often in a row there should have been something, and was not. */
  misses: number
  watchedAt: number
  /** Whether those who were woken last found nothing. */
  isVain: boolean
  pauseMillis: number
  /** From when on it may be found out again what there is. */
  affordableAt: number
}

const shortestPauseMillis = 2
const longestPauseMillis = 20
/** Where those who were woken find nothing: notified of what is for later, say. */
const longestVainPauseMillis = 100
const shortestMissMillis = 5
const longestMissMillis = 1000
const shortestFenceMillis = 1
const longestFenceMillis = 1000
/** setTimeout takes no more than 31 bits. */
const longestTimerMillis = 2 ** 31 - 1

export function createListenHub(options: ListenHubOptions): Hub & { readonly mode: string } {
  const { url, executor, lingerMillis = 60_000, pingMillis = 15_000, say = () => {} } = options
  const queues = new Map<string, Awaited>()
  const toWatch = new Set<Awaited>()
  const toUnwatch = new Set<string>()
  let isFlushing = false
  /** From then on no timer is set: it would keep a process alive that is to end. */
  let closed = false
  let lingering: ReturnType<typeof setTimeout> | undefined
  /** When the last one who waited for some queue left. */
  let leftAt = 0
  let fenceTimer: ReturnType<typeof setTimeout> | undefined
  let fenceMillis = shortestFenceMillis

  const poll = createPoll(executor)
  const listener = createListener(
    { url, executor, pingMillis, say },
    {
      isAwaited: () => [...queues.values()].some(({ line }) => line.length > 0),
      onReady() {
        for (const queue of poll.stop()) ask(awaitedFor(queue))
      },
      onLost() {
        clearTimeout(fenceTimer)
        fenceTimer = undefined
        toWatch.clear()
        toUnwatch.clear()
        for (const awaited of queues.values()) {
          loosen(awaited)
          // (Not at once: what broke this connection may be about to break the pool's, and a look on one of those would fail.)
          if (awaited.line.parked > 0) rest(awaited, false)
          forgetIfLeft(awaited)
        }
      },
      onNotification(queue) {
        for (const awaited of toldOf(queue)) hint(awaited, 1, true)
      },
    },
  )
  listener.tryOut()

  function awaitedFor(queue: string): Awaited {
    const known = queues.get(queue)
    if (known) return known
    const line = createLine({
      isEmpty: () => isEmpty(made),
      wasEmpty: () => isEmpty(made) || poll.hasSeenNothing(queue),
      onRest: (found) => rest(made, found),
      onChange() {
        if (line.length === 0) leftAt = performance.now()
        if (made.state === 'watched') setAlarm(made)
        else forgetIfLeft(made)
      },
    })
    const made: Awaited = {
      queue,
      line,
      state: 'loose',
      emptyUntil: 0,
      dueAt: 0,
      fence: 0n,
      early: 0,
      hinted: 0,
      misses: 0,
      watchedAt: 0,
      isVain: false,
      pauseMillis: shortestPauseMillis,
      affordableAt: 0,
    }
    queues.set(queue, made)
    return made
  }

  /** Who is told by a notification: that of all endpoints is for those, too, who wait for the queue of one. */
  function toldOf(queue: string): readonly Awaited[] {
    const own = queues.get(queue)
    const others = queue === allEndpoints ? [...queues.values()].filter((one) => one.queue.startsWith('webhooks.')) : []
    return own ? [own, ...others] : others
  }

  /** Whether it is known that nothing is there. */
  function isEmpty({ emptyUntil, early, line }: Awaited): boolean {
    return performance.now() < emptyUntil && (early === 0 || line.parked > 0)
  }

  /** There may be so many messages. */
  function hint(awaited: Awaited, messages: number, isNotification: boolean): void {
    // (What this process did itself waits for no answer: the connection may be dead, which shows after 10 s.)
    if (awaited.state === 'asking' && isNotification) {
      awaited.hinted = Math.max(awaited.hinted, messages)
      return
    }
    if (awaited.state === 'watched') {
      if (isNotification) adaptPause(awaited)
      loosen(awaited)
      toUnwatch.add(awaited.queue)
      flushSoon()
    }
    awaited.line.wake(messages)
    forgetIfLeft(awaited)
  }

  /** Notifications cost commits: where one follows soon on each watch, watch less often. */
  function adaptPause(awaited: Awaited): void {
    const most = awaited.isVain ? longestVainPauseMillis : longestPauseMillis
    const watchedMillis = performance.now() - awaited.watchedAt
    if (watchedMillis < awaited.pauseMillis / 2) awaited.pauseMillis = Math.min(awaited.pauseMillis * 2, most)
    else if (watchedMillis > awaited.pauseMillis) {
      awaited.pauseMillis = Math.max(awaited.pauseMillis / 2, shortestPauseMillis)
    }
  }

  /** Nobody looks any more, and somebody waits. */
  function rest(awaited: Awaited, found: boolean): void {
    awaited.isVain = !found
    if (found) awaited.misses = 0
    if (closed) return
    clearTimeout(lingering)
    if (awaited.state === 'watched') checkFenceSoon()
    if (awaited.state !== 'loose') return
    if (!listener.isReady) {
      listener.open()
      poll.rest(awaited.queue, awaited.line, found)
      return
    }
    awaited.state = 'pausing'
    const since = performance.now() - awaited.watchedAt
    awaited.timer = setTimeout(() => ask(awaited), Math.max(awaited.pauseMillis - since, 0))
  }

  function ask(awaited: Awaited): void {
    clearTimeout(awaited.timer)
    awaited.state = 'asking'
    toWatch.add(awaited)
    flushSoon()
  }

  /** What is said in the same moment is said in one statement. */
  function flushSoon(): void {
    if (isFlushing) return
    isFlushing = true
    queueMicrotask(() => {
      isFlushing = false
      flush()
    })
  }

  function flush(): void {
    if (!listener.isReady) return
    if (toUnwatch.size > 0) {
      listener.unwatch([...toUnwatch]).catch(() => {})
      toUnwatch.clear()
    }
    const asked = [...toWatch]
    toWatch.clear()
    const now = performance.now()
    for (let next = 0; next < asked.length; next += mostPerStatement) {
      const part = asked.slice(next, next + mostPerStatement)
      const costly = part.filter(({ affordableAt }) => affordableAt > now)
      listener
        .watch(
          part.map(({ queue }) => queue),
          costly.map(({ queue }) => queue),
        )
        .then((answers) => {
          for (const answer of answers) beginWatch(answer)
          fenceMillis = shortestFenceMillis
          checkFenceSoon()
        })
        // The listener has said that it is lost.
        .catch(() => {})
    }
  }

  function beginWatch(answer: Watched): void {
    const awaited = queues.get(answer.queue)
    if (awaited?.state !== 'asking') return
    const { hinted } = awaited
    awaited.state = 'watched'
    awaited.watchedAt = performance.now()
    awaited.fence = BigInt(answer.fence)
    awaited.early = openBefore(answer.snapshot, awaited.fence)
    awaited.hinted = 0
    if (hinted > 0) hint(awaited, hinted, false)
    else heed(awaited, answer)
  }

  /** What there is in a queue that is watched. */
  function heed(awaited: Awaited, { gone, available_in, took }: Prospect): void {
    const now = performance.now()
    awaited.affordableAt = Math.max(awaited.affordableAt, now + costlyMillis(took))
    if (gone) {
      hint(awaited, Number.POSITIVE_INFINITY, false)
    } else if (available_in === 0) {
      const miss = awaited.misses++
      awaited.dueAt = now + Math.min(shortestMissMillis * 2 ** miss, longestMissMillis)
      if (miss === 0) hint(awaited, 1, false)
      else setAlarm(awaited)
    } else {
      awaited.misses = 0
      // (A millisecond, so that a timer that is early by its rounding does not find nothing.)
      awaited.dueAt = available_in === null ? Number.POSITIVE_INFINITY : now + available_in * 1000 + 1
      awaited.emptyUntil = awaited.dueAt
      setAlarm(awaited)
    }
  }

  /** For a queue that is watched: when to look untold, or, if nobody waits, when to give it up. */
  function setAlarm(awaited: Awaited): void {
    clearTimeout(awaited.timer)
    if (closed) return
    const isLeft = awaited.line.length === 0
    const millis = isLeft ? lingerMillis : awaited.dueAt - performance.now()
    if (millis === Number.POSITIVE_INFINITY) return
    awaited.timer = setTimeout(
      () => {
        if (isLeft || awaited.dueAt <= performance.now()) hint(awaited, 1, false)
        else setAlarm(awaited)
      },
      Math.min(Math.max(millis, 0), longestTimerMillis),
    )
  }

  /** Those who may not know that we wait: when one of them has ended, see what it brought. */
  function checkFenceSoon(): void {
    if (fenceTimer || closed || unsettled().length === 0) return
    fenceTimer = setTimeout(async () => {
      await checkFence().catch(() => {})
      fenceTimer = undefined
      checkFenceSoon()
    }, fenceMillis)
    fenceMillis = Math.min(fenceMillis * 2, longestFenceMillis)
  }

  function unsettled(): Awaited[] {
    return [...queues.values()].filter(({ state, early, line }) => state === 'watched' && early > 0 && line.parked > 0)
  }

  async function checkFence(): Promise<void> {
    const before = new Map(unsettled().map((awaited) => [awaited, awaited.fence]))
    if (before.size === 0) return
    const snapshot = await listener.snapshot()
    const isSame = (awaited: Awaited) => awaited.state === 'watched' && awaited.fence === before.get(awaited)
    const lessened = [...before.keys()].filter((awaited) => {
      const left = openBefore(snapshot, awaited.fence)
      if (!isSame(awaited) || left >= awaited.early) return false
      awaited.early = left
      return true
    })
    const now = performance.now()
    for (const { line } of lessened.filter(({ affordableAt }) => affordableAt > now)) line.wake(1)
    const affordable = lessened.filter(({ affordableAt }) => affordableAt <= now)
    if (affordable.length === 0) return
    for (const prospect of await listener.prospects(affordable.map(({ queue }) => queue))) {
      const awaited = queues.get(prospect.queue)
      if (awaited && isSame(awaited)) heed(awaited, prospect)
    }
  }

  /** It is watched no more, and nothing is known of it. */
  function loosen(awaited: Awaited): void {
    clearTimeout(awaited.timer)
    awaited.state = 'loose'
    awaited.emptyUntil = 0
    awaited.early = 0
    awaited.hinted = 0
  }

  function forgetIfLeft(awaited: Awaited): void {
    if (awaited.line.length > 0 || awaited.state === 'asking' || awaited.state === 'watched') return
    clearTimeout(awaited.timer)
    queues.delete(awaited.queue)
    poll.forget(awaited.queue)
    if (queues.size > 0 || closed) return
    clearTimeout(lingering)
    // (The watches may have outlived him already.)
    lingering = setTimeout(() => void listener.close(), leftAt + lingerMillis - performance.now())
  }

  return {
    get mode() {
      return listener.mode
    },
    get closed() {
      return closed
    },
    wait(queue, max) {
      const { line } = awaitedFor(queue)
      if (closed) line.close()
      return line.join(max)
    },
    poke(queue, messages = 1) {
      const awaited = queues.get(queue)
      if (awaited) hint(awaited, messages, false)
    },
    async close() {
      closed = true
      for (const { line, timer } of queues.values()) {
        clearTimeout(timer)
        line.close()
      }
      clearTimeout(fenceTimer)
      clearTimeout(lingering)
      poll.stop()
      await Promise.all([poll.settled(), listener.close()])
    },
  }
}
