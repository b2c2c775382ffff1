/* /v1/endpoints/{endpoint}/…: what an endpoint was and is to get. To look at it, the scope to receive from its queue is enough. */
import type { Access } from '../config.ts'
import { endpointStatistics, listAttempts, recover, resend, sendTestEvent } from '../webhooks/history.ts'
import { requireEventOf } from '../webhooks/own.ts'
import { type Door, endpoint } from './door.ts'
import {
  AttemptListQuery,
  AttemptListResponse,
  EndpointStatistics,
  RecoverRequest,
  ResendRequest,
  ResendResponse,
  TestEventResponse,
} from './endpoint-schemas.ts'
import { RedriveResponse } from './queue-schemas.ts'

export function mountDeliveryRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/endpoints/{endpoint}/attempts',
      operationId: 'attempts',
      summary: 'Attempts to deliver, the newest first, a page at a time.',
      needs: 'receive',
      query: AttemptListQuery,
      answer: AttemptListResponse,
    },
    async ({ webhook, query, executor, context }) => context.json(await listAttempts(executor, webhook, query)),
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/endpoints/{endpoint}/statistics',
      operationId: 'endpointStatistics',
      summary: 'How much waits, and how the last attempts came out.',
      needs: 'receive',
      answer: EndpointStatistics,
    },
    async ({ webhook, executor, context }) => context.json(await endpointStatistics(executor, webhook)),
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/endpoints/{endpoint}/resend',
      operationId: 'resend',
      summary: 'Deliver an event once more, whatever came of it before.',
      needs: 'admin',
      body: ResendRequest,
      answer: ResendResponse,
      status: 201,
    },
    async ({ webhook, application, body, executor, hub, context }) => {
      // Ids of events are numbers: a subscriber could ask for those of others.
      if (application !== undefined) await requireEventOf(executor, webhook, body.eventId)
      const id = await resend(executor, webhook, body.eventId)
      hub.poke(`webhooks.${webhook}`)
      return context.json({ id }, 201)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/endpoints/{endpoint}/test',
      operationId: 'testEndpoint',
      summary: 'Deliver an event of the type "test", to this endpoint only.',
      needs: 'admin',
      answer: TestEventResponse,
      status: 201,
    },
    async ({ webhook, executor, hub, context }) => {
      const sent = await sendTestEvent(executor, webhook)
      hub.poke(`webhooks.${webhook}`)
      return context.json(sent, 201)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/endpoints/{endpoint}/recover',
      operationId: 'recover',
      summary: 'Deliver anew what has failed for good: all, or what fits.',
      needs: 'admin',
      body: RecoverRequest,
      answer: RedriveResponse,
    },
    async ({ webhook, body, executor, hub, context }) => {
      const done = await recover(executor, webhook, body)
      hub.poke(`webhooks.${webhook}`, done.redrivenMessages)
      return context.json(done)
    },
  )
}
