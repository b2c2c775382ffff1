/* postbag exchange declare: make an exchange, or find it just as it is declared. */
import { type Command, Option } from 'commander'
import type { ExchangeType } from '../../wire.ts'
import { writeJson, writeLine } from '../output.ts'
import { type ServerOptions, useServer, withServerOptions } from '../server.ts'

interface DeclareOptions extends ServerOptions {
  readonly type: ExchangeType
  readonly alternate?: string
  readonly json?: boolean
}

const help = `
Types:
  direct   to what is bound with the message's routing key
  topic    to what is bound with a pattern that fits: words between dots, * is one word, # any number of them
  fanout   to all that is bound
  headers  to what is bound with headers that the message has
  hash     to one of what is bound, always the same for a routing key

The exchange "default" is always there: it leads to the queue that the routing key names.`

export function addExchangeDeclare(group: Command): void {
  const command = group
    .command('declare')
    .description('Declare an exchange.')
    .argument('<exchange>')
    .addOption(
      new Option('--type <type>', 'how it decides where messages go')
        .choices(['direct', 'topic', 'fanout', 'headers', 'hash'])
        .default('direct'),
    )
    .option('--alternate <exchange>', 'where what fits no binding goes')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(declare)
}

async function declare(name: string, { type, alternate, json, ...options }: DeclareOptions): Promise<void> {
  await useServer(options, async ({ client }) => {
    const info = await client.exchange(name).declare({ type, alternate })
    if (json) return writeJson(info)
    await writeLine(
      `${name} is a ${info.type} exchange${info.alternate ? `; the rest goes to ${info.alternate}` : ''}.`,
    )
  })
}
