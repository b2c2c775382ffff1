/* postbag policy list: all policies, the most specific first. */
import type { Command } from 'commander'
import { table, thousands, writeJson, writeLine } from '../output.ts'
import { saidBy } from '../queue/settings.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'

export function addPolicyList(group: Command): void {
  const command = group
    .command('list')
    .description('List the policies, the most specific first.')
    .option('--json', 'a line of JSON each')
  withServerOptions(command).action(listPolicies)
}

async function listPolicies({ json, ...options }: ServerOptions & { readonly json?: boolean }): Promise<void> {
  await useServer(options, async ({ client }) => {
    const policies = await client.policies()
    if (json) {
      for (const policy of policies) await writeJson(policy)
      return
    }
    if (policies.length === 0)
      return writeLine('There is no policy yet: "postbag policy set <name> <pattern>" makes one.')
    const rows = policies.map(({ name, pattern, matchingQueues, settings }) => [
      name,
      pattern,
      thousands(matchingQueues),
      saidBy(settings),
    ])
    await writeLine(table(['NAME', 'PATTERN', 'QUEUES', 'SETTINGS'], rows))
  })
}
