/* A queue as the client sees it: one method per verb. Every method may throw a QueueError (its `code` is one of ErrorCode) and the reason of
 * the signal it was given. */
import type {
  PeekedMessage,
  PeekResponse,
  QueueConfig,
  QueueInfo,
  QueueStats,
  RedriveRequest,
  RedriveResponse,
  SentMessage,
  Settlement,
} from '../wire.ts'
import type { CallOptions, Connection, Method } from './connection.ts'
import { type ConsumeOptions, consume } from './consume.ts'
import type { Given } from './effects.ts'
import type { HeldMessage } from './held.ts'
import { iterate } from './iterate.ts'
import { get, type PeekOptions, peek } from './look.ts'
import { type Message, toMessage } from './message.ts'
import { pathTo } from './path.ts'
import { type ReceiveOptions, receive } from './receive.ts'
import { type RedriveAllOptions, type RedriveAllRequest, redriveAll } from './redrive.ts'
import type { RemoteQueue } from './remote.ts'
import { type Asking, type ReplyOptions, reply } from './reply.ts'
import {
  type FetchOptions,
  fetchReply,
  type Reply,
  type RequestOptions,
  request,
  type SendRequestOptions,
  sendRequest,
} from './request.ts'
import type { StandardSchema } from './schema.ts'
import { type BatchMessage, type SendOptions, send } from './send.ts'
import { type ExtendOptions, type NackOptions, settle, settleOne } from './settle.ts'

/** `Input` is what may be sent, `Output` what is received: both unknown without a schema. */
export class Queue<Input = unknown, Output = Input> {
  readonly name: string
  readonly #remote: RemoteQueue

  constructor(connection: Connection, name: string, schema?: StandardSchema) {
    this.name = name
    this.#remote = { connection, path: pathTo('queues', name), schema }
  }

  /** Create the queue, or replace its configuration: what is not given gets its default. */
  create(config: Given<QueueConfig> = {}, options?: CallOptions): Promise<QueueInfo> {
    return this.#call('PUT', '', config, options)
  }

  /** The queue's configuration. Throws `queue_not_found` if there is none. */
  info(options?: CallOptions): Promise<QueueInfo> {
    return this.#call('GET', '', undefined, options)
  }

  /** Delete the queue and all its messages; how many there were. Throws `queue_not_found` if there is none, also when a first try deleted
   * it and the answer got lost. */
  async delete(options?: CallOptions): Promise<number> {
    return (await this.#call<{ deletedMessages: number }>('DELETE', '', undefined, options)).deletedMessages
  }

  /** Delete all messages, leased and delayed ones too; how many there were. After a lost answer that is what the next try found. */
  async purge(options?: CallOptions): Promise<number> {
    return (await this.#call<{ purgedMessages: number }>('POST', '/purge', {}, options)).purgedMessages
  }

  /** How many messages are in which state, and how fast they come and go. May be asked often: counts of a large queue are some seconds
   * old then, as `countedAt` says. */
  stats(options?: CallOptions): Promise<QueueStats> {
    return this.#call('GET', '/stats', undefined, options)
  }

  /** Hand out nothing until `resume()`. Sends go on, and what is leased can be settled. */
  pause(options?: CallOptions): Promise<QueueInfo> {
    return this.#call('POST', '/pause', {}, options)
  }

  /** Hand out messages again. */
  resume(options?: CallOptions): Promise<QueueInfo> {
    return this.#call('POST', '/resume', {}, options)
  }

  /** Bring up to 1000 dead letters back; all that fit the request, if it is called again with `next` as `after` until there is none. After a
   * lost answer the count is what the next try found. */
  redrive(request: Given<RedriveRequest> = {}, options?: CallOptions): Promise<RedriveResponse> {
    return this.#call('POST', '/redrive', request, options)
  }

  /** Bring dead letters back, call after call, until there are no more, or `max`; how many it were. `ratePerSecond` is kept over all
   * calls. */
  redriveAll(request: RedriveAllRequest = {}, options: RedriveAllOptions = {}): Promise<number> {
    return redriveAll(this.#remote, request, options)
  }

  /** Send one message: any JSON value, a string as plain text with `encoding: 'text'`, or bytes as a Uint8Array, an
   * ArrayBuffer or what looks into one; up to 1 MiB. Throws `request_invalid` for undefined, NaN, a bigint, a Map, a Set and a Promise; inside
   * of a body these are what JSON.stringify makes of them. When this resolves, the message is committed. Retries send it once, as long as
   * the queue's dedup window is not 0. */
  async send(body: Input, { signal, ...message }: SendOptions = {}): Promise<SentMessage> {
    const [sent] = await this.sendBatch([{ ...message, body }], { signal })
    return sent as SentMessage
  }

  /** Send 1 – 1000 messages of together up to 16 MiB, all or none, in one request. The results are in the order of the messages. */
  sendBatch(messages: readonly BatchMessage<Input>[], options: CallOptions = {}): Promise<readonly SentMessage[]> {
    return send(this.#remote, messages, options)
  }

  /** Send one message that asks for a reply, and wait for it, `timeoutSeconds` at most (0 – 604800, defaults to 20). Throws `reply_overdue` if
   * nobody has replied by then; its cause is `{ id }`, for fetchReply, within `keepSeconds` (defaults to 3600, or the time-out if that is
   * longer). A server that is away is asked again until the time is over (one that never answered, for 4 minutes; with `retries: 0` not at
   * all), and what is thrown all the same has `{ id, dedupId, cause }` as its cause. If no answer ever came there is no id: sendRequest
   * with that dedupId gives it, and sends what did not arrive. Retries send it once, as long as they come within the queue's dedup window. */
  request<Answer = unknown>(body: Input, options: RequestOptions<Answer> = {}): Promise<Reply<Answer>> {
    return request(this.#remote, body, options)
  }

  /** Send one message that asks for a reply, and wait for none: `fetchReply(id)` gets it, later and from anywhere. Kept for `keepSeconds`
   * (defaults to 3600) from now on. Who knows the id may fetch it. Retries send it once, as long as the queue's dedup window is not 0. */
  async sendRequest(
    body: Input,
    options: SendRequestOptions = {},
  ): Promise<{ readonly id: string; readonly messageId: string }> {
    const { id, messageId } = await sendRequest(this.#remote, body, options)
    return { id, messageId }
  }

  /** The reply to a request, by the request's id; undefined if there is none within `timeoutSeconds` (defaults to 0). Throws
   * `reply_not_found` if its time is over. */
  fetchReply<Answer = unknown>(id: string, options: FetchOptions<Answer> = {}): Promise<Reply<Answer> | undefined> {
    return fetchReply(this.#remote, id, options)
  }

  /** Reply to a message of this queue, and ack it in the same step if it has a receipt: as `message.reply(body)` does. */
  reply(message: Asking | Message, body: unknown, options: ReplyOptions = {}): Promise<void> {
    return 'reply' in message ? message.reply(body, options) : reply(this.#remote, message, body, options)
  }

  /** Lease messages: at most `max` (1 – 1000, defaults to 1), waiting up to `waitSeconds` (0 – 20, defaults to 0) if there are none.
   * Settle each with its ack or nack. Aborting while it waits may lose a message for the time of a lease: what the server was just
   * leasing comes back only when that ends. */
  async receive({ signal, ...request }: ReceiveOptions = {}): Promise<readonly Message<Output>[]> {
    const { deliveries } = await receive(this.#remote, request, { signal })
    return deliveries.map((delivery) =>
      toMessage<Output>(
        delivery,
        (verb, more, options) => settleOne(this.#remote, verb, delivery, more, options),
        (body, options) => reply(this.#remote, delivery, body, options),
      ),
    )
  }

  /** Look at messages without taking them, in the order they were sent, a page at a time: all, or those that fit every filter. Bodies are
   * decoded, but not checked. A page may be empty and have a next one. */
  peek(options: PeekOptions = {}): Promise<PeekResponse> {
    return peek(this.#remote, options)
  }

  /** Look at one message without taking it. Throws `message_not_found` if it is not there (any more). */
  get(id: string, options: CallOptions = {}): Promise<PeekedMessage> {
    return get(this.#remote, id, options)
  }

  /** Done: delete the messages of 1 – 1000 receipts. The results, in their order, say of each whether it was ours. */
  ack(receipts: readonly string[], options: CallOptions = {}): Promise<readonly Settlement[]> {
    return settle(this.#remote, 'ack', { receipts }, options)
  }

  /** Give back the messages of 1 – 1000 receipts, after `delaySeconds` or what the queue's retry policy says; or, with `deadLetter`, make
   * them dead letters; with `untried`, this attempt does not count. Results as for ack. */
  nack(receipts: readonly string[], { signal, ...request }: NackOptions = {}): Promise<readonly Settlement[]> {
    return settle(this.#remote, 'nack', { ...request, receipts }, { signal })
  }

  /** Keep the messages of 1 – 1000 receipts, from now on for `leaseSeconds` (0 – 43200, defaults to the queue's). Results as for ack. */
  extend(receipts: readonly string[], { signal, ...request }: ExtendOptions = {}): Promise<readonly Settlement[]> {
    return settle(this.#remote, 'extend', { ...request, receipts }, { signal })
  }

  /** Receive and handle messages until `signal` aborts, with their leases kept meanwhile.
   *
   * As a loop, a message is acked when the loop asks for the next one. Leaving the loop (break, return, an exception) gives the
   * current one back at once, unless its ack() was called, and waits until all is settled; an iterator cannot see why it was left, so the
   * exception does not reach lastError, the attempt does not count, and the whole loop ends. The order of a group is kept by the loop's
   * body: it must be done with a message, not leave work running, when it asks for the next. */
  consume(options?: ConsumeOptions<Output>): AsyncIterableIterator<HeldMessage<Output>>
  /** With a handler, `concurrency` of them run side by side, messages of one group in their order. A message is acked when its handler resolves and nacked with the error's text
   * when it throws, unless the handler called ack(), nack() or reject() itself. When it comes back is up to the queue's retry policy
   * (retryDelaySeconds, maxAttempts …) or the option `retryDelaySeconds`. Resolves after a graceful stop; rejects with an error that
   * trying again will not heal, such as `token_expired` or `queue_not_found`. */
  consume(options: ConsumeOptions<Output>, handler: (message: HeldMessage<Output>) => unknown): Promise<void>
  consume(
    options: ConsumeOptions<Output> = {},
    handler?: (message: HeldMessage<Output>) => unknown,
  ): AsyncIterableIterator<HeldMessage<Output>> | Promise<void> {
    return handler ? consume(this.#remote, options, (message) => handler(message)) : iterate(this.#remote, options)
  }

  async #call<Data>(method: Method, path: string, body: unknown, options?: CallOptions): Promise<Data> {
    const { connection, path: queue } = this.#remote
    return (await connection.call<Data>(method, queue + path, body, options)).data
  }
}
