/* postbag exchange delete: delete an exchange and its bindings. No message is lost by it, so nobody is asked. */
import type { Command } from 'commander'
import { counted, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'

interface DeleteOptions extends ServerOptions {
  readonly ifUnused?: boolean
  readonly json?: boolean
}

export function addExchangeDelete(group: Command): void {
  const command = group
    .command('delete')
    .description('Delete an exchange and its bindings; the queues stay.')
    .argument('<exchange>')
    .option('--if-unused', 'only if nothing is bound to it')
    .option('--json', 'as JSON')
  withServerOptions(command).action(deleteExchange)
}

async function deleteExchange(name: string, { ifUnused = false, json, ...options }: DeleteOptions): Promise<void> {
  await useServer(options, async ({ client }) => {
    const deletedBindings = await client.exchange(name).delete({ ifUnused })
    if (json) return writeJson({ deletedBindings })
    await writeLine(`Deleted the exchange ${name} and ${counted(deletedBindings, 'binding')}.`)
  })
}
