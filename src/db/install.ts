/* Installing: runs the committed migrations and keeps our own ledger of them, postbag.migration. (graphile-migrate, with which they
 * are written, keeps its ledger in one fixed schema: in an app that uses it too, ours would silently be skipped.)
 *
 * All that is missing runs in one transaction, under a transaction-level advisory lock: two installers at once do it once, a
 * failure leaves nothing behind, and it works through a transaction pooler. It gives way to traffic (give-way.ts). */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { QueueError } from '../errors.ts'
import { givingWay, unhurried } from './give-way.ts'

export interface Migration {
  readonly number: number
  /** Such as "foundation". */
  readonly name: string
  /** Over this migration and all before it. */
  readonly hash: string
  readonly sql: string
}

export interface InstallReport {
  /** What was run now; empty if everything was there. */
  readonly installed: readonly Migration[]
  /** The number of the newest migration in the database. */
  readonly version: number
}

/** "postbag" as a lock number. Whoever installs holds it. */
const installLock = 0x706f7374626167n

const ledger = `
create schema if not exists postbag;

/* Which migrations of Postbag this database has. */
create table if not exists postbag.migration (
  number integer primary key,
  name text not null,
  hash text not null,
  installed_at timestamptz not null default now()
);
`

/** The migrations that this package brings, in their order. */
export function packagedMigrations(): readonly Migration[] {
  const folder = join(packageFolder(), 'migrations', 'committed')
  return readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => {
      const sql = readFileSync(join(folder, file), 'utf8')
      const [, number, name] = /^(\d+)-(.+)\.sql$/.exec(file) ?? []
      const [, hash] = /^--! Hash: (\S+)$/m.exec(sql) ?? []
      if (!number || !name || !hash) throw new Error(`${file} is not a committed migration`)
      return { number: Number(number), name, hash, sql }
    })
}

/** What the migrations count on, whatever the role or the database says. */
const settings = 'set local standard_conforming_strings = on; set local quote_all_identifiers = off'

/** Bring the database up to this package's version. Safe to call at every start, from any number of processes at once. Who owns the schema owns
 * what is new in it, whoever calls.
 * @throws QueueError request_invalid if the database is not in UTF8, or the schema is another role's that this one may not act as
 * @throws QueueError database_unavailable if others used the tables for two minutes on end
 * @throws QueueError schema_mismatch if the database is newer than this package, or was migrated with other files. */
export function install(pool: pg.Pool): Promise<InstallReport> {
  return givingWay(pool, installLock, async (client) => {
    await client.query(settings)
    const { rows } = await client.query(found)
    const [{ installed, occupied, encoding, owner }] = rows
    if (!installed && !/^(UTF8|SQL_ASCII)$/.test(encoding)) throw wrongEncoding(encoding)
    if (!installed) await client.query(ledger)

    const missing = await missingMigrations(client)
    if (occupied && missing[0]?.number === 1) throw occupiedSchema()
    if (installed && owner !== null && missing.length > 0) await become(client, owner)
    for (const migration of missing) {
      await client.query({ text: migration.sql, ...unhurried })
      await client.query(recordOf(migration))
    }
    return { installed: missing, version: packagedMigrations().length }
  })
}

/** The owner is that of the schema, if it is another role than this one. */
const found = `
select
  to_regclass('postbag.migration') is not null as installed,
  to_regclass('postbag.queue') is not null as occupied,
  current_setting('server_encoding') as encoding,
  (select rolname from pg_roles join pg_namespace on nspowner = pg_roles.oid where nspname = 'postbag' and rolname <> current_user) as owner`

function wrongEncoding(encoding: string): QueueError {
  return new QueueError(
    'request_invalid',
    `the database must be in UTF8, as messages are, got ${encoding}: create database … template template0 encoding 'UTF8'`,
  )
}

function occupiedSchema(): QueueError {
  return new QueueError(
    'schema_mismatch',
    'the schema postbag has a table "queue", but its table "migration" does not say what was installed: it was lost, or the table is not Postbag’s',
  )
}

async function become(client: pg.ClientBase, owner: string): Promise<void> {
  try {
    await client.query(`set local role ${pg.escapeIdentifier(owner)}`)
  } catch (cause) {
    throw new QueueError(
      'request_invalid',
      `the schema postbag belongs to the role "${owner}": migrate as that one, or as a member of it`,
      { cause },
    )
  }
}

/** Everything that install would run, as one SQL script for other migration tools; from migration `from` on (1 is the first). */
export function printMigrations(from = 1): string {
  const wanted = packagedMigrations().filter((migration) => migration.number >= from)
  return [
    from === 1 ? ledger : '',
    ...wanted.flatMap((migration) => [migration.sql, `${recordOf(migration)};\n`]),
  ].join('\n')
}

const ourRelations = [
  'attempt',
  'binding',
  'binding_point',
  'binding_term',
  'body',
  'body_round',
  'dedup',
  'endpoint',
  'endpoint_health',
  'endpoint_info',
  'exchange',
  'flow',
  'group_change',
  'group_pending',
  'inbox',
  'message',
  'migration',
  'outbox',
  'permission',
  'policy',
  'policy_change',
  'policy_info',
  'queue',
  'queue_info',
  'reply',
  'restricted_call',
  'sweep',
  'tally',
  'traffic',
  'volatile_dedup',
  'volatile_message',
]

/** Remove Postbag and every message in it.
 * @throws QueueError schema_mismatch if the schema holds tables that are not Postbag's: they would go with it. (A database user who is
 *   called postbag makes its own tables there, unless told otherwise: the schema named like the user comes first.) */
export function uninstall(pool: pg.Pool): Promise<void> {
  return givingWay(pool, installLock, async (client) => {
    await refuseForeign(client)
    await client.query({ text: 'drop schema if exists postbag cascade', ...unhurried })
  })
}

async function refuseForeign(client: pg.ClientBase): Promise<void> {
  const foreign = await client.query<{ relname: string }>(
    `select relname from pg_class
    where relnamespace = to_regnamespace('postbag') and relkind in ('r', 'p', 'v', 'm', 'f') and relname <> all ($1)
    order by relname`,
    [ourRelations],
  )
  if (foreign.rows.length === 0) return
  throw new QueueError(
    'schema_mismatch',
    `the schema postbag also holds ${foreign.rows.map(({ relname }) => relname).join(', ')}, not made by Postbag: ` +
      'move them first (alter table … set schema public)',
  )
}

async function missingMigrations(client: pg.ClientBase): Promise<readonly Migration[]> {
  const packaged = packagedMigrations()
  const found = await client.query<{ number: number; name: string; hash: string }>(
    'select number, name, hash from postbag.migration order by number',
  )
  for (const [index, there] of found.rows.entries()) {
    const ours = packaged.find((migration) => migration.number === there.number)
    if (!ours) {
      throw new QueueError(
        'schema_mismatch',
        `the database has migration ${there.number} (${there.name}), this Postbag knows only ${packaged.length}: ` +
          'install the newer version of the package',
      )
    }
    if (there.number !== index + 1) {
      throw new QueueError(
        'schema_mismatch',
        `the table postbag.migration must have a row per migration, but has none of ${index + 1}: say what was installed before anything is`,
      )
    }
    if (ours.hash !== there.hash) {
      throw new QueueError(
        'schema_mismatch',
        `migration ${there.number} (${there.name}) in the database is not the one of this package: ` +
          'it was installed by another build of Postbag, and must be uninstalled first',
      )
    }
  }
  return packaged.slice(found.rows.length)
}

/** The ledger's row of a migration. Numbers, names and hashes come from our own file names and headers, checked here. */
function recordOf({ number, name, hash }: Migration): string {
  if (!/^[\w-]+$/.test(name) || !/^[\w:]+$/.test(hash))
    throw new Error(`migration ${number} has an unsafe name or hash`)
  return `insert into postbag.migration (number, name, hash) values (${number}, '${name}', '${hash}')`
}

/** The nearest folder above with a package.json: the same from the sources and from dist/. */
function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!readdirSync(folder).includes('package.json')) folder = dirname(folder)
  return folder
}
