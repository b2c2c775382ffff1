/* postbag queue create: make a queue, or replace the configuration of the one with that name. */
import type { Command } from 'commander'
import { writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { described, givenSettings, settings } from './settings.ts'

interface CreateOptions extends ServerOptions {
  readonly json?: boolean
}

const help = `
Times are numbers of seconds, or such as 500ms, 5m, 12h, 7d.
If there is a queue with that name, its messages stay and all its settings are replaced: what is not given gets what
the policies say (postbag policy set --help), else its default.

Examples:
  postbag queue create orders
  postbag queue create mails.dead
  postbag queue create mails --max-attempts 5 --retry-delay 10 --retry-backoff exponential --dead-letter-queue mails.dead
  postbag queue create calls --rate 600/m --group-rate 1 --groups fair`

export function addQueueCreate(group: Command): void {
  const command = group
    .command('create')
    .description('Create a queue, or replace its settings.')
    .argument('<name>', 'letters, digits, ".", "_" and "-", the first a letter or digit')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(createQueue)
  for (const { option } of settings) command.addOption(option())
}

async function createQueue(name: string, options: CreateOptions): Promise<void> {
  const config = givenSettings(options as Readonly<Record<string, unknown>>)
  await useServer(options, async ({ client }) => {
    const info = await client.queue(name).create(config)
    if (options.json) return writeJson(info)
    const created = info.createdAt === info.updatedAt
    await writeLine(`${created ? 'Created queue' : 'Replaced the settings of queue'} ${name}: ${described(info)}.`)
  })
}
