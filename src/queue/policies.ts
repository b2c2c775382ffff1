/* Policies: settings of all queues whose names match a pattern. Set, describe, list, delete. */
import { type Clock, databaseClock } from '../clock.ts'
import { call, callOne, type Executor, neverCached } from '../db/call.ts'
import type { PolicyInfo, PolicyListResponse } from '../wire.ts'
import { type GivenSettings, settingsFromSql, settingsToSql } from './config.ts'
import { isoTime } from './message.ts'

interface PolicyRow {
  readonly name: string
  readonly pattern: string
  readonly settings: Readonly<Record<string, unknown>>
  readonly queues: string
  readonly created_at: Date
  readonly updated_at: Date
}

/** Create a policy, or replace all of the one with this name. All queues that match have its settings in the same transaction.
 * @throws QueueError request_invalid, also if a queue cannot have them: then nothing is changed. */
export async function setPolicy(
  executor: Executor,
  policy: string,
  { pattern, settings }: { readonly pattern: string; readonly settings: GivenSettings },
  clock: Clock = databaseClock,
): Promise<{ readonly info: PolicyInfo; readonly created: boolean }> {
  const row = await callOne<PolicyRow & { readonly created: boolean }>(
    executor,
    `select info.*, info.created_at = info.updated_at as created
    from postbag.set_policy($1, $2, $3::jsonb, coalesce($4::timestamptz, clock_timestamp())) as info`,
    [policy, pattern, JSON.stringify(settingsToSql(settings)), clock()],
  )
  return { info: policyInfo(row), created: row.created }
}

/** @throws QueueError policy_not_found. */
export async function describePolicy(executor: Executor, policy: string): Promise<PolicyInfo> {
  return policyInfo(
    await callOne<PolicyRow>(executor, `select * from postbag.describe_policy($1) where ${neverCached}`, [policy]),
  )
}

/** All policies, the most specific first. */
export async function listPolicies(executor: Executor): Promise<PolicyListResponse> {
  const rows = await call<PolicyRow>(executor, `select * from postbag.list_policies() where ${neverCached}`, [])
  return { policies: rows.map(policyInfo) }
}

/** Delete a policy; how many queues it matched.
 * @throws QueueError policy_not_found; request_invalid if a queue cannot be without it. */
export async function deletePolicy(executor: Executor, policy: string, clock: Clock = databaseClock): Promise<number> {
  const row = await callOne<{ matched: string }>(
    executor,
    `select postbag.delete_policy($1, coalesce($2::timestamptz, clock_timestamp()))::text as matched`,
    [policy, clock()],
  )
  return Number(row.matched)
}

function policyInfo(row: PolicyRow): PolicyInfo {
  return {
    name: row.name,
    pattern: row.pattern,
    settings: settingsFromSql(row.settings),
    matchingQueues: Number(row.queues),
    createdAt: isoTime(row.created_at),
    updatedAt: isoTime(row.updated_at),
  }
}
