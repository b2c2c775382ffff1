/* Deliveries on their way from and to the database: claimed for all endpoints in one statement, and settled in one. */
import { call, callOne, type Executor } from '../db/call.ts'
import type { Encoding } from '../wire.ts'
import type { Room } from './places.ts'

/** How much longer than its attempt may take a delivery is leased. (Held by postbag.set_endpoint.) */
export const leaseMarginMillis = 45_000

/** A delivery that this process has leased. */
export interface Delivery {
  readonly endpoint: string
  readonly url: string
  readonly request_headers: Readonly<Record<string, string>>
  readonly timeout_seconds: number
  /** Sealed; those that sign now. */
  readonly secrets: readonly { readonly sealed: string }[]
  readonly receipt: string
  readonly id: string
  readonly event_id: string
  /** This one included. */
  readonly attempts: number
  readonly body: string
  readonly encoding: Encoding
  readonly type: string | null
  readonly content_type: string | null
  readonly headers: Readonly<Record<string, string>> | null
  readonly sent_at: Date
  /** How its endpoint stands: postbag.claim_deliveries says what that means. */
  readonly standing: 'trusted' | 'untrusted' | 'slow' | 'unproven'
}

/** What came of one: postbag.settle_deliveries says what each field means. */
export interface Result {
  readonly endpoint: string
  readonly url: string
  readonly receipt: string
  readonly outcome: 'delivered' | 'failed' | 'untried'
  readonly startedAt: string
  readonly millis: number
  readonly status?: number
  readonly error?: string
  readonly detail?: string
  readonly responseHeaders?: Readonly<Record<string, string>>
  readonly responseBody?: string
  readonly retryAfterSeconds?: number
  readonly isGone?: boolean
}

interface ClaimedRow extends Omit<Delivery, 'receipt'> {
  /** Null in the last row, which says where to go on. */
  readonly receipt: string | null
  readonly next: string | null
}

/** Lease up to `most` deliveries (1 – 1000), from the place `after` on; `next` is where to go on, undefined if there is no more now. */
export async function claimDeliveries(
  executor: Executor,
  { most, mostDoubtful, mostBytes, avoided, trusted }: Omit<Room, 'changesAt'>,
  after: string | undefined,
  now: Date | undefined,
): Promise<{ readonly deliveries: readonly Delivery[]; readonly next: string | undefined }> {
  const rows = await call<ClaimedRow>(
    executor,
    'select * from postbag.claim_deliveries($1, $2, $3, $4::text[], $5::text[], coalesce($6::timestamptz, clock_timestamp()), $7)',
    [most, after ?? null, mostDoubtful, avoided, trusted ?? null, now, mostBytes],
  )
  const deliveries = rows.filter((row): row is ClaimedRow & Delivery => row.receipt !== null)
  return { deliveries, next: rows.at(-1)?.next ?? undefined }
}

/** Settle 1 – 1000 of them. What another has leased meanwhile is left alone. */
export async function settleDeliveries(
  executor: Executor,
  results: readonly Result[],
  now: Date | undefined,
): Promise<void> {
  await call(
    executor,
    'select from postbag.settle_deliveries($1::jsonb, coalesce($2::timestamptz, clock_timestamp()))',
    [JSON.stringify(results), now],
  )
}

/** In how many milliseconds a delivery is due, 0: now; undefined: none waits. */
export async function dueInMillis(executor: Executor, now: Date | undefined): Promise<number | undefined> {
  const { seconds } = await callOne<{ seconds: number | null }>(
    executor,
    `select extract(epoch from due.at - due.now)::double precision as seconds
    from (
      select clock.now, postbag.next_delivery_at(clock.now) as at
      from (select coalesce($1::timestamptz, clock_timestamp()) as now) as clock
    ) as due`,
    [now],
  )
  return seconds === null ? undefined : Math.ceil(Math.max(seconds, 0) * 1000)
}
