/* /v1/exchanges/{exchange}/publish and /route: put messages where the exchange leads them, and see where that is. */
import type { Access } from '../config.ts'
import { publish } from '../exchange/publish.ts'
import { route } from '../exchange/route.ts'
import { type Door, endpoint } from './door.ts'
import {
  PublishBatch,
  PublishOne,
  PublishQuery,
  PublishResponse,
  RawPublishQuery,
  RouteRequest,
  RouteResponse,
} from './exchange-schemas.ts'
import { outgoingOf } from './parcels.ts'

const shapes = { raw: RawPublishQuery, query: PublishQuery, batch: PublishBatch, one: PublishOne, typeIsKey: true }

export function mountPublishRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/exchanges/{exchange}/publish',
      operationId: 'publish',
      summary:
        'Publish messages, all or none: a batch, one message object, or (with another content type) the raw body.',
      needs: 'publish',
      query: RawPublishQuery,
      body: PublishBatch.or(PublishOne),
      readsBody: true,
      eventTypes: 'request',
      answer: PublishResponse,
      status: 201,
    },
    async ({ exchange, executor, context }) => {
      const { parcels, mandatory } = await outgoingOf(context, shapes)
      const messages = await publish(executor, exchange, parcels, { mandatory, alone: true })
      // Unlike a send it pokes no hub: which queues it reached is not known here, and those who wait are notified by the database.
      // (Where nothing listens, they look now and then: wakeup/poll-hub.ts.)
      return context.json({ messages }, 201)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/exchanges/{exchange}/route',
      operationId: 'route',
      summary: 'Where a message would go if it were published now, and why. Nothing is sent.',
      needs: 'publish',
      body: RouteRequest,
      answer: RouteResponse,
    },
    async ({ exchange, body, executor, context }) => context.json(await route(executor, exchange, body)),
  )
}
