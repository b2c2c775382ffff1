/* postbag peek: look at the messages of a queue, or at one of them, without taking them. */
import type { Command } from 'commander'
import { defined } from '../client/effects.ts'
import { peekPath } from '../client/look.ts'
import { pathTo } from '../client/path.ts'
import type { MessageState, PeekedMessage, PeekRequest, PeekResponse } from '../wire.ts'
import { type FilterOptions, filtersOf, withFilterOptions } from './filters.ts'
import { messageSheet, shownBody, shownState } from './message-sheet.ts'
import { table, write, writeLine } from './output.ts'
import { messageLine, type Received, receivedOf } from './received.ts'
import { queuePath, type Server, type ServerOptions, useServer, withServerOptions } from './server.ts'
import { oneOf, wholeNumber } from './values.ts'

interface PeekOptions extends ServerOptions, FilterOptions {
  readonly max?: number
  readonly after?: string
  readonly state?: MessageState
  readonly contains?: string
  readonly json?: boolean
}

/** How much of a body a table shows. */
const shownLength = 60

const states: readonly MessageState[] = ['ready', 'leased', 'delayed', 'blocked', 'dead']

const help = `
With several filters, those that fit every one. With an id, all that is known of that message.

Examples:
  postbag peek orders --state dead --reason attempts
  postbag peek orders --type order.created --header tenant=acme --max-age 1h
  postbag peek orders 1234`

export function addPeek(program: Command): void {
  const command = program
    .command('peek')
    .description('Look at messages without taking them, in the order they were sent.')
    .argument('<queue>')
    .argument('[id]', 'only this message, in full')
    .option('--max <number>', 'most messages (default: 10)', wholeNumber)
    .option('--after <id>', 'begin behind this message')
    .option('--state <state>', `only those that are ${states.join(', ')}`, oneOf(states))
    .option('--contains <text>', 'only those with this text in their body')
    .option('--json', 'whole messages, a line of JSON each')
    .addHelpText('after', help)
  withServerOptions(withFilterOptions(command, 'were sent')).action(peek)
}

async function peek(
  queue: string,
  id: string | undefined,
  { json, ...options }: PeekOptions,
  command: Command,
): Promise<void> {
  const { max = 10, after, state, contains } = options
  const filters = defined({ ...filtersOf(options), state, contains })
  const filtered = Object.keys(filters).length > 0
  if (id !== undefined && (filtered || after !== undefined || options.max !== undefined)) {
    command.error('error: an id is one message: leave the filters out')
  }
  await useServer(options, async (server) => {
    if (id !== undefined) {
      const message = await get(server, queue, id)
      return json ? writeLine(messageLine(message)) : writeLine(messageSheet(message))
    }
    const { messages, next } = await find(server, queue, { ...filters, max, ...defined({ after }) })
    if (json) return write(messages.map((one) => `${messageLine(one)}\n`).join(''))
    if (messages.length === 0) {
      return writeLine(`There is no ${filtered ? 'such ' : ''}message in ${queue}${after ? ` after ${after}` : ''}.`)
    }
    await writeLine(table(['ID', 'STATE', 'ATTEMPTS', 'SENT AT', 'GROUP', 'TYPE', 'BODY'], messages.map(rowOf)))
    if (next !== undefined) await writeLine(`\nThere are more: --after ${next}`)
  })
}

interface Found {
  readonly messages: readonly Received<PeekedMessage>[]
  readonly next?: string | undefined
}

/** A page of a filtered look may hold fewer messages than there are: so page after page, until there are `max`. */
async function find(server: Server, queue: string, request: PeekRequest & { readonly max: number }): Promise<Found> {
  const messages: Received<PeekedMessage>[] = []
  let next = request.after
  do {
    const page = { ...request, max: request.max - messages.length, after: next }
    const { data, text } = await server.exchange<PeekResponse>(queuePath(queue) + peekPath(page), undefined)
    messages.push(...receivedOf(data.messages, text))
    next = data.next
  } while (next !== undefined && messages.length < request.max)
  return { messages, next }
}

async function get(server: Server, queue: string, id: string): Promise<Received<PeekedMessage>> {
  const { data, text } = await server.exchange<PeekedMessage>(queuePath(queue) + pathTo('messages', id), undefined)
  return receivedOf([data], text)[0] as Received<PeekedMessage>
}

function rowOf(one: Received<PeekedMessage>): readonly string[] {
  const { id, attempts, sentAt, group = '-', type = '-' } = one.message
  return [id, shownState(one.message), String(attempts), sentAt, group, type, shortened(shownBody(one))]
}

/** On one line. */
function shortened(text: string): string {
  const line = text.replace(/\s+/g, ' ')
  return line.length > shownLength ? `${line.slice(0, shownLength - 1)}…` : line
}
