/* The hub as a Worker sees it: those who wait hold a place in a Durable Object (durable-object.ts), which is told by the database.
 *
 * Why no wake-up is lost, whatever happens to the object:
 *
 *  1. Who waits for a hint there is told by listen-hub.ts, whose promise holds for everybody who waits, also for one whose last look was
 *     before he came: what has come since then was notified, if the queue was watched already; and if not, or not any more, it is watched
 *     anew as soon as somebody waits, which begins with asking what there is.
 *  2. If the object ends (evicted, moved, renewed by a deploy) or cannot be reached, the call of each who waits fails. He then looks after
 *     a short pause, and waits again, in a new place: by 1 nothing that came meanwhile is missed. While it stays away he looks now and
 *     then, as with poll-hub.ts.
 *  3. If it does not answer at all, he looks when his time is over.
 *  4. Who was hinted at and does not come back (his Worker ended) has left his place with that, and those who wait are asked for anew.
 *
 * What it costs: a receive that finds something at once asks the object nothing. One that waits is one session with the object, whatever
 * it calls in it. Where the last receive of a queue waited in vain, the next asks the object first, and if that knows that the queue is
 * empty, not the database. A poke is a hint that the database gives, too; so one in a while is enough, and nobody waits for it. */
import type { Hub, Waiter } from './hub.ts'

/** The binding of the object's class, as far as we use it. */
export interface HubNamespace {
  getByName(name: string): RemoteObject
}

interface RemoteObject {
  wait(queue: string, max: number, hasLooked: boolean): RemotePlace
  poke(queue: string, messages: number): Promise<void>
  mode(): Promise<string>
}

/** (What is called on the promise of a place travels with it.) */
interface RemotePlace {
  hint(millis: number): Promise<boolean>
  leave(found: number): Promise<void>
}

export interface RemoteHubOptions {
  readonly namespace: HubNamespace
  /** Among how many objects the queues are divided, each with a connection of its own. Defaults to 1, which serves about a thousand
   * calls a second. */
  readonly objects?: number
  /** Holds the request until work is done that its answer does not wait for. */
  readonly keep: (work: Promise<unknown>) => void
}

/** Later than this after its time the object is taken for silent. */
const graceMillis = 1000
const shortestPauseMillis = 50
const longestPauseMillis = 500
const pokePauseMillis = 20
const mostRemembered = 10_000

/** What an isolate remembers from one request to the next; it holds no I/O. */
const quiet = new Set<string>()
const pokedAt = new Map<string, number>()

export function createRemoteHub({ namespace, objects = 1, keep }: RemoteHubOptions): Hub {
  const objectFor = (queue: string) => namespace.getByName(`hub ${slotOf(queue, objects)}`)

  function wait(queue: string, max: number): Waiter {
    const looksFirst = !quiet.has(queue)
    let place: RemotePlace | undefined
    let hasLooked = looksFirst
    let pauseMillis = shortestPauseMillis

    async function ask(millis: number, signal: AbortSignal): Promise<boolean> {
      try {
        place ??= objectFor(queue).wait(queue, max, hasLooked)
        const look = await atMost(millis + graceMillis, signal, place.hint(millis))
        pauseMillis = shortestPauseMillis
        return look
      } catch {
        place = undefined
        // (Not all at once: what ended the object was felt by everybody who waits.)
        const pause = Math.min(pauseMillis * (0.5 + Math.random() / 2), millis)
        pauseMillis = Math.min(pauseMillis * 2, longestPauseMillis)
        return atMost(pause, signal)
      }
    }

    return {
      looksFirst,
      async hint(millis, signal) {
        if (signal.aborted || millis <= 0) return false
        const look = await ask(millis, signal)
        hasLooked = true
        return look
      },
      leave(found) {
        remember(queue, found)
        if (place) keep(place.leave(found).catch(() => {}))
      },
    }
  }

  return {
    get mode() {
      return modeOf(objectFor(''))
    },
    closed: false,
    wait,
    poke(queue, messages = 1) {
      if (mayPoke(queue))
        keep(
          objectFor(queue)
            .poke(queue, messages)
            .catch(() => {}),
        )
    },
    async close() {},
  }
}

async function modeOf(object: RemoteObject): Promise<string> {
  const silence = Promise.withResolvers<string>()
  const timer = setTimeout(() => silence.resolve('not known: the Durable Object does not answer'), graceMillis)
  try {
    return await Promise.race([object.mode().then((mode) => `${mode}, in a Durable Object`), silence.promise])
  } catch (error) {
    return `poll: the Durable Object cannot be reached: ${error instanceof Error ? error.message : error}`
  } finally {
    clearTimeout(timer)
  }
}

/** What the answer says; true if it takes longer than `millis`, false if the signal aborts before. */
function atMost(millis: number, signal: AbortSignal, answer?: Promise<boolean>): Promise<boolean> {
  return new Promise<boolean>((resolve, reject) => {
    const timer = setTimeout(() => resolve(true), millis)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve(false)
    })
    answer?.finally(() => clearTimeout(timer)).then(resolve, reject)
  })
}

function remember(queue: string, found: number): void {
  if (found > 0) quiet.delete(queue)
  // (A reply is awaited under a name of its own, which does not come again.)
  else if (quiet.size < mostRemembered && !queue.startsWith('~')) quiet.add(queue)
}

function mayPoke(queue: string): boolean {
  const now = Date.now()
  if (now - (pokedAt.get(queue) ?? 0) < pokePauseMillis) return false
  if (pokedAt.size >= mostRemembered) pokedAt.clear()
  pokedAt.set(queue, now)
  return true
}

/** Always the same for a queue. */
function slotOf(queue: string, slots: number): number {
  let hash = 0
  for (const character of queue) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 1_000_003
  return hash % slots
}
