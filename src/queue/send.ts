/* send: put messages into one queue, all or none, in the executor's transaction. */
import { type Clock, databaseClock } from '../clock.ts'
import { call, type Executor } from '../db/call.ts'
import type { SentMessage } from '../wire.ts'
import { type Parcel, parcelsToSql } from './message.ts'

/** One result per message, in their order.
 * @throws QueueError queue_not_found, request_invalid, batch_too_large, body_too_large; then nothing was sent. */
export async function send(
  executor: Executor,
  queue: string,
  parcels: readonly Parcel[],
  clock: Clock = databaseClock,
): Promise<readonly SentMessage[]> {
  return call<SentMessage>(
    executor,
    `select id, duplicate from postbag.send_batch($1, $2::jsonb, coalesce($3::timestamptz, clock_timestamp()))`,
    [queue, parcelsToSql(parcels), clock()],
  )
}
