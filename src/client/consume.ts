/* consume: receive, handle, settle, until told to stop.
 *
 *  1. One loop receives, by long poll, as many messages as there are free hands; so the batches grow with the load.
 *  2. A hand is free again when its handler ends. The ack goes out beside the next receive (settler.ts); messages that wait for their ack
 *     count up to once more the concurrency, so that a slow server slows the receiving down.
 *  3. A message that was received is kept (leases.ts) until it is settled.
 *  4. Stopping (the caller's signal, a loop that is left, an error that will not pass) ends the receiving; handlers run to their end, and
 *     what arrives from then on is given back at once. A receive that is under way has half a second to come back with what the server
 *     may just be leasing to us, then it is aborted: an idle poll could take 20 s more, and to stop must be quick. If the server leases
 *     a message in that very instant, it comes back when its lease ends.
 *  5. A server that is away is asked again with a growing backoff, for ever. What will not pass (401, 403, 404 …) ends the consumer. */
import { QueueError } from '../errors.ts'
import { backoffMilliseconds } from './backoff.ts'
import { type Held, type HeldMessage, hold } from './held.ts'
import { isOurs, keepLeases } from './leases.ts'
import type { Message } from './message.ts'
import { type Delivery, receive } from './receive.ts'
import type { RemoteQueue } from './remote.ts'
import { createSettler } from './settler.ts'

const WAIT_SECONDS = 20
const GRACE_MILLISECONDS = 500
const MAX_CONCURRENCY = 1000
const LONGEST_NACK_SECONDS = 60

export interface ConsumeOptions<Body = unknown> {
  /** How many messages are in hand at once, 1 – 1000: handlers that run side by side; in a `for await` loop, which handles one after the
   * other, messages fetched ahead. Defaults to 1, which keeps the queue's order. Too low: a request per message; too high: messages
   * wait here while another consumer idles. */
  readonly concurrency?: number | undefined
  /** The lease, in seconds, 1 – 43200, extended by itself at every third of it. Defaults to 30. Too short: a server that is away for so
   * long costs the lease; too long: what a crashed consumer had comes back late. */
  readonly leaseSeconds?: number | undefined
  /** After how many seconds a message whose handler threw may be received again, 0 – 31536000. Defaults to 1, 2, 4 … 60 by its attempts.
   * 0: a message that always fails keeps the consumer busy. */
  readonly nackDelaySeconds?: number | ((message: Message<Body>, error: unknown) => number) | undefined
  /** Hears of everything that goes wrong: handlers that threw and leases lost (with the message), servers away, acks refused. Throwing
   * from it ends the consumer with that error. Without it trouble shows only in the messages' lastError. */
  readonly onError?: ((error: unknown, message?: HeldMessage<Body>) => void) | undefined
  /** Aborting it stops gracefully: no further receives, running handlers end and their messages are settled, the rest is given back. The
   * consumer then ends without an error. While the server is away this takes up to a lease. */
  readonly signal?: AbortSignal | undefined
}

/** What a handler resolves to when the message was not handled after all: it may be received again at once. */
export const GIVE_BACK = Symbol()

/** @param handle its message is acked when it resolves, unless it settled the message itself, and nacked when it rejects.
 * @param stopping aborts when the consumer begins to stop, and stops it when aborted from outside. */
export async function consume<Body>(
  queue: RemoteQueue,
  options: ConsumeOptions<Body>,
  handle: (message: HeldMessage<Body>) => unknown,
  stopping = new AbortController(),
): Promise<void> {
  const { concurrency = 1, leaseSeconds = 30, nackDelaySeconds = nackBackoffSeconds, onError, signal } = options
  mustBeBetween('concurrency', concurrency, 1, MAX_CONCURRENCY)
  mustBeBetween('leaseSeconds', leaseSeconds, 1, 43_200)
  const { now, random, sleep } = queue.connection.effects
  const held = new Set<Held<Body>>()
  const work = new Set<Promise<void>>()
  const polling = new AbortController()
  const finished = new AbortController()
  const settleLater = createSettler(queue, report)
  let handling = 0
  let failure: { readonly error: unknown } | undefined
  let wake = () => {}

  const stop = () => stopping.abort()
  stopping.signal.addEventListener('abort', () => {
    wake()
    const quit = () => polling.abort()
    sleep(GRACE_MILLISECONDS, finished.signal).then(quit, quit)
  })
  signal?.addEventListener('abort', stop)
  if (signal?.aborted) stop()

  const keeping = keepLeases(queue, held, leaseSeconds, finished.signal, report)
  try {
    for (let empty = 0; !stopping.signal.aborted; ) {
      const free = Math.min(concurrency - handling, 2 * concurrency - held.size)
      if (free < 1) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      const asked = now()
      const deliveries = await poll(free)
      for (const delivery of deliveries) take(delivery)
      // A stopping server or a proxy answers at once instead of waiting; asking again at once would be a busy loop.
      empty = deliveries.length === 0 && now() - asked < 1000 ? empty + 1 : 0
      if (empty > 0) await sleep(backoffMilliseconds(empty, 0, random), polling.signal)
    }
  } catch (error) {
    if (!stopping.signal.aborted) fail(error)
  }
  await Promise.all(work)
  finished.abort()
  await keeping
  signal?.removeEventListener('abort', stop)
  if (failure) throw failure.error

  function fail(error: unknown): void {
    failure ??= { error }
    stop()
  }

  function report(error: unknown, about?: Held<Body>): void {
    try {
      onError?.(error, about?.message)
    } catch (fatal) {
      fail(fatal)
    }
  }

  function poll(max: number): Promise<readonly Delivery[]> {
    const request = { max, waitSeconds: WAIT_SECONDS, leaseSeconds }
    return receive(queue, request, {
      signal: polling.signal,
      retry: (error) => {
        report(error)
        return !stopping.signal.aborted
      },
    })
  }

  function take(delivery: Delivery): void {
    const one = hold<Body>(queue, delivery, leaseSeconds, release)
    held.add(one)
    if (stopping.signal.aborted) one.settlement = settleLater(one, 'nack')
    const ending: Promise<void> = (one.settlement ? settled(one) : handleAndSettle(one))
      .catch(fail)
      .finally(() => work.delete(ending))
    work.add(ending)
  }

  async function handleAndSettle(one: Held<Body>): Promise<void> {
    handling++
    let result: unknown
    try {
      void one.message.body // Throws here what the schema has against it.
      result = await handle(one.message)
    } catch (error) {
      // That the lease was lost has been reported; a handler may throw it on.
      if (isOurs(one) || error !== one.lost.signal.reason) report(error, one)
      const delaySeconds =
        typeof nackDelaySeconds === 'function' ? nackDelaySeconds(one.message, error) : nackDelaySeconds
      one.settlement ??= settleLater(one, 'nack', { delaySeconds, error: errorText(error) })
    }
    handling--
    wake()
    one.settlement ??= settleLater(one, result === GIVE_BACK ? 'nack' : 'ack')
    await settled(one)
  }

  async function settled(one: Held<Body>): Promise<void> {
    try {
      await one.settlement
    } catch (error) {
      // With the lease lost, this is no news.
      if (isOurs(one)) report(error, one)
    }
    release(one)
  }

  function release(one: Held<Body>): void {
    held.delete(one)
    wake()
  }
}

/** Postgres has no U+0000; a message must not go without its nack for that. */
function errorText(error: unknown): string {
  return String(error).replaceAll('\0', '\uFFFD')
}

function nackBackoffSeconds({ attempts }: { readonly attempts: number }): number {
  return Math.min(LONGEST_NACK_SECONDS, 2 ** (attempts - 1))
}

function mustBeBetween(name: string, value: number, least: number, most: number): void {
  if (value >= least && value <= most) return
  throw new QueueError('request_invalid', `${name} must be between ${least} and ${most}, got ${value}`)
}
