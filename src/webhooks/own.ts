/* What belongs to whom: an application's endpoints, and the events that went to an endpoint. What is another's is refused in the words for
 * what does not exist, so that nobody learns from an error what others have. */
import { call, type Executor, neverCached } from '../db/call.ts'
import { QueueError } from '../errors.ts'
import { endpointNotFound } from './call-endpoint.ts'

/** @throws QueueError endpoint_not_found, unless it is an endpoint of this application */
export async function requireEndpointOf(executor: Executor, application: string, endpoint: string): Promise<void> {
  const own = `select from postbag.endpoint where name = $1 and application = $2 and ${neverCached}`
  if ((await call(executor, own, [endpoint, application])).length > 0) return
  throw endpointNotFound(endpoint)
}

/** @throws QueueError event_not_found, unless it is an event that went to this endpoint, once at least, and is kept */
export async function requireEventOf(executor: Executor, endpoint: string, eventId: string): Promise<void> {
  const own = `select from postbag.body as event
    join postbag.endpoint on endpoint.queue_id = any (event.queue_ids)
    where endpoint.name = $1 and event.body_id = substring($2 from '^evt_([0-9]{1,18})$')::bigint and ${neverCached}`
  if ((await call(executor, own, [endpoint, eventId])).length > 0) return
  throw new QueueError('event_not_found', `event ${eventId} does not exist, or is not kept any more`)
}
