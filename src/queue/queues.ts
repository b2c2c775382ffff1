/* Queues themselves: create or replace, describe, list, delete, purge. */
import { call, callOne, type Executor, neverCached } from '../db/call.ts'
import type { QueueConfig, QueueInfo, QueueListResponse } from '../wire.ts'
import { isoTime } from './message.ts'

interface QueueRow {
  readonly name: string
  readonly lease_seconds: number
  readonly delay_seconds: number
  readonly max_priority: number
  readonly dedup_window_seconds: number
  readonly created_at: Date
  readonly updated_at: Date
}

/** Create a queue, or replace the whole configuration of the one with this name; what is not given gets its default.
 * @throws QueueError request_invalid. */
export async function createQueue(
  executor: Executor,
  queue: string,
  config: QueueConfig = {},
): Promise<{ readonly info: QueueInfo; readonly created: boolean }> {
  const row = await callOne<QueueRow & { readonly created: boolean }>(
    executor,
    `select info.*, info.created_at = info.updated_at as created
    from postbag.create_queue(
      $1,
      lease => make_interval(secs => $2::double precision),
      delay => make_interval(secs => $3::double precision),
      max_priority => $4::integer,
      dedup_window => make_interval(secs => $5::double precision),
      now => clock_timestamp()
    ) as info`,
    [
      queue,
      config.leaseSeconds ?? 30,
      config.delaySeconds ?? 0,
      config.maxPriority ?? 0,
      config.dedupWindowSeconds ?? 300,
    ],
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

function queueInfo(row: QueueRow): QueueInfo {
  return {
    name: row.name,
    leaseSeconds: row.lease_seconds,
    delaySeconds: row.delay_seconds,
    maxPriority: row.max_priority,
    dedupWindowSeconds: row.dedup_window_seconds,
    createdAt: isoTime(row.created_at),
    updatedAt: isoTime(row.updated_at),
  }
}
