/* Waiting receives over a hub of a test's own, and signs from the database of what the hub does. */
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import type { Executor } from '../../src/db/call.ts'
import { receive } from '../../src/queue/receive.ts'
import { ack } from '../../src/queue/settle.ts'
import type { Hub } from '../../src/wakeup/hub.ts'
import { createListenHub, type ListenHubOptions } from '../../src/wakeup/listen-hub.ts'
import { longPoll } from '../../src/wakeup/long-poll.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { until } from '../support/until.ts'

const hubs = new Set<Hub>()
after(() => Promise.all([...hubs].map((hub) => hub.close())))

export interface Receives {
  /** How many looks have begun, and how many have ended. */
  readonly looks: number
  readonly looked: number
  /** The bodies of what a receive gets that may wait. What it gets is acked, unless it says for how long it is leased. */
  wait(
    queue: string,
    options?: { max?: number; seconds?: number; signal?: AbortSignal; leaseSeconds?: number },
  ): Promise<string[]>
}

export interface Waiting extends Receives {
  readonly database: TestDatabase
  readonly hub: ReturnType<typeof createListenHub>
  /** Resolves when the hub is told of this queue. */
  watched(queue: string): Promise<void>
}

/** A hub over a database of its own, or that one. */
export async function createWaiting(given?: TestDatabase, options: Partial<ListenHubOptions> = {}): Promise<Waiting> {
  const database = given ?? (await createDatabase())
  const { pool, url } = database
  const hub = closedAfter(createListenHub({ url, executor: pool, ...options }))
  return Object.assign(receivesOver(hub, pool), {
    database,
    hub,
    async watched(queue: string) {
      await until(`the hub to watch ${queue}`, async () => (await watchers(pool, queue))[0])
    },
  })
}

/** The hub, which is closed when the test file ends. */
export function closedAfter<Made extends Hub>(hub: Made): Made {
  hubs.add(hub)
  return hub
}

export function receivesOver(hub: Hub, executor: Executor): Receives {
  let looks = 0
  let looked = 0
  return {
    get looks() {
      return looks
    },
    get looked() {
      return looked
    },
    async wait(queue, { max = 1, seconds = 20, signal = new AbortController().signal, leaseSeconds } = {}) {
      const messages = await longPoll(hub, {
        queue,
        max,
        waitSeconds: seconds,
        signal,
        look: async () => {
          looks++
          const lease = leaseSeconds === undefined ? {} : { leaseSeconds }
          return receive(executor, queue, { max, ...lease }, { alone: true }).finally(() => looked++)
        },
        giveBack: async () => {
          throw new Error('nothing is to be given back')
        },
      })
      if (leaseSeconds === undefined && messages.length > 0) {
        // (It may hold though its answer was lost; and what was received was received, acked or not.)
        await ack(executor, queue, { receipts: messages.map(({ receipt }) => receipt) }).catch((error) => {
          if (error.code !== 'database_unavailable') throw error
        })
      }
      return messages.map(({ body }) => body)
    },
  }
}

/** The backends that watch a queue. */
export async function watchers(session: Pick<pg.Pool, 'query'>, queue: string): Promise<readonly number[]> {
  const { rows } = await session.query(
    `select pid from pg_locks
    where locktype = 'advisory' and classid = 1886352386 and objid::bigint = postbag.wake_slot($1)
      and database = (select oid from pg_database where datname = current_database())
      and mode = 'ShareLock' and granted`,
    [queue],
  )
  return rows.map(({ pid }) => pid)
}

/** The backends of hubs. */
export async function listeners(session: Pick<pg.Pool, 'query'>): Promise<readonly number[]> {
  const { rows } = await session.query(
    `select pid from pg_stat_activity where application_name = 'postbag listen' and datname = current_database()`,
  )
  return rows.map(({ pid }) => pid)
}

/** Resolves when the hub's connection has nothing to do: with what it was asked last, and when. */
export async function listenerRests(session: Pick<pg.Pool, 'query'>): Promise<string> {
  return until('a connection that listens and rests', async () => {
    const { rows } = await session.query(
      `select pid || ' ' || query_start as last from pg_stat_activity
      where application_name = 'postbag listen' and datname = current_database()
        and state = 'idle' and query not like '%unwatch%' and state_change < clock_timestamp() - interval '30 ms'`,
    )
    return rows[0]?.last
  })
}

/** Resolves when the hub knows that all it watches is seen by everybody: until then it asks now and then whose transactions have ended. */
export async function listenerSettles(session: Pick<pg.Pool, 'query'>): Promise<void> {
  const { rows } = await session.query('select pg_current_xact_id() as later')
  await until('the end of all older transactions', async () => {
    const snapshot = 'select pg_snapshot_xmin(pg_current_snapshot()) > $1 as over'
    return (await session.query(snapshot, [rows[0].later])).rows[0].over || undefined
  })
  // (It asks once a second at least.)
  await sleep(1100)
}
