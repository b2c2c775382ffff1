--! Previous: sha1:d1de41ffe3c743f270107d3de2520c5e8e3d7d7a
--! Hash: sha1:8bbba84dab6dab78264ee6f3e5bf62b9781c5c67
--! Message: riding-acks-wait

--! split: 1-current.sql
/* An ack of a message in a group that goes along with a receive waits for the disk, as one by itself does. */
--! Included functions/receive.sql
/* postbag.receive: lease up to max_messages available messages of one queue: highest priority first, then by availability (the latest
 * first in a lifo queue), then in the order they were sent. Who receives owns a message until leased_until; the receipt is the proof,
 * for ack, nack and extend.
 * Never waits for a message: no rows mean "nothing available now" (waiting is src/wakeup's job). Only where the queue limits its rate or
 * what is in flight, receives take turns: one waits until the transaction of the other ends.
 * Two callers never share a message: rows another has locked are skipped, rows it has leased are not available.
 * With auto_ack the messages are deleted as they are handed out: at most once, and no receipt. `alone` says that this call is the whole
 * transaction: then it does not wait for the disk (a claim that a crash of the database undoes was never made, and the message comes
 * again), but with auto_ack it does, unless the queue's durability is relaxed.
 *
 * The short way: in a plain queue a session claims with one statement that knows nothing of priorities, limits and looks back. (The time of a
 * statement is that of its parts, used or not: this is a third of the other.) It starts at the head if nothing says that this takes
 * long (functions/is_clean.sql), and where that brought all it wanted, it goes on from the session's cursor, until the fifth of a second is over.
 * What becomes available behind the cursor meanwhile waits for so long. A claim that takes long, brings nothing or meets a group it must not take
 * goes the full way, which decides when to look back (functions/receive_in_full.sql). */
create or replace function postbag.receive(
  queue text,
  max_messages integer default 1,
  lease interval default null,
  now timestamptz default clock_timestamp(),
  auto_ack boolean default false,
  alone boolean default false
)
returns table (
  id text,
  receipt text,
  body text,
  encoding text,
  type text,
  content_type text,
  headers jsonb,
  priority integer,
  group_key text,
  attempts integer,
  sent_at timestamptz,
  first_received_at timestamptz,
  leased_until timestamptz,
  expires_at timestamptz,
  deaths jsonb
)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source record;
  -- When a look at everything began; null on the short way.
  started timestamptz;
  claimed integer := 0;
  number integer;
begin
  if postbag.is_restricted() then
    return query
      select received.*
      from json_populate_recordset(null::postbag.delivery, postbag.as_granted('receive', receive.queue, jsonb_build_object(
        'max_messages', receive.max_messages, 'lease', receive.lease, 'auto_ack', receive.auto_ack, 'alone', receive.alone
      ))) as received;
    return;
  end if;
  select
    known.queue_id, known.is_volatile, known.receives_plainly, known.group_mode, known.durability, known.max_attempts,
    known.cursor_setting, known.look_setting, known.note_prefix,
    receive.now + coalesce(receive.lease, known.lease) as until,
    -- (Here, because nothing volatile may stand inside an update of a queue's table.)
    floor(random() * 2147483647)::integer as drawn_key,
    -- "queue_id:when the short way was opened, in fifths of a second:how many heads of groups were met:lowest available_at claimed"
    current_setting(known.cursor_setting, true) as note,
    known.note_prefix || (date_part('epoch', receive.now) * 5)::bigint || ':' as opening,
    known.group_mode = 'ordered' and receive.max_messages = 1 as takes_heads,
    known.group_mode = 'ordered' and receive.max_messages > 1 and split_part(current_setting(known.cursor_setting, true), ':', 3) <> '0'
      as walks_lines,
    -- (What was written before, by an ack that goes along, says by itself whether it waits for the disk.)
    case
      when receive.alone and not receive.auto_ack and pg_current_xact_id_if_assigned() is null
        then set_config('synchronous_commit', 'off', true)
    end
  into source
  from postbag.queue as known
  where known.name = receive.queue;

  if source.is_volatile then
    return query select * from postbag.volatile_receive(
      receive.queue, receive.max_messages, receive.lease, receive.now, receive.auto_ack, receive.alone
    );
    return;
  elsif receive.auto_ack then
    return query select * from postbag.receive_and_ack(
      receive.queue, receive.max_messages, receive.lease, receive.now, receive.alone and source.durability = 'relaxed'
    );
    return;
  end if;

  if source.receives_plainly
    and (receive.lease is null or receive.lease between interval '1 s' and interval '43200 s')
    and max_messages between 1 and 1000
  then
    if starts_with(source.note, source.opening) is not true then
      started := clock_timestamp();
      -- (From the year 1 on.)
      source.note := case
        when source.group_mode = 'ordered'
          and starts_with(current_setting(source.look_setting, true), source.note_prefix) is not true
          and postbag.is_clean(source.queue_id, receive.now)
          then source.opening || '0:-62135596800000000'
      end;
    end if;
  else
    source.note := null;
  end if;
  if source.note is not null then
    if source.walks_lines then
      return query
        with head as (
          update postbag.message
          set
            leased_until = source.until,
            attempts = message.attempts + 1,
            lease_key = source.drawn_key,
            first_received_at = coalesce(message.first_received_at, receive.now),
            expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(source.until) else message.expires_at end
          from (
            select ready.ctid as place
            from postbag.message as ready
            where ready.queue_id = source.queue_id
              and ready.priority = 0
              and ready.available_at >= postbag.instant(split_part(source.note, ':', 4)::bigint)
              and ready.available_at <= receive.now
              and ready.available_at < 'infinity'
              and (ready.leased_until is null or ready.leased_until <= receive.now)
              and (ready.expires_at is null or ready.expires_at > receive.now)
            order by ready.available_at, ready.message_id
            limit ceil(max_messages / 4.0)
            for update skip locked
          ) as first
          where message.ctid = first.place
            and (
              message.group_key is null
              or message.group_position = 0 and message.attempts = 0
              or set_config('postbag.met_group', 'yes', true) is null
            )
          returning message.*
        ),
        follower as (
          update postbag.message
          set
            leased_until = source.until,
            attempts = message.attempts + 1,
            lease_key = source.drawn_key,
            first_received_at = coalesce(message.first_received_at, receive.now),
            expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(source.until) else message.expires_at end
          from (
            select
              candidate.number, candidate.step, free.place,
              -- Nobody is passed over: what could not be locked ends its line.
              bool_and(free.place is not null) over (partition by candidate.number order by candidate.step) as is_unbroken
            from (
              select behind.place, behind.step, turn.number
              from (
                select head.group_key, row_number() over () as number
                from head
                where head.group_key is not null
                  -- (Who is next in a group to which this transaction has sent is decided when it commits.)
                  and not exists (
                    select from postbag.group_change as change
                    where change.xact = pg_current_xact_id_if_assigned() and change.arrived is not null
                  )
              ) as turn
              cross join lateral (
                select
                  message.ctid as place,
                  row_number() over standing as step,
                  bool_and(
                    (message.due_at is null or message.due_at <= receive.now)
                    and (message.expires_at is null or message.expires_at > receive.now)
                    and message.attempts = 0
                  ) over standing as is_next
                from postbag.message
                where message.queue_id = source.queue_id
                  and message.group_key = turn.group_key
                  and message.group_position > 0
                window standing as (order by message.group_position rows unbounded preceding)
                limit (select 2 * ceil(max_messages / count(*)::double precision - 1) from head)
              ) as behind
              where behind.is_next
              -- One behind each head, then the next one behind each.
              order by behind.step, turn.number
              limit max_messages - (select count(*) from head)
            ) as candidate
            left join lateral (
              select message.ctid as place
              from postbag.message
              where message.queue_id = source.queue_id
                and message.ctid = candidate.place
                and message.group_position > 0
                and (message.due_at is null or message.due_at <= receive.now)
                and (message.expires_at is null or message.expires_at > receive.now)
                and message.attempts = 0
              for update skip locked
            ) as free on true
          ) as next
          where message.ctid = next.place and next.is_unbroken
          returning message.*
        )
        select
          leased.message_id::text,
          leased.message_id || '.' || leased.attempts || '.' || leased.lease_key,
          case when leased.body is null then postbag.body_of(leased.bytes, leased.body_id) else leased.body::text end,
          leased.encoding::text,
          leased.type::text,
          leased.content_type::text,
          leased.headers::jsonb,
          leased.priority::integer,
          leased.group_key::text,
          leased.attempts,
          leased.sent_at,
          leased.first_received_at,
          leased.leased_until,
          leased.expires_at,
          case
            when leased.available_at = 'infinity' or leased.message_id % 4 <> 0
              or set_config(
                source.cursor_setting,
                source.opening || split_part(source.note, ':', 3) || ':' || postbag.microseconds(leased.available_at),
                false
              ) <> ''
              then leased.deaths
          end
        from (select * from head union all select * from follower) as leased;
      get diagnostics claimed = row_count;
      if claimed = max_messages and started is null then
        return;
      end if;
    end if;
    return query
      update postbag.message
      set
        leased_until = source.until,
        attempts = message.attempts + 1,
        lease_key = source.drawn_key,
        first_received_at = coalesce(message.first_received_at, receive.now),
        expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(source.until) else message.expires_at end
      from (
        select ready.ctid as place
        from postbag.message as ready
        where ready.queue_id = source.queue_id
          and ready.priority = 0
          and ready.available_at >= postbag.instant(split_part(source.note, ':', 4)::bigint)
          and ready.available_at <= receive.now
          and ready.available_at < 'infinity'
          and (ready.leased_until is null or ready.leased_until <= receive.now)
          and (ready.expires_at is null or ready.expires_at > receive.now)
        order by ready.available_at, ready.message_id
        limit max_messages - claimed
        for update skip locked
      ) as head
      -- (What else is in a group is left alone, and noted.)
      where message.ctid = head.place
        and (
          message.group_key is null
          or (source.takes_heads or source.walks_lines) and message.group_position = 0 and message.attempts = 0
          or set_config('postbag.met_group', 'yes', true) is null
        )
      returning
        message.message_id::text,
        message.message_id || '.' || message.attempts || '.' || message.lease_key,
        case when message.body is null then postbag.body_of(message.bytes, message.body_id) else message.body::text end,
        message.encoding::text,
        message.type::text,
        message.content_type::text,
        message.headers::jsonb,
        message.priority::integer,
        message.group_key::text,
        message.attempts,
        message.sent_at,
        message.first_received_at,
        message.leased_until,
        message.expires_at,
        -- (Where the next claim may start, noted at each eighth message, because a note costs as much as a row.)
        case
          when (max_messages > 1 and message.message_id % 8 <> 0)
            or set_config(
              source.cursor_setting,
              source.opening || split_part(source.note, ':', 3) || ':' || postbag.microseconds(message.available_at),
              false
            ) <> ''
            then message.deaths
        end;
    get diagnostics number = row_count;
    if claimed + number = max_messages and started is null then
      return;
    end if;
    claimed := claimed + number;
    if started is not null then
      if clock_timestamp() > started + interval '0.5 ms' then
        perform postbag.note_look(source.queue_id, 0, array[source.queue_id, 0, 0, 0, 0, 0], true, started, receive.now);
      end if;
      -- (It would find out by itself that it was called in this second; a comparison costs less than a call.)
      if starts_with(
        current_setting('postbag.tidied_' || source.queue_id % 1024, true),
        source.note_prefix || date_part('epoch', receive.now)::bigint || ':'
      ) is not true then
        perform postbag.tidy_now_and_then(source.queue_id, receive.now);
      end if;
      if claimed = max_messages then
        return;
      end if;
    end if;
    perform set_config(
      source.cursor_setting,
      case
        when started is null
          then source.note_prefix || '0:' || split_part(source.note, ':', 3) || ':' || split_part(source.note, ':', 4)
        else ''
      end,
      false
    );
    if claimed > 0 and current_setting('postbag.met_group', true) is distinct from 'yes' then
      return;
    end if;
    perform set_config('postbag.met_group', '', true);
  end if;

  return query select * from postbag.receive_in_full(
    receive.queue, receive.max_messages - claimed, receive.lease, receive.now
  );
end
$$;
--! EndIncluded functions/receive.sql
select postbag.make_volatile_twins();
