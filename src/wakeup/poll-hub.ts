/* A hub without a connection: sends of this process wake its waiters at once; for what others sent, the database is asked now and then, once
 * for all who wait (poll.ts says how often, and what that costs). */
import type { Executor } from '../db/call.ts'
import type { Hub } from './hub.ts'
import { createLine, type Line } from './line.ts'
import { createPoll } from './poll.ts'

export interface PollHubOptions {
  /** What asks: the same database as that of the receives. */
  readonly executor: Executor
}

export function createPollHub({ executor }: PollHubOptions): Hub {
  const lines = new Map<string, Line>()
  const poll = createPoll(executor)
  let closed = false

  function lineOf(queue: string): Line {
    const known = lines.get(queue)
    if (known) return known
    const made = createLine({
      isEmpty: () => false,
      wasEmpty: () => poll.hasSeenNothing(queue),
      onRest: (found) => poll.rest(queue, made, found),
      onChange() {
        if (made.length > 0) return
        lines.delete(queue)
        poll.forget(queue)
      },
    })
    lines.set(queue, made)
    return made
  }

  return {
    mode: 'poll: there is no connection to listen on here',
    get closed() {
      return closed
    },
    wait(queue, max) {
      const line = lineOf(queue)
      if (closed) line.close()
      return line.join(max)
    },
    poke(queue, messages = 1) {
      lines.get(queue)?.wake(messages)
    },
    async close() {
      closed = true
      poll.stop()
      for (const line of lines.values()) line.close()
      await poll.settled()
    },
  }
}
