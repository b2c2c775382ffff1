/* A received message: what is known of it, and what its receiver may do with it. */
import type { ReceivedMessage } from '../wire.ts'
import type { CallOptions } from './connection.ts'
import type { Delivery } from './receive.ts'
import type { NackOptions, Verb } from './settle.ts'

export interface Message<Body = unknown> extends Omit<ReceivedMessage, 'body'> {
  /** The JSON value, the text or the bytes (a Uint8Array) that were sent; with a schema, what that makes of them. Reading it throws a
   * QueueError `request_invalid` if the schema refuses the body. */
  readonly body: Body
  /** Done: delete the message. Throws a QueueError with the outcome's code, such as `lease_lost`, if the lease was not ours any more. */
  ack(options?: CallOptions): Promise<void>
  /** Give the message back, now or after a delay. Throws like ack. */
  nack(options?: NackOptions): Promise<void>
  /** Keep the message for so many seconds from now, 0 – 43200, defaults to the queue's lease. Throws like ack, and `lease_expired` if the
   * lease had ended already. */
  extend(leaseSeconds?: number, options?: CallOptions): Promise<void>
}

/** @param settle settles this message's lease; throws if the outcome is not ok. */
export function toMessage<Body>(
  { body, bodyError, ...delivery }: Delivery,
  settle: (verb: Verb, request: object, options: CallOptions) => Promise<void>,
): Message<Body> {
  const message = {
    ...delivery,
    body: body as Body,
    ack: (options: CallOptions = {}) => settle('ack', {}, options),
    nack: ({ signal, ...request }: NackOptions = {}) => settle('nack', request, { signal }),
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
