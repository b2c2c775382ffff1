/* redrive: bring dead letters back. */
import { type Clock, databaseClock } from '../clock.ts'
import { callOne, type Executor } from '../db/call.ts'
import type { RedriveRequest, RedriveResponse } from '../wire.ts'

/** Put the dead letters of a queue (its messages that came from another one, and its own in the state "dead") that meet all conditions
 * back to where they came from, or into `target`; so many of them in a second, or all at once.
 * @throws QueueError queue_not_found, request_invalid, batch_too_large. */
export async function redrive(
  executor: Executor,
  queue: string,
  request: RedriveRequest = {},
  clock: Clock = databaseClock,
): Promise<RedriveResponse> {
  const { ids, headers } = request
  const { redriven, next } = await callOne<{ readonly redriven: string; readonly next: string | null }>(
    executor,
    `select * from postbag.redrive(
      $1,
      now => coalesce($2::timestamptz, clock_timestamp()),
      ids => $3::jsonb,
      target => $4,
      type => $5,
      headers => $6::jsonb,
      group_key => $7,
      min_age => make_interval(secs => $8::double precision),
      max_age => make_interval(secs => $9::double precision),
      error_contains => $10,
      reason => $11,
      max_messages => $12::integer,
      rate => $13::double precision,
      dry_run => $14::boolean,
      after => $15
    )`,
    [
      queue,
      clock(),
      ids && JSON.stringify(ids),
      request.target,
      request.type,
      headers && JSON.stringify(headers),
      request.group,
      request.minAgeSeconds,
      request.maxAgeSeconds,
      request.errorContains,
      request.reason,
      request.max ?? 1000,
      request.ratePerSecond,
      request.dryRun ?? false,
      request.after,
    ],
  )
  return { redrivenMessages: Number(redriven), ...(next !== null && { next }) }
}
