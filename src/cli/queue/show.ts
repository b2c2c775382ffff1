/* postbag queue show: the settings of one queue, and who says them. */
import type { Command } from 'commander'
import { listed, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { saidWithOrigin, settings } from './settings.ts'

export function addQueueShow(group: Command): void {
  const command = group
    .command('show')
    .description('Show the settings of a queue, and who says them: itself or a policy, if not the built-in default.')
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
        ...settings.map((setting) => [setting.label, saidWithOrigin(setting, info)] as const),
        ['created at', info.createdAt],
        ['updated at', info.updatedAt],
      ]),
    )
  })
}
