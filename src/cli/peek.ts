/* postbag peek: look at the messages of a queue without taking them. */
import type { Command } from 'commander'
import type { PeekedMessage, PeekResponse } from '../wire.ts'
import { table, write, writeLine } from './output.ts'
import { messageLine, type Received, receivedOf } from './received.ts'
import { queuePath, type ServerOptions, useServer, withServerOptions } from './server.ts'
import { wholeNumber } from './values.ts'

interface PeekOptions extends ServerOptions {
  readonly max?: number
  readonly after?: string
  readonly json?: boolean
}

/** How much of a body a table shows. */
const shownLength = 60

export function addPeek(program: Command): void {
  const command = program
    .command('peek')
    .description('Look at messages without taking them, in the order they were sent.')
    .argument('<queue>')
    .option('--max <number>', 'most messages (default: 10)', wholeNumber)
    .option('--after <id>', 'begin behind this message')
    .option('--json', 'whole messages, a line of JSON each')
  withServerOptions(command).action(peek)
}

async function peek(queue: string, { max, after, json, ...options }: PeekOptions): Promise<void> {
  const query = new URLSearchParams({
    ...(max !== undefined && { max: String(max) }),
    ...(after !== undefined && { after }),
  })
  await useServer(options, async ({ exchange }) => {
    const { data, text } = await exchange<PeekResponse>(`${queuePath(queue)}/messages?${query}`, undefined)
    const messages = receivedOf(data.messages, text)
    if (json) return write(messages.map((one) => `${messageLine(one)}\n`).join(''))
    if (messages.length === 0) return writeLine(`There is no message in ${queue}${after ? ` after ${after}` : ''}.`)
    await writeLine(table(['ID', 'STATE', 'ATTEMPTS', 'SENT AT', 'TYPE', 'BODY'], messages.map(rowOf)))
    if (data.next) await writeLine(`\nThere are more: --after ${data.next}`)
  })
}

function rowOf({ message, bodyJson }: Received<PeekedMessage>): readonly string[] {
  const { id, state, attempts, sentAt, type = '-', encoding } = message
  const body = encoding === 'base64' ? `(bytes) ${message.body}` : bodyJson
  return [id, state, String(attempts), sentAt, type, shortened(body)]
}

/** On one line, without anything that a terminal would obey. */
function shortened(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cf}]+/gu, ' ')
  return line.length > shownLength ? `${line.slice(0, shownLength - 1)}…` : line
}
