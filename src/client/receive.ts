/* receive: lease messages. Bodies are decoded here, and checked where there is a schema. */
import type { ReceivedMessage, ReceiveRequest, ReceiveResponse, Settlement } from '../wire.ts'
import type { CallOptions, Patience } from './connection.ts'
import { decodeBody } from './content.ts'
import type { Given } from './effects.ts'
import type { RemoteQueue } from './remote.ts'
import { validate } from './schema.ts'
import { explain } from './settle.ts'

export interface ReceiveOptions extends Given<Omit<ReceiveRequest, 'acks'>>, CallOptions {}

export interface Received {
  /** In milliseconds of effects.now: schemas may take longer than leases. */
  readonly arrivedAt: number
  readonly deliveries: readonly Delivery[]
  /** What became of the acks. */
  readonly acks: readonly Settlement[]
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
): Promise<Received> {
  const {
    data: { messages, acks = [] },
    tries,
  } = await connection.call<ReceiveResponse>('POST', `${path}/receive`, request, {
    ...patience,
    timeoutSeconds: timeoutSeconds + (request.waitSeconds ?? 0),
  })
  const arrivedAt = connection.effects.now()
  const deliveries: readonly Mutable<Delivery>[] = messages
  for (const one of deliveries) one.body = decodeBody(one.encoding, one.body)
  if (schema) {
    await Promise.all(
      deliveries.map(async (one) => {
        one.body = await validate(schema, one.body).catch((error) => {
          one.bodyError = error
        })
      }),
    )
  }
  return { arrivedAt, deliveries, acks: tries > 1 ? explain('ack', acks) : acks }
}

type Mutable<Type> = { -readonly [Field in keyof Type]: Type[Field] }
