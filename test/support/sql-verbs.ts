/* The words of the SQL tests: call a SQL function by the names of its arguments, move the clock, wait until a session waits.
 *
 * Arguments that are not given are left to the function's defaults. Times are arguments too: tests live around `at(0)`, and a step
 * of more than a minute makes a session's next receive look at its whole queue (migrations: receive_in_full.sql, "longest pause"). */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'

/** A pool or a connection. */
export type Session = Pick<pg.Pool | pg.Client, 'query'>

interface Message {
  readonly id: string
  readonly body: string
  readonly encoding: string
  readonly type: string | null
  readonly content_type: string | null
  readonly headers: Record<string, string> | null
  readonly priority: number
  readonly group_key: string | null
  readonly attempts: number
  readonly sent_at: Date
  readonly expires_at: Date | null
  readonly deaths: readonly Death[] | null
}

/** One entry of a message's history as a dead letter. */
interface Death {
  readonly queue: string
  readonly reason: 'attempts' | 'expired' | 'rejected' | 'overflow'
  readonly error?: string
  readonly attempts: number
  readonly at: string
  readonly exchange?: string
  readonly routingKey?: string
}

export interface Received extends Message {
  readonly receipt: string
  readonly first_received_at: Date
  readonly leased_until: Date
}

export interface Peeked extends Message {
  readonly state: 'ready' | 'leased' | 'delayed' | 'blocked' | 'dead'
  readonly last_error: string | null
  readonly available_at: Date
  readonly first_received_at: Date | null
  readonly leased_until: Date | null
  readonly dead_at: Date | null
  readonly dead_reason: string | null
}

/** What a search gives: messages, and perhaps a last row that holds nothing but `next`. */
export interface Searched extends Peeked {
  readonly next: string | null
}

interface Stats {
  readonly ready: string
  readonly leased: string
  readonly delayed: string
  readonly blocked: string
  readonly dead: string
  readonly bytes: string
  readonly oldest_ready_at: Date | null
  readonly in_per_second: number
  readonly out_per_second: number
  readonly counted_at: Date
  readonly capped: boolean
}

export interface SendOptions {
  readonly type?: string
  readonly headers?: unknown
  readonly priority?: number
  readonly delay?: string
  readonly dedup_id?: string
  readonly encoding?: string
  readonly content_type?: string
  readonly group_key?: string
  readonly ttl?: string
  readonly available_at?: Date
  readonly now?: Date
}

export interface QueueConfig {
  readonly lease?: string
  readonly delay?: string
  readonly max_priority?: number
  readonly delivery_order?: string
  readonly group_mode?: string
  readonly ttl?: string
  readonly max_attempts?: number
  readonly retry_delay?: string
  readonly retry_backoff?: string
  readonly retry_max_delay?: string
  readonly retry_jitter?: number
  readonly dead_letter_queue?: string
  readonly dead_letter_exchange?: string
  readonly dead_letter_routing_key?: string
  readonly dead_letter_retention?: string
  readonly dedup_window?: string
  readonly dedup_by?: string
  readonly dedup_scope?: string
  readonly max_messages?: number
  readonly max_bytes?: number
  readonly overflow?: string
  readonly max_in_flight?: number
  readonly rate?: number
  readonly burst?: number
  readonly group_rate?: number
  readonly group_burst?: number
  readonly durability?: string
  readonly now?: Date
}

/** What narrows a redrive down, and how it is done. */
export interface RedriveOptions {
  readonly ids?: readonly string[]
  readonly target?: string
  readonly type?: string
  readonly headers?: object
  readonly group_key?: string
  readonly min_age?: string
  readonly max_age?: string
  readonly error_contains?: string
  readonly reason?: string
  readonly max_messages?: number
  readonly rate?: number
  readonly dry_run?: boolean
  readonly after?: string
  readonly now?: Date
}

/** What narrows a search down. */
export interface SearchOptions {
  readonly after?: string
  readonly of_state?: string
  readonly of_type?: string
  readonly of_headers?: object
  readonly of_group?: string
  readonly min_age?: string
  readonly max_age?: string
  readonly body_contains?: string
  readonly of_reason?: string
  readonly now?: Date
}

/** `select * from postbag.verb(name => value, …)`. */
export async function call<Row = Record<string, unknown>>(
  session: Session,
  verb: string,
  args: object,
): Promise<Row[]> {
  const given = Object.entries(args).filter(([, value]) => value !== undefined)
  const names = given.map(([name], index) => `${name} => $${index + 1}`)
  const result = await session.query(
    `select * from postbag.${verb}(${names.join(', ')})`,
    given.map(([, value]) => value),
  )
  return result.rows as Row[]
}

let made = 0

/** A queue that no other test of this database uses; its name. */
export async function newQueue(session: Session, config: QueueConfig = {}): Promise<string> {
  const queue = `queue-${++made}`
  await call(session, 'create_queue', { queue, ...config })
  return queue
}

/** The verbs on one queue, as one session says them. */
export function on(session: Session, queue: string) {
  type Outcome = { receipt: string; outcome: string }
  const settle = async (verb: string, receipts: readonly unknown[], more: object = {}) => {
    const rows = await call<Outcome>(session, verb, { queue, receipts: JSON.stringify(receipts), ...more })
    return rows.map((row) => row.outcome)
  }
  return {
    /** Send one JSON value; its id. */
    async send(body: unknown, options: SendOptions = {}): Promise<string> {
      const [row] = await call<{ send: string }>(session, 'send', { queue, body: JSON.stringify(body), ...options })
      return (row as { send: string }).send
    },
    sendBatch: (messages: unknown, more: { now?: Date; alone?: boolean } = {}) =>
      call<{ id: string; duplicate: boolean }>(session, 'send_batch', {
        queue,
        messages: JSON.stringify(messages),
        ...more,
      }),
    receive: (
      max_messages?: number | null,
      more: { lease?: string | null; now?: Date; auto_ack?: boolean; alone?: boolean } = {},
    ) => call<Received>(session, 'receive', { queue, max_messages, ...more }),
    /** The receipts' outcomes, in their order. */
    ack: (...receipts: readonly unknown[]) => settle('ack', receipts),
    /** Ack, with the arguments that few tests need. */
    ackWith: (receipts: readonly unknown[], more: { now?: Date; alone?: boolean }) => settle('ack', receipts, more),
    nack: (
      receipts: readonly unknown[],
      more: {
        delay?: string | null
        error?: string
        now?: Date
        dead_letter?: boolean
        untried?: boolean
        alone?: boolean
      } = {},
    ) => settle('nack', receipts, more),
    extend: (receipts: readonly unknown[], more: { lease?: string | null; now?: Date; alone?: boolean } = {}) =>
      settle('extend', receipts, more),
    peek: (max_messages?: number, more: { after?: string; now?: Date } = {}) =>
      call<Peeked>(session, 'peek', { queue, max_messages, ...more }),
    search: (max_messages?: number, more: SearchOptions = {}) =>
      call<Searched>(session, 'search', { queue, max_messages, ...more }),
    async get(message_id: string, now?: Date): Promise<Peeked> {
      return only(await call<Peeked>(session, 'get_message', { queue, message_id, now }))
    },
    async redrive({ ids, ...more }: RedriveOptions = {}): Promise<{ redriven: number; next: string | null }> {
      const [row] = await call<{ redriven: string; next: string | null }>(session, 'redrive', {
        queue,
        ids: ids && JSON.stringify(ids),
        ...more,
      })
      return { redriven: Number(row?.redriven), next: row?.next ?? null }
    },
    pause: (now?: Date) => call(session, 'pause', { queue, now }),
    resume: (now?: Date) => call(session, 'resume', { queue, now }),
    maintain: (max_messages?: number, now?: Date) => maintain(session, { queue, max_messages, now }),
    async stats(now?: Date): Promise<Stats> {
      const [row] = await call<Stats>(session, 'queue_stats', { queue, now })
      return row as Stats
    },
    async purge(): Promise<number> {
      const [row] = await call<{ purge: string }>(session, 'purge', { queue })
      return Number((row as { purge: string }).purge)
    },
    async delete(): Promise<number> {
      const [row] = await call<{ delete_queue: string }>(session, 'delete_queue', { queue })
      return Number((row as { delete_queue: string }).delete_queue)
    },
  }
}

/** What is removed from one queue or from all. */
export async function maintain(
  session: Session,
  args: { queue?: string | undefined; max_messages?: number | undefined; now?: Date | undefined } = {},
) {
  const { more, ...counts } = only(await call<Record<string, string> & { more: boolean }>(session, 'maintain', args))
  const { expired_messages, removed_dead_letters, forgotten_dedup_ids, removed_orphans } = counts
  return {
    expired: Number(expired_messages),
    removed: Number(removed_dead_letters),
    forgotten: Number(forgotten_dedup_ids),
    orphans: Number(removed_orphans),
    more,
  }
}

/** The only element. */
export function only<T>(list: readonly T[]): T {
  if (list.length !== 1) throw new Error(`expected one element, got ${list.length}`)
  return list[0] as T
}

/** What the messages say: their JSON bodies, parsed. */
export function bodies(messages: readonly { body: string }[]): unknown[] {
  return messages.map((message) => JSON.parse(message.body))
}

export function receipts(messages: readonly { receipt: string }[]): string[] {
  return messages.map((message) => message.receipt)
}

/** A moment, so many seconds after the tests' zero. */
export function at(seconds: number): Date {
  return new Date(Date.UTC(2030, 0, 1) + seconds * 1000)
}

/** What the backend of a connection is known by. */
export async function backendOf(session: pg.Client): Promise<number> {
  const { rows } = await session.query('select pg_backend_pid() as pid')
  return rows[0].pid
}

/** Resolves when the backend waits for a lock that another one holds. */
export async function waitsForLock(observer: Session, backend: number): Promise<void> {
  await eventually(`backend ${backend} waits for a lock`, async () => {
    const { rows } = await observer.query(`select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'`, [
      backend,
    ])
    return rows.length > 0
  })
}

/** Resolves when somebody waits for what the backend holds. */
export async function isWaitedFor(observer: Session, backend: number): Promise<void> {
  await eventually(`somebody waits for backend ${backend}`, async () => {
    const { rows } = await observer.query('select from pg_stat_activity where $1 = any(pg_blocking_pids(pid))', [
      backend,
    ])
    return rows.length > 0
  })
}

/** Try again and again until there is something (true, a value, a list that is not empty); fails after ten seconds. */
export async function eventually<T>(claim: string, look: () => Promise<T>): Promise<T> {
  const end = Date.now() + 10_000
  while (Date.now() < end) {
    const found = await look()
    if (Array.isArray(found) ? found.length > 0 : found) return found
    await sleep(5)
  }
  throw new Error(`did not come true within ten seconds: ${claim}`)
}
