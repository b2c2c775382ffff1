/* /v1/endpoints: where webhooks go, and what became of them. */
import type { AppConfig } from '../config.ts'
import {
  changeEndpoint,
  deleteEndpoint,
  describeEndpoint,
  listAttempts,
  listEndpoints,
  resend,
  rotateSecret,
  setEndpoint,
  webhookConfig,
} from '../webhooks/endpoints.ts'
import type { EndpointRequest as WireEndpoint } from '../wire.ts'
import { type Door, endpoint as declare } from './door.ts'
import {
  AttemptListQuery,
  AttemptListResponse,
  DeletedEndpoint,
  EndpointInfo,
  EndpointListQuery,
  EndpointListResponse,
  EndpointRequest,
  ResendRequest,
  ResendResponse,
  RotateRequest,
  RotateResponse,
} from './endpoint-schemas.ts'

const changes = {
  enable: 'Deliver to it again, and what is published from now on; let it rest no longer.',
  disable: 'Deliver nothing to it, and let nothing that is published wait for it.',
  pause: 'Deliver nothing to it; what is published waits.',
  resume: 'Deliver to it again what has waited.',
} as const

export function mountEndpointRoutes(door: Door, { access, webhooks: settings }: AppConfig): void {
  const webhooks = webhookConfig(settings)
  const path = '/v1/endpoints/{endpoint}'
  declare(
    door,
    access,
    {
      method: 'put',
      path,
      summary: 'Create a webhook endpoint, or replace all of it but its secret.',
      needs: 'admin',
      body: EndpointRequest,
      answer: EndpointInfo,
    },
    async ({ endpoint, body, executor, context }) => {
      const { info, created } = await setEndpoint(executor, webhooks, endpoint, body as WireEndpoint)
      return context.json(info, created ? 201 : 200)
    },
  )
  declare(
    door,
    access,
    { method: 'get', path, summary: 'An endpoint, and how it is.', needs: 'admin', answer: EndpointInfo },
    async ({ endpoint, executor, context }) => context.json(await describeEndpoint(executor, endpoint)),
  )
  declare(
    door,
    access,
    {
      method: 'delete',
      path,
      summary: 'Delete an endpoint, with all that waits for it.',
      needs: 'admin',
      answer: DeletedEndpoint,
    },
    async ({ endpoint, executor, context }) =>
      context.json({ deletedDeliveries: await deleteEndpoint(executor, endpoint) }),
  )
  declare(
    door,
    access,
    {
      method: 'get',
      path: '/v1/endpoints',
      summary: 'Endpoints by name, a page at a time.',
      needs: 'admin',
      query: EndpointListQuery,
      answer: EndpointListResponse,
    },
    async ({ query, executor, context }) => context.json(await listEndpoints(executor, query)),
  )
  for (const change of ['enable', 'disable', 'pause', 'resume'] as const) {
    declare(
      door,
      access,
      { method: 'post', path: `${path}/${change}`, summary: changes[change], needs: 'admin', answer: EndpointInfo },
      async ({ endpoint, executor, context }) => context.json(await changeEndpoint(executor, endpoint, change)),
    )
  }
  declare(
    door,
    access,
    {
      method: 'post',
      path: `${path}/secret/rotate`,
      summary: 'A new secret; the old one signs beside it for a while.',
      needs: 'admin',
      body: RotateRequest,
      answer: RotateResponse,
    },
    async ({ endpoint, body, executor, context }) =>
      context.json({ secret: await rotateSecret(executor, webhooks, endpoint, body) }),
  )
  declare(
    door,
    access,
    {
      method: 'get',
      path: `${path}/attempts`,
      summary: 'Attempts to deliver, the newest first.',
      needs: 'admin',
      query: AttemptListQuery,
      answer: AttemptListResponse,
    },
    async ({ endpoint, query, executor, context }) => context.json(await listAttempts(executor, endpoint, query)),
  )
  declare(
    door,
    access,
    {
      method: 'post',
      path: `${path}/resend`,
      summary: 'Deliver an event once more, whatever came of it before.',
      needs: 'admin',
      body: ResendRequest,
      answer: ResendResponse,
      status: 201,
    },
    async ({ endpoint, body, executor, context }) =>
      context.json({ id: await resend(executor, endpoint, body.eventId) }, 201),
  )
}
