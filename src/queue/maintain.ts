/* maintain: clear away what is over. Sends and receives do that for their own queue by the way; this is for queues at rest. */
import { type Clock, databaseClock } from '../clock.ts'
import { callOne, type Executor } from '../db/call.ts'
import type { MaintainRequest, MaintainResponse } from '../wire.ts'

interface MaintainedRow {
  readonly expired_messages: string
  readonly removed_dead_letters: string
  readonly forgotten_dedup_ids: string
  readonly removed_orphans: string
  readonly more: boolean
}

/** Expired messages, dead letters that were kept long enough, dedup ids out of their window, and what is left of deleted queues, of
 * every queue; at most `max` of them in one call.
 * @throws QueueError request_invalid. */
export async function maintain(
  executor: Executor,
  { max = 10_000 }: MaintainRequest = {},
  clock: Clock = databaseClock,
): Promise<MaintainResponse> {
  const row = await callOne<MaintainedRow>(
    executor,
    `select * from postbag.maintain(
      max_messages => $1::integer, now => coalesce($2::timestamptz, clock_timestamp())
    )`,
    [max, clock()],
  )
  return {
    expiredMessages: Number(row.expired_messages),
    removedDeadLetters: Number(row.removed_dead_letters),
    forgottenDedupIds: Number(row.forgotten_dedup_ids),
    removedOrphans: Number(row.removed_orphans),
    more: row.more,
  }
}
