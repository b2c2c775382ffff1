/* postbag exchange bind and unbind: where an exchange leads. */
import type { Command } from 'commander'
import { writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'
import { bindRequest, type ConditionOptions, targetOf, withConditions, withWeight } from './conditions.ts'

interface BindOptions extends ServerOptions, ConditionOptions {
  readonly json?: boolean
}

const help = `
Examples:
  postbag exchange bind events --queue mails --key order.created
  postbag exchange bind topics --queue audit --key '#'
  postbag exchange bind by-header --queue pdfs --header format=pdf --header type=report --match any
  postbag exchange bind events --to topics --key order.created`

export function addExchangeBind(group: Command): void {
  const bind = group
    .command('bind')
    .description('Let what fits go to a queue, or on to another exchange.')
    .argument('<exchange>')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(withWeight(withConditions(bind))).action(async (name, options: BindOptions, command: Command) => {
    const request = bindRequest(options, command)
    await useServer(options, async ({ client }) => {
      const changed = await client.exchange(name).bind(request)
      if (options.json) return writeJson({ changed })
      await writeLine(`${changed ? 'Bound' : 'It was bound before:'} ${name} to ${targetOf(request)}.`)
    })
  })

  const unbind = group
    .command('unbind')
    .description('Undo the bind that said the same.')
    .argument('<exchange>')
    .option('--json', 'as JSON')
  withServerOptions(withConditions(unbind)).action(async (name, options: BindOptions, command: Command) => {
    const request = bindRequest(options, command)
    await useServer(options, async ({ client }) => {
      const changed = await client.exchange(name).unbind(request)
      if (options.json) return writeJson({ changed })
      await writeLine(`${changed ? 'Unbound' : 'There is no such binding of'} ${name} to ${targetOf(request)}.`)
    })
  })
}
