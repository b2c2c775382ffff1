/* postbag/client: send and receive over HTTP from anywhere that has fetch.
 *
 *   const orders = createClient({ url: 'http://127.0.0.1:8787' }).queue('orders')
 *   await orders.create()
 *   await orders.send({ id: 1 })
 *   for await (const message of orders.consume()) console.log(message.body)
 *
 * client.ts and queue.ts are what callers see; send, receive, look, settle and redrive are the verbs; connection.ts is one request with its retries;
 * consume.ts keeps a consumer going, with leases.ts and settler.ts beside it. */
export { type ErrorCode, QueueError } from '../errors.ts'
export type {
  BindingInfo,
  BindRequest,
  DeadLetter,
  DeadLetterReason,
  Encoding,
  ExchangeConfig,
  ExchangeInfo,
  ExchangeType,
  MaintainResponse,
  MessageState,
  Origin,
  Outcome,
  PeekedMessage,
  PeekResponse,
  PolicyConfig,
  PolicyInfo,
  PolicySettings,
  Publication,
  QueueConfig,
  QueueInfo,
  QueueStats,
  RedriveRequest,
  RedriveResponse,
  RouteRequest,
  RouteResponse,
  RouteStep,
  SentMessage,
  Settlement,
  UnbindRequest,
} from '../wire.ts'
export { type Client, createClient, type ListOptions, type MaintainOptions } from './client.ts'
export type { CallOptions, ClientOptions } from './connection.ts'
export type { ConsumeOptions } from './consume.ts'
export type { Effects } from './effects.ts'
export type { BatchPublication, Exchange, PublishSettings } from './exchange.ts'
export type { HeldMessage } from './held.ts'
export type { PeekOptions } from './look.ts'
export type { Message } from './message.ts'
export type { Policy } from './policy.ts'
export type { Queue } from './queue.ts'
export type { ReceiveOptions } from './receive.ts'
export type { RedriveAllOptions, RedriveAllRequest } from './redrive.ts'
export type { Asking, ReplyOptions } from './reply.ts'
export type { FetchOptions, Reply, RequestOptions, SendRequestOptions } from './request.ts'
export type { InputOf, OutputOf, StandardSchema } from './schema.ts'
export type { BatchMessage, SendOptions } from './send.ts'
export type { ExtendOptions, NackOptions } from './settle.ts'
