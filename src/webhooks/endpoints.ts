/* Endpoints: set, described, listed, deleted, and what was tried to deliver to them. Who may be called, and with which headers, is checked here;
 * secrets come in and go out as they are told to receivers, and lie sealed in the database. */
import type { WebhookSettings } from '../config.ts'
import { call, callOne, type Executor, neverCached } from '../db/call.ts'
import { QueueError } from '../errors.ts'
import { isoTime } from '../queue/message.ts'
import type {
  AttemptListResponse,
  DeliveryAttempt,
  EndpointInfo,
  EndpointListResponse,
  EndpointRequest,
} from '../wire.ts'
import { checkUrl, type UrlPolicy } from './check-url.ts'
import { checkHeaders } from './request-headers.ts'
import { createSecretBox, newSecret, type SecretBox } from './secrets.ts'
import { readSecret } from './signing.ts'

/** What a server that has endpoints is configured with. */
export interface WebhookConfig {
  readonly box: SecretBox
  readonly policy: UrlPolicy
}

/** Undefined: no endpoints can be made. */
export function webhookConfig(settings: WebhookSettings | undefined): WebhookConfig | undefined {
  if (!settings) return undefined
  const { keys, allowPrivate } = settings
  return { box: createSecretBox(keys), policy: { allowPrivate, allowHttp: allowPrivate } }
}

interface EndpointRow {
  readonly name: string
  readonly application: string | null
  readonly url: string
  readonly exchange: string
  readonly event_types: string[]
  readonly filter: EndpointInfo['filter'] | null
  readonly headers: Record<string, string>
  readonly description: string | null
  readonly metadata: Record<string, string>
  readonly timeout_seconds: number
  readonly retries_seconds: number[]
  readonly rate: number | null
  readonly burst: number | null
  readonly concurrency: number
  readonly is_ordered: boolean
  readonly state: EndpointInfo['state']
  readonly disabled_at: Date | null
  readonly disabled_because: EndpointInfo['disabledBecause'] | null
  readonly failures: number
  readonly failing_since: Date | null
  readonly resting_until: Date | null
  readonly created_at: Date
  readonly updated_at: Date
}

/** What an argument that is an interval, or several, is made of. */
const fromSeconds: Readonly<Record<string, (parameter: string) => string>> = {
  timeout: (parameter) => `make_interval(secs => ${parameter}::double precision)`,
  retries: (parameter) => `array(
    select make_interval(secs => pause.length)
    from unnest(${parameter}::double precision[]) with ordinality as pause (length, place)
    order by pause.place
  )`,
}

/** Create an endpoint, or replace all of it but its secrets. The secret is in the answer if this call made it.
 * @throws QueueError request_invalid, exchange_not_found, or webhooks_not_configured */
export async function setEndpoint(
  executor: Executor,
  webhooks: WebhookConfig | undefined,
  endpoint: string,
  request: EndpointRequest,
): Promise<{ readonly info: EndpointInfo; readonly created: boolean }> {
  const { box, policy } = configured(webhooks)
  checkUrl(request.url, policy)
  checkHeaders(request.headers ?? {})
  const known = `select from postbag.endpoint_info as info where info.name = $1 and ${neverCached}`
  const isKnown = (await call(executor, known, [endpoint])).length > 0
  if (request.secret !== undefined) readSecret(request.secret)
  const made = request.secret === undefined && !isKnown ? newSecret() : undefined
  const secret = request.secret ?? made
  // The defaults are the database's: what is not given is not named in the call.
  const given = Object.entries({
    event_types: request.eventTypes,
    application: request.application,
    filter: request.filter && JSON.stringify(request.filter),
    headers: request.headers && JSON.stringify(request.headers),
    description: request.description,
    metadata: request.metadata && JSON.stringify(request.metadata),
    timeout: request.timeoutSeconds,
    retries: request.retriesSeconds,
    rate: request.ratePerSecond,
    burst: request.rateBurst,
    concurrency: request.concurrency,
    is_ordered: request.ordered,
    secrets: secret && JSON.stringify([{ sealed: await box.seal(secret, endpoint) }]),
  }).filter(([, value]) => value !== undefined)
  const named = given.map(([name], index) => `, ${name} => ${(fromSeconds[name] ?? String)(`$${index + 4}`)}`).join('')
  const row = await callOne<EndpointRow>(executor, `select * from postbag.set_endpoint($1, $2, $3${named})`, [
    endpoint,
    request.url,
    request.exchange,
    ...given.map(([, value]) => value),
  ])
  return { info: { ...endpointInfo(row), ...(made && { secret: made }) }, created: !isKnown }
}

/** @throws QueueError endpoint_not_found */
export async function describeEndpoint(executor: Executor, endpoint: string): Promise<EndpointInfo> {
  return endpointInfo(
    await callOne<EndpointRow>(executor, `select * from postbag.describe_endpoint($1) where ${neverCached}`, [
      endpoint,
    ]),
  )
}

export async function listEndpoints(
  executor: Executor,
  {
    application,
    after = '',
    max = 100,
  }: { readonly application?: string; readonly after?: string; readonly max?: number },
): Promise<EndpointListResponse> {
  const rows = await call<EndpointRow>(
    executor,
    `select * from postbag.list_endpoints($1, $2, $3::integer) where ${neverCached}`,
    [application, after, max],
  )
  const last = rows.at(-1)
  return { endpoints: rows.map(endpointInfo), ...(last && rows.length === max && { next: last.name }) }
}

/** How many deliveries were waiting. @throws QueueError endpoint_not_found */
export async function deleteEndpoint(executor: Executor, endpoint: string): Promise<number> {
  const row = await callOne<{ deleted: string }>(executor, 'select postbag.delete_endpoint($1) as deleted', [endpoint])
  return Number(row.deleted)
}

/** @throws QueueError endpoint_not_found */
export async function changeEndpoint(
  executor: Executor,
  endpoint: string,
  change: 'enable' | 'disable' | 'pause' | 'resume',
): Promise<EndpointInfo> {
  if (change === 'pause' || change === 'resume') {
    await describeEndpoint(executor, endpoint)
    await call(executor, `select from postbag.${change}($1)`, [`webhooks.${endpoint}`])
  } else await call(executor, `select from postbag.${change}_endpoint($1)`, [endpoint])
  return describeEndpoint(executor, endpoint)
}

/** A new secret signs from now on, the old ones for so long beside it; the new one.
 * @throws QueueError endpoint_not_found, request_invalid, or webhooks_not_configured */
export async function rotateSecret(
  executor: Executor,
  webhooks: WebhookConfig | undefined,
  endpoint: string,
  { secret, overlapSeconds = 86_400 }: { readonly secret?: string; readonly overlapSeconds?: number },
): Promise<string> {
  const { box } = configured(webhooks)
  if (secret !== undefined) readSecret(secret)
  const next = secret ?? newSecret()
  await call(executor, 'select postbag.rotate_secret($1, $2, overlap => make_interval(secs => $3::double precision))', [
    endpoint,
    await box.seal(next, endpoint),
    overlapSeconds,
  ])
  return next
}

/** Attempts, the newest first. @throws QueueError endpoint_not_found */
export async function listAttempts(
  executor: Executor,
  endpoint: string,
  {
    outcome,
    id,
    before,
    max = 100,
  }: { readonly outcome?: string; readonly id?: string; readonly before?: string; readonly max?: number },
): Promise<AttemptListResponse> {
  const rows = await call<AttemptRow>(
    executor,
    `select * from postbag.list_attempts($1, of_outcome => $2, of_id => $3, before => $4::bigint, max_attempts => $5::integer)
    where ${neverCached}`,
    [endpoint, outcome, id, before, max],
  )
  const last = rows.at(-1)
  return { attempts: rows.map(attemptOf), ...(last && rows.length === max && { next: last.attempt }) }
}

/** Deliver an event once more; the id of the new delivery. @throws QueueError endpoint_not_found, or event_not_found */
export async function resend(executor: Executor, endpoint: string, eventId: string): Promise<string> {
  return (await callOne<{ id: string }>(executor, 'select postbag.resend($1, $2) as id', [endpoint, eventId])).id
}

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
  readonly response_headers: Record<string, string> | null
  readonly response_body: string | null
}

function attemptOf(row: AttemptRow): DeliveryAttempt {
  return {
    attempt: row.attempt,
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
    ...(row.response_headers !== null && { responseHeaders: row.response_headers }),
    ...(row.response_body !== null && { responseBody: row.response_body }),
  }
}

function endpointInfo(row: EndpointRow): EndpointInfo {
  return {
    name: row.name,
    url: row.url,
    exchange: row.exchange,
    eventTypes: row.event_types,
    ...(row.filter && { filter: row.filter }),
    ...(row.application !== null && { application: row.application }),
    headers: row.headers,
    ...(row.description !== null && { description: row.description }),
    metadata: row.metadata,
    timeoutSeconds: row.timeout_seconds,
    retriesSeconds: row.retries_seconds,
    ...(row.rate !== null && { ratePerSecond: row.rate }),
    ...(row.burst !== null && { rateBurst: row.burst }),
    concurrency: row.concurrency,
    ordered: row.is_ordered,
    state: row.state,
    ...(row.disabled_at && { disabledAt: isoTime(row.disabled_at) }),
    ...(row.disabled_because && { disabledBecause: row.disabled_because }),
    failures: row.failures,
    ...(row.failing_since && { failingSince: isoTime(row.failing_since) }),
    ...(row.resting_until && { restingUntil: isoTime(row.resting_until) }),
    createdAt: isoTime(row.created_at),
    updatedAt: isoTime(row.updated_at),
  }
}

function configured(webhooks: WebhookConfig | undefined): WebhookConfig {
  if (webhooks) return webhooks
  throw new QueueError(
    'webhooks_not_configured',
    'endpoints need POSTBAG_WEBHOOK_KEY, which seals their secrets: set it to 32 random bytes as base64 (openssl rand -base64 32)',
  )
}
