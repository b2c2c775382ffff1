/* postbag/endpoints: endpoints of webhooks over HTTP. An export of its own, since who sends and receives needs nothing of it.
 *
 *   const { endpoint } = createEndpointClient({ url: 'http://127.0.0.1:8787' })
 *   const { secret } = await endpoint('acme').set({ url: 'https://acme.example/hook', exchange: 'events' })
 *
 * Every method may throw a QueueError and the reason of the signal it was given. */
import type {
  AttemptListRequest,
  AttemptListResponse,
  DeliveryAttempt,
  EndpointConfig,
  EndpointInfo,
  EndpointStatistics,
  RecoverRequest,
  ResendResponse,
  RotateSecretRequest,
  TestEventResponse,
} from '../wire.ts'
import { type CallOptions, type ClientOptions, type Connection, connect, type Method } from './connection.ts'
import { defined, type Given } from './effects.ts'
import { pages } from './pages.ts'
import { pathTo } from './path.ts'
import { type RedriveAllOptions, redriveAll } from './redrive.ts'

export type {
  DeliveryAttempt,
  EndpointConfig,
  EndpointFilter,
  EndpointInfo,
  EndpointOrder,
  EndpointState,
  EndpointStatistics,
  TestEventResponse,
} from '../wire.ts'

export interface EndpointListOptions extends CallOptions {
  /** Only those of this application. Defaults to all. */
  readonly application?: string | undefined
}

export interface AttemptListOptions extends Given<AttemptListRequest>, CallOptions {}

export interface RecoverAllRequest extends Omit<Given<RecoverRequest>, 'max'> {
  /** Most deliveries of all calls together. Defaults to all there are. */
  readonly max?: number | undefined
}

type Settings = Given<Omit<EndpointConfig, 'url' | 'exchange'>> & Pick<EndpointConfig, 'url' | 'exchange'>

/** Make a client of endpoints. It holds nothing open. */
export function createEndpointClient(options: ClientOptions): EndpointClient {
  return endpointClient(connect(options))
}

export interface EndpointClient {
  /** The endpoint of that name: 1 – 71 letters, digits, ".", "_" and "-". Asks the server nothing; `set()` makes the endpoint. */
  endpoint(name: string): Endpoint
  /** Endpoints by name, of one application or all, a page per request. */
  endpoints(options?: EndpointListOptions): AsyncGenerator<EndpointInfo, void, undefined>
}

/** The same over a connection that is there. */
export function endpointClient(connection: Connection): EndpointClient {
  return {
    endpoint: (name) => new Endpoint(name, connection),
    endpoints: ({ application, signal } = {}) =>
      pages(connection, '/endpoints', 'endpoints', { application }, { signal }),
  }
}

export class Endpoint {
  readonly name: string
  readonly #connection: Connection
  readonly #path: string

  constructor(name: string, connection: Connection) {
    this.name = name
    this.#connection = connection
    this.#path = pathTo('endpoints', name)
  }

  /** Create the endpoint, or replace its whole configuration. `secret` is there only if this call made one: keep it, nobody shows it
   * again. If the answer gets lost, a second try finds the endpoint there, and has none: rotate it then, or bring your own. */
  set(config: Settings, options?: CallOptions): Promise<EndpointInfo> {
    return this.#call('PUT', '', config, options)
  }

  /** Throws `endpoint_not_found` if there is none. */
  info(options?: CallOptions): Promise<EndpointInfo> {
    return this.#call('GET', '', undefined, options)
  }

  /** Delete the endpoint and all that waits for it; how many deliveries there were. Throws `endpoint_not_found` if there is none, also
   * when a first try deleted it and the answer got lost. */
  async delete(options?: CallOptions): Promise<number> {
    return (await this.#call<{ deletedDeliveries: number }>('DELETE', '', undefined, options)).deletedDeliveries
  }

  /** Deliver again, what waits and what is published from now on, and let it rest no longer. */
  enable(options?: CallOptions): Promise<EndpointInfo> {
    return this.#call('POST', '/enable', {}, options)
  }

  /** Deliver nothing, and let nothing that is published wait for it. */
  disable(options?: CallOptions): Promise<EndpointInfo> {
    return this.#call('POST', '/disable', {}, options)
  }

  /** Deliver nothing, until it is resumed; what is published waits. */
  pause(options?: CallOptions): Promise<EndpointInfo> {
    return this.#call('POST', '/pause', {}, options)
  }

  resume(options?: CallOptions): Promise<EndpointInfo> {
    return this.#call('POST', '/resume', {}, options)
  }

  /** Sign with another secret, and for a while also with those before it. `secret` is there unless it was given. */
  rotateSecret({ signal, ...request }: Given<RotateSecretRequest> & CallOptions = {}): Promise<EndpointInfo> {
    return this.#call('POST', '/secret/rotate', request, { signal })
  }

  /** Attempts to deliver, the newest first; `max` of them, or all there are, a page per request. */
  async *attempts({
    signal,
    max = Number.POSITIVE_INFINITY,
    ...request
  }: AttemptListOptions = {}): AsyncGenerator<DeliveryAttempt, void, undefined> {
    const query = new URLSearchParams(defined(request) as Record<string, string>)
    for (let left = max; left > 0; ) {
      query.set('max', String(Math.min(left, 1000)))
      const page = await this.#call<AttemptListResponse>('GET', `/attempts?${query}`, undefined, { signal })
      yield* page.attempts
      if (page.next === undefined) return
      query.set('before', page.next)
      left -= page.attempts.length
    }
  }

  /** How much waits, and how the last attempts came out. */
  statistics(options?: CallOptions): Promise<EndpointStatistics> {
    return this.#call('GET', '/statistics', undefined, options)
  }

  /** Deliver an event once more: the id of the new delivery. Throws `event_not_found` if the event is not kept any more. */
  async resend(eventId: string, options?: CallOptions): Promise<string> {
    return (await this.#call<ResendResponse>('POST', '/resend', { eventId }, options)).id
  }

  /** Deliver an event of the type "test", to this endpoint only. */
  test(options?: CallOptions): Promise<TestEventResponse> {
    return this.#call('POST', '/test', {}, options)
  }

  /** Deliver anew what has failed for good, all of it or what fits, call after call; how many deliveries. */
  recover(request: RecoverAllRequest = {}, options: RedriveAllOptions = {}): Promise<number> {
    const remote = { connection: this.#connection, path: this.#path, schema: undefined }
    return redriveAll(remote, request, options, 'recover')
  }

  async #call<Data>(method: Method, path: string, body: unknown, options?: CallOptions): Promise<Data> {
    return (await this.#connection.call<Data>(method, this.#path + path, body, options)).data
  }
}
