/* Who holds back the xmin horizon: while somebody may still look at the database as it was, no row that died since can be removed.
 * A claim knows how to pass by dead rows (migrations/fixtures/functions/receive.sql), but tables and indexes grow, and looks behind the
 * cursor become rare.
 *
 *  1. Transactions of this database, by their snapshot (backend_xmin) or by having written (backend_xid). Those of other databases
 *     hold back nothing here; a VACUUM does not either. A standby's, by hot_standby_feedback, comes as the walsender's.
 *  2. Prepared transactions: nobody's, and they survive a restart.
 *  3. Replication slots: xmin for all tables, catalog_xmin for the catalogs; and any slot that nobody reads keeps write-ahead log. */
import pg from 'pg'
import { thousands } from '../output.ts'
import { about, hint, type Level, levelFrom, ok, problem, type Remark, size, type Topic, warning } from './finding.ts'

/** Seconds that a transaction may be open. */
const openBounds = { hint: 60, warning: 600, problem: 3600 } as const
const preparedBounds = { warning: 60, problem: 3600 } as const
/** Where times cannot be seen: how many transactions began since. */
const manyTransactions = 10_000
/** An active slot lags by what its reader has not confirmed yet. */
const laggingTransactions = 1_000_000
const keptBounds = { warning: 2 ** 30, problem: 10 * 2 ** 30 } as const
/** Of each kind; who has more has one cause. */
const mostShown = 5

interface Transaction {
  readonly kind: 'transaction'
  readonly pid: number
  readonly application: string
  readonly role: string
  /** Null, like `seconds`, where we may not see it. */
  readonly state: string | null
  readonly backend_type: string | null
  readonly seconds: number | null
  readonly transactions: number
}

interface Prepared {
  readonly kind: 'prepared'
  readonly gid: string
  readonly role: string
  readonly seconds: number
}

interface Slot {
  readonly kind: 'slot'
  readonly slot: string
  readonly active: boolean
  readonly logical: boolean
  /** Age of xmin; null if it holds back no table. */
  readonly transactions: number | null
  readonly kept_bytes: number | null
}

interface HorizonRow {
  readonly holder: Transaction | Prepared | Slot
}

export const horizon: Topic = {
  name: 'horizon',
  async look({ ask, now }) {
    const rows = await ask<HorizonRow>(
      `with clock as (select coalesce($1::timestamptz, clock_timestamp()) as now),
      transaction as (
        select jsonb_build_object(
          'kind', 'transaction', 'pid', activity.pid, 'application', activity.application_name, 'role', quote_ident(activity.usename),
          'state', activity.state, 'backend_type', activity.backend_type,
          'seconds', extract(epoch from clock.now - activity.xact_start),
          'transactions', greatest(age(activity.backend_xmin), age(activity.backend_xid))
        ) as holder
        from pg_stat_activity as activity, clock
        where (activity.backend_xmin is not null or activity.backend_xid is not null)
          and (activity.datid is null or activity.datid = (select oid from pg_database where datname = current_database()))
          and activity.pid <> pg_backend_pid()
          and activity.leader_pid is null
          and not exists (select from pg_stat_progress_vacuum as vacuum where vacuum.pid = activity.pid)
      ),
      prepared as (
        select jsonb_build_object(
          'kind', 'prepared', 'gid', known.gid, 'role', quote_ident(known.owner), 'seconds', extract(epoch from clock.now - known.prepared)
        ) as holder
        from pg_prepared_xacts as known, clock
        where known.database = current_database()
      ),
      slot as (
        select jsonb_build_object(
          'kind', 'slot', 'slot', known.slot_name, 'active', known.active, 'logical', known.slot_type = 'logical',
          'transactions', age(known.xmin),
          'kept_bytes', case
            when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), known.restart_lsn)
          end
        ) as holder
        from pg_replication_slots as known
      )
      select holder from transaction union all select holder from prepared union all select holder from slot`,
      [now],
    )
    const holders = rows.map(({ holder }) => holder)
    const remarks = [
      ...oldestFirst(holders.filter((holder) => holder.kind === 'transaction')).flatMap(judgeTransaction),
      ...oldestFirst(holders.filter((holder) => holder.kind === 'prepared')).flatMap(judgePrepared),
      ...holders.filter((holder) => holder.kind === 'slot').flatMap(judgeSlot),
    ]
    return remarks.length > 0 ? remarks : [ok('Nobody holds back the horizon: dead rows can be removed.')]
  },
}

function oldestFirst<Holder extends { readonly seconds: number | null }>(
  holders: readonly Holder[],
): readonly Holder[] {
  return [...holders].sort((a, b) => (b.seconds ?? 0) - (a.seconds ?? 0)).slice(0, mostShown)
}

function judgeTransaction(holder: Transaction): readonly Remark[] {
  const { pid, application, role, state, backend_type, seconds, transactions } = holder
  const who = `session ${pid} (${[application, role && `role ${role}`, state].filter(Boolean).join(', ')})`
  if (seconds === null) {
    if (transactions < manyTransactions) return []
    return [
      hint(
        `The horizon is held back by ${who} for ${thousands(transactions)} transactions; for how long, this role may not see.`,
        `As a role with pg_monitor: select xact_start, state from pg_stat_activity where pid = ${pid};`,
      ),
    ]
  }

  const level = levelFrom(seconds, openBounds)
  if (!level) return []
  return [{ level, what: `The horizon has been held back for ${about(seconds)} by ${who}.`, remedy: remedy() }]

  function remedy(): string {
    if (backend_type === 'walsender') {
      return 'It is a standby with hot_standby_feedback, or a copy of the database: end long queries there, or wait.'
    }
    if (!state?.startsWith('idle in transaction')) {
      return `Let it end, or: select pg_cancel_backend(${pid}); (Long reports are better run on a replica.)`
    }
    const next = `alter role ${role} set idle_in_transaction_session_timeout = '1min';`
    return `select pg_terminate_backend(${pid}); and, so that it ends by itself next time: ${next}`
  }
}

function judgePrepared({ gid, role, seconds }: Prepared): readonly Remark[] {
  const level = levelFrom(seconds, preparedBounds)
  if (!level) return []
  const name = pg.escapeLiteral(gid)
  return [
    {
      level,
      what: `The horizon has been held back for ${about(seconds)} by the prepared transaction ${name} of ${role}.`,
      remedy: `commit prepared ${name}; or, if nobody wants it any more: rollback prepared ${name};`,
    },
  ]
}

function judgeSlot({ slot, active, logical, transactions, kept_bytes }: Slot): readonly Remark[] {
  const drop = `select pg_drop_replication_slot(${pg.escapeLiteral(slot)});`
  const kept = kept_bytes === null ? '' : `, and keeps ${size(kept_bytes)} of write-ahead log`
  const of = `the replication slot ${slot}`

  if (active) {
    if (transactions === null || transactions < laggingTransactions) return []
    return [
      warning(
        `The horizon is held back by ${of}, whose reader lags by ${thousands(transactions)} transactions.`,
        'Look for long queries on the standby that reads it, or set hot_standby_feedback = off there.',
      ),
    ]
  }
  if (transactions !== null) {
    return [
      problem(
        `The horizon is held back by ${of}, which nobody reads (${thousands(transactions)} transactions${kept}).`,
        `Start its reader; or, if there is none any more: ${drop}`,
      ),
    ]
  }
  const level: Level | undefined = levelFrom(kept_bytes ?? 0, keptBounds) ?? (logical ? 'warning' : undefined)
  if (!level) return []
  const back = logical ? 'holds back the horizon of the catalogs' : 'waits for its reader'
  return [
    {
      level,
      what: `Nobody reads ${of}: it ${back}${kept}.`,
      remedy: `Start its reader; or, if there is none any more: ${drop}`,
    },
  ]
}
