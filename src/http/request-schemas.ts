/* The shapes of requests and replies. */
import { z } from '@hono/zod-openapi'
import { maxKeepSeconds, maxReplyToLength, maxWaitSeconds, minKeepSeconds } from '../limits.ts'
import { fields, fromText, number, required, seconds, shortText } from './fields.ts'
import { Receipt } from './lease-schemas.ts'
import { bodyFits, bodyRequired, content, messageOptions } from './message-schemas.ts'
import { stored } from './schemas.ts'

const { replyTo: _, ...requestOptions } = messageOptions
const { type, dedupId, correlationId } = messageOptions

const waitSeconds = seconds(maxWaitSeconds, 'How long to wait for the reply. Default 20.')

export const RequestRequest = fields({
  ...content,
  ...requestOptions,
  waitSeconds,
  keepSeconds: number(
    minKeepSeconds,
    maxKeepSeconds,
    'How many seconds from now on the reply may come and be fetched. Default 3600.',
  ),
})
  .superRefine(bodyFits)
  .openapi('RequestRequest', bodyRequired)

export const AwaitQuery = fields({ waitSeconds: fromText(waitSeconds) })

const ids = {
  id: z.string().describe('For fetching the reply. Who knows it may.'),
  messageId: z.string().describe('Of the message that asks.'),
}

export const RequestResponse = z
  .object({
    ...ids,
    reply: z.object({
      encoding: stored.encoding,
      body: stored.body,
      type: stored.type,
      contentType: stored.contentType,
      correlationId: stored.correlationId,
      headers: stored.headers,
      repliedAt: z.iso.datetime(),
    }),
  })
  .openapi('RequestResponse')

export const PendingResponse = z.object(ids).openapi('PendingResponse')

export const ReplyRequest = fields({
  ...content,
  type,
  correlationId,
  dedupId,
  replyTo: required(shortText(maxReplyToLength, 'That of the request; a queue needs the scope to send to it.')),
  receipt: Receipt.optional().describe("The request's: it is acked in the same step."),
})
  .superRefine(bodyFits)
  .openapi('ReplyRequest', { required: [...bodyRequired.required, 'replyTo'] })

export const ReplyResponse = z
  .object({
    outcome: z
      .enum(['ok', 'already_replied', 'reply_not_found', 'receipt_invalid', 'message_gone', 'lease_lost'])
      .describe('With already_replied and reply_not_found the receipt is acked all the same.'),
  })
  .openapi('ReplyResponse')
