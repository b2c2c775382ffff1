/* postbag queue purge: delete all messages of a queue, after asking. */
import type { Command } from 'commander'
import { counted, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { confirmLoss } from './loss.ts'

export function addQueuePurge(group: Command): void {
  const command = group
    .command('purge')
    .description('Delete all messages of a queue, leased, delayed and dead ones too.')
    .argument('<name>')
    .option('--yes', 'do not ask')
    .option('--json', 'as JSON')
  withServerOptions(command).action(purgeQueue)
}

async function purgeQueue(
  name: string,
  options: ServerOptions & { readonly yes?: boolean; readonly json?: boolean },
): Promise<void> {
  await useServer(options, async ({ client }) => {
    const queue = client.queue(name)
    if (!options.yes) await confirmLoss(queue, (messages) => `Delete ${messages} in the queue ${name}?`)
    const purged = await queue.purge()
    if (options.json) return writeJson({ purgedMessages: purged })
    await writeLine(`Deleted ${counted(purged, 'message')} from the queue ${name}.`)
  })
}
