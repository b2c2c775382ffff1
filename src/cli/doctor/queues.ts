/* What stands still: queues whose oldest ready message grows old, paused ones with messages, dead letters that pile up.
 *
 * Not all that has died is a dead letter that somebody must look at (docs/dead-letters.md):
 *
 *  1. What stays where it died is one, in the state "dead". What was moved is one too, "ready" in a queue of dead letters.
 *  2. What came back to a queue where it has died before is a message again. So is what an exchange brought on because its time was over.
 *  3. In a queue that passes messages on when their time is over, what has died waits for that: for its next attempt.
 *
 * One statement looks at the head of each queue, and at no more than that: for 10,000 queues it takes as many looks into an index. Where
 * all that it sees of a head is leased, consumers are at work, and the queue is left alone. */
import { counted, thousands } from '../output.ts'
import { about, few, type Level, levelFrom, ok, type Remark, type Topic } from './finding.ts'

/** Seconds that the oldest ready message has been available. */
const oldBounds = { hint: 300, warning: 3600 } as const
/** … of a queue that was paused on purpose. */
const pausedBounds = { hint: 0, warning: 86_400 } as const
/** Dead letters of one queue; no more are looked at than the last. */
const deadBounds = { hint: 1, warning: 1000 } as const

interface QueueRow {
  readonly name: string
  readonly paused: boolean
  /** It may hand out only so many. */
  readonly limited: boolean
  readonly ready_seconds: number | null
  /** Those that died here, and those that died elsewhere. */
  readonly dead: number
  readonly moved: number
  /** There may be more of both than were looked at. */
  readonly are_more: boolean
}

/** Whether what has died, and was brought here since, is a dead letter still. */
const isMoved = (message: string) =>
  `(not ${message}.deaths @> queue.death_here and (queue.is_of_dead_letters or ${message}.deaths -> -1 ->> 'reason' <> 'expired'))`

export const queues: Topic = {
  name: 'queues',
  async look({ ask, now }) {
    const rows = await ask<QueueRow>(
      `with clock as (select coalesce($1::timestamptz, clock_timestamp()) as now),
      queue as (
        select
          known.*,
          known.name in (
            select other.dead_letter_queue from postbag.queue as other where other.dead_letter_queue <> other.name
          ) as is_of_dead_letters,
          known.ttl is not null
            and (known.dead_letter_exchange is not null or known.dead_letter_queue <> known.name) as passes_on,
          jsonb_build_array(jsonb_build_object('queue', known.name)) as death_here
        from postbag.queue as known
      )
      select
        queue.name,
        queue.paused,
        coalesce(queue.rate, queue.group_rate, queue.max_in_flight) is not null as limited,
        extract(epoch from clock.now - waiting.since)::double precision as ready_seconds,
        letters.dead::integer as dead,
        letters.moved::integer as moved,
        letters.are_more
      from clock
      cross join queue
      cross join lateral (
        select min(head.available_at) as since
        from generate_series(0, queue.top_priority::integer) as level
        cross join lateral (
          (
            select message.available_at, message.leased_until, message.dead_at, message.deaths, message.expires_at
            from postbag.message
            where not queue.is_volatile and message.queue_id = queue.queue_id and message.priority = level
              and message.available_at <= clock.now and message.available_at < 'infinity'
            order by message.available_at, message.message_id
            limit 100
          )
          union all
          (
            select message.available_at, message.leased_until, message.dead_at, message.deaths, message.expires_at
            from postbag.volatile_message as message
            where queue.is_volatile and message.queue_id = queue.queue_id and message.priority = level
              and message.available_at <= clock.now and message.available_at < 'infinity'
            order by message.available_at, message.message_id
            limit 100
          )
        ) as head
        where (head.leased_until is null or head.leased_until <= clock.now)
          and (head.expires_at is null or head.expires_at > clock.now)
          and (head.dead_at is null or not queue.passes_on and not ${isMoved('head')})
      ) as waiting
      cross join lateral (
        select
          count(*) = $2 as are_more,
          count(*) filter (
            where letter.is_there and letter.available_at = 'infinity' and letter.group_position is null
          ) as dead,
          count(*) filter (
            where letter.is_there and letter.available_at <= clock.now
              and (letter.leased_until is null or letter.leased_until <= clock.now)
              and not queue.passes_on and ${isMoved('letter')}
          ) as moved
        from (
          -- (The newest: of old ones much may have expired.)
          (
            select message.available_at, message.leased_until, message.group_position, message.deaths,
              message.expires_at is null or message.expires_at > clock.now as is_there
            from postbag.message
            where not queue.is_volatile and message.queue_id = queue.queue_id and message.dead_at is not null
            order by message.dead_at desc, message.message_id desc
            limit $2
          )
          union all
          (
            select message.available_at, message.leased_until, message.group_position, message.deaths,
              message.expires_at is null or message.expires_at > clock.now as is_there
            from postbag.volatile_message as message
            where queue.is_volatile and message.queue_id = queue.queue_id and message.dead_at is not null
            order by message.dead_at desc, message.message_id desc
            limit $2
          )
        ) as letter
      ) as letters`,
      [now, deadBounds.warning],
    )
    const remarks = [...judgeOld(rows), ...judgePaused(rows), ...judgeDead(rows), ...judgeMoved(rows)]
    return remarks.length > 0 ? remarks : [ok(`Nothing stands still in ${counted(rows.length, 'queue')}.`)]
  },
}

function judgeOld(rows: readonly QueueRow[]): readonly Remark[] {
  const open = rows.filter((row) => !row.paused)
  return oneRemark(
    open,
    ({ ready_seconds }) => levelFrom(ready_seconds ?? -1, oldBounds),
    ({ ready_seconds }) => ready_seconds ?? 0,
    ({ name, limited, ready_seconds }) => `${name} (${about(ready_seconds ?? 0)}${limited ? ', limited' : ''})`,
    'Messages that are ready are not received, in',
    'Start a consumer, or more of them; where a rate or maxInFlight holds back, raise it; "postbag stats <queue>" shows more.',
  )
}

function judgePaused(rows: readonly QueueRow[]): readonly Remark[] {
  return oneRemark(
    rows.filter((row) => row.paused && row.ready_seconds !== null),
    ({ ready_seconds }) => levelFrom(ready_seconds ?? -1, pausedBounds),
    ({ ready_seconds }) => ready_seconds ?? 0,
    ({ name, ready_seconds }) => `${name} (for ${about(ready_seconds ?? 0)})`,
    'Messages wait in paused queues:',
    '"postbag resume <queue>" goes on.',
  )
}

function judgeDead(rows: readonly QueueRow[]): readonly Remark[] {
  return judgeLetters(
    rows,
    ({ dead }) => dead,
    'There are dead letters in',
    '"postbag peek <queue> --state dead" tells why; "postbag redrive <queue>" brings them back, "postbag queue purge <queue>" deletes all.',
  )
}

function judgeMoved(rows: readonly QueueRow[]): readonly Remark[] {
  return judgeLetters(
    rows,
    ({ moved }) => moved,
    'Dead letters of other queues are ready in',
    '"postbag peek <queue>" tells why; "postbag redrive <queue>" brings them back, "postbag queue purge <queue>" deletes all.',
  )
}

function judgeLetters(
  rows: readonly QueueRow[],
  lettersOf: (row: QueueRow) => number,
  what: string,
  remedy: string,
): readonly Remark[] {
  return oneRemark(
    rows,
    (row) => levelFrom(lettersOf(row), deadBounds),
    lettersOf,
    (row) => `${row.name} (${thousands(lettersOf(row))}${row.are_more ? ' or more' : ''})`,
    what,
    remedy,
  )
}

/** All queues with the same ailment in one sentence, the worst first, at the level of the worst. */
function oneRemark(
  rows: readonly QueueRow[],
  levelOf: (row: QueueRow) => Level | undefined,
  badness: (row: QueueRow) => number,
  say: (row: QueueRow) => string,
  what: string,
  remedy: string,
): readonly Remark[] {
  const ill = rows.filter((row) => levelOf(row) !== undefined).sort((a, b) => badness(b) - badness(a))
  const [worst] = ill
  const level = worst && levelOf(worst)
  return level ? [{ level, what: `${what} ${few(ill.map(say))}.`, remedy }] : []
}
