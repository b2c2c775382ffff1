/* Whether autovacuum keeps up with Postbag's tables: that it is on for them, with the settings they were made with; that it was there lately where
 * dead rows are more than its threshold; that dead rows go when it was; and that the files are not much larger than what is in them. */
import { thousands } from '../output.ts'
import { about, few, hint, ok, problem, type Remark, size, type Topic, warning } from './finding.ts'

const madeOfMessages = {
  fillfactor: '50',
  vacuum_truncate: 'false',
  autovacuum_vacuum_scale_factor: '0.01',
  autovacuum_vacuum_threshold: '2000',
  autovacuum_vacuum_cost_delay: '0',
}

/** What the migrations set: without it a queue in use is vacuumed too rarely, or its claims are slower. */
const made: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  message: madeOfMessages,
  volatile_message: madeOfMessages,
  dedup: { autovacuum_vacuum_scale_factor: '0.01', autovacuum_vacuum_threshold: '2000' },
}

/** Autovacuum looks every minute (autovacuum_naptime), and may be busy elsewhere for a while. */
const patienceSeconds = 600
/** That many dead rows can come about between two visits without anything being wrong. */
const manyDead = 1_000_000
/** No row in a page is larger: what is, is stored out of line. With the space that pages keep free. */
const largestRow = 2048 / 0.5
/** Of all indexes together. */
const largestEntries = 1024
/** Below this nobody minds. */
const largeFile = 256 * 2 ** 20
/** So many times what its rows can need at most. */
const mostlyEmpty = 4

export interface TableRow {
  readonly name: string
  readonly options: Readonly<Record<string, string>>
  readonly toast_off: boolean
  readonly live: number
  readonly dead: number
  readonly threshold: number
  /** Since the last vacuum, or since the server started. */
  readonly seconds_unvacuumed: number
  readonly ever_vacuumed: boolean
  readonly being_vacuumed: boolean
  readonly heap_bytes: number
  readonly index_bytes: number
}

export const tables: Topic = {
  name: 'tables',
  async look({ ask, now }) {
    const rows = await ask<TableRow>(
      `select
        known.relname as name,
        options.given as options,
        exists (
          select from pg_options_to_table(toast.reloptions) as given
          where given.option_name = 'autovacuum_enabled' and not given.option_value::boolean
        ) as toast_off,
        greatest(stats.n_live_tup, known.reltuples, 0)::double precision as live,
        stats.n_dead_tup::double precision as dead,
        least(
          coalesce(options.given ->> 'autovacuum_vacuum_threshold', current_setting('autovacuum_vacuum_threshold'))::double precision
            + coalesce(options.given ->> 'autovacuum_vacuum_scale_factor', current_setting('autovacuum_vacuum_scale_factor'))::double precision
            * greatest(known.reltuples, 0),
          nullif(current_setting('autovacuum_vacuum_max_threshold', true)::double precision, -1)
        ) as threshold,
        extract(epoch from
          coalesce($1::timestamptz, clock_timestamp()) - greatest(stats.last_autovacuum, stats.last_vacuum, pg_postmaster_start_time())
        )::double precision as seconds_unvacuumed,
        coalesce(stats.last_autovacuum, stats.last_vacuum) is not null as ever_vacuumed,
        exists (select from pg_stat_progress_vacuum as vacuum where vacuum.relid = known.oid) as being_vacuumed,
        pg_relation_size(known.oid)::double precision as heap_bytes,
        pg_indexes_size(known.oid)::double precision as index_bytes
      from pg_class as known
      join pg_stat_user_tables as stats on stats.relid = known.oid
      left join pg_class as toast on toast.oid = known.reltoastrelid
      cross join lateral (
        -- (As it was typed: off, no and 0 are false, too.)
        select coalesce(jsonb_object_agg(given.option_name, case
          when given.option_name in ('autovacuum_enabled', 'vacuum_truncate') then given.option_value::boolean::text
          else given.option_value
        end), '{}') as given
        from pg_options_to_table(known.reloptions) as given
      ) as options
      where known.relnamespace = (select relnamespace from pg_class where oid = 'postbag.message'::regclass)
        and known.relkind = 'r'
      order by known.relname`,
      [now],
    )
    const remarks = rows.flatMap(judge)
    return remarks.length > 0 ? remarks : [ok(summary(rows))]
  },
}

function judge(row: TableRow): readonly Remark[] {
  return [...judgeSettings(row), ...judgeDeadRows(row), ...judgeSize(row)]
}

function judgeSettings({ name, options, toast_off }: TableRow): readonly Remark[] {
  const remarks: Remark[] = []
  if (options['autovacuum_enabled'] === 'false' || toast_off) {
    const reset = `alter table postbag.${name} reset (autovacuum_enabled, toast.autovacuum_enabled);`
    remarks.push(problem(`Autovacuum is off for postbag.${name}: it grows without end.`, reset))
  }
  const other = Object.entries(made[name] ?? {}).filter(([option, value]) => options[option] !== value)
  if (other.length > 0) {
    const is = other.map(([option]) => `${option} is ${options[option] ?? 'the default'}`)
    const set = other.map(([option, value]) => `${option} = ${value}`).join(', ')
    const what = `Settings of postbag.${name} are not those it was made with: ${few(is)}.`
    remarks.push(warning(what, `alter table postbag.${name} set (${set});`))
  }
  return remarks
}

export function judgeDeadRows(row: TableRow): readonly Remark[] {
  const { name, dead, threshold, seconds_unvacuumed, ever_vacuumed, being_vacuumed } = row
  if (dead <= threshold || being_vacuumed) return []
  const rows = `postbag.${name} has ${thousands(dead)} dead rows`
  if (seconds_unvacuumed > patienceSeconds) {
    const when = `${about(seconds_unvacuumed)}${ever_vacuumed ? '' : ', since the server started'}`
    return [
      warning(
        `${rows}, and autovacuum, due at ${thousands(threshold)}, has not been there for ${when}.`,
        `vacuum (analyze) postbag.${name}; and if it stays away: raise autovacuum_max_workers.`,
      ),
    ]
  }
  if (dead < manyDead || !ever_vacuumed) return []
  return [
    hint(
      `${rows}, though it was vacuumed ${about(seconds_unvacuumed)} ago.`,
      'See who holds back the horizon; at many thousand messages a second it is normal.',
    ),
  ]
}

export function judgeSize({ name, live, dead, heap_bytes, index_bytes }: TableRow): readonly Remark[] {
  const most = (live + dead) * largestRow
  const mostIndexed = (live + dead) * largestEntries
  const remarks: Remark[] = []
  if (heap_bytes > largeFile && heap_bytes > mostlyEmpty * most) {
    remarks.push(
      hint(
        `postbag.${name} takes ${size(heap_bytes)} for ${thousands(live)} rows: space that is used again, but not given back.`,
        `If the disk needs it, at a quiet time (it stops the queues meanwhile): vacuum (full, analyze) postbag.${name};`,
      ),
    )
  }
  if (index_bytes > largeFile && index_bytes > mostlyEmpty * mostIndexed) {
    remarks.push(
      hint(
        `The indexes of postbag.${name} take ${size(index_bytes)} for ${thousands(live)} rows.`,
        `reindex table concurrently postbag.${name};`,
      ),
    )
  }
  return remarks
}

function summary(rows: readonly TableRow[]): string {
  const sum = (of: (row: TableRow) => number) => rows.reduce((all, row) => all + of(row), 0)
  const dead = thousands(sum((row) => row.dead))
  return `${rows.length} tables of ${size(sum((row) => row.heap_bytes + row.index_bytes))}, ${dead} dead rows; autovacuum is overdue for none.`
}
