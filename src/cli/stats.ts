/* postbag stats: how many messages a queue has, and how fast they come and go. */
import type { Command } from 'commander'
import type { QueueStats } from '../wire.ts'
import { listed, spoken, thousands, writeJson, writeLine } from './output.ts'
import { type ServerOptions, useServer, withServerOptions } from './server.ts'

const help = `
Rates are those of the last minute. A large queue is not counted for every call: the last line says when it was.`

export function addStats(program: Command): void {
  const command = program
    .command('stats')
    .description('Show how many messages of a queue are in which state, and how fast they come and go.')
    .argument('<queue>')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(stats)
}

async function stats(queue: string, options: ServerOptions & { readonly json?: boolean }): Promise<void> {
  await useServer(options, async ({ client }) => {
    const found = await client.queue(queue).stats()
    await (options.json ? writeJson(found) : writeLine(report(found, Date.now())))
  })
}

function report(stats: QueueStats, now: number): string {
  const ago = (time: string) => `${spoken(Math.max(0, Math.round((now - Date.parse(time)) / 1000)))} ago`
  const { oldestReadyAt, countedAt, capped } = stats
  const states = (['ready', 'leased', 'delayed', 'blocked', 'dead', 'bytes'] as const).map(
    (name) => [name, thousands(stats[name])] as const,
  )
  return [
    listed([
      ...states,
      ['oldest', oldestReadyAt ? `ready since ${oldestReadyAt} (${ago(oldestReadyAt)})` : '-'],
      ['in', perSecond(stats.inPerSecond)],
      ['out', perSecond(stats.outPerSecond)],
    ]),
    `Counted at ${countedAt} (${ago(countedAt)}).`,
    ...(capped ? ['Only the first 1,000,000 messages were counted: there are more.'] : []),
  ].join('\n')
}

/** With two digits behind the point, where that says something. */
function perSecond(rate: number): string {
  return `${thousands(rate < 100 ? Math.round(rate * 100) / 100 : Math.round(rate))}/s`
}
