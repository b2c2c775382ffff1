/* postbag endpoint list: endpoints by name. */
import type { Command } from 'commander'
import type { EndpointInfo } from '../../wire.ts'
import { table, writeJson, writeLine } from '../output.ts'
import { withServerOptions } from '../server.ts'
import { type EndpointOptions, stateOf, useEndpoints } from './use.ts'

export function addEndpointList(group: Command): void {
  const command = group
    .command('list')
    .description('List the endpoints by name.')
    .option('--application <name>', 'only those of this application')
    .option('--json', 'a line of JSON each')
  withServerOptions(command).action(listEndpoints)
}

async function listEndpoints({
  application,
  json,
  ...options
}: EndpointOptions & { readonly application?: string }): Promise<void> {
  await useEndpoints(options, async (client) => {
    const found: EndpointInfo[] = []
    for await (const info of client.endpoints({ application })) {
      if (json) await writeJson(info)
      else found.push(info)
    }
    if (json) return
    if (found.length === 0) {
      const make = '"postbag endpoint set <name> <address> --exchange <exchange>" makes one'
      return writeLine(
        application === undefined ? `There is no endpoint yet: ${make}.` : `${application} has no endpoint.`,
      )
    }
    const rows = found.map((info) => [
      info.name,
      info.application ?? '',
      stateOf(info),
      info.exchange,
      info.eventTypes.join(', '),
      info.url,
    ])
    await writeLine(table(['NAME', 'APPLICATION', 'STATE', 'EXCHANGE', 'EVENT TYPES', 'URL'], rows))
  })
}
