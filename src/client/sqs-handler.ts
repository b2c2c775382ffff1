/* postbag/sqs-handler: handlers that were written for Lambda and SQS run unchanged.
 *
 *   await consumeWithSqsHandler(queue, handler, { signal })
 *
 * Batch after batch is received and handed to the handler as one event. What it names in batchItemFailures is nacked, the rest is acked; if it
 * throws, all of it is nacked. So a handler for FIFO queues reports, as ever, what follows a failure in its group. What a schema refuses is nacked
 * by itself, and the handler does not see it, nor what follows it in its group. */
import { isPassing } from './connection.ts'
import { errorText, type Message } from './message.ts'
import type { Queue } from './queue.ts'
import { refuse, type Verb } from './settle.ts'
import { failuresIn, type SqsEvent, type SqsRecord, toSqsRecord } from './sqs-event.ts'

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
   * with that error, after the batch that is being handled. */
  readonly onError?: ((error: unknown) => void) | undefined
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
  const waitSeconds = stopWhenEmpty ? 0 : 20
  let fatal: { readonly error: unknown } | undefined
  while (!signal?.aborted && !fatal) {
    try {
      const messages = await queue.receive({ max: batchSize, leaseSeconds, waitSeconds, signal })
      if (messages.length > 0) await handleBatch(queue, handler, messages, { ...options, leaseSeconds }, report)
      else if (stopWhenEmpty) break
    } catch (error) {
      if (signal?.aborted) break
      if (stopWhenEmpty || !isPassing(error)) throw error
      report(error)
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS))
    }
  }
  if (fatal) throw fatal.error

  /** What onError throws ends the consumer, but not before the batch in hand is settled. */
  function report(error: unknown): void {
    try {
      onError?.(error)
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
  const all = messages.map(({ receipt }) => receipt)
  const extending = setInterval(() => queue.extend(all, { leaseSeconds }).catch(report), (leaseSeconds * 1000) / 3)
  const handed = [...records.keys()]
  try {
    const event = { Records: [...records.values()] }
    const returned = handed.length > 0 ? await returnedBy(handler, event, context) : undefined
    const ids = failuresIn(
      returned,
      handed.map(({ id }) => id),
    )
    for (const message of handed) if (ids.includes(message.id)) failed.set(message, 'reported in batchItemFailures')
  } catch (thrown) {
    for (const message of handed) failed.set(message, thrown)
    report(thrown)
  } finally {
    clearInterval(extending)
  }
  const done = handed.filter((message) => !failed.has(message))
  await settle('ack', done, (receipts) => queue.ack(receipts))
  for (const [error, alike] of Map.groupBy(failed.keys(), (message) => errorText(failed.get(message)))) {
    await settle('nack', alike, (receipts) => queue.nack(receipts, { delaySeconds, error }))
  }
  // Usually the server has taken them back already, and refuses. Not where the one that failed became a dead letter.
  const untried = { delaySeconds: 0, untried: true }
  await queue.nack(
    behind.map(({ receipt }) => receipt),
    untried,
  )

  async function settle(
    verb: Verb,
    ours: readonly Message[],
    send: (receipts: readonly string[]) => ReturnType<Queue['ack']>,
  ): Promise<void> {
    for (const [index, { outcome }] of (await send(ours.map(({ receipt }) => receipt))).entries()) {
      try {
        refuse(verb, ours[index]?.id ?? '', outcome)
      } catch (refused) {
        report(refused)
      }
    }
  }
}

interface Sorted {
  /** What the handler gets. */
  readonly records: Map<Message, SqsRecord>
  /** What no handler can get, because the schema has something against it, with what that is. */
  readonly failed: Map<Message, unknown>
  /** What must not be handled before those, because it is of the same group. */
  readonly behind: readonly Message[]
}

/** One message that does not fit must not take the others of its batch along. */
function recordsOf(messages: readonly Message[], arn: string): Sorted {
  const records = new Map<Message, SqsRecord>()
  const failed = new Map<Message, unknown>()
  const behind: Message[] = []
  for (const message of messages) {
    const { group } = message
    if (group !== undefined && [...failed.keys()].some((one) => one.group === group)) behind.push(message)
    else {
      try {
        records.set(message, toSqsRecord(message, arn))
      } catch (error) {
        failed.set(message, error)
      }
    }
  }
  return { records, failed, behind }
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
