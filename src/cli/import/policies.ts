/* RabbitMQ's policies, and those of Postbag that they become. Pure.
 *
 * The two choose differently. In RabbitMQ one policy holds for a queue, that of the highest priority, and one of the operator beside it; of
 * two lengths or times the lower counts. In Postbag all that match hold, setting by setting the most specific first, and the queue's own
 * before them. queues.ts sees to it that each queue of the file has what it had; what is written here as a note is for queues to come. */
import { shown } from '../../http/fields.ts'
import { queueNamePattern, queueNameRule } from '../../limits.ts'
import type { PolicyConfig, PolicySettings } from '../../wire.ts'
import type { RabbitPolicy } from './definitions.ts'
import type { Report } from './finding.ts'
import { bySpecificity, matches, starPattern } from './pattern.ts'
import { type Known, type Raw, settingsOf } from './settings.ts'
import type { VirtualHost } from './vhost.ts'

type Definition = PolicyConfig & { readonly name: string }

export interface Policies {
  /** As Postbag has them, the most specific first. */
  readonly planned: readonly Definition[]
  /** What RabbitMQ's policies say of a queue of a type, or of an exchange. */
  rawOf(name: string, type: string): Raw
}

/** A policy whose pattern Postbag can say. */
interface Readable extends PolicyConfig {
  /** What it is called in Postbag; undefined if it cannot be there. */
  readonly name: string | undefined
  readonly from: RabbitPolicy
}

export function planPolicies(vhost: VirtualHost, known: Known, report: Report): Policies {
  const taken = new Set<string>()
  const read = (kind: Kind, all: readonly RabbitPolicy[]) =>
    all.flatMap((from) => readable(from, kind, hidesOthers(from, all), known, taken, report))
  const policies = read(kinds.policy, vhost.policies)
  const operators = read(kinds.operator, vhost.operatorPolicies)
  reportPriorities(named(policies), report)
  return {
    planned: named([...policies, ...operators]).map(({ name, pattern, settings }) => ({ name, pattern, settings })),
    rawOf: (name, type) => lower(chosen(policies, name, type), chosen(operators, name, type)),
  }
}

/** Those that will be there, the most specific first. */
function named(policies: readonly Readable[]): readonly (Readable & Definition)[] {
  return policies
    .flatMap((policy) => (policy.name !== undefined && saysSomething(policy) ? [{ ...policy, name: policy.name }] : []))
    .sort(bySpecificity)
}

function saysSomething({ settings }: Pick<PolicyConfig, 'settings'>): boolean {
  return Object.keys(settings).length > 0
}

/** Of two that speak of the same queue: the lower of what is counted (a delivery limit below 0 is none), else what the second says. */
export function lower(first: Raw, second: Raw): Raw {
  const both = counted.flatMap((name) => {
    const values = [first[name], second[name]].filter((value) => typeof value === 'number')
    const isWithoutLimit = name === 'delivery-limit' && values.some((value) => value < 0)
    return values.length === 2 ? [[name, (isWithoutLimit ? Math.max : Math.min)(...values)]] : []
  })
  return { ...first, ...second, ...Object.fromEntries(both) }
}

const counted = ['message-ttl', 'max-length', 'max-length-bytes', 'expires', 'delivery-limit']

interface Kind {
  readonly word: string
  readonly prefix: string
}

const kinds = {
  policy: { word: 'policy', prefix: '' },
  operator: { word: 'operator policy', prefix: 'operator.' },
} as const satisfies Readonly<Record<string, Kind>>

/** Whether a policy keeps others from holding, whatever it says itself. */
function hidesOthers(policy: RabbitPolicy, all: readonly RabbitPolicy[]): boolean {
  return all.some((other) => other !== policy && other.priority <= policy.priority)
}

function readable(
  from: RabbitPolicy,
  kind: Kind,
  hides: boolean,
  known: Known,
  taken: Set<string>,
  report: Report,
): readonly Readable[] {
  const subject = `${kind.word} ${from.name}`
  const { 'apply-to': applyTo, definition } = from
  if (applyTo === 'streams') {
    report('ignored', subject, 'is for streams only')
    return []
  }
  const settings = withOverflow(applyTo === 'exchanges' ? {} : settingsOf(definition, subject, known, report))
  const pattern = starPattern(from.pattern)
  if (pattern === undefined) {
    const matters = hides || saysSomething({ settings }) || definition['alternate-exchange'] !== undefined
    const why = `its pattern ${shown(from.pattern)} must be one that a name with * for any characters can say`
    report(matters ? 'unmapped' : 'ignored', subject, why)
    return []
  }
  if (definition['alternate-exchange'] !== undefined) {
    report('note', subject, 'its alternate-exchange is set at the exchanges that match now, and not at those to come')
  }
  if (!saysSomething({ settings })) return [{ name: undefined, pattern, settings, from }]

  if (!['all', 'queues'].includes(applyTo)) {
    report('note', subject, `is for ${applyTo.replace('_', ' ')} only, and holds for all queues to come that match`)
  }
  if (kind === kinds.operator) {
    report('note', subject, 'of it and another the lower counts in RabbitMQ, and for queues to come the more specific')
  }
  return [{ name: newName(from.name, kind, taken, report), pattern, settings, from }]
}

/** A name that Postbag allows, which no other of the policies has. */
function newName(given: string, { word, prefix }: Kind, taken: Set<string>, report: Report): string | undefined {
  const subject = `${word} ${given}`
  const name = `${prefix}${given.replace(/[^A-Za-z0-9._-]+/g, '-')}`.replace(/^[._-]+/, '')
  if (!queueNamePattern.test(name) || taken.has(name)) {
    report('unmapped', subject, `its name must be ${queueNameRule}, and no other's, got ${shown(name)}`)
    return undefined
  }
  taken.add(name)
  if (name !== `${prefix}${given}`) report('note', subject, `is called ${name}`)
  return name
}

/** RabbitMQ drops the oldest where nothing else is said, Postbag refuses. */
export function withOverflow(settings: PolicySettings): PolicySettings {
  const isLimited = settings.maxMessages !== undefined || settings.maxBytes !== undefined
  return isLimited && settings.overflow === undefined ? { ...settings, overflow: 'drop-oldest' } : settings
}

function chosen(policies: readonly Readable[], name: string, type: string): Raw {
  const applied = type === 'exchange' ? ['all', 'exchanges'] : ['all', 'queues', `${type}_queues`]
  const [first] = policies
    .filter(({ pattern, from }) => applied.includes(from['apply-to']) && matches(pattern, name))
    .sort((a, b) => b.from.priority - a.from.priority)
  return first?.from.definition ?? {}
}

/** Two that can match the same name, of which RabbitMQ prefers the one and Postbag the other. */
function reportPriorities(planned: readonly (Readable & Definition)[], report: Report): void {
  for (const [index, specific] of planned.entries()) {
    for (const general of planned.slice(index + 1)) {
      if (general.from.priority <= specific.from.priority || !meet(general.pattern, specific.pattern)) continue
      const why = `has the priority ${general.from.priority}, but ${specific.name} (${specific.from.priority}) is more specific, and wins`
      report('note', `policy ${general.name}`, why)
    }
  }
}

/** Whether a name that one pattern is made for matches the other. */
function meet(one: string, other: string): boolean {
  return matches(one, other.replaceAll('*', 'x')) || matches(other, one.replaceAll('*', 'x'))
}

/** What a queue has in Postbag, of its own and by policies. */
export function settled(planned: readonly Definition[], queue: string, own: PolicySettings): PolicySettings {
  const fitting = planned.filter(({ pattern }) => matches(pattern, queue)).map(({ settings }) => settings)
  return Object.assign({}, ...[own, ...fitting].map(withCompanions).reverse())
}

/** Who says where dead letters go says so alone (migrations/fixtures/functions/with_companions.sql). */
function withCompanions(settings: PolicySettings): PolicySettings {
  return settings.deadLetterQueue || settings.deadLetterExchange ? { ...nowhere, ...settings } : settings
}

const nowhere = { deadLetterQueue: null, deadLetterExchange: null, deadLetterRoutingKey: null }
