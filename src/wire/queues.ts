/* Queues and policies: what is set, how they are, and what is done to all of their messages. */
import type { DeadLetterReason } from './messages.ts'

/** How a queue behaves. PUT replaces all of it: what is not given gets its default, which is what the most specific policy says, or else the
 * built-in one that is told here. Null, where there is no built-in default: none, whatever policies say. */
export interface QueueConfig {
  /** Which of the available messages is next: the one that became available first, or last. Defaults to "fifo". */
  readonly order?: 'fifo' | 'lifo'
  /** Highest priority a message may have, 0 – 9. Defaults to 0: no priorities. */
  readonly maxPriority?: number
  /** What a group means: strict order, or a fair share beside other groups. Defaults to "ordered". */
  readonly groups?: 'ordered' | 'fair'
  /** How long a receiver owns a message unless it says otherwise, 0 – 43200. Defaults to 30. */
  readonly leaseSeconds?: number
  /** Delay of messages that name none, 0 – 31536000. Defaults to 0. */
  readonly delaySeconds?: number
  /** How long a message is worth anything unless it says otherwise, 0.001 – 31536000. Defaults to for ever. */
  readonly ttlSeconds?: number | null
  /** How often a message is handed out at most, 1 – 1000. Defaults to no limit. */
  readonly maxAttempts?: number | null
  /** Delay of a nack that names none, 0 – 31536000. Defaults to 0. */
  readonly retryDelaySeconds?: number
  /** Whether that delay stays or doubles with every attempt. Defaults to "fixed". */
  readonly retryBackoff?: 'fixed' | 'exponential'
  /** Longest delay that doubling leads to, 0 – 31536000. Defaults to 3600. */
  readonly retryMaxDelaySeconds?: number
  /** Share of the delay that is left to chance, 0 – 1: with 0.5 it is half to all of it. Defaults to 0. */
  readonly retryJitter?: number
  /** Where messages go that failed too often, were rejected, expired, or were dropped because the queue was full: another queue, or (its
   * own name) the state "dead" in this one. Without it, those that failed or were rejected stay here as "dead", and the others are deleted. */
  readonly deadLetterQueue?: string | null
  /** An exchange that they are published to instead: each queue that a message reaches gets one. Those that reach none stay as "dead". */
  readonly deadLetterExchange?: string | null
  /** By which routing key, up to 255 characters. Defaults to the one a message came with, or, if it was not published, the queue's name. */
  readonly deadLetterRoutingKey?: string | null
  /** How long messages are kept in the state "dead", in seconds, 1 – 31536000. Defaults to 14 days. */
  readonly deadLetterRetentionSeconds?: number
  /** How long dedup ids are remembered, in seconds, 0 – 86400. Defaults to 300. */
  readonly dedupWindowSeconds?: number
  /** "content": the hash of its body is a message's dedup id, whatever its sender says. Defaults to "id". */
  readonly dedupBy?: 'id' | 'content'
  /** Whether a dedup id counts in the whole queue or in its group. Defaults to "queue". */
  readonly dedupScope?: 'queue' | 'group'
  /** Most messages in the queue, 1 – 1000000000. Defaults to no limit. */
  readonly maxMessages?: number | null
  /** Most bytes of all bodies in the queue, 1 – 1125899906842624. Defaults to no limit. */
  readonly maxBytes?: number | null
  /** What happens to a send into a full queue: refused (queue_full), or room is made. Defaults to "reject". */
  readonly overflow?: 'reject' | 'drop-oldest'
  /** Most messages that are leased at the same time, 1 – 100000. Defaults to no limit. */
  readonly maxInFlight?: number | null
  /** How many messages are handed out in a second, 0.001 – 1000000. Defaults to no limit. */
  readonly ratePerSecond?: number | null
  /** How many of them at once after a pause, 1 – 1000000. Defaults to those of one second. */
  readonly rateBurst?: number | null
  /** The same for each group. */
  readonly groupRatePerSecond?: number | null
  readonly groupRateBurst?: number | null
  /** "relaxed": a crash of the database may lose the last fraction of a second. "volatile": it empties the queue. Defaults to "full". */
  readonly durability?: 'full' | 'relaxed' | 'volatile'
}

/** What has no default may be missing. */
type WithoutDefault =
  | 'ttlSeconds'
  | 'maxAttempts'
  | 'deadLetterQueue'
  | 'deadLetterExchange'
  | 'deadLetterRoutingKey'
  | 'maxMessages'
  | 'maxBytes'
  | 'maxInFlight'
  | 'ratePerSecond'
  | 'rateBurst'
  | 'groupRatePerSecond'
  | 'groupRateBurst'

type Effective = Required<Omit<QueueConfig, WithoutDefault>> & {
  readonly [Field in WithoutDefault]?: NonNullable<QueueConfig[Field]>
}

export interface QueueInfo extends Effective {
  readonly name: string
  /** True while nothing is handed out. */
  readonly paused: boolean
  readonly createdAt: string
  readonly updatedAt: string
  /** Who says what a setting is: the queue's own configuration, or a policy. What is not here is the built-in default. */
  readonly origins: { readonly [Field in keyof QueueConfig]?: Origin }
}

export type Origin = 'queue' | `policy ${string}`

/** What policies may say: all but durability, which is each queue's own. */
export type PolicySettings = Omit<QueueConfig, 'durability'>

/** Settings of all queues whose name matches, unless they or a more specific policy say otherwise. PUT replaces all of it. */
export interface PolicyConfig {
  /** 1 – 80 characters of queue names and *, which stands for any characters, also none: "orders.*". */
  readonly pattern: string
  readonly settings: PolicySettings
}

export interface PolicyInfo extends PolicyConfig {
  readonly name: string
  /** How many queues match the pattern now. */
  readonly matchingQueues: number
  readonly createdAt: string
  readonly updatedAt: string
}

export interface PolicyListResponse {
  /** The most specific first: of several that match a queue, the first that says a setting counts. */
  readonly policies: readonly PolicyInfo[]
}

export interface QueueListResponse {
  readonly queues: readonly QueueInfo[]
  /** Pass as `after` for the next page; missing on the last one. */
  readonly next?: string
}

export interface QueueStats {
  readonly ready: number
  readonly leased: number
  readonly delayed: number
  /** Those whose turn in their group has not come. */
  readonly blocked: number
  readonly dead: number
  /** Of the bodies of all messages that are not dead. */
  readonly bytes: number
  /** Since when the oldest ready message has been available. */
  readonly oldestReadyAt?: string
  /** Messages sent and messages done in a second, over the last minute. */
  readonly inPerSecond: number
  readonly outPerSecond: number
  /** When the messages were counted: of 10,000 messages or more, for 20 times as long as counting took. */
  readonly countedAt: string
  /** True if counting stopped at 1,000,000 messages: there are more than the counts say. */
  readonly capped: boolean
}

/** Which dead letters to bring back; all conditions must hold, and none means all of them. */
export interface RedriveRequest {
  /** Only these, 1 – 1000. */
  readonly ids?: readonly string[]
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly group?: string
  readonly reason?: DeadLetterReason
  /** Dead for at least, at most so many seconds. */
  readonly minAgeSeconds?: number
  readonly maxAgeSeconds?: number
  /** Text that the last error contains. */
  readonly errorContains?: string
  /** Another queue. Defaults to the one that each came from. */
  readonly target?: string
  /** Most messages of this call, 1 – 1000. Defaults to 1000. */
  readonly max?: number
  /** Become available one after the other, so many in a second, 0.001 – 1000000. Defaults to all at once. */
  readonly ratePerSecond?: number
  /** True: count only. Defaults to false. */
  readonly dryRun?: boolean
  /** The `next` of the call before. */
  readonly after?: string
}

export interface RedriveResponse {
  /** How many were brought back (or, with dryRun, would be) by this call. */
  readonly redrivenMessages: number
  /** There may be more: call again with it as `after`. */
  readonly next?: string
}

export interface MaintainRequest {
  /** Most messages of this call, 1 – 100000. Defaults to 10000. */
  readonly max?: number
}

export interface MaintainResponse {
  readonly expiredMessages: number
  readonly removedDeadLetters: number
  readonly forgottenDedupIds: number
  /** Messages of queues that were deleted while they were sent. */
  readonly removedOrphans: number
  /** True if there was more to do than `max`: call again. */
  readonly more: boolean
}
