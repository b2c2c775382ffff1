/* The closed list of why a webhook is not signed or not believed. No text of these errors holds a secret or a signature. */

export type WebhookErrorCode =
  /** A header of the three is missing. */
  | 'header_missing'
  /** A header is not what the specification says. */
  | 'header_invalid'
  /** The webhook was signed longer ago than is tolerated: late, or played again. */
  | 'timestamp_too_old'
  /** The webhook is from the future: one of the two clocks is wrong. */
  | 'timestamp_too_new'
  /** No signature is of one of the secrets, for exactly this id, timestamp and body. */
  | 'signature_mismatch'
  /** The body is larger than the receiver allows. */
  | 'body_too_large'
  /** The body was read before, or is no text and no bytes: what was signed can no longer be known. */
  | 'body_unreadable'
  /** A secret or an option is wrong: a fault of who calls, not of the webhook. */
  | 'secret_invalid'
  | 'option_invalid'
  /** This runtime has no Ed25519. */
  | 'algorithm_unsupported'

/** `code` is for programs, `message` for people. Answer 400 (or 401), and let the sender try again. */
export class WebhookError extends Error {
  override readonly name = 'WebhookError'
  readonly code: WebhookErrorCode

  constructor(code: WebhookErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}
