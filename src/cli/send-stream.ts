/* postbag send from standard input: a message per line, in order, one batch after the other.
 *
 *  1. A batch goes out as soon as the one before is committed, with what has come in by then (batches.ts).
 *  2. Every message has a dedup id of ours, so a batch whose answer got lost is sent again without doubling anything. That costs a
 *     third of the speed (14,000 instead of 20,000 messages a second on two cores) and is worth it.
 *  3. A server that is away for a while is waited for (patience.ts).
 *  4. A bad line ends the command, and so does Ctrl-C. Whatever ends it, it says which lines were sent. */
import { QueueError } from '../errors.ts'
import { maxBatch, maxBodyBytes } from '../limits.ts'
import { batchesOf } from './batches.ts'
import { BadBody, messageJson, ndjsonBody, plainBody } from './body.ts'
import { Ending, exitCodes, sayingMore } from './exit.ts'
import { type Line, LineTooLong, linesOf } from './lines.ts'
import { counted, writeJson, writeLine } from './output.ts'
import { longPatience } from './patience.ts'
import { rate, showProgress } from './progress.ts'
import { messageOptions, type SendOptions } from './send.ts'
import { queuePath, type Server } from './server.ts'
import { stopSignal } from './signals.ts'

/** Far below the limit of a request, and larger ones are not faster. */
const maxBatchBytes = 2_097_152

/** Takes about half a minute. */
const mostTries = 12

/** A line as a message, ready to be sent. */
interface LineMessage {
  readonly number: number
  readonly json: string
}

const batchLimits = { maxItems: maxBatch, maxSize: maxBatchBytes, sizeOf: ({ json }: LineMessage) => json.length }

export async function sendStream(server: Server, queue: string, options: SendOptions): Promise<void> {
  const started = performance.now()
  const progress = showProgress('message')
  const stopping = stopSignal()
  const patience = longPatience(mostTries, stopping, progress.note)
  stopping.addEventListener('abort', () => process.stdin.destroy(new Ending(exitCodes.interrupted, 'interrupted')))
  let sent = 0
  let last = 0

  try {
    for await (const batch of batchesOf(messagesOf(process.stdin, options), batchLimits)) {
      const request = `{"messages":[${batch.map(({ json }) => json).join(',')}]}`
      await server.exchange(`${queuePath(queue)}/messages`, request, patience)
      patience.answered()
      sent += batch.length
      last = batch.at(-1)?.number ?? last
      progress.update(sent)
    }
    progress.clear()
    if (options.json) return await writeJson({ sent })
    const millis = performance.now() - started
    await writeLine(
      `Sent ${counted(sent, 'message')} to ${queue} in ${(millis / 1000).toFixed(1)} s (${rate(sent, millis)}).`,
    )
  } catch (error) {
    progress.clear()
    throw withCount(error, sent, last)
  } finally {
    process.stdin.destroy()
  }
}

/** Line after line as messages; empty lines of NDJSON are none. */
async function* messagesOf(
  input: AsyncIterable<Uint8Array>,
  options: SendOptions,
): AsyncGenerator<readonly LineMessage[]> {
  const run = crypto.randomUUID()
  const everyMessage = messageOptions(options)
  const toMessage = ({ number, bytes }: Line): LineMessage => {
    try {
      const body = options.lines ? plainBody(bytes) : ndjsonBody(bytes)
      return { number, json: messageJson(body, { ...everyMessage, dedupId: `${run}.${number}` }) }
    } catch (error) {
      throw error instanceof BadBody ? badLine(number, error.message) : error
    }
  }

  for await (const lines of linesOf(input, maxBodyBytes)) {
    const messages: LineMessage[] = []
    try {
      for (const line of lines) if (options.lines || !isBlank(line)) messages.push(toMessage(line))
    } finally {
      // Also when a bad line ends this: those before it.
      if (messages.length > 0) yield messages
    }
  }
}

function isBlank({ bytes }: Line): boolean {
  return bytes.every((byte) => byte === 32 || byte === 9 || byte === 13)
}

function badLine(number: number, problem: string): Ending {
  return new Ending(exitCodes.badInput, `line ${number} ${problem}`)
}

/** The same error, saying what had been sent before it. */
function withCount(thrown: unknown, sent: number, last: number): unknown {
  const error = thrown instanceof LineTooLong ? badLine(thrown.number, thrown.message) : thrown
  const count = sent === 0 ? 'No message was sent.' : `Sent before: ${counted(sent, 'message')}, up to line ${last}.`
  // (A connection that breaks may do so after the commit: the one to the server, and the server's own to its database.)
  const unsure = error instanceof QueueError && ['network_error', 'database_unavailable'].includes(error.code)
  return sayingMore(error, unsure ? `${count} What became of those after it is not known.` : count)
}
