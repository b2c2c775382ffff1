/* What a receiving command does with messages: lease them, write them, ack them or give them back.
 *
 * When it is stopped, a request for messages that is under way may come back for half a second more, because the server may just be
 * leasing some to us; then it is aborted. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Patience } from '../client/connection.ts'
import { defined } from '../client/effects.ts'
import { type NackOptions, settle } from '../client/settle.ts'
import type { ReceivedMessage, ReceiveRequest, ReceiveResponse } from '../wire.ts'
import { counted, write } from './output.ts'
import type { ReceiveOptions } from './receive.ts'
import { bodyBytes, messageLine, type Received, receivedOf } from './received.ts'
import { queuePath, type Server } from './server.ts'
import { after } from './signals.ts'

export type Batch = readonly Received<ReceivedMessage>[]

const graceMillis = 500

const pauseMillis = 1000

/** How long one try of a request may take, besides its wait. */
const timeoutSeconds = 30

export class Consumer {
  readonly stopping: AbortSignal
  /** Whether messages are to be acked when they are written. */
  readonly acks: boolean
  readonly #polling: AbortSignal
  readonly #server: Server
  readonly #queue: string
  readonly #options: ReceiveOptions

  constructor(server: Server, queue: string, options: ReceiveOptions, stopping: AbortSignal) {
    this.#server = server
    this.#queue = queue
    this.#options = options
    this.stopping = stopping
    this.acks = options.ack ?? false
    this.#polling = after(stopping, graceMillis)
  }

  /** Nothing if there is nothing, or if we are stopped meanwhile. */
  async lease(max: number, waitSeconds: number, patience: Patience = {}): Promise<Batch> {
    const { lease: leaseSeconds, autoAck } = this.#options
    const request: ReceiveRequest = { max, waitSeconds, ...defined({ leaseSeconds, autoAck }) }
    const asked = performance.now()
    try {
      const path = `${queuePath(this.#queue)}/receive`
      const { data, text } = await this.#server.exchange<ReceiveResponse>(path, JSON.stringify(request), {
        ...patience,
        signal: this.#polling,
        timeoutSeconds: timeoutSeconds + waitSeconds,
      })
      if (data.messages.length === 0) await this.#pauseIfEarly(asked, waitSeconds)
      return receivedOf(data.messages, text)
    } catch (error) {
      if (this.stopping.aborted) return []
      throw error
    }
  }

  /** Returns when standard output has taken them; if it does not, gives them back (those with --auto-ack are lost). */
  async write(batch: Batch): Promise<void> {
    const line = Buffer.from('\n')
    const lines = batch.flatMap((one) => [this.#options.body ? bodyBytes(one) : Buffer.from(messageLine(one)), line])
    try {
      await write(Buffer.concat(lines))
    } catch (error) {
      // Nothing failed that a retry policy is for: they are available again at once, and have not used an attempt.
      if (!this.#options.autoAck)
        await this.#settle('nack', batch, {}, { delaySeconds: 0, untried: true }).catch(() => {})
      throw error
    }
  }

  /** They are done. Says so if some were somebody else's by now. */
  async ack(batch: Batch, patience: Patience = {}): Promise<void> {
    const results = await this.#settle('ack', batch, patience)
    const lost = results.filter(({ outcome }) => outcome !== 'ok')
    if (lost.length === 0) return
    console.error(
      `${counted(lost.length, 'message')} could not be acked (${lost[0]?.outcome}): their lease had ended before they were ` +
        'written, and somebody else may have received them too. A longer --lease helps.',
    )
  }

  /** A server that is stopping, or a proxy, answers at once instead of waiting: asking again at once would be a busy loop. */
  async #pauseIfEarly(asked: number, waitSeconds: number): Promise<void> {
    const left = waitSeconds * 1000 - (performance.now() - asked)
    if (left > 0) await sleep(Math.min(left, pauseMillis), undefined, { signal: this.stopping })
  }

  #settle(verb: 'ack' | 'nack', batch: Batch, patience: Patience, request: NackOptions = {}) {
    const queue = { connection: this.#server.connection, path: queuePath(this.#queue), schema: undefined }
    return settle(queue, verb, { ...request, receipts: batch.map(({ message }) => message.receipt) }, patience)
  }
}
