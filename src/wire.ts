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
  /** 1 – 128 characters: a second send with it within the queue's dedup window sends nothing and returns the first one's id. */
  readonly dedupId?: string
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
}

/** What every look at a message shows. */
interface StoredMessage {
  readonly id: string
  readonly encoding: Encoding
  /** With encoding json any JSON value, else a string. */
  readonly body: unknown
  readonly type?: string
  readonly contentType?: string
  readonly headers: Readonly<Record<string, string>>
  readonly priority: number
  /** How often it has been received, this time included. */
  readonly attempts: number
  readonly sentAt: string
  readonly firstReceivedAt?: string
}

/** A message that the receiver owns until leasedUntil. */
export interface ReceivedMessage extends StoredMessage {
  /** Proof of the lease, for ack, nack and extend. Opaque. */
  readonly receipt: string
  readonly firstReceivedAt: string
  readonly leasedUntil: string
}

export interface ReceiveResponse {
  readonly messages: readonly ReceivedMessage[]
}

/** A message that was only looked at. */
export interface PeekedMessage extends StoredMessage {
  readonly state: 'ready' | 'leased' | 'delayed'
  readonly availableAt: string
  readonly leasedUntil?: string
  /** What the last nack said. */
  readonly lastError?: string
}

export interface PeekResponse {
  readonly messages: readonly PeekedMessage[]
  /** Pass as `after` for the next page; missing on the last one. */
  readonly next?: string
}

export interface AckRequest {
  readonly receipts: readonly string[]
}

export interface NackRequest extends AckRequest {
  /** Seconds until the messages may be received again, 0 – 31536000. Defaults to 0. */
  readonly delaySeconds?: number
  /** Why; kept with the message (its first 4000 characters). */
  readonly error?: string
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

/** How a queue behaves. PUT replaces all of it: what is not given gets its default. */
export interface QueueConfig {
  /** How long a receiver owns a message unless it says otherwise, 0 – 43200. Defaults to 30. */
  readonly leaseSeconds?: number
  /** Delay of messages that name none, 0 – 31536000. Defaults to 0. */
  readonly delaySeconds?: number
  /** Highest priority a message may have, 0 – 9. Defaults to 0: no priorities. */
  readonly maxPriority?: number
  /** How long dedup ids are remembered, in seconds, 0 – 86400. Defaults to 300. */
  readonly dedupWindowSeconds?: number
}

export interface QueueInfo extends Required<QueueConfig> {
  readonly name: string
  readonly createdAt: string
  readonly updatedAt: string
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
  /** Since when the oldest ready message has been available. */
  readonly oldestReadyAt?: string
  /** True if counting stopped at 100,000 messages: there are more than the counts say. */
  readonly capped: boolean
}

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
export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}
