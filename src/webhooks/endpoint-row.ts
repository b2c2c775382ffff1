/* An endpoint on its way to and from the database: which field is which argument of postbag.set_endpoint, and which column of
 * postbag.endpoint_info. The defaults are the database's: what is not given is not named in the call. */
import { isoTime } from '../queue/message.ts'
import type { EndpointConfig, EndpointFilter, EndpointInfo, EndpointOrder } from '../wire.ts'

/** What stands in the row; secrets go their own way. */
export type StoredConfig = Omit<EndpointConfig, 'secret'>

/** The argument's name, and how its value is made of a parameter. */
type Setting = readonly [name: string, kind: 'plain' | 'json' | 'texts' | 'interval' | 'intervals']

const settings = {
  url: ['url', 'plain'],
  exchange: ['exchange', 'plain'],
  eventTypes: ['event_types', 'texts'],
  application: ['application', 'plain'],
  filter: ['filter', 'json'],
  headers: ['headers', 'json'],
  description: ['description', 'plain'],
  metadata: ['metadata', 'json'],
  timeoutSeconds: ['timeout', 'interval'],
  retriesSeconds: ['retries', 'intervals'],
  ratePerSecond: ['rate', 'plain'],
  rateBurst: ['burst', 'plain'],
  concurrency: ['concurrency', 'plain'],
  order: ['ordering', 'plain'],
} as const satisfies Record<keyof StoredConfig, Setting>

const arguments_: Record<Setting[1], (parameter: string) => string> = {
  plain: (parameter) => parameter,
  json: (parameter) => `${parameter}::jsonb`,
  texts: (parameter) => `array(${elementsOf(parameter, 'element.value')})`,
  interval: (parameter) => `make_interval(secs => ${parameter}::double precision)`,
  intervals: (parameter) => `array(${elementsOf(parameter, 'make_interval(secs => element.value::double precision)')})`,
}

/** Lists go as JSON, which every driver writes the same way. */
function elementsOf(parameter: string, one: string): string {
  const elements = `jsonb_array_elements_text(${parameter}::jsonb) with ordinality as element (value, place)`
  return `select ${one} from ${elements} order by element.place`
}

/** What is given, as named arguments from `$first` on and the values for them. */
export function endpointToSql(
  config: StoredConfig,
  first: number,
): { readonly named: string; readonly values: unknown[] } {
  const given = (Object.entries(settings) as [keyof StoredConfig, Setting][]).filter(
    ([field]) => config[field] !== undefined,
  )
  return {
    named: given.map(([, [name, kind]], index) => `${name} => ${arguments_[kind](`$${first + index}`)}`).join(', '),
    values: given.map(([field]) => {
      const value = config[field]
      return typeof value === 'object' ? JSON.stringify(value) : value
    }),
  }
}

export interface EndpointRow {
  readonly name: string
  readonly application: string | null
  readonly url: string
  readonly exchange: string
  readonly event_types: readonly string[]
  readonly filter: EndpointFilter | null
  readonly headers: Readonly<Record<string, string>>
  readonly description: string | null
  readonly metadata: Readonly<Record<string, string>>
  readonly timeout_seconds: number
  readonly retries_seconds: readonly number[]
  readonly rate: number | null
  readonly burst: number | null
  readonly concurrency: number
  readonly ordering: EndpointOrder
  readonly state: EndpointInfo['state']
  readonly breaker: EndpointInfo['breaker']
  readonly disabled_at: Date | null
  readonly disabled_because: NonNullable<EndpointInfo['disabledBecause']> | null
  readonly failures: number
  readonly failing_since: Date | null
  readonly resting_until: Date | null
  readonly created_at: Date
  readonly updated_at: Date
}

export function endpointInfo(row: EndpointRow): EndpointInfo {
  return {
    name: row.name,
    ...(row.application !== null && { application: row.application }),
    url: row.url,
    exchange: row.exchange,
    eventTypes: row.event_types,
    ...(row.filter && { filter: row.filter }),
    headers: row.headers,
    ...(row.description !== null && { description: row.description }),
    metadata: row.metadata,
    timeoutSeconds: row.timeout_seconds,
    retriesSeconds: row.retries_seconds,
    ...(row.rate !== null && { ratePerSecond: row.rate }),
    ...(row.burst !== null && { rateBurst: row.burst }),
    concurrency: row.concurrency,
    order: row.ordering,
    state: row.state,
    breaker: row.breaker,
    ...(row.disabled_at && { disabledAt: isoTime(row.disabled_at) }),
    ...(row.disabled_because && { disabledBecause: row.disabled_because }),
    failures: row.failures,
    ...(row.failing_since && { failingSince: isoTime(row.failing_since) }),
    ...(row.resting_until && { restingUntil: isoTime(row.resting_until) }),
    createdAt: isoTime(row.created_at),
    updatedAt: isoTime(row.updated_at),
  }
}
