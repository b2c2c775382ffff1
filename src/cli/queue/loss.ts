/* Asking before messages of a queue are deleted, with their number in the question. */
import type { Queue } from '../../client/queue.ts'
import { confirm } from '../confirm.ts'
import { counted } from '../output.ts'

/** @param question given "12 messages", or "1,000,000 messages or more"
 * @throws Ending unless somebody says yes. */
export async function confirmLoss(queue: Queue, question: (messages: string) => string): Promise<void> {
  const { ready, leased, delayed, blocked, dead, capped } = await queue.stats()
  const messages = ready + leased + delayed + blocked + dead
  await confirm(question(counted(messages, 'message') + (capped ? ' or more' : '')))
}
