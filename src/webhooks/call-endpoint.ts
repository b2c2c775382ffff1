/* A call of a function that returns one row about one endpoint. One that is deleted while the function runs is an endpoint that does not exist,
 * at whatever place the function notices that. */
import { call, type Executor } from '../db/call.ts'
import { QueueError } from '../errors.ts'

/** @throws QueueError endpoint_not_found if there is no row, or no queue of the endpoint; and what else the function raises */
export async function callEndpoint<Row>(
  executor: Executor,
  endpoint: string,
  text: string,
  values: unknown[],
): Promise<Row> {
  try {
    const [row] = await call<Row>(executor, text, values)
    if (row !== undefined) return row
  } catch (error) {
    if (!(error instanceof QueueError && error.code === 'queue_not_found')) throw error
  }
  throw endpointNotFound(endpoint)
}

export function endpointNotFound(endpoint: string): QueueError {
  return new QueueError('endpoint_not_found', `endpoint "${endpoint}" does not exist`)
}
