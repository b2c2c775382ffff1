/* Looking without touching: messages by condition or by id, and statistics. */
import { type Clock, databaseClock } from '../clock.ts'
import { call, callOne, type Executor, neverCached } from '../db/call.ts'
import type { PeekedMessage, PeekRequest, QueueStats } from '../wire.ts'
import { isoTime, type MessageRow, type Raw, storedFields } from './message.ts'

interface PeekedRow extends MessageRow {
  readonly state: PeekedMessage['state']
  readonly last_error: string | null
  readonly available_at: Date | null
  readonly leased_until: Date | null
  readonly dead_at: Date | null
  readonly dead_reason: PeekedMessage['deadReason'] | null
}

/** If there is more, a last row says from where on, or nothing: after the last message. */
type SearchedRow = PeekedRow | { readonly id: null; readonly next: string | null }

/** Messages that meet all conditions, in the order they were sent, those after the id `after`, a page at a time.
 * @throws QueueError queue_not_found, request_invalid. */
export async function peek(
  executor: Executor,
  queue: string,
  { max = 10, after, state, type, headers, group, minAgeSeconds, maxAgeSeconds, contains, reason }: PeekRequest = {},
  clock: Clock = databaseClock,
): Promise<{ readonly messages: readonly Raw<PeekedMessage>[]; readonly next?: string }> {
  const rows = await call<SearchedRow>(
    executor,
    `select * from postbag.search(
      $1,
      $2::integer,
      $3,
      now => coalesce($4::timestamptz, clock_timestamp()),
      of_state => $5,
      of_type => $6,
      of_headers => $7::jsonb,
      of_group => $8,
      min_age => make_interval(secs => $9::double precision),
      max_age => make_interval(secs => $10::double precision),
      body_contains => $11,
      of_reason => $12
    )`,
    [
      queue,
      max,
      after,
      clock(),
      state,
      type,
      headers && JSON.stringify(headers),
      group,
      minAgeSeconds,
      maxAgeSeconds,
      contains,
      reason,
    ],
  )
  const found = rows.filter((row) => row.id !== null)
  const last = rows.at(-1)
  const next = last?.id === null ? (last.next ?? found.at(-1)?.id) : undefined
  return { messages: found.map(peekedMessage), ...(next && { next }) }
}

/** One message.
 * @throws QueueError queue_not_found, message_not_found, request_invalid. */
export async function getMessage(
  executor: Executor,
  queue: string,
  id: string,
  clock: Clock = databaseClock,
): Promise<Raw<PeekedMessage>> {
  return peekedMessage(
    await callOne<PeekedRow>(
      executor,
      `select * from postbag.get_message($1, $2, coalesce($3::timestamptz, clock_timestamp()))`,
      [queue, id, clock()],
    ),
  )
}

function peekedMessage(row: PeekedRow): Raw<PeekedMessage> {
  return {
    ...storedFields(row),
    state: row.state,
    ...(row.available_at && row.state !== 'blocked' && { availableAt: isoTime(row.available_at) }),
    ...(row.leased_until && row.state === 'leased' && { leasedUntil: isoTime(row.leased_until) }),
    ...(row.last_error !== null && { lastError: row.last_error }),
    ...(row.dead_at && { deadAt: isoTime(row.dead_at) }),
    ...(row.dead_at && row.dead_reason && { deadReason: row.dead_reason }),
  }
}

interface StatsRow {
  readonly ready: string
  readonly leased: string
  readonly delayed: string
  readonly blocked: string
  readonly dead: string
  readonly bytes: string
  readonly oldest_ready_at: Date | null
  readonly in_per_second: number
  readonly out_per_second: number
  readonly counted_at: Date
  readonly capped: boolean
}

/** How many messages there are in which state, and how many come and go.
 * @throws QueueError queue_not_found. */
export async function queueStats(executor: Executor, queue: string, clock: Clock = databaseClock): Promise<QueueStats> {
  const row = await callOne<StatsRow>(
    executor,
    `select * from postbag.queue_stats($1, coalesce($2::timestamptz, clock_timestamp()))`,
    [queue, clock()],
  )
  return {
    ready: Number(row.ready),
    leased: Number(row.leased),
    delayed: Number(row.delayed),
    blocked: Number(row.blocked),
    dead: Number(row.dead),
    bytes: Number(row.bytes),
    ...(row.oldest_ready_at && { oldestReadyAt: isoTime(row.oldest_ready_at) }),
    inPerSecond: row.in_per_second,
    outPerSecond: row.out_per_second,
    countedAt: isoTime(row.counted_at),
    capped: row.capped,
  }
}

/** The number of the newest migration in the database; proves that it can be reached and is installed.
 * @throws QueueError database_unavailable, schema_mismatch. */
export async function schemaVersion(executor: Executor): Promise<number> {
  const row = await callOne<{ version: number }>(
    executor,
    `select coalesce(max(number), 0) as version from postbag.migration where ${neverCached}`,
    [],
  )
  return row.version
}
