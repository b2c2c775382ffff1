/* receive: lease what is available now. Never waits (that is wakeup/long-poll.ts). */
import { call, type Executor } from '../db/call.ts'
import type { Outcome, ReceivedMessage, ReceiveRequest, Settlement } from '../wire.ts'
import { isoTime, type MessageRow, type Raw, storedFields } from './message.ts'
import { type Terms, termsToSql } from './terms.ts'

interface ReceivedRow extends MessageRow {
  /** None with autoAck. */
  readonly receipt: string | null
  readonly first_received_at: number
  /** With autoAck the time at which it was handed out. */
  readonly leased_until: number
}

const fields = 'id,receipt,body,encoding,type,content_type,headers,priority,group_key,attempts,deaths'.split(',')
const times = ['sent_at', 'first_received_at', 'leased_until', 'expires_at']

/** What postbag.receive returns, with times in seconds: a number is read in a fraction of the time that a timestamp takes. */
const columns = [...fields, ...times.map((time) => `date_part('epoch', received.${time}) as ${time}`)].join(', ')
const noColumns = [...fields, ...times].map((name) => `null as ${name}`).join(', ')

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
    `select ${columns} from postbag.receive(
      $1,
      $2::integer,
      lease => make_interval(secs => $3::double precision),
      now => coalesce($4::timestamptz, clock_timestamp()),
      auto_ack => $6::boolean,
      alone => $5::boolean
    ) as received`,
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
  // (A function of SQL around both would cost more than it saves: every row would pass through it.)
  const rows = await call<ReceivedRow & { readonly outcomes: string | null }>(
    executor,
    `select string_agg(settled.outcome, ',') as outcomes, ${noColumns}
    from postbag.ack($1, $2::jsonb, now => coalesce($5::timestamptz, clock_timestamp()), alone => $6::boolean, rides => true) as settled
    union all
    select null, ${columns}
    from postbag.receive(
      $1,
      $3::integer,
      lease => make_interval(secs => $4::double precision),
      now => coalesce($5::timestamptz, clock_timestamp()),
      alone => $6::boolean
    ) as received`,
    [queue, JSON.stringify(acks), max, leaseSeconds, ...termsToSql(terms)],
  )
  const [first, ...messages] = rows
  const outcomes = (first?.outcomes?.split(',') ?? []) as Outcome[]
  return {
    acked: outcomes.map((outcome, index) => ({ receipt: acks[index] as string, outcome })),
    messages: messages.map(received),
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
