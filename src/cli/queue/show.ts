/* postbag queue show: the settings of one queue. */
import type { Command } from 'commander'
import { listed, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { settings } from './settings.ts'

export function addQueueShow(group: Command): void {
  const command = group
    .command('show')
    .description('Show the settings of a queue.')
    .argument('<name>')
    .option('--json', 'as JSON')
  withServerOptions(command).action(showQueue)
}

async function showQueue(name: string, options: ServerOptions & { readonly json?: boolean }): Promise<void> {
  await useServer(options, async ({ client }) => {
    const info = await client.queue(name).info()
    if (options.json) return writeJson(info)
    await writeLine(
      listed([
        ['name', info.name],
        ['paused', info.paused ? 'yes' : 'no'],
        ...settings.map(({ label, say }) => [label, say(info)] as const),
        ['created at', info.createdAt],
        ['updated at', info.updatedAt],
      ]),
    )
  })
}
