/* postbag queue create: make a queue, or replace the configuration of the one with that name. */
import type { Command } from 'commander'
import { writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { duration, wholeNumber } from '../values.ts'
import { described } from './show.ts'

interface CreateOptions extends ServerOptions {
  readonly lease?: number
  readonly delay?: number
  readonly maxPriority?: number
  readonly dedupWindow?: number
  readonly json?: boolean
}

const help = `
Times are numbers of seconds, or such as 500ms, 5m, 12h, 7d.
If there is a queue with that name, its messages stay and all its settings are replaced.`

export function addQueueCreate(group: Command): void {
  const command = group
    .command('create')
    .description('Create a queue, or replace its settings.')
    .argument('<name>', 'letters, digits, ".", "_" and "-"')
    .option('--lease <time>', 'how long a receiver owns a message (default: 30)', duration)
    .option('--delay <time>', 'until a message may be received (default: 0)', duration)
    .option('--max-priority <number>', 'highest priority a message may have, 0 to 9 (default: 0)', wholeNumber)
    .option('--dedup-window <time>', 'how long dedup ids are remembered (default: 300)', duration)
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(createQueue)
}

async function createQueue(name: string, options: CreateOptions): Promise<void> {
  const { lease, delay, maxPriority, dedupWindow } = options
  await useServer(options, async ({ client }) => {
    const info = await client.queue(name).create({
      leaseSeconds: lease,
      delaySeconds: delay,
      maxPriority,
      dedupWindowSeconds: dedupWindow,
    })
    if (options.json) return writeJson(info)
    const created = info.createdAt === info.updatedAt
    await writeLine(`${created ? 'Created queue' : 'Replaced the settings of queue'} ${name}: ${described(info)}.`)
  })
}
