/* receive: lease what is available now. Never waits (that is wakeup/long-poll.ts). */
import { call, type Executor } from '../db/call.ts'
import type { ReceivedMessage, ReceiveRequest } from '../wire.ts'
import { isoTime, type MessageRow, type Raw, storedFields } from './message.ts'
import { type Terms, termsToSql } from './terms.ts'

interface ReceivedRow extends MessageRow {
  /** None with autoAck. */
  readonly receipt: string | null
  readonly first_received_at: Date
  /** With autoAck the time at which it was handed out. */
  readonly leased_until: Date
}

/** At most `max` messages in the queue's order; none if there is nothing now, or if the queue is paused or has reached a limit.
 * @throws QueueError queue_not_found, request_invalid. */
export async function receive(
  executor: Executor,
  queue: string,
  { max = 1, leaseSeconds, autoAck = false }: Omit<ReceiveRequest, 'waitSeconds'> = {},
  terms: Terms = {},
): Promise<readonly Raw<ReceivedMessage>[]> {
  const rows = await call<ReceivedRow>(
    executor,
    `select * from postbag.receive(
      $1,
      $2::integer,
      lease => make_interval(secs => $3::double precision),
      now => coalesce($4::timestamptz, clock_timestamp()),
      auto_ack => $6::boolean,
      alone => $5::boolean
    )`,
    [queue, max, leaseSeconds, ...termsToSql(terms), autoAck],
  )
  return rows.map((row) => ({
    ...storedFields(row),
    receipt: row.receipt ?? '',
    firstReceivedAt: isoTime(row.first_received_at),
    leasedUntil: isoTime(row.leased_until),
  }))
}
