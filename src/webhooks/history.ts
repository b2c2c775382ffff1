/* What an endpoint was and is to get: its attempts, resend, recover, a test event, statistics. */
import { type Clock, databaseClock } from '../clock.ts'
import { call, type Executor, neverCached } from '../db/call.ts'
import { isoTime } from '../queue/message.ts'
import { redrive } from '../queue/redrive.ts'
import type {
  AttemptListRequest,
  AttemptListResponse,
  DeliveryAttempt,
  EndpointStatistics,
  RecoverRequest,
  RedriveResponse,
  TestEventResponse,
} from '../wire.ts'
import { callEndpoint } from './call-endpoint.ts'
import { describeEndpoint } from './endpoints.ts'

interface AttemptRow {
  readonly attempt: string
  readonly id: string
  readonly event_id: string | null
  readonly type: string | null
  readonly number: number
  readonly started_at: Date
  readonly millis: number
  readonly outcome: DeliveryAttempt['outcome']
  readonly status: number | null
  readonly error: string | null
  readonly detail: string | null
  readonly response_headers: Readonly<Record<string, string>> | null
  readonly response_body: string | null
}

/** Attempts to deliver to an endpoint, the newest first, a page at a time.
 * @throws QueueError endpoint_not_found. */
export async function listAttempts(
  executor: Executor,
  endpoint: string,
  { outcome, id, before, max = 100 }: AttemptListRequest = {},
): Promise<AttemptListResponse> {
  const rows = await call<AttemptRow>(
    executor,
    `select * from postbag.list_attempts(
      $1, of_outcome => $2, of_id => $3, before => $4::bigint, max_attempts => $5::integer
    ) where ${neverCached}`,
    [endpoint, outcome, id, before, max],
  )
  const last = rows.at(-1)
  return { attempts: rows.map(attemptOf), ...(last && rows.length === max && { next: String(last.attempt) }) }
}

function attemptOf(row: AttemptRow): DeliveryAttempt {
  return {
    attempt: String(row.attempt),
    id: row.id,
    ...(row.event_id !== null && { eventId: row.event_id }),
    ...(row.type !== null && { type: row.type }),
    number: row.number,
    startedAt: isoTime(row.started_at),
    millis: row.millis,
    outcome: row.outcome,
    ...(row.status !== null && { status: row.status }),
    ...(row.error !== null && { error: row.error }),
    ...(row.detail !== null && { detail: row.detail }),
    ...(row.response_headers && { responseHeaders: row.response_headers }),
    ...(row.response_body !== null && { responseBody: row.response_body }),
  }
}

/** Deliver an event to an endpoint once more: the id of the new delivery.
 * @throws QueueError endpoint_not_found, event_not_found. */
export async function resend(
  executor: Executor,
  endpoint: string,
  eventId: string,
  clock: Clock = databaseClock,
): Promise<string> {
  const row = await callEndpoint<{ readonly id: string }>(
    executor,
    endpoint,
    'select postbag.resend($1, $2, coalesce($3::timestamptz, clock_timestamp())) as id',
    [endpoint, eventId, clock()],
  )
  return row.id
}

/** Deliver an event of the type "test" to an endpoint, and to no other.
 * @throws QueueError endpoint_not_found. */
export async function sendTestEvent(
  executor: Executor,
  endpoint: string,
  clock: Clock = databaseClock,
): Promise<TestEventResponse> {
  const row = await callEndpoint<{ readonly id: string; readonly event_id: string }>(
    executor,
    endpoint,
    'select * from postbag.test_endpoint($1, coalesce($2::timestamptz, clock_timestamp()))',
    [endpoint, clock()],
  )
  return { id: row.id, eventId: row.event_id }
}

/** Deliver anew what is dead, all of it or what fits, from its first attempt on.
 * @throws QueueError endpoint_not_found, request_invalid, batch_too_large. */
export async function recover(
  executor: Executor,
  endpoint: string,
  request: RecoverRequest = {},
  clock: Clock = databaseClock,
): Promise<RedriveResponse> {
  const { name } = await describeEndpoint(executor, endpoint)
  return redrive(executor, `webhooks.${name}`, request, clock)
}

interface StatisticsRow {
  readonly state: EndpointStatistics['state']
  readonly waiting: string
  readonly leased: string
  readonly dead: string
  readonly oldest_ready_at: Date | null
  readonly counted_at: Date
  readonly capped: boolean
  readonly attempts: string
  readonly success_rate: number | null
  readonly p50_millis: number | null
  readonly p95_millis: number | null
}

/** How an endpoint does.
 * @throws QueueError endpoint_not_found. */
export async function endpointStatistics(
  executor: Executor,
  endpoint: string,
  clock: Clock = databaseClock,
): Promise<EndpointStatistics> {
  const row = await callEndpoint<StatisticsRow>(
    executor,
    endpoint,
    'select * from postbag.endpoint_stats($1, coalesce($2::timestamptz, clock_timestamp()))',
    [endpoint, clock()],
  )
  return {
    state: row.state,
    waiting: Number(row.waiting),
    leased: Number(row.leased),
    dead: Number(row.dead),
    ...(row.oldest_ready_at && { oldestReadyAt: isoTime(row.oldest_ready_at) }),
    countedAt: isoTime(row.counted_at),
    capped: row.capped,
    attempts: Number(row.attempts),
    ...(row.success_rate !== null && { successRate: row.success_rate }),
    ...(row.p50_millis !== null && { p50Millis: row.p50_millis }),
    ...(row.p95_millis !== null && { p95Millis: row.p95_millis }),
  }
}
