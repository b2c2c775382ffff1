/* postbag send: one message from the command line or a file, or a stream of them from standard input (send-stream.ts). */
import { readFile, stat } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { defined } from '../client/effects.ts'
import { maxBodyBytes } from '../limits.ts'
import type { MessageOptions, SendResponse } from '../wire.ts'
import { argumentBody, BadBody, fileBody, messageJson, plainBody, textBody, type WireBody } from './body.ts'
import { Ending, exitCodes } from './exit.ts'
import { writeJson, writeLine } from './output.ts'
import { sendStream } from './send-stream.ts'
import { queuePath, type ServerOptions, useServer, withServerOptions } from './server.ts'
import { duration, header, instant, wholeNumber } from './values.ts'

export interface SendOptions extends ServerOptions {
  readonly text?: boolean
  readonly file?: string
  readonly lines?: boolean
  readonly type?: string
  readonly contentType?: string
  readonly priority?: number
  readonly delay?: number
  readonly at?: string
  readonly ttl?: number
  readonly group?: string
  readonly header?: Readonly<Record<string, string>>
  readonly dedupId?: string
  readonly correlationId?: string
  readonly replyTo?: string
  readonly json?: boolean
}

const examples = `
The body of an argument or a file is JSON if it is JSON, else text; a file that is no text is sent as bytes. What begins like
JSON ({ [ ") but is none is refused. Whatever it is, the receiver gets it byte for byte.

Without a body, standard input is sent: a message per line, in batches, as they come in.

Examples:
  postbag send orders '{"id": 1}'                      JSON
  postbag send orders hello --type greeting --priority 5
  postbag send orders '{"id": 1}' --group customer-7 --ttl 1h
  postbag send images --file photo.jpg --content-type image/jpeg
  postbag send orders < orders.ndjson                  each line is a JSON body
  tail -f app.log | postbag send logs --lines          each line is a text`

export function addSend(program: Command): void {
  const command = program
    .command('send')
    .description('Send a message, or one per line of standard input.')
    .argument('<queue>')
    .argument('[body]', 'JSON or text; without it, standard input is sent')
    .addOption(new Option('--text', 'the body is text, whatever it looks like').conflicts('lines'))
    .option('--file <path>', 'send what this file holds, as one message')
    .option('--lines', 'standard input: each line is a text, or bytes if it is not UTF-8 (default: each is JSON)')
    .option('--type <type>', 'what kind of message it is, such as order.created')
    .option('--content-type <type>', 'media type of the body, for the receiver')
    .option('--priority <number>', "0 to the queue's --max-priority; higher ones are received first", wholeNumber)
    .option('--delay <time>', "when it may be received: 30, 30s, 5m, 12h … (default: the queue's)", duration)
    .addOption(
      new Option('--at <time>', 'when it may be received: 2026-12-24T08:00Z').conflicts('delay').argParser(instant),
    )
    .option('--ttl <time>', "how long it is worth anything; not received afterwards (default: the queue's)", duration)
    .option('--group <name>', 'messages of one group are handed out in order, one at a time')
    .option('--header <name=value>', 'a header; may be given several times', header)
    .option('--dedup-id <id>', "the same id again within the queue's dedup window sends nothing")
    .option('--correlation-id <id>', 'what it belongs to, such as the request that a reply answers')
    .option('--reply-to <queue>', 'where a reply to it goes')
    .option('--json', 'report as JSON')
    .addHelpText('after', examples)
  withServerOptions(command).action(send)
}

async function send(queue: string, body: string | undefined, options: SendOptions, command: Command): Promise<void> {
  if (body !== undefined && options.file !== undefined) command.error('error: give a body or --file, not both')
  if (body !== undefined || options.file !== undefined) {
    if (options.lines) command.error('error: --lines is for standard input: leave the body out')
    return sendOne(queue, await bodyOf(body, options), options)
  }
  if (options.text) command.error('error: --text is for a body or --file; lines of text are sent with --lines')
  if (options.dedupId !== undefined) command.error('error: --dedup-id is for one message, not for standard input')
  if (process.stdin.isTTY)
    command.error('error: the body is missing: give it as an argument, with --file, or pipe lines in')
  await useServer(options, (server) => sendStream(server, queue, options))
}

/** @throws Ending badInput. */
export async function bodyOf(
  body: string | undefined,
  { text = false, file }: Pick<SendOptions, 'text' | 'file'>,
): Promise<WireBody> {
  try {
    if (file === undefined) return text ? textBody(body ?? '') : argumentBody(body ?? '')
    const { size } = await stat(file)
    if (size > maxBodyBytes) throw new BadBody(`has ${size} bytes, and a message at most ${maxBodyBytes}`)
    const bytes = await readFile(file)
    return text ? plainBody(bytes) : fileBody(bytes)
  } catch (error) {
    if (error instanceof BadBody) throw new Ending(exitCodes.badInput, `${file ?? 'the body'} ${error.message}`)
    throw error
  }
}

async function sendOne(queue: string, body: WireBody, options: SendOptions): Promise<void> {
  const { dedupId = crypto.randomUUID() } = options
  await useServer(options, async (server) => {
    const request = messageJson(body, { ...messageOptions(options), dedupId })
    const { data } = await server.exchange<SendResponse>(`${queuePath(queue)}/messages`, request)
    const [sent = { id: '', duplicate: false }] = data.messages
    // With an id of our own, a duplicate is our earlier try whose answer got lost.
    const duplicate = sent.duplicate && options.dedupId !== undefined
    if (options.json) return writeJson({ id: sent.id, duplicate })
    if (duplicate) return writeLine(`Sent nothing: message ${sent.id} had this dedup id.`)
    await writeLine(`Sent message ${sent.id} to ${queue}, as ${kinds[body.encoding]}.`)
  })
}

const kinds = { json: 'JSON', text: 'text', base64: 'bytes' } as const

/** What the command line says of every message. */
export function messageOptions(options: SendOptions): MessageOptions {
  const { type, contentType, priority, delay: delaySeconds, at: availableAt, ttl: ttlSeconds, group } = options
  const { header: headers, correlationId, replyTo } = options
  return defined({
    type,
    contentType,
    priority,
    delaySeconds,
    availableAt,
    ttlSeconds,
    group,
    headers,
    correlationId,
    replyTo,
  })
}
