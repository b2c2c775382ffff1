/* What goes over the wire: the JSON of the native HTTP door, the same words in SQL, the client and the docs; and how bytes are written
 * in it. Times are ISO 8601 in UTC; durations are in seconds. */
import { QueueError } from './errors.ts'

export type * from './wire/endpoints.ts'
export type * from './wire/exchanges.ts'
export type * from './wire/messages.ts'
export type * from './wire/queues.ts'
export type * from './wire/requests.ts'

/** An RFC 9457 problem, as errors are answered (application/problem+json). */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  /** One of errors.ts. */
  readonly code: string
  /** Finds the request in the server's log. */
  readonly requestId?: string
}

/** Of a buffer, or of what looks into one; undefined of anything else. */
export function bytesOf(body: unknown): Uint8Array | undefined {
  if (body instanceof ArrayBuffer) return new Uint8Array(body)
  return ArrayBuffer.isView(body) ? new Uint8Array(body.buffer, body.byteOffset, body.byteLength) : undefined
}

/** Bytes as base64 (RFC 4648, section 4). */
export function toBase64(bytes: Uint8Array): string {
  // In pieces, because a call takes only so many arguments.
  let binary = ''
  for (let start = 0; start < bytes.length; start += 8192) {
    binary += String.fromCharCode(...bytes.subarray(start, start + 8192))
  }
  return btoa(binary)
}

/** The bytes that a base64 text stands for. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}

/** Refuse what JSON would make null or {} of, unasked: a number that is none, a Map, a Set, a Promise; and a bigint, of which it makes an
 * error. (What is inside of a body is JSON.stringify's.)
 * @throws QueueError request_invalid */
export function mustBeJson(body: unknown): void {
  const kind = Object.prototype.toString.call(body)
  if (typeof body === 'number' ? Number.isFinite(body) : !/BigInt|Map|Set|Promise/.test(kind)) return
  throw new QueueError('request_invalid', `body must be JSON or bytes, got ${typeof body} ${body}`)
}
