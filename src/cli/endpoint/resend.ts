/* postbag endpoint resend: deliver an event once more. */
import type { Command } from 'commander'
import { writeJson, writeLine } from '../output.ts'
import { withServerOptions } from '../server.ts'
import { type EndpointOptions, useEndpoints } from './use.ts'

export function addEndpointResend(group: Command): void {
  const command = group
    .command('resend')
    .description('Deliver an event once more, whatever came of it before.')
    .argument('<name>')
    .argument('<event>', 'as "postbag endpoint attempts" shows it: evt_…')
    .option('--json', 'as JSON')
  withServerOptions(command).action(resend)
}

async function resend(name: string, event: string, options: EndpointOptions): Promise<void> {
  await useEndpoints(options, async ({ endpoint }) => {
    const id = await endpoint(name).resend(event)
    await (options.json ? writeJson({ id }) : writeLine(`Sent ${event} to endpoint ${name} again, as delivery ${id}.`))
  })
}
