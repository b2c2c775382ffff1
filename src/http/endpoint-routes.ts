/* /v1/endpoints: where webhooks go. */
import type { Access } from '../config.ts'
import type { WebhookConfig } from '../webhooks/config.ts'
import {
  deleteEndpoint,
  describeEndpoint,
  listEndpoints,
  rotateSecret,
  setEndpoint,
  switchEndpoint,
} from '../webhooks/endpoints.ts'
import type { EndpointInfo as Info, EndpointConfig as WireConfig } from '../wire.ts'
import { type Door, endpoint } from './door.ts'
import {
  DeletedEndpoint,
  EndpointConfig,
  EndpointInfo,
  EndpointListQuery,
  EndpointListResponse,
  RotateSecretRequest,
} from './endpoint-schemas.ts'

export function mountEndpointRoutes(door: Door, access: Access, webhooks: WebhookConfig | undefined): void {
  endpoint(
    door,
    access,
    {
      method: 'put',
      path: '/v1/endpoints/{endpoint}',
      operationId: 'setEndpoint',
      summary:
        'Create an endpoint of webhooks, or replace its configuration; the answer to who makes it shows its secret, once.',
      needs: 'admin',
      body: EndpointConfig,
      answer: EndpointInfo,
      creates: true,
    },
    async ({ webhook, body, executor, context }) => {
      const { info, created } = await setEndpoint(executor, webhook, body as WireConfig, webhooks)
      return context.json(info, created ? 201 : 200)
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/endpoints/{endpoint}',
      operationId: 'endpointInfo',
      summary: "An endpoint's configuration, and how it is.",
      needs: 'admin',
      answer: EndpointInfo,
    },
    async ({ webhook, application, executor, context }) =>
      context.json(shown(await describeEndpoint(executor, webhook), application)),
  )
  endpoint(
    door,
    access,
    {
      method: 'get',
      path: '/v1/endpoints',
      operationId: 'endpoints',
      summary: 'Endpoints by name, of one application or all, a page at a time.',
      needs: 'admin',
      query: EndpointListQuery,
      answer: EndpointListResponse,
    },
    async ({ query, application, executor, context }) => {
      const confined = { ...query, ...(application !== undefined && { application }) }
      const { endpoints, ...rest } = await listEndpoints(executor, confined)
      return context.json({ endpoints: endpoints.map((info) => shown(info, application)), ...rest })
    },
  )
  endpoint(
    door,
    access,
    {
      method: 'delete',
      path: '/v1/endpoints/{endpoint}',
      operationId: 'deleteEndpoint',
      summary: 'Delete an endpoint and all that waits for it.',
      needs: 'admin',
      answer: DeletedEndpoint,
    },
    async ({ webhook, executor, context }) =>
      context.json({ deletedDeliveries: await deleteEndpoint(executor, webhook) }),
  )
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/endpoints/{endpoint}/secret/rotate',
      operationId: 'rotateSecret',
      summary: 'Sign with another secret, for a while also with those before it; the answer shows a new one, once.',
      needs: 'admin',
      body: RotateSecretRequest,
      answer: EndpointInfo,
    },
    async ({ webhook, application, body, executor, context }) =>
      context.json(shown(await rotateSecret(executor, webhook, body, webhooks), application)),
  )

  for (const [verb, summary] of [
    ['enable', 'Deliver again to an endpoint that was disabled or rests.'],
    ['disable', 'Deliver nothing, and let nothing that is published wait for it.'],
    ['pause', 'Deliver nothing, until it is resumed; what is published waits.'],
    ['resume', 'Deliver again to an endpoint that was paused.'],
  ] as const) {
    endpoint(
      door,
      access,
      {
        method: 'post',
        path: `/v1/endpoints/{endpoint}/${verb}`,
        operationId: `${verb}Endpoint`,
        summary,
        needs: 'admin',
        answer: EndpointInfo,
      },
      async ({ webhook, application, executor, hub, context }) => {
        const info = await switchEndpoint(executor, webhook, verb)
        hub.poke(`webhooks.${webhook}`)
        return context.json(shown(info, application))
      },
    )
  }
}

/** What a subscriber sees of an endpoint: all but what its operator has noted, and the headers of its requests, which may be secrets. */
function shown(info: Info, application: string | undefined): Info {
  return application === undefined ? info : { ...info, headers: {}, metadata: {} }
}
