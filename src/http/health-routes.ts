/* Health and self-description; open to everybody.
 *
 *   /healthz       is this process alive? Asks no database. For the platform that restarts it.
 *   /readyz        can it serve? Asks the database. For the balancer that sends it requests.
 *   /openapi.json  every endpoint, from the schemas that validate. */
import { asQueueError } from '../db/call.ts'
import { schemaVersion } from '../queue/look.ts'
import type { Door } from './door.ts'
import { problemOf } from './problem.ts'

export function mountHealthRoutes(door: Door): void {
  door.get('/healthz', async (context) => context.json({ status: 'ok', wakeUp: await context.env.hub.mode }))

  door.get('/readyz', async (context) => {
    const started = performance.now()
    try {
      const version = await schemaVersion(context.env.executor)
      const millis = Math.round(performance.now() - started)
      return context.json({ status: 'ok', database: { status: 'ok', schemaVersion: version, millis } })
    } catch (error) {
      const known = asQueueError(error)
      const { code, detail } = problemOf(known, undefined)
      context.error = known as Error
      return context.json({ status: 'unavailable', database: { status: 'unavailable', code, detail } }, 503, {
        'retry-after': '1',
      })
    }
  })

  const yes = { 200: { description: 'Yes.' } }
  for (const [path, operationId, summary, responses] of [
    ['/healthz', 'health', 'Is this process alive? Asks no database.', yes],
    ['/readyz', 'readiness', 'Can it serve? Asks the database.', { ...yes, 503: { description: 'No.' } }],
  ] as const) {
    door.openAPIRegistry.registerPath({ method: 'get', path, operationId, summary, responses })
  }
  door.openAPIRegistry.registerComponent('securitySchemes', 'bearer', { type: 'http', scheme: 'bearer' })
  door.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: {
      title: 'Postbag',
      version: '1',
      description: 'A message queue that needs nothing but Postgres.',
      license: { name: 'MIT' },
    },
  })
}
