/* postbag receive: messages as lines on standard output, once or for ever (follow.ts). */
import { type Command, Option } from 'commander'
import { maxWaitSeconds } from '../limits.ts'
import { Consumer } from './consumer.ts'
import { Ending, exitCodes } from './exit.ts'
import { follow } from './follow.ts'
import { type ServerOptions, useServer, withServerOptions } from './server.ts'
import { stopSignal } from './signals.ts'
import { duration, wholeNumber } from './values.ts'

export interface ReceiveOptions extends ServerOptions {
  readonly max?: number
  readonly wait?: number
  readonly lease?: number
  readonly follow?: boolean
  readonly ack?: boolean
  readonly autoAck?: boolean
  readonly body?: boolean
}

const help = `
A message is a line of JSON: id, receipt, body, encoding (json, text, or base64 for bytes), type, headers, attempts, times …
Without --ack it is only leased: settle it over HTTP with its receipt, or it is received again when the lease ends.
With --ack it is done when standard output has taken its line; what could not be written is given back.
With --auto-ack it is faster, and what is lost on its way here is lost.

Examples:
  postbag receive orders                             one message, if there is one
  postbag receive orders --max 10 --wait 20 --ack    up to 10, waiting for the first, and done with them
  postbag receive orders --follow --ack | jq .body   all there are and will be, until Ctrl-C
  postbag receive logs --follow --ack --body >> app.log`

export function addReceive(program: Command): void {
  const command = program
    .command('receive')
    .description('Receive messages, as lines of JSON.')
    .argument('<queue>')
    .option('--max <number>', 'most messages (default: 1; with --follow: 100 at a time)', wholeNumber)
    .option('--wait <time>', 'how long to wait if there are none: 20, 20s, 5m … (default: not at all)', duration)
    .option('--lease <time>', "how long they are ours (default: the queue's)", duration)
    .option('--follow', 'go on until Ctrl-C, also when the server is away for a while')
    .option('--ack', 'delete them when they are written')
    .addOption(new Option('--auto-ack', 'the server deletes them when it hands them out').conflicts(['ack', 'lease']))
    .addOption(new Option('--body', 'write only the body, byte for byte, and a line break').conflicts('json'))
    .option('--json', 'write JSON, as without it')
    .addHelpText('after', help)
  withServerOptions(command).action(receive)
}

async function receive(queue: string, options: ReceiveOptions, command: Command): Promise<void> {
  if (options.follow && options.wait !== undefined) command.error('error: --follow waits anyway: leave --wait out')
  const stopping = stopSignal()
  await useServer(options, async (server) => {
    const consumer = new Consumer(server, queue, options, stopping)
    await (options.follow ? follow(consumer, options.max ?? 100) : receiveOnce(consumer, options))
  })
}

/** One batch. Waits longer than one request may are several. */
async function receiveOnce(consumer: Consumer, { max = 1, wait = 0 }: ReceiveOptions): Promise<void> {
  const end = performance.now() + wait * 1000
  while (true) {
    const left = Math.max(0, end - performance.now()) / 1000
    const batch = await consumer.lease(max, Math.min(left, maxWaitSeconds))
    if (batch.length > 0) {
      await consumer.write(batch)
      if (consumer.acks) await consumer.ack(batch)
      return
    }
    if (consumer.stopping.aborted) throw new Ending(exitCodes.interrupted, '')
    if (performance.now() >= end) throw new Ending(exitCodes.nothingReceived, '')
  }
}
