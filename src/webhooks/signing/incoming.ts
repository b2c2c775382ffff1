/* What came in: a Request of the web standard, or headers and a body that some framework has read. */
import type { Bytes } from './base64.ts'
import { bytesOf } from './content.ts'
import { WebhookError } from './error.ts'

/** As frameworks hand them over: Headers, or an object whose names are in lower case, as in Node. */
export type HeadersLike = Headers | Readonly<Record<string, string | readonly string[] | undefined>>

export interface ReadWebhook {
  readonly headers: HeadersLike
  /** As it was received: not parsed, not written anew. */
  readonly body: string | Uint8Array | ArrayBuffer
}

export function headerOf({ headers }: { readonly headers: HeadersLike }, name: string): string {
  const given = isHeaders(headers) ? headers.get(name) : headers[name]
  if (given === undefined || given === null || given === '') {
    throw new WebhookError('header_missing', `${name} must be among the headers, got none`)
  }
  if (typeof given === 'string') return given
  throw new WebhookError('header_invalid', `${name} must be given once, got ${given.length} values`)
}

function isHeaders(headers: HeadersLike): headers is Headers {
  return typeof headers.get === 'function'
}

/** All of the body, up to so many bytes.
 * @throws WebhookError body_too_large, body_unreadable */
export async function bodyOf(webhook: Request | ReadWebhook, maxBytes: number): Promise<Bytes> {
  const bytes = isRequest(webhook) ? await streamed(webhook, maxBytes) : bytesOf(webhook.body)
  if (bytes.length > maxBytes) throw tooLarge(maxBytes)
  return bytes
}

function isRequest(webhook: Request | ReadWebhook): webhook is Request {
  return 'arrayBuffer' in webhook && typeof webhook.arrayBuffer === 'function'
}

async function streamed(request: Request, maxBytes: number): Promise<Bytes> {
  if (request.bodyUsed) {
    throw new WebhookError(
      'body_unreadable',
      'body must not be read before it is verified, got a request that was read',
    )
  }
  const parts: Uint8Array[] = []
  let length = 0
  // (A reader, as not every runtime can iterate over a stream.)
  const reader = request.body?.getReader()
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
    length += next.value.length
    parts.push(next.value)
    if (length <= maxBytes) continue
    await reader?.cancel()
    throw tooLarge(maxBytes)
  }
  const bytes = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

function tooLarge(maxBytes: number): WebhookError {
  return new WebhookError('body_too_large', `body must have at most ${maxBytes} bytes, got more`)
}
