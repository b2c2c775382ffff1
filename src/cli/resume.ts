/* postbag resume: hand out the messages of a paused queue again. */
import type { Command } from 'commander'
import { writeJson, writeLine } from './output.ts'
import { type ServerOptions, useServer, withServerOptions } from './server.ts'

export function addResume(program: Command): void {
  const command = program
    .command('resume')
    .description('Hand out the messages of a paused queue again.')
    .argument('<queue>')
    .option('--json', 'as JSON')
  withServerOptions(command).action(resume)
}

async function resume(queue: string, options: ServerOptions & { readonly json?: boolean }): Promise<void> {
  await useServer(options, async ({ client }) => {
    const info = await client.queue(queue).resume()
    if (options.json) return writeJson(info)
    await writeLine(`Resumed queue ${queue}.`)
  })
}
