/* postbag endpoint rotate: sign with another secret, for a while also with those before it. */
import type { Command } from 'commander'
import { spoken } from '../output.ts'
import { withServerOptions } from '../server.ts'
import { duration } from '../values.ts'
import { secretIn } from './set.ts'
import { type EndpointOptions, useEndpoints, writeWithSecret } from './use.ts'

interface RotateOptions extends EndpointOptions {
  readonly overlap: number
  readonly secretFile?: string
}

export function addEndpointRotate(group: Command): void {
  const command = group
    .command('rotate')
    .description('Sign with another secret, and for a while also with those before it. Shows the new one, once.')
    .argument('<name>')
    .option('--overlap <time>', 'how long those before it go on signing (default: 1 d)', duration, 86_400)
    .option('--secret-file <file>', 'the file with the secret to sign with (default: a new one)')
    .option('--json', 'as JSON')
  withServerOptions(command).action(rotate)
}

async function rotate(name: string, { overlap, secretFile, json, ...options }: RotateOptions): Promise<void> {
  const secret = await secretIn(secretFile)
  await useEndpoints(options, async ({ endpoint }) => {
    const info = await endpoint(name).rotateSecret({ overlapSeconds: overlap, secret })
    const former = overlap === 0 ? 'those before it sign no longer' : `those before it also sign for ${spoken(overlap)}`
    await writeWithSecret(info, json, `Rotated the secret of endpoint ${name}: ${former}.`)
  })
}
