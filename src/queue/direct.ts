/* Postbag over a database handle, with no HTTP in between: the same verbs as the client, in the handle's own transaction.
 *
 *   await db.transaction().execute(async (trx) => {
 *     await trx.insertInto('order').values(order).execute()
 *     await postbag({ executor: trx }).queue('orders').send({ id: order.id })
 *   })
 *
 * The message exists exactly if the transaction commits. */
import { type Clock, databaseClock } from '../clock.ts'
import { type DatabaseHandle, executorOf } from '../db/connect.ts'
import type {
  ExtendRequest,
  MaintainRequest,
  MaintainResponse,
  MessageOptions,
  NackRequest,
  PeekedMessage,
  PeekRequest,
  PeekResponse,
  PolicyConfig,
  PolicyInfo,
  QueueConfig,
  QueueInfo,
  QueueListResponse,
  QueueStats,
  ReceivedMessage,
  ReceiveRequest,
  RedriveRequest,
  RedriveResponse,
  Reply,
  ReplyOptions,
  ReplyOutcome,
  SentMessage,
  SentRequest,
  Settlement,
} from '../wire.ts'
import { inbox } from './inbox.ts'
import { getMessage, peek, queueStats } from './look.ts'
import { maintain } from './maintain.ts'
import { bodyOf, contentOf, type Raw } from './message.ts'
import { deletePolicy, describePolicy, listPolicies, setPolicy } from './policies.ts'
import { createQueue, deleteQueue, describeQueue, listQueues, pauseQueue, purgeQueue, resumeQueue } from './queues.ts'
import { receive } from './receive.ts'
import { redrive } from './redrive.ts'
import { fetchReply, reply, request } from './request.ts'
import { send } from './send.ts'
import { ack, extend, nack } from './settle.ts'

export interface PostbagOptions {
  /** A `pg` client or pool, a Kysely instance or transaction, or anything with pg's `query(text, values)`; other libraries' transactions
   * through `fromDrizzle`, `fromKnex`, `fromMikroOrm`, `fromPostgresJs`, `fromPrisma`, `fromTypeOrm`. */
  readonly executor: DatabaseHandle
  /** For tests: the time to use instead of the database's. */
  readonly clock?: Clock
}

/** A message to send: a string with encoding "text" is text, a Uint8Array bytes, anything else JSON. */
export type DirectMessage = MessageOptions & { readonly body: unknown; readonly encoding?: 'json' | 'text' }

export type DirectRequestOptions = Omit<MessageOptions, 'replyTo'> & {
  readonly encoding?: 'json' | 'text'
  readonly keepSeconds?: number
}

/** What a reply needs of the message that asks. */
export type Asking = Pick<ReceivedMessage, 'id' | 'replyTo' | 'correlationId'> & { readonly receipt?: string }

/** One queue, over the handle. Every method may throw a QueueError; the database's other errors pass through as they are. */
export interface DirectQueue {
  /** Create it, or replace its configuration. */
  create(config?: QueueConfig): Promise<QueueInfo>
  info(): Promise<QueueInfo>
  /** Delete it and all its messages; how many there were. */
  delete(): Promise<number>
  send(body: unknown, options?: MessageOptions & { readonly encoding?: 'json' | 'text' }): Promise<SentMessage>
  /** 1 – 1000 messages, all or none. */
  sendBatch(messages: readonly DirectMessage[]): Promise<readonly SentMessage[]>
  /** What is available now; never waits. */
  receive(request?: Omit<ReceiveRequest, 'waitSeconds' | 'acks'>): Promise<readonly ReceivedMessage[]>
  ack(receipts: readonly string[]): Promise<readonly Settlement[]>
  nack(receipts: readonly string[], options?: Omit<NackRequest, 'receipts'>): Promise<readonly Settlement[]>
  extend(receipts: readonly string[], options?: Omit<ExtendRequest, 'receipts'>): Promise<readonly Settlement[]>
  /** Send one message that asks for a reply, which may be fetched within keepSeconds (1 – 604800, defaults to 3600), once all is committed. */
  request(body: unknown, options?: DirectRequestOptions): Promise<SentRequest>
  /** The reply to a request, by the request's `id`; undefined while there is none. Never waits. */
  fetchReply(id: string): Promise<Reply | undefined>
  /** Reply to a request, and ack it if it has a receipt. */
  reply(
    message: Asking,
    body: unknown,
    options?: ReplyOptions & { readonly encoding?: 'json' | 'text' },
  ): Promise<ReplyOutcome>
  /** Look at messages without taking them, in the order they were sent, a page at a time. */
  peek(request?: PeekRequest): Promise<PeekResponse>
  /** Look at one message. */
  get(id: string): Promise<PeekedMessage>
  /** Delete all its messages; how many there were. */
  purge(): Promise<number>
  stats(): Promise<QueueStats>
  /** Hand out nothing any more, until it is resumed. */
  pause(): Promise<QueueInfo>
  resume(): Promise<QueueInfo>
  /** Bring dead letters back, at most 1000 in one call. */
  redrive(request?: RedriveRequest): Promise<RedriveResponse>
}

/** One policy, over the handle. */
export interface DirectPolicy {
  /** Create it, or replace all of it. */
  set(config: PolicyConfig): Promise<PolicyInfo>
  info(): Promise<PolicyInfo>
  /** Delete it; how many queues it matched. */
  delete(): Promise<number>
}

export interface Direct {
  queue(name: string): DirectQueue
  policy(name: string): DirectPolicy
  /** All policies, the most specific first. */
  policies(): Promise<readonly PolicyInfo[]>
  /** Queues by name, a page at a time. */
  queues(options?: {
    readonly prefix?: string
    readonly after?: string
    readonly max?: number
  }): Promise<QueueListResponse>
  /** Clear away what is over, in all queues. */
  maintain(request?: MaintainRequest): Promise<MaintainResponse>
  /** True the first time that this consumer asks with this id (for 7 days), false from then on: in the transaction of the work, a message
   * that is delivered twice takes effect once. */
  inbox(consumer: string, messageId: string): Promise<boolean>
}

/** Postbag over a database handle. */
export function postbag({ executor: handle, clock = databaseClock }: PostbagOptions): Direct {
  const executor = executorOf(handle)
  const terms = { clock }
  return {
    policy: (name) => ({
      set: async (config) => (await setPolicy(executor, name, config, clock)).info,
      info: () => describePolicy(executor, name),
      delete: () => deletePolicy(executor, name, clock),
    }),
    policies: async () => (await listPolicies(executor)).policies,
    queues: (options) => listQueues(executor, options),
    maintain: (request) => maintain(executor, request, clock),
    inbox: (consumer, messageId) => inbox(executor, consumer, messageId, clock),
    queue: (name) => {
      const sendBatch = async (messages: readonly DirectMessage[]) =>
        send(
          executor,
          name,
          messages.map(({ body, encoding, ...options }) => ({ ...options, ...contentOf(body, encoding) })),
          terms,
        )
      return {
        create: async (config) => (await createQueue(executor, name, config)).info,
        info: () => describeQueue(executor, name),
        delete: () => deleteQueue(executor, name),
        send: async (body, options) => {
          const [sent] = await sendBatch([{ ...options, body }])
          return sent as SentMessage
        },
        sendBatch,
        receive: async (request) => (await receive(executor, name, request, terms)).map(parsed),
        ack: (receipts) => ack(executor, name, { receipts }, terms),
        nack: (receipts, options) => nack(executor, name, { receipts, ...options }, terms),
        extend: (receipts, options) => extend(executor, name, { receipts, ...options }, terms),
        request: async (body, { encoding, keepSeconds, ...options } = {}) =>
          request(executor, name, { ...options, ...contentOf(body, encoding) }, keepSeconds, terms),
        fetchReply: async (id) => {
          const { reply } = await fetchReply(executor, name, id, terms)
          return reply && { ...reply, body: bodyOf(reply) }
        },
        reply: async (message, body, { encoding, ...options } = {}) => {
          const { id, replyTo = '', correlationId = id, receipt } = message
          const replied = {
            correlationId,
            ...options,
            ...contentOf(body, encoding),
            replyTo,
            ...(receipt && { receipt }),
          }
          return (await reply(executor, name, replied, terms)).outcome
        },
        peek: async (request) => {
          const page = await peek(executor, name, request, clock)
          return { ...page, messages: page.messages.map(parsed) }
        },
        get: async (id) => parsed(await getMessage(executor, name, id, clock)),
        purge: () => purgeQueue(executor, name),
        stats: () => queueStats(executor, name, clock),
        pause: () => pauseQueue(executor, name, clock),
        resume: () => resumeQueue(executor, name, clock),
        redrive: (request) => redrive(executor, name, request, clock),
      }
    },
  }
}

function parsed<Message extends ReceivedMessage | PeekedMessage>(message: Raw<Message>): Message {
  return { ...message, body: bodyOf(message) } as Message
}
