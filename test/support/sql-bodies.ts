/* The words of the tests of shared bodies. */
import type pg from 'pg'
import { bind, newExchange, publishBatch } from './sql-exchanges.ts'
import { call, newQueue, only, type QueueConfig } from './sql-verbs.ts'

/** A body that pays to be shared. */
export const large = 'x'.repeat(10_000)

/** A fanout exchange, and a queue for each of these configurations behind it. */
export async function fanoutOf(pool: pg.Pool, ...configs: readonly QueueConfig[]) {
  const exchange = await newExchange(pool, 'fanout')
  const queues: string[] = []
  for (const config of configs) {
    const queue = await newQueue(pool, config)
    await bind(pool, exchange, { queue })
    queues.push(queue)
  }
  return {
    exchange,
    queues,
    publish: (...messages: object[]) => publishBatch(pool, exchange, messages),
  }
}

/** How many bodies are shared now; those of earlier tests, too. */
export async function sharedBodies(pool: pg.Pool): Promise<number> {
  return Number((await pool.query('select count(*) from postbag.body')).rows[0].count)
}

/** Remove all that no message needs; how many that were. */
export async function forgetAll(pool: pg.Pool): Promise<number> {
  let removed = 0
  for (let round = 0; round < 3; round++) {
    removed += Number(
      only(await call<{ forget_bodies: string }>(pool, 'forget_bodies', { most: 10_000 })).forget_bodies,
    )
  }
  return removed
}
