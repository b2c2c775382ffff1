/* A hub without a connection: waiters of this process are poked by sends of this process at once, and hint themselves now and
 * then for what others sent. The pause between two hints of a waiter doubles from 50 ms to half a second, and starts anew with
 * every poke, so a waiter costs at most two queries a second on an idle queue, and 20 at the start of its wait. */
import type { Hub, Waiter } from './hub.ts'

const shortestPauseMillis = 50
const longestPauseMillis = 500

export function createPollHub(): Hub {
  const waiting = new Map<string, Set<() => void>>()
  const closed = new AbortController()

  return {
    mode: 'poll',
    get closed() {
      return closed.signal.aborted
    },
    wait(queue) {
      const pokes = waiting.get(queue) ?? new Set()
      waiting.set(queue, pokes)
      return createWaiter(pokes, closed.signal, () => pokes.size === 0 && waiting.delete(queue))
    },
    poke(queue) {
      for (const poke of waiting.get(queue) ?? []) poke()
    },
    close() {
      closed.abort()
    },
  }
}

function createWaiter(pokes: Set<() => void>, closed: AbortSignal, onLeave: () => void): Waiter {
  let poked = false
  let pauseMillis = shortestPauseMillis
  let wake = () => {}
  const poke = () => {
    poked = true
    pauseMillis = shortestPauseMillis
    wake()
  }
  pokes.add(poke)
  closed.addEventListener('abort', poke)

  return {
    async hint(millis, signal) {
      if (!poked && !closed.aborted && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.min(millis, pauseMillis))
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
          signal.addEventListener('abort', wake)
        })
        signal.removeEventListener('abort', wake)
        pauseMillis = Math.min(pauseMillis * 2, longestPauseMillis)
      }
      poked = false
    },
    leave() {
      pokes.delete(poke)
      closed.removeEventListener('abort', poke)
      onLeave()
    },
  }
}
