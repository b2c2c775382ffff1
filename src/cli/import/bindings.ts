/* RabbitMQ's bindings, as Postbag binds. Pure. */
import { shown } from '../../http/fields.ts'
import { maxBindingHeaders, maxWeight } from '../../limits.ts'
import type { BindingCondition, DefinedBinding, ExchangeType } from '../../wire.ts'
import type { RabbitBinding } from './definitions.ts'
import type { Report } from './finding.ts'
import type { Raw } from './settings.ts'

/** @param types those of the exchanges that are imported, by their names */
export function planBindings(
  given: readonly RabbitBinding[],
  types: ReadonlyMap<string, ExchangeType>,
  queues: ReadonlySet<string>,
  report: Report,
): readonly DefinedBinding[] {
  const weights = new Map<string, number>()
  return given.flatMap((binding) => {
    const planned = planBinding(binding, types, queues, report)
    if (planned?.weight === undefined) return planned ?? []
    // A hash exchange of RabbitMQ's passes by what is bound a second time, whatever its weight (chx_hash_ring_update_fun).
    const way = JSON.stringify([binding.source, binding.destination_type, binding.destination])
    const weight = weights.get(way)
    if (weight === undefined) weights.set(way, planned.weight)
    if (weight !== undefined && weight !== planned.weight)
      report(
        'note',
        subjectOf(binding),
        `counts once, as in RabbitMQ: with the weight ${weight}, which comes first here`,
      )
    return weight === undefined ? planned : []
  })
}

function subjectOf({ source, destination, destination_type: kind, routing_key: routingKey }: RabbitBinding): string {
  return `binding of ${source || 'the default exchange'} to the ${kind} ${destination} (${routingKey})`
}

function planBinding(
  binding: RabbitBinding,
  types: ReadonlyMap<string, ExchangeType>,
  queues: ReadonlySet<string>,
  report: Report,
): DefinedBinding | undefined {
  const { source, destination, destination_type: kind, routing_key: routingKey } = binding
  // Every queue is bound to the exchange without a name by its own name, also here.
  if (source === '' && kind === 'queue' && routingKey === destination) return undefined
  const subject = subjectOf(binding)
  const type = types.get(source)
  const isThere = kind === 'queue' ? queues.has(destination) : types.has(destination)
  if (type === undefined || !isThere) {
    report('unmapped', subject, `the ${isThere ? `exchange ${source}` : `${kind} ${destination}`} is not imported`)
    return undefined
  }
  const condition = conditionOf(binding, type, subject, report)
  return condition && { source, [kind]: destination, ...condition }
}

function conditionOf(
  { routing_key: routingKey, arguments: given }: RabbitBinding,
  type: ExchangeType,
  subject: string,
  report: Report,
): (BindingCondition & { readonly weight?: number }) | undefined {
  if (type === 'headers') return headersCondition(given, routingKey, subject, report)
  if (type !== 'hash') return { routingKey }
  const weight = Number(routingKey)
  if (Number.isInteger(weight) && weight >= 1 && weight <= maxWeight) return { weight }
  report('unmapped', subject, `its weight must be between 1 and ${maxWeight}, got ${shown(routingKey)}`)
  return undefined
}

function headersCondition(
  given: Raw,
  routingKey: string,
  subject: string,
  report: Report,
): BindingCondition | undefined {
  const { 'x-match': how = 'all', ...sought } = given
  const match = /^(all|any)(-with-x)?$/.exec(String(how))
  if (!match) {
    report('unmapped', subject, `its x-match must be all, any, all-with-x or any-with-x, got ${shown(how)}`)
    return undefined
  }
  // Without "-with-x", RabbitMQ does not ask for those whose names begin with x-.
  const asked = Object.entries(sought).filter(([name]) => match[2] !== undefined || !name.startsWith('x-'))
  const bad = asked.find(([, value]) => typeof value === 'object' && value !== null)
  if (bad) {
    report('unmapped', subject, `a header must be a text, a number or true or false, got ${shown(bad[1])}`)
    return undefined
  }
  if (asked.length > maxBindingHeaders) {
    report('unmapped', subject, `must ask for at most ${maxBindingHeaders} headers, got ${asked.length}`)
    return undefined
  }
  if (match[1] === 'any' && asked.length === 0) {
    report('ignored', subject, 'asks for any of no headers, which no message has')
    return undefined
  }
  if (asked.some(([, value]) => typeof value === 'number' || typeof value === 'boolean')) {
    report('note', subject, 'asks for texts, as all headers are texts here: 5 is "5", true is "true"')
  }
  const headers = Object.fromEntries(asked.map(([name, value]) => [name, value === null ? null : String(value)]))
  return { routingKey, headers, match: match[1] as 'all' | 'any' }
}
