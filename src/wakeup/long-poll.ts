/* The long poll: look whenever the hub says so, until there is something or the time is over. It holds no database connection while it
 * waits. */
import type { Hub } from './hub.ts'

export interface LongPoll<Message> {
  readonly queue: string
  /** Most messages that a look finds. */
  readonly max: number
  /** 0: look once. */
  readonly waitSeconds: number
  /** Aborts when the caller has gone away. */
  readonly signal: AbortSignal
  /** Whether the first look does more than look, so that it may not be left out. */
  readonly looksFirst?: boolean
  readonly look: () => Promise<readonly Message[]>
  /** Undo a look whose caller went away meanwhile: nobody would settle these before their lease ends. */
  readonly giveBack: (messages: readonly Message[]) => Promise<unknown>
}

/** What the first successful look finds; nothing if the time is over, or if the caller has gone away. */
export async function longPoll<Message>(hub: Hub, poll: LongPoll<Message>): Promise<readonly Message[]> {
  const end = performance.now() + poll.waitSeconds * 1000
  if (poll.waitSeconds === 0 || poll.looksFirst) {
    const messages = await lookFor(poll)
    if (messages.length > 0 || poll.waitSeconds === 0) return messages
  }
  const waiter = hub.wait(poll.queue, poll.max)
  let found = 0
  try {
    while (await waiter.hint(end - performance.now(), poll.signal)) {
      const messages = await lookFor(poll)
      found = messages.length
      if (found > 0) return messages
    }
    return []
  } finally {
    waiter.leave(found)
  }
}

/** Look; nothing if the caller has gone away. */
async function lookFor<Message>({ look, signal, giveBack }: LongPoll<Message>): Promise<readonly Message[]> {
  if (signal.aborted) return []
  const messages = await look()
  if (!signal.aborted) return messages
  if (messages.length > 0) await giveBack(messages)
  return []
}
