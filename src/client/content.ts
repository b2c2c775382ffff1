/* Bodies between JavaScript and the wire: bytes travel in base64, text as text, everything else as JSON. Pure. */
import { bytesOf, type Content, type Encoding, fromBase64, mustBeJson, toBase64 } from '../wire.ts'

/** Bytes are sent as bytes; anything else as JSON, unless it is a string to be sent as plain text.
 * @throws QueueError `request_invalid` for what is neither (undefined is the server's to refuse). */
export function encodeBody(body: unknown, encoding: 'json' | 'text' = 'json'): Content {
  const bytes = bytesOf(body)
  if (bytes) return { encoding: 'base64', body: toBase64(bytes) }
  mustBeJson(body)
  return encoding === 'text' ? { encoding, body: body as string } : { body }
}

/** The JSON value, the text or the bytes that were sent. */
export function decodeBody(encoding: Encoding, body: unknown): unknown {
  return encoding === 'base64' ? fromBase64(body as string) : body
}
