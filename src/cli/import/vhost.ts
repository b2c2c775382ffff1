/* One virtual host of RabbitMQ's definitions: which, and what is in it. Postbag has one space of names; what
 * else is in the file is listed. */
import { isDeepStrictEqual } from 'node:util'
import { Ending, exitCodes } from '../exit.ts'
import {
  operatorPolicy,
  type RabbitBinding,
  type RabbitDefinitions,
  type RabbitExchange,
  type RabbitPolicy,
  type RabbitQueue,
} from './definitions.ts'
import type { Report } from './finding.ts'

/** Of RabbitMQ; 0.0 if the file does not say it. */
export interface Version {
  readonly major: number
  readonly minor: number
}

export interface VirtualHost {
  /** Undefined in an export of one virtual host, which does not say its name. */
  readonly name: string | undefined
  readonly version: Version
  /** Of queues that do not say theirs. */
  readonly defaultQueueType: string
  readonly queues: readonly RabbitQueue[]
  readonly exchanges: readonly RabbitExchange[]
  readonly bindings: readonly RabbitBinding[]
  readonly policies: readonly RabbitPolicy[]
  readonly operatorPolicies: readonly RabbitPolicy[]
}

const kinds = ['queues', 'exchanges', 'bindings', 'policies'] as const

/** The virtual host of that name; without one, the only one that has something.
 * @throws Ending usage if there are several, or not this one. */
export function virtualHost(definitions: RabbitDefinitions, wanted: string | undefined, report: Report): VirtualHost {
  const name = wanted ?? onlyOne(holders(definitions))
  if (wanted !== undefined && !known(definitions).includes(wanted)) {
    throw new Ending(exitCodes.usage, `there is no virtual host ${wanted} in it, but ${spelled(known(definitions))}`)
  }
  const isHere = ({ vhost }: { readonly vhost?: string | undefined }) => vhost === undefined || vhost === name
  reportRest(definitions, isHere, report)

  const parameters = definitions.parameters.filter(isHere)
  for (const { component, name: called } of parameters) {
    if (component === 'operator_policy') continue
    const [kind, why] =
      components.get(component) ?? (['unmapped', 'is of a plugin that Postbag has no counterpart of'] as const)
    report(kind, `${component} ${called}`, why)
  }
  const [major = 0, minor = 0] = (definitions.rabbitmq_version ?? definitions.rabbit_version ?? '')
    .split('.')
    .map((part) => Number.parseInt(part, 10) || 0)
  const type =
    definitions.vhosts.find((vhost) => vhost.name === name)?.default_queue_type ?? definitions.default_queue_type
  return {
    name,
    version: { major, minor },
    defaultQueueType: typeof type === 'string' && type !== 'undefined' ? type : 'classic',
    queues: once('queue', definitions.queues.filter(isHere), report),
    exchanges: once('exchange', definitions.exchanges.filter(isHere), report),
    bindings: definitions.bindings.filter(isHere),
    policies: once('policy', definitions.policies.filter(isHere), report),
    operatorPolicies: once(
      'operator policy',
      parameters
        .filter(({ component }) => component === 'operator_policy')
        .map(({ name: called, value }) => operatorPolicy(called, value)),
      report,
    ),
  }
}

/** The first of each name: files are put together by hand, too. */
function once<Item extends { readonly name: string }>(kind: string, items: readonly Item[], report: Report): Item[] {
  const firsts = new Map<string, Item>()
  for (const item of items) {
    const first = firsts.get(item.name)
    if (first === undefined) firsts.set(item.name, item)
    else if (!isDeepStrictEqual(first, item))
      report('unmapped', `${kind} ${item.name}`, 'is in the file twice, and not the same')
  }
  return [...firsts.values()]
}

const components: ReadonlyMap<string, readonly ['unmapped' | 'ignored', why: string]> = new Map([
  ['shovel', ['unmapped', 'moves messages between brokers: a consumer of yours that publishes does that']],
  ['federation-upstream', ['unmapped', 'brings messages from another broker']],
  ['federation-upstream-set', ['unmapped', 'brings messages from other brokers']],
  ['vhost-limits', ['ignored', 'there is one space of names, without such limits']],
])

function onlyOne(names: readonly string[]): string | undefined {
  if (names.length > 1) {
    throw new Ending(exitCodes.usage, `--vhost must say which virtual host to import: ${spelled(names)}`)
  }
  return names[0]
}

/** The virtual hosts that have something to import. */
function holders(definitions: RabbitDefinitions): readonly string[] {
  const named = kinds.flatMap((kind) => definitions[kind].flatMap(({ vhost }) => (vhost === undefined ? [] : [vhost])))
  return [...new Set(named)]
}

function known(definitions: RabbitDefinitions): readonly string[] {
  return [...new Set([...definitions.vhosts.map(({ name }) => name), ...holders(definitions)])]
}

function spelled(names: readonly string[]): string {
  return names.length === 0 ? 'none that has a name' : names.map((name) => JSON.stringify(name)).join(', ')
}

const lists: Readonly<Record<string, string>> = {
  users: 'access is by tokens ("postbag token") and by roles of Postgres',
  permissions: 'access is by the scopes of tokens, and by grants',
  topic_permissions: 'scopes of tokens are by the names of exchanges, not by routing keys',
  global_parameters: 'they are about the cluster',
}

/** What is in the file, and not of this virtual host's topology. */
function reportRest(
  definitions: RabbitDefinitions,
  isHere: (item: { readonly vhost?: string | undefined }) => boolean,
  report: Report,
): void {
  for (const [list, why] of Object.entries(lists)) {
    const given = definitions[list]
    if (Array.isArray(given) && given.length > 0) report('ignored', `${list.replace('_', ' ')} (${given.length})`, why)
  }
  for (const other of holders(definitions)) {
    if (!isHere({ vhost: other })) report('ignored', `virtual host ${other}`, '--vhost imports it, on its own')
  }
}
