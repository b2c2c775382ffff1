/* Writing migrations: runs graphile-migrate against a throw-away Postgres, so an author needs no database of their own.
 *
 *   npm run migration:try              run committed/ and current/ on an empty database
 *   npm run migration:commit -- core   the same, then freeze current/ as committed/00000N-core.sql
 *   npm run migration:uncommit         take the last committed migration back into current/
 *   npm run types:schema               write src/db/schema.ts, the table types, from what committed/ and current/ make
 */
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { commit, migrate, uncommit, watch } from 'graphile-migrate'
import pg from 'pg'
import { startScratch } from './server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Arguments of kysely-codegen that make src/db/schema.ts; the test that checks the file uses them too. */
export function schemaTypesCommand(...more: string[]): string[] {
  const program = createRequire(import.meta.url).resolve('kysely-codegen/dist/cli/bin.js')
  return [
    program,
    '--dialect=postgres',
    '--include-pattern=postbag.*',
    '--exclude-pattern=postbag.migration',
    '--type-mapping={"interval":"unknown","bytea":"Uint8Array"}',
    `--out-file=${root}src/db/schema.ts`,
    ...more,
  ]
}

async function main(command: string | undefined, message: string | undefined): Promise<void> {
  const server = await startScratch(18)
  try {
    const client = new pg.Client(server.url)
    await client.connect()
    await client.query('create database work')
    await client.end()
    const settings = {
      connectionString: server.url.replace(/postgres$/, 'work'),
      shadowConnectionString: server.url.replace(/postgres$/, 'shadow'),
      rootConnectionString: server.url,
      migrationsFolder: `${root}migrations`,
    }
    switch (command) {
      case 'try':
        return await watch(settings, true)
      case 'commit':
        return await commit(settings, message)
      case 'uncommit':
        await migrate(settings)
        return await uncommit(settings)
      case 'types': {
        await watch(settings, true)
        const env = { ...process.env, DATABASE_URL: settings.connectionString }
        process.exitCode = spawnSync(process.execPath, schemaTypesCommand(), { stdio: 'inherit', env }).status ?? 1
        return
      }
      default:
        throw new Error(`expected try, commit, uncommit or types, got ${command}`)
    }
  } finally {
    // graphile-migrate keeps its connections for 200 ms, and ends the process if they are cut.
    await sleep(300)
    await server.remove()
  }
}

if (import.meta.main) {
  await main(process.argv[2], process.argv[3]).catch((error) => {
    // graphile-migrate has already printed errors of the database, with their line.
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  })
}
