/* postbag token: make a token for a server that has the same POSTBAG_SECRET. Asks no server. */
import { type Command, InvalidArgumentError } from 'commander'
import { tokenAccess } from '../config.ts'
import { writeLine } from './output.ts'
import { collected, duration } from './values.ts'

const help = `
Scopes:
  send:<queues>        send; * stands for any characters: send:orders.*
  receive:<queues>     receive, settle and look
  publish:<exchanges>  publish, and see where it would go
  portal:<application> see and mend the webhook endpoints of one application,
                       percent-encoded; needs --expires, at most 7d
  admin                everything

Prints nothing but the token, so that it can be used as it is:
  export POSTBAG_TOKEN=$(postbag token --scope 'send:orders.*' --scope receive:audit --expires 30d)`

export function addToken(program: Command): void {
  program
    .command('token')
    .description('Make a token, signed with POSTBAG_SECRET.')
    .requiredOption('--scope <scope>', 'what it allows; may be given several times', collected)
    .option('--expires <time>', 'after how long it is worth nothing: 90s, 5m, 12h, 30d … (default: never)', lifetime)
    .addHelpText('after', help)
    .action(token)
}

/** A hundred years, in seconds. */
const longest = 36_500 * 86_400

function lifetime(text: string): number {
  const seconds = duration(text)
  if (seconds > longest) throw new InvalidArgumentError('It must be at most 36500d; without it, a token never ends.')
  if (seconds < 1) throw new InvalidArgumentError('It must be at least a second.')
  return seconds
}

async function token({
  scope,
  expires,
}: {
  readonly scope: readonly string[]
  readonly expires?: number
}): Promise<void> {
  const secret = process.env['POSTBAG_SECRET'] ?? ''
  tokenAccess(secret) // refuses none, and one that is too short
  const { signToken } = await import('../http/token.ts')
  const now = new Date()
  const expiresAt = expires === undefined ? undefined : new Date(now.getTime() + expires * 1000)
  await writeLine(await signToken(secret, { scopes: scope, now, ...(expiresAt && { expiresAt }) }))
}
