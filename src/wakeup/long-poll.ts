/* The long poll: look whenever the hub says so, until there is something or the time is over. It holds no database connection while it
 * waits.
 *
 * A connection that breaks may break under a look, and the next one may work. So who has begun to wait goes on waiting after a look that
 * could not reach the database, and ends only with the second in a row. That is as safe as a client that tries again: what the lost
 * look may have leased comes again when its lease ends, and acks were in the first look, which is not repeated. */
import { QueueError } from '../errors.ts'
import type { Hub } from './hub.ts'

export interface LongPoll<Message> {
  /** Or the name under which a reply is awaited. */
  readonly queue: string
  /** Most messages that a look finds. */
  readonly max: number
  /** 0: look once. */
  readonly waitSeconds: number
  /** Aborts when the caller has gone away. */
  readonly signal: AbortSignal
  /** Whether the caller has just looked, and found nothing. */
  readonly hasLooked?: boolean
  /** Whether the first look does more than look, so that it may not be left out. */
  readonly looksFirst?: boolean
  readonly look: () => Promise<readonly Message[]>
  /** Undo a look whose caller went away meanwhile: nobody would settle these before their lease ends. */
  readonly giveBack: (messages: readonly Message[]) => Promise<unknown>
}

/** What the first successful look finds; nothing if the time is over, or if the caller has gone away. */
export async function longPoll<Message>(hub: Hub, poll: LongPoll<Message>): Promise<readonly Message[]> {
  if (poll.waitSeconds === 0) return lookFor(poll)
  const end = performance.now() + poll.waitSeconds * 1000
  const waiter = hub.wait(poll.queue, poll.max)
  let messages: readonly Message[] = []
  let broken: unknown
  try {
    if ((waiter.looksFirst && !poll.hasLooked) || poll.looksFirst) messages = await lookFor(poll)
    while (messages.length === 0 && (await waiter.hint(end - performance.now(), poll.signal))) {
      try {
        messages = await lookFor(poll)
        broken = undefined
      } catch (error) {
        if (broken || !isAway(error)) throw error
        broken = error
      }
    }
    if (broken && !poll.signal.aborted) throw broken
    return messages
  } finally {
    waiter.leave(messages.length)
  }
}

/** Whether a connection broke, or there is none to be had. */
function isAway(error: unknown): boolean {
  return error instanceof QueueError && error.code === 'database_unavailable'
}

/** Look; nothing if the caller has gone away. */
async function lookFor<Message>({ look, signal, giveBack }: LongPoll<Message>): Promise<readonly Message[]> {
  if (signal.aborted) return []
  const messages = await look()
  if (!signal.aborted) return messages
  if (messages.length > 0) await giveBack(messages)
  return []
}
