/* A database with one endpoint, made in SQL, whose receiver answers what it is told to. For tests of what delivers by itself. */
import { randomBytes } from 'node:crypto'
import { createSecretBox } from '../../src/webhooks/secrets.ts'
import { createDatabase } from '../support/database.ts'
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
  /** Of the endpoint, as SQL has it. */
  readonly config?: object
}

export async function createWebhookWorld(options: WorldOptions = {}) {
  const { statuses = [], millis = 0, beforeAnswer = async () => {}, config = {} } = options
  const { pool, url } = await createDatabase()
  const receiver = await startReceiver(async (_, response) => {
    await beforeAnswer()
    setTimeout(() => response.writeHead(statuses.shift() ?? 200).end(), millis)
  })
  const keys = randomBytes(32).toString('base64')
  const secret = `whsec_${randomBytes(32).toString('base64')}`
  const secrets = JSON.stringify([{ sealed: await createSecretBox(keys).seal(secret, 'one') }])
  await call(pool, 'declare_exchange', { exchange: 'events', type: 'fanout' })
  await call(pool, 'set_endpoint', { endpoint: 'one', url: receiver.url, exchange: 'events', secrets, ...config })
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
