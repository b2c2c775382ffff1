/* Who waits for a lock of Postbag, for how long, and for whom. Waits for what is the application's are left to it, also those of sessions that
 * have sent before: what a session holds does not tell what it waits for. This does:
 *
 *  1. A table that somebody alters: the wait names it, or its index.
 *  2. A row that another transaction has changed and not committed: the wait names that transaction only, but who waits holds a lock on the
 *     row meanwhile; who comes after him waits for that one.
 *  3. A key that another transaction has inserted and not committed: nothing names it. It is of a table that the other writes to, and has
 *     a unique index that who waits is writing to. Where that may be a table of the application's, it is left out.
 *  4. Advisory locks of Postbag, by the first of their two numbers. */
import { about, levelFrom, ok, type Remark, type Topic } from './finding.ts'

const bounds = { warning: 5, problem: 60 } as const
const mostShown = 5

interface WaitRow {
  readonly pid: number
  readonly application: string
  readonly subject: string
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
      `with lock as materialized (
        select *
        from pg_locks
        -- (Transactions are of no database.)
        where database is null or database = (select oid from pg_database where datname = current_database())
      ),
      ours as (
        select known.oid, 'postbag.' || coalesce(indexed.relname, known.relname) as name
        from pg_class as known
        left join pg_index as index on index.indexrelid = known.oid
        left join pg_class as indexed on indexed.oid = index.indrelid
        where known.relnamespace = (select relnamespace from pg_class where oid = 'postbag.message'::regclass)
      ),
      wait as (
        select lock.pid, lock.waitstart, lock.transactionid, coalesce(lock.relation, line.relation) as relation,
          case when lock.locktype = 'advisory' and lock.objsubid = 2 then lock.classid end as advisory
        from lock
        left join lock as line
          on lock.locktype = 'transactionid' and line.pid = lock.pid and line.locktype = 'tuple' and line.granted
        where not lock.granted
      ),
      of_ours as (
        select wait.pid, wait.waitstart,
          case
            when wait.relation is not null then (select ours.name from ours where ours.oid = wait.relation)
            when wait.transactionid is not null then (
              select case when bool_and(ours.name is not null) then string_agg(distinct ours.name, ' or ') end
              from lock as other
              join lock as written on written.virtualtransaction = other.virtualtransaction
              join pg_index as key on key.indrelid = written.relation and key.indisunique
              join lock as being_written on being_written.relation = key.indexrelid
              left join ours on ours.oid = key.indexrelid
              where other.transactionid = wait.transactionid and other.granted
                and written.mode = 'RowExclusiveLock'
                and being_written.pid = wait.pid and being_written.mode = 'RowExclusiveLock'
            )
            -- (lock_groups.sql, allowance.sql and watch.sql of migrations/fixtures/functions.)
            when wait.advisory = 1886352384 then 'groups of messages'
            when wait.advisory = 1886352385 then 'the turn of a queue with a limit'
            when wait.advisory = 1886352386 then 'who waits for messages'
          end as subject
        from wait
      )
      select
        of_ours.pid,
        waiting.application_name as application,
        of_ours.subject,
        extract(epoch from coalesce($1::timestamptz, clock_timestamp()) - of_ours.waitstart)::double precision as seconds,
        (
          select coalesce(
            jsonb_agg(jsonb_build_object('pid', holder.pid, 'application', holder.application_name, 'state', holder.state)), '[]'
          )
          from pg_stat_activity as holder where holder.pid = any (pg_blocking_pids(of_ours.pid))
        ) as blockers
      from of_ours
      join pg_stat_activity as waiting on waiting.pid = of_ours.pid
      where of_ours.subject is not null
      order by of_ours.waitstart
      limit $2`,
      [now, mostShown],
    )
    const remarks = rows.flatMap(judge)
    return remarks.length > 0 ? remarks : [ok('Nobody waits long for a lock of Postbag.')]
  },
}

function judge({ pid, application, subject, seconds, blockers }: WaitRow): readonly Remark[] {
  const level = levelFrom(seconds, bounds)
  if (!level) return []
  const named = (session: { pid: number; application: string; state?: string | null }) =>
    `${session.pid} (${[session.application, session.state].filter(Boolean).join(', ') || 'unnamed'})`
  const [first] = blockers
  const whom = blockers.length > 0 ? blockers.map(named).join(' and ') : 'a prepared transaction'
  return [
    {
      level,
      what: `Session ${named({ pid, application })} has waited for ${about(seconds)} for a lock on ${subject}, held by ${whom}.`,
      remedy: first
        ? `Let that one end, or: select pg_terminate_backend(${first.pid});`
        : 'select * from pg_prepared_xacts; and commit or roll it back.',
    },
  ]
}
