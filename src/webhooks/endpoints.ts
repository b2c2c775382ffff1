/* Endpoints themselves: set, describe, list, delete, enable, disable, pause, resume, and their secrets. */
import { type Clock, databaseClock } from '../clock.ts'
import { call, callOne, type Executor, neverCached } from '../db/call.ts'
import type { EndpointConfig, EndpointInfo, EndpointListResponse, RotateSecretRequest } from '../wire.ts'
import { callEndpoint } from './call-endpoint.ts'
import { checkUrl } from './check-url.ts'
import { configured, type WebhookConfig } from './config.ts'
import { type EndpointRow, endpointInfo, endpointToSql } from './endpoint-row.ts'
import { checkHeaders } from './request-headers.ts'
import { checkSecret, newSecret } from './secrets.ts'

/** Create an endpoint, or replace the whole configuration of the one with this name. `info.secret` is there only if this call made it.
 * @throws QueueError request_invalid, exchange_not_found, webhooks_not_configured. */
export async function setEndpoint(
  executor: Executor,
  endpoint: string,
  { secret, ...config }: EndpointConfig,
  webhooks: WebhookConfig | undefined,
  clock: Clock = databaseClock,
): Promise<{ readonly info: EndpointInfo; readonly created: boolean }> {
  const { box, policy } = configured(webhooks)
  const { href } = checkUrl(config.url, policy)
  checkHeaders(config.headers ?? {})
  if (secret !== undefined) checkSecret(secret)
  const made = newSecret()
  const sealed = JSON.stringify([{ sealed: await box.seal(secret ?? made, endpoint) }])
  const { named, values } = endpointToSql({ ...config, url: href }, 4)
  const row = await callOne<EndpointRow & { readonly created: boolean }>(
    executor,
    `select info.*, info.created_at = info.updated_at as created
    from postbag.set_endpoint(
      $1, now => coalesce($2::timestamptz, clock_timestamp()),
      ${secret === undefined ? 'first_secrets' : 'secrets'} => $3::jsonb, ${named}
    ) as info`,
    [endpoint, clock(), sealed, ...values],
  )
  const isMade = row.created && secret === undefined
  return { info: { ...endpointInfo(row), ...(isMade && { secret: made }) }, created: row.created }
}

/** Sign with another secret from now on; for a while also with those before it. `secret` is there only if this call made it.
 * @throws QueueError endpoint_not_found, request_invalid, webhooks_not_configured. */
export async function rotateSecret(
  executor: Executor,
  endpoint: string,
  { secret, overlapSeconds = 86_400 }: RotateSecretRequest,
  webhooks: WebhookConfig | undefined,
  clock: Clock = databaseClock,
): Promise<EndpointInfo> {
  const { box } = configured(webhooks)
  if (secret !== undefined) checkSecret(secret)
  const made = newSecret()
  const row = await callEndpoint<EndpointRow>(
    executor,
    endpoint,
    `select * from postbag.rotate_secret(
      $1, $2, make_interval(secs => $3::double precision), coalesce($4::timestamptz, clock_timestamp())
    )`,
    [endpoint, await box.seal(secret ?? made, endpoint), overlapSeconds, clock()],
  )
  return { ...endpointInfo(row), ...(secret === undefined && { secret: made }) }
}

/** @throws QueueError endpoint_not_found. */
export async function describeEndpoint(executor: Executor, endpoint: string): Promise<EndpointInfo> {
  return endpointInfo(
    await callEndpoint<EndpointRow>(
      executor,
      endpoint,
      `select * from postbag.describe_endpoint($1) where ${neverCached}`,
      [endpoint],
    ),
  )
}

/** Endpoints by name, of one application or all, a page at a time. */
export async function listEndpoints(
  executor: Executor,
  {
    application,
    after = '',
    max = 100,
  }: { readonly application?: string; readonly after?: string; readonly max?: number } = {},
): Promise<EndpointListResponse> {
  const rows = await call<EndpointRow>(
    executor,
    `select * from postbag.list_endpoints($1, $2, $3::integer) where ${neverCached}`,
    [application, after, max],
  )
  const last = rows.at(-1)
  return { endpoints: rows.map(endpointInfo), ...(last && rows.length === max && { next: last.name }) }
}

/** Delete an endpoint and all that waits for it; how many deliveries there were.
 * @throws QueueError endpoint_not_found. */
export async function deleteEndpoint(executor: Executor, endpoint: string): Promise<number> {
  const row = await callEndpoint<{ readonly deleted: string }>(
    executor,
    endpoint,
    `select postbag.delete_endpoint($1)::text as deleted where ${neverCached}`,
    [endpoint],
  )
  return Number(row.deleted)
}

/** What an endpoint can be told, beside its configuration:
 *   enable    deliver again, what waits and what is published from now on, and let it rest no longer
 *   disable   deliver nothing, and let nothing that is published wait for it
 *   pause     deliver nothing; what is published waits
 *   resume    deliver again */
export type EndpointSwitch = 'enable' | 'disable' | 'pause' | 'resume'

const now = 'coalesce($2::timestamptz, clock_timestamp())'

const switches: Record<EndpointSwitch, string> = {
  enable: `postbag.enable_endpoint(own.name, now => ${now})`,
  disable: `postbag.disable_endpoint(own.name, now => ${now})`,
  pause: `postbag.pause('webhooks.' || own.name, ${now})`,
  resume: `postbag.resume('webhooks.' || own.name, ${now})`,
}

/** @throws QueueError endpoint_not_found. */
export async function switchEndpoint(
  executor: Executor,
  endpoint: string,
  to: EndpointSwitch,
  clock: Clock = databaseClock,
): Promise<EndpointInfo> {
  const change = `select from postbag.endpoint_named($1) as own, lateral ${switches[to]} as changed`
  await callEndpoint(executor, endpoint, change, [endpoint, clock()])
  return describeEndpoint(executor, endpoint)
}
