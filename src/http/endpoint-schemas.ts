/* The shapes of endpoints of webhooks: what they are, what was tried, what is to be delivered anew. Errors show no value of a header and no
 * secret. */
import { z } from '@hono/zod-openapi'
import * as limits from '../limits.ts'
import {
  anyText,
  fields,
  flag,
  fromText,
  isStorable,
  number,
  oneOf,
  otherExchange,
  required,
  routingKey,
  rule,
  seconds,
  shortText,
  storable,
  wholeNumber,
} from './fields.ts'
import { RedriveRequest } from './queue-schemas.ts'
import { MessageId } from './schemas.ts'

const states = ['enabled', 'resting', 'paused', 'disabled'] as const
const outcomes = ['delivered', 'failed'] as const
const endpointOrders = ['none', 'group', 'endpoint'] as const

/** A list whose length has bounds. */
function list<Schema extends z.ZodType>(schema: Schema, min: number, max: number, description: string) {
  return z
    .array(schema, rule('an array'))
    .superRefine(({ length }, context) => {
      if (length >= min && length <= max) return
      context.addIssue({ code: 'custom', message: `must be between ${min} and ${max}, got ${length}` })
    })
    .optional()
    .openapi({ minItems: min, maxItems: max })
    .describe(description)
}

/** Strings by name, of which none is ever shown. Their bytes are said in words: JSON Schema has no word for them. */
function strings(maxBytes: number, description: string) {
  return z
    .record(z.string(), z.string({ error: 'must be a string' }), { error: 'must be an object of strings' })
    .superRefine((given, context) => {
      const bytes = new TextEncoder().encode(JSON.stringify(given)).length
      if (bytes > maxBytes) {
        context.addIssue({ code: 'custom', message: `must be at most ${maxBytes} bytes of JSON, got ${bytes}` })
      }
      if (!Object.entries(given).flat().every(isStorable)) {
        context.addIssue({ code: 'custom', message: `must be ${storable}` })
      }
    })
    .optional()
    .describe(`${description} Strings by name, at most ${maxBytes} bytes of JSON.`)
}

const secret = z
  .string({ error: 'must be a string' })
  .max(limits.maxSecretLength, { error: `must have at most ${limits.maxSecretLength} characters` })
  .optional()
  .describe(
    '"whsec_" or "whsk_" and base64 (Standard Webhooks 1.0). Default: a new one, which the answer shows this once.',
  )

const EndpointFilter = fields({
  headers: strings(limits.maxFilterBytes, 'Headers that the event must have.'),
  body: z.unknown().optional().describe('JSON that the body must contain, in the sense of jsonb (@>).'),
})

export const EndpointConfig = fields({
  url: z
    .string(rule('a string'))
    .openapi({ maxLength: limits.maxUrlLength })
    .describe('Where to: https, a public host.'),
  exchange: required(otherExchange('What is published there is delivered; of type topic, direct or fanout.')),
  eventTypes: list(
    required(routingKey('A pattern of routing keys.')),
    1,
    limits.maxEventTypes,
    'Patterns of routing keys, as for bindings. Default ["#"]: everything, of a topic exchange.',
  ),
  application: shortText(limits.maxApplicationLength, 'Whose it is; endpoints can be listed by it.'),
  filter: EndpointFilter.optional().describe(
    `Only events that contain all of it. At most ${limits.maxFilterBytes} bytes of JSON. Default: all.`,
  ),
  headers: strings(
    limits.maxHeadersBytes,
    `Of the requests, none that each delivery has of its own. At most ${limits.maxEndpointHeadersBytes} bytes of names and values.`,
  ).openapi({ maxProperties: limits.maxEndpointHeaders }),
  description: shortText(limits.maxDescriptionLength, 'For people.'),
  metadata: strings(limits.maxMetadataBytes, 'For programs.'),
  timeoutSeconds: number(
    limits.minEndpointTimeoutSeconds,
    limits.maxEndpointTimeoutSeconds,
    'How long the receiver has to answer. Default 15.',
  ),
  retriesSeconds: list(
    required(seconds(limits.maxRetrySeconds, 'A pause.')),
    0,
    limits.maxRetries,
    'How long to wait after each failed attempt. Default 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400.',
  ),
  ratePerSecond: number(
    limits.minRatePerSecond,
    limits.maxRatePerSecond,
    'Most deliveries in a second. Default: no limit.',
  ),
  rateBurst: wholeNumber(
    1,
    limits.maxRateBurst,
    'How many of them at once after a pause. Default: those of one second.',
  ),
  concurrency: wholeNumber(1, limits.maxInFlight, 'Most deliveries under way. Default 10.'),
  order: oneOf(
    endpointOrders,
    'Whose events are delivered one after the other: of a group, or all of them. Default none.',
  ),
  secret,
})
  .superRefine(({ rateBurst, ratePerSecond }, context) => {
    if (rateBurst === undefined || ratePerSecond !== undefined) return
    const message = `must not be given without ratePerSecond, got ${rateBurst}`
    context.addIssue({ code: 'custom', path: ['rateBurst'], message })
  })
  .openapi('EndpointConfig')

const text = z.record(z.string(), z.string())
const time = z.iso.datetime().optional()

export const EndpointInfo = z
  .object({
    name: z.string(),
    application: z.string().optional(),
    url: z.string(),
    exchange: z.string(),
    eventTypes: z.array(z.string()),
    filter: z.object({ headers: text.optional(), body: z.unknown().optional() }).optional(),
    headers: text,
    description: z.string().optional(),
    metadata: text,
    timeoutSeconds: z.number(),
    retriesSeconds: z.array(z.number()),
    ratePerSecond: z.number().optional(),
    rateBurst: z.int().optional(),
    concurrency: z.int(),
    order: z.enum(endpointOrders),
    state: z.enum(states),
    breaker: z.enum(['closed', 'open', 'half-open']),
    disabledAt: time,
    disabledBecause: z.enum(['asked', 'gone', 'failing']).optional(),
    failures: z.int(),
    failingSince: time,
    restingUntil: time,
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    secret: z.string().optional().describe('Only in the answer to the call that made it.'),
  })
  .openapi('EndpointInfo')

export const EndpointListQuery = fields({
  application: shortText(limits.maxApplicationLength, 'Only those of this application.'),
  after: anyText(71, 'The `next` of the page before.'),
  max: fromText(wholeNumber(1, limits.maxBatch, 'Most endpoints. Default 100.')),
})

export const EndpointListResponse = z
  .object({ endpoints: z.array(EndpointInfo), next: z.string().optional() })
  .openapi('EndpointListResponse')

export const DeletedEndpoint = z.object({ deletedDeliveries: z.int() }).openapi('DeletedEndpoint')

export const RotateSecretRequest = fields({
  overlapSeconds: seconds(
    limits.maxOverlapSeconds,
    `How long the secrets before it go on signing, at most ${limits.maxWebhookSecrets} with it. Default 86400.`,
  ),
  secret,
}).openapi('RotateSecretRequest')

export const AttemptListQuery = fields({
  outcome: oneOf(outcomes, 'Only attempts that came out so.'),
  id: MessageId.optional().describe('Only those of this delivery.'),
  before: MessageId.optional().describe('The `next` of the page before.'),
  max: fromText(wholeNumber(1, limits.maxBatch, 'Most attempts. Default 100.')),
})

export const AttemptListResponse = z
  .object({
    attempts: z.array(
      z
        .object({
          attempt: z.string(),
          id: z.string(),
          eventId: z.string().optional(),
          type: z.string().optional(),
          number: z.int(),
          startedAt: z.iso.datetime(),
          millis: z.int(),
          outcome: z.enum(outcomes),
          status: z.int().optional(),
          error: z.string().optional(),
          detail: z.string().optional(),
          responseHeaders: text
            .optional()
            .describe(`What is kept: at most ${limits.keptHeaders}, and ${limits.keptHeaderBytes} bytes.`),
          responseBody: z.string().optional().describe(`What is kept: its first ${limits.keptBodyBytes} bytes.`),
        })
        .openapi('DeliveryAttempt'),
    ),
    next: z.string().optional(),
  })
  .openapi('AttemptListResponse')

export const ResendRequest = fields({
  eventId: z.string(rule('a string')).regex(/^evt_[0-9]{1,18}$/, rule('the id of an event')),
}).openapi('ResendRequest')

export const ResendResponse = z.object({ id: z.string() }).openapi('ResendResponse')

export const TestEventResponse = z.object({ id: z.string(), eventId: z.string() }).openapi('TestEventResponse')

const { target: _, ...recoverShape } = RedriveRequest.shape

export const RecoverRequest = fields(recoverShape).openapi('RecoverRequest')

export const EndpointStatistics = z
  .object({
    state: z.enum(states),
    waiting: z.int(),
    leased: z.int(),
    dead: z.int(),
    oldestReadyAt: time,
    countedAt: z.iso.datetime(),
    capped: z.boolean(),
    attempts: z.int(),
    successRate: z.number().optional(),
    p50Millis: z.int().optional(),
    p95Millis: z.int().optional(),
  })
  .openapi('EndpointStatistics')
export const DeliverRequest = fields({
  maxSeconds: wholeNumber(
    0,
    limits.maxDeliverSeconds,
    'For how long deliveries are begun. 0: only have it begun, where the platform goes on after the answer. Default 20.',
  ),
  wait: flag('Whether to wait for what becomes due in that time. Default false: end when nothing is due.'),
}).openapi('DeliverRequest')

export const DeliverResponse = z
  .object({ attempts: z.int(), dueInSeconds: z.number().optional() })
  .openapi('DeliverResponse')
