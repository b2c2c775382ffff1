/* graphile-worker: what its helpers say to the database, and its runner. Settings of throughput are those of its own performance test
 * (concurrency 24, local queue of 500, refetch delay 10 ms, completions batched without delay). */
import { Logger, makeWorkerUtils, run, runMigrations } from 'graphile-worker'
import pg from 'pg'
import { body, type SqlContender, unnamed } from './sql.ts'

const quiet = new Logger(() => () => {})
const task = 'bench'
const concurrency = 24

export async function installGraphileWorker(databaseUrl: string): Promise<void> {
  await runMigrations({ connectionString: databaseUrl, logger: quiet, taskList: {} })
}

const addJobs = unnamed(`select id from graphile_worker.add_jobs(
  array(select json_populate_recordset(null::graphile_worker.job_spec, $1::json)), false
)`)

/** The statement of `addJobs`, without the jobs coming back. */
export const graphileSend: SqlContender = {
  name: 'graphile-worker addJobs',
  open(client, batch) {
    const jobs = `[${new Array(batch).fill(`{"identifier":"${task}","payload":${body}}`).join(',')}]`
    return {
      async round() {
        await addJobs(client, [jobs])
        return batch
      },
    }
  },
}

/** `addJob` over a pool of so many connections. */
export async function graphileAddJob(databaseUrl: string, connections: number) {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: connections })
  const loudly = (error: Error) => console.error(error)
  pool.on('error', loudly).on('connect', (client) => client.on('error', loudly))
  const utils = await makeWorkerUtils({ pgPool: pool, logger: quiet })
  const payload = JSON.parse(body)
  return {
    async send() {
      await utils.addJob(task, payload)
      return 1
    },
    async stop() {
      await utils.release()
      await pool.end()
    },
  }
}

export interface GraphileOptions {
  /** 0: none, each job is fetched and completed by itself. */
  readonly localQueue: number
}

/** Run jobs with an empty handler until stopped. */
export async function consumeGraphile(databaseUrl: string, { localQueue }: GraphileOptions, handled: () => void) {
  const runner = await run({
    logger: quiet,
    noHandleSignals: true,
    taskList: { [task]: async () => handled() },
    preset: {
      worker: {
        connectionString: databaseUrl,
        concurrentJobs: concurrency,
        maxPoolSize: concurrency + 1,
        ...(localQueue > 0 && {
          localQueue: { size: localQueue, refetchDelay: { durationMs: 10 } },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        }),
      },
    },
  })
  return { stop: () => runner.stop() }
}

/** Whether jobs are left. */
export const graphileLeft = 'select exists (select from graphile_worker._private_jobs) as "isLeft"'
