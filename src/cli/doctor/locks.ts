/* Who waits for a lock in Postbag's tables (a row that another transaction has changed and not committed; a table that somebody
 * alters), for how long, and for whom. */
import { about, levelFrom, ok, type Remark, type Topic } from './finding.ts'

const bounds = { warning: 5, problem: 60 } as const
const mostShown = 5

interface WaitRow {
  readonly pid: number
  readonly application: string
  readonly table: string
  readonly seconds: number
  readonly blockers: readonly {
    readonly pid: number
    readonly application: string
    /** Null where we may not see it. */
    readonly state: string | null
  }[]
}

export const locks: Topic = {
  name: 'locks',
  async look({ ask, now }) {
    const rows = await ask<WaitRow>(
      `with ours as (
        select oid, relname from pg_class where relnamespace = (select relnamespace from pg_class where oid = 'postbag.message'::regclass)
      )
      select
        wait.pid,
        waiting.application_name as application,
        touched.name as table,
        extract(epoch from coalesce($1::timestamptz, clock_timestamp()) - wait.waitstart)::double precision as seconds,
        (
          select coalesce(
            jsonb_agg(jsonb_build_object('pid', holder.pid, 'application', holder.application_name, 'state', holder.state)), '[]'
          )
          from pg_stat_activity as holder where holder.pid = any (pg_blocking_pids(wait.pid))
        ) as blockers
      from pg_locks as wait
      join pg_stat_activity as waiting on waiting.pid = wait.pid
      cross join lateral (
        select min(ours.relname) as name
        from pg_locks as held
        join ours on ours.oid = held.relation
        where held.pid = wait.pid and held.database = (select oid from pg_database where datname = current_database())
      ) as touched
      where not wait.granted and touched.name is not null
      order by wait.waitstart
      limit $2`,
      [now, mostShown],
    )
    const remarks = rows.flatMap(judge)
    return remarks.length > 0 ? remarks : [ok('Nobody waits long for a lock.')]
  },
}

function judge({ pid, application, table, seconds, blockers }: WaitRow): readonly Remark[] {
  const level = levelFrom(seconds, bounds)
  if (!level) return []
  const named = (session: { pid: number; application: string; state?: string | null }) =>
    `${session.pid} (${[session.application, session.state].filter(Boolean).join(', ') || 'unnamed'})`
  const [first] = blockers
  const whom = blockers.length > 0 ? blockers.map(named).join(' and ') : 'a prepared transaction'
  return [
    {
      level,
      what: `Session ${named({ pid, application })} has waited for ${about(seconds)} for a lock on postbag.${table}, held by ${whom}.`,
      remedy: first
        ? `Let that one end, or: select pg_terminate_backend(${first.pid});`
        : 'select * from pg_prepared_xacts; and commit or roll it back.',
    },
  ]
}
