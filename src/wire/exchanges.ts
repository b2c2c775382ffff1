/* Exchanges: declared, bound, published to, explained, imported. */
import type { Content, MessageOptions } from './messages.ts'
import type { PolicyConfig, QueueConfig } from './queues.ts'

/** How an exchange decides where a message goes: by the very routing key; by a pattern of words that are divided by dots, where `*` is one
 * word and `#` any number of them; everywhere; by headers; or to one binding, always the same for a routing key. */
export type ExchangeType = 'direct' | 'topic' | 'fanout' | 'headers' | 'hash'

/** PUT declares an exchange; one that is there must be just so. */
export interface ExchangeConfig {
  /** Defaults to "direct". */
  readonly type?: ExchangeType
  /** The exchange that gets what fits no binding; may be declared later. Defaults to none. */
  readonly alternate?: string
}

export interface ExchangeInfo {
  readonly name: string
  readonly type: ExchangeType
  readonly alternate?: string
  readonly createdAt: string
}

export interface ExchangeListResponse {
  readonly exchanges: readonly ExchangeInfo[]
  /** Pass as `after` for the next page; missing on the last one. */
  readonly next?: string
}

/** Where a binding leads: exactly one of the two. */
export type BindingTarget =
  | { readonly queue: string; readonly exchange?: never }
  | { readonly exchange: string; readonly queue?: never }

/** What a binding asks for. */
export interface BindingCondition {
  /** Of a direct exchange: the key; of a topic exchange: the pattern. Up to 255 characters. Defaults to "". */
  readonly routingKey?: string
  /** Of a headers exchange: strings by name, or null where any value will do; up to 32. */
  readonly headers?: Readonly<Record<string, string | null>>
  /** Of a headers exchange: whether all of them must fit, or any. Defaults to "all". */
  readonly match?: 'all' | 'any'
}

/** PUT binds; bound again, a hash exchange's binding has the new weight. */
export type BindRequest = BindingTarget &
  BindingCondition & {
    /** Of a hash exchange: the share of the routing keys, 1 – 100. Defaults to 1. */
    readonly weight?: number
  }

/** DELETE undoes the bind that said the same. */
export type UnbindRequest = BindingTarget & BindingCondition

export interface BindResponse {
  /** False if it was so before. */
  readonly changed: boolean
}

export interface BindingInfo extends Omit<BindingCondition, 'routingKey'> {
  readonly id: string
  readonly routingKey: string
  /** The exchange it is a binding of. */
  readonly source: string
  readonly queue?: string
  readonly exchange?: string
  readonly weight?: number
  readonly createdAt: string
}

export interface BindingListResponse {
  readonly bindings: readonly BindingInfo[]
  readonly next?: string
}

/** What may be said of a published message. */
export interface PublishOptions extends MessageOptions {
  /** Up to 255 characters. Defaults to "". */
  readonly routingKey?: string
}

export type PublishedMessage = Content & PublishOptions

/** What became of one message of a publish. */
export interface Publication {
  /** How many queues it reached. */
  readonly queues: number
}

export interface PublishResponse {
  /** In the order of the request. */
  readonly messages: readonly Publication[]
}

/** A message that is not sent, to see where it would go. */
export interface RouteRequest {
  readonly routingKey?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** A binding that fits, or the turn to an alternate exchange. */
export interface RouteStep extends BindingCondition {
  /** Where the message is. */
  readonly source: string
  readonly type: ExchangeType
  readonly weight?: number
  /** Where it goes from there. */
  readonly queue?: string
  readonly exchange?: string
  /** True if no binding fits there, and this is its alternate exchange. */
  readonly alternate: boolean
}

export interface RouteResponse {
  /** The queues that it would reach, each once. */
  readonly queues: readonly string[]
  /** How it gets there. */
  readonly steps: readonly RouteStep[]
}

/** What is to be there. What a queue does not say is as a PUT has it. */
export interface Definitions {
  readonly exchanges?: readonly (ExchangeConfig & { readonly name: string })[]
  /** They may be each other's dead-letter queues, in any order. */
  readonly queues?: readonly (QueueConfig & { readonly name: string })[]
  readonly policies?: readonly (PolicyConfig & { readonly name: string })[]
  readonly bindings?: readonly DefinedBinding[]
}

/** A BindRequest and whose it is: to either a queue or an exchange. */
export interface DefinedBinding extends BindingCondition {
  readonly source: string
  readonly queue?: string
  readonly exchange?: string
  readonly weight?: number
}

/** All of it or nothing: what is there and is not just so refuses it (import_conflict). Up to 10,000 in all. */
export interface ImportRequest extends Definitions {
  /** Only see whether it would be refused. Defaults to false. */
  readonly dryRun?: boolean
}

export interface Imported {
  readonly created: number
  /** How many were there before, just so. */
  readonly present: number
}

export type ImportResponse = { readonly [Kind in keyof Definitions]-?: Imported }
