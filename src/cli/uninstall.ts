/* postbag uninstall: remove Postbag and all its queues and messages from a database, after asking. */
import type { Command } from 'commander'
import type pg from 'pg'
import { confirm } from './confirm.ts'
import { useDatabase } from './database.ts'
import { counted, writeLine } from './output.ts'

/** Counting stops here: to know how much is lost, "or more" will do. */
const mostCounted = 100_000

export function addUninstall(program: Command): void {
  program
    .command('uninstall')
    .description('Remove Postbag from a database, with all queues and messages.')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nWorks on DATABASE_URL or, while "postbag dev" runs, on its embedded database.')
    .action(uninstallPostbag)
}

async function uninstallPostbag({ yes }: { readonly yes?: boolean }): Promise<void> {
  const { uninstall } = await import('../db/install.ts')
  await useDatabase(async (pool, place) => {
    const content = await contentOf(pool)
    if (content === undefined) return writeLine(`Nothing to do: there is no Postbag in ${place}.`)
    if (!yes) await confirm(`Remove Postbag from ${place}, with ${content}?`)
    await uninstall(pool)
    await writeLine(`Removed Postbag from ${place}, with ${content}.`)
  })
}

/** "3 queues and 12 messages"; undefined if there is no Postbag. */
async function contentOf(pool: pg.Pool): Promise<string | undefined> {
  const { rows: schemas } = await pool.query(
    `select to_regclass('postbag.message') as message from pg_namespace where nspname = 'postbag'`,
  )
  if (schemas.length === 0) return undefined
  if (schemas[0].message === null) return 'nothing in it'
  const { rows } = await pool.query<{ queues: number; messages: number }>(
    `select
      (select count(*)::integer from (select from postbag.queue limit $1) as counted) as queues,
      (select count(*)::integer
        from (select from postbag.message union all select from postbag.volatile_message limit $1) as counted
      ) as messages`,
    [mostCounted],
  )
  const [{ queues, messages } = { queues: 0, messages: 0 }] = rows
  return `${some(queues, 'queue')} and ${some(messages, 'message')}`
}

function some(count: number, noun: string): string {
  return counted(count, noun) + (count === mostCounted ? ' or more' : '')
}
