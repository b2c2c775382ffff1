/* Postbag over a database handle, exchanges and queues: what queue/direct.ts is, and exchanges beside it.
 *
 *   await db.transaction().execute(async (trx) => {
 *     await trx.insertInto('order').values(order).execute()
 *     await postbag({ executor: trx }).exchange('events').publish(order, { routingKey: 'order.created' })
 *   })
 *
 * The messages exist exactly if the transaction commits. */
import { databaseClock } from '../clock.ts'
import { executorOf } from '../db/connect.ts'
import { type PostbagOptions, type Direct as Queues, postbag as queuesOver } from '../queue/direct.ts'
import { contentOf } from '../queue/message.ts'
import type {
  BindingListResponse,
  BindRequest,
  ExchangeConfig,
  ExchangeInfo,
  ExchangeListResponse,
  Publication,
  PublishOptions,
  RouteRequest,
  RouteResponse,
  UnbindRequest,
} from '../wire.ts'
import { bind, listBindings, unbind } from './bindings.ts'
import { declareExchange, deleteExchange, describeExchange, listExchanges } from './exchanges.ts'
import { publish } from './publish.ts'
import { route } from './route.ts'

/** A message to publish: a string with encoding "text" is text, a Uint8Array bytes, anything else JSON. */
export type DirectPublication = PublishOptions & { readonly body: unknown; readonly encoding?: 'json' | 'text' }

interface Mandatory {
  /** True: message_unroutable, and nothing is sent, if a message reaches no queue. Defaults to false. */
  readonly mandatory?: boolean
}

/** One exchange, over the handle. Every method may throw a QueueError; the database's other errors pass through as they are. */
export interface DirectExchange {
  /** Declare it, or find it just as it is declared. */
  declare(config?: ExchangeConfig): Promise<ExchangeInfo>
  info(): Promise<ExchangeInfo>
  /** Delete it and its bindings; how many there were. Refused if an endpoint takes from it, and with ifUnused if something is bound to it. */
  delete(options?: { readonly ifUnused?: boolean }): Promise<number>
  /** False if it was so before. */
  bind(request: BindRequest): Promise<boolean>
  /** Undo the bind that said the same; false if there is none. */
  unbind(request: UnbindRequest): Promise<boolean>
  /** Its bindings ("from", the default), or those of other exchanges that lead to it, a page at a time. */
  bindings(options?: {
    readonly direction?: 'from' | 'to'
    readonly after?: string
    readonly max?: number
  }): Promise<BindingListResponse>
  publish(
    body: unknown,
    options?: PublishOptions & Mandatory & { readonly encoding?: 'json' | 'text' },
  ): Promise<Publication>
  /** 1 – 1000 messages, all or none. */
  publishBatch(messages: readonly DirectPublication[], options?: Mandatory): Promise<readonly Publication[]>
  /** Where a message would go, and why; nothing is sent. */
  route(request?: RouteRequest): Promise<RouteResponse>
}

export interface Direct extends Queues {
  exchange(name: string): DirectExchange
  /** Exchanges by name, a page at a time. */
  exchanges(options?: {
    readonly prefix?: string
    readonly after?: string
    readonly max?: number
  }): Promise<ExchangeListResponse>
}

/** Postbag over a database handle. */
export function postbag(options: PostbagOptions): Direct {
  const { executor: handle, clock = databaseClock } = options
  const executor = executorOf(handle)
  return {
    ...queuesOver(options),
    exchanges: (page) => listExchanges(executor, page),
    exchange: (name) => {
      const publishBatch: DirectExchange['publishBatch'] = async (messages, { mandatory = false } = {}) =>
        publish(
          executor,
          name,
          messages.map(({ body, encoding, ...said }) => ({ ...said, ...contentOf(body, encoding) })),
          { clock, mandatory },
        )
      return {
        declare: async (config) => (await declareExchange(executor, name, config, clock)).info,
        info: () => describeExchange(executor, name),
        delete: (how) => deleteExchange(executor, name, how),
        bind: (request) => bind(executor, name, request, clock),
        unbind: (request) => unbind(executor, name, request),
        bindings: ({ direction = 'from', ...page } = {}) =>
          listBindings(executor, direction === 'from' ? { from: name } : { to: name }, page),
        publish: async (body, { mandatory = false, ...said } = {}) => {
          const [published] = await publishBatch([{ ...said, body }], { mandatory })
          return published as Publication
        },
        publishBatch,
        route: (request) => route(executor, name, request),
      }
    },
  }
}
