/* inbox: has this consumer done this message before? In the transaction of the work, it makes of "at least once" an effect that
 * happens exactly once. */
import { type Clock, databaseClock } from '../clock.ts'
import { callOne, type Executor } from '../db/call.ts'

/** True the first time that a consumer asks with an id, which is remembered if the transaction commits (for 7 days); false from then on.
 * Who asks at the same time waits for the other transaction's end.
 * @throws QueueError request_invalid. */
export async function inbox(
  executor: Executor,
  consumer: string,
  messageId: string,
  clock: Clock = databaseClock,
): Promise<boolean> {
  const { first } = await callOne<{ readonly first: boolean }>(
    executor,
    `select postbag.inbox($1, $2, now => coalesce($3::timestamptz, clock_timestamp())) as first`,
    [consumer, messageId, clock()],
  )
  return first
}
