/* A Worker whose database stands behind a pooler, as it does behind Hyperdrive: its connections are one per request, the database's few and
 * warm. What one request left in a session the next one finds there. */
import { startTransactionPooler } from '../support/transaction-pooler.ts'
import { type RunningWorker, startWorker, type WorkerOptions } from './workerd.ts'

/** As many as Hyperdrive opens for who pays nothing. https://developers.cloudflare.com/hyperdrive/platform/limits/ */
const mostSessions = 20

export async function startPooledWorker(
  entry: string,
  databaseUrl: string,
  options: WorkerOptions,
): Promise<RunningWorker> {
  const pooler = await startTransactionPooler(databaseUrl, { mostSessions })
  const worker = await startWorker(entry, pooler.url, options)
  return { ...worker, stop: () => worker.stop().finally(pooler.stop) }
}
