/* A send whose content type is not application/json: the request's body is the message. Text types become text, +json types JSON,
 * everything else (and text that is none) bytes; in each case it comes back byte for byte. */
import { QueueError } from '../errors.ts'
import type { StoredContent } from '../queue/message.ts'
import { toBase64 } from '../wire.ts'

const jsonType = /(\+|^application\/)json\s*(;|$)/i
const textType = /^(text\/|application\/(xml|x-www-form-urlencoded)\b)|\+xml\b/i

/** How a raw body is stored.
 * @throws QueueError json_invalid for a +json type with something else in it. */
export function rawContent(contentType: string, bytes: Uint8Array): StoredContent {
  const text = jsonType.test(contentType) || textType.test(contentType) ? decoded(bytes) : undefined
  if (jsonType.test(contentType)) {
    if (text === undefined || !isJsonText(text)) {
      throw new QueueError('json_invalid', `the request body must be JSON, as its content type ${contentType} says`)
    }
    return { encoding: 'json', body: text }
  }
  return text === undefined ? { encoding: 'base64', body: toBase64(bytes) } : { encoding: 'text', body: text }
}

/** curl -d says that it sends a form, unless it is told otherwise: JSON that comes so was meant to be read, not kept as the message's text.
 * @throws QueueError request_invalid for an object or array */
export function refuseJsonAsForm(contentType: string, { body }: StoredContent): void {
  if (!/^application\/x-www-form-urlencoded\b/i.test(contentType) || !/^\s*[{[]/.test(body) || !isJsonText(body)) return
  throw new QueueError(
    'request_invalid',
    `the request body is JSON and must say so, with curl -H 'content-type: application/json', got ${contentType}`,
  )
}

/** The text, or undefined if Postgres could not hold it or a decoder would change it. */
function decoded(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return text.includes('\0') ? undefined : text
  } catch {
    return undefined
  }
}

function isJsonText(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
