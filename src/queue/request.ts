/* request, fetch, reply: a message that asks, and what is replied. Nothing here waits (that is wakeup/long-poll.ts).
 *
 * A reply is waited for as a queue is, under a name that no queue can have: `~reply/<queue>/<number>`. Who replies wakes that name after the
 * change, and next_available_at knows it, so all that listen-hub.ts says of queues holds for replies. */
import { call, callOne, type Executor } from '../db/call.ts'
import { QueueError } from '../errors.ts'
import type { Encoding, Reply, ReplyOptions, ReplyOutcome, SentRequest } from '../wire.ts'
import { isoTime, liftedHeaders, type Parcel, parcelsToSql, type StoredContent } from './message.ts'
import { type Terms, termsToSql } from './terms.ts'

/** A reply whose body is text still. */
export type RawReply = Omit<Reply, 'body'> & { readonly body: string }

/** A reply to give. */
export type ReplyParcel = StoredContent & ReplyOptions & { readonly replyTo: string; readonly receipt?: string }

/** Under which name hubs know the reply of this id. */
export function awaitedReply(queue: string, id: string): string {
  return `~reply/${queue}/${id.slice(0, id.indexOf('.'))}`
}

/** Send one message that asks for a reply.
 * @throws QueueError as a send does; reply_not_found for a dedupId that was sent before, and not as a request. */
export async function request(
  executor: Executor,
  queue: string,
  parcel: Parcel,
  keepSeconds: number | undefined,
  terms: Terms = {},
): Promise<SentRequest> {
  const row = await callOne<{ id: string; message_id: string; duplicate: boolean }>(
    executor,
    `select id, message_id, duplicate from postbag.send_request(
      $1,
      $2::jsonb,
      keep => make_interval(secs => $3::double precision),
      now => coalesce($4::timestamptz, clock_timestamp()),
      alone => $5::boolean
    )`,
    [queue, ...parcelsToSql([parcel]), keepSeconds, ...termsToSql(terms)],
  )
  return { id: row.id, messageId: row.message_id, duplicate: row.duplicate }
}

interface ReplyRow {
  readonly message_id: string
  readonly state: 'pending' | 'replied'
  readonly body: string
  readonly encoding: Encoding
  readonly type: string | null
  readonly content_type: string | null
  readonly headers: Record<string, string> | null
  readonly replied_at: Date
}

/** The reply of this id; without one, nobody has replied yet.
 * @throws QueueError queue_not_found, reply_not_found, request_invalid. */
export async function fetchReply(
  executor: Executor,
  queue: string,
  id: string,
  terms: Terms = {},
): Promise<{ readonly messageId: string; readonly reply?: RawReply }> {
  const row = await callOne<ReplyRow>(
    executor,
    'select * from postbag.fetch_reply($1, $2, coalesce($3::timestamptz, clock_timestamp()))',
    [queue, id, termsToSql(terms)[0]],
  )
  return { messageId: row.message_id, ...(row.state === 'replied' && { reply: replyOf(row) }) }
}

function replyOf(row: ReplyRow): RawReply {
  return {
    encoding: row.encoding,
    body: row.body,
    ...(row.type !== null && { type: row.type }),
    ...(row.content_type !== null && { contentType: row.content_type }),
    ...liftedHeaders(row.headers),
    repliedAt: isoTime(row.replied_at),
  }
}

/** Reply to a request, and with its receipt ack it in the same step. `wakes`: the queue or awaited reply for whose waiters there is something.
 * @throws QueueError queue_not_found (also of the queue that replyTo names), request_invalid, body_too_large, queue_full; then nothing
 * was done. */
export async function reply(
  executor: Executor,
  queue: string,
  { replyTo, receipt, ...parcel }: ReplyParcel,
  terms: Terms = {},
): Promise<{ readonly outcome: ReplyOutcome; readonly wakes?: string }> {
  if (replyTo === '') throw new QueueError('request_invalid', 'replyTo is missing: this message asks for no reply')
  const [row] = await call<{ outcome: ReplyOutcome; replied_queue: string | null; replied_id: string | null }>(
    executor,
    `select * from postbag.send_reply(
      $1,
      $2,
      $3::jsonb,
      receipt => $4,
      now => coalesce($5::timestamptz, clock_timestamp()),
      alone => $6::boolean
    )`,
    [queue, replyTo, ...parcelsToSql([parcel]), receipt, ...termsToSql(terms)],
  )
  if (!row) throw new QueueError('internal', 'a reply must have an outcome, got none')
  const { outcome, replied_queue: replied, replied_id: id } = row
  if (outcome !== 'ok' || replied === null || id === null) return { outcome }
  return { outcome, wakes: isQueue(replyTo) ? replied : awaitedReply(replied, id) }
}

/** Whether a reply goes to a queue, and not to who waits for it. */
export function isQueue(replyTo: string): boolean {
  return !replyTo.startsWith('~')
}
