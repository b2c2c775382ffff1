/* postbag/sqs-handler: handlers that were written for Lambda and SQS run unchanged.
 *
 *   await consumeWithSqsHandler(queue, handler, { signal })
 *
 * Batch after batch is received and handed to the handler as one event. What it names in batchItemFailures is nacked, the rest is acked; if it
 * throws, all of it is nacked. So a handler for FIFO queues reports, as ever, what follows a failure in its group. What a schema refuses is nacked
 * by itself, and the handler does not see it, nor what follows it in its group. While the server is away all this is tried again for as long as
 * the lease is ours. */
import type { Settlement } from '../wire.ts'
import { backoffMilliseconds } from './backoff.ts'
import { mustBeBetween } from './bounds.ts'
import { isPassing } from './connection.ts'
import { platform } from './effects.ts'
import { errorText, type Message } from './message.ts'
import type { Queue } from './queue.ts'
import { explain, refuse, type Verb } from './settle.ts'
import { failuresIn, recordsOf, type SqsEvent } from './sqs-event.ts'

export type { SqsAttributes, SqsEvent, SqsMessageAttribute, SqsRecord } from './sqs-event.ts'

/** As Lambda calls it: what it needs of the context is between it and who calls. It returns a promise, or calls the callback. */
export type SqsHandler = (event: SqsEvent, context: never, callback: never) => unknown

export interface SqsHandlerOptions {
  /** Most messages of an event, 1 – 1000. Defaults to 10, as with SQS. */
  readonly batchSize?: number | undefined
  /** The lease, in seconds, 1 – 43200, extended at every third of it while the handler runs. Defaults to 30. */
  readonly leaseSeconds?: number | undefined
  /** After how many seconds what failed may be received again, 0 – 31536000. Defaults to what the queue's retry policy says. */
  readonly retryDelaySeconds?: number | undefined
  /** Whether to end when there is nothing more, as a function does that runs on a schedule. Defaults to false: wait for messages. */
  readonly stopWhenEmpty?: boolean | undefined
  /** The handler's second argument. A function on Lambda hands on its own. */
  readonly context?: unknown
  /** Defaults to arn:aws:sqs:us-east-1:000000000000:{queue}. The region is taken from it. */
  readonly eventSourceArn?: string | undefined
  /** Hears of everything that goes wrong: handlers that threw, leases lost, servers away. Throwing from it ends the consumer
   * with that error, after the batch that is being handled, and so does a promise that rejects. */
  readonly onError?: ((error: unknown) => unknown) | undefined
  /** Aborting it ends the consumer after the batch that is being handled. */
  readonly signal?: AbortSignal | undefined
}

const PAUSE_MILLISECONDS = 1000

/** Until the signal aborts, or nothing is left. Throws what trying again does not heal, such as `queue_not_found`; with stopWhenEmpty also that
 * the server is away, so that the schedule's owner sees it. */
export async function consumeWithSqsHandler(
  queue: Queue,
  handler: SqsHandler,
  options: SqsHandlerOptions = {},
): Promise<void> {
  const { batchSize = 10, leaseSeconds = 30, stopWhenEmpty = false, onError, signal } = options
  mustBeBetween('leaseSeconds', leaseSeconds, 1, 43_200)
  const waitSeconds = stopWhenEmpty ? 0 : 20
  let fatal: { readonly error: unknown } | undefined
  for (let empty = 0; !signal?.aborted && !fatal; ) {
    const started = platform.now()
    try {
      const messages = await queue.receive({ max: batchSize, leaseSeconds, waitSeconds, signal })
      if (messages.length > 0) await handleBatch(queue, handler, messages, { ...options, leaseSeconds }, report)
      else if (stopWhenEmpty) break
      // A stopping server or a proxy answers at once instead of waiting; asking again at once would be a busy loop.
      empty = messages.length === 0 && platform.now() - started < 1000 ? empty + 1 : 0
      if (empty > 0) await pause(backoffMilliseconds(empty, 0, platform.random), signal)
    } catch (error) {
      if (signal?.aborted && error === signal.reason) break
      if (stopWhenEmpty || !isPassing(error)) throw error
      report(error)
      await pause(PAUSE_MILLISECONDS, signal)
    }
  }
  if (fatal) throw fatal.error

  /** What onError throws ends the consumer, but not before the batch in hand is settled. */
  async function report(error: unknown): Promise<void> {
    try {
      await onError?.(error)
    } catch (thrown) {
      fatal ??= { error: thrown }
    }
  }
}

async function handleBatch(
  queue: Queue,
  handler: SqsHandler,
  messages: readonly Message[],
  options: SqsHandlerOptions & { readonly leaseSeconds: number },
  report: (error: unknown) => void,
): Promise<void> {
  const { leaseSeconds, context, retryDelaySeconds: delaySeconds } = options
  const arn = options.eventSourceArn ?? `arn:aws:sqs:us-east-1:000000000000:${queue.name}`
  const { records, failed, behind } = recordsOf(messages, arn)
  for (const error of failed.values()) report(error)
  const handed = [...records.keys()]
  let endsAt = platform.now() + leaseSeconds * 1000
  const extending = setInterval(() => extend().catch(report), (leaseSeconds * 1000) / 3)
  try {
    const event = { Records: [...records.values()] }
    const returned = handed.length > 0 ? await returnedBy(handler, event, context) : undefined
    const ids = handed.map(({ id }) => id)
    const named = failuresIn(returned, ids)
    for (const message of handed) if (named.includes(message.id)) failed.set(message, 'reported in batchItemFailures')
  } catch (thrown) {
    for (const message of handed) failed.set(message, thrown)
    report(thrown)
  } finally {
    clearInterval(extending)
  }
  const done = handed.filter((message) => !failed.has(message))
  const alike = Map.groupBy(failed.keys(), (message) => errorText(failed.get(message)))
  const settled = [
    settle('ack', done, (receipts) => queue.ack(receipts)),
    ...[...alike].map(([error, ours]) =>
      settle('nack', ours, (receipts) => queue.nack(receipts, { delaySeconds, error })),
    ),
    settle('nack', behind, async (receipts) => {
      // Usually the server has taken them back already, and refuses. Not where the one that failed became a dead letter.
      await queue.nack(receipts, { delaySeconds: 0, untried: true })
      return []
    }),
  ]
  await Promise.allSettled(settled)
  await Promise.all(settled)

  async function extend(): Promise<void> {
    const started = platform.now()
    await queue.extend(receiptsOf(messages), { leaseSeconds })
    endsAt = started + leaseSeconds * 1000
  }

  /** As long as the lease is ours: what is given up is work done twice. */
  async function settle(
    verb: Verb,
    ours: readonly Message[],
    send: (receipts: readonly string[]) => Promise<readonly Settlement[]>,
  ): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        const results = await send(receiptsOf(ours))
        return tell(verb, ours, tries > 1 ? explain(verb, results) : results)
      } catch (error) {
        const left = endsAt - platform.now()
        if (!isPassing(error) || left <= 0) throw error
        report(error)
        await pause(Math.min(left, backoffMilliseconds(tries, error.retryAfterSeconds ?? 0, platform.random)))
      }
    }
  }

  function tell(verb: Verb, ours: readonly Message[], results: readonly Settlement[]): void {
    for (const [index, { id }] of ours.entries()) {
      try {
        refuse(verb, id, results[index]?.outcome)
      } catch (refused) {
        report(refused)
      }
    }
  }
}

function receiptsOf(messages: readonly Message[]): readonly string[] {
  return messages.map(({ receipt }) => receipt)
}

/** It ends early if the signal aborts. */
function pause(milliseconds: number, signal = new AbortController().signal): Promise<void> {
  return platform.sleep(milliseconds, signal).catch(() => {})
}

/** What it resolves to, or calls back with. */
function returnedBy(handler: SqsHandler, event: SqsEvent, context: unknown): Promise<unknown> {
  const call = handler as (event: SqsEvent, context: unknown, callback: unknown) => unknown
  return new Promise((resolve, reject) => {
    const returned = call(event, context, (error: unknown, result: unknown) =>
      error ? reject(error) : resolve(result),
    )
    const callsBack = handler.length > 2 && typeof (returned as Promise<unknown> | undefined)?.then !== 'function'
    if (!callsBack) resolve(returned)
  })
}
