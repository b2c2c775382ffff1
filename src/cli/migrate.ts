/* postbag migrate: bring the database up to this version of Postbag, or print the SQL that does. */
import { type Command, InvalidArgumentError } from 'commander'
import { useDatabase } from './database.ts'
import { counted, write, writeJson, writeLine } from './output.ts'
import { wholeNumber } from './values.ts'

interface MigrateOptions {
  readonly print?: boolean
  readonly from?: number
  readonly json?: boolean
}

const help = `
Works on DATABASE_URL or, while "postbag dev" runs, on its embedded database. Running it again, or twice at once, is safe.
With --print it needs no database: for those who migrate with another tool.

Examples:
  DATABASE_URL=postgres://… postbag migrate
  postbag migrate --print > 001_postbag.sql
  postbag migrate --print --from 2 > 002_postbag.sql     what came after the first migration`

export function addMigrate(program: Command): void {
  program
    .command('migrate')
    .description('Create or update the tables and functions of Postbag in a database.')
    .option('--print', 'print the SQL instead of running it')
    .option('--from <number>', 'with --print: begin with this migration (default: 1)', migrationNumber)
    .option('--json', 'report as JSON')
    .addHelpText('after', help)
    .action(migrate)
}

function migrationNumber(text: string): number {
  const number = wholeNumber(text)
  if (number < 1) throw new InvalidArgumentError('The first migration is 1.')
  return number
}

async function migrate({ print, from, json }: MigrateOptions, command: Command): Promise<void> {
  if (from !== undefined && !print) command.error('error: --from goes with --print')
  const { install, printMigrations } = await import('../db/install.ts')
  if (print) return write(printMigrations(from))

  await useDatabase(async (pool, place) => {
    const { installed, version } = await install(pool)
    const migrations = installed.map(({ number, name }) => ({ number, name }))
    if (json) return writeJson({ installed: migrations, version })
    if (migrations.length === 0) return writeLine(`Nothing to do: ${place} is at migration ${version} already.`)
    for (const { number, name } of migrations) await writeLine(`Ran migration ${number} (${name}).`)
    await writeLine(`${counted(migrations.length, 'migration')} done: ${place} is at migration ${version}.`)
  })
}
