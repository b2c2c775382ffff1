/* postbag pause: hand out no message of a queue until it is resumed. */
import type { Command } from 'commander'
import { writeJson, writeLine } from './output.ts'
import { type ServerOptions, useServer, withServerOptions } from './server.ts'

export function addPause(program: Command): void {
  const command = program
    .command('pause')
    .description('Hand out no message of a queue until it is resumed; sends go on.')
    .argument('<queue>')
    .option('--json', 'as JSON')
  withServerOptions(command).action(pause)
}

async function pause(queue: string, options: ServerOptions & { readonly json?: boolean }): Promise<void> {
  await useServer(options, async ({ client }) => {
    const info = await client.queue(queue).pause()
    if (options.json) return writeJson(info)
    await writeLine(`Paused queue ${queue}: "postbag resume ${queue}" lets it go on.`)
  })
}
