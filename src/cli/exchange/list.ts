/* postbag exchange list: all exchanges by name. */
import type { Command } from 'commander'
import type { ExchangeInfo } from '../../wire.ts'
import { table, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'

interface ListOptions extends ServerOptions {
  readonly prefix?: string
  readonly json?: boolean
}

export function addExchangeList(group: Command): void {
  const command = group
    .command('list')
    .description('List the exchanges by name.')
    .option('--prefix <prefix>', 'only those whose name begins like this')
    .option('--json', 'a line of JSON each')
  withServerOptions(command).action(listExchanges)
}

async function listExchanges({ prefix, json, ...options }: ListOptions): Promise<void> {
  await useServer(options, async ({ client }) => {
    const exchanges: ExchangeInfo[] = []
    for await (const info of client.exchanges({ prefix })) {
      if (json) await writeJson(info)
      else exchanges.push(info)
    }
    if (json) return
    if (exchanges.length === 0) {
      return writeLine('There is no exchange yet: "postbag exchange declare <name>" makes one.')
    }
    const rows = exchanges.map(({ name, type, alternate = '', createdAt }) => [name, type, createdAt, alternate])
    await writeLine(table(['NAME', 'TYPE', 'CREATED AT', 'ALTERNATE'], rows))
  })
}
