/* Maintenance on demand: it clears away what is over, in all queues. */
import type { MaintainRequest, MaintainResponse } from '../../src/wire.ts'
import { call, json, type Target } from './target.ts'

/** As often as there is more to do. */
export async function maintainAll(target: Target): Promise<void> {
  while ((await maintain(target)).more);
}

export async function maintain(target: Target, request: MaintainRequest = {}): Promise<MaintainResponse> {
  return json<MaintainResponse>(await call(target, 'POST', '/v1/maintain', { body: request }))
}
