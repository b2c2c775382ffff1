/* Who holds back the xmin horizon: while somebody may still look at the database as it was, no row that died since can be removed.
 * A claim knows how to pass by dead rows (migrations/fixtures/functions/receive_in_full.sql), but tables and indexes grow, and looks behind the
 * cursor become rare.
 *
 *  1. Transactions of this database, by their snapshot (backend_xmin) or by having written (backend_xid). Those of other databases
 *     hold back nothing here; a VACUUM does not either. A standby's, by hot_standby_feedback, comes as the walsender's.
 *  2. Prepared transactions: nobody's, and they survive a restart.
 *  3. Replication slots: xmin for all tables, catalog_xmin for the catalogs; and any slot that nobody reads keeps write-ahead log. One that is
 *     lost (invalidated) holds back and keeps nothing any more, whatever its xmin says: ReplicationSlotsComputeRequiredXmin passes it by. */
import pg from 'pg'
import { thousands } from '../output.ts'
import { about, hint, type Level, levelFrom, levels, ok, type Remark, size, type Topic, warning } from './finding.ts'

/** Seconds that a transaction may be open. */
const openBounds = { hint: 60, warning: 600, problem: 3600 } as const
const preparedBounds = { warning: 60, problem: 3600 } as const
/** Where there is no time, or we may not see it: how many transactions began since. */
const lagBounds = { hint: 10_000, warning: 1_000_000 } as const
/** Of a slot that nobody reads, by all dead rows that it keeps, or by those of the catalogs. Its reader may only be starting anew. */
const lostBounds = { hint: 0, problem: 10_000 } as const
const lostCatalogBounds = { hint: 0, warning: 10_000 } as const
const keptBounds = { warning: 2 ** 30, problem: 10 * 2 ** 30 } as const
/** Of each kind; who has more has one cause. */
const mostShown = 5

interface Transaction {
  readonly kind: 'transaction'
  readonly pid: number
  readonly application: string
  /** Null of a process of the server itself. */
  readonly role: string | null
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
  /** Why nobody can read it any more, in Postgres' word; "conflict" where that is not known (Postgres 16). Null: it can be read. */
  readonly lost: string | null
  /** Ages of xmin and catalog_xmin; null where it holds back nothing. */
  readonly transactions: number | null
  readonly catalog_transactions: number | null
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
          -- (Who is just connecting holds it for a moment, and does not say yet to which database.)
          and activity.state is distinct from 'starting'
          and (activity.datid is not null or activity.backend_type is distinct from 'client backend')
          and activity.leader_pid is null
          -- (A process of the server itself, of which we may not see what it is: mostly a vacuum.)
          and (activity.usesysid is not null or activity.backend_type is not null)
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
          'kind', 'slot', 'slot', known.slot_name, 'active', known.active,
          -- (The reason is said since Postgres 17, a conflict on a standby since 16; before that there was one reason only.)
          'lost', case when known.wal_status = 'lost' then coalesce(
            to_jsonb(known) ->> 'invalidation_reason',
            case when to_jsonb(known) ->> 'conflicting' = 'true' then 'conflict' else 'wal_removed' end
          ) end,
          'transactions', age(known.xmin), 'catalog_transactions', age(known.catalog_xmin),
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
  const what = [application, role ? `role ${role}` : backend_type, state].filter(Boolean).join(', ')
  const who = `session ${pid} (${what})`
  const lag = levelFrom(transactions, lagBounds)
  if (backend_type === 'walsender') {
    // It has no transaction of its own, so no time either.
    return lag ? [{ level: lag, what: held(who, transactions), remedy: onStandby }] : []
  }
  if (seconds === null) {
    if (!lag) return []
    const remedy = `As a role with pg_monitor: select xact_start, state from pg_stat_activity where pid = ${pid};`
    return [hint(`${held(who, transactions)} For how long, this role may not see.`, remedy)]
  }

  const level = levelFrom(seconds, openBounds)
  if (!level) return []
  return [{ level, what: `The horizon has been held back for ${about(seconds)} by ${who}.`, remedy: remedy() }]

  function remedy(): string {
    if (!role || !state?.startsWith('idle in transaction')) {
      return `Let it end, or: select pg_cancel_backend(${pid}); (Long reports are better run on a replica.)`
    }
    const next = `alter role ${role} set idle_in_transaction_session_timeout = '1min';`
    return `select pg_terminate_backend(${pid}); and, so that it ends by itself next time: ${next}`
  }
}

const onStandby = 'Look for long queries on the standby that it serves, or set hot_standby_feedback = off there.'

function held(who: string, transactions: number): string {
  return `The horizon has been held back for ${thousands(transactions)} transactions by ${who}.`
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

/** By the reason: https://www.postgresql.org/docs/18/view-pg-replication-slots.html */
const againstLoss: Readonly<Record<string, string>> = {
  wal_removed: 'raise max_slot_wal_keep_size',
  rows_removed: 'set hot_standby_feedback = on here',
  wal_level_insufficient: 'set wal_level = logical on the primary server',
  idle_timeout: 'raise idle_replication_slot_timeout',
}

export function judgeSlot(known: Slot): readonly Remark[] {
  const { slot, active, lost, transactions, catalog_transactions, kept_bytes } = known
  const name = `the replication slot ${slot}`
  const drop = `select pg_drop_replication_slot(${pg.escapeLiteral(slot)});`
  if (lost !== null) {
    const what = `The replication slot ${slot} is lost (${lost}): its reader can never go on, and what it had not read is missing there.`
    const against = againstLoss[lost] ? ` So that it stays: ${againstLoss[lost]}.` : ''
    return [warning(what, `${drop} and set its reader up anew.${against}`)]
  }
  if (active) {
    const lag = levelFrom(transactions ?? -1, lagBounds)
    return lag ? [{ level: lag, what: held(name, transactions ?? 0), remedy: onStandby }] : []
  }

  const [age, bounds, of] =
    transactions === null
      ? ([catalog_transactions, lostCatalogBounds, 'the horizon of the catalogs'] as const)
      : ([transactions, lostBounds, 'the horizon'] as const)
  const level = worse(levelFrom(age ?? -1, bounds), levelFrom(kept_bytes ?? -1, keptBounds))
  if (!level) return []
  const does = [
    ...(age === null ? [] : [`has held back ${of} for ${thousands(age)} transactions`]),
    ...(kept_bytes === null ? [] : [`keeps ${size(kept_bytes)} of write-ahead log`]),
  ]
  return [
    {
      level,
      what: `Nobody reads ${name}, which ${does.join(' and ')}.`,
      remedy: `Start its reader; or, if there is none any more: ${drop}`,
    },
  ]
}

function worse(a: Level | undefined, b: Level | undefined): Level | undefined {
  return levels.findLast((level) => level === a || level === b)
}
