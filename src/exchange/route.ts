/* route: where a message would go, and why. Nothing is sent. */
import { call, type Executor, neverCached } from '../db/call.ts'
import type { ExchangeType, RouteRequest, RouteResponse, RouteStep } from '../wire.ts'

/** @throws QueueError exchange_not_found. */
export async function route(
  executor: Executor,
  exchange: string,
  { routingKey = '', headers }: RouteRequest = {},
): Promise<RouteResponse> {
  const rows = await call<StepRow>(
    executor,
    `select * from postbag.explain_route($1, routing_key => $2, headers => $3::jsonb) where ${neverCached}`,
    [exchange, routingKey, headers && JSON.stringify(headers)],
  )
  const reached = rows.flatMap(({ queue }) => (queue === null ? [] : [queue]))
  return { queues: [...new Set(reached)], steps: rows.map(routeStep) }
}

interface StepRow {
  readonly at_exchange: string
  readonly exchange_type: ExchangeType
  readonly binding_key: string | null
  readonly binding_headers: Readonly<Record<string, string | null>> | null
  readonly header_match: 'all' | 'any' | null
  readonly weight: number | null
  readonly queue: string | null
  readonly to_exchange: string | null
  readonly alternate: boolean
}

function routeStep(row: StepRow): RouteStep {
  return {
    source: row.at_exchange,
    type: row.exchange_type,
    ...(row.binding_key !== null && { routingKey: row.binding_key }),
    ...(row.binding_headers && { headers: row.binding_headers }),
    ...(row.header_match && { match: row.header_match }),
    ...(row.weight !== null && { weight: row.weight }),
    ...(row.queue !== null && { queue: row.queue }),
    ...(row.to_exchange !== null && { exchange: row.to_exchange }),
    alternate: row.alternate,
  }
}
