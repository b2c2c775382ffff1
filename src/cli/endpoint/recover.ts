/* postbag endpoint recover: deliver anew what has failed for good, call after call. Ctrl-C lets the call that is
 * under way come to its end. */
import type { Command } from 'commander'
import { Ending, exitCodes, sayingMore } from '../exit.ts'
import { type FilterOptions, filtersOf, withFilterOptions } from '../filters.ts'
import { counted, writeJson, writeLine } from '../output.ts'
import { showProgress } from '../progress.ts'
import { withServerOptions } from '../server.ts'
import { stopSignal } from '../signals.ts'
import { collected, rate, wholeNumber } from '../values.ts'
import { type EndpointOptions, useEndpoints } from './use.ts'

interface RecoverOptions extends EndpointOptions, FilterOptions {
  readonly id?: readonly string[]
  readonly errorContains?: string
  readonly rate?: number
  readonly max?: number
  readonly dryRun?: boolean
}

const help = `
Without a filter all of it; with several, what fits every one.

Examples:
  postbag endpoint recover acme --dry-run              how many are there?
  postbag endpoint recover acme --max-age 12h          what failed for good in the last 12 hours
  postbag endpoint recover acme --error-contains 503 --rate 10`

export function addEndpointRecover(group: Command): void {
  const command = group
    .command('recover')
    .description('Deliver anew what has failed for good.')
    .argument('<name>')
    .option('--rate <rate>', 'one after the other: 10, 10/s, 600/m … (default: all at once)', rate)
    .option('--dry-run', 'only count')
    .option('--max <number>', 'most deliveries (default: all)', wholeNumber)
    .option('--id <id>', 'only this delivery; may be given several times', collected)
    .option('--error-contains <text>', 'only those with this text in their last error')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(withFilterOptions(command, 'failed for good')).action(recover)
}

async function recover(name: string, options: RecoverOptions): Promise<void> {
  const { id: ids, errorContains, rate: ratePerSecond, dryRun, max, json } = options
  const request = { ...filtersOf(options), ids, errorContains, ratePerSecond, dryRun, max }
  const progress = showProgress('delivery')
  const signal = stopSignal()
  let count = 0
  const onProgress = (number: number) => {
    count = number
    progress.update(number)
  }

  await useEndpoints(options, async ({ endpoint }) => {
    try {
      await endpoint(name).recover(request, { signal, onProgress })
    } catch (error) {
      const ending = signal.aborted ? new Ending(exitCodes.interrupted, 'interrupted') : error
      throw count === 0 ? ending : sayingMore(ending, sentence())
    } finally {
      progress.clear()
    }
    await (json ? writeJson({ redrivenMessages: count }) : writeLine(sentence()))
  })

  function sentence(): string {
    return `${dryRun ? 'Would deliver' : 'Delivers'} ${counted(count, 'delivery')} of endpoint ${name} anew.`
  }
}
