/* pg-boss: its insert, send, fetch and complete over given connections, and its worker, which goes on without a pause while batches come
 * back full. Everything else is left at its defaults. */
import type pg from 'pg'
import { type JobInsert, PgBoss } from 'pg-boss'
import { body, type SqlContender } from './sql.ts'

const queue = 'bench'
const data = JSON.parse(body)

export async function startPgBoss(databaseUrl: string, connections = 10): Promise<PgBoss> {
  const boss = new PgBoss({ connectionString: databaseUrl, max: connections, schedule: false })
  boss.on('error', (error) => console.error(error))
  await boss.start()
  await boss.createQueue(queue)
  return boss
}

/** Its calls run on the connection they are given, as in a caller's transaction. */
function on(client: pg.Client) {
  return { db: { executeSql: (text: string, values?: unknown[]) => client.query(text, values) } }
}

export function pgBossSend(boss: PgBoss): SqlContender {
  return {
    name: 'pg-boss insert',
    open(client, batch) {
      const jobs: JobInsert[] = Array.from({ length: batch }, () => ({ data }))
      const options = on(client)
      return {
        async round() {
          await boss.insert(queue, jobs, options)
          return batch
        },
      }
    },
  }
}

export function pgBossDrain(boss: PgBoss): SqlContender {
  return {
    name: 'pg-boss fetch, complete',
    open: (client, batch) => ({ round: () => fetchAndComplete(boss, client, batch) }),
  }
}

export function pgBossCycle(boss: PgBoss): SqlContender {
  return {
    name: 'pg-boss',
    open(client, batch) {
      const sending = pgBossSend(boss).open(client, batch)
      return {
        async round() {
          await sending.round()
          return fetchAndComplete(boss, client, batch)
        },
      }
    },
  }
}

async function fetchAndComplete(boss: PgBoss, client: pg.Client, batch: number): Promise<number> {
  const options = on(client)
  const jobs = await boss.fetch(queue, { batchSize: batch, ...options })
  if (jobs.length === 0) return 0
  await boss.complete(
    queue,
    jobs.map(({ id }) => id),
    null,
    options,
  )
  return jobs.length
}

/** `send`, over the pool of this instance. */
export async function pgBossSendOne(boss: PgBoss): Promise<number> {
  await boss.send(queue, data)
  return 1
}

export interface PgBossOptions {
  readonly batch: number
  readonly workers: number
}

/** Work with an empty handler until stopped. */
export async function consumePgBoss(databaseUrl: string, { batch, workers }: PgBossOptions, handled: () => void) {
  const boss = await startPgBoss(databaseUrl)
  const options = { batchSize: batch, localConcurrency: workers, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }
  await boss.work(queue, options, async (jobs) => {
    for (const _ of jobs) handled()
  })
  return { stop: () => boss.stop({ graceful: true }) }
}

/** Whether jobs are left. */
export const pgBossLeft = `select exists (select from pgboss.job where name = '${queue}' and state < 'completed') as "isLeft"`
