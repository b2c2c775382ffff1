/* postbag endpoint delete: delete an endpoint and all that waits for it, after asking. */
import type { Command } from 'commander'
import { confirm } from '../confirm.ts'
import { counted, writeJson, writeLine } from '../output.ts'
import { withServerOptions } from '../server.ts'
import { type EndpointOptions, useEndpoints } from './use.ts'

export function addEndpointDelete(group: Command): void {
  const command = group
    .command('delete')
    .description('Delete an endpoint and all that waits for it.')
    .argument('<name>')
    .option('--yes', 'do not ask')
    .option('--json', 'as JSON')
  withServerOptions(command).action(deleteEndpoint)
}

async function deleteEndpoint(name: string, options: EndpointOptions & { readonly yes?: boolean }): Promise<void> {
  await useEndpoints(options, async (client) => {
    const endpoint = client.endpoint(name)
    if (!options.yes) {
      const { waiting, leased, dead } = await endpoint.statistics()
      await confirm(`Delete the endpoint ${name} and ${counted(waiting + leased + dead, 'delivery')} of it?`)
    }
    const deleted = await endpoint.delete()
    if (options.json) return writeJson({ deletedDeliveries: deleted })
    await writeLine(`Deleted the endpoint ${name} and ${counted(deleted, 'delivery')}.`)
  })
}
