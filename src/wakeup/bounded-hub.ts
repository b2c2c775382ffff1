/* A hub whose waits end in time: a platform that allows a request so many seconds would end a longer wait with an error of its own. */
import type { Hub } from './hub.ts'

/** @param millisLeft how much longer a wait may take, asked whenever one begins or goes on. */
export function bounded(hub: Hub, millisLeft: () => number): Hub {
  return {
    wait(queue, max) {
      const waiter = hub.wait(queue, max)
      return {
        looksFirst: waiter.looksFirst,
        hint: (millis, signal) => waiter.hint(Math.min(millis, millisLeft()), signal),
        leave: (found) => waiter.leave(found),
      }
    },
    poke: (queue, messages) => hub.poke(queue, messages),
    get mode() {
      return hub.mode
    },
    // (A stream ends then, too.)
    get closed() {
      return hub.closed || millisLeft() <= 0
    },
    close: () => hub.close(),
  }
}
