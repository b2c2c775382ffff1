/* Asking before something is deleted for good. */
import { createInterface } from 'node:readline/promises'
import { Ending, exitCodes } from './exit.ts'

/** A terminal, as far as a question needs one. */
export interface Terminal {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly output: NodeJS.WritableStream
}

const ownTerminal: Terminal = { input: process.stdin, output: process.stderr }

/** Returns if the answer is yes.
 * @throws Ending if it is not, or if there is nobody to ask. */
export async function confirm(question: string, { input, output }: Terminal = ownTerminal): Promise<void> {
  if (!input.isTTY) {
    throw new Ending(
      exitCodes.usage,
      `there is no terminal to ask at: "${question}" To do it without asking, add --yes.`,
    )
  }
  const interrupted = new AbortController()
  const lines = createInterface({ input, output })
  for (const event of ['SIGINT', 'close'] as const) lines.on(event, () => interrupted.abort())
  const answer = await lines.question(`${question} [y/N] `, { signal: interrupted.signal }).catch(() => undefined)
  lines.close()
  if (answer === undefined) throw new Ending(exitCodes.interrupted, 'nothing was deleted')
  if (!/^\s*y(es)?\s*$/i.test(answer)) throw new Ending(exitCodes.failed, 'nothing was deleted')
}
