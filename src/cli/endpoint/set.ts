/* postbag endpoint set: make an endpoint of webhooks, or replace the configuration of the one with that name. */
import { readFile } from 'node:fs/promises'
import { type Command, InvalidArgumentError } from 'commander'
import type { EndpointFilter, EndpointOrder } from '../../wire.ts'
import { withServerOptions } from '../server.ts'
import { collected, duration, header, oneOf, rate, wholeNumber } from '../values.ts'
import { type EndpointOptions, useEndpoints, writeWithSecret } from './use.ts'

const orders: readonly EndpointOrder[] = ['none', 'group', 'endpoint']

type Strings = Readonly<Record<string, string>>

interface SetOptions extends EndpointOptions {
  readonly exchange: string
  readonly event?: readonly string[]
  readonly application?: string
  readonly filter?: EndpointFilter
  readonly header?: Strings
  readonly description?: string
  readonly meta?: Strings
  readonly timeout?: number
  readonly retries?: readonly number[]
  readonly rate?: number
  readonly rateBurst?: number
  readonly concurrency?: number
  readonly order?: EndpointOrder
  readonly secretFile?: string
}

const help = `
What is published to the exchange with a routing key that one of the event types fits is delivered to the address; without
--event all of it. Of a direct exchange an event type is a routing key as it stands: without --event nothing is delivered there.

Who makes an endpoint is shown its secret, once: its receiver verifies signatures with it. If there is an endpoint with that name, all of
its configuration is replaced, but its secret, unless --secret-file brings one ("postbag endpoint rotate" lets both sign for a while).

Examples:
  postbag endpoint set acme https://acme.example/hook --exchange events
  postbag endpoint set acme https://acme.example/hook --exchange events --event 'order.*' --event user.created --application acme
  postbag endpoint set slow https://slow.example/ --exchange events --timeout 30s --retries 10s,1m,1h --rate 5 --concurrency 2
  postbag endpoint set paid https://paid.example/ --exchange events --filter '{"body": {"order": {"paid": true}}}'`

export function addEndpointSet(group: Command): void {
  const command = group
    .command('set')
    .description('Make an endpoint, or replace its configuration.')
    .argument('<name>')
    .argument('<address>', 'where to: https://…')
    .requiredOption('--exchange <exchange>', 'what is published there is delivered; of type topic, direct or fanout')
    .option(
      '--event <pattern>',
      'only what is published with such a routing key; may be given several times',
      collected,
    )
    .option('--application <name>', 'whose it is')
    .option('--filter <json>', 'only events that contain all of {"headers": {…}, "body": …}', filter)
    .option('--header <name=value>', 'of the requests; may be given several times', header)
    .option('--description <text>', 'for people')
    .option('--meta <name=value>', 'for programs; may be given several times', header)
    .option('--timeout <time>', 'how long the receiver has to answer (default: 15 s)', duration)
    .option(
      '--retries <times>',
      'how long to wait after each failed attempt: 5s,5m,1h (default: as recommended)',
      times,
    )
    .option('--rate <rate>', 'most deliveries: 10, 10/s, 600/m (default: no limit)', rate)
    .option('--rate-burst <number>', 'how many of them at once (default: those of one second)', wholeNumber)
    .option('--concurrency <number>', 'most deliveries under way (default: 10)', wholeNumber)
    .option(
      '--order <what>',
      'one after the other: events of a group, or all of the endpoint (default: none)',
      oneOf(orders),
    )
    .option('--secret-file <file>', 'the file with the secret to sign with (default: a new one)')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(setEndpoint)
}

async function setEndpoint(name: string, address: string, options: SetOptions): Promise<void> {
  const secret = await secretIn(options.secretFile)
  await useEndpoints(options, async ({ endpoint }) => {
    const info = await endpoint(name).set({
      url: address,
      exchange: options.exchange,
      eventTypes: options.event,
      application: options.application,
      filter: options.filter,
      headers: options.header,
      description: options.description,
      metadata: options.meta,
      timeoutSeconds: options.timeout,
      retriesSeconds: options.retries,
      ratePerSecond: options.rate,
      rateBurst: options.rateBurst,
      concurrency: options.concurrency,
      order: options.order,
      secret,
    })
    const what = `Set endpoint ${name}: ${info.eventTypes.join(', ')} of ${info.exchange} to ${info.url}`
    await writeWithSecret(info, options.json, `${what}.`)
  })
}

/** (Not on the command line, where everybody on the machine would see it.) */
export async function secretIn(file: string | undefined): Promise<string | undefined> {
  return file === undefined ? undefined : (await readFile(file, 'utf8')).trim()
}

function filter(text: string): EndpointFilter {
  try {
    return JSON.parse(text)
  } catch {
    throw new InvalidArgumentError('It must be JSON such as {"headers": {"tenant": "acme"}}.')
  }
}

/** "5s,5m,1h", in seconds; "" is none. */
function times(text: string): readonly number[] {
  return text === '' ? [] : text.split(',').map(duration)
}
