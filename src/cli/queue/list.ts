/* postbag queue list: all queues with their settings. */
import type { Command } from 'commander'
import type { QueueInfo } from '../../wire.ts'
import { table, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { described } from './settings.ts'

interface ListOptions extends ServerOptions {
  readonly prefix?: string
  readonly json?: boolean
}

export function addQueueList(group: Command): void {
  const command = group
    .command('list')
    .description('List the queues by name.')
    .option('--prefix <prefix>', 'only those whose name begins like this')
    .option('--json', 'a line of JSON each')
  withServerOptions(command).action(listQueues)
}

async function listQueues({ prefix, json, ...options }: ListOptions): Promise<void> {
  await useServer(options, async ({ client }) => {
    const queues: QueueInfo[] = []
    for await (const info of client.queues({ prefix })) {
      if (json) await writeJson(info)
      else queues.push(info)
    }
    if (json) return
    if (queues.length > 0) return writeLine(table(['NAME', 'STATE', 'CREATED AT', 'SETTINGS'], queues.map(rowOf)))
    await writeLine(
      prefix
        ? `There is no queue whose name begins with ${prefix}.`
        : 'There is no queue yet: "postbag queue create <name>" makes one.',
    )
  })
}

function rowOf(info: QueueInfo): readonly string[] {
  return [info.name, info.paused ? 'paused' : 'open', info.createdAt, described(info)]
}
