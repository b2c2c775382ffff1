/* postbag exchange bindings: what is bound to an exchange, or leads to it. */
import type { Command } from 'commander'
import type { BindingInfo, ExchangeType } from '../../wire.ts'
import { table, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { conditionOf, targetOf } from './conditions.ts'

interface BindingsOptions extends ServerOptions {
  readonly incoming?: boolean
  readonly json?: boolean
}

export function addExchangeBindings(group: Command): void {
  const command = group
    .command('bindings')
    .description('List the bindings of an exchange.')
    .argument('<exchange>')
    .option('--incoming', 'those of other exchanges that lead to it')
    .option('--json', 'a line of JSON each')
  withServerOptions(command).action(listBindings)
}

async function listBindings(name: string, { incoming, json, ...options }: BindingsOptions): Promise<void> {
  await useServer(options, async ({ client }) => {
    const bindings: BindingInfo[] = []
    for await (const binding of client.exchange(name).bindings({ direction: incoming ? 'to' : 'from' })) {
      if (json) await writeJson(binding)
      else bindings.push(binding)
    }
    if (json) return
    if (bindings.length === 0) {
      return writeLine(incoming ? `No exchange leads to ${name}.` : `Nothing is bound to ${name} yet.`)
    }
    // Where a binding says nothing, the type of its exchange does.
    const sources = new Set(bindings.filter((binding) => conditionOf(binding) === '').map(({ source }) => source))
    const types = new Map<string, ExchangeType>()
    for (const source of sources) types.set(source, (await client.exchange(source).info()).type)
    const rows = bindings.map((binding) => [
      binding.source,
      targetOf(binding),
      conditionOf(binding, types.get(binding.source)),
    ])
    await writeLine(table(['FROM', 'TO', 'WHAT FITS'], rows))
  })
}
