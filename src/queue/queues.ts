/* Queues themselves: create or replace, describe, list, delete, purge, pause, resume. */
import { type Clock, databaseClock } from '../clock.ts'
import { call, callOne, type Executor, neverCached } from '../db/call.ts'
import type { QueueConfig, QueueInfo, QueueListResponse } from '../wire.ts'
import { configToSql, type QueueRow, queueInfo } from './config.ts'

/** Create a queue, or replace the whole configuration of the one with this name; what is not given gets its default.
 * @throws QueueError request_invalid. */
export async function createQueue(
  executor: Executor,
  queue: string,
  config: QueueConfig = {},
): Promise<{ readonly info: QueueInfo; readonly created: boolean }> {
  const { named, values } = configToSql(config, 2)
  const row = await callOne<QueueRow & { readonly created: boolean }>(
    executor,
    `select info.*, info.created_at = info.updated_at as created
    from postbag.create_queue($1, now => clock_timestamp()${named && `, ${named}`}) as info`,
    [queue, ...values],
  )
  return { info: queueInfo(row), created: row.created }
}

/** @throws QueueError queue_not_found. */
export async function describeQueue(executor: Executor, queue: string): Promise<QueueInfo> {
  return queueInfo(
    await callOne<QueueRow>(executor, `select * from postbag.describe_queue($1) where ${neverCached}`, [queue]),
  )
}

/** Queues whose name starts with the prefix, by name, a page at a time. */
export async function listQueues(
  executor: Executor,
  {
    prefix = '',
    after = '',
    max = 100,
  }: { readonly prefix?: string; readonly after?: string; readonly max?: number } = {},
): Promise<QueueListResponse> {
  const rows = await call<QueueRow>(
    executor,
    `select * from postbag.list_queues($1, $2, $3::integer) where ${neverCached}`,
    [prefix, after, max],
  )
  const last = rows.at(-1)
  return { queues: rows.map(queueInfo), ...(last && rows.length === max && { next: last.name }) }
}

/** Delete a queue and all its messages; how many there were.
 * @throws QueueError queue_not_found. */
export async function deleteQueue(executor: Executor, queue: string): Promise<number> {
  const row = await callOne<{ deleted: string }>(
    executor,
    `select postbag.delete_queue($1)::text as deleted where ${neverCached}`,
    [queue],
  )
  return Number(row.deleted)
}

/** Delete all messages of a queue, leased and delayed ones too; how many there were.
 * @throws QueueError queue_not_found. */
export async function purgeQueue(executor: Executor, queue: string): Promise<number> {
  const row = await callOne<{ purged: string }>(
    executor,
    `select postbag.purge($1)::text as purged where ${neverCached}`,
    [queue],
  )
  return Number(row.purged)
}

/** Hand out nothing any more, until it is resumed; sending and settling go on.
 * @throws QueueError queue_not_found. */
export async function pauseQueue(executor: Executor, queue: string, clock: Clock = databaseClock): Promise<QueueInfo> {
  return queueInfo(
    await callOne<QueueRow>(executor, `select * from postbag.pause($1, coalesce($2::timestamptz, clock_timestamp()))`, [
      queue,
      clock(),
    ]),
  )
}

/** Hand out messages again.
 * @throws QueueError queue_not_found. */
export async function resumeQueue(executor: Executor, queue: string, clock: Clock = databaseClock): Promise<QueueInfo> {
  return queueInfo(
    await callOne<QueueRow>(
      executor,
      `select * from postbag.resume($1, coalesce($2::timestamptz, clock_timestamp()))`,
      [queue, clock()],
    ),
  )
}
