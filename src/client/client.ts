/* The client: one server, many queues. */
import type {
  ExchangeInfo,
  MaintainRequest,
  MaintainResponse,
  PolicyInfo,
  PolicyListResponse,
  QueueInfo,
} from '../wire.ts'
import { type CallOptions, type ClientOptions, type Connection, connect } from './connection.ts'
import type { Given } from './effects.ts'
import { Exchange } from './exchange.ts'
import { pages } from './pages.ts'
import { pathTo } from './path.ts'
import { Policy } from './policy.ts'
import { Queue } from './queue.ts'
import type { InputOf, OutputOf, StandardSchema } from './schema.ts'

export interface ListOptions extends CallOptions {
  /** Only queues whose name starts with it. Defaults to all. */
  readonly prefix?: string | undefined
}

export interface MaintainOptions extends Given<MaintainRequest>, CallOptions {}

/** Make a client. It holds nothing open: make one per process, or per request where a platform wants that. */
export function createClient(options: ClientOptions): Client {
  return new Client(connect(options))
}

export class Client {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** The queue of that name: 1 – 80 letters, digits, ".", "_" and "-", the first a letter or digit. Asks the server nothing; `create()` makes
   * the queue. */
  queue(name: string): Queue
  /** With a schema (Zod, Valibot, ArkType … any Standard Schema), bodies are checked and typed: a send of anything else throws
   * `request_invalid`; a received message of anything else throws it when its body is read, and consume nacks it. What is sent and
   * stored is the schema's input, so a schema may transform what is received. */
  queue<Schema extends StandardSchema>(
    name: string,
    options: { readonly schema: Schema },
  ): Queue<InputOf<Schema>, OutputOf<Schema>>
  queue(name: string, options?: { readonly schema: StandardSchema }): Queue {
    return new Queue(this.#connection, name, options?.schema)
  }

  /** The exchange of that name, which follows the rule of queues. Asks the server nothing; `declare()` makes the exchange. With a schema,
   * what is published is checked. */
  exchange(name: string): Exchange
  exchange<Schema extends StandardSchema>(name: string, options: { readonly schema: Schema }): Exchange<InputOf<Schema>>
  exchange(name: string, options?: { readonly schema: StandardSchema }): Exchange {
    return new Exchange(name, {
      connection: this.#connection,
      path: pathTo('exchanges', name),
      schema: options?.schema,
    })
  }

  /** All exchanges by name, a page per request. */
  exchanges({ prefix, signal }: ListOptions = {}): AsyncGenerator<ExchangeInfo, void, undefined> {
    return pages(this.#connection, '/exchanges', 'exchanges', { prefix }, { signal })
  }

  /** All queues by name, a page per request. */
  queues({ prefix, signal }: ListOptions = {}): AsyncGenerator<QueueInfo, void, undefined> {
    return pages(this.#connection, '/queues', 'queues', { prefix }, { signal })
  }

  /** The policy of that name. Asks the server nothing; `set()` makes the policy. */
  policy(name: string): Policy {
    return new Policy(this.#connection, name)
  }

  /** All policies, at most 100, the most specific first. */
  async policies(options?: CallOptions): Promise<readonly PolicyInfo[]> {
    return (await this.#connection.call<PolicyListResponse>('GET', '/policies', undefined, options)).data.policies
  }

  /** Clear away what time has ended, in all queues: expired messages, old dead letters, forgotten dedup ids. Sending and receiving do
   * so too, as they go; this is for queues where nothing happens. While the answer says `more`, call it again. */
  async maintain({ signal, ...request }: MaintainOptions = {}): Promise<MaintainResponse> {
    return (await this.#connection.call<MaintainResponse>('POST', '/maintain', request, { signal })).data
  }
}
