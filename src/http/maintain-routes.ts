/* /v1/maintain: for a scheduler outside, where nothing else calls the SQL function. */
import type { Access } from '../config.ts'
import { maintain } from '../queue/maintain.ts'
import { type Door, endpoint } from './door.ts'
import { MaintainRequest, MaintainResponse } from './queue-schemas.ts'

export function mountMaintainRoutes(door: Door, access: Access): void {
  endpoint(
    door,
    access,
    {
      method: 'post',
      path: '/v1/maintain',
      operationId: 'maintain',
      summary: 'Clear away what is over, in all queues: expired messages, old dead letters, dedup ids.',
      needs: 'admin',
      body: MaintainRequest,
      answer: MaintainResponse,
    },
    async ({ body, executor, context }) => context.json(await maintain(executor, body)),
  )
}
