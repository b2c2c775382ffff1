/* Exchanges themselves: declare, describe, list, delete. */
import { type Clock, databaseClock } from '../clock.ts'
import { call, callOne, type Executor, neverCached } from '../db/call.ts'
import { isoTime } from '../queue/message.ts'
import type { ExchangeConfig, ExchangeInfo, ExchangeListResponse, ExchangeType } from '../wire.ts'

interface ExchangeRow {
  readonly name: string
  readonly type: ExchangeType
  readonly alternate: string | null
  readonly created_at: Date
}

/** Declare an exchange, or find it just as it is declared.
 * @throws QueueError request_invalid, or exchange_conflict if one of that name is something else. */
export async function declareExchange(
  executor: Executor,
  exchange: string,
  { type = 'direct', alternate }: ExchangeConfig = {},
  clock: Clock = databaseClock,
): Promise<{ readonly info: ExchangeInfo; readonly created: boolean }> {
  const row = await callOne<{ readonly created: boolean; readonly created_at: Date }>(
    executor,
    `select created, created_at
    from postbag.declare_exchange($1, type => $2, alternate => $3, now => coalesce($4::timestamptz, clock_timestamp()))`,
    [exchange, type, alternate, clock()],
  )
  const info = exchangeInfo({ name: exchange, type, alternate: alternate ?? null, created_at: row.created_at })
  return { info, created: row.created }
}

/** @throws QueueError exchange_not_found. */
export async function describeExchange(executor: Executor, exchange: string): Promise<ExchangeInfo> {
  return exchangeInfo(
    await callOne<ExchangeRow>(executor, `select * from postbag.describe_exchange($1) where ${neverCached}`, [
      exchange,
    ]),
  )
}

/** Exchanges whose name starts with the prefix, by name, a page at a time. */
export async function listExchanges(
  executor: Executor,
  {
    prefix = '',
    after = '',
    max = 100,
  }: { readonly prefix?: string; readonly after?: string; readonly max?: number } = {},
): Promise<ExchangeListResponse> {
  const rows = await call<ExchangeRow>(
    executor,
    `select * from postbag.list_exchanges($1, $2, $3::integer) where ${neverCached}`,
    [prefix, after, max],
  )
  const last = rows.at(-1)
  return { exchanges: rows.map(exchangeInfo), ...(last && rows.length === max && { next: last.name }) }
}

/** Delete an exchange and its bindings, those from it and those to it; how many there were.
 * @throws QueueError exchange_not_found; exchange_in_use if an endpoint takes from it, or with ifUnused if something is bound to it. */
export async function deleteExchange(
  executor: Executor,
  exchange: string,
  { ifUnused = false }: { readonly ifUnused?: boolean } = {},
): Promise<number> {
  const row = await callOne<{ readonly deleted: string }>(
    executor,
    `select postbag.delete_exchange($1, if_unused => $2::boolean)::text as deleted where ${neverCached}`,
    [exchange, ifUnused],
  )
  return Number(row.deleted)
}

function exchangeInfo({ name, type, alternate, created_at }: ExchangeRow): ExchangeInfo {
  return { name, type, ...(alternate !== null && { alternate }), createdAt: isoTime(created_at) }
}
