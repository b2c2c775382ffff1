/* postbag stats: how many messages a queue has. */
import type { Command } from 'commander'
import { thousands, writeJson, writeLine } from './output.ts'
import { type ServerOptions, useServer, withServerOptions } from './server.ts'

export function addStats(program: Command): void {
  const command = program
    .command('stats')
    .description('Show how many messages of a queue are ready, leased and delayed.')
    .argument('<queue>')
    .option('--json', 'as JSON')
  withServerOptions(command).action(stats)
}

async function stats(queue: string, options: ServerOptions & { readonly json?: boolean }): Promise<void> {
  await useServer(options, async ({ client }) => {
    const found = await client.queue(queue).stats()
    if (options.json) return writeJson(found)
    const { ready, leased, delayed, oldestReadyAt, capped } = found
    const lines = [
      `ready    ${thousands(ready)}${oldestReadyAt ? `, the oldest since ${oldestReadyAt}` : ''}`,
      `leased   ${thousands(leased)}`,
      `delayed  ${thousands(delayed)}`,
      ...(capped ? ['Only the first 100,000 messages were counted: there are more.'] : []),
    ]
    await writeLine(lines.join('\n'))
  })
}
