/* postbag policy set: make a policy, or replace all of the one with that name. */
import type { Command } from 'commander'
import { counted, writeJson, writeLine } from '../output.ts'
import { givenSettings, saidBy, settings } from '../queue/settings.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'

const help = `
The pattern is the name of a queue in which * stands for any characters, also none; in quotes, so that the shell leaves it alone.
A queue has what it was created with; else what the most specific policy says that matches its name and says it (the name itself,
then the longer text before the first *, then the more characters besides *); else the built-in default.
Queues that are there have the new settings at once. If there is a policy with that name, all of it is replaced.

Examples:
  postbag policy set all '*' --ttl 7d
  postbag policy set orders 'orders.*' --max-attempts 5 --retry-delay 10 --retry-backoff exponential`

export function addPolicySet(group: Command): void {
  const command = group
    .command('set')
    .description('Set defaults for all queues whose name matches.')
    .argument('<name>', 'letters, digits, ".", "_" and "-", the first a letter or digit')
    .argument('<pattern>', "such as 'orders.*'")
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(setPolicy)
  for (const { field, option } of settings) if (field !== 'durability') command.addOption(option())
}

async function setPolicy(
  name: string,
  pattern: string,
  options: ServerOptions & { readonly json?: boolean },
): Promise<void> {
  const given = givenSettings(options as Readonly<Record<string, unknown>>)
  await useServer(options, async ({ client }) => {
    const info = await client.policy(name).set({ pattern, settings: given })
    if (options.json) return writeJson(info)
    const queues = counted(info.matchingQueues, 'queue')
    await writeLine(`Set policy ${name} for ${pattern} (${queues} now): ${saidBy(info.settings)}.`)
  })
}
