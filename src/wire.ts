/* What goes over the wire: the JSON of the native HTTP door, the same words in SQL, the client and the docs; and how bytes are written
 * in it. Times are ISO 8601 in UTC; durations are in seconds. */

/** How a body is written: any JSON value; a string that is the text itself; or a string that is the bytes in base64. */
export type Encoding = 'json' | 'text' | 'base64'

/** A body and how it is written: the two go together. */
export type Content =
  | { readonly encoding?: 'json'; readonly body: unknown }
  | { readonly encoding: 'text' | 'base64'; readonly body: string }

/** What may be said of a message besides its body. */
export interface MessageOptions {
  /** What kind of message it is, 1 – 255 characters, such as "order.created". */
  readonly type?: string
  /** Media type of the body, for the receiver, 1 – 255 characters. Postbag does not look at it. */
  readonly contentType?: string
  /** Strings by name, at most 16 KiB. */
  readonly headers?: Readonly<Record<string, string>>
  /** 0 – the queue's maxPriority; higher ones are received first. Defaults to 0. */
  readonly priority?: number
  /** Seconds until the message may be received, 0 – 31536000. Defaults to the queue's own. */
  readonly delaySeconds?: number
  /** Instead of delaySeconds: when the message may be received, at most a year ahead. A time in the past means now. */
  readonly availableAt?: string
  /** How long the message is worth anything, in seconds, 0.001 – 31536000. Defaults to the queue's own. Never handed out afterwards. */
  readonly ttlSeconds?: number
  /** 1 – 128 characters. Messages of one group are handed out strictly in order, one lease at a time (or fairly beside other groups,
   * where the queue says `groups: "fair"`). */
  readonly group?: string
  /** 1 – 128 characters: a second send with it within the queue's dedup window sends nothing and returns the first one's id. */
  readonly dedupId?: string
  /** 1 – 255 characters: what this message belongs to, such as the request that a reply answers. */
  readonly correlationId?: string
  /** 1 – 255 characters: where a reply to this message goes: a queue, or what a request has made for itself. */
  readonly replyTo?: string
}

/** One message of a send. */
export type OutgoingMessage = Content & MessageOptions

/** What became of one message of a send. */
export interface SentMessage {
  readonly id: string
  /** True if a message with this dedupId had been sent before: `id` is that one's, and nothing was sent now. */
  readonly duplicate: boolean
}

export interface SendResponse {
  /** In the order of the request. */
  readonly messages: readonly SentMessage[]
}

export interface ReceiveRequest {
  /** Most messages to lease, 1 – 1000. Defaults to 1. */
  readonly max?: number
  /** How long to wait for a message if there is none, in seconds, 0 – 20. Defaults to 0. Too short: many empty requests. */
  readonly waitSeconds?: number
  /** How long the caller owns what it received, in seconds, 0 – 43200. Defaults to the queue's own. Too short: delivered twice. */
  readonly leaseSeconds?: number
  /** At most once: the messages are gone when they are handed out, and there is no receipt. Defaults to false. */
  readonly autoAck?: boolean
  /** Receipts of messages that are done, 1 – 1000: acked in the same transaction as the first look, so before any waiting. Their outcomes
   * come with the answer: with waitSeconds they are known late, though they hold at once. Not with autoAck. */
  readonly acks?: readonly string[]
}

/** A message that asks for a reply, and how long to wait for it. */
export type RequestRequest = Content &
  Omit<MessageOptions, 'replyTo'> & {
    /** How long to wait for the reply, in seconds, 0 – 20. Defaults to 20. */
    readonly waitSeconds?: number
    /** From now on, how long the reply may come and be fetched, in seconds, 1 – 604800. Defaults to 3600. */
    readonly keepSeconds?: number
  }

/** A request that was sent. */
export interface SentRequest {
  /** For fetching the reply: who knows it may. */
  readonly id: string
  /** Of the message that asks. */
  readonly messageId: string
  /** True if a request with this dedupId had been sent before: these are that one's ids. */
  readonly duplicate: boolean
}

/** What somebody replied. */
export interface Reply {
  readonly encoding: Encoding
  /** With encoding json any JSON value, else a string. */
  readonly body: unknown
  readonly type?: string
  readonly contentType?: string
  readonly correlationId?: string
  readonly headers: Readonly<Record<string, string>>
  readonly repliedAt: string
}

/** The answer to a request, and to asking for its reply. */
export interface RequestResponse {
  /** For fetching the reply (again). */
  readonly id: string
  readonly messageId: string
  /** Missing while there is none (status 202). */
  readonly reply?: Reply
}

/** What may be said of a reply besides its body. */
export interface ReplyOptions extends Pick<MessageOptions, 'type' | 'contentType' | 'headers' | 'correlationId'> {
  /** As for a send, where replyTo is a queue. */
  readonly dedupId?: string
}

export type ReplyRequest = Content &
  ReplyOptions & {
    /** That of the request. */
    readonly replyTo: string
    /** The request's: it is acked in the same step. */
    readonly receipt?: string
  }

/** What became of a reply. With already_replied and reply_not_found the receipt is acked all the same; with a refusal of the receipt nothing
 * was done. */
export type ReplyOutcome = 'ok' | 'already_replied' | 'reply_not_found' | Exclude<Outcome, 'lease_expired'>

export interface ReplyResponse {
  readonly outcome: ReplyOutcome
}

/** Why a message went to the dead letters: received too often, too old, rejected by a consumer, or the queue was full. */
export type DeadLetterReason = 'attempts' | 'expired' | 'rejected' | 'overflow'

/** One time that a message became a dead letter. */
export interface DeadLetter {
  /** The queue it came from. */
  readonly queue: string
  readonly reason: DeadLetterReason
  /** What the last nack said. */
  readonly error?: string
  readonly attempts: number
  readonly at: string
  /** By which exchange it had come, and with which routing key: of one that went on by a dead-letter exchange. */
  readonly exchange?: string
  readonly routingKey?: string
}

/** What every look at a message shows. */
interface StoredMessage {
  readonly id: string
  readonly encoding: Encoding
  /** By which exchange it came, and with which routing key: of a published message. */
  readonly exchange?: string
  readonly routingKey?: string
  /** With encoding json any JSON value, else a string. */
  readonly body: unknown
  readonly type?: string
  readonly contentType?: string
  readonly correlationId?: string
  readonly replyTo?: string
  readonly headers: Readonly<Record<string, string>>
  readonly priority: number
  readonly group?: string
  /** How often it has been received, this time included. */
  readonly attempts: number
  readonly sentAt: string
  readonly firstReceivedAt?: string
  /** From then on it is not handed out (any more), unless it is settled before. */
  readonly expiresAt?: string
  /** How often it was a dead letter, oldest first, the last 10. */
  readonly deadLetters?: readonly DeadLetter[]
}

/** A message that the receiver owns until leasedUntil. */
export interface ReceivedMessage extends StoredMessage {
  /** Proof of the lease, for ack, nack and extend. Opaque. Empty with autoAck. */
  readonly receipt: string
  readonly firstReceivedAt: string
  /** With autoAck the time at which it was handed out. */
  readonly leasedUntil: string
}

export interface ReceiveResponse {
  readonly messages: readonly ReceivedMessage[]
  /** The outcomes of the request's acks, in their order. */
  readonly acks?: readonly Settlement[]
}

/** Available now; owned by a receiver; its time has not come; its turn in its group has not come; never handed out again. */
export type MessageState = 'ready' | 'leased' | 'delayed' | 'blocked' | 'dead'

/** Which messages to look at; all conditions must hold. */
export interface PeekRequest {
  /** Most messages, 1 – 1000. Defaults to 10. */
  readonly max?: number
  /** The `next` of the page before. */
  readonly after?: string
  readonly state?: MessageState
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly group?: string
  /** Sent at least, at most so many seconds ago. */
  readonly minAgeSeconds?: number
  readonly maxAgeSeconds?: number
  /** Text that the body contains: of JSON, its text; never of bytes. */
  readonly contains?: string
  /** Why it is a dead letter. */
  readonly reason?: DeadLetterReason
}

/** A message that was only looked at. */
export interface PeekedMessage extends StoredMessage {
  readonly state: MessageState
  /** When it may be received. Missing if that is not known: its group's turn, or never. */
  readonly availableAt?: string
  readonly leasedUntil?: string
  /** What the last nack said. */
  readonly lastError?: string
  readonly deadAt?: string
  readonly deadReason?: DeadLetterReason
}

export interface PeekResponse {
  readonly messages: readonly PeekedMessage[]
  /** Pass as `after` for the next page; missing on the last one. A page may hold fewer messages than asked for, or none, and have a next
   * one: a call looks at 10,000 messages at most. */
  readonly next?: string
}

export interface AckRequest {
  readonly receipts: readonly string[]
}

export interface NackRequest extends AckRequest {
  /** Seconds until the messages may be received again, 0 – 31536000. Defaults to what the queue's retry policy says. */
  readonly delaySeconds?: number
  /** Why; kept with the message (its first 4000 characters). */
  readonly error?: string
  /** True: never hand them out again, they are dead letters now (`rejected`). Defaults to false. */
  readonly deadLetter?: boolean
  /** True: nobody worked on them (a consumer that stops, say), so this attempt does not count. Defaults to false. */
  readonly untried?: boolean
}

export interface ExtendRequest extends AckRequest {
  /** How long from now the messages are kept, in seconds, 0 – 43200. Defaults to the queue's own. */
  readonly leaseSeconds?: number
}

/** What became of a receipt. What the refusals mean: errors.ts, under the same names. */
export type Outcome = 'ok' | 'receipt_invalid' | 'message_gone' | 'lease_lost' | 'lease_expired'

export interface Settlement {
  readonly receipt: string
  readonly outcome: Outcome
}

export interface SettleResponse {
  /** In the order of the request. */
  readonly results: readonly Settlement[]
}

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

/** How an exchange decides where a message goes: by the very routing key; by a pattern of words that are divided by dots, where `*` is one
 * word and `#` any number of them; everywhere; by headers; or to one binding, always the same for a routing key. */
export type ExchangeType = 'direct' | 'topic' | 'fanout' | 'headers' | 'hash'

/** PUT declares an exchange; one that is there must be just so. */
export interface ExchangeConfig {
  /** Defaults to "direct". */
  readonly type?: ExchangeType
  /** The exchange that gets what fits no binding; may be declared later. Defaults to none. */
  readonly alternate?: string
}

export interface ExchangeInfo {
  readonly name: string
  readonly type: ExchangeType
  readonly alternate?: string
  readonly createdAt: string
}

export interface ExchangeListResponse {
  readonly exchanges: readonly ExchangeInfo[]
  /** Pass as `after` for the next page; missing on the last one. */
  readonly next?: string
}

/** Where a binding leads: exactly one of the two. */
export type BindingTarget =
  | { readonly queue: string; readonly exchange?: never }
  | { readonly exchange: string; readonly queue?: never }

/** What a binding asks for. */
export interface BindingCondition {
  /** Of a direct exchange: the key; of a topic exchange: the pattern. Up to 255 characters. Defaults to "". */
  readonly routingKey?: string
  /** Of a headers exchange: strings by name, or null where any value will do; up to 32. */
  readonly headers?: Readonly<Record<string, string | null>>
  /** Of a headers exchange: whether all of them must fit, or any. Defaults to "all". */
  readonly match?: 'all' | 'any'
}

/** PUT binds; bound again, a hash exchange's binding has the new weight. */
export type BindRequest = BindingTarget &
  BindingCondition & {
    /** Of a hash exchange: the share of the routing keys, 1 – 100. Defaults to 1. */
    readonly weight?: number
  }

/** DELETE undoes the bind that said the same. */
export type UnbindRequest = BindingTarget & BindingCondition

export interface BindResponse {
  /** False if it was so before. */
  readonly changed: boolean
}

export interface BindingInfo extends Omit<BindingCondition, 'routingKey'> {
  readonly id: string
  readonly routingKey: string
  /** The exchange it is a binding of. */
  readonly source: string
  readonly queue?: string
  readonly exchange?: string
  readonly weight?: number
  readonly createdAt: string
}

export interface BindingListResponse {
  readonly bindings: readonly BindingInfo[]
  readonly next?: string
}

/** What may be said of a published message. */
export interface PublishOptions extends MessageOptions {
  /** Up to 255 characters. Defaults to "". */
  readonly routingKey?: string
}

export type PublishedMessage = Content & PublishOptions

/** What became of one message of a publish. */
export interface Publication {
  /** How many queues it reached. */
  readonly queues: number
}

export interface PublishResponse {
  /** In the order of the request. */
  readonly messages: readonly Publication[]
}

/** A message that is not sent, to see where it would go. */
export interface RouteRequest {
  readonly routingKey?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** A binding that fits, or the turn to an alternate exchange. */
export interface RouteStep extends BindingCondition {
  /** Where the message is. */
  readonly source: string
  readonly type: ExchangeType
  readonly weight?: number
  /** Where it goes from there. */
  readonly queue?: string
  readonly exchange?: string
  /** True if no binding fits there, and this is its alternate exchange. */
  readonly alternate: boolean
}

export interface RouteResponse {
  /** The queues that it would reach, each once. */
  readonly queues: readonly string[]
  /** How it gets there. */
  readonly steps: readonly RouteStep[]
}

/** What an event must contain to be delivered: all of it, as Postgres says of jsonb (@>). */
export interface EndpointFilter {
  readonly headers?: Readonly<Record<string, string>>
  /** Any JSON value: an object is contained in one that has all its fields, and more. */
  readonly body?: unknown
}

/** PUT makes an endpoint of webhooks, or replaces its whole configuration: what is not given gets its default. */
export interface EndpointConfig {
  /** Where to. https, a public host, at most 2048 characters. */
  readonly url: string
  /** What is published there is delivered. Of type topic, direct or fanout. */
  readonly exchange: string
  /** Patterns of routing keys, as for bindings, 1 – 100. Defaults to ["#"]: everything that is published to a topic exchange. */
  readonly eventTypes?: readonly string[]
  /** Whose it is: 1 – 128 characters. Endpoints are listed by it. */
  readonly application?: string
  readonly filter?: EndpointFilter
  /** Of the requests, at most 32. */
  readonly headers?: Readonly<Record<string, string>>
  /** Up to 1000 characters. */
  readonly description?: string
  /** Strings by name, at most 4 KiB. */
  readonly metadata?: Readonly<Record<string, string>>
  /** How long the receiver has to answer, in seconds, 1 – 60. Defaults to 15. */
  readonly timeoutSeconds?: number
  /** How long to wait after each failed attempt, in seconds, up to 50 times 0 – 604800; then the delivery is a dead letter.
   * Defaults to 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h. */
  readonly retriesSeconds?: readonly number[]
  /** Most deliveries in a second, 0.001 – 1000000. Defaults to no limit. */
  readonly ratePerSecond?: number
  /** How many of them at once after a pause. Defaults to those of one second. */
  readonly rateBurst?: number
  /** Most deliveries under way, 1 – 100000. Defaults to 10. */
  readonly concurrency?: number
  /** group: events of a group are delivered one after the other, each after the one before it arrived (or failed for good). endpoint: all are.
   * Defaults to none. */
  readonly order?: EndpointOrder
  /** "whsec_…" or "whsk_…", for signing. Defaults to the one it has; a new endpoint gets one. Given to an endpoint that is there, it replaces
   * all it had, at once. */
  readonly secret?: string
}

export type EndpointOrder = 'none' | 'group' | 'endpoint'

export type EndpointState = 'enabled' | 'resting' | 'paused' | 'disabled'

export interface EndpointInfo
  extends Omit<
    Required<EndpointConfig>,
    'application' | 'filter' | 'description' | 'ratePerSecond' | 'rateBurst' | 'secret'
  > {
  readonly name: string
  readonly application?: string
  readonly filter?: EndpointFilter
  readonly description?: string
  readonly ratePerSecond?: number
  readonly rateBurst?: number
  /** resting: nothing is delivered until restingUntil, because it has failed often or has asked for it. paused: what is published waits.
   * disabled: what is published does not even wait. */
  readonly state: EndpointState
  /** open: it rests. half-open: it has rested, and one delivery is tried before the others. */
  readonly breaker: 'closed' | 'open' | 'half-open'
  readonly disabledAt?: string
  /** Its receiver said that it is gone (410), or it has failed for days. */
  readonly disabledBecause?: 'asked' | 'gone' | 'failing'
  /** Failed attempts since the last that succeeded. */
  readonly failures: number
  readonly failingSince?: string
  readonly restingUntil?: string
  readonly createdAt: string
  readonly updatedAt: string
  /** What its receiver verifies signatures with: only in the answer to the call that made it. */
  readonly secret?: string
}

export interface EndpointListResponse {
  readonly endpoints: readonly EndpointInfo[]
  /** Pass as `after` for the next page; missing on the last one. */
  readonly next?: string
}

export interface RotateSecretRequest {
  /** For how long the secrets before it go on signing, in seconds, 0 – 604800. Defaults to a day. */
  readonly overlapSeconds?: number
  /** Defaults to a new one. */
  readonly secret?: string
}

export interface AttemptListRequest {
  readonly outcome?: 'delivered' | 'failed'
  /** Of one delivery. */
  readonly id?: string
  /** The `next` of the page before. */
  readonly before?: string
  /** 1 – 1000. Defaults to 100. */
  readonly max?: number
}

/** One request to an endpoint, and what came of it. */
export interface DeliveryAttempt {
  readonly attempt: string
  /** Of the delivery. */
  readonly id: string
  /** Of the event, as long as it is kept. */
  readonly eventId?: string
  readonly type?: string
  /** 1 for the first of the delivery. */
  readonly number: number
  readonly startedAt: string
  readonly millis: number
  readonly outcome: 'delivered' | 'failed'
  /** What the receiver answered, if it did. */
  readonly status?: number
  /** Why it failed: docs/webhooks.md lists them. */
  readonly error?: string
  readonly detail?: string
  readonly responseHeaders?: Readonly<Record<string, string>>
  /** Its first 4 KiB. */
  readonly responseBody?: string
}

export interface AttemptListResponse {
  /** The newest first. */
  readonly attempts: readonly DeliveryAttempt[]
  /** Pass as `before` for the next page; missing on the last one. */
  readonly next?: string
}

export interface ResendRequest {
  readonly eventId: string
}

export interface ResendResponse {
  /** Of the new delivery. */
  readonly id: string
}

export interface TestEventResponse extends ResendResponse {
  readonly eventId: string
}

/** Which dead letters to deliver anew: as for a redrive, which it is. */
export type RecoverRequest = Omit<RedriveRequest, 'target'>

export interface EndpointStatistics {
  readonly state: EndpointState
  /** Deliveries that wait, also for their next attempt. */
  readonly waiting: number
  /** Those under way. */
  readonly leased: number
  readonly dead: number
  /** Since when the oldest of those that wait could have been tried. */
  readonly oldestReadyAt?: string
  readonly countedAt: string
  /** As of QueueStats. */
  readonly capped: boolean
  /** How many of the last attempts the following is about, up to 1000. */
  readonly attempts: number
  /** How many of them arrived, 0 – 1. */
  readonly successRate?: number
  /** How long half of them, and 95 of 100, took at most. */
  readonly p50Millis?: number
  readonly p95Millis?: number
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

export interface DeliverRequest {
  /** For how long deliveries are begun, in seconds, 0 – 60. Defaults to 20. 0: only have it begun, where the platform goes on after the
   * answer. */
  readonly maxSeconds?: number
  /** Whether to wait for what becomes due in that time. Defaults to false: end when nothing is due. */
  readonly wait?: boolean
}

export interface DeliverResponse {
  readonly attempts: number
  /** When something is due: 0, there is more now. Absent: nothing waits. */
  readonly dueInSeconds?: number
}

/** What is to be there. What a queue does not say is as a PUT has it. */
export interface Definitions {
  readonly exchanges?: readonly (ExchangeConfig & { readonly name: string })[]
  /** They may be each other's dead-letter queues, in any order. */
  readonly queues?: readonly (QueueConfig & { readonly name: string })[]
  readonly policies?: readonly (PolicyConfig & { readonly name: string })[]
  readonly bindings?: readonly DefinedBinding[]
}

/** A BindRequest and whose it is: to either a queue or an exchange. */
export interface DefinedBinding extends BindingCondition {
  readonly source: string
  readonly queue?: string
  readonly exchange?: string
  readonly weight?: number
}

/** All of it or nothing: what is there and is not just so refuses it (import_conflict). Up to 10,000 in all. */
export interface ImportRequest extends Definitions {
  /** Only see whether it would be refused. Defaults to false. */
  readonly dryRun?: boolean
}

export interface Imported {
  readonly created: number
  /** How many were there before, just so. */
  readonly present: number
}

export type ImportResponse = { readonly [Kind in keyof Definitions]-?: Imported }

/** An RFC 9457 problem, as errors are answered (application/problem+json). */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  /** One of errors.ts. */
  readonly code: string
  /** Finds the request in the server's log. */
  readonly requestId?: string
}

/** Bytes as base64 (RFC 4648, section 4). */
export function toBase64(bytes: Uint8Array): string {
  // In pieces, because a call takes only so many arguments.
  let binary = ''
  for (let start = 0; start < bytes.length; start += 8192) {
    binary += String.fromCharCode(...bytes.subarray(start, start + 8192))
  }
  return btoa(binary)
}

/** The bytes that a base64 text stands for. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}
