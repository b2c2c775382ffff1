/* A hub without a connection: sends of this process wake its waiters at once; for what others sent, one of those who wait for a queue
 * looks now and then. The pause between two looks doubles from 50 ms to half a second, and starts anew with every message, so a queue
 * that somebody waits for costs at most two queries a second, and 20 at the start of a wait, however many wait. */
import type { Hub } from './hub.ts'
import { createLine, type Line } from './line.ts'

export const shortestPollMillis = 50
export const longestPollMillis = 500

interface Polled {
  readonly line: Line
  pauseMillis: number
  /** Until the next look. */
  timer?: ReturnType<typeof setTimeout> | undefined
}

export function createPollHub(): Hub {
  const queues = new Map<string, Polled>()
  let closed = false

  function polled(queue: string): Polled {
    const known = queues.get(queue)
    if (known) return known
    const line = createLine({
      isEmpty: () => false,
      onRest(found) {
        if (found) made.pauseMillis = shortestPollMillis
        made.timer ??= setTimeout(() => look(made, 1), made.pauseMillis)
        made.pauseMillis = Math.min(made.pauseMillis * 2, longestPollMillis)
      },
      onChange() {
        if (line.length > 0) return
        clearTimeout(made.timer)
        queues.delete(queue)
      },
    })
    const made: Polled = { line, pauseMillis: shortestPollMillis }
    queues.set(queue, made)
    return made
  }

  function look(polled: Polled, messages: number): void {
    clearTimeout(polled.timer)
    polled.timer = undefined
    polled.line.wake(messages)
  }

  return {
    mode: 'poll',
    get closed() {
      return closed
    },
    wait: (queue, max) => polled(queue).line.join(max),
    poke(queue, messages = 1) {
      const known = queues.get(queue)
      if (!known) return
      known.pauseMillis = shortestPollMillis
      look(known, messages)
    },
    async close() {
      closed = true
      for (const { line, timer } of queues.values()) {
        clearTimeout(timer)
        line.close()
      }
    },
  }
}
