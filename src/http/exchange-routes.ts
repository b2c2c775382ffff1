/* /v1/exchanges: what they are, and what is bound to them. */
import type { Access } from '../config.ts'
import { bind, listBindings, unbind } from '../exchange/bindings.ts'
import { declareExchange, deleteExchange, describeExchange, listExchanges } from '../exchange/exchanges.ts'
import type { BindRequest as WireBind, UnbindRequest as WireUnbind } from '../wire.ts'
import { type Door, endpoint } from './door.ts'
import {
  BindingListQuery,
  BindingListResponse,
  BindRequest,
  BindResponse,
  DeletedExchange,
  DeleteExchangeQuery,
  ExchangeConfig,
  ExchangeInfo,
  ExchangeListQuery,
  ExchangeListResponse,
  QueueBindingListQuery,
  UnbindRequest,
} from './exchange-schemas.ts'

export function mountExchangeRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'put',
      path: '/v1/exchanges/{exchange}',
      operationId: 'declareExchange',
      summary: 'Declare an exchange, or find it just as it is declared.',
      needs: 'admin',
      body: ExchangeConfig,
      answer: ExchangeInfo,
      creates: true,
    },
    async ({ exchange, body, executor, context }) => {
      const { info, created } = await declareExchange(executor, exchange, body)
      return context.json(info, created ? 201 : 200)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/exchanges/{exchange}',
      operationId: 'exchangeInfo',
      summary: 'What an exchange was declared as.',
      needs: 'admin',
      answer: ExchangeInfo,
    },
    async ({ exchange, executor, context }) => context.json(await describeExchange(executor, exchange)),
  )
  endpoint(
    door,
    access,
    {
      method: 'delete',
      path: '/v1/exchanges/{exchange}',
      operationId: 'deleteExchange',
      summary: 'Delete an exchange and its bindings, those from it and those to it.',
      needs: 'admin',
      query: DeleteExchangeQuery,
      answer: DeletedExchange,
    },
    async ({ exchange, query, executor, context }) =>
      context.json({ deletedBindings: await deleteExchange(executor, exchange, query) }),
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/exchanges',
      operationId: 'exchanges',
      summary: 'Exchanges by name, a page at a time.',
      needs: 'admin',
      query: ExchangeListQuery,
      answer: ExchangeListResponse,
    },
    async ({ query, executor, context }) => context.json(await listExchanges(executor, query)),
  )
  endpoint(
    door,
    access,
    {
      method: 'put',
      path: '/v1/exchanges/{exchange}/bindings',
      operationId: 'bind',
      summary: 'Bind: what is published to the exchange and fits goes to a queue, or on to another exchange.',
      needs: 'admin',
      body: BindRequest,
      answer: BindResponse,
    },
    async ({ exchange, body, executor, context }) =>
      context.json({ changed: await bind(executor, exchange, body as WireBind) }),
  )
  endpoint(
    door,
    access,
    {
      method: 'delete',
      path: '/v1/exchanges/{exchange}/bindings',
      operationId: 'unbind',
      summary: 'Undo the bind that said the same.',
      needs: 'admin',
      body: UnbindRequest,
      answer: BindResponse,
    },
    async ({ exchange, body, executor, context }) =>
      context.json({ changed: await unbind(executor, exchange, body as WireUnbind) }),
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/exchanges/{exchange}/bindings',
      operationId: 'bindings',
      summary: 'The bindings from an exchange or to it, in the order in which they were made, a page at a time.',
      needs: 'admin',
      query: BindingListQuery,
      answer: BindingListResponse,
    },
    async ({ exchange, query: { direction = 'from', ...page }, executor, context }) => {
      const of = direction === 'from' ? { from: exchange } : { to: exchange }
      return context.json(await listBindings(executor, of, page))
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/queues/{queue}/bindings',
      operationId: 'queueBindings',
      summary: 'The bindings that lead to a queue, in the order in which they were made, a page at a time.',
      needs: 'admin',
      query: QueueBindingListQuery,
      answer: BindingListResponse,
    },
    async ({ queue, query, executor, context }) => context.json(await listBindings(executor, { queue }, query)),
  )
}
