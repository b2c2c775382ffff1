/* Messages on the wire: sent, received, looked at, settled. */

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
