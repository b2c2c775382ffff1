/* A stream of messages: one long poll after the other, for as long as its time lasts and its reader reads.
 *
 *  1. It looks only when its reader asks for more, and hands over one message at a time: what is taken and not handed over yet is one batch
 *     at most.
 *  2. While there is nothing it says now and then that it lives: else somebody in between takes the connection for dead.
 *  3. It ends by itself: when its time is over or the hub is closed (it takes nothing more, and hands over what it has taken), and with
 *     an error, of which it tells.
 *  4. A reader goes away (the signal aborts, or the body is cancelled: runtimes do either, or both), or reads nothing for five seconds after
 *     the end. Then what was not handed over is given back. */
import { errorStatus, QueueError } from '../errors.ts'
import type { Hub } from './hub.ts'
import { type LongPoll, longPoll } from './long-poll.ts'

export interface MessageStream<Message> extends Omit<LongPoll<Message>, 'waitSeconds' | 'looksFirst'> {
  /** How long it lasts. */
  readonly seconds: number
  /** How long it is silent at most. */
  readonly heartbeatSeconds: number
  readonly texts: {
    readonly opening: string
    readonly heartbeat: string
    readonly message: (message: Message) => string
    readonly problem: (error: unknown) => string
  }
}

export interface OpenStream {
  readonly body: ReadableStream<Uint8Array>
  /** Resolves when nothing goes on any more: with the error that ended it, if one did. */
  readonly ended: Promise<unknown>
}

/** How long a reader may read nothing after the end. */
const patienceSeconds = 5

/** Begins with a look, so that what is wrong with the request is known before anything is said.
 * @throws what the look throws, unless it is an error that time may mend: a browser comes again after a stream, but not after a refusal. */
export async function openStream<Message>(hub: Hub, stream: MessageStream<Message>): Promise<OpenStream> {
  const { texts, giveBack, signal } = stream
  const end = performance.now() + stream.seconds * 1000
  const secondsLeft = () => (hub.closed ? 0 : (end - performance.now()) / 1000)
  // Taken and not handed over yet.
  let held = [...(await firstLook(hub, stream))]
  let looking = Promise.resolve()
  let unreadSeconds = 0
  let reader: ReadableStreamDefaultController<Uint8Array>
  const gone = new AbortController()
  const over = Promise.withResolvers<unknown>()
  const encoder = new TextEncoder()

  async function handOver(): Promise<void> {
    unreadSeconds = 0
    try {
      const text = await next()
      if (gone.signal.aborted) return
      if (text !== undefined) return reader.enqueue(encoder.encode(text))
      finish(undefined)
    } catch (error) {
      if (gone.signal.aborted) return
      reader.enqueue(encoder.encode(texts.problem(error)))
      finish(error)
    }
    reader.close()
  }

  /** What comes next; nothing at the end. */
  async function next(): Promise<string | undefined> {
    if (held.length === 0) {
      const waitSeconds = Math.min(secondsLeft(), stream.heartbeatSeconds)
      if (waitSeconds <= 0) return undefined
      looking = longPoll(hub, { ...stream, waitSeconds, signal: gone.signal }).then((taken) => {
        held = [...taken]
      })
      await looking
      if (gone.signal.aborted) return undefined
    }
    const message = held.shift()
    if (message !== undefined) return texts.message(message)
    return secondsLeft() > 0 ? texts.heartbeat : undefined
  }

  async function leave(): Promise<void> {
    if (gone.signal.aborted) return
    gone.abort()
    // (In the same process it may be read still, and would wait for ever. A server cancels it in this very moment, as it should: one that finds
    // an error in its place prints it.)
    if (signal.aborted) setTimeout(() => reader.error(signal.reason))
    try {
      await looking
      if (held.length > 0) await giveBack(held.splice(0))
      finish(undefined)
    } catch (error) {
      finish(error)
    }
  }

  function finish(error: unknown): void {
    clearInterval(watch)
    signal.removeEventListener('abort', leave)
    over.resolve(error)
  }

  const watch = setInterval(() => {
    if (secondsLeft() > 0 || ++unreadSeconds <= patienceSeconds) return
    reader.error(new Error(`nothing moved for ${patienceSeconds} s after the end of the stream`))
    leave()
  }, 1000)
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        reader = controller
        reader.enqueue(encoder.encode(texts.opening))
      },
      pull: handOver,
      cancel: leave,
    },
    // Nothing is taken ahead of the reader.
    { highWaterMark: 0 },
  )
  signal.addEventListener('abort', leave)
  if (signal.aborted) leave()
  return { body, ended: over.promise }
}

/** What is there already. An error that time may mend is left to the look that follows, whose error is told in the stream. */
async function firstLook<Message>(hub: Hub, stream: MessageStream<Message>): Promise<readonly Message[]> {
  try {
    return await longPoll(hub, { ...stream, waitSeconds: 0 })
  } catch (error) {
    if (error instanceof QueueError && errorStatus[error.code] === 503) return []
    throw error
  }
}
