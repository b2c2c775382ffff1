/* From RabbitMQ's optional arguments of a queue, and the same words in policies (there without x-), to settings of Postbag. Pure.
 *
 * What is out of Postbag's range is unmapped; with --partial the nearest value is taken. */
import { shown } from '../../http/fields.ts'
import * as limits from '../../limits.ts'
import type { PolicySettings } from '../../wire.ts'
import type { Finding, Report } from './finding.ts'

/** By their names in policies: x-message-ttl is message-ttl. */
export type Raw = Readonly<Record<string, unknown>>

/** What will be there. */
export interface Known {
  readonly queues: ReadonlySet<string>
  readonly exchanges: ReadonlySet<string>
}

/** The arguments of a queue, without x-; others mean nothing to RabbitMQ. */
export function rawArguments(given: Raw): Raw {
  const meant = Object.entries(given).filter(([name]) => name.startsWith('x-'))
  return Object.fromEntries(meant.map(([name, value]) => [name.slice(2), value]))
}

export function settingsOf(raw: Raw, subject: string, known: Known, report: Report): PolicySettings {
  const settings = Object.entries(raw).map(([name, value]) => settingOf(name, value, `${subject}, ${name}`, report))
  return Object.assign({}, ...settings, deadLetterSettings(raw, subject, known, report))
}

function settingOf(name: string, value: unknown, about: string, report: Report): PolicySettings {
  const measure = measures.get(name)
  if (measure) return measured(measure, value, about, report)
  if (name === 'overflow') {
    const overflow = overflows.get(value)
    if (!overflow) report('unmapped', about, `must be ${[...overflows.keys()].join(' or ')}, got ${shown(value)}`)
    return { overflow: overflow ?? 'reject' }
  }
  const [, kind, why] = otherwise.find(([names]) => names.test(name)) ?? unknown
  if (!elsewhere.includes(name)) report(kind, about, why)
  return {}
}

interface Measure {
  readonly field: keyof PolicySettings
  readonly from: number
  readonly to: number
  readonly in?: (number: number) => number
  /** What stands for no limit. */
  readonly none?: number
}

function measured(measure: Measure, value: unknown, about: string, report: Report): PolicySettings {
  const { field, from, to, in: convert = (number) => number, none } = measure
  if (value === none) return {}
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    report('unmapped', about, `must be a whole number, got ${shown(value)}`)
    return {}
  }
  if (value < from || value > to) report('unmapped', about, `must be between ${from} and ${to}, got ${value}`)
  return { [field]: convert(Math.min(Math.max(value, from), to)) }
}

const measures: ReadonlyMap<string, Measure> = new Map<string, Measure>([
  ['message-ttl', { field: 'ttlSeconds', from: 1, to: limits.maxTtlSeconds * 1000, in: (millis) => millis / 1000 }],
  ['max-length', { field: 'maxMessages', from: 1, to: limits.maxQueueMessages }],
  ['max-length-bytes', { field: 'maxBytes', from: 1, to: limits.maxQueueBytes }],
  ['max-priority', { field: 'maxPriority', from: 0, to: limits.maxPriority }],
  // It counts the times that a message comes back, maxAttempts those that it is handed out.
  [
    'delivery-limit',
    { field: 'maxAttempts', from: 0, to: limits.maxAttempts - 1, in: (returns) => returns + 1, none: -1 },
  ],
])

const overflows: ReadonlyMap<unknown, 'drop-oldest' | 'reject'> = new Map([
  ['drop-head', 'drop-oldest'],
  ['reject-publish', 'reject'],
])

/** What is not looked at here: dead letters below, types of queues in queues.ts, alternates in exchanges.ts. */
const elsewhere = ['dead-letter-exchange', 'dead-letter-routing-key', 'queue-type', 'alternate-exchange']

type Otherwise = readonly [names: RegExp, kind: Finding['kind'], why: string]

const otherwise: readonly Otherwise[] = [
  [
    /^(ha-.*|queue-mode|queue-version|queue-(master|leader)-locator|quorum-initial-group-size|target-group-size|max-in-memory-.*)$/,
    'ignored',
    'where and in how many copies messages are kept is the business of Postgres',
  ],
  [/^dead-letter-strategy$/, 'ignored', 'dead letters are moved in one transaction: none is lost'],
  [
    /^consumer-timeout$/,
    'ignored',
    'who takes too long loses the lease: leaseSeconds (30 by default) and extend are for that',
  ],
  [/^expires$/, 'unmapped', 'queues do not go away by themselves'],
  [/^single-active-consumer$/, 'unmapped', 'all consumers receive: where the order matters, send with groups'],
  [/^federation-upstream/, 'unmapped', 'there is no federation'],
  [/^(max-age|stream-.*)$/, 'unmapped', 'there are no queues that keep what was read'],
]

const unknown: Otherwise = [/^/, 'unmapped', 'is not known to this import']

/** Where RabbitMQ publishes dead letters. By the exchange without a name to a queue: that is its dead-letter queue. */
function deadLetterSettings(raw: Raw, subject: string, known: Known, report: Report): PolicySettings {
  const { 'dead-letter-exchange': exchange, 'dead-letter-routing-key': given } = raw
  if (exchange === undefined) return {}
  const about = `${subject}, dead-letter-exchange`
  const key = given === undefined ? {} : { deadLetterRoutingKey: String(given) }
  if (exchange !== '') {
    if (known.exchanges.has(String(exchange))) return { deadLetterExchange: String(exchange), ...key }
    report('unmapped', about, `leads to the exchange ${shown(exchange)}, which is not imported`)
    return {}
  }
  if (given === undefined) return { deadLetterExchange: 'default' }
  if (known.queues.has(String(given))) return { deadLetterQueue: String(given) }
  report(
    'note',
    about,
    `leads to the queue ${shown(given)}: until there is one, dead letters stay where they are, as "dead"`,
  )
  return { deadLetterExchange: 'default', ...key }
}
