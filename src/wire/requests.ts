/* Requests that are answered, and their replies. */
import type { Content, Encoding, MessageOptions, Outcome } from './messages.ts'

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
