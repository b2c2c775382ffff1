/* peek and get: look at messages without taking them. Bodies are decoded, but not checked. */
import type { PeekedMessage, PeekRequest, PeekResponse } from '../wire.ts'
import type { CallOptions } from './connection.ts'
import { decodeBody } from './content.ts'
import { defined, type Given } from './effects.ts'
import { pathTo } from './path.ts'
import type { RemoteQueue } from './remote.ts'

export interface PeekOptions extends Given<PeekRequest>, CallOptions {}

/** What follows the path of a queue to see these messages. */
export function peekPath({ headers = {}, ...filters }: Given<PeekRequest>): string {
  const query = new URLSearchParams(defined(filters) as Record<string, string>)
  for (const [name, value] of Object.entries(headers)) query.append('header', `${name}:${value}`)
  return `/messages?${query}`
}

export async function peek(
  { connection, path }: RemoteQueue,
  { signal, ...request }: PeekOptions,
): Promise<PeekResponse> {
  const { data } = await connection.call<PeekResponse>('GET', path + peekPath(request), undefined, { signal })
  return { ...data, messages: data.messages.map(decoded) }
}

/** @throws QueueError `message_not_found` */
export async function get({ connection, path }: RemoteQueue, id: string, options: CallOptions): Promise<PeekedMessage> {
  const { data } = await connection.call<PeekedMessage>('GET', path + pathTo('messages', id), undefined, options)
  return decoded(data)
}

function decoded(message: PeekedMessage): PeekedMessage {
  return { ...message, body: decodeBody(message.encoding, message.body) }
}
