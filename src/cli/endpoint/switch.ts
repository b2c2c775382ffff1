/* postbag endpoint enable, disable, pause and resume. */
import type { Command } from 'commander'
import { writeJson, writeLine } from '../output.ts'
import { withServerOptions } from '../server.ts'
import { type EndpointOptions, useEndpoints } from './use.ts'

const verbs = {
  enable: {
    does: 'Deliver again to an endpoint that was disabled, or rests because it failed.',
    said: (name: string) => `Enabled endpoint ${name}.`,
  },
  disable: {
    does: 'Deliver nothing, and let nothing that is published wait for it.',
    said: (name: string) => `Disabled endpoint ${name}: "postbag endpoint enable ${name}" lets it go on.`,
  },
  pause: {
    does: 'Deliver nothing until it is resumed; what is published waits.',
    said: (name: string) => `Paused endpoint ${name}: "postbag endpoint resume ${name}" lets it go on.`,
  },
  resume: {
    does: 'Deliver again to an endpoint that was paused.',
    said: (name: string) => `Resumed endpoint ${name}.`,
  },
} as const

export function addEndpointSwitches(group: Command): void {
  for (const verb of Object.keys(verbs) as (keyof typeof verbs)[]) {
    const { does, said } = verbs[verb]
    const command = group.command(verb).description(does).argument('<name>').option('--json', 'as JSON')
    withServerOptions(command).action((name: string, options: EndpointOptions) =>
      useEndpoints(options, async ({ endpoint }) => {
        const info = await endpoint(name)[verb]()
        await (options.json ? writeJson(info) : writeLine(said(name)))
      }),
    )
  }
}
