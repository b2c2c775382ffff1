/* The shapes of requests and answers: what validates is what /openapi.json publishes. Their TypeScript twins are in wire.ts. */
import { z } from '@hono/zod-openapi'
import {
  maxBatch,
  maxDedupIdLength,
  maxDedupWindowSeconds,
  maxDelaySeconds,
  maxErrorLength,
  maxHeadersBytes,
  maxLeaseSeconds,
  maxPriority,
  maxTypeLength,
  maxWaitSeconds,
  queueNamePattern,
  queueNameRule,
} from '../limits.ts'
import { fields, fromText, isStorable, seconds, shortText, shown, storable, wholeNumber } from './fields.ts'

export const QueueName = z
  .string()
  .regex(queueNamePattern, { error: (issue) => `must be ${queueNameRule}, got ${shown(issue.input)}` })
  .openapi({ param: { name: 'queue', in: 'path' }, example: 'orders' })

export const QueueConfig = fields({
  leaseSeconds: seconds(maxLeaseSeconds, 'How long a receiver owns a message unless it says otherwise. Default 30.'),
  delaySeconds: seconds(maxDelaySeconds, 'Delay of messages that name none. Default 0.'),
  maxPriority: wholeNumber(0, maxPriority, 'Highest priority a message may have. Default 0: no priorities.'),
  dedupWindowSeconds: seconds(maxDedupWindowSeconds, 'How long dedup ids are remembered. Default 300.'),
}).openapi('QueueConfig')

const options = {
  type: shortText(maxTypeLength, 'What kind of message it is.'),
  priority: wholeNumber(0, maxPriority, "0 to the queue's maxPriority; higher ones are received first. Default 0."),
  delaySeconds: seconds(maxDelaySeconds, "Seconds until it may be received. Default: the queue's."),
  dedupId: shortText(maxDedupIdLength, 'A second send with it within the dedup window sends nothing.'),
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

export const OutgoingMessage = fields({
  body: z.unknown().optional().describe('With encoding json any JSON value, kept byte for byte; else a string.'),
  encoding: z
    .enum(['json', 'text', 'base64'], { error: (issue) => `must be json, text or base64, got ${shown(issue.input)}` })
    .optional()
    .describe('How body is written: a JSON value (default), a string of text, or bytes in base64.'),
  contentType: shortText(maxTypeLength, 'Media type of the body, for the receiver.'),
  headers: z
    .record(z.string(), z.string({ error: (issue) => `must be a string, got ${shown(issue.input)}` }), {
      error: (issue) => `must be an object of strings, got ${shown(issue.input)}`,
    })
    .optional()
    .describe(`Strings by name, at most ${maxHeadersBytes} bytes.`),
  ...options,
})
  .superRefine((message, context) => {
    const wrong = (path: string, rule: string) => context.addIssue({ code: 'custom', path: [path], message: rule })
    if (message.body === undefined) wrong('body', 'is missing')
    else if (message.encoding === 'text' || message.encoding === 'base64') {
      if (typeof message.body !== 'string')
        wrong('body', `must be a string with encoding ${message.encoding}, got ${shown(message.body)}`)
      else if (message.encoding === 'base64' && !base64.test(message.body))
        wrong('body', `must be base64, got ${shown(message.body)}`)
    }
    const bytes = new TextEncoder().encode(JSON.stringify(message.headers ?? {})).length
    if (bytes > maxHeadersBytes) wrong('headers', `must be at most ${maxHeadersBytes} bytes of JSON, got ${bytes}`)
    if (
      !Object.entries(message.headers ?? {})
        .flat()
        .every(isStorable)
    )
      wrong('headers', `must be ${storable}`)
  })
  .openapi('OutgoingMessage')

const batchSize = (what: string) => ({
  error: (issue: { input?: unknown }) =>
    `must be between 1 and ${maxBatch} ${what}, got ${(issue.input as unknown[]).length}`,
})

export const SendRequest = fields({
  messages: z
    .array(OutgoingMessage, { error: (issue) => `must be an array, got ${shown(issue.input)}` })
    .min(1, batchSize('messages'))
    .max(maxBatch, batchSize('messages')),
}).openapi('SendRequest')

/** What a raw body's metadata may be: the query of a send whose content type is not JSON. */
export const RawSendQuery = fields({
  ...options,
  priority: fromText(options.priority),
  delaySeconds: fromText(options.delaySeconds),
})

export const SendResponse = z
  .object({ messages: z.array(z.object({ id: z.string(), duplicate: z.boolean() })) })
  .openapi('SendResponse')

export const ReceiveRequest = fields({
  max: wholeNumber(1, maxBatch, 'Most messages to lease. Default 1.'),
  waitSeconds: seconds(maxWaitSeconds, 'How long to wait if there is none. Default 0.'),
  leaseSeconds: seconds(maxLeaseSeconds, "How long the caller owns them. Default: the queue's."),
}).openapi('ReceiveRequest')

const stored = {
  id: z.string(),
  encoding: z.enum(['json', 'text', 'base64']),
  body: z.unknown(),
  type: z.string().optional(),
  contentType: z.string().optional(),
  headers: z.record(z.string(), z.string()),
  priority: z.int(),
  attempts: z.int(),
  sentAt: z.iso.datetime(),
}

export const ReceiveResponse = z
  .object({
    messages: z.array(
      z.object({
        ...stored,
        receipt: z.string(),
        firstReceivedAt: z.iso.datetime(),
        leasedUntil: z.iso.datetime(),
      }),
    ),
  })
  .openapi('ReceiveResponse')

const Receipt = z
  .string({ error: (issue) => `must be a string, got ${shown(issue.input)}` })
  .refine(isStorable, { error: `must be ${storable}` })

const receipts = z
  .array(Receipt, {
    error: (issue) => `must be an array of receipts, got ${shown(issue.input)}`,
  })
  .min(1, batchSize('receipts'))
  .max(maxBatch, batchSize('receipts'))

export const AckRequest = fields({ receipts }).openapi('AckRequest')

export const NackRequest = fields({
  receipts,
  delaySeconds: seconds(maxDelaySeconds, 'Seconds until they may be received again. Default 0.'),
  error: z
    .string({ error: (issue) => `must be a string, got ${shown(issue.input)}` })
    .optional()
    .describe(`Why; its first ${maxErrorLength} characters are kept with the message.`),
}).openapi('NackRequest')

export const ExtendRequest = fields({
  receipts,
  leaseSeconds: seconds(maxLeaseSeconds, "How long from now they are kept. Default: the queue's."),
}).openapi('ExtendRequest')

export const SettleResponse = z
  .object({
    results: z.array(
      z.object({
        receipt: z.string(),
        outcome: z.enum(['ok', 'receipt_invalid', 'message_gone', 'lease_lost', 'lease_expired']),
      }),
    ),
  })
  .openapi('SettleResponse')

export const PeekQuery = fields({
  max: fromText(wholeNumber(1, maxBatch, 'Most messages. Default 10.')),
  after: z
    .string()
    .regex(/^[0-9]{1,18}$/, { error: (issue) => `must be the id of a message, got ${shown(issue.input)}` })
    .optional()
    .describe('The `next` of the page before.'),
})

export const PeekResponse = z
  .object({
    messages: z.array(
      z.object({
        ...stored,
        state: z.enum(['ready', 'leased', 'delayed']),
        availableAt: z.iso.datetime(),
        firstReceivedAt: z.iso.datetime().optional(),
        leasedUntil: z.iso.datetime().optional(),
        lastError: z.string().optional(),
      }),
    ),
    next: z.string().optional(),
  })
  .openapi('PeekResponse')

export const QueueInfo = z
  .object({
    name: z.string(),
    leaseSeconds: z.number(),
    delaySeconds: z.number(),
    maxPriority: z.int(),
    dedupWindowSeconds: z.number(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .openapi('QueueInfo')

export const ListQuery = fields({
  prefix: z.string().max(80).optional().describe('Only queues whose name starts with it.'),
  after: z.string().max(80).optional().describe('The `next` of the page before.'),
  max: fromText(wholeNumber(1, maxBatch, 'Most queues. Default 100.')),
})

export const QueueListResponse = z
  .object({ queues: z.array(QueueInfo), next: z.string().optional() })
  .openapi('QueueListResponse')

export const QueueStats = z
  .object({
    ready: z.int(),
    leased: z.int(),
    delayed: z.int(),
    oldestReadyAt: z.iso.datetime().optional(),
    capped: z.boolean(),
  })
  .openapi('QueueStats')

export const Deleted = z.object({ deletedMessages: z.int() }).openapi('Deleted')

export const Purged = z.object({ purgedMessages: z.int() }).openapi('Purged')

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
