/* Whether a crash has emptied volatile queues. Postgres keeps no note of it, but at the same moment it throws away its statistics. */
import { counted } from '../output.ts'
import { about, few, hint, ok, type Topic } from './finding.ts'

/** Seconds. What happened before is old news. */
const news = 86_400

interface VolatileRow {
  readonly volatile_queues: number
  /** Those that were there at that time. */
  readonly emptied: readonly string[]
  readonly seconds: number | null
}

export const volatileQueues: Topic = {
  name: 'volatile',
  async look({ ask, now }) {
    const [row] = await ask<VolatileRow>(
      `with crash as (
        select writer.stats_reset as at
        from pg_stat_bgwriter as writer, pg_stat_archiver as archiver, pg_stat_wal as wal
        -- Somebody who resets them does so one by one.
        where writer.stats_reset = archiver.stats_reset and writer.stats_reset = wal.stats_reset
      )
      select
        count(*)::integer as volatile_queues,
        coalesce(array_agg(queue.name order by queue.name) filter (where queue.created_at < crash.at), '{}') as emptied,
        extract(epoch from coalesce($1::timestamptz, clock_timestamp()) - min(crash.at))::double precision as seconds
      from postbag.queue
      left join crash on true
      where queue.is_volatile`,
      [now],
    )
    if (!row || row.volatile_queues === 0) return [ok('There are no volatile queues, which a crash would empty.')]
    if (row.emptied.length === 0 || row.seconds === null || row.seconds > news) {
      return [ok(`${counted(row.volatile_queues, 'volatile queue')}; no crash is known to have emptied them lately.`)]
    }
    return [
      hint(
        `The statistics began anew ${about(row.seconds)} ago, as after a crash, which empties volatile queues: ${few(row.emptied)}.`,
        'Send again what must not be lost; use durability "relaxed" or "full" for queues where that hurts.',
      ),
    ]
  },
}
