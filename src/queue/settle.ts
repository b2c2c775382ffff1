/* ack, nack, extend: what the owner of a lease does with it. One outcome per receipt, in their order; a refused receipt changes
 * nothing. All in the executor's transaction, so that work and ack can commit together. */
import { type Clock, databaseClock } from '../clock.ts'
import { call, type Executor, neverCached } from '../db/call.ts'
import type { AckRequest, ExtendRequest, NackRequest, Settlement } from '../wire.ts'

/** The messages are done: delete them.
 * @throws QueueError queue_not_found, request_invalid, batch_too_large. */
export async function ack(executor: Executor, queue: string, { receipts }: AckRequest): Promise<readonly Settlement[]> {
  return call<Settlement>(executor, `select receipt, outcome from postbag.ack($1, $2::jsonb) where ${neverCached}`, [
    queue,
    JSON.stringify(receipts),
  ])
}

/** Give messages back, to be received again after delaySeconds.
 * @throws QueueError queue_not_found, request_invalid, batch_too_large. */
export async function nack(
  executor: Executor,
  queue: string,
  { receipts, delaySeconds = 0, error }: NackRequest,
  clock: Clock = databaseClock,
): Promise<readonly Settlement[]> {
  return call<Settlement>(
    executor,
    `select receipt, outcome from postbag.nack(
      $1, $2::jsonb, make_interval(secs => $3::double precision), $4, coalesce($5::timestamptz, clock_timestamp())
    )`,
    [queue, JSON.stringify(receipts), delaySeconds, error && storable(error), clock()],
  )
}

/** Keep messages for leaseSeconds from now on.
 * @throws QueueError queue_not_found, request_invalid, batch_too_large. */
export async function extend(
  executor: Executor,
  queue: string,
  { receipts, leaseSeconds }: ExtendRequest,
  clock: Clock = databaseClock,
): Promise<readonly Settlement[]> {
  return call<Settlement>(
    executor,
    `select receipt, outcome from postbag.extend(
      $1, $2::jsonb, make_interval(secs => $3::double precision), coalesce($4::timestamptz, clock_timestamp())
    )`,
    [queue, JSON.stringify(receipts), leaseSeconds, clock()],
  )
}

/** An error text with what Postgres cannot hold replaced: losing a character is better than refusing the nack. */
function storable(text: string): string {
  return text.replaceAll('\0', '\uFFFD').toWellFormed()
}
