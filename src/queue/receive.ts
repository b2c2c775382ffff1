/* receive: lease what is available now. Never waits (that is wakeup/long-poll.ts). */
import { type Clock, databaseClock } from '../clock.ts'
import { call, type Executor } from '../db/call.ts'
import type { ReceivedMessage, ReceiveRequest } from '../wire.ts'
import { isoTime, type MessageRow, type Raw, storedFields } from './message.ts'

interface ReceivedRow extends MessageRow {
  readonly receipt: string
  readonly first_received_at: Date
  readonly leased_until: Date
}

/** At most `max` messages, highest priority first, then by availability; none if there is nothing now.
 * @throws QueueError queue_not_found, request_invalid. */
export async function receive(
  executor: Executor,
  queue: string,
  { max = 1, leaseSeconds }: Omit<ReceiveRequest, 'waitSeconds'> = {},
  clock: Clock = databaseClock,
): Promise<readonly Raw<ReceivedMessage>[]> {
  const rows = await call<ReceivedRow>(
    executor,
    `select * from postbag.receive(
      $1, $2::integer, make_interval(secs => $3::double precision), coalesce($4::timestamptz, clock_timestamp())
    )`,
    [queue, max, leaseSeconds, clock()],
  )
  return rows.map((row) => ({
    ...storedFields(row),
    receipt: row.receipt,
    firstReceivedAt: isoTime(row.first_received_at),
    leasedUntil: isoTime(row.leased_until),
  }))
}
