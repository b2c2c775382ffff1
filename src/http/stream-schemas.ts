/* The shapes of a stream. */
import { z } from '@hono/zod-openapi'
import { maxBatch, maxHeartbeatSeconds, maxLeaseSeconds, maxStreamSeconds } from '../limits.ts'
import { fields, flagFromText, fromText, number, rule, seconds, wholeNumber } from './fields.ts'

export const StreamQuery = fields({
  max: fromText(
    wholeNumber(1, maxBatch, 'Most messages that are taken at a time, before the reader has them. Default 10.'),
  ),
  leaseSeconds: fromText(seconds(maxLeaseSeconds, "How long the reader owns them. Default: the queue's.")),
  autoAck: flagFromText(
    'At most once: they are gone when they are handed out, and there is no receipt. Default false.',
  ),
  seconds: fromText(number(1, maxStreamSeconds, 'How long the stream lasts. Default 25.')),
  heartbeatSeconds: fromText(number(1, maxHeartbeatSeconds, 'How long it is silent at most. Default 15.')),
  access_token: z
    .string(rule('a string'))
    .optional()
    .describe('The token, for browsers: EventSource sends no headers.'),
})

export const EventStream = z
  .string()
  .describe(
    'For each message an event with its id, and as data its JSON as in ReceiveResponse; while there is none, comments. ' +
      'An event "problem" with a Problem says why a stream ends early.',
  )
