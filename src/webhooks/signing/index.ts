/* postbag/webhooks: for programs that receive webhooks of Postbag, or of any other sender that keeps to Standard Webhooks 1.0.
 * Re-exports only. */
export { WebhookError, type WebhookErrorCode } from './error.ts'
export type { HeadersLike, ReadWebhook } from './incoming.ts'
export { type OutgoingWebhook, signWebhook, type WebhookHeaders } from './sign.ts'
export { type VerifiedWebhook, type VerifyOptions, verifyWebhook } from './verify.ts'
