/* Bindings: from an exchange to a queue, or to another exchange. */
import { type Clock, databaseClock } from '../clock.ts'
import { call, callOne, type Executor, neverCached } from '../db/call.ts'
import { isoTime } from '../queue/message.ts'
import type { BindingInfo, BindingListResponse, BindRequest, UnbindRequest } from '../wire.ts'

/** What is published to the exchange and fits goes to the target from now on; false if it was so before.
 * @throws QueueError request_invalid, exchange_not_found, queue_not_found. */
export async function bind(
  executor: Executor,
  exchange: string,
  request: BindRequest,
  clock: Clock = databaseClock,
): Promise<boolean> {
  const row = await callOne<{ readonly changed: boolean }>(
    executor,
    `select postbag.bind(
      $1,
      queue => $2,
      to_exchange => $3,
      routing_key => $4,
      headers => $5::jsonb,
      header_match => $6,
      weight => $7::integer,
      now => coalesce($8::timestamptz, clock_timestamp())
    ) as changed`,
    [exchange, ...conditionsToSql(request), request.weight, clock()],
  )
  return row.changed
}

/** Undo the bind that said the same; false if there is no such binding.
 * @throws QueueError request_invalid, exchange_not_found, queue_not_found. */
export async function unbind(executor: Executor, exchange: string, request: UnbindRequest): Promise<boolean> {
  const row = await callOne<{ readonly changed: boolean }>(
    executor,
    `select postbag.unbind(
      $1, queue => $2, to_exchange => $3, routing_key => $4, headers => $5::jsonb, header_match => $6
    ) as changed
    where ${neverCached}`,
    [exchange, ...conditionsToSql(request)],
  )
  return row.changed
}

/** Whose bindings: those from an exchange, those to an exchange, those to a queue. */
export type BindingsOf = { readonly from: string } | { readonly to: string } | { readonly queue: string }

/** Bindings in the order in which they were made, a page at a time.
 * @throws QueueError exchange_not_found, queue_not_found. */
export async function listBindings(
  executor: Executor,
  of: BindingsOf,
  { after = '0', max = 100 }: { readonly after?: string; readonly max?: number } = {},
): Promise<BindingListResponse> {
  const rows = await call<BindingRow>(
    executor,
    `select * from postbag.list_bindings(
      of_exchange => $1, of_target => $2, of_queue => $3, after => $4, max_bindings => $5::integer
    ) where ${neverCached}`,
    ['from' in of ? of.from : null, 'to' in of ? of.to : null, 'queue' in of ? of.queue : null, after, max],
  )
  const last = rows.at(-1)
  return { bindings: rows.map(bindingInfo), ...(last && rows.length === max && { next: last.id }) }
}

function conditionsToSql({ queue, exchange, routingKey = '', headers, match }: UnbindRequest): readonly unknown[] {
  return [queue, exchange, routingKey, headers && JSON.stringify(headers), match]
}

interface BindingRow {
  readonly id: string
  readonly exchange: string
  readonly queue: string | null
  readonly to_exchange: string | null
  readonly routing_key: string
  readonly headers: Readonly<Record<string, string | null>> | null
  readonly header_match: 'all' | 'any' | null
  readonly weight: number | null
  readonly created_at: Date
}

function bindingInfo(row: BindingRow): BindingInfo {
  return {
    id: row.id,
    source: row.exchange,
    ...(row.queue !== null && { queue: row.queue }),
    ...(row.to_exchange !== null && { exchange: row.to_exchange }),
    routingKey: row.routing_key,
    ...(row.headers && { headers: row.headers }),
    ...(row.header_match && { match: row.header_match }),
    ...(row.weight !== null && { weight: row.weight }),
    createdAt: isoTime(row.created_at),
  }
}
