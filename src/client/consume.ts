/* consume: receive, handle, settle, until told to stop.
 *
 *  1. What is received is as many messages as there are free hands, by long poll; so the batches grow with the load. While there are more
 *     messages than hands, two receives are under way, each for half of the hands (four where there are very many), so that the server works
 *     while the handlers do.
 *  2. A hand takes one message, or all that a receive brought of one group: these one after the other, because they are one lease, and
 *     when one fails, the server takes back those behind it. (A fair queue's have a lease each, but look the same from here.) A hand is
 *     free again when its last handler ends. Its ack goes along with the next receive (settler.ts), which then does not wait for messages:
 *     how the acks ended must not be known late. While a receive does wait, acks go out by themselves, at once. Messages that wait for
 *     their ack, or for their turn, count up to once more the concurrency, so that a slow server slows the receiving down.
 *  3. A message that was received is kept (leases.ts) until it is settled.
 *  4. Stopping (the caller's signal, a loop that is left, an error that will not pass) ends the receiving; handlers run to their end, and
 *     what arrives from then on, or waits for its turn, is given back. A receive that is under way has half a second to come back with
 *     what the server may just be leasing to us, then it is aborted: an idle poll could take 20 s more, and to stop must be quick. If
 *     the server leases a message in that very instant, it comes back when its lease ends.
 *  5. A server that is away is asked again with a growing backoff, for ever. What will not pass (401, 403, 404 …) ends the consumer. */
import { backoffMilliseconds } from './backoff.ts'
import { mustBeBetween } from './bounds.ts'
import { type Held, type HeldMessage, hold } from './held.ts'
import { isOurs, isOursAt, keepLeases } from './leases.ts'
import { errorText, type Message } from './message.ts'
import { type Delivery, type Received, receive } from './receive.ts'
import type { RemoteQueue } from './remote.ts'
import type { NackOptions } from './settle.ts'
import { createSettler, type Ride } from './settler.ts'

const WAIT_SECONDS = 20
const GRACE_MILLISECONDS = 500
const MAX_CONCURRENCY = 1000

export interface ConsumeOptions<Body = unknown> {
  /** How many handlers run side by side, 1 – 1000; in a `for await` loop, which handles one after the other, messages fetched ahead.
   * Messages of one group that a receive brought together are handled in their order, one after the other, also in a fair queue; and
   * when one fails, those behind it are given back. Defaults to 1, which keeps the queue's order. Too low: a request per message; too
   * high: messages wait here (up to twice as many are in hand) while another consumer idles. */
  readonly concurrency?: number | undefined
  /** The lease, in seconds, 1 – 43200, extended by itself at every third of it. Defaults to 30. Too short: a server that is away for so
   * long costs the lease; too long: what a crashed consumer had comes back late. */
  readonly leaseSeconds?: number | undefined
  /** After how many seconds a message whose handler threw may be received again, 0 – 31536000. Defaults to what the queue's retry policy
   * says, which is better known there: to all consumers, and to people. A queue without one (its retryDelaySeconds is 0) hands the
   * message out again at once, so one that always fails keeps the consumer busy until maxAttempts. */
  readonly retryDelaySeconds?: number | ((message: Message<Body>, error: unknown) => number | undefined) | undefined
  /** Hears of everything that goes wrong: handlers that threw and leases lost (with the message), servers away, acks refused. Throwing
   * from it ends the consumer with that error, and so does a promise that rejects (which nobody waits for: once the consumer has ended it
   * changes nothing). Without it trouble shows only in the messages' lastError. */
  readonly onError?: ((error: unknown, message?: HeldMessage<Body>) => unknown) | undefined
  /** Aborting it stops gracefully: no further receives, running handlers end and their messages are settled, the rest is given back. The
   * consumer then ends without an error. While the server is away this takes up to a lease. */
  readonly signal?: AbortSignal | undefined
}

/** What a handler resolves to when the message was not handled after all: it may be received again at once, and this attempt does not count. */
export const GIVE_BACK = Symbol()

/** @param handle its message is acked when it resolves, unless it settled the message itself, and nacked when it rejects. What it may
 * ask is whether the lease is ours still: for one that keeps a message waiting.
 * @param stopping aborts when the consumer begins to stop, and stops it when aborted from outside. */
export async function consume<Body>(
  queue: RemoteQueue,
  options: ConsumeOptions<Body>,
  handle: (message: HeldMessage<Body>, isOurs: () => boolean) => unknown,
  stopping = new AbortController(),
): Promise<void> {
  const { concurrency = 1, leaseSeconds = 30, retryDelaySeconds, onError, signal } = options
  mustBeBetween('concurrency', concurrency, 1, MAX_CONCURRENCY)
  mustBeBetween('leaseSeconds', leaseSeconds, 1, 43_200)
  const { now, random, sleep } = queue.connection.effects
  const atOnce = concurrency < 400 ? 2 : 4
  const held = new Set<Held<Body>>()
  const polling = new AbortController()
  const finished = new AbortController()
  const settler = createSettler(queue, report)
  let handling = 0
  /** How many messages receives under way may bring. */
  let asked = 0
  /** Whether the last one brought as many as it might: there are more. */
  let plenty = false
  /** While a receive waits for messages, or the receiving is over: nothing that is gathered would go along with a receive soon. */
  let idle = false
  let failure: { readonly error: unknown } | undefined
  let alarm: PromiseWithResolvers<void> | undefined

  const stop = () => stopping.abort()
  stopping.signal.addEventListener('abort', () => {
    wake()
    const quit = () => polling.abort()
    sleep(GRACE_MILLISECONDS, finished.signal).then(quit, quit)
  })
  signal?.addEventListener('abort', stop)
  if (signal?.aborted) stop()

  const keeping = keepLeases(queue, held, leaseSeconds, finished.signal, report)
  await Promise.all(
    Array.from({ length: atOnce }, () => receiveOn().catch((error) => stopping.signal.aborted || fail(error))),
  )
  idle = true
  settler.flush()
  while (handling > 0 || held.size > 0) await woken()
  finished.abort()
  await keeping
  signal?.removeEventListener('abort', stop)
  if (failure) throw failure.error

  function fail(error: unknown): void {
    failure ??= { error }
    stop()
  }

  /** Never rejects. */
  async function report(error: unknown, about?: Held<Body>): Promise<void> {
    try {
      await onError?.(error, about?.message)
    } catch (fatal) {
      fail(fatal)
    }
  }

  function wake(): void {
    alarm?.resolve()
    alarm = undefined
  }

  function woken(): Promise<void> {
    alarm ??= Promise.withResolvers()
    return alarm.promise
  }

  async function receiveOn(): Promise<void> {
    for (let empty = 0; !stopping.signal.aborted; ) {
      const free = Math.min(concurrency - handling, 2 * concurrency - held.size) - asked
      if (free < 1 || idle || (asked > 0 && !plenty)) {
        // With all hands busy, acks go along with the receive that follows when one is free.
        if (asked === 0 && handling < concurrency) settler.flush()
        await woken()
        continue
      }
      const ride = settler.ride()
      settler.flush()
      const waits = asked === 0 && ride.receipts.length === 0
      const max = waits ? free : Math.min(free, Math.ceil(concurrency / atOnce))
      const started = now()
      let received: Received
      idle = waits
      asked += max
      try {
        received = await poll(max, ride, waits ? WAIT_SECONDS : undefined)
      } finally {
        asked -= max
        idle = false
      }
      const { deliveries, arrivedAt } = received
      plenty = deliveries.length === max
      const endsAt = arrivedAt + leaseSeconds * 1000
      for (const line of Map.groupBy(deliveries, (delivery) => delivery.group ?? delivery).values()) take(line, endsAt)
      // A stopping server or a proxy answers at once instead of waiting; asking again at once would be a busy loop.
      empty = waits && deliveries.length === 0 && now() - started < 1000 ? empty + 1 : 0
      if (empty > 0) {
        idle = true
        await sleep(backoffMilliseconds(empty, 0, random), polling.signal)
        idle = false
      }
      wake()
    }
  }

  async function poll(max: number, ride: Ride, waitSeconds: number | undefined): Promise<Received> {
    const acks = ride.receipts.length > 0 ? ride.receipts : undefined
    const retry = (error: unknown) => {
      report(error)
      return !stopping.signal.aborted
    }
    try {
      const request = { max, waitSeconds, leaseSeconds, acks }
      const received = await receive(queue, request, { signal: polling.signal, retry })
      ride.arrived(received.acks)
      return received
    } catch (error) {
      ride.missed()
      throw error
    }
  }

  function settleLater(one: Held<Body>, verb: 'ack' | 'nack', request?: NackOptions): Promise<void> {
    const settled = settler.settle(one, verb, request)
    if (idle) settler.flush()
    return settled
  }

  /** @param deliveries one, or those of one group. */
  function take(deliveries: readonly Delivery[], endsAt: number): void {
    const line = deliveries.map((delivery) => hold<Body>(queue, delivery, endsAt, release))
    for (const one of line) held.add(one)
    void handleInOrder(line)
  }

  async function handleInOrder(line: readonly Held<Body>[]): Promise<void> {
    let goesOn = true
    handling++
    for (const one of line) {
      goesOn &&= isOursAt(now(), one, report)
      if (!goesOn) {
        // Usually the server has taken it back already, and refuses. Not where the one that failed became a dead letter.
        one.settlement = giveBack(one).catch(() => {})
      } else if (stopping.signal.aborted) one.settlement = giveBack(one)
      else goesOn = await handled(one)
      void releaseOnceSettled(one)
      if (one !== line.at(-1)) settler.flush()
    }
    handling--
    wake()
  }

  /** Whether the next of its group may be handled. Never rejects. */
  async function handled(one: Held<Body>): Promise<boolean> {
    try {
      void one.message.body // Throws here what the schema has against it.
      const result = await handle(one.message, () => isOursAt(now(), one, report))
      one.settlement ??= result === GIVE_BACK ? giveBack(one) : settleLater(one, 'ack')
      return result !== GIVE_BACK && !one.nacked
    } catch (error) {
      // That the lease was lost has been reported; a handler may throw it on.
      if (isOurs(one) || error !== one.lost.signal.reason) report(error, one)
      try {
        const delaySeconds =
          typeof retryDelaySeconds === 'function' ? retryDelaySeconds(one.message, error) : retryDelaySeconds
        one.settlement ??= settleLater(one, 'nack', { delaySeconds, error: errorText(error) })
      } catch (fatal) {
        fail(fatal)
      }
      return false
    }
  }

  /** Nobody worked on it: so it is available at once, whatever the retry policy, and has not used an attempt. */
  function giveBack(one: Held<Body>): Promise<void> {
    return settleLater(one, 'nack', { delaySeconds: 0, untried: true })
  }

  async function releaseOnceSettled(one: Held<Body>): Promise<void> {
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
