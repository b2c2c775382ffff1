/* How a command ends: its exit code, and what it says on standard error.
 *
 *   code  meaning
 *   0     done
 *   1     refused or failed; standard error has the reason and its code
 *   2     wrong usage: an unknown command or option, a bad value, or nobody there to confirm
 *   3     there was nothing to receive, or no reply in time
 *   65    what was given is bad: the body, or a line of the input (those before it were sent, and it says how many); a file to import
 *   69    the server or its database cannot be reached: try again later
 *   130   interrupted (Ctrl-C) before it was done
 *   141   whoever read the output has gone away
 *
 * 65 and 69 are EX_DATAERR and EX_UNAVAILABLE of sysexits.h; 130 and 141 are how a shell reports SIGINT and SIGPIPE. */
import { CommanderError } from 'commander'
import { type ErrorCode, fullReason, QueueError } from '../errors.ts'

export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  nothingReceived: 3,
  badInput: 65,
  unavailable: 69,
  interrupted: 130,
  outputClosed: 141,
} as const

export const exitCodesHelp = `
Exit codes:
  0    done
  1    refused or failed; standard error has the reason and its code
  2    wrong usage
  3    receive: there was nothing to receive; request: no reply in time
  65   send: the body, or a line of the input, is bad; lines before it were sent; import: the file is
  69   the server or its database cannot be reached: try again later
  130  interrupted (Ctrl-C) before it was done
  141  whoever read the output has gone away`

/** An end of a command that is not an error of Postbag's own. An empty message says nothing. */
export class Ending extends Error {
  readonly exitCode: number

  constructor(exitCode: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.exitCode = exitCode
  }
}

/** The same error, saying more. */
export function sayingMore(error: unknown, sentence: string): unknown {
  if (error instanceof Ending) return new Ending(error.exitCode, `${error.message}\n${sentence}`)
  if (!(error instanceof QueueError)) return error
  return new QueueError(error.code, `${error.message}\n${sentence}`, { cause: error.cause })
}

/** Say why a command failed, and set the exit code of the process. */
export function endWith(error: unknown): void {
  process.exitCode = exitCodeOf(error)
  // Commander has said its own already.
  if (error instanceof CommanderError || isBrokenPipe(error)) return
  const sentence = sentenceOf(error)
  if (sentence) console.error(`error: ${sentence}`)
}

/** Whether writing failed because nobody reads any more. */
function isBrokenPipe(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === 'EPIPE'
}

/** What went wrong and, where we know, what to do. */
export function sentenceOf(error: unknown): string {
  if (error instanceof QueueError) {
    const hint = hints[error.code]
    return `${fullReason(error)} (${error.code})${hint ? `\n${hint}` : ''}`
  }
  return error instanceof Error ? error.message : String(error)
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage
  if (error instanceof Ending) return error.exitCode
  if (error instanceof QueueError && unavailable.includes(error.code)) return exitCodes.unavailable
  return isBrokenPipe(error) ? exitCodes.outputClosed : exitCodes.failed
}

const unavailable: readonly ErrorCode[] = ['network_error', 'database_unavailable', 'server_stopping']

const getToken = 'Make a token with "postbag token" and give it with --token or POSTBAG_TOKEN.'

const hints: { readonly [Code in ErrorCode]?: string } = {
  queue_not_found: 'Create it with "postbag queue create <name>"; "postbag queue list" shows what there is.',
  token_missing: getToken,
  token_expired: getToken,
  token_invalid: getToken,
  scope_missing: getToken,
}
