/* Events, endpoints and receivers of the load tests: who is to get what, who got what, and receivers that fail at random, by the same numbers in
 * each run. */
import type { ServerResponse } from 'node:http'
import type pg from 'pg'
import { createSecretBox, newSecret } from '../../src/webhooks/secrets.ts'
import { declare } from '../support/sql-exchanges.ts'
import { call } from '../support/sql-verbs.ts'
import { type ReceivedRequest, startReceiver, verified } from './webhook-receiver.ts'

export interface LoadEvent {
  readonly body: { readonly n: number; readonly vip: boolean }
  readonly type: string
  readonly routingKey: string
}

/** The event of this number: of three types, one in four for important people. */
export function eventOf(n: number): LoadEvent {
  const type = ['order.created', 'order.paid', 'mail.sent'][n % 3] ?? ''
  return { body: { n, vip: n % 4 === 0 }, type, routingKey: type }
}

interface LoadEndpoint {
  readonly config: object
  /** Which events it is to get. */
  wants(event: LoadEvent): boolean
  /** In how many of 100 requests its receiver fails. */
  readonly failing: number
}

const isOrder = ({ type }: LoadEvent) => type.startsWith('order.')

const endpoints: Readonly<Record<string, LoadEndpoint>> = {
  everything: { config: {}, wants: () => true, failing: 0 },
  orders: { config: { event_types: ['order.*'] }, wants: isOrder, failing: 20 },
  paid: { config: { event_types: ['order.paid'] }, wants: ({ type }) => type === 'order.paid', failing: 0 },
  vip: { config: { filter: '{"body": {"vip": true}}' }, wants: ({ body }) => body.vip, failing: 10 },
  'vip-orders': {
    config: { event_types: ['order.#', 'none'], filter: '{"body": {"vip": true}}' },
    wants: (event) => isOrder(event) && event.body.vip,
    failing: 30,
  },
}

/** Numbers from 0 to 1 that look random, always the same (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A request that came: for whom, which, under which id, and whether it was answered well. */
export interface Arrival {
  readonly pair: string
  readonly n: number
  readonly id: string
  readonly isTaken: boolean
}

const failures: readonly ((response: ServerResponse) => void)[] = [
  (response) => response.writeHead(500).end(),
  (response) => response.writeHead(503, { 'retry-after': '1' }).end(),
  (response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
]

/** Those that may make a transport send a request twice, or let it wait for long. */
const silences: typeof failures = [(response) => response.destroy(), () => {}]

/** The endpoints, each at a path of one receiver, which notes all that arrives.
 * @param isSilent whether some failures are no answer at all */
export async function createLoad(pool: pg.Pool, keys: string, isSilent: boolean, config: object) {
  const box = createSecretBox(keys)
  const secrets = new Map(Object.keys(endpoints).map((name) => [name, newSecret()]))
  const arrivals: Arrival[] = []
  const forged: ReceivedRequest[] = []
  const random = seeded(7)
  const ways = isSilent ? [...failures, ...silences] : failures

  const receiver = await startReceiver((request, response) => {
    const name = request.path.slice(1)
    const isTaken = random() * 100 >= (endpoints[name]?.failing ?? 0)
    try {
      const { n } = verified(secrets.get(name), request) as LoadEvent['body']
      arrivals.push({ pair: pairOf(name, n), n, id: String(request.headers['webhook-id']), isTaken })
    } catch {
      forged.push(request)
    }
    if (isTaken) response.end()
    else ways[Math.floor(random() * ways.length)]?.(response)
  })
  await declare(pool, 'events', { type: 'topic' })
  for (const [name, secret] of secrets) {
    await call(pool, 'set_endpoint', {
      endpoint: name,
      url: `${receiver.url}/${name}`,
      exchange: 'events',
      secrets: JSON.stringify([{ sealed: await box.seal(secret, name) }]),
      retries: Array(50).fill('1 s'),
      ...config,
      ...endpoints[name]?.config,
    })
  }
  return { arrivals, forged, stop: receiver.stop }
}

const pairOf = (endpoint: string, n: number) => `${endpoint} ${n}`

/** All that is to arrive of these events. */
export function owed(numbers: Iterable<number>): readonly string[] {
  return [...numbers].flatMap((n) =>
    Object.entries(endpoints).flatMap(([name, { wants }]) => (wants(eventOf(n)) ? [pairOf(name, n)] : [])),
  )
}

/** How many deliveries are not over. */
export async function waiting(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ count: string }>('select count(*) from postbag.message')
  return Number(rows[0]?.count)
}
