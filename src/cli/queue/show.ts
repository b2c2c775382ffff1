/* postbag queue show: the settings of one queue. */
import type { Command } from 'commander'
import type { QueueInfo } from '../../wire.ts'
import { spoken, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'

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
      [
        `name          ${info.name}`,
        `lease         ${spoken(info.leaseSeconds)}`,
        `delay         ${spoken(info.delaySeconds)}`,
        `max priority  ${info.maxPriority}`,
        `dedup window  ${spoken(info.dedupWindowSeconds)}`,
        `created at    ${info.createdAt}`,
        `updated at    ${info.updatedAt}`,
      ].join('\n'),
    )
  })
}

/** The settings in one line. */
export function described({ leaseSeconds, delaySeconds, maxPriority, dedupWindowSeconds }: QueueInfo): string {
  return [
    `lease ${spoken(leaseSeconds)}`,
    `delay ${spoken(delaySeconds)}`,
    maxPriority === 0 ? 'no priorities' : `priorities 0 to ${maxPriority}`,
    `dedup window ${spoken(dedupWindowSeconds)}`,
  ].join(', ')
}
