/* A send that a full queue refuses. */
import type { Executor } from '../db/call.ts'
import { QueueError } from '../errors.ts'
import { queueStats } from '../queue/look.ts'

/** What `work` brings. If the queue was full: the count that a refusal rests on is undone with it. Count once more and keep that, so that the
 * next refusals need none. */
export async function keepingCount<Result>(executor: Executor, queue: string, work: Promise<Result>): Promise<Result> {
  return work.catch(async (error) => {
    if (error instanceof QueueError && error.code === 'queue_full') await queueStats(executor, queue)
    throw error
  })
}
