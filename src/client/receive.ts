/* receive: lease messages; peek: look at them. Bodies are decoded here, and checked where there is a schema. */
import type { PeekResponse, ReceivedMessage, ReceiveRequest, ReceiveResponse } from '../wire.ts'
import type { CallOptions, Patience } from './connection.ts'
import { decodeBody } from './content.ts'
import type { Given } from './effects.ts'
import type { RemoteQueue } from './remote.ts'
import { validate } from './schema.ts'

export interface ReceiveOptions extends Given<ReceiveRequest>, CallOptions {}

export interface PeekOptions extends CallOptions {
  /** Most messages of the page, 1 – 1000. Defaults to 10. */
  readonly max?: number | undefined
  /** `next` of the page before. Defaults to the oldest message. */
  readonly after?: string | undefined
}

/** A leased message with its body decoded, or with why the body is not what the schema wants. */
export interface Delivery extends Omit<ReceivedMessage, 'body'> {
  readonly body?: unknown
  readonly bodyError?: unknown
}

/** One message that does not fit its schema must not take the others of its batch along: they are leased by now, and lost to everybody
 * until that ends. So receiving never fails over a body; reading that body does (message.ts). */
export async function receive(
  { connection, path, schema }: RemoteQueue,
  request: Given<ReceiveRequest>,
  { timeoutSeconds = connection.timeoutSeconds, ...patience }: Patience,
): Promise<readonly Delivery[]> {
  const { data } = await connection.call<ReceiveResponse>('POST', `${path}/receive`, request, {
    ...patience,
    timeoutSeconds: timeoutSeconds + (request.waitSeconds ?? 0),
  })
  return Promise.all(
    data.messages.map(async ({ body, ...message }) => {
      try {
        return { ...message, body: await validate(schema, decodeBody(message.encoding, body)) }
      } catch (bodyError) {
        return { ...message, bodyError }
      }
    }),
  )
}

/** A page of messages, not taken and not checked. */
export async function peek(
  { connection, path }: RemoteQueue,
  { max, after, signal }: PeekOptions,
): Promise<PeekResponse> {
  const query = new URLSearchParams()
  if (max !== undefined) query.set('max', `${max}`)
  if (after !== undefined) query.set('after', after)
  const { data } = await connection.call<PeekResponse>('GET', `${path}/messages?${query}`, undefined, { signal })
  const messages = data.messages.map((message) => ({ ...message, body: decodeBody(message.encoding, message.body) }))
  return { ...data, messages }
}
