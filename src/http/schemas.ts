/* The shapes that several endpoints share; those of one topic are in the files *-schemas.ts. What validates is what /openapi.json
 * publishes. Their TypeScript twins are in wire.ts. */
import { z } from '@hono/zod-openapi'
import { endpointNamePattern, endpointNameRule, maxAnswerLength, queueNamePattern, queueNameRule } from '../limits.ts'
import { rule } from './fields.ts'

export const QueueName = z
  .string()
  .regex(queueNamePattern, rule(queueNameRule))
  .openapi({ param: { name: 'queue', in: 'path' }, example: 'orders' })

export const PolicyName = z
  .string()
  .regex(queueNamePattern, rule(queueNameRule))
  .openapi({ param: { name: 'policy', in: 'path' }, example: 'orders' })
export const ExchangeName = z
  .string()
  .regex(queueNamePattern, rule(queueNameRule))
  .openapi({ param: { name: 'exchange', in: 'path' }, example: 'events' })

export const EndpointName = z
  .string()
  .regex(endpointNamePattern, rule(endpointNameRule))
  .openapi({ param: { name: 'endpoint', in: 'path' }, example: 'acme-orders' })

const messageId = () => z.string(rule('a string')).regex(/^[0-9]{1,18}$/, rule('the id of a message'))

/** As a field. */
export const MessageId = messageId()

/** As a part of the path. */
export const MessageIdParam = messageId().openapi({ param: { name: 'id', in: 'path' }, example: '4711' })

/** As a part of the path: what a request was answered with. */
export const ReplyIdParam = z
  .string()
  .regex(/^[0-9]{1,18}\.[0-9a-f]{32}$/, rule('the id of a reply'))
  .openapi({ param: { name: 'reply', in: 'path' }, example: '4711.0123456789abcdef0123456789abcdef' })

/** Where the next page begins. */
export const After = MessageId.optional().describe('The `next` of the page before.')

export const reasons = ['attempts', 'expired', 'rejected', 'overflow'] as const

export const answerEnds = `No more of them once their bodies have ${maxAnswerLength} characters.`

/** What every look at a stored message shows. */
export const stored = {
  id: z.string(),
  encoding: z.enum(['json', 'text', 'base64']),
  // (Or the document would have it that there may be none.)
  body: z.unknown().refine((body) => body !== undefined),
  type: z.string().optional(),
  contentType: z.string().optional(),
  exchange: z.string().optional(),
  routingKey: z.string().optional(),
  correlationId: z.string().optional(),
  replyTo: z.string().optional(),
  headers: z.record(z.string(), z.string()),
  priority: z.int(),
  group: z.string().optional(),
  attempts: z.int(),
  sentAt: z.iso.datetime(),
  firstReceivedAt: z.iso.datetime().optional(),
  expiresAt: z.iso.datetime().optional(),
  deadLetters: z
    .array(
      z.object({
        queue: z.string(),
        reason: z.enum(reasons),
        error: z.string().optional(),
        attempts: z.int(),
        at: z.iso.datetime(),
        exchange: z.string().optional(),
        routingKey: z.string().optional(),
      }),
    )
    .optional(),
}

export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    requestId: z.string().optional(),
  })
  .openapi('Problem')
