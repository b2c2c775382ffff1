/* The shapes of sending and of looking at messages. */
import { z } from '@hono/zod-openapi'
import {
  maxAgeSeconds,
  maxBatch,
  maxBodyBytes,
  maxCorrelationIdLength,
  maxDedupIdLength,
  maxDelaySeconds,
  maxGroupLength,
  maxPriority,
  maxReplyToLength,
  maxSearchLength,
  maxTtlSeconds,
  maxTypeLength,
  minTtlSeconds,
} from '../limits.ts'
import type { Encoding } from '../wire.ts'
import {
  batch,
  fields,
  fromText,
  headers,
  isStorable,
  number,
  oneOf,
  rule,
  seconds,
  shortText,
  shown,
  storable,
  time,
  wholeNumber,
} from './fields.ts'
import { After, answerEnds, reasons, stored } from './schemas.ts'

export const messageOptions = {
  type: shortText(maxTypeLength, 'What kind of message it is.'),
  priority: wholeNumber(0, maxPriority, "0 to the queue's maxPriority; higher ones are received first. Default 0."),
  delaySeconds: seconds(maxDelaySeconds, "Seconds until it may be received. Default: the queue's."),
  availableAt: time('Instead of delaySeconds: when it may be received, at most a year ahead. Past: now.'),
  ttlSeconds: number(minTtlSeconds, maxTtlSeconds, "Seconds after which it is not handed out. Default: the queue's."),
  group: shortText(maxGroupLength, 'Messages of one group are handed out in order, one lease at a time.'),
  dedupId: shortText(maxDedupIdLength, 'A second send with it within the dedup window sends nothing.'),
  correlationId: shortText(maxCorrelationIdLength, 'What it belongs to, such as the request that a reply answers.'),
  replyTo: shortText(maxReplyToLength, 'Where a reply to it goes: a queue, or what a request has made for itself.'),
}

/** (Without a group that repeats: its stack would end with megabytes of text.) */
export function isBase64(text: string): boolean {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)
}

/** What a message may be, besides its metadata. */
export const content = {
  body: z
    .unknown()
    .optional()
    .describe(`With encoding json any JSON value, kept byte for byte; else a string. At most ${maxBodyBytes} bytes.`),
  encoding: oneOf(
    ['json', 'text', 'base64'],
    'How body is written: a JSON value (default), a string of text, or bytes in base64.',
  ),
  contentType: shortText(maxTypeLength, 'Media type of the body, for the receiver.'),
  headers: headers(),
}

/** For the document, where `bodyFits` is not seen. (A body that must be there would be missed before an unknown field is seen to be it.) */
export const bodyRequired = { required: ['body'] }

/** The body is there, and is what its encoding says. */
export function bodyFits(
  { body, encoding }: { readonly body?: unknown; readonly encoding?: Encoding | undefined },
  context: z.RefinementCtx,
): void {
  const wrong = (message: string) => context.addIssue({ code: 'custom', path: ['body'], message })
  if (body === undefined) wrong('is missing')
  else if (encoding === 'text' || encoding === 'base64') {
    if (typeof body !== 'string') wrong(`must be a string with encoding ${encoding}, got ${shown(body)}`)
    else if (encoding === 'base64' && !isBase64(body)) wrong(`must be base64, got ${shown(body)}`)
  }
}

/** What a message to send or to publish may be. */
export const outgoing = { ...content, ...messageOptions }

export const OutgoingMessage = fields(outgoing).superRefine(bodyFits).openapi('OutgoingMessage', bodyRequired)

export const SendRequest = fields({ messages: batch(OutgoingMessage, 'messages') }).openapi('SendRequest')

/** What a raw body's metadata may be: the query of a send or publish whose content type is not JSON. */
export const rawOptions = {
  ...messageOptions,
  priority: fromText(messageOptions.priority),
  delaySeconds: fromText(messageOptions.delaySeconds),
  ttlSeconds: fromText(messageOptions.ttlSeconds),
}

export const RawSendQuery = fields(rawOptions)

/** The query of a send in JSON: there is none, and what stands there must not be lost. */
export const SendQuery = z.strictObject(
  {},
  {
    error: ({ keys }) =>
      `must be empty where the body is JSON (its fields go into the JSON), got ${(keys as string[])[0]}`,
  },
)

/** What may be said of events besides their attributes: the query of a send of them. */
export const EventSendQuery = RawSendQuery.omit({ type: true, dedupId: true })

/** What a message may keep in its headers. */
export const StoredHeaders = headers()

export const SendResponse = z
  .object({ messages: z.array(z.object({ id: z.string(), duplicate: z.boolean() })) })
  .openapi('SendResponse')

const states = ['ready', 'leased', 'delayed', 'blocked', 'dead'] as const

const headerCondition = z
  .string()
  .regex(/:/, rule('name:value'))
  .refine(isStorable, rule(`name:value in ${storable}`))

/** `header` as it stands in the query, once or several times, becomes an object like a message's. */
const headerConditions = z
  .preprocess(
    (value) => (typeof value === 'string' ? [value] : value),
    z
      .array(headerCondition)
      .refine((pairs) => new Set(pairs.map(nameOf)).size === pairs.length, rule('a different name each time')),
  )
  .transform((pairs) => Object.fromEntries(pairs.map((pair) => [nameOf(pair), pair.slice(nameOf(pair).length + 1)])))

function nameOf(pair: string): string {
  return pair.slice(0, pair.indexOf(':'))
}

export const PeekQuery = fields({
  max: fromText(wholeNumber(1, maxBatch, 'Most messages. Default 10.')),
  after: After,
  state: oneOf(states, 'Only messages in this state.'),
  type: shortText(maxTypeLength, 'Only messages of this type.'),
  header: headerConditions
    .optional()
    .describe(
      'name:value, and may stand several times: only messages with all these headers. A name ends at its first colon.',
    ),
  group: shortText(maxGroupLength, 'Only messages of this group.'),
  minAgeSeconds: fromText(seconds(maxAgeSeconds, 'Only messages sent at least so many seconds ago.')),
  maxAgeSeconds: fromText(seconds(maxAgeSeconds, 'Only messages sent at most so many seconds ago.')),
  contains: shortText(
    maxSearchLength,
    'Only messages whose body contains this text: of JSON, its text; never of bytes.',
  ),
  reason: oneOf(reasons, 'Only messages that are dead letters for this reason.'),
})

export const PeekedMessage = z
  .object({
    ...stored,
    state: z.enum(states),
    availableAt: z.iso.datetime().optional(),
    leasedUntil: z.iso.datetime().optional(),
    lastError: z.string().optional(),
    deadAt: z.iso.datetime().optional(),
    deadReason: z.enum(reasons).optional(),
  })
  .openapi('PeekedMessage')

export const PeekResponse = z
  .object({ messages: z.array(PeekedMessage).describe(answerEnds), next: z.string().optional() })
  .openapi('PeekResponse')
