/* From RabbitMQ's definitions to Postbag's, and what cannot be had or is not the same. Pure. */
import { maxImported } from '../../limits.ts'
import type { Definitions, ExchangeType } from '../../wire.ts'
import { Ending, exitCodes } from '../exit.ts'
import { planBindings } from './bindings.ts'
import type { RabbitDefinitions } from './definitions.ts'
import { withDurability } from './durability.ts'
import { builtIn, keptExchanges, planExchange } from './exchanges.ts'
import type { Finding, Report } from './finding.ts'
import { planPolicies } from './policies.ts'
import { keptQueues, planQueue } from './queues.ts'
import { type VirtualHost, virtualHost } from './vhost.ts'

export interface Translation {
  /** Undefined if the file does not say it. */
  readonly vhost: string | undefined
  readonly definitions: Required<Definitions>
  readonly findings: readonly Finding[]
}

/** @param vhost which; may be left out where there is only one
 * @throws Ending usage for a virtual host that is not there, or not named; badInput for one with too much in it. */
export function translate(given: RabbitDefinitions, vhost?: string): Translation {
  const findings: Finding[] = []
  const report: Report = (kind, subject, why) => findings.push({ kind, subject, why })
  const host = virtualHost(given, vhost, report)
  refuseTooMany(host)

  const exchangesKept = keptExchanges(host, report)
  const queuesKept = keptQueues(host, report)
  const types = new Map<string, ExchangeType>([
    ...Object.entries(builtIn),
    ...exchangesKept.map(({ name, type }) => [name, type] as const),
  ])
  const known = { queues: new Set(queuesKept.map(({ name }) => name)), exchanges: new Set(types.keys()) }

  const policies = planPolicies(host, known, report)
  const planned = queuesKept.map((queue) => planQueue(queue, host.version, policies, known, report))
  const exchanges = exchangesKept.map((exchange) => planExchange(exchange, policies, report))
  const bindings = planBindings(host.bindings, types, known.queues, report)
  const transient = new Set(queuesKept.filter(({ isDurable }) => !isDurable).map(({ name }) => name))
  const queues = withDurability({ exchanges, queues: planned, policies: policies.planned, bindings }, transient, report)

  const used = new Set([
    ...exchanges.map(({ alternate }) => alternate),
    ...[...queues, ...policies.planned.map(({ settings }) => settings)].map(
      ({ deadLetterExchange }) => deadLetterExchange,
    ),
    ...bindings.flatMap(({ source, exchange }) => [source, exchange]),
  ])
  const usedBuiltIn = Object.entries(builtIn).filter(([name]) => used.has(name))
  return {
    vhost: host.name,
    definitions: {
      exchanges: [...usedBuiltIn.map(([name, type]) => ({ name, type })), ...exchanges],
      queues,
      policies: policies.planned,
      bindings,
    },
    findings,
  }
}

/** Before all is compared with all. */
function refuseTooMany({ queues, exchanges, bindings, policies, operatorPolicies }: VirtualHost): void {
  const total = [queues, exchanges, bindings, policies, operatorPolicies].reduce((sum, { length }) => sum + length, 0)
  if (total <= maxImported) return
  const rule = `must have at most ${maxImported} queues, exchanges, bindings and policies`
  throw new Ending(exitCodes.badInput, `the virtual host ${rule}, got ${total}`)
}
