/* reply: answer a message that asks, and ack it in the same step. */
import { QueueError } from '../errors.ts'
import type { ReplyOutcome, ReplyResponse, ReplyOptions as WireOptions } from '../wire.ts'
import type { CallOptions } from './connection.ts'
import { encodeBody } from './content.ts'
import { defined, type Given } from './effects.ts'
import type { RemoteQueue } from './remote.ts'
import { ownId } from './send.ts'

export interface ReplyOptions extends Given<WireOptions>, CallOptions {
  /** As for a send. */
  readonly encoding?: 'json' | 'text' | undefined
}

/** What a reply needs of the message that asks. */
export interface Asking {
  readonly id: string
  readonly replyTo?: string
  readonly correlationId?: string
  readonly receipt?: string
}

/** The outcomes that an earlier try of the same call explains, if its answer got lost: it has acked, or replied. They count as ok then. */
const explained: readonly ReplyOutcome[] = ['message_gone', 'already_replied']

/** Where replyTo is a queue, the reply says what it belongs to: the request's correlation id, or its id. And it carries a dedup id made here, so
 * that a repeated try is one message, also without a receipt.
 * @throws QueueError with the outcome as its code, unless that is ok; request_invalid if the message asks for no reply. */
export async function reply(
  { connection, path }: RemoteQueue,
  { id, replyTo, correlationId = id, receipt }: Asking,
  body: unknown,
  { signal, encoding, ...options }: ReplyOptions = {},
): Promise<void> {
  if (!replyTo) throw new QueueError('request_invalid', `message ${id} must ask for a reply, and has no replyTo`)
  const request = {
    ...ownId(connection),
    correlationId,
    ...defined(options),
    ...encodeBody(body, encoding),
    replyTo,
    ...(receipt && { receipt }),
  }
  const { data, tries } = await connection.call<ReplyResponse>('POST', `${path}/reply`, request, { signal })
  const { outcome } = data
  if (outcome === 'ok' || (tries > 1 && explained.includes(outcome))) return
  throw new QueueError(outcome, sentences[outcome](id))
}

const sentences: Readonly<Record<Exclude<ReplyOutcome, 'ok'>, (id: string) => string>> = {
  already_replied: (id) => `message ${id} must have no reply yet, got one before: the first stays`,
  reply_not_found: (id) => `the reply to message ${id} must be awaited, and is not (any more)`,
  receipt_invalid: lost,
  message_gone: lost,
  lease_lost: lost,
}

function lost(id: string): string {
  return `message ${id} must be leased by this receipt to reply to it, and is not`
}

/** Whether a reply failed that acked its request all the same. */
export function isAckedAnyway(error: unknown): boolean {
  return error instanceof QueueError && (error.code === 'already_replied' || error.code === 'reply_not_found')
}
