/* send: put messages into one queue, all or none, in the executor's transaction. */
import { callList, type Executor, withPatience } from '../db/call.ts'
import type { SentMessage } from '../wire.ts'
import { type Parcel, parcelsToSql } from './message.ts'
import { type Terms, termsToSql } from './terms.ts'

/** One result per message, in their order.
 * @throws QueueError queue_not_found, request_invalid, batch_too_large, body_too_large, queue_full; then nothing was sent. */
export async function send(
  executor: Executor,
  queue: string,
  parcels: readonly Parcel[],
  terms: Terms = {},
): Promise<readonly SentMessage[]> {
  return callList<SentMessage>(executor, {
    text: sendText,
    queue,
    elements: parcelsToSql(parcels),
    values: termsToSql(terms),
  })
}

const sendText = `select id, duplicate from postbag.send_batch(
  $1, $2::jsonb, now => coalesce($3::timestamptz, clock_timestamp()), alone => $4::boolean and ${withPatience('$5::text')}
)`
