/* postbag reply: answer a message that was received without --ack. */
import { type Command, Option } from 'commander'
import { defined } from '../client/effects.ts'
import { QueueError } from '../errors.ts'
import type { ReplyResponse } from '../wire.ts'
import { messageJson } from './body.ts'
import { writeJson, writeLine } from './output.ts'
import { bodyOf } from './send.ts'
import { queuePath, type ServerOptions, useServer, withServerOptions } from './server.ts'
import { header } from './values.ts'

interface ReplyOptions extends ServerOptions {
  readonly text?: boolean
  readonly file?: string
  readonly type?: string
  readonly contentType?: string
  readonly header?: Readonly<Record<string, string>>
  readonly correlationId?: string
  readonly receipt?: string
  readonly json?: boolean
}

const help = `
<replyTo> and the receipt stand in the line of the message that "postbag receive" has written. With --receipt the request is done.

Example:
  request=$(postbag receive prices --wait 20)
  postbag reply prices "$(echo "$request" | jq -r .replyTo)" '{"price": 12}' --receipt "$(echo "$request" | jq -r .receipt)"`

export function addReply(program: Command): void {
  const command = program
    .command('reply')
    .description('Reply to a request, and ack it.')
    .argument('<queue>', 'where the request was received from')
    .argument('<replyTo>', "the request's replyTo")
    .argument('[body]', 'JSON or text')
    .addOption(new Option('--text', 'the body is text, whatever it looks like'))
    .option('--file <path>', 'reply with what this file holds')
    .option('--receipt <receipt>', "the request's: it is acked in the same step")
    .option('--type <type>', 'what kind of reply it is')
    .option('--content-type <type>', 'media type of the body, for the receiver')
    .option('--header <name=value>', 'a header; may be given several times', header)
    .option('--correlation-id <id>', 'what it answers, where <replyTo> is a queue')
    .option('--json', 'report as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(reply)
}

async function reply(
  queue: string,
  replyTo: string,
  body: string | undefined,
  options: ReplyOptions,
  command: Command,
): Promise<void> {
  if ((body === undefined) === (options.file === undefined)) command.error('error: give a body or --file')
  const { type, contentType, header: headers, correlationId, receipt } = options
  const more = { type, contentType, headers, correlationId, receipt, replyTo, dedupId: crypto.randomUUID() }
  const request = messageJson(await bodyOf(body, options), defined(more))
  await useServer(options, async (server) => {
    const { data } = await server.exchange<ReplyResponse>(`${queuePath(queue)}/reply`, request)
    if (options.json) await writeJson(data)
    if (data.outcome !== 'ok') throw new QueueError(data.outcome, 'the reply was not taken')
    if (!options.json) await writeLine('Replied.')
  })
}
