/* The long poll: look, wait for a hint, look again, until there is something or the time is over. It holds no database connection
 * while it waits. */
import type { Hub } from './hub.ts'

export interface LongPoll<Message> {
  readonly queue: string
  /** 0: look once. */
  readonly waitSeconds: number
  /** Aborts when the caller has gone away. */
  readonly signal: AbortSignal
  readonly look: () => Promise<readonly Message[]>
  /** Undo a look whose caller went away meanwhile: nobody would settle these before their lease ends. */
  readonly giveBack: (messages: readonly Message[]) => Promise<unknown>
}

/** What the first successful look finds; nothing if the time is over, or if the caller has gone away. */
export async function longPoll<Message>(hub: Hub, poll: LongPoll<Message>): Promise<readonly Message[]> {
  const end = performance.now() + poll.waitSeconds * 1000
  const waiter = hub.wait(poll.queue)
  try {
    while (true) {
      const messages = await poll.look()
      if (poll.signal.aborted) {
        if (messages.length > 0) await poll.giveBack(messages)
        return []
      }
      const left = end - performance.now()
      if (messages.length > 0 || left <= 0 || hub.closed) return messages
      await waiter.hint(left, poll.signal)
    }
  } finally {
    waiter.leave()
  }
}
