/* A database with an endpoint, made in SQL, whose receiver answers what it is told to. For tests of what delivers by itself. */
import { randomBytes } from 'node:crypto'
import type { Executor } from '../../src/db/call.ts'
import { createSecretBox } from '../../src/webhooks/secrets.ts'
import { createDatabase } from '../support/database.ts'
import { prove } from '../support/sql-endpoints.ts'
import { call } from '../support/sql-verbs.ts'
import { until } from '../support/until.ts'
import { startReceiver, verified } from './webhook-receiver.ts'

export interface WorldOptions {
  /** What the receiver answers first, before 200. */
  readonly statuses?: number[]
  /** How long it takes to answer. */
  readonly millis?: number
  /** What it waits for before. */
  readonly beforeAnswer?: () => Promise<void>
  /** How many there are, the first of which is called "one". Defaults to 1. */
  readonly endpoints?: number
  /** Of each, as SQL has it. */
  readonly config?: object
}

export async function createWebhookWorld(options: WorldOptions = {}) {
  const { statuses = [], millis = 0, beforeAnswer = async () => {}, endpoints = 1, config = {} } = options
  const { pool, url } = await createDatabase()
  const receiver = await startReceiver(async (_, response) => {
    await beforeAnswer()
    setTimeout(() => response.writeHead(statuses.shift() ?? 200).end(), millis)
  })
  const keys = randomBytes(32).toString('base64')
  const secret = `whsec_${randomBytes(32).toString('base64')}`
  await call(pool, 'declare_exchange', { exchange: 'events', type: 'fanout' })
  const box = createSecretBox(keys)
  for (let number = 1; number <= endpoints; number++) {
    const endpoint = number === 1 ? 'one' : `number-${number}`
    const secrets = JSON.stringify([{ sealed: await box.seal(secret, endpoint) }])
    const url = `${receiver.url}/${endpoint}`
    await call(pool, 'set_endpoint', { endpoint, url, exchange: 'events', secrets, ...config })
    await prove(pool, endpoint)
  }
  return {
    pool,
    url,
    receiver,
    /** What a server needs to deliver. */
    env: { POSTBAG_WEBHOOK_KEY: keys, POSTBAG_WEBHOOK_ALLOW_PRIVATE: 'true' },
    publishInSql: (count = 1) =>
      pool.query(`select postbag.publish('events', to_jsonb(n)) from generate_series(1, $1::integer) as n`, [count]),
    bodies: () => receiver.got.map((request) => verified(secret, request)),
    attempts: () => call(pool, 'list_attempts', { endpoint: 'one', max_attempts: 1000 }),
    noted: (count: number) =>
      until(`${count} attempts`, async () => {
        const attempts = await call(pool, 'list_attempts', { endpoint: 'one', max_attempts: 1000 })
        return attempts.length >= count ? attempts : undefined
      }),
  }
}

/** From now on the database's maintain does this: a statement in PL/pgSQL, that may set `more`. */
export async function maintainInstead(executor: Executor, statement: string): Promise<void> {
  await executor.query(
    `create or replace function postbag.maintain(
      queue text default null, max_messages integer default 10000, now timestamptz default clock_timestamp()
    )
    returns table (
      expired_messages bigint, removed_dead_letters bigint, forgotten_dedup_ids bigint, removed_orphans bigint, more boolean
    )
    language plpgsql as $$ begin ${statement}; return next; end $$`,
    [],
  )
}
