/* postbag redrive: bring dead letters back, all that fit, call after call.
 *
 *  1. What is brought back is no dead letter any more, so after an interruption the same command goes on with what is left; with --after it
 *     does not even look at what it has seen.
 *  2. Ctrl-C lets the call that is under way come to its end, so the number that is said is right. */
import type { Command } from 'commander'
import { Ending, exitCodes, sayingMore } from './exit.ts'
import { type FilterOptions, filtersOf, withFilterOptions } from './filters.ts'
import { counted, writeJson, writeLine } from './output.ts'
import { showProgress } from './progress.ts'
import { type ServerOptions, useServer, withServerOptions } from './server.ts'
import { stopSignal } from './signals.ts'
import { collected, rate, wholeNumber } from './values.ts'

interface RedriveOptions extends ServerOptions, FilterOptions {
  readonly id?: readonly string[]
  readonly errorContains?: string
  readonly to?: string
  readonly rate?: number
  readonly max?: number
  readonly after?: string
  readonly dryRun?: boolean
  readonly json?: boolean
}

const help = `
Without a filter all dead letters are brought back; with several, those that fit every one.

Examples:
  postbag redrive orders --dry-run                                  how many are there?
  postbag redrive orders --reason attempts --error-contains timeout
  postbag redrive orders.dead --rate 10                             back to where they came from, 10 in a second
  postbag redrive orders --max-age 1h --to orders.slow`

export function addRedrive(program: Command): void {
  const command = program
    .command('redrive')
    .description('Bring dead letters back.')
    .argument('<queue>', 'where the dead letters are')
    .option('--to <queue>', 'to this queue (default: to where each came from)')
    .option('--rate <rate>', 'to be received one after the other: 10, 10/s, 600/m … (default: all at once)', rate)
    .option('--dry-run', 'only count')
    .option('--max <number>', 'most messages (default: all)', wholeNumber)
    .option('--after <position>', 'go on where another redrive ended')
    .option('--id <id>', 'only this one; may be given several times', collected)
    .option('--error-contains <text>', 'only those with this text in their last error')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(withFilterOptions(command, 'died')).action(redrive)
}

async function redrive(queue: string, options: RedriveOptions): Promise<void> {
  const { id: ids, errorContains, to: target, rate: ratePerSecond, dryRun, max } = options
  const request = { ...filtersOf(options), ids, errorContains, target, ratePerSecond, dryRun, max }
  const progress = showProgress('message')
  const signal = stopSignal()
  let after = options.after
  let redriven = 0
  const onProgress = (count: number, next?: string) => {
    redriven = count
    after = next
    progress.update(count)
  }

  await useServer(options, async ({ client }) => {
    try {
      await client.queue(queue).redriveAll({ ...request, after: options.after }, { signal, onProgress })
    } catch (error) {
      const goOn = after === undefined ? '' : ` To go on: --after ${after}`
      const ending = signal.aborted ? new Ending(exitCodes.interrupted, 'interrupted') : error
      throw redriven === 0 ? ending : sayingMore(ending, sentence() + goOn)
    } finally {
      progress.clear()
    }
    await (options.json ? writeJson({ redrivenMessages: redriven }) : writeLine(sentence()))
  })

  function sentence(): string {
    const messages = counted(redriven, 'message')
    const where = target === undefined ? '' : ` to ${target}`
    return dryRun
      ? `Would bring ${messages} of ${queue} back${where}.`
      : `Brought ${messages} of ${queue} back${where}.`
  }
}
