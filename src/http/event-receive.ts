/* Messages on their way out as CloudEvents 1.0 over HTTP: a batch or one structured event, as the Accept header says, or one in binary mode.
 * JSON data is put in as it is stored. */
import type { Context } from 'hono'
import { accepts } from 'hono/accepts'
import { QueueError } from '../errors.ts'
import type { Raw } from '../queue/message.ts'
import { fromBase64, type ReceivedMessage, type ReceiveRequest, toBase64 } from '../wire.ts'
import type { DoorEnv } from './door.ts'
import { attributesOf, isJsonType, isWithoutData, leaseAttributes } from './event-attributes.ts'
import { encodeHeader } from './event-header.ts'

const structured = 'application/cloudevents+json'
const batch = 'application/cloudevents-batch+json'

export type EventAnswer = typeof structured | typeof batch | 'binary'

/** How the receiver wants events; undefined if it wants messages.
 * @throws QueueError request_invalid for more than such an answer has room for. */
export function wantedEvents(
  context: Context<DoorEnv>,
  { max = 1, acks }: ReceiveRequest,
  binary: 'binary' | undefined,
): EventAnswer | undefined {
  const wanted =
    binary ??
    accepts(context, {
      header: 'Accept',
      supports: ['application/json', structured, batch],
      default: 'application/json',
    })
  if (wanted !== 'binary' && wanted !== structured && wanted !== batch) return undefined
  if (wanted !== batch && max !== 1) {
    throw new QueueError(
      'request_invalid',
      `max must be 1 for one event in an answer, got ${max} (${batch} takes more)`,
    )
  }
  if (acks) throw new QueueError('request_invalid', 'acks must not be given where events are answered, got some')
  return wanted
}

/** What was received, as that. One event where there is none: 204. */
export function eventAnswer(
  context: Context<DoorEnv>,
  wanted: EventAnswer,
  messages: readonly Raw<ReceivedMessage>[],
  queue: string,
): Response {
  if (wanted === batch) {
    const events = messages.map((message) => eventJson(message, queue))
    return context.body(`[${events.join(',')}]`, 200, { 'content-type': batch })
  }
  const [message] = messages
  if (!message) return context.body(null, 204)
  if (wanted === structured) return context.body(eventJson(message, queue), 200, { 'content-type': structured })
  return binaryAnswer(context, message, queue)
}

function eventJson(message: Raw<ReceivedMessage>, queue: string): string {
  const attributes = attributesOf(message, queue)
  const json = JSON.stringify({ ...attributes, ...leaseAttributes(message) })
  const data = isWithoutData(message) ? '' : dataMember(message, attributes['datacontenttype'])
  return data ? `${json.slice(0, -1)},${data}}` : json
}

function dataMember({ encoding, body }: Raw<ReceivedMessage>, type: string | number | boolean | undefined): string {
  if (encoding === 'json') return `"data":${body}`
  if (encoding === 'base64') return `"data_base64":${JSON.stringify(body)}`
  // Text that says that it is JSON would be read as a JSON string.
  return isJsonType(type as string | undefined)
    ? `"data_base64":"${toBase64(new TextEncoder().encode(body))}"`
    : `"data":${JSON.stringify(body)}`
}

function binaryAnswer(context: Context<DoorEnv>, message: Raw<ReceivedMessage>, queue: string): Response {
  const { datacontenttype, ...attributes } = { ...attributesOf(message, queue), ...leaseAttributes(message) }
  const headers = Object.entries(attributes).map(([name, value]) => [`ce-${name}`, encodeHeader(String(value))])
  const contentType = datacontenttype ?? (message.encoding === 'json' ? 'application/json' : 'application/octet-stream')
  // (On Lambda, a stream without a byte in it would lose the headers.)
  const bytes = isWithoutData(message) ? new Uint8Array() : bytesOf(message)
  return context.newResponse(bytes.length > 0 ? bytes : null, 200, {
    ...Object.fromEntries(headers),
    'content-type': String(contentType),
  })
}

function bytesOf({ encoding, body }: Raw<ReceivedMessage>): Uint8Array<ArrayBuffer> {
  return encoding === 'base64' ? Uint8Array.from(fromBase64(body)) : new TextEncoder().encode(body)
}
