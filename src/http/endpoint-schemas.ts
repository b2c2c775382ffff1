/* The shapes of webhook endpoints and of the attempts to deliver to them. */
import { z } from '@hono/zod-openapi'
import * as limits from '../limits.ts'
import {
  fields,
  flag,
  fromText,
  headers,
  number,
  oneOf,
  otherExchange,
  required,
  rule,
  shortText,
  wholeNumber,
} from './fields.ts'
import { settingsGoTogether } from './queue-schemas.ts'

const text = (max: number, description: string) =>
  z
    .string(rule('a string'))
    .max(max, rule(`at most ${max} characters`))
    .describe(description)

const secret = text(200, 'whsec_ and 24 to 64 bytes as base64, or whsk_ and an Ed25519 seed.')

const metadata = headers('What you want to know of it: strings by name.').superRefine((given, context) => {
  if (JSON.stringify(given ?? {}).length > limits.maxMetadataBytes) {
    context.addIssue({ code: 'custom', message: `must be at most ${limits.maxMetadataBytes} bytes of JSON` })
  }
})

const filter = fields({
  headers: headers('Headers that an event must have, with these values.'),
  body: z.unknown().optional().describe('JSON that the body must contain.'),
})

const configShape = {
  url: text(2048, 'https, to a public address.'),
  exchange: required(otherExchange('Whose events it gets: a topic, direct or fanout exchange.')),
  eventTypes: z
    .array(text(limits.maxRoutingKeyLength, 'A routing key, or a pattern.'), rule('an array of strings'))
    .min(1, rule(`1 to ${limits.maxEventTypes} event types`))
    .max(limits.maxEventTypes, rule(`1 to ${limits.maxEventTypes} event types`))
    .optional()
    .describe('Which events: their routing keys, as patterns where the exchange is a topic. Default ["#"], all.'),
  filter: filter.optional().describe('Only events that contain all of it.'),
  application: shortText(128, 'Whose it is: a customer, a tenant.'),
  headers: headers('Headers of its requests.'),
  description: text(limits.maxDescriptionLength, 'For people.').optional(),
  metadata,
  timeoutSeconds: number(
    limits.minEndpointTimeoutSeconds,
    limits.maxEndpointTimeoutSeconds,
    'How long an attempt may take. Default 15.',
  ),
  retriesSeconds: z
    .array(required(number(0, limits.maxRetrySeconds, 'A pause.')), rule('an array of numbers'))
    .max(limits.maxRetries, rule(`at most ${limits.maxRetries} pauses`))
    .optional()
    .describe(
      'How long to wait after each failed attempt; after the last it is a dead letter. Default as Standard Webhooks says.',
    ),
  ratePerSecond: number(limits.minRatePerSecond, limits.maxRatePerSecond, 'Requests in a second. Default: no limit.'),
  rateBurst: wholeNumber(1, limits.maxRateBurst, 'How many of them at once after a pause.'),
  concurrency: wholeNumber(1, limits.maxInFlight, 'Requests at a time. Default 10.'),
  ordered: flag('true: events of a group one after the other, each after the one before it arrived. Default false.'),
}

export const EndpointRequest = fields({ ...configShape, secret: secret.optional() })
  .superRefine(settingsGoTogether)
  .openapi('EndpointRequest')

export const EndpointInfo = z
  .object({
    name: z.string(),
    url: z.string(),
    exchange: z.string(),
    eventTypes: z.array(z.string()),
    filter: z.object({ headers: z.record(z.string(), z.string()).optional(), body: z.unknown().optional() }).optional(),
    application: z.string().optional(),
    headers: z.record(z.string(), z.string()),
    description: z.string().optional(),
    metadata: z.record(z.string(), z.string()),
    timeoutSeconds: z.number(),
    retriesSeconds: z.array(z.number()),
    ratePerSecond: z.number().optional(),
    rateBurst: z.int().optional(),
    concurrency: z.int(),
    ordered: z.boolean(),
    state: z.enum(['enabled', 'resting', 'paused', 'disabled']),
    disabledAt: z.iso.datetime().optional(),
    disabledBecause: z.enum(['asked', 'gone', 'failing']).optional(),
    failures: z.int(),
    failingSince: z.iso.datetime().optional(),
    restingUntil: z.iso.datetime().optional(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    secret: z.string().optional().describe('Only in the answer of the call that made it.'),
  })
  .openapi('EndpointInfo')

export const EndpointListQuery = fields({
  application: z.string().max(128).optional().describe('Only those of this application.'),
  after: z.string().max(71).optional().describe('The `next` of the page before.'),
  max: fromText(wholeNumber(1, limits.maxBatch, 'Most endpoints. Default 100.')),
})

export const EndpointListResponse = z
  .object({ endpoints: z.array(EndpointInfo), next: z.string().optional() })
  .openapi('EndpointListResponse')

export const DeletedEndpoint = z.object({ deletedDeliveries: z.int() }).openapi('DeletedEndpoint')

export const RotateRequest = fields({
  secret: secret.optional(),
  overlapSeconds: number(0, limits.maxOverlapSeconds, 'How long the old secret signs beside it. Default 86400.'),
}).openapi('RotateRequest')

export const RotateResponse = z.object({ secret: z.string() }).openapi('RotateResponse')

export const AttemptListQuery = fields({
  outcome: oneOf(['delivered', 'failed'], 'Only attempts of this outcome.'),
  id: z
    .string()
    .regex(/^[0-9]{1,18}$/, rule('the id of a delivery'))
    .optional()
    .describe('Only those of this delivery.'),
  before: z
    .string()
    .regex(/^[0-9]{1,18}$/, rule('the next of a page'))
    .optional()
    .describe('The `next` of the page before.'),
  max: fromText(wholeNumber(1, limits.maxBatch, 'Most attempts. Default 100.')),
})

export const AttemptListResponse = z
  .object({
    attempts: z.array(
      z.object({
        attempt: z.string(),
        id: z.string(),
        eventId: z.string().optional(),
        type: z.string().optional(),
        number: z.int(),
        startedAt: z.iso.datetime(),
        millis: z.int(),
        outcome: z.enum(['delivered', 'failed']),
        status: z.int().optional(),
        error: z.string().optional(),
        detail: z.string().optional(),
        responseHeaders: z.record(z.string(), z.string()).optional(),
        responseBody: z.string().optional(),
      }),
    ),
    next: z.string().optional(),
  })
  .openapi('AttemptListResponse')

export const ResendRequest = fields({
  eventId: z.string(rule('a string')).regex(/^evt_[0-9]{1,18}$/, rule('the id of an event, such as evt_4711')),
}).openapi('ResendRequest')

export const ResendResponse = z.object({ id: z.string() }).openapi('ResendResponse')
