/* publish: put messages into the queues that an exchange leads them to, all or none, in the executor's transaction. */
import { call, type Executor } from '../db/call.ts'
import { type Parcel, parcelsToSql } from '../queue/message.ts'
import { type Terms, termsToSql } from '../queue/terms.ts'
import type { Publication } from '../wire.ts'

/** A message to publish whose body is text already. */
export type RoutedParcel = Parcel & { readonly routingKey?: string }

export interface PublishTerms extends Terms {
  /** True if each message must reach a queue. Defaults to false. */
  readonly mandatory?: boolean
}

/** One result per message, in their order.
 * @throws QueueError exchange_not_found, request_invalid, batch_too_large, body_too_large, queue_full, message_unroutable; then nothing
 * was sent. */
export async function publish(
  executor: Executor,
  exchange: string,
  parcels: readonly RoutedParcel[],
  { mandatory = false, ...terms }: PublishTerms = {},
): Promise<readonly Publication[]> {
  return call<Publication>(
    executor,
    `select queues from postbag.publish_batch(
      $1, $2::jsonb, now => coalesce($3::timestamptz, clock_timestamp()), alone => $4::boolean, mandatory => $5::boolean
    )`,
    [exchange, `[${parcelsToSql(parcels).join(',')}]`, ...termsToSql(terms), mandatory],
  )
}
