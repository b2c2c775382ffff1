/* The shapes of exchanges: what they are, what is bound to them, what is published. */
import { z } from '@hono/zod-openapi'
import { maxBatch, maxBindingHeaders, maxWeight } from '../limits.ts'
import {
  anyText,
  batch,
  fields,
  flag,
  flagFromText,
  fromText,
  headers,
  isStorable,
  oneOf,
  otherExchange,
  otherQueue,
  routingKey,
  rule,
  storable,
  wholeNumber,
} from './fields.ts'
import { bodyFits, bodyRequired, outgoing, rawOptions } from './message-schemas.ts'

const types = ['direct', 'topic', 'fanout', 'headers', 'hash'] as const

const mandatory =
  'true: refused (message_unroutable), and nothing is sent, if a message reaches no queue. Default false.'

const after = z
  .string(rule('a string'))
  .regex(/^[0-9]{1,18}$/, rule('the next of a page'))
  .optional()
  .describe('The `next` of the page before.')

export const ExchangeConfig = fields({
  type: oneOf(
    types,
    'Where a message goes: by its very routing key, by a pattern of words, everywhere, by headers, or to one binding, always the same for ' +
      'a routing key. Default direct.',
  ),
  alternate: otherExchange('The exchange that gets what fits no binding. Default: none.'),
}).openapi('ExchangeConfig')

export const ExchangeInfo = z
  .object({
    name: z.string(),
    type: z.enum(types),
    alternate: z.string().optional(),
    createdAt: z.iso.datetime(),
  })
  .openapi('ExchangeInfo')

export const ExchangeListQuery = fields({
  prefix: anyText(80, 'Only exchanges whose name starts with it.'),
  after: anyText(80, 'The `next` of the page before.'),
  max: fromText(wholeNumber(1, maxBatch, 'Most exchanges. Default 100.')),
})

export const ExchangeListResponse = z
  .object({ exchanges: z.array(ExchangeInfo), next: z.string().optional() })
  .openapi('ExchangeListResponse')

export const DeleteExchangeQuery = fields({
  ifUnused: flagFromText('true: refused (exchange_in_use) if it has bindings. Default false.'),
})

export const DeletedExchange = z.object({ deletedBindings: z.int() }).openapi('DeletedExchange')

const sought = z
  .record(z.string(), z.string(rule('a string or null')).nullable(), rule('an object of strings and nulls'))
  .superRefine((given, context) => {
    const names = Object.keys(given)
    if (names.length > maxBindingHeaders) {
      context.addIssue({ code: 'custom', message: `must be at most ${maxBindingHeaders}, got ${names.length}` })
    }
    if (!Object.entries(given).every(([name, value]) => isStorable(name) && isStorable(value ?? ''))) {
      context.addIssue({ code: 'custom', message: `must be ${storable}` })
    }
  })
  .optional()
  .openapi({ maxProperties: maxBindingHeaders })
  .describe('Of a headers exchange: strings by name, or null where any value will do.')

const binding = {
  queue: otherQueue('Where it leads: a queue.'),
  exchange: otherExchange('Or another exchange.'),
  routingKey: routingKey('Of a direct exchange: the key; of a topic exchange: the pattern. Default "".'),
  headers: sought,
  match: oneOf(['all', 'any'], 'Of a headers exchange: whether all of them must fit, or any. Default all.'),
}

/** A binding leads to one thing. */
export function oneTarget(
  { queue, exchange }: { readonly queue?: string | undefined; readonly exchange?: string | undefined },
  context: z.RefinementCtx,
): void {
  if ((queue === undefined) !== (exchange === undefined)) return
  const got = queue === undefined ? 'neither' : 'both'
  context.addIssue({ code: 'custom', message: `must have either a queue or an exchange, got ${got}` })
}

export const BindRequest = fields({
  ...binding,
  weight: wholeNumber(1, maxWeight, 'Of a hash exchange: the share of the routing keys. Default 1.'),
})
  .superRefine(oneTarget)
  .openapi('BindRequest')

export const UnbindRequest = fields(binding).superRefine(oneTarget).openapi('UnbindRequest')

export const BindResponse = z
  .object({ changed: z.boolean().describe('False if it was so before.') })
  .openapi('BindResponse')

const page = { after, max: fromText(wholeNumber(1, maxBatch, 'Most bindings. Default 100.')) }

export const BindingListQuery = fields({
  direction: oneOf(['from', 'to'], 'Bindings from this exchange, or of others that lead to it. Default from.'),
  ...page,
})

export const QueueBindingListQuery = fields(page)

const condition = {
  headers: z.record(z.string(), z.string().nullable()).optional(),
  match: z.enum(['all', 'any']).optional(),
  weight: z.int().optional(),
}

export const BindingListResponse = z
  .object({
    bindings: z.array(
      z
        .object({
          id: z.string(),
          source: z.string(),
          queue: z.string().optional(),
          exchange: z.string().optional(),
          routingKey: z.string(),
          ...condition,
          createdAt: z.iso.datetime(),
        })
        .openapi('BindingInfo'),
    ),
    next: z.string().optional(),
  })
  .openapi('BindingListResponse')

const published = { ...outgoing, routingKey: routingKey('What the exchange decides by. Default "".') }

const PublishedMessage = fields(published).superRefine(bodyFits).openapi('PublishedMessage', bodyRequired)

/** One message that is the whole request. */
export const PublishOne = fields({ ...published, mandatory: flag(mandatory) })
  .superRefine(bodyFits)
  .openapi('PublishOne', bodyRequired)

export const PublishBatch = fields({
  messages: batch(PublishedMessage, 'messages'),
  mandatory: flag(mandatory),
}).openapi('PublishBatch')

/** The query of a publish in JSON. */
export const PublishQuery = fields({ mandatory: flagFromText(mandatory) })

/** The query of a publish whose content type is not JSON. */
export const RawPublishQuery = fields({
  ...rawOptions,
  routingKey: published.routingKey,
  mandatory: flagFromText(mandatory),
})

export const PublishResponse = z
  .object({ messages: z.array(z.object({ queues: z.int().describe('How many queues it reached.') })) })
  .openapi('PublishResponse')

export const RouteRequest = fields({
  routingKey: published.routingKey,
  headers: headers(),
}).openapi('RouteRequest')

export const RouteResponse = z
  .object({
    queues: z.array(z.string()).describe('The queues that it would reach, each once.'),
    steps: z.array(
      z
        .object({
          source: z.string(),
          type: z.enum(types),
          routingKey: z.string().optional(),
          ...condition,
          queue: z.string().optional(),
          exchange: z.string().optional(),
          alternate: z.boolean(),
        })
        .openapi('RouteStep'),
    ),
  })
  .openapi('RouteResponse')
