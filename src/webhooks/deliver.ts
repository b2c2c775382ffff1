/* One delivery: its request, signed, made, and what came of it. */
import { fromBase64 } from '../wire.ts'
import type { UrlPolicy } from './check-url.ts'
import type { Delivery, Result } from './deliveries.ts'
import { type Attempt, errorOf, type Outcome } from './outcome.ts'
import { isSendable } from './request-headers.ts'
import { signWebhook, type WebhookHeaders } from './signing/sign.ts'

export interface DeliverOptions {
  readonly attempt: Attempt
  /** A sealed secret of an endpoint, as it signs. */
  readonly open: (sealed: string, endpoint: string) => Promise<string>
  readonly policy: UrlPolicy
}

const USER_AGENT = 'Postbag/0 (webhooks)'

/** Less time than that is not worth an attempt: it would be held against the receiver. */
const shortestMillis = 1000

/** @param noted when the attempt begins by the database's clock; receivers are told the time of this process
 * @param longestMillis how long the attempt may take, whatever its endpoint allows */
export async function deliver(
  delivery: Delivery,
  options: DeliverOptions,
  signal: AbortSignal,
  noted = new Date(),
  longestMillis = Infinity,
): Promise<Result> {
  const { endpoint, url, receipt } = delivery
  const outcome = longestMillis < shortestMillis ? tooLate : await attempted(delivery, options, longestMillis, signal)
  return { endpoint, url, receipt, startedAt: noted.toISOString(), millis: outcome.millis, ...told(outcome) }
}

const tooLate: Outcome = { kind: 'failed', error: 'stopped', detail: 'no time is left', millis: 0, isResent: false }

async function attempted(
  delivery: Delivery,
  { attempt, open, policy }: DeliverOptions,
  longestMillis: number,
  signal: AbortSignal,
): Promise<Outcome> {
  const body = bodyOf(delivery)
  // (What the publisher has said and no header can carry is no fault of the receiver.)
  const [contentType, trace] = [delivery.content_type, delivery.headers?.['traceparent']].map((value) =>
    value && isSendable(value) ? value : undefined,
  )
  let headers: WebhookHeaders
  try {
    const secrets = await Promise.all(delivery.secrets.map(({ sealed }) => open(sealed, delivery.endpoint)))
    headers = await signWebhook({ id: delivery.event_id, timestamp: new Date(), body }, secrets)
  } catch {
    // (What it says could be the secret.)
    const detail = 'the secret of the endpoint cannot be opened: is its key configured?'
    return { kind: 'failed', error: 'refused_headers', detail, millis: 0, isResent: false }
  }
  return attempt({
    url: delivery.url,
    headers: {
      ...delivery.request_headers,
      'content-type': contentType ?? contentTypes[delivery.encoding],
      'user-agent': USER_AGENT,
      ...(trace && { traceparent: trace }),
      ...headers,
    },
    body,
    timeoutMillis: Math.min(delivery.timeout_seconds * 1000, Math.floor(longestMillis)),
    policy,
    signal,
  })
}

const contentTypes = {
  json: 'application/json',
  text: 'text/plain; charset=utf-8',
  base64: 'application/octet-stream',
} as const

function bodyOf({ body, encoding }: Delivery): string | Uint8Array<ArrayBuffer> {
  return encoding === 'base64' ? fromBase64(body) : body
}

function told(outcome: Outcome): Omit<Result, 'endpoint' | 'url' | 'receipt' | 'startedAt' | 'millis'> {
  const error = errorOf(outcome)
  if (outcome.kind === 'failed') {
    const isNobodysFault = error === 'busy' || error === 'stopped'
    return { outcome: isNobodysFault ? 'untried' : 'failed', detail: outcome.detail, ...(error && { error }) }
  }
  const { status, headers, body, retryAfterSeconds } = outcome
  return {
    outcome: error ? 'failed' : 'delivered',
    status,
    responseHeaders: headers,
    responseBody: body,
    ...(error && { error }),
    ...((status === 429 || status === 503) && retryAfterSeconds !== undefined && { retryAfterSeconds }),
    ...(status === 410 && { isGone: true }),
  }
}
