/* redriveAll: bring dead letters back, call after call. */
import type { RedriveRequest, RedriveResponse } from '../wire.ts'
import type { Given } from './effects.ts'
import type { RemoteQueue } from './remote.ts'

const MAX_PER_CALL = 1000

export interface RedriveAllRequest extends Omit<Given<RedriveRequest>, 'max'> {
  /** Most messages of all calls together. Defaults to all there are. */
  readonly max?: number | undefined
}

export interface RedriveAllOptions {
  /** Hears after every call how many messages it has been so far, and with which `after` another redrive would go on from here (nothing
   * if it was the last call). Throwing from it ends the redrive with that error. */
  readonly onProgress?: ((redrivenMessages: number, next?: string) => void) | undefined
  /** Aborting it ends the redrive between two calls, with its reason; so what onProgress heard is what has happened. */
  readonly signal?: AbortSignal | undefined
}

export async function redriveAll(
  { connection, path }: RemoteQueue,
  { max = Number.POSITIVE_INFINITY, after, ...request }: RedriveAllRequest,
  { onProgress, signal }: RedriveAllOptions,
  verb = 'redrive',
): Promise<number> {
  let redriven = 0
  let next = after
  do {
    signal?.throwIfAborted()
    const call = { ...request, max: Math.min(MAX_PER_CALL, max - redriven), after: next }
    const { data } = await connection.call<RedriveResponse>('POST', `${path}/${verb}`, call)
    redriven += data.redrivenMessages
    next = data.next
    onProgress?.(redriven, next)
  } while (next !== undefined && redriven < max)
  return redriven
}
