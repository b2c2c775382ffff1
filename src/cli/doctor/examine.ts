/* An examination: each topic in turn, on one connection.
 *
 *  1. It changes nothing: every statement runs in a transaction that may only read, for 5 seconds at most, and waits for no lock longer
 *     than that.
 *  2. A topic asks one statement, whatever the number of queues (the clock: a tiny one, five times).
 *  3. What cannot be seen is said: a right that is missing, a statement that took too long. Only what the schema's own topic
 *     has said already (there is no Postbag here) is not said again. */
import type pg from 'pg'
import { borrow } from '../../db/borrow.ts'
import { asQueueError } from '../../db/call.ts'
import { QueueError } from '../../errors.ts'
import { clock } from './clock.ts'
import { connections } from './connections.ts'
import { type Finding, hint, type Patient, type Remark, type Topic, warning } from './finding.ts'
import { horizon } from './horizon.ts'
import { listen } from './listen.ts'
import { locks } from './locks.ts'
import { numbers } from './numbers.ts'
import { queues } from './queues.ts'
import { schema } from './schema.ts'
import { settings } from './settings.ts'
import { tables } from './tables.ts'
import { volatileQueues } from './volatile.ts'

const topics: readonly Topic[] = [
  settings,
  schema,
  horizon,
  tables,
  locks,
  queues,
  volatileQueues,
  numbers,
  connections,
  listen,
  clock,
]

/** The longest name, for columns. */
export const topicWidth = Math.max(...topics.map(({ name }) => name.length))

export interface ExamineOptions {
  readonly directUrl?: string | undefined
  readonly maxConnections?: number
  /** For tests. */
  readonly now?: Date
  readonly machineTime?: () => number
  readonly notifyMillis?: number
}

/** Look at everything; findings come as they are made, at least one for each topic that could be looked at.
 * @throws QueueError database_unavailable. */
export async function* examine(pool: pg.Pool, options: ExamineOptions = {}): AsyncGenerator<Finding> {
  const { client, giveBack } = await borrow(pool)
  try {
    const patient: Patient = {
      ask: (text, values) => askReadOnly(client, text, values),
      askBriefly: async (text, values = []) => (await client.query(text, [...values])).rows,
      now: options.now,
      machineTime: options.machineTime ?? Date.now,
      databaseUrl: pool.options.connectionString ?? '',
      directUrl: options.directUrl,
      notifyMillis: options.notifyMillis ?? 2000,
      maxConnections: options.maxConnections ?? 10,
    }
    for (const topic of topics) {
      const remarks = await topic.look(patient).catch(whyNot)
      for (const remark of remarks) yield { topic: topic.name, ...remark }
    }
  } finally {
    giveBack()
  }
}

/** The statistics of a nearly empty table make the planner walk it, which is no good when it has grown: so indexes only. */
const begin = `begin read only;
set local statement_timeout = '5s';
set local lock_timeout = '5s';
set local enable_seqscan = off;
set local enable_bitmapscan = off;
set local jit = off`

async function askReadOnly<Row>(client: pg.PoolClient, text: string, values: readonly unknown[] = []): Promise<Row[]> {
  await client.query(begin)
  try {
    const { rows } = await client.query(text, [...values])
    return rows as Row[]
  } finally {
    // Of a transaction that failed it is a rollback.
    await client.query('commit').catch(() => {})
  }
}

/** What an error of a topic says about the database. */
function whyNot(error: unknown): readonly Remark[] {
  const { code = '', message } = error as Error & { code?: string }
  switch (code) {
    case '42501':
      return [hint(`Could not look: ${message}.`, 'Ask as the owner of the schema, or grant the right.')]
    case '57014':
    case '55P03':
      return [
        warning('Could not look: it took longer than 5 s.', 'See what the horizon, tables and locks are said to be.'),
      ]
    case '3F000':
    case '42P01':
      return []
  }
  const known = asQueueError(error)
  // (One that takes no writes can be looked at all the same.)
  if (code !== '25006' && known instanceof QueueError && known.code === 'database_unavailable') throw known
  return [warning(`Could not look: ${message}.`, 'See what the schema and the settings are said to be.')]
}
