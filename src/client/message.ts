/* A received message: what is known of it, and what its receiver may do with it. */
import type { ReceivedMessage } from '../wire.ts'
import type { CallOptions } from './connection.ts'
import type { Delivery } from './receive.ts'
import type { ReplyOptions } from './reply.ts'
import type { NackOptions, Verb } from './settle.ts'

export interface Message<Body = unknown> extends Omit<ReceivedMessage, 'body'> {
  /** The JSON value, the text or the bytes (a Uint8Array) that were sent; with a schema, what that makes of them. Reading it throws a
   * QueueError `request_invalid` if the schema refuses the body. */
  readonly body: Body
  /** Done: delete the message. Throws a QueueError with the outcome's code, such as `lease_lost`, if the lease was not ours any more. */
  ack(options?: CallOptions): Promise<void>
  /** Reply to it, and done: the request is acked in the same step, so the two happen together or not at all. Throws like ack, and then
   * nobody was replied to; `already_replied` or `reply_not_found` (nobody awaits it any more), and then the request is acked all the same;
   * `request_invalid` if the message asks for no reply. */
  reply(body: unknown, options?: ReplyOptions): Promise<void>
  /** It failed: give the message back, after `delaySeconds` or what the queue's retry policy says. With `untried`, nobody worked on it, and
   * this attempt does not count. Throws like ack. */
  nack(options?: NackOptions): Promise<void>
  /** Trying again is useless: make the message a dead letter at once. The error's text is kept with it. Throws like ack. */
  reject(error?: unknown, options?: CallOptions): Promise<void>
  /** Keep the message for so many seconds from now, 0 – 43200, defaults to the queue's lease. Throws like ack, and `lease_expired` if the
   * lease had ended already. */
  extend(leaseSeconds?: number, options?: CallOptions): Promise<void>
}

/** @param settle settles this message's lease; throws if the outcome is not ok. */
export function toMessage<Body>(
  { body, bodyError, ...delivery }: Delivery,
  settle: (verb: Verb, request: object, options: CallOptions) => Promise<void>,
  reply: (body: unknown, options?: ReplyOptions) => Promise<void>,
): Message<Body> {
  const message = {
    ...delivery,
    body: body as Body,
    ack: (options: CallOptions = {}) => settle('ack', {}, options),
    reply,
    nack: ({ signal, ...request }: NackOptions = {}) => settle('nack', request, { signal }),
    reject: (error?: unknown, options: CallOptions = {}) =>
      settle('nack', { deadLetter: true, error: errorText(error) }, options),
    extend: (leaseSeconds?: number, options: CallOptions = {}) => settle('extend', { leaseSeconds }, options),
  }
  if (bodyError) {
    Object.defineProperty(message, 'body', {
      enumerable: true,
      get() {
        throw bodyError
      },
    })
  }
  return message
}

/** Postgres has no U+0000, and not everything that can be thrown has a text; a message must not go without its nack for that. */
export function errorText(error: unknown): string | undefined {
  try {
    return error === undefined ? undefined : String(error).replaceAll('\0', '\uFFFD')
  } catch {
    return 'something without a text'
  }
}
