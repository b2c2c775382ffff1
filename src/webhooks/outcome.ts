/* What one attempt to deliver a webhook is given, and what may come of it. Two transports make attempts: node/transport.ts where there
 * are sockets, fetch-attempt.ts where there is only fetch (Workers). A composition root chooses one; whoever delivers sees the type
 * `Attempt` only. */
import type { UrlPolicy } from './check-url.ts'

/** Why an attempt was no success. The list is closed, and stored with each attempt. */
export const attemptErrors = [
  /** An answer other than 2xx and 3xx. */
  'status',
  /** An answer 3xx. It was not followed. */
  'redirect',
  /** The time was over before the head of an answer was there: while resolving, connecting, shaking hands, sending or waiting. */
  'timeout',
  /** The name has no address, or no name server told one. */
  'dns',
  /** No connection, or one that was cut before the head of an answer was there. */
  'connection',
  /** The handshake failed, or the certificate is not good for this name now. */
  'tls',
  /** What came is not HTTP/1. */
  'protocol',
  /** The head of the answer is larger than 16 KiB. */
  'too_large',
  /** The URL, or every address that its name has, must not be called. Nothing was sent. */
  'refused_address',
  /** The request's headers must not be sent. Nothing was sent. */
  'refused_headers',
  /** As many attempts as are allowed are under way, in all or to this host. Nothing was sent; it is no fault of the receiver. */
  'busy',
  /** The caller's signal ended it. It may have arrived; it is no fault of the receiver. */
  'stopped',
] as const

export type AttemptError = (typeof attemptErrors)[number]

/** One POST. */
export interface AttemptRequest {
  readonly url: string
  /** Names in lower case. What they may be: request-headers.ts. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array<ArrayBuffer>
  /** For all of it, from the resolution of the name to the end of the answer, in milliseconds, 1 – 60,000. */
  readonly timeoutMillis: number
  readonly policy: UrlPolicy
  /** Ends the attempt at once, with the error `stopped`. */
  readonly signal?: AbortSignal
  /** The time that a date in Retry-After is compared with. Defaults to the clock of this process. */
  readonly now?: Date
}

/** The head of an answer came, which decides: what its body does afterwards (ends early, drips until the time is over) changes nothing. */
export interface Answered {
  readonly kind: 'answered'
  readonly status: number
  /** Names in lower case, at most 64, 8 KiB in all. */
  readonly headers: Readonly<Record<string, string>>
  /** The first 4 KiB as UTF-8; what is not becomes U+FFFD. Nothing is decompressed (by us: docs/webhook-safety.md). */
  readonly body: string
  /** There was more of the headers or the body than is kept, or the body did not come to its end. */
  readonly isCut: boolean
  /** What Retry-After asks for, in seconds, 0 – 86,400. */
  readonly retryAfterSeconds: number | undefined
  readonly millis: number
  /** A connection from before was found closed, so the request was sent once more, on a new one. The receiver may have got it twice. */
  readonly isResent: boolean
}

export interface Failed {
  readonly kind: 'failed'
  readonly error: Exclude<AttemptError, 'status' | 'redirect'>
  /** For people; at most 200 characters. Never names an address that was refused. */
  readonly detail: string
  readonly millis: number
  readonly isResent: boolean
}

export type Outcome = Answered | Failed

/** Make one attempt. Never rejects. */
export type Attempt = (request: AttemptRequest) => Promise<Outcome>

/** Why it was no success; undefined: it was one. */
export function errorOf(outcome: Outcome): AttemptError | undefined {
  if (outcome.kind === 'failed') return outcome.error
  if (outcome.status >= 200 && outcome.status < 300) return undefined
  return outcome.status >= 300 && outcome.status < 400 ? 'redirect' : 'status'
}
