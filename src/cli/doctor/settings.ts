/* Whether this Postgres is one that Postbag supports, keeps what it commits, and cleans up. */
import { about, hint, ok, problem, type Remark, type Topic, warning } from './finding.ts'

const oldestMajor = 15
const newestMajor = 18

/** Statements of Postbag are short, but maintain and large batches are not. Below this they are likely to be cut. */
const tightTimeoutMillis = 1000

export interface SettingsRow {
  readonly version: number
  readonly version_name: string
  readonly standby: boolean
  readonly role: string
  readonly sees_all: boolean
  readonly settings: Readonly<Record<string, string>>
}

const names = [
  'fsync',
  'full_page_writes',
  'synchronous_commit',
  'autovacuum',
  'track_counts',
  'statement_timeout',
  'transaction_timeout',
  'idle_in_transaction_session_timeout',
  'default_transaction_read_only',
  'default_transaction_isolation',
  'session_replication_role',
]

export const settings: Topic = {
  name: 'settings',
  async look({ ask }) {
    const [row] = await ask<SettingsRow>(
      `select
        current_setting('server_version_num')::integer as version,
        current_setting('server_version') as version_name,
        pg_is_in_recovery() as standby,
        quote_ident(current_user) as role,
        pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_all,
        (select jsonb_object_agg(known.name, coalesce(known.reset_val, known.setting)) from pg_settings as known where known.name = any ($1))
          as settings`,
      [names],
    )
    return row ? judgeSettings(row) : []
  },
}

/** Why a setting is not as it should be, and what to do. */
export function judgeSettings({ version, version_name, standby, role, sees_all, settings }: SettingsRow): Remark[] {
  const remarks: Remark[] = []
  const major = Math.floor(version / 10_000)
  const globally = (name: string, value: string) => `alter system set ${name} = ${value}; select pg_reload_conf();`
  const ofRole = (name: string, value: string) => `alter role ${role} set ${name} = ${value};`
  const isOff = (name: string) => settings[name] === 'off'

  if (major < oldestMajor) {
    remarks.push(
      problem(`Postgres ${version_name} is too old for Postbag.`, `Upgrade to ${oldestMajor} – ${newestMajor}.`),
    )
  }
  if (major > newestMajor) {
    const tried = `Postbag was tried with ${oldestMajor} – ${newestMajor}.`
    remarks.push(
      hint(`Postgres ${version_name} is newer than this Postbag.`, `${tried} See whether there is a newer one.`),
    )
  }
  if (standby) {
    remarks.push(
      problem('This is a standby: nothing can be sent or received.', 'Set DATABASE_URL to the primary server.'),
    )
  }
  if (isOff('fsync')) {
    remarks.push(
      problem('fsync is off: a crash of the machine can destroy the whole database.', globally('fsync', 'on')),
    )
  }
  if (isOff('full_page_writes')) {
    remarks.push(
      problem(
        'full_page_writes is off: a crash of the machine can tear pages apart.',
        globally('full_page_writes', 'on'),
      ),
    )
  }
  if (isOff('synchronous_commit')) {
    remarks.push(
      warning(
        'synchronous_commit is off: a crash loses messages whose send was answered with 2xx.',
        `${ofRole('synchronous_commit', 'on')} (durability "relaxed" gives the same speed to single queues.)`,
      ),
    )
  }
  if (isOff('autovacuum')) {
    remarks.push(problem('autovacuum is off: tables of queues grow without end.', globally('autovacuum', 'on')))
  }
  if (isOff('track_counts')) {
    remarks.push(
      problem('track_counts is off: autovacuum does not see which table needs it.', globally('track_counts', 'on')),
    )
  }
  for (const name of ['statement_timeout', 'transaction_timeout']) {
    const millis = Number(settings[name] ?? 0)
    if (millis === 0 || millis > tightTimeoutMillis) continue
    remarks.push(
      warning(
        `${name} is ${millis} ms for this role: maintain and large batches are likely to be cut.`,
        ofRole(name, `'30s'`),
      ),
    )
  }
  if (settings['default_transaction_read_only'] === 'on') {
    remarks.push(
      problem(
        'default_transaction_read_only is on for this role: nothing can be sent or received.',
        ofRole('default_transaction_read_only', 'off'),
      ),
    )
  }
  if (settings['default_transaction_isolation'] !== 'read committed') {
    remarks.push(
      warning(
        `default_transaction_isolation is ${settings['default_transaction_isolation']} for this role: receives and acks can fail to serialize.`,
        ofRole('default_transaction_isolation', `'read committed'`),
      ),
    )
  }
  if (settings['session_replication_role'] === 'replica') {
    remarks.push(
      problem(
        'session_replication_role is replica for this role: no trigger fires, so that groups stand still.',
        ofRole('session_replication_role', 'origin'),
      ),
    )
  }
  if (!sees_all) {
    remarks.push(
      hint(
        `The role ${role} may not see what others do: how old their transactions are, and what they wait for.`,
        `grant pg_monitor to ${role}; as a superuser, or ask as another role.`,
      ),
    )
  }
  const idle = Number(settings['idle_in_transaction_session_timeout'] ?? 0)
  const ends = idle === 0 ? 'idle transactions are never ended' : `idle transactions end after ${about(idle / 1000)}`
  return remarks.length > 0 ? remarks : [ok(`Postgres ${version_name}; what is committed is kept; ${ends}.`)]
}
