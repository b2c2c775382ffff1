/* An exchange that a case has to itself, and what one does with it. */
import type {
  BindingListResponse,
  BindRequest,
  BindResponse,
  ExchangeConfig,
  PublishResponse,
  RouteRequest,
  RouteResponse,
  UnbindRequest,
} from '../../src/wire.ts'
import { type Call, call, json, type Target } from './target.ts'

let made = 0

export async function newExchange(target: Target, config: ExchangeConfig = {}): Promise<TestExchange> {
  const exchange = exchangeNamed(target, `case-exchange-${++made}`)
  json(await call(target, 'PUT', exchange.path, { body: config }), 201)
  return exchange
}

export type TestExchange = ReturnType<typeof exchangeNamed>

/** An exchange that may or may not exist. */
export function exchangeNamed(target: Target, name: string) {
  const path = `/v1/exchanges/${name}`
  const changed = async (method: string, body: object) =>
    json<BindResponse>(await call(target, method, `${path}/bindings`, { body })).changed

  return {
    name,
    path,
    bind: (request: BindRequest) => changed('PUT', request),
    unbind: (request: UnbindRequest) => changed('DELETE', request),
    async bindings(query = ''): Promise<BindingListResponse> {
      return json<BindingListResponse>(await call(target, 'GET', `${path}/bindings${query}`))
    },
    /** The answer, whatever it is. */
    post: (options: Call, query = '') => call(target, 'POST', `${path}/publish${query}`, options),
    /** How many queues each message reached. */
    async publish(body: object | string, query = ''): Promise<readonly number[]> {
      const answer = await call(target, 'POST', `${path}/publish${query}`, { body })
      return json<PublishResponse>(answer, 201).messages.map(({ queues }) => queues)
    },
    async route(request: RouteRequest): Promise<RouteResponse> {
      return json<RouteResponse>(await call(target, 'POST', `${path}/route`, { body: request }))
    },
  }
}
