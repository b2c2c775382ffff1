/* Changing tables beside traffic. Whoever changes a table waits for all who use it, and who comes after waits behind: beside one long query
 * everybody would stand still, and of two who wait for each other Postgres ends one. So a change gives way: it waits for a lock for less time
 * than Postgres takes to look for a deadlock, then takes everything back, lets the others through, and begins anew. */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { QueueError } from '../errors.ts'
import { borrow } from './borrow.ts'

/** How long a change waits for one lock: half of Postgres' own deadlock_timeout, so that it is not traffic that is ended. */
const lockTimeout = '500ms'

/** How long the others get until the next try, in milliseconds. */
const pauseMillis = 500

/** After how long it is given up, in milliseconds. */
const longestMillis = 120_000

/** For a statement that may take long, whatever the pool says of its answers: as long as a timer can be. */
export const unhurried = { query_timeout: 2 ** 31 - 1 }

/** A lock was not to be had in time, or there was a deadlock all the same. */
const inTheWay = /^(55P03|40P01)$/

/** Those who hold something in the schema, the longest transaction first. */
const holders = `
  select pid, application_name, extract(epoch from clock_timestamp() - xact_start)::integer as seconds
  from pg_locks
  join pg_stat_activity using (pid)
  join pg_class on pg_class.oid = relation and relnamespace = to_regnamespace('postbag')
  where pg_locks.database = (select oid from pg_database where datname = current_database())
    and pid <> pg_backend_pid()
  order by xact_start
  limit 1`

/** Run a change in a transaction, again until nothing is in its way.
 * @param lock held by the transaction, and waited for however long: an advisory lock's number
 * @param patience in milliseconds
 * @throws QueueError database_unavailable if something was in the way for all that time: nothing is changed, and it says who that is */
export async function givingWay<T>(
  pool: pg.Pool,
  lock: bigint,
  change: (client: pg.ClientBase) => Promise<T>,
  patience = longestMillis,
): Promise<T> {
  const { client, giveBack } = await borrow(pool)
  let isStuck = false
  try {
    for (const end = performance.now() + patience; ; await sleep(pauseMillis)) {
      try {
        return await inTransaction(client, lock, change)
      } catch (error) {
        isStuck = !(await isRolledBack(client))
        if (isStuck || !inTheWay.test((error as { code?: string }).code ?? '')) throw error
        if (performance.now() > end) throw await blocked(client, patience, error)
      }
    }
  } finally {
    // (Whoever got it next would go on in this transaction, and lose what he does.)
    giveBack(isStuck)
  }
}

async function inTransaction<T>(
  client: pg.ClientBase,
  lock: bigint,
  change: (client: pg.ClientBase) => Promise<T>,
): Promise<T> {
  await client.query('begin')
  await client.query('set local statement_timeout = 0')
  await client.query({ text: 'select pg_advisory_xact_lock($1)', values: [lock.toString()], ...unhurried })
  await client.query(`set local lock_timeout = '${lockTimeout}'`)
  const result = await change(client)
  await client.query('commit')
  return result
}

/** Whether it could be: not if the connection is lost, or still at work on what was given up. */
function isRolledBack(client: pg.ClientBase): Promise<boolean> {
  return client.query('rollback').then(
    () => true,
    () => false,
  )
}

async function blocked(client: pg.ClientBase, patience: number, cause: unknown): Promise<QueueError> {
  const { rows } = await client.query<{ pid: number; application_name: string; seconds: number }>(holders)
  const [holder] = rows
  const who = holder
    ? `process ${holder.pid} (${holder.application_name || 'without a name'}) for ${holder.seconds} s`
    : 'somebody who is gone now'
  return new QueueError(
    'database_unavailable',
    `the tables of Postbag must be free for a moment, but were in use for ${patience / 1000} s, by ${who}: ` +
      'nothing was changed, try again when that transaction has ended',
    { cause },
  )
}
