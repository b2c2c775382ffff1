/* consume as a loop: `for await (const message of queue.consume())`. The consumer's handlers are the turns of the loop: a message is being
 * handled from its arrival until the loop asks for the next one, and most of that time it waits for its turn. */
import { type ConsumeOptions, consume, GIVE_BACK } from './consume.ts'
import type { HeldMessage } from './held.ts'
import type { RemoteQueue } from './remote.ts'

interface Turn<Body> {
  readonly message: HeldMessage<Body>
  /** Whether the lease is ours. */
  readonly isOurs: () => boolean
  /** Ends the handling: with an ack, or by giving the message back. */
  readonly end: (result?: typeof GIVE_BACK) => void
}

/** A generator ends only after the message that is being waited for, which an idle queue may never bring: so return and throw stop the
 * consumer first. */
export function iterate<Body>(
  queue: RemoteQueue,
  options: ConsumeOptions<Body>,
): AsyncGenerator<HeldMessage<Body>, void, undefined> {
  const stopping = new AbortController()
  const turns = turnsOf(queue, options, stopping)
  for (const way of ['return', 'throw'] as const) {
    const end = turns[way].bind(turns)
    turns[way] = (why) => {
      stopping.abort()
      return end(why)
    }
  }
  return turns
}

async function* turnsOf<Body>(
  queue: RemoteQueue,
  options: ConsumeOptions<Body>,
  stopping: AbortController,
): AsyncGenerator<HeldMessage<Body>, void, undefined> {
  const waiting: Turn<Body>[] = []
  let ended = false
  let wake = () => {}
  stopping.signal.addEventListener('abort', () => {
    for (const { end } of waiting.splice(0)) end(GIVE_BACK)
  })
  const handle = (message: HeldMessage<Body>, isOurs: () => boolean) =>
    new Promise((end) => {
      waiting.push({ message, isOurs, end })
      wake()
    })
  const consumer = consume(queue, options, handle, stopping).finally(() => {
    ended = true
    wake()
  })
  // A failure is thrown when the loop asks for the next message; until then nobody listens.
  consumer.catch(() => {})

  try {
    while (!ended) {
      const turn = waiting.shift()
      // (Somebody else may have it by now.)
      if (turn?.isOurs()) yield* hand(turn)
      else if (turn) turn.end(GIVE_BACK)
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    stopping.abort()
    await consumer
  }
}

/** A loop left in its middle, by break, return or an exception, shows as an early end of the generator: which of them, it cannot know. */
async function* hand<Body>({ message, end }: Turn<Body>): AsyncGenerator<HeldMessage<Body>, void, undefined> {
  let asked = false
  try {
    yield message
    asked = true
  } finally {
    end(asked ? undefined : GIVE_BACK)
  }
}
