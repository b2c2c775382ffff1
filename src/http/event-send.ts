/* Events on their way in: the three content modes of CloudEvents 1.0 over HTTP (structured, batch, binary), as parcels. All events of a request
 * are taken, or none.
 *
 * Source and id together name an event, so they are its dedup id. partitionkey is its group. What CloudEvents has no words for (priority,
 * delay, time to live) is in the query, for all events of the request. */
import type { Context } from 'hono'
import { QueueError } from '../errors.ts'
import { maxBatch, maxDedupIdLength, maxHeadersBytes } from '../limits.ts'
import type { Parcel, StoredContent } from '../queue/message.ts'
import type { MessageOptions } from '../wire.ts'
import { memberSlices } from './body-slices.ts'
import type { DoorEnv } from './door.ts'
import { type Attributes, checkedAttributes, headersOf, isJsonType } from './event-attributes.ts'
import { decodeHeader } from './event-header.ts'
import { isStorable, shown } from './fields.ts'
import { EventSendQuery, isBase64, StoredHeaders } from './message-schemas.ts'
import { rawContent } from './raw-send.ts'
import { traceOf } from './trace-context.ts'
import { bytesOfBody, parseJson, queryOf, utf8, validate } from './validate.ts'

export type Mode = 'structured' | 'batch' | 'binary'

/** How a request carries events; undefined if it carries none.
 * @throws QueueError request_invalid for a format of events that we do not know. */
export function eventMode(context: Context<DoorEnv>): Mode | undefined {
  const type = context.req.header('content-type')?.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  if (!type.startsWith('application/cloudevents')) {
    const isBinary = context.req.header('ce-specversion') ?? context.req.header('ce-id')
    return isBinary === undefined ? undefined : 'binary'
  }
  if (type === 'application/cloudevents+json') return 'structured'
  if (type === 'application/cloudevents-batch+json') return 'batch'
  throw new QueueError(
    'request_invalid',
    `content-type must be application/cloudevents+json or application/cloudevents-batch+json for events, got ${shown(type)}`,
  )
}

/** The events of a request.
 * @throws QueueError request_invalid, json_invalid, batch_too_large. */
export async function eventParcels(context: Context<DoorEnv>, mode: Mode): Promise<readonly Parcel[]> {
  const options = validate(EventSendQuery, queryOf(context), 'the query') as MessageOptions
  const body = await bytesOfBody(context)
  if (mode === 'binary') return [await binaryParcel(context, new Uint8Array(body), options)]

  const text = utf8(body)
  const given = parseJson(text)
  const events = mode === 'batch' ? batchOf(given) : [given]
  const slices = Array.isArray(given) || isObject(given) ? memberSlices(text, 'data') : []
  return Promise.all(
    events.map((event, index) =>
      structuredParcel(event, slices[index], mode === 'batch' ? `events[${index}]` : '', options),
    ),
  )
}

function batchOf(given: unknown): readonly unknown[] {
  if (!Array.isArray(given)) throw invalid(`the batch must be an array of events, got ${shown(given)}`)
  if (given.length >= 1 && given.length <= maxBatch) return given
  throw new QueueError(
    given.length > maxBatch ? 'batch_too_large' : 'request_invalid',
    `the batch must be between 1 and ${maxBatch} events, got ${given.length}`,
  )
}

/** @param slice the source text of its data */
function structuredParcel(
  event: unknown,
  slice: string | undefined,
  whole: string,
  options: MessageOptions,
): Promise<Parcel> {
  if (!isObject(event)) throw invalid(`${whole || 'the event'} must be an object, got ${shown(event)}`)
  // (Each takes ten bytes of headers or more: too many are refused before they are looked at.)
  const { length } = Object.keys(event)
  if (length > maxHeadersBytes / 10 + 2) {
    const rule = `at most ${maxHeadersBytes} bytes of attributes`
    throw invalid(`${whole || 'the event'} must have ${rule}, got ${length} attributes`)
  }
  const { data, data_base64: base64, ...given } = event
  const subject = (name: string) => (whole ? `${whole}.${name}` : name)
  const attributes = checkedAttributes(given, subject)
  const content = dataOf(data, base64, slice, attributes, subject)
  return parcelOf(attributes, content, options, subject)
}

function dataOf(
  data: unknown,
  base64: unknown,
  slice: string | undefined,
  { datacontenttype }: Attributes,
  subject: (name: string) => string,
): StoredContent | undefined {
  if (base64 !== undefined && base64 !== null) {
    if (data !== undefined) throw invalid(`${subject('data')} must not be given with data_base64, got both`)
    if (typeof base64 !== 'string' || !isBase64(base64)) {
      throw invalid(`${subject('data_base64')} must be base64, got ${shown(base64)}`)
    }
    return { encoding: 'base64', body: base64 }
  }
  if (slice === undefined) return undefined
  // Of another type than JSON, a string is the text itself.
  if (typeof data !== 'string' || isJsonType(datacontenttype as string | undefined)) {
    return { encoding: 'json', body: slice }
  }
  if (isStorable(data)) return { encoding: 'text', body: data }
  throw invalid(
    `${subject('data')} must be well-formed text without U+0000, which Postgres cannot hold: send it as data_base64`,
  )
}

async function binaryParcel(context: Context<DoorEnv>, bytes: Uint8Array, options: MessageOptions): Promise<Parcel> {
  const subject = (name: string) => (name === 'datacontenttype' ? 'content-type' : `ce-${name}`)
  const given: Record<string, string> = {}
  for (const [header, value] of context.req.raw.headers) {
    const name = header.toLowerCase()
    if (name === 'content-type') given['datacontenttype'] = value
    else if (name.startsWith('ce-')) given[name.slice(3)] = decoded(name, value)
  }
  const attributes = checkedAttributes(given, subject)
  return parcelOf(
    attributes,
    bytes.length > 0 ? rawContent(given['datacontenttype'] ?? '', bytes) : undefined,
    options,
    subject,
  )
}

function decoded(name: string, value: string): string {
  try {
    return decodeHeader(value)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw invalid(`${name} must be percent-encoded UTF-8, got ${shown(value)}`)
  }
}

async function parcelOf(
  attributes: Attributes,
  content: StoredContent | undefined,
  options: MessageOptions,
  subject: (name: string) => string,
): Promise<Parcel> {
  const text = (name: string) => (attributes[name] === undefined ? undefined : String(attributes[name]))
  const contentType = text('datacontenttype')
  const group = text('partitionkey')
  const headers = {
    ...headersOf(attributes, content !== undefined),
    ...traceOf(text('traceparent'), text('tracestate')),
  }
  validate(StoredHeaders, headers, `${subject('')}attributes`)
  return {
    ...options,
    type: String(attributes['type']),
    ...(contentType !== undefined && { contentType }),
    ...(group !== undefined && { group }),
    headers,
    dedupId: await dedupIdOf(String(attributes['source']), String(attributes['id'])),
    ...(content ?? { encoding: 'json', body: 'null' }),
  }
}

/** Source (which has no space in it) and id; or, of what is too long for that, a hash. */
async function dedupIdOf(source: string, id: string): Promise<string> {
  const name = `${source} ${id}`
  if (name.length <= maxDedupIdLength) return name
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(name))
  return `sha256:${[...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(message: string): QueueError {
  return new QueueError('request_invalid', message)
}
