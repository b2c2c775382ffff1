/* The shapes of receiving and settling. */
import { z } from '@hono/zod-openapi'
import { maxAutoAcked, maxBatch, maxDelaySeconds, maxErrorLength, maxLeaseSeconds, maxWaitSeconds } from '../limits.ts'
import { batch, fields, flag, isStorable, rule, seconds, shown, storable, wholeNumber } from './fields.ts'
import { answerEnds, stored } from './schemas.ts'

export const Receipt = z.string(rule('a string')).refine(isStorable, { error: `must be ${storable}` })

const receipts = batch(Receipt, 'receipts', 'an array of receipts')

export const ReceiveRequest = fields({
  max: wholeNumber(1, maxBatch, 'Most messages to lease. Default 1.'),
  waitSeconds: seconds(maxWaitSeconds, 'How long to wait if there is none. Default 0.'),
  leaseSeconds: seconds(maxLeaseSeconds, "How long the caller owns them. Default: the queue's."),
  autoAck: flag(
    `At most once: they are gone when they are handed out, at most ${maxAutoAcked} in an answer, and there is no receipt. Default false.`,
  ),
  acks: batch(Receipt, 'acks', 'an array of receipts')
    .optional()
    .describe('Receipts of messages that are done: acked first, before any waiting, in the same transaction.'),
})
  .refine(({ acks, autoAck }) => !(acks && autoAck), {
    path: ['acks'],
    error: 'must not be given with autoAck, got both',
  })
  .openapi('ReceiveRequest')

export const ReceiveQuery = fields({
  cloudevents: z
    .literal('binary', { error: ({ input }) => `must be binary, got ${shown(input)}` })
    .optional()
    .describe('One message as a CloudEvent in binary mode. (For the other modes, see the Accept header.)'),
})

const settlements = z.array(
  z.object({
    receipt: z.string(),
    outcome: z.enum(['ok', 'receipt_invalid', 'message_gone', 'lease_lost', 'lease_expired']),
  }),
)

export const ReceiveResponse = z
  .object({
    messages: z
      .array(
        z.object({
          ...stored,
          receipt: z.string(),
          firstReceivedAt: z.iso.datetime(),
          leasedUntil: z.iso.datetime(),
        }),
      )
      .describe(answerEnds),
    acks: settlements.optional().describe('What became of the acks of the request, in their order.'),
  })
  .openapi('ReceiveResponse')

export const AckRequest = fields({ receipts }).openapi('AckRequest')

export const NackRequest = fields({
  receipts,
  delaySeconds: seconds(
    maxDelaySeconds,
    "Seconds until they may be received again. Default: the queue's retry policy.",
  ),
  error: z
    .string(rule('a string'))
    .optional()
    .describe(`Why; its first ${maxErrorLength} characters are kept with the message.`),
  deadLetter: flag('Never hand them out again: they are dead letters now. Default false.'),
  untried: flag('Nobody worked on them, so this attempt does not count. Default false.'),
}).openapi('NackRequest')

export const ExtendRequest = fields({
  receipts,
  leaseSeconds: seconds(maxLeaseSeconds, "How long from now they are kept. Default: the queue's."),
}).openapi('ExtendRequest')

export const SettleResponse = z.object({ results: settlements }).openapi('SettleResponse')
