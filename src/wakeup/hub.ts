/* The wake-up hub: what turns "something may be there" into waking the receives that wait.
 *
 * A wake-up is a hint; the table is the truth. So a receive looks after every hint, and unless its hub knows better also before:
 *
 *   const waiter = hub.wait('orders', 10)
 *   if (waiter.looksFirst) look
 *   while (await waiter.hint(millis, signal)) look     // until there is something, or nothing can come in time any more
 *   waiter.leave(found)
 *
 * A hub may hint too often, never too rarely. It hints to no more waiters than there may be messages for, those that came first before the
 * others (wakeup/line.ts). Three hubs: listen-hub.ts is told by the database; poll-hub.ts asks it now and then, where it cannot tell;
 * remote-hub.ts waits at a listen hub that lives in a Durable Object. */

/** The name under which who delivers webhooks waits for the queues of all endpoints (migrations: wake.sql). */
export const allEndpoints = '~webhooks'

export interface Waiter {
  /** Whether there may be something already. */
  readonly looksFirst: boolean
  /** Resolves with true when the caller should look; with false when there is no need to (any more): after `millis` without a hint, when
   * the signal aborts, when the hub is closed. */
  hint(millis: number, signal: AbortSignal): Promise<boolean>
  /** Forget this waiter, whose last look found so many messages. */
  leave(found: number): void
}

export interface Hub {
  /** Begin to wait for a queue, for up to `max` messages; or for a reply, by the name under which it is awaited (queue/request.ts); or
   * for all endpoints. */
  wait(queue: string, max: number): Waiter
  /** So many messages may be in the queue now: called by whoever put them there, after the commit. Defaults to 1. */
  poke(queue: string, messages?: number): void
  /** How it learns of messages, and why so, in words, for /healthz. */
  readonly mode: string | Promise<string>
  /** True once the process is about to stop: nobody should wait any more. */
  readonly closed: boolean
  /** Answer everybody, for good; resolves when nothing is open any more. */
  close(): Promise<void>
}
