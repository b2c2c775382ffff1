/* Asking before messages of a queue are deleted, with their number in the question. */
import type { Queue } from '../../client/queue.ts'
import { confirm } from '../confirm.ts'
import { counted } from '../output.ts'

/** @param question given "12 messages", or "100,000 messages or more"
 * @throws Ending unless somebody says yes. */
export async function confirmLoss(queue: Queue, question: (messages: string) => string): Promise<void> {
  const { ready, leased, delayed, capped } = await queue.stats()
  await confirm(question(counted(ready + leased + delayed, 'message') + (capped ? ' or more' : '')))
}
