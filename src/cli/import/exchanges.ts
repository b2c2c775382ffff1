/* RabbitMQ's exchanges, as Postbag declares them. Pure. */
import { shown } from '../../http/fields.ts'
import { queueNamePattern, queueNameRule } from '../../limits.ts'
import type { ExchangeConfig, ExchangeType } from '../../wire.ts'
import type { RabbitExchange } from './definitions.ts'
import type { Report } from './finding.ts'
import type { Policies } from './policies.ts'
import type { Raw } from './settings.ts'
import type { VirtualHost } from './vhost.ts'

/** An exchange that is imported. */
export interface KeptExchange {
  readonly name: string
  readonly type: ExchangeType
  readonly raw: Raw
}

export type PlannedExchange = ExchangeConfig & { readonly name: string; readonly type: ExchangeType }

/** Those that RabbitMQ has without being told. They are not exported; what is bound to them is. */
export const builtIn: Readonly<Record<string, ExchangeType>> = {
  'amq.direct': 'direct',
  'amq.fanout': 'fanout',
  'amq.topic': 'topic',
  'amq.headers': 'headers',
  'amq.match': 'headers',
}

const types: ReadonlyMap<unknown, ExchangeType> = new Map([
  ['direct', 'direct'],
  ['topic', 'topic'],
  ['fanout', 'fanout'],
  ['headers', 'headers'],
  ['x-consistent-hash', 'hash'],
])

export function keptExchanges(vhost: VirtualHost, report: Report): readonly KeptExchange[] {
  // The one without a name is Postbag's "default", those of amq.… are declared where they are used.
  return vhost.exchanges
    .filter(({ name }) => name !== '' && !Object.hasOwn(builtIn, name))
    .flatMap((exchange) => {
      const { name, arguments: raw } = exchange
      const subject = `exchange ${name}`
      const isDelayed = exchange.type === 'x-delayed-message'
      const type = types.get(isDelayed ? raw['x-delayed-type'] : exchange.type)
      const why = refusal(exchange, type, raw)
      if (why !== undefined || type === undefined) {
        report('unmapped', subject, why ?? `is of the type ${shown(exchange.type)}, which has no counterpart`)
        return []
      }
      reportDifferences(exchange, isDelayed, type, raw, report)
      return [{ name, type, raw }]
    })
}

function refusal({ name }: RabbitExchange, type: ExchangeType | undefined, raw: Raw): string | undefined {
  if (!queueNamePattern.test(name)) return `its name must be ${queueNameRule}`
  if (name === 'default') return 'its name is that of the exchange that is always there'
  if (type !== 'hash') return undefined
  const by = ['hash-header', 'hash-property'].find((word) => (raw[word] ?? '') !== '')
  return by && `decides by ${by} ${shown(raw[by])}, and hash exchanges decide by the routing key`
}

function reportDifferences(
  exchange: RabbitExchange,
  isDelayed: boolean,
  type: ExchangeType,
  raw: Raw,
  report: Report,
): void {
  const subject = `exchange ${exchange.name}`
  if (isDelayed)
    report('note', subject, `is of the type ${type}: a delay is delaySeconds of a message, not its header x-delay`)
  if (type === 'hash')
    report('note', subject, 'gives each routing key to one of its bindings, but not to the same one as RabbitMQ')
  if (exchange.internal) report('note', subject, 'is internal: here it may be published to, by who has the scope')
  if (exchange.auto_delete)
    report('note', subject, 'goes away with its last binding: here it stays until it is deleted')
  if (!exchange.durable) report('note', subject, 'is not durable: here all exchanges are')
  const known = ['alternate-exchange', 'x-delayed-type', 'hash-header', 'hash-property']
  for (const [name, value] of Object.entries(raw)) {
    if (!known.includes(name))
      report('unmapped', `${subject}, ${name}`, `is not known to this import, got ${shown(value)}`)
  }
}

/** With its alternate, which an argument or a policy may say. */
export function planExchange({ name, type, raw }: KeptExchange, policies: Policies, report: Report): PlannedExchange {
  const said = raw['alternate-exchange'] ?? policies.rawOf(name, 'exchange')['alternate-exchange']
  if (said === undefined) return { name, type }
  const alternate = said === '' ? 'default' : String(said)
  if (queueNamePattern.test(alternate)) return { name, type, alternate }
  report('unmapped', `exchange ${name}, alternate-exchange`, `its name must be ${queueNameRule}, got ${shown(said)}`)
  return { name, type }
}
