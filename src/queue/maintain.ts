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

/** For the clock of a platform that ends what takes too long: clear away what is over for at most about so many milliseconds (the next call goes on),
 * then do what else is due, whatever became of that.
 * @throws what `rest` throws, or else what clearing away threw, which `onError` hears of in any case */
export async function maintainFirst(
  executor: Executor,
  mostMillis: number,
  rest: () => Promise<unknown>,
  onError: (error: unknown) => void,
): Promise<void> {
  const [cleared] = await Promise.allSettled([maintainFor(executor, mostMillis)])
  if (cleared.status === 'rejected') onError(cleared.reason)
  await rest()
  if (cleared.status === 'rejected') throw cleared.reason
}

async function maintainFor(executor: Executor, millis: number): Promise<void> {
  const end = performance.now() + millis
  while ((await maintain(executor)).more && performance.now() < end);
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
