/* What a binding asks for, as it is said on the command line and shown to people. */
import { type Command, Option } from 'commander'
import { defined } from '../../client/effects.ts'
import type { BindingCondition, BindRequest, ExchangeType } from '../../wire.ts'
import { collected, wholeNumber } from '../values.ts'

export interface ConditionOptions {
  readonly queue?: string
  readonly to?: string
  readonly key?: string
  readonly header?: readonly string[]
  readonly match?: 'all' | 'any'
  readonly weight?: number
}

export function withConditions(command: Command): Command {
  return command
    .addOption(new Option('--queue <queue>', 'where it leads: a queue').conflicts('to'))
    .option('--to <exchange>', 'where it leads: another exchange')
    .option('--key <key>', 'direct: the routing key; topic: the pattern, in quotes: "order.*", "order.#"')
    .option('--header <name=value>', 'headers: what must be there; without a value, any will do; repeatable', collected)
    .addOption(new Option('--match <how>', 'headers: all of them, or any').choices(['all', 'any']))
}

export function withWeight(command: Command): Command {
  return command.option('--weight <number>', 'hash: the share of the routing keys, 1 to 100', wholeNumber)
}

/** The request that the options stand for. */
export function bindRequest(options: ConditionOptions, command: Command): BindRequest {
  if (options.queue === undefined && options.to === undefined) {
    command.error('error: say where the binding leads: --queue or --to')
  }
  const { queue, to: exchange, key: routingKey, match, weight } = options
  const headers = options.header && Object.fromEntries(options.header.map(pair))
  return defined({ queue, exchange, routingKey, headers, match, weight }) as BindRequest
}

function pair(text: string): readonly [string, string | null] {
  const end = text.indexOf('=')
  return end < 0 ? [text, null] : [text.slice(0, end), text.slice(end + 1)]
}

/** "the queue orders" */
export function targetOf({ queue, exchange }: { readonly queue?: string; readonly exchange?: string }): string {
  return queue === undefined ? `the exchange ${exchange}` : `the queue ${queue}`
}

/** "key order.*", "all of format=pdf, type", "weight 2"; nothing if everything fits.
 * @param type the exchange's: for who says no routing key, a direct and a topic exchange ask for the empty one */
export function conditionOf(binding: BindingCondition & { readonly weight?: number }, type?: ExchangeType): string {
  const { routingKey, headers, match, weight } = binding
  const named = Object.entries(headers ?? {}).map(([name, value]) => (value === null ? name : `${name}=${value}`))
  const said = [
    routingKey ? `key ${routingKey}` : type === 'direct' || type === 'topic' ? 'the empty routing key' : '',
    headers ? `${match ?? 'all'} of ${named.join(', ') || 'nothing'}` : '',
    weight ? `weight ${weight}` : '',
  ]
  return said.filter(Boolean).join(', ')
}
