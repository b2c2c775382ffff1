/* Looking without touching: peek and statistics. */
import { type Clock, databaseClock } from '../clock.ts'
import { call, callOne, type Executor, neverCached } from '../db/call.ts'
import type { PeekedMessage, QueueStats } from '../wire.ts'
import { isoTime, type MessageRow, type Raw, storedFields } from './message.ts'

interface PeekedRow extends MessageRow {
  readonly state: PeekedMessage['state']
  readonly last_error: string | null
  readonly available_at: Date
  readonly first_received_at: Date | null
  readonly leased_until: Date | null
}

/** Messages in the order they were sent, those after the id `after`, a page at a time.
 * @throws QueueError queue_not_found, request_invalid. */
export async function peek(
  executor: Executor,
  queue: string,
  { max = 10, after }: { readonly max?: number; readonly after?: string } = {},
  clock: Clock = databaseClock,
): Promise<{ readonly messages: readonly Raw<PeekedMessage>[]; readonly next?: string }> {
  const rows = await call<PeekedRow>(
    executor,
    `select * from postbag.peek($1, $2::integer, $3, coalesce($4::timestamptz, clock_timestamp()))`,
    [queue, max, after, clock()],
  )
  const messages = rows.map((row) => ({
    ...storedFields(row),
    state: row.state,
    availableAt: isoTime(row.available_at),
    ...(row.first_received_at && { firstReceivedAt: isoTime(row.first_received_at) }),
    ...(row.leased_until && row.state === 'leased' && { leasedUntil: isoTime(row.leased_until) }),
    ...(row.last_error !== null && { lastError: row.last_error }),
  }))
  const last = rows.at(-1)
  return { messages, ...(last && rows.length === max && { next: last.id }) }
}

interface StatsRow {
  readonly ready: string
  readonly leased: string
  readonly delayed: string
  readonly oldest_ready_at: Date | null
  readonly capped: boolean
}

/** How many messages wait, are leased, are delayed.
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
    ...(row.oldest_ready_at && { oldestReadyAt: isoTime(row.oldest_ready_at) }),
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
