/* Refuses a database behind a cache. Hyperdrive, unless that is switched off, answers from memory what looks like a read to it; it goes by
 * the text of the statement, and knows Postgres' own volatile functions by name. Our statements name one, so they are safe even then
 * (db/call.ts); but whoever runs a queue behind a cache has not meant to.
 *
 *  1. To find out, the same read is made twice: when the newest statement of this database server began. No two answers of Postgres are
 *     the same, for the reading statement is one of those it tells of; but its text names a view and max(), nothing that is volatile. So
 *     equal answers come from a cache, be it this reading's or that of another instance less than its lifetime ago.
 *  2. It is done before the first statement, once. What arrives meanwhile goes on (to wait for another request's I/O is not allowed on
 *     Workers). Once a cache was found, each statement asks anew, so that switching it off is enough to go on.
 *  3. Where the server does not note when statements begin (track_activities off), nothing can be told this way, and nothing is refused. */
import { QueueError } from '../errors.ts'
import type { Executor } from './call.ts'

const newestStatement = 'select max(query_start)::text as began from pg_catalog.pg_stat_activity'

/** Makes executors that refuse to work through a cache; what is found out counts for all of them. */
export function createCacheRefusal(): (executor: Executor) => Executor {
  let verdict: 'unknown' | 'asking' | 'uncached' | 'cached' = 'unknown'

  async function findOut(executor: Executor): Promise<void> {
    const before = verdict
    if (verdict === 'unknown') verdict = 'asking'
    try {
      const first = await read(executor)
      verdict = first !== null && first === (await read(executor)) ? 'cached' : 'uncached'
    } catch (error) {
      verdict = before
      throw error
    }
  }

  return (executor) => ({
    async query(text, values) {
      if (verdict === 'unknown' || verdict === 'cached') await findOut(executor)
      if (verdict === 'cached') throw new QueueError('internal', cached)
      return executor.query(text, values)
    },
  })
}

async function read(executor: Executor): Promise<string | null> {
  const { rows } = await executor.query(newestStatement, [])
  return (rows as { began: string | null }[])[0]?.began ?? null
}

const cached =
  'this server is not configured: something between it and the database answers reads from a cache. For Hyperdrive: ' +
  'npx wrangler hyperdrive update <id> --caching-disabled'
