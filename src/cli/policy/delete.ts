/* postbag policy delete: delete a policy. No message is lost by it, so nobody is asked. */
import type { Command } from 'commander'
import { counted, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'

export function addPolicyDelete(group: Command): void {
  const command = group
    .command('delete')
    .description('Delete a policy: its queues have what other policies or the built-in defaults say.')
    .argument('<name>')
    .option('--json', 'as JSON')
  withServerOptions(command).action(deletePolicy)
}

async function deletePolicy(name: string, options: ServerOptions & { readonly json?: boolean }): Promise<void> {
  await useServer(options, async ({ client }) => {
    const matchingQueues = await client.policy(name).delete()
    if (options.json) return writeJson({ matchingQueues })
    await writeLine(`Deleted the policy ${name}, which matched ${counted(matchingQueues, 'queue')}.`)
  })
}
