/* Bodies between JavaScript and the wire: bytes travel in base64, text as text, everything else as JSON. Pure. */
import { type Content, type Encoding, fromBase64, toBase64 } from '../wire.ts'

/** Bytes are sent as bytes; anything else as JSON, unless it is a string to be sent as plain text. */
export function encodeBody(body: unknown, encoding: 'json' | 'text' = 'json'): Content {
  const bytes = bytesOf(body)
  if (bytes) return { encoding: 'base64', body: toBase64(bytes) }
  // JSON has no undefined: left in, the body would be missing.
  return encoding === 'text' ? { encoding, body: body as string } : { body: body ?? null }
}

/** Of a buffer, or of what looks into one. */
function bytesOf(body: unknown): Uint8Array | undefined {
  if (body instanceof ArrayBuffer) return new Uint8Array(body)
  return ArrayBuffer.isView(body) ? new Uint8Array(body.buffer, body.byteOffset, body.byteLength) : undefined
}

/** The JSON value, the text or the bytes that were sent. */
export function decodeBody(encoding: Encoding, body: unknown): unknown {
  return encoding === 'base64' ? fromBase64(body as string) : body
}
