/* Bodies between JavaScript and the wire: bytes travel in base64, text as text, everything else as JSON. Pure. */
import { type Content, type Encoding, fromBase64, toBase64 } from '../wire.ts'

/** Bytes are sent as bytes; anything else as JSON, unless it is a string to be sent as plain text. */
export function encodeBody(body: unknown, encoding: 'json' | 'text' = 'json'): Content {
  if (body instanceof Uint8Array) return { encoding: 'base64', body: toBase64(body) }
  // JSON has no undefined: left in, the body would be missing.
  return encoding === 'text' ? { encoding, body: body as string } : { body: body ?? null }
}

/** The JSON value, the text or the bytes that were sent. */
export function decodeBody(encoding: Encoding, body: unknown): unknown {
  return encoding === 'base64' ? fromBase64(body as string) : body
}
