/* postbag maintain: clear away what time has ended, until there is nothing left to do. For a cron job where queues lie idle. */
import type { Command } from 'commander'
import type { MaintainResponse } from '../wire.ts'
import { Ending, exitCodes, sayingMore } from './exit.ts'
import { counted, writeJson, writeLine } from './output.ts'
import { showProgress } from './progress.ts'
import { type ServerOptions, useServer, withServerOptions } from './server.ts'
import { stopSignal } from './signals.ts'

type Done = Omit<MaintainResponse, 'more'>

const help = `
Sending and receiving clear away too, as they go: this is for queues where nothing happens. Safe at any time, and beside itself.

Example, in a crontab:
  */10 * * * *  DATABASE_URL=postgres://… postbag maintain`

export function addMaintain(program: Command): void {
  const command = program
    .command('maintain')
    .description('Clear away expired messages, old dead letters and dedup ids, in all queues.')
    .option('--json', 'as JSON')
    .addHelpText('after', help)
  withServerOptions(command).action(maintain)
}

async function maintain(options: ServerOptions & { readonly json?: boolean }): Promise<void> {
  const progress = showProgress('row')
  const stopping = stopSignal()
  let done: Done = { expiredMessages: 0, removedDeadLetters: 0, forgottenDedupIds: 0, removedOrphans: 0 }

  await useServer(options, async ({ client }) => {
    try {
      while (true) {
        const { more, ...answer } = await client.maintain()
        done = sum(done, answer)
        progress.update(total(done))
        if (!more) break
        if (stopping.aborted) throw new Ending(exitCodes.interrupted, 'interrupted')
      }
    } catch (error) {
      throw total(done) === 0 ? error : sayingMore(error, sentence(done))
    } finally {
      progress.clear()
    }
    await (options.json ? writeJson(done) : writeLine(sentence(done)))
  })
}

function total(done: Done): number {
  return Object.values(done).reduce((all, count) => all + count, 0)
}

function sum(a: Done, b: Done): Done {
  return {
    expiredMessages: a.expiredMessages + b.expiredMessages,
    removedDeadLetters: a.removedDeadLetters + b.removedDeadLetters,
    forgottenDedupIds: a.forgottenDedupIds + b.forgottenDedupIds,
    removedOrphans: a.removedOrphans + b.removedOrphans,
  }
}

function sentence({ expiredMessages, removedDeadLetters, forgottenDedupIds, removedOrphans }: Done): string {
  return (
    `Cleared away ${counted(expiredMessages, 'expired message')}, ${counted(removedDeadLetters, 'old dead letter')}, ` +
    `${counted(forgottenDedupIds, 'dedup id')} and ${counted(removedOrphans, 'message')} of deleted queues.`
  )
}
