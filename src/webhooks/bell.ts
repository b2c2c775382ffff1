/* Who rests until something changes. What rings between a look and the rest after it is not missed: the rest is told how often it had rung
 * before the look. */

export interface Bell {
  /** How often it has rung. */
  readonly rings: number
  ring(): void
  /** For so long, or until it rings, or the signal aborts; not at all if it has rung since. */
  rest(millis: number, signal: AbortSignal, since: number): Promise<void>
}

export function createBell(): Bell {
  const resting = new Set<() => void>()
  let rings = 0
  return {
    get rings() {
      return rings
    },
    ring() {
      rings++
      for (const wake of [...resting]) wake()
    },
    rest(millis, signal, since) {
      if (signal.aborted || rings > since) return Promise.resolve()
      return new Promise((resolve) => {
        const wake = () => {
          clearTimeout(timer)
          resting.delete(wake)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        const timer = setTimeout(wake, millis)
        resting.add(wake)
        signal.addEventListener('abort', wake)
      })
    },
  }
}
