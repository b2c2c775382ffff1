/* postbag receive --follow: batch after batch, until it is stopped.
 *
 *  1. A batch is acked beside the next request for messages.
 *  2. A server that was there once and is away now is tried again, with growing pauses, for ever. A server that never was there, and
 *     whatever will not pass (no such queue, a wrong token), ends the command.
 *  3. An ack that fails for good is said, not fatal: those messages are received again. */
import { maxWaitSeconds } from '../limits.ts'
import type { Consumer } from './consumer.ts'
import { sentenceOf } from './exit.ts'
import { counted } from './output.ts'
import { longPatience } from './patience.ts'

export async function follow(consumer: Consumer, max: number): Promise<void> {
  const { stopping } = consumer
  const patience = longPatience(Number.POSITIVE_INFINITY, stopping)
  let acking = Promise.resolve()
  if (process.stderr.isTTY) console.error('Waiting for messages. Ctrl-C stops.')

  while (!stopping.aborted) {
    const batch = await consumer.lease(max, maxWaitSeconds, patience)
    patience.answered()
    if (batch.length > 0) await consumer.write(batch)
    await acking
    if (batch.length > 0 && consumer.acks) acking = consumer.ack(batch, patience).catch(sayUnacked(batch.length))
  }
  await acking
}

function sayUnacked(count: number) {
  return (error: unknown): void => {
    console.error(`${counted(count, 'message')} could not be acked and will be received again: ${sentenceOf(error)}`)
  }
}
