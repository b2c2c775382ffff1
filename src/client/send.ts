/* send: put messages into a queue, all or none. */
import type { MessageOptions, SendResponse, SentMessage } from '../wire.ts'
import type { CallOptions, Connection } from './connection.ts'
import { encodeBody } from './content.ts'
import { defined, type Given } from './effects.ts'
import type { RemoteQueue } from './remote.ts'
import { validate } from './schema.ts'

/** What may be said of a message besides its body. */
export interface MessageSettings extends Given<MessageOptions> {
  /** How the body is kept: as JSON, or a string as that very text. A Uint8Array is always kept as bytes. Defaults to json. */
  readonly encoding?: 'json' | 'text' | undefined
}

export interface SendOptions extends MessageSettings, CallOptions {}

/** One message of a batch. */
export interface BatchMessage<Body> extends MessageSettings {
  readonly body: Body
}

/** What became of each message, in order.
 *
 * A message without a dedupId of its own gets one made here, so that a try whose answer got lost, and its repetition, are one message.
 * Such a message is never a duplicate of another call's: when the server says so, it has met our own earlier try. With a dedupId of the
 * caller's nobody can tell, so there the answer stays as it is. */
export async function send<Body>(
  remote: RemoteQueue,
  batch: readonly BatchMessage<Body>[],
  { signal }: CallOptions,
): Promise<readonly SentMessage[]> {
  if (batch.length === 0) return []
  const request = { messages: await outgoing(remote, batch) }
  const { data } = await remote.connection.call<SendResponse>('POST', `${remote.path}/messages`, request, { signal })
  return data.messages.map(({ id, duplicate }, index) => ({
    id,
    duplicate: duplicate && batch[index]?.dedupId !== undefined,
  }))
}

/** The messages of a request that sends or publishes. */
export async function outgoing<Body>(
  { connection, schema }: RemoteQueue,
  batch: readonly BatchMessage<Body>[],
): Promise<readonly object[]> {
  const { dedupId } = ownId(connection)
  return Promise.all(
    batch.map(async ({ body, encoding, ...options }, index) => {
      await validate(schema, body)
      return { ...(dedupId && { dedupId: `${dedupId}.${index}` }), ...defined(options), ...encodeBody(body, encoding) }
    }),
  )
}

/** A dedup id of 96 random bits, so that a repeated try is one message; none where no try is repeated. */
export function ownId({ retries, effects }: Connection): { readonly dedupId?: string } {
  const part = () => Math.floor(effects.random() * 2 ** 32).toString(36)
  return retries > 0 ? { dedupId: part() + part() + part() } : {}
}
