/* What is signed: `{id}.{timestamp}.{body}`, the body as it goes over the wire. And the forms of id and timestamp, the same for who
 * signs and who verifies: neither holds a full stop, or one content would have two readings. Pure. */
import { maxWebhookIdLength } from '../../limits.ts'
import type { Bytes } from './base64.ts'
import { WebhookError } from './error.ts'

const idPattern = new RegExp(`^[!-\\-/-~]{1,${maxWebhookIdLength}}$`)

/** @throws WebhookError header_invalid */
export function checkId(id: string): string {
  if (typeof id === 'string' && idPattern.test(id)) return id
  throw new WebhookError(
    'header_invalid',
    `webhook-id must be 1 to ${maxWebhookIdLength} visible ASCII characters without a full stop, got ${String(id).length} characters`,
  )
}

/** Seconds since 1970, written as a whole number without leading zeros.
 * @throws WebhookError header_invalid */
export function checkTimestamp(seconds: string): string {
  if (/^(0|[1-9]\d{0,11})$/.test(seconds)) return seconds
  throw new WebhookError('header_invalid', 'webhook-timestamp must be whole seconds since 1970, got something else')
}

/** The bytes of a body as it was, or will be, sent.
 * @throws WebhookError body_unreadable */
export function bytesOf(body: string | Uint8Array | ArrayBuffer): Bytes {
  if (typeof body === 'string') return new TextEncoder().encode(body)
  if (body instanceof Uint8Array) return new Uint8Array(body)
  if (body instanceof ArrayBuffer) return new Uint8Array(body)
  throw new WebhookError(
    'body_unreadable',
    `body must be the raw text or bytes, got ${body === null ? 'null' : typeof body}`,
  )
}

export function contentOf(id: string, timestamp: string, body: Uint8Array): Bytes {
  const head = new TextEncoder().encode(`${id}.${timestamp}.`)
  const content = new Uint8Array(head.length + body.length)
  content.set(head)
  content.set(body, head.length)
  return content
}
