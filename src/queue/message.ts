/* A message on its way to and from the database. A JSON body stays the text it came as, and is never parsed on the way through a
 * door: that keeps it byte for byte, and costs nothing. */
import { QueueError } from '../errors.ts'
import { maxBodyBytes } from '../limits.ts'
import {
  bytesOf,
  type DeadLetter,
  type Encoding,
  fromBase64,
  type MessageOptions,
  mustBeJson,
  type PeekedMessage,
  type ReceivedMessage,
  toBase64,
} from '../wire.ts'

/** A body as it is stored: with encoding json the JSON text. */
export interface StoredContent {
  readonly encoding: Encoding
  readonly body: string
}

/** How a JavaScript value is stored: bytes as bytes, everything else as JSON, unless it is a string to be sent as plain text.
 * @throws QueueError request_invalid for what is none of these. */
export function contentOf(body: unknown, encoding: 'json' | 'text' = 'json'): StoredContent {
  const bytes = bytesOf(body)
  if (bytes) return { encoding: 'base64', body: toBase64(bytes) }
  mustBeJson(body)
  const text = JSON.stringify(body)
  // (So it is of undefined, and of a function.)
  if (text === undefined) throw new QueueError('request_invalid', 'body is missing')
  if (encoding === 'json') return { encoding, body: text }
  if (typeof body === 'string') return { encoding, body }
  throw new QueueError('request_invalid', `body must be a string with encoding text, got ${text}`)
}

/** The JavaScript value that was stored: the JSON value, the text, or a Uint8Array. */
export function bodyOf({ encoding, body }: StoredContent): unknown {
  if (encoding === 'json') return JSON.parse(body)
  return encoding === 'base64' ? fromBase64(body) : body
}

/** A message to send whose body is text already. */
export type Parcel = StoredContent & MessageOptions

/** A received or peeked message whose body is text still. */
export type Raw<Message extends ReceivedMessage | PeekedMessage> = Omit<Message, 'body'> & { readonly body: string }

/** The elements of postbag.send_batch's `messages`.
 * @throws QueueError body_too_large, or request_invalid for text that Postgres cannot hold, and for NaN and infinite numbers. */
export function parcelsToSql(parcels: readonly Parcel[]): readonly string[] {
  return parcels.map(({ encoding, body, ...options }, index) => {
    const subject = parcels.length === 1 ? '' : `messages[${index}].`
    checkBody(encoding, body, `${subject}body`)
    checkNumbers(options, subject)
    return JSON.stringify(encoding === 'json' ? { ...options, json: body } : { ...options, encoding, body })
  })
}

function checkBody(encoding: Encoding, body: string, subject: string): void {
  const bytes = encoding === 'base64' ? base64Bytes(body) : utf8Bytes(body)
  if (bytes > maxBodyBytes) {
    throw new QueueError('body_too_large', `${subject} must be at most ${maxBodyBytes} bytes, got ${bytes}`)
  }
  if (encoding === 'text' && (body.includes('\0') || !body.isWellFormed())) {
    throw new QueueError(
      'request_invalid',
      `${subject} must be well-formed text without U+0000, which Postgres cannot hold: send it with encoding base64`,
    )
  }
}

/** What JSON would make null of would count as not given. */
function checkNumbers(options: MessageOptions, subject: string): void {
  for (const field of ['priority', 'delaySeconds', 'ttlSeconds'] as const) {
    const value = options[field]
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw new QueueError('request_invalid', `${subject}${field} must be a number, got ${value}`)
    }
  }
}

/** How many bytes a text takes, or fewer for one that is small enough in any case (a UTF-16 unit takes at most 3). */
function utf8Bytes(text: string): number {
  return text.length * 3 <= maxBodyBytes ? text.length : new TextEncoder().encode(text).length
}

function base64Bytes(text: string): number {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  return Math.floor((text.length * 3) / 4) - padding
}

/** The columns that postbag.receive, postbag.search and postbag.get_message have in common. */
export interface MessageRow {
  readonly id: string
  readonly body: string
  readonly encoding: Encoding
  readonly type: string | null
  readonly content_type: string | null
  readonly headers: Record<string, string> | null
  readonly priority: number
  readonly group_key: string | null
  readonly attempts: number
  readonly sent_at: Date | number
  readonly first_received_at: Date | number | null
  readonly expires_at: Date | number | null
  readonly deaths: readonly DeadLetter[] | null
}

/** What every look at a stored message shows. */
export function storedFields(row: MessageRow) {
  return {
    id: row.id,
    encoding: row.encoding,
    body: row.body,
    ...(row.type !== null && { type: row.type }),
    ...(row.content_type !== null && { contentType: row.content_type }),
    ...liftedHeaders(row.headers),
    priority: row.priority,
    ...(row.group_key !== null && { group: row.group_key }),
    attempts: row.attempts,
    sentAt: isoTime(row.sent_at),
    ...(row.first_received_at && { firstReceivedAt: isoTime(row.first_received_at) }),
    ...(row.expires_at && { expiresAt: isoTime(row.expires_at) }),
    ...(row.deaths && { deadLetters: row.deaths.map((death) => ({ ...death, at: isoTime(death.at) })) }),
  }
}

/** Fields of a message that are kept among its headers, by the name of the header: so they cost a message without them nothing. */
const fieldsInHeaders = {
  'postbag-correlation-id': 'correlationId',
  'postbag-reply-to': 'replyTo',
  'postbag-exchange': 'exchange',
  'postbag-routing-key': 'routingKey',
} as const

type FieldInHeaders = (typeof fieldsInHeaders)[keyof typeof fieldsInHeaders]

/** The headers that were stored, and the fields among them. */
export function liftedHeaders(
  stored: Readonly<Record<string, string>> | null,
): { readonly headers: Readonly<Record<string, string>> } & { readonly [Field in FieldInHeaders]?: string } {
  if (stored === null) return { headers: {} }
  const fields: { [Field in FieldInHeaders]?: string } = {}
  const headers: Record<string, string> = { ...stored }
  for (const [name, field] of Object.entries(fieldsInHeaders)) {
    const value = stored[name]
    if (value === undefined) continue
    fields[field] = value
    delete headers[name]
  }
  return { ...fields, headers }
}

/** Seconds as ISO 8601, up to the decimal point: the many times of one answer lie close together, and writing one out costs as much as the
 * rest of a message. */
const writtenSeconds = new Map<number, string>()

/** A time as ISO 8601: of a timestamp column drivers give a Date, or a string that Date can read; a number is in seconds. */
export function isoTime(value: Date | string | number): string {
  const millis = millisOf(value)
  const second = Math.floor(millis / 1000)
  let written = writtenSeconds.get(second)
  if (written === undefined) {
    if (writtenSeconds.size >= 1000) writtenSeconds.clear()
    written = new Date(second * 1000).toISOString().slice(0, -4)
    writtenSeconds.set(second, written)
  }
  return `${written}${String(millis - second * 1000).padStart(3, '0')}Z`
}

function millisOf(value: Date | string | number): number {
  if (value instanceof Date) return value.getTime()
  // (In seconds a time may be a little less than it is: by less than the half of a microsecond, the smallest step there is, until 2106.)
  return typeof value === 'number' ? Math.floor(value * 1000 + 0.0005) : Date.parse(value)
}
