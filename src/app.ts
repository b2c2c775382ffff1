/* createApp: the only place where doors are mounted. One app serves any number of requests; what a request needs (a handle to the
 * database, the hub) comes with the request, because on Workers it must not outlive it:
 *
 *   const app = createApp({ access })
 *   app.fetch(request, { executor, hub }, executionContext)
 *
 * Around every request: an id (the caller's x-request-id, or a new one), a bound on its size, one line in the log, and errors as
 * problem details. */
import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { requestId } from 'hono/request-id'
import type { AppConfig } from './config.ts'
import { errorForLog, fullReason, QueueError } from './errors.ts'
import { crossOrigin } from './http/cross-origin.ts'
import { beginDeliveries, mountDeliverRoutes } from './http/deliver-routes.ts'
import { mountDeliveryRoutes } from './http/delivery-routes.ts'
import { createDoor, type Door, type DoorEnv, type Log, refuseOtherMethods } from './http/door.ts'
import { mountEndpointRoutes } from './http/endpoint-routes.ts'
import { mountExchangeRoutes } from './http/exchange-routes.ts'
import { mountHealthRoutes } from './http/health-routes.ts'
import { mountImportRoutes } from './http/import-routes.ts'
import { mountLeaseRoutes } from './http/lease-routes.ts'
import { mountMaintainRoutes } from './http/maintain-routes.ts'
import { mountMessageRoutes } from './http/message-routes.ts'
import { mountPolicyRoutes } from './http/policy-routes.ts'
import { problemOf, problemResponse } from './http/problem.ts'
import { mountPublishRoutes } from './http/publish-routes.ts'
import { mountQueueRoutes } from './http/queue-routes.ts'
import { mountRequestRoutes } from './http/request-routes.ts'
import { mountStreamRoute } from './http/stream-route.ts'
import { readingBody } from './http/validate.ts'
import { maxRequestBytes } from './limits.ts'
import { webhookConfig } from './webhooks/config.ts'

/** For platforms whose log is the console. */
export { errorForLog } from './errors.ts'
/** For platforms that deliver webhooks when something calls them. */
export { ownDeliverRequest } from './http/deliver-routes.ts'
export type { Dependencies, Door, Log } from './http/door.ts'
/** For entries that lack a setting. */
export { notConfigured } from './http/problem.ts'
/** For processes that live long: what arrives together goes to the database together. */
export { coalescing } from './queue/coalesce.ts'
/** For the cron triggers of platforms. */
export { maintainFirst } from './queue/maintain.ts'
export { type Delivering, delivererOf, hasMore, limitsWithin, oneWaits } from './webhooks/delivering.ts'

/** The HTTP app, in Hono's terms. `log` gets one object per request. */
export function createApp(config: AppConfig, log: Log = () => {}): Door {
  const app = createDoor(config.basePath)
  app.use(requestId())
  app.use(async (context, next) => {
    const started = performance.now()
    await next()
    // So that a stopping server need not wait for connections that are merely kept open.
    if (context.env.hub.closed) context.header('connection', 'close')
    const { status } = context.res
    const write = (error: unknown) =>
      log({
        time: new Date().toISOString(),
        level: (error ? problemOf(error, undefined).status : status) >= 500 ? 'error' : 'info',
        requestId: context.get('requestId'),
        method: context.req.method,
        path: context.req.path,
        status,
        millis: Math.round(performance.now() - started),
        error: error instanceof QueueError ? error.code : error ? errorForLog(error) : undefined,
        ...(error instanceof QueueError && error.code === 'database_unavailable' && { reason: fullReason(error) }),
      })
    const streamed = context.get('streamed')
    if (!streamed) return write(context.error)
    const written = streamed.then(write)
    context.env.keep?.(written)
  })
  app.use('/v1/*', crossOrigin(config.access))
  app.use(boundedBody)
  app.use('/v1/*', async (context, next) => {
    if (context.env.hub.closed)
      throw new QueueError('server_stopping', 'this server is stopping: try again, another answers')
    await next()
  })
  if (config.webhooks) app.use('/v1/*', beginDeliveries)
  app.onError((error, context) => problemResponse(error, context.get('requestId')))
  app.notFound((context) => {
    throw new QueueError(
      'route_not_found',
      `there is nothing at ${context.req.path}: /openapi.json lists what there is`,
    )
  })

  mountQueueRoutes(app, config.access)
  mountPolicyRoutes(app, config.access)
  mountMessageRoutes(app, config.access)
  mountLeaseRoutes(app, config.access)
  mountRequestRoutes(app, config.access)
  mountStreamRoute(app, config.access)
  mountExchangeRoutes(app, config.access)
  mountPublishRoutes(app, config.access)
  mountImportRoutes(app, config.access)
  mountEndpointRoutes(app, config.access, webhookConfig(config.webhooks))
  mountDeliveryRoutes(app, config.access)
  mountDeliverRoutes(app, config.access)
  mountMaintainRoutes(app, config.access)
  mountHealthRoutes(app)
  refuseOtherMethods(app)
  return app
}

function refuseLarge(): never {
  throw new QueueError('request_too_large', `a request must be at most ${maxRequestBytes} bytes`)
}

const countBytes = bodyLimit({ maxSize: maxRequestBytes, onError: refuseLarge })

/** The length that a request says it has is the one it gets (its server sees to that), so only a body without one is counted: to count,
 * or merely to ask whether there is a body, costs a small request more than all the rest of the way in. */
const boundedBody: MiddlewareHandler<DoorEnv> = async (context, next) => {
  const length = context.req.header('content-length')
  if (length === undefined || context.req.header('transfer-encoding') !== undefined) {
    await readingBody(() => countBytes(context, async () => {}))
  } else if (!(Number(length) <= maxRequestBytes)) {
    refuseLarge()
  }
  await next()
}
