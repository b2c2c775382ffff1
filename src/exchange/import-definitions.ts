/* import-definitions: what was defined elsewhere, at once: exchanges, queues, policies and bindings, all or none. */
import { call, type Executor, neverCached } from '../db/call.ts'
import { settingsToSql } from '../queue/config.ts'
import type { Definitions, Imported, ImportRequest, ImportResponse } from '../wire.ts'

interface CountRow extends Imported {
  readonly kind: keyof Definitions
}

/** What is there just so stays; what is there otherwise is never replaced.
 * @throws QueueError import_conflict, which names what cannot be and why, request_invalid, batch_too_large; then nothing was imported. */
export async function importDefinitions(
  executor: Executor,
  { dryRun = false, ...definitions }: ImportRequest,
): Promise<ImportResponse> {
  const rows = await call<CountRow>(
    executor,
    `select kind, created, present from postbag.import_definitions($1::jsonb, dry_run => $2::boolean) where ${neverCached}`,
    [JSON.stringify(definitionsToSql(definitions)), dryRun],
  )
  const count = (of: keyof Definitions): Imported => {
    const { created = 0, present = 0 } = rows.find(({ kind }) => kind === of) ?? {}
    return { created, present }
  }
  return {
    exchanges: count('exchanges'),
    queues: count('queues'),
    policies: count('policies'),
    bindings: count('bindings'),
  }
}

function definitionsToSql({ exchanges = [], queues = [], policies = [], bindings = [] }: Definitions) {
  return {
    exchanges,
    queues: queues.map(({ name, ...settings }) => ({ name, settings: settingsToSql(settings) })),
    policies: policies.map(({ name, pattern, settings }) => ({ name, pattern, settings: settingsToSql(settings) })),
    bindings: bindings.map(({ source, queue, exchange, routingKey, headers, match, weight }) => ({
      exchange: source,
      queue,
      to_exchange: exchange,
      routing_key: routingKey,
      headers,
      header_match: match,
      weight,
    })),
  }
}
