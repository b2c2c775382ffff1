/* postbag exchange test: where a message would go, and why. */
import type { Command } from 'commander'
import type { RouteStep } from '../../wire.ts'
import { counted, table, writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { header } from '../values.ts'
import { conditionOf, targetOf } from './conditions.ts'

interface TestOptions extends ServerOptions {
  readonly key?: string
  readonly header?: Readonly<Record<string, string>>
  readonly json?: boolean
}

export function addExchangeTest(group: Command): void {
  const command = group
    .command('test')
    .description('Show where a message would go, and why. Nothing is sent.')
    .argument('<exchange>')
    .option('--key <key>', "the message's routing key")
    .option('--header <name=value>', 'a header of it; may be given several times', header)
    .option('--json', 'as JSON')
  withServerOptions(command).action(testRoute)
}

async function testRoute(name: string, { key, header: headers, json, ...options }: TestOptions): Promise<void> {
  await useServer(options, async ({ client }) => {
    const { queues, steps } = await client.exchange(name).route({ routingKey: key, headers })
    if (json) return writeJson({ queues, steps })
    if (steps.length > 0) await writeLine(`${table(['AT', 'TYPE', 'GOES TO', 'BECAUSE OF'], steps.map(rowOf))}\n`)
    await writeLine(
      queues.length > 0 ? `${counted(queues.length, 'queue')}: ${queues.join(', ')}.` : 'It reaches no queue.',
    )
  })
}

function rowOf(step: RouteStep): readonly string[] {
  const why = step.alternate ? 'nothing fits: its alternate' : conditionOf(step, step.type) || 'everything goes there'
  return [step.source, step.type, targetOf(step), why]
}
