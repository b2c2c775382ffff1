/* An exchange as the client sees it: one method per verb. Every method may throw a QueueError and the reason of the signal it was given. */
import type {
  BindingInfo,
  BindRequest,
  BindResponse,
  ExchangeConfig,
  ExchangeInfo,
  Publication,
  PublishOptions,
  PublishResponse,
  RouteRequest,
  RouteResponse,
  UnbindRequest,
} from '../wire.ts'
import type { CallOptions, Method } from './connection.ts'
import type { Given } from './effects.ts'
import { pages } from './pages.ts'
import type { RemoteQueue } from './remote.ts'
import { outgoing } from './send.ts'

interface Mandatory {
  /** True: `message_unroutable`, and nothing is sent, if a message reaches no queue. Defaults to false. */
  readonly mandatory?: boolean | undefined
}

export interface PublishSettings extends Given<PublishOptions>, Mandatory, CallOptions {
  /** How the body is kept: as JSON, or a string as that very text. A Uint8Array is always kept as bytes. Defaults to json. */
  readonly encoding?: 'json' | 'text' | undefined
}

/** One message of a batch. */
export type BatchPublication<Body> = Omit<PublishSettings, 'mandatory' | 'signal'> & { readonly body: Body }

/** `Input` is what may be published: unknown without a schema. */
export class Exchange<Input = unknown> {
  readonly name: string
  readonly #remote: RemoteQueue

  constructor(name: string, remote: RemoteQueue) {
    this.name = name
    this.#remote = remote
  }

  /** Declare the exchange, or find it just as it is declared. Throws `exchange_conflict` if it is something else. */
  declare(config: Given<ExchangeConfig> = {}, options?: CallOptions): Promise<ExchangeInfo> {
    return this.#call('PUT', '', config, options)
  }

  /** Throws `exchange_not_found` if there is none. */
  info(options?: CallOptions): Promise<ExchangeInfo> {
    return this.#call('GET', '', undefined, options)
  }

  /** Delete the exchange and its bindings; how many there were. Throws `exchange_in_use` if an endpoint takes from it, and with
   * `ifUnused` if it has any bindings; throws `exchange_not_found` if there is none, also when a first try deleted it and the answer got lost. */
  async delete({ ifUnused = false, ...options }: CallOptions & { readonly ifUnused?: boolean } = {}): Promise<number> {
    const query = ifUnused ? '?ifUnused=true' : ''
    return (await this.#call<{ deletedBindings: number }>('DELETE', query, undefined, options)).deletedBindings
  }

  /** From now on, what fits goes to this queue or exchange, too. False if it was so before (or by a first try whose answer got lost). */
  async bind(request: BindRequest, options?: CallOptions): Promise<boolean> {
    return (await this.#call<BindResponse>('PUT', '/bindings', request, options)).changed
  }

  /** Undo the bind that said the same; false if there is none. */
  async unbind(request: UnbindRequest, options?: CallOptions): Promise<boolean> {
    return (await this.#call<BindResponse>('DELETE', '/bindings', request, options)).changed
  }

  /** Its bindings, in the order in which they were made; or, with direction "to", those of other exchanges that lead to it. */
  bindings({
    direction,
    ...options
  }: CallOptions & { readonly direction?: 'from' | 'to' } = {}): AsyncGenerator<BindingInfo, void, undefined> {
    const { connection, path } = this.#remote
    return pages(connection, `${path}/bindings`, 'bindings', { direction }, options)
  }

  /** Publish one message: a copy for each queue that it reaches. When this resolves, all of them are committed. Retries publish it once, as
   * long as the queues' dedup windows are not 0. */
  async publish(body: Input, { signal, mandatory, ...message }: PublishSettings = {}): Promise<Publication> {
    const [published] = await this.publishBatch([{ ...message, body }], { signal, mandatory })
    return published as Publication
  }

  /** Publish 1 – 1000 messages of together up to 16 MiB, all or none, in one request. The results are in the order of the messages. */
  async publishBatch(
    messages: readonly BatchPublication<Input>[],
    { mandatory, ...options }: Mandatory & CallOptions = {},
  ): Promise<readonly Publication[]> {
    if (messages.length === 0) return []
    const request = { messages: await outgoing(this.#remote, messages), ...(mandatory && { mandatory }) }
    return (await this.#call<PublishResponse>('POST', '/publish', request, options)).messages
  }

  /** Where a message would go, and why. Nothing is sent. */
  route(request: Given<RouteRequest> = {}, options?: CallOptions): Promise<RouteResponse> {
    return this.#call('POST', '/route', request, options)
  }

  async #call<Data>(method: Method, path: string, body: unknown, options?: CallOptions): Promise<Data> {
    const { connection, path: exchange } = this.#remote
    return (await connection.call<Data>(method, exchange + path, body, options)).data
  }
}
