/* The attributes of a CloudEvent (1.0): their rules, and where a message keeps them. Pure.
 *
 *  1. type is the message's type, datacontenttype its content type; every other attribute NAME is the header ce-NAME. ce-specversion is
 *     there too: by it one sees that a message was sent as an event.
 *  2. Headers are strings. Which attributes were not (a boolean, a whole number) stands in the header ce.typed, by name. That an event
 *     had no data stands in the header ce.data. (No attribute's name has a dot in it.)
 *  3. A message that was sent otherwise becomes an event, too: what is missing has a default, a header with the name of an attribute
 *     (traceparent, tenant) is one, and what breaks a rule is left out. What we hand out is always an event.
 *  4. Attributes named postbag… are ours: the lease that a receiver gets. Sent, they are dropped, so that a received event can be sent on. */
import { QueueError } from '../errors.ts'
import { maxGroupLength, maxTypeLength } from '../limits.ts'
import type { Raw } from '../queue/message.ts'
import type { ReceivedMessage } from '../wire.ts'
import { shown } from './fields.ts'

export type Attributes = Readonly<Record<string, string | number | boolean>>

interface Rule {
  readonly words: string
  holds(text: string): boolean
}

const required = ['specversion', 'id', 'source', 'type']

const attributeName = /^[a-z0-9]+$/

/** What a CloudEvents string must not have in it. */
const forbidden = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u

const notInUri = /[^A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=%]|%(?![0-9A-Fa-f]{2})/

const anyText: Rule = { words: 'text without control characters', holds: (text) => !forbidden.test(text) }

const rules: ReadonlyMap<string, Rule> = new Map([
  ['specversion', { words: '"1.0"', holds: (text) => text === '1.0' }],
  ['id', textOf(Number.MAX_SAFE_INTEGER)],
  ['type', textOf(maxTypeLength)],
  ['subject', textOf(Number.MAX_SAFE_INTEGER)],
  ['partitionkey', textOf(maxGroupLength)],
  ['source', { words: 'a URI reference (RFC 3986)', holds: (text) => isUriReference(text) }],
  [
    'dataschema',
    {
      words: 'a URI (RFC 3986)',
      holds: (text) => isUriReference(text) && /^[A-Za-z][A-Za-z0-9+.-]*:/.test(text),
    },
  ],
  ['time', { words: 'a time (RFC 3339) such as 2026-01-31T12:00:00Z', holds: isTime }],
  [
    'datacontenttype',
    {
      words: `a media type of at most ${maxTypeLength} characters`,
      holds: (text) => text.length <= maxTypeLength && /^[!-.0-:<-~]+\/[!-:<-~]+(?:[ \t]*;[ -~]*)?$/.test(text),
    },
  ],
])

/** The attributes of an event that came in.
 * @param subject how the sender wrote it, for errors: ce-id, events[3].id
 * @throws QueueError request_invalid. */
export function checkedAttributes(
  given: Readonly<Record<string, unknown>>,
  subject: (name: string) => string,
): Attributes {
  const attributes: Record<string, string | number | boolean> = {}
  for (const [name, value] of Object.entries(given)) {
    // In JSON, null says that it is not set.
    if (value === null || isOurs(name)) continue
    if (!attributeName.test(name)) refuse(subject(name), 'be named with lower-case letters and digits only', name)
    const { words, holds } = rules.get(name) ?? anyText
    if (typeof value === 'string' ? !holds(value) : rules.has(name)) refuse(subject(name), `be ${words}`, value)
    if (!isValue(value)) refuse(subject(name), 'be a string, a boolean or a whole number of 32 bits', value)
    attributes[name] = value
  }
  for (const name of required) {
    if (!Object.hasOwn(attributes, name)) refuse(subject(name), `be ${rules.get(name)?.words}`, undefined)
  }
  return attributes
}

/** An event's attributes as a message keeps them. */
export function headersOf(attributes: Attributes, hasData: boolean): Readonly<Record<string, string>> {
  const { type: _, datacontenttype: __, ...kept } = attributes
  const typed = Object.keys(kept).filter((name) => typeof kept[name] !== 'string')
  return {
    ...Object.fromEntries(Object.entries(kept).map(([name, value]) => [`ce-${name}`, String(value)])),
    ...(typed.length > 0 && { 'ce.typed': typed.join(' ') }),
    ...(!hasData && { 'ce.data': 'none' }),
  }
}

/** Whether it was sent as an event without data. */
export function isWithoutData({ headers }: Raw<ReceivedMessage>): boolean {
  return headers['ce.data'] === 'none'
}

/** A message's attributes as an event. */
export function attributesOf(message: Raw<ReceivedMessage>, queue: string): Attributes {
  const { id, headers, type = '', contentType = '', group, encoding, sentAt } = message
  const wasEvent = headers['ce-specversion'] === '1.0'
  const attributes: Record<string, string | number | boolean> = {
    specversion: '1.0',
    id,
    source: `/v1/queues/${queue}`,
    type: rules.get('type')?.holds(type) ? type : 'postbag.message',
    ...(!wasEvent && { time: sentAt, ...(group !== undefined && anyText.holds(group) && { partitionkey: group }) }),
    ...(rules.get('datacontenttype')?.holds(contentType)
      ? { datacontenttype: contentType }
      : encoding === 'text' && { datacontenttype: 'text/plain' }),
  }
  const typed = (headers['ce.typed'] ?? '').split(' ')
  for (const [header, text] of Object.entries(headers)) {
    const isNamed = header.startsWith('ce-')
    const name = isNamed ? header.slice(3) : header
    if (!attributeName.test(name) || isOurs(name) || isElsewhere(name)) continue
    // A header of another kind does not hide an attribute.
    if (!isNamed && (rules.has(name) || Object.hasOwn(headers, `ce-${name}`))) continue
    if (!(rules.get(name) ?? anyText).holds(text)) continue
    attributes[name] = typed.includes(name) && /^(?:true|false|0|-?[1-9]\d{0,9})$/.test(text) ? JSON.parse(text) : text
  }
  return attributes
}

/** What a receiver needs to settle the message, as attributes. */
export function leaseAttributes({ id, receipt, attempts, leasedUntil }: Raw<ReceivedMessage>): Attributes {
  return {
    postbagid: id,
    ...(receipt !== '' && { postbagreceipt: receipt }),
    postbagattempts: attempts,
    postbagleaseduntil: leasedUntil,
  }
}

/** Whether a media type says that what it is of is JSON; an event without one has JSON, too. */
export function isJsonType(contentType: string | undefined): boolean {
  return contentType === undefined || /^[^;]*[/+]json\s*(?:;|$)/i.test(contentType)
}

function isOurs(name: string): boolean {
  return name.startsWith('postbag')
}

/** What is no attribute, or is kept as something else. */
function isElsewhere(name: string): boolean {
  return name === 'data' || name === 'type' || name === 'datacontenttype' || name === 'specversion'
}

function isValue(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && (value | 0) === value)
}

function textOf(max: number): Rule {
  const length = max < Number.MAX_SAFE_INTEGER ? `1 to ${max} characters` : '1 or more characters'
  return {
    words: `${length} of ${anyText.words}`,
    holds: (text) => text.length >= 1 && text.length <= max && anyText.holds(text),
  }
}

/** RFC 3339: of a day that there is, small letters and a leap second allowed. */
function isTime(text: string): boolean {
  const parts =
    /^(\d{4}-\d\d-\d\d)t((?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60))(?:\.\d+)?(?:z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/i
  const [, day] = parts.exec(text) ?? []
  if (day === undefined) return false
  const midnight = new Date(`${day}T00:00:00Z`)
  return !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day)
}

function refuse(subject: string, rule: string, got: unknown): never {
  throw new QueueError('request_invalid', `${subject} must ${rule}, got ${shown(got)}`)
}

function isUriReference(text: string): boolean {
  return text !== '' && !notInUri.test(text)
}
