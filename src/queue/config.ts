/* A queue's configuration on its way to and from the database: which field is which argument of postbag.create_queue, which column
 * of postbag.queue_info, and which setting of a policy. The defaults are the database's: what is not given is not named in the call. */
import type { Origin, PolicySettings, QueueConfig, QueueInfo } from '../wire.ts'
import { isoTime } from './message.ts'

/** The argument's name, and what it takes. A column is named like its argument; an interval's has _seconds behind it. */
type Setting = readonly [name: string, kind: 'text' | 'number' | 'interval']

const settings = {
  order: ['delivery_order', 'text'],
  maxPriority: ['max_priority', 'number'],
  groups: ['group_mode', 'text'],
  leaseSeconds: ['lease', 'interval'],
  delaySeconds: ['delay', 'interval'],
  ttlSeconds: ['ttl', 'interval'],
  maxAttempts: ['max_attempts', 'number'],
  retryDelaySeconds: ['retry_delay', 'interval'],
  retryBackoff: ['retry_backoff', 'text'],
  retryMaxDelaySeconds: ['retry_max_delay', 'interval'],
  retryJitter: ['retry_jitter', 'number'],
  deadLetterQueue: ['dead_letter_queue', 'text'],
  deadLetterExchange: ['dead_letter_exchange', 'text'],
  deadLetterRoutingKey: ['dead_letter_routing_key', 'text'],
  deadLetterRetentionSeconds: ['dead_letter_retention', 'interval'],
  dedupWindowSeconds: ['dedup_window', 'interval'],
  dedupBy: ['dedup_by', 'text'],
  dedupScope: ['dedup_scope', 'text'],
  maxMessages: ['max_messages', 'number'],
  maxBytes: ['max_bytes', 'number'],
  overflow: ['overflow', 'text'],
  maxInFlight: ['max_in_flight', 'number'],
  ratePerSecond: ['rate', 'number'],
  rateBurst: ['burst', 'number'],
  groupRatePerSecond: ['group_rate', 'number'],
  groupRateBurst: ['group_burst', 'number'],
  durability: ['durability', 'text'],
} as const satisfies Record<keyof QueueConfig, Setting>

const fields = Object.entries(settings) as [keyof QueueConfig, Setting][]

/** What is given of a configuration, as named arguments from `$first` on and the values for them. */
export function configToSql(
  config: QueueConfig,
  first: number,
): { readonly named: string; readonly values: unknown[] } {
  const given = fields.filter(([field]) => config[field] !== undefined && config[field] !== null)
  const none = fields.filter(([field]) => config[field] === null).map(([, [name]]) => name)
  const named = given.map(([, [name, kind]], index) => {
    const parameter = `$${first + index}`
    return `${name} => ${kind === 'interval' ? `make_interval(secs => ${parameter}::double precision)` : parameter}`
  })
  const values: unknown[] = given.map(([field]) => config[field])
  if (none.length > 0) {
    named.push(`without => $${first + given.length}::text[]`)
    values.push(none)
  }
  return { named: named.join(', '), values }
}

/** What a policy says; undefined: nothing. */
export type GivenSettings = { readonly [Field in keyof PolicySettings]?: PolicySettings[Field] | undefined }

/** The same, under the database's names; a number for an interval is its seconds. */
export function settingsToSql(settings: GivenSettings): Readonly<Record<string, unknown>> {
  const given: Readonly<Record<string, unknown>> = settings
  return Object.fromEntries(
    fields.flatMap(([field, [name]]) => (given[field] === undefined ? [] : [[name, given[field]]])),
  )
}

export function settingsFromSql(stored: Readonly<Record<string, unknown>>): PolicySettings {
  return Object.fromEntries(
    fields.flatMap(([field, [name]]) => (stored[name] === undefined ? [] : [[field, stored[name]]])),
  )
}

/** A row of postbag.queue_info: null where nothing is configured and there is no default. */
export interface QueueRow {
  readonly name: string
  readonly paused: boolean
  readonly created_at: Date
  readonly updated_at: Date
  /** By the names of the arguments. */
  readonly origins: Readonly<Record<string, Origin>>
  readonly [setting: string]: unknown
}

export function queueInfo(row: QueueRow): QueueInfo {
  const config = fields.flatMap(([field, [name, kind]]) => {
    const value = row[kind === 'interval' ? `${name}_seconds` : name]
    return value === null ? [] : [[field, kind === 'text' ? value : Number(value)]]
  })
  return {
    name: row.name,
    ...(Object.fromEntries(config) as Pick<QueueInfo, keyof QueueConfig>),
    paused: row.paused,
    createdAt: isoTime(row.created_at),
    updatedAt: isoTime(row.updated_at),
    origins: Object.fromEntries(
      fields.flatMap(([field, [name]]) => (row.origins[name] === undefined ? [] : [[field, row.origins[name]]])),
    ),
  }
}
