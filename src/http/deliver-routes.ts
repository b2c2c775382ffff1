/* /v1/deliver: for a clock outside, where nothing delivers webhooks all the time. And what may have made deliveries due has them begun,
 * wherever the platform has a way. */
import type { MiddlewareHandler } from 'hono'
import type { Access } from '../config.ts'
import { QueueError } from '../errors.ts'
import { type Door, type DoorEnv, endpoint } from './door.ts'
import { DeliverRequest, DeliverResponse } from './endpoint-schemas.ts'
import { signToken } from './token.ts'

export function mountDeliverRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/deliver',
      operationId: 'deliver',
      summary: 'Deliver what is due to webhook endpoints, for a while.',
      needs: 'admin',
      body: DeliverRequest,
      answer: DeliverResponse,
    },
    async ({ body, context }) => {
      const { delivering } = context.env
      if (!delivering)
        throw new QueueError(
          'webhooks_not_configured',
          'this server delivers no webhooks: that needs POSTBAG_WEBHOOK_KEY',
        )
      const { maxSeconds = 20, wait = false } = body
      const { attempts, dueInMillis } = await delivering.run(maxSeconds, wait)
      if (maxSeconds === 0) delivering.begin()
      return context.json({ attempts, ...(dueInMillis !== undefined && { dueInSeconds: dueInMillis / 1000 }) })
    },
  )
}

/** For so long a server's request to itself may be on its way. */
const ownTokenMillis = 300_000

/** What a server sends to itself, so that another invocation of it delivers for up to so many seconds. */
export async function ownDeliverRequest(access: Access, maxSeconds: number) {
  const now = new Date()
  const claims = { scopes: ['admin'], now, expiresAt: new Date(now.getTime() + ownTokenMillis) }
  const token = access.kind === 'token' ? await signToken(access.secret, claims) : ''
  return {
    method: 'POST',
    path: '/v1/deliver',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ maxSeconds }),
  }
}

/** Requests after which a delivery may be due that was not before. (What else leads there, such as a dead letter that is published, waits
 * for the clock.) */
const causes =
  /^\/v1\/(exchanges\/[^/]+\/publish|endpoints\/[^/]+\/(resend|test|recover|enable|resume)|queues\/webhooks\.[^/]+\/(messages|redrive|resume|nack))$/

/** Before the routes. */
export const beginDeliveries: MiddlewareHandler<DoorEnv> = async (context, next) => {
  await next()
  const { method, path } = context.req
  if (method === 'POST' && context.res.ok && causes.test(path)) context.env.delivering?.begin()
}
