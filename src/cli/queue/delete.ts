/* postbag queue delete: delete a queue and all its messages, after asking. */
import type { Command } from 'commander'
import { counted, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { confirmLoss } from './loss.ts'

export function addQueueDelete(group: Command): void {
  const command = group
    .command('delete')
    .description('Delete a queue and all its messages.')
    .argument('<name>')
    .option('--yes', 'do not ask')
    .option('--json', 'as JSON')
  withServerOptions(command).action(deleteQueue)
}

async function deleteQueue(
  name: string,
  options: ServerOptions & { readonly yes?: boolean; readonly json?: boolean },
): Promise<void> {
  await useServer(options, async ({ client }) => {
    const queue = client.queue(name)
    if (!options.yes) await confirmLoss(queue, (messages) => `Delete the queue ${name} and ${messages} in it?`)
    const deleted = await queue.delete()
    if (options.json) return writeJson({ deletedMessages: deleted })
    await writeLine(`Deleted the queue ${name} and ${counted(deleted, 'message')}.`)
  })
}
