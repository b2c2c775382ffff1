/* receive: lease what is available now. Never waits (that is wakeup/long-poll.ts). */
import { call, type Executor } from '../db/call.ts'
import type { Outcome, ReceivedMessage, ReceiveRequest, Settlement } from '../wire.ts'
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
  { max = 1, leaseSeconds, autoAck = false }: Omit<ReceiveRequest, 'waitSeconds' | 'acks'> = {},
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
  return rows.map(received)
}

/** Ack what is done and receive what comes next: both, or (if either is refused) neither.
 * @throws QueueError queue_not_found, request_invalid, batch_too_large. */
export async function ackAndReceive(
  executor: Executor,
  queue: string,
  { acks, max = 1, leaseSeconds }: Pick<ReceiveRequest, 'max' | 'leaseSeconds'> & { readonly acks: readonly string[] },
  terms: Terms = {},
): Promise<{ readonly acked: readonly Settlement[]; readonly messages: readonly Raw<ReceivedMessage>[] }> {
  const rows = await call<ReceivedRow & { readonly outcome: Outcome | null }>(
    executor,
    `select * from postbag.ack_and_receive(
      $1,
      $2::jsonb,
      $3::integer,
      lease => make_interval(secs => $4::double precision),
      now => coalesce($5::timestamptz, clock_timestamp()),
      alone => $6::boolean
    )`,
    [queue, JSON.stringify(acks), max, leaseSeconds, ...termsToSql(terms)],
  )
  return {
    acked: rows.slice(0, acks.length).map(({ receipt, outcome }) => ({ receipt, outcome }) as Settlement),
    messages: rows.slice(acks.length).map(received),
  }
}

function received(row: ReceivedRow): Raw<ReceivedMessage> {
  return {
    ...storedFields(row),
    receipt: row.receipt ?? '',
    firstReceivedAt: isoTime(row.first_received_at),
    leasedUntil: isoTime(row.leased_until),
  }
}
