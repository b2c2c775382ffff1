/* postbag request: send a message that asks, and print what is replied. */
import type { Command } from 'commander'
import { backoffMilliseconds } from '../client/backoff.ts'
import { defined, platform } from '../client/effects.ts'
import { pathTo } from '../client/path.ts'
import { bodySlices } from '../http/body-slices.ts'
import { maxWaitSeconds } from '../limits.ts'
import type { RequestResponse } from '../wire.ts'
import { messageJson } from './body.ts'
import { Ending, exitCodes, sayingMore } from './exit.ts'
import { write, writeLine } from './output.ts'
import { bodyOf, messageOptions, type SendOptions } from './send.ts'
import { queuePath, type Server, type ServerOptions, useServer, withServerOptions } from './server.ts'
import { stopSignal } from './signals.ts'
import { duration, header, wholeNumber } from './values.ts'

interface RequestOptions extends Omit<SendOptions, 'replyTo' | 'lines'>, ServerOptions {
  readonly wait?: number
  readonly keep?: number
  readonly id?: string
}

const help = `
The body is read as "postbag send" reads it. Printed is the body of the reply, byte for byte, and a line break; with --json all of it.
Without a reply in time it ends with the code 3, interrupted with 130, and says how to get the reply later.

Examples:
  postbag request prices '{"item": "book"}'            wait 20 s for the reply
  postbag request prices '{"item": "book"}' --wait 5m --keep 1d
  postbag request prices --id 17.0123…                 fetch a late one`

export function addRequest(program: Command): void {
  const command = program
    .command('request')
    .description('Send a message, and print the reply to it.')
    .argument('<queue>')
    .argument('[body]', 'JSON or text')
    .option('--text', 'the body is text, whatever it looks like')
    .option('--file <path>', 'send what this file holds')
    .option('--wait <time>', 'how long to wait for the reply: 20, 20s, 5m … (default: 20s)', duration)
    .option('--keep <time>', 'how long the reply may come and be fetched (default: 1h)', duration)
    .option('--id <id>', 'send nothing: fetch the reply of this id')
    .option('--type <type>', 'what kind of message it is')
    .option('--content-type <type>', 'media type of the body, for the receiver')
    .option('--priority <number>', "0 to the queue's --max-priority; higher ones are received first", wholeNumber)
    .option('--ttl <time>', 'how long it is worth anything; not received afterwards', duration)
    .option('--group <name>', 'messages of one group are handed out in order, one at a time')
    .option('--header <name=value>', 'a header; may be given several times', header)
    .option('--dedup-id <id>', "the same id again within the queue's dedup window is the same request")
    .option('--correlation-id <id>', 'what it belongs to')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(request)
}

async function request(
  queue: string,
  body: string | undefined,
  options: RequestOptions,
  command: Command,
): Promise<void> {
  const given = [body, options.file, options.id].filter((one) => one !== undefined)
  if (given.length !== 1) command.error('error: give one of a body, --file and --id')
  const { wait = 20, keep: keepSeconds, dedupId = crypto.randomUUID() } = options
  const content = options.id === undefined ? await bodyOf(body, options) : undefined
  const end = performance.now() + wait * 1000
  const stopping = stopSignal()

  await useServer(options, async (server) => {
    let id = options.id
    let quick = 0
    do {
      const started = performance.now()
      const waitSeconds = Math.min(Math.max(end - started, 0) / 1000, maxWaitSeconds)
      const sent =
        content && id === undefined
          ? messageJson(content, defined({ ...messageOptions(options), dedupId, keepSeconds, waitSeconds }))
          : undefined
      const { data, text } = await ask(server, queue, sent, id, waitSeconds, stopping).catch((error) => {
        if (stopping.aborted) throw interrupted(queue, id, dedupId)
        throw id === undefined || options.id ? error : sayingMore(error, `For the reply, ${howToFetch(queue, id)}.`)
      })
      if (data.reply) return print(data, text, options)
      id = data.id
      // A server that is stopping, or a proxy, answers at once instead of waiting: asking again at once would be a busy loop.
      quick = performance.now() - started < Math.min(waitSeconds * 1000, 1000) ? quick + 1 : 0
      if (quick > 0) await pause(quick, end, stopping)
      if (stopping.aborted) throw interrupted(queue, id, dedupId)
    } while (performance.now() < end)
    throw new Ending(exitCodes.nothingReceived, `no reply yet: ${howToFetch(queue, id)}`)
  })
}

/** No longer than until the end. */
async function pause(quick: number, end: number, stopping: AbortSignal): Promise<void> {
  const left = Math.max(end - performance.now(), 0)
  await platform.sleep(Math.min(backoffMilliseconds(quick, 0, platform.random), left), stopping).catch(() => {})
}

/** @param id undefined if the request was under way still: only what it said of itself is known */
function interrupted(queue: string, id: string | undefined, dedupId: string): Ending {
  const later =
    id === undefined
      ? `The request may have been sent: give it again with --dedup-id ${dedupId}, and it is the same one.`
      : `No reply yet: ${howToFetch(queue, id)}`
  return new Ending(exitCodes.interrupted, `interrupted\n${later}`)
}

function howToFetch(queue: string, id: string): string {
  return `fetch it with "postbag request ${queue} --id ${id}"`
}

function ask(
  server: Server,
  queue: string,
  sent: string | undefined,
  id: string | undefined,
  waitSeconds: number,
  signal: AbortSignal,
) {
  const verb = sent === undefined ? `${pathTo('replies', id ?? '')}?waitSeconds=${waitSeconds}` : '/request'
  const patience = { signal, timeoutSeconds: server.connection.timeoutSeconds + waitSeconds }
  return server.exchange<RequestResponse>(queuePath(queue) + verb, sent, patience)
}

async function print({ reply, ...ids }: RequestResponse, text: string, { json }: RequestOptions): Promise<void> {
  if (!reply) return
  const { body, ...fields } = reply
  const bodyJson = replySlice(text)
  if (json) {
    const start = JSON.stringify({ ...ids, ...fields }).slice(0, -1)
    return writeLine(`${start},"body":${bodyJson.replace(/[\r\n]/g, ' ')}}`)
  }
  const bytes = fields.encoding === 'json' ? bodyJson : Buffer.from(String(body), textOrBase64[fields.encoding])
  await write(Buffer.concat([Buffer.from(bytes), Buffer.from('\n')]))
}

const textOrBase64 = { text: 'utf8', base64: 'base64' } as const

/** The text of the reply's body: `reply` is the last field of an answer. */
function replySlice(text: string): string {
  return bodySlices(text.slice(text.indexOf('"reply":') + '"reply":'.length, -1))[0] ?? 'null'
}
