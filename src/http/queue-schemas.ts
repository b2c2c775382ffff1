/* The shapes of queues: configuration, lists, statistics, and what is done to a queue as a whole. */
import { z } from '@hono/zod-openapi'
import * as limits from '../limits.ts'
import {
  anyText,
  batch,
  fields,
  flag,
  fromText,
  headers,
  number,
  oneOf,
  otherExchange,
  otherQueue,
  routingKey,
  rule,
  seconds,
  shortText,
  wholeNumber,
} from './fields.ts'
import { MessageId, reasons } from './schemas.ts'

const { maxDelaySeconds, maxRateBurst } = limits

const rate = (description: string) => number(limits.minRatePerSecond, limits.maxRatePerSecond, description)

/** Null: none, whatever policies say. */
const none = <Schema extends z.ZodType>(schema: Schema) => schema.nullable()

/** The settings, of queues and of policies. */
export const configShape = {
  order: oneOf(['fifo', 'lifo'], 'Whether the message that became available first or last is next. Default fifo.'),
  maxPriority: wholeNumber(0, limits.maxPriority, 'Highest priority a message may have. Default 0: no priorities.'),
  groups: oneOf(['ordered', 'fair'], 'What a group means: strict order, or a fair share. Default ordered.'),
  leaseSeconds: seconds(limits.maxLeaseSeconds, 'How long a receiver owns a message by default. Default 30.'),
  delaySeconds: seconds(maxDelaySeconds, 'Delay of messages that name none. Default 0.'),
  ttlSeconds: none(
    number(
      limits.minTtlSeconds,
      limits.maxTtlSeconds,
      'How long a message that does not say so itself is worth anything. Default: for ever.',
    ),
  ),
  maxAttempts: none(
    wholeNumber(1, limits.maxAttempts, 'How often a message is handed out at most. Default: no limit.'),
  ),
  retryDelaySeconds: seconds(maxDelaySeconds, 'Delay of a nack that names none. Default 0.'),
  retryBackoff: oneOf(['fixed', 'exponential'], 'Whether that delay doubles with every attempt. Default fixed.'),
  retryMaxDelaySeconds: seconds(maxDelaySeconds, 'Longest delay that doubling leads to. Default 3600.'),
  retryJitter: number(0, 1, 'Share of the delay that is left to chance. Default 0.'),
  deadLetterQueue: none(
    otherQueue(
      'Where messages go that failed too often, were rejected, expired or dropped: another queue, or its own name to keep them here ' +
        'as "dead". Default: failed and rejected ones are kept here, the others deleted.',
    ),
  ),
  deadLetterExchange: none(
    otherExchange(
      'An exchange that they are published to instead, each copy one dead letter. Those that reach no queue are kept here as "dead".',
    ),
  ),
  deadLetterRoutingKey: none(
    routingKey("By which routing key. Default: a message's own, or, if it was not published, the queue's name."),
  ),
  deadLetterRetentionSeconds: number(
    limits.minRetentionSeconds,
    limits.maxRetentionSeconds,
    'How long messages are kept as "dead". Default 1209600.',
  ),
  dedupWindowSeconds: seconds(limits.maxDedupWindowSeconds, 'How long dedup ids are remembered. Default 300.'),
  dedupBy: oneOf(
    ['id', 'content'],
    "content: the hash of its body is a message's dedup id, whatever its sender says. Default id.",
  ),
  dedupScope: oneOf(['queue', 'group'], 'Where a dedup id counts. Default queue.'),
  maxMessages: none(wholeNumber(1, limits.maxQueueMessages, 'Most messages in the queue. Default: no limit.')),
  maxBytes: none(wholeNumber(1, limits.maxQueueBytes, 'Most bytes of all bodies in the queue. Default: no limit.')),
  overflow: oneOf(['reject', 'drop-oldest'], 'What a send into a full queue does. Default reject.'),
  maxInFlight: none(wholeNumber(1, limits.maxInFlight, 'Most messages leased at the same time. Default: no limit.')),
  ratePerSecond: none(rate('How many messages are handed out in a second. Default: no limit.')),
  rateBurst: none(
    wholeNumber(1, maxRateBurst, 'How many of them at once after a pause. Default: those of one second.'),
  ),
  groupRatePerSecond: none(rate('The same for each group.')),
  groupRateBurst: none(wholeNumber(1, maxRateBurst, 'The same for each group.')),
  durability: oneOf(['full', 'relaxed', 'volatile'], 'What a crash of the database may lose. Default full: nothing.'),
}

/** Which settings mean something only beside another. */
const companions = [
  ['rateBurst', 'ratePerSecond'],
  ['groupRateBurst', 'groupRatePerSecond'],
  ['deadLetterRoutingKey', 'deadLetterExchange'],
] as const

type Companions = {
  readonly [Field in (typeof companions)[number][number] | 'deadLetterQueue']?: number | string | null | undefined
}

/** A burst goes with its rate, also where a policy has another one; a routing key with its exchange; and dead letters go one way. */
export function settingsGoTogether(config: Companions, context: z.RefinementCtx): void {
  const isGiven = (field: keyof Companions) => config[field] !== undefined && config[field] !== null
  const refuse = (field: keyof Companions, rule: string) =>
    context.addIssue({ code: 'custom', path: [field], message: `${rule}, got ${JSON.stringify(config[field])}` })
  for (const [field, needed] of companions) {
    if (isGiven(field) && !isGiven(needed)) refuse(field, `must not be given without ${needed}`)
  }
  if (isGiven('deadLetterExchange') && isGiven('deadLetterQueue')) {
    refuse('deadLetterExchange', 'must not be given beside deadLetterQueue')
  }
}

export const QueueConfig = fields(configShape).superRefine(settingsGoTogether).openapi('QueueConfig')

export const QueueInfo = z
  .object({
    name: z.string(),
    order: z.string(),
    maxPriority: z.int(),
    groups: z.string(),
    leaseSeconds: z.number(),
    delaySeconds: z.number(),
    ttlSeconds: z.number().optional(),
    maxAttempts: z.int().optional(),
    retryDelaySeconds: z.number(),
    retryBackoff: z.string(),
    retryMaxDelaySeconds: z.number(),
    retryJitter: z.number(),
    deadLetterQueue: z.string().optional(),
    deadLetterExchange: z.string().optional(),
    deadLetterRoutingKey: z.string().optional(),
    deadLetterRetentionSeconds: z.number(),
    dedupWindowSeconds: z.number(),
    dedupBy: z.string(),
    dedupScope: z.string(),
    maxMessages: z.int().optional(),
    maxBytes: z.int().optional(),
    overflow: z.string(),
    maxInFlight: z.int().optional(),
    ratePerSecond: z.number().optional(),
    rateBurst: z.int().optional(),
    groupRatePerSecond: z.number().optional(),
    groupRateBurst: z.int().optional(),
    durability: z.string(),
    paused: z.boolean(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    origins: z
      .record(z.string(), z.string())
      .describe('By setting: "queue" for its own configuration, or "policy <name>"; not for built-in defaults.'),
  })
  .openapi('QueueInfo')

export const ListQuery = fields({
  prefix: anyText(80, 'Only queues whose name starts with it.'),
  after: anyText(80, 'The `next` of the page before.'),
  max: fromText(wholeNumber(1, limits.maxBatch, 'Most queues. Default 100.')),
})

export const QueueListResponse = z
  .object({ queues: z.array(QueueInfo), next: z.string().optional() })
  .openapi('QueueListResponse')

export const QueueStats = z
  .object({
    ready: z.int(),
    leased: z.int(),
    delayed: z.int(),
    blocked: z.int(),
    dead: z.int(),
    bytes: z.int(),
    oldestReadyAt: z.iso.datetime().optional(),
    inPerSecond: z.number(),
    outPerSecond: z.number(),
    countedAt: z.iso.datetime(),
    capped: z.boolean(),
  })
  .openapi('QueueStats')

export const Deleted = z.object({ deletedMessages: z.int() }).openapi('Deleted')

export const Purged = z.object({ purgedMessages: z.int() }).openapi('Purged')

export const RedriveRequest = fields({
  ids: batch(MessageId, 'ids').optional().describe('Only these.'),
  type: shortText(limits.maxTypeLength, 'Only dead letters of this type.'),
  headers: headers('Only dead letters with all these headers.'),
  group: shortText(limits.maxGroupLength, 'Only dead letters of this group.'),
  reason: oneOf(reasons, 'Only dead letters for this reason.'),
  minAgeSeconds: seconds(limits.maxAgeSeconds, 'Only those dead for at least so many seconds.'),
  maxAgeSeconds: seconds(limits.maxAgeSeconds, 'Only those dead for at most so many seconds.'),
  errorContains: shortText(limits.maxSearchLength, 'Only those whose last error contains this text.'),
  target: otherQueue('Another queue. Default: the one that each came from.'),
  max: wholeNumber(1, limits.maxBatch, 'Most messages of this call. Default 1000.'),
  ratePerSecond: rate('Become available one after the other, so many in a second. Default: all at once.'),
  dryRun: flag('Count only. Default false.'),
  after: z
    .string(rule('a string'))
    .regex(/^[0-9]{1,17}\.[0-9]{1,18}\.[0-9]{1,17}$/, rule('the next of a redrive'))
    .optional()
    .describe('The `next` of the call before.'),
}).openapi('RedriveRequest')

export const RedriveResponse = z
  .object({ redrivenMessages: z.int(), next: z.string().optional() })
  .openapi('RedriveResponse')

export const MaintainRequest = fields({
  max: wholeNumber(1, limits.maxMaintained, 'Most messages of this call. Default 10000.'),
}).openapi('MaintainRequest')

export const MaintainResponse = z
  .object({
    expiredMessages: z.int(),
    removedDeadLetters: z.int(),
    forgottenDedupIds: z.int(),
    removedOrphans: z.int(),
    more: z.boolean(),
  })
  .openapi('MaintainResponse')
