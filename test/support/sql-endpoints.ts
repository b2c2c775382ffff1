/* The words of the tests of webhooks in SQL: endpoints, and deliveries that are claimed and settled by hand. */
import type pg from 'pg'
import { newExchange } from './sql-exchanges.ts'
import { at, call, on, only, type Session } from './sql-verbs.ts'

/** Of which the second signs until at(100). */
export const secrets = JSON.stringify([{ sealed: 'new' }, { sealed: 'old', until: at(100).toISOString() }])

export interface Delivery {
  readonly endpoint: string
  readonly url: string
  readonly request_headers: Record<string, string>
  readonly timeout_seconds: number
  readonly secrets: readonly { readonly sealed: string }[]
  readonly receipt: string | null
  readonly id: string
  readonly event_id: string
  readonly attempts: number
  readonly body: string
  readonly type: string | null
  readonly headers: Record<string, string>
  readonly standing: string | null
  readonly next: string | null
}

let made = 0

/** Let an endpoint be as if something had arrived there before. */
export const prove = (pool: pg.Pool, endpoint: string) =>
  pool.query(
    'update postbag.endpoint_health set is_proven = true from postbag.endpoint where endpoint_health.queue_id = endpoint.queue_id and name = $1',
    [endpoint],
  )

/** An endpoint that no other test of this database has, and that is proven, of an exchange of its own; or of this one. */
export async function newEndpoint(pool: pg.Pool, config: object = {}, exchange?: string) {
  const endpoint = `endpoint-${++made}`
  const source = exchange ?? (await newExchange(pool, 'topic'))
  const set = (more: object = {}) =>
    call(pool, 'set_endpoint', {
      endpoint,
      url: `https://example.com/${endpoint}`,
      exchange: source,
      secrets,
      ...config,
      ...more,
    })
  const created = only(await set())
  await prove(pool, endpoint)
  return {
    endpoint,
    exchange: source,
    created,
    set,
    describe: async () => only(await call(pool, 'describe_endpoint', { endpoint })),
    waiting: () => on(pool, `webhooks.${endpoint}`).peek(1000, { now: at(0) }),
    attempts: (more: object = {}) => call(pool, 'list_attempts', { endpoint, ...more }),
  }
}

/** All there is now, in as many rounds as it takes. */
export async function claim(session: Session, now: Date, most = 100): Promise<Delivery[]> {
  const claimed: Delivery[] = []
  for (let round = -1, after: string | null = null; round !== claimed.length || after !== null; ) {
    if (after === null) round = claimed.length
    const rows: Delivery[] = await call<Delivery>(session, 'claim_deliveries', { most, after, now })
    claimed.push(...rows.filter((row) => row.receipt))
    after = rows.at(-1)?.next ?? null
  }
  return claimed
}

/** The deliveries of one endpoint among all that there are; the others stay leased. */
export const claimOf = async (pool: pg.Pool, endpoint: string, now: Date) =>
  (await claim(pool, now)).filter((delivery) => delivery.endpoint === endpoint)

export const settle = (session: Session, deliveries: readonly Delivery[], result: object, now: Date) =>
  call<{ receipt: string; outcome: string }>(session, 'settle_deliveries', {
    results: JSON.stringify(
      deliveries.map(({ endpoint, url, receipt }) => ({
        endpoint,
        url,
        receipt,
        startedAt: now,
        millis: 5,
        ...result,
      })),
    ),
    now,
  })

export const delivered = { outcome: 'delivered', status: 200, responseHeaders: { a: 'b' }, responseBody: 'ok' }
export const failed = { outcome: 'failed', status: 500, error: 'status' }
