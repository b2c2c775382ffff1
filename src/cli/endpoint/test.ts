/* postbag endpoint test: deliver an event of the type "test", to this endpoint only. */
import type { Command } from 'commander'
import { writeJson, writeLine } from '../output.ts'
import { withServerOptions } from '../server.ts'
import { type EndpointOptions, useEndpoints } from './use.ts'

export function addEndpointTest(group: Command): void {
  const command = group
    .command('test')
    .description('Deliver an event of the type "test", to this endpoint only.')
    .argument('<name>')
    .option('--json', 'as JSON')
  withServerOptions(command).action(test)
}

async function test(name: string, options: EndpointOptions): Promise<void> {
  await useEndpoints(options, async ({ endpoint }) => {
    const sent = await endpoint(name).test()
    if (options.json) return writeJson(sent)
    const look = `"postbag endpoint attempts ${name} --id ${sent.id}" shows what came of it`
    await writeLine(`Sent a test event to endpoint ${name}: ${look}.`)
  })
}
