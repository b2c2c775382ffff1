/* The wake-up hub: what turns "something may be there" into waking the receives that wait.
 *
 * A wake-up is a hint; the table is the truth. So a receive listens first, looks second, and looks again after every hint:
 *
 *   const waiter = hub.wait('orders')     // 1 listen
 *   look                                  // 2 look: what was sent before 1 is seen here
 *   await waiter.hint(seconds, signal)    // 3 what was sent after 1 wakes us
 *   look                                  // 4
 *
 * A hub may hint too often, never too rarely: at the latest after the hub's own bound it hints without a reason. */

export interface Waiter {
  /** Resolves at the next hint since the wait began or since the last hint was taken, after `millis` without one, or when the
   * signal aborts. */
  hint(millis: number, signal: AbortSignal): Promise<void>
  /** Forget this waiter. */
  leave(): void
}

export interface Hub {
  /** Begin to listen for a queue. */
  wait(queue: string): Waiter
  /** Something may be in the queue now: called by whoever put it there, after the commit. */
  poke(queue: string): void
  /** How it learns of messages, in words, for /healthz. */
  readonly mode: string
  /** True once the process is about to stop: nobody should wait any more. */
  readonly closed: boolean
  /** Wake everybody, for good. */
  close(): void
}
