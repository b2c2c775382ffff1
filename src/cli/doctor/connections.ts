/* Whether there are connections enough: of the server, of the role, of the database; and whether Postbag's own are all busy, with what. */
import { thousands } from '../output.ts'
import { hint, ok, problem, type Remark, type Topic, warning } from './finding.ts'

/** Shares of those that an ordinary role may take. */
const nearlyAll = 0.95
const many = 0.8

export interface ConnectionsRow {
  /** What an ordinary role may take, of the server. */
  readonly most: number
  readonly used: number
  /** Limits of the role and of the database, and how many count for them; -1: none. */
  readonly role_limit: number
  readonly role_used: number
  readonly database_limit: number
  readonly database_used: number
  /** Those of Postbag's pools, by the name that db/connect.ts gives them. */
  readonly own: number
  readonly own_busy: number
  /** What most of the busy ones wait for, such as "Lock: transactionid"; null if for nothing, or unseen. */
  readonly own_waits: string | null
}

export const connections: Topic = {
  name: 'connections',
  async look({ ask, maxConnections }) {
    const [row] = await ask<ConnectionsRow>(
      `with session as (
        select
          activity.*,
          activity.application_name = 'postbag' and activity.pid <> pg_backend_pid() and activity.datname = current_database() as own
        from pg_stat_activity as activity
        -- (Where we may not see what it is, it is one with a database.)
        where coalesce(activity.backend_type = 'client backend', activity.datid is not null)
      )
      select
        current_setting('max_connections')::integer
          - current_setting('superuser_reserved_connections')::integer
          - coalesce(current_setting('reserved_connections', true)::integer, 0) as most,
        count(*)::integer as used,
        -- (It counts for the role that logged in, and not for superusers: InitializeSessionUserId.)
        (select case when rolsuper then -1 else rolconnlimit end from pg_roles where rolname = session_user) as role_limit,
        count(*) filter (where session.usename = session_user)::integer as role_used,
        (select datconnlimit from pg_database where datname = current_database()) as database_limit,
        count(*) filter (where session.datname = current_database())::integer as database_used,
        count(*) filter (where session.own)::integer as own,
        count(*) filter (where session.own and session.state <> 'idle')::integer as own_busy,
        mode() within group (order by session.wait_event_type || ': ' || session.wait_event)
          filter (where session.own and session.state <> 'idle') as own_waits
      from session`,
    )
    return row ? judgeConnections(row, maxConnections) : []
  },
}

export function judgeConnections(row: ConnectionsRow, maxConnections: number): readonly Remark[] {
  const remarks: Remark[] = []
  const limits = [
    { of: 'this server', used: row.used, most: row.most },
    { of: 'this role', used: row.role_used, most: row.role_limit },
    { of: 'this database', used: row.database_used, most: row.database_limit },
  ].filter(({ most }) => most >= 0)

  for (const { of, used, most } of limits) {
    const what = `${thousands(used)} of the ${thousands(most)} connections of ${of} are in use`
    const remedy = `Close those that idle, put a pooler in between, or raise ${
      of === 'this server' ? 'max_connections' : 'the connection limit'
    }.`
    if (used >= nearlyAll * most) remarks.push(problem(`${what}: new ones are refused, or soon will be.`, remedy))
    else if (used >= many * most) remarks.push(warning(`${what}.`, remedy))
    else if (used + maxConnections > most) {
      const wanted = `one more server process may want ${maxConnections}`
      remarks.push(hint(`${what}, and ${wanted}.`, `${remedy} Or lower POSTBAG_MAX_CONNECTIONS.`))
    }
  }
  if (row.own > 0 && row.own >= maxConnections && row.own_busy === row.own) {
    const waits = row.own_waits ? `, most of them waiting (${row.own_waits})` : ''
    remarks.push(
      warning(
        `All ${row.own} connections of Postbag are busy${waits}: requests queue up for them.`,
        row.own_waits?.startsWith('Lock')
          ? 'See who holds the locks.'
          : 'If it is so again and again: raise POSTBAG_MAX_CONNECTIONS, or make batches larger.',
      ),
    )
  }
  const used = `${thousands(row.used)} of ${thousands(row.most)} connections are in use`
  return remarks.length > 0 ? remarks : [ok(`${used}; of Postbag's own ${row.own}, ${row.own_busy} are busy.`)]
}
