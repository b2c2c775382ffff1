/* postbag publish: one message to an exchange, from the command line or a file. */
import type { Command } from 'commander'
import { pathTo } from '../client/path.ts'
import type { PublishResponse } from '../wire.ts'
import { messageJson } from './body.ts'
import { counted, writeJson, writeLine } from './output.ts'
import { bodyOf, messageOptions, type SendOptions } from './send.ts'
import { useServer, withServerOptions } from './server.ts'
import { duration, header, wholeNumber } from './values.ts'

interface PublishOptions extends SendOptions {
  readonly key?: string
  readonly mandatory?: boolean
}

const examples = `
Examples:
  postbag publish events '{"id": 1}' --key order.created
  postbag publish default hello --key orders            straight to the queue orders
  postbag publish events '{"id": 1}' --key order.created --mandatory`

export function addPublish(program: Command): void {
  const command = program
    .command('publish')
    .description('Publish a message to an exchange: a copy for each queue that it reaches.')
    .argument('<exchange>')
    .argument('[body]', 'JSON or text, as for "postbag send"')
    .option('--key <key>', 'the routing key')
    .option('--mandatory', 'refuse it if it reaches no queue')
    .option('--text', 'the body is text, whatever it looks like')
    .option('--file <path>', 'publish what this file holds')
    .option('--type <type>', 'what kind of message it is, such as order.created')
    .option('--content-type <type>', 'media type of the body, for the receiver')
    .option('--priority <number>', 'higher ones are received first, as far as each queue allows', wholeNumber)
    .option('--delay <time>', 'when it may be received: 30, 30s, 5m, 12h … (default: what each queue says)', duration)
    .option('--ttl <time>', 'how long it is worth anything (default: what each queue says)', duration)
    .option('--group <name>', 'messages of one group are handed out in order, one at a time')
    .option('--header <name=value>', 'a header; may be given several times', header)
    .option('--dedup-id <id>', "the same id again within a queue's dedup window sends nothing there")
    .option('--json', 'report as JSON')
    .addHelpText('after', examples)
  withServerOptions(command).action(publish)
}

async function publish(
  exchange: string,
  body: string | undefined,
  options: PublishOptions,
  command: Command,
): Promise<void> {
  if ((body === undefined) === (options.file === undefined)) command.error('error: give a body or --file')
  const { key: routingKey = '', mandatory = false, dedupId = crypto.randomUUID(), json } = options
  const message = messageJson(await bodyOf(body, options), { ...messageOptions(options), routingKey, dedupId })
  await useServer(options, async (server) => {
    const path = `${pathTo('exchanges', exchange)}/publish`
    const { data } = await server.exchange<PublishResponse>(path, `{"messages":[${message}],"mandatory":${mandatory}}`)
    const queues = data.messages[0]?.queues ?? 0
    if (json) return writeJson({ queues })
    await writeLine(`Published to ${exchange}: it reached ${counted(queues, 'queue')}.`)
  })
}
