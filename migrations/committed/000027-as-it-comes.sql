--! Previous: sha1:88e15a71f4ebf717bfa129f9c5e5b0853493bfa0
--! Hash: sha1:e67670fc66c140d5ad1f497f09ad5ecb7f9ecb89
--! Message: as-it-comes

--! split: 1-current.sql
-- Holds what was promised where a table or a publication is not as expected: a table that sends its changes may call a column `changed`, and
-- its group column may be empty; a publication of all tables does not refuse the one row that says where the round of shared bodies is.
-- Maintenance of many queues at rest costs little. Receives of a queue with a limit wait only a moment for one that stays in an open transaction.

-- The key of the only row, without which its update could not be published.
alter table postbag.body_round add column is_only boolean primary key default true check (is_only);

--! Included functions/change_message.sql
/* postbag.change_message: the message, as postbag.send_batch takes it, that says what happened to a row: `before` and `after` are all of it,
 * `options` come from postbag.change_options. Null if an update changed none of the chosen columns. A group column that is null or empty makes no
 * group, as no group has an empty name; PB002 if it is longer than one may be. */
create or replace function postbag.change_message(
  schema_name text, table_name text, operation text, before jsonb, after jsonb, options jsonb
)
returns jsonb
language plpgsql
immutable
as $$
declare
  left_out constant text[] := array(select jsonb_array_elements_text(options -> 'left_out'));
  chosen_before constant jsonb := before - left_out;
  chosen_after constant jsonb := after - left_out;
  group_key constant text := nullif(coalesce(after, before) ->> (options ->> 'group_column'), '');
  body jsonb := jsonb_build_object('schema', schema_name, 'table', table_name, 'operation', operation);
begin
  if operation = 'update' then
    if chosen_before = chosen_after then
      return null;
    end if;
    body := body || jsonb_build_object('changed', array(
      select field.key from jsonb_each(chosen_after) as field where field.value is distinct from chosen_before -> field.key order by 1
    ));
  end if;
  if length(group_key) > 128 then
    perform postbag.refuse('PB002', format(
      'column "%s" of table "%s" must have at most 128 characters, as it is the group of its messages, got %s',
      options ->> 'group_column', table_name, length(group_key)
    ));
  end if;
  if options -> 'images' ? 'before' then
    body := body || jsonb_build_object('before', chosen_before);
  end if;
  if options -> 'images' ? 'after' then
    body := body || jsonb_build_object('after', chosen_after);
  end if;
  return jsonb_build_object('body', body, 'type', coalesce(options ->> 'type', table_name) || '.' || operation)
    || jsonb_strip_nulls(jsonb_build_object('group', group_key));
end
$$;
--! EndIncluded functions/change_message.sql
--! Included functions/outbox_trigger.sql
/* postbag.outbox_trigger: what a statement changes in a table is sent to a queue, in the statement's transaction: one message per row, in the
 * order in which the rows were changed; all of them, or the statement fails. postbag.send_changes makes its triggers; by hand:
 *
 *   create trigger … after insert on orders referencing new table as new_rows
 *     for each statement execute function postbag.outbox_trigger('order-changes', '{"group_column": "id"}')
 *
 * (update: old table as old_rows new table as new_rows; delete: old table as old_rows). The second argument may be left out. What its fields
 * mean, and what a message holds: postbag.send_changes.
 *
 *  1. For each statement, because a row's own trigger would send row by row. A call of send_batch takes up to 1000 rows, or 16 MiB.
 *  2. What an update made of a row is found by position: Postgres notes both versions of a row together, so the n-th of one table became
 *     the n-th of the other. (Keys may change, and a table need not have one.) Where that cannot be, because a trigger of the table's own
 *     swallowed a row on its way to another partition, there are fewer new rows than old ones, and the statement is refused.
 *  3. `changed.*` is the row, whatever its columns are called; `changed` would be the column of that name if there is one.
 *  4. With the rights of who changes the table: he needs those of a sender. (With the owner's, whoever has a table could send anywhere.)
 *     The rows come from the statement, not from the table: its row-level security hides none. */
create or replace function postbag.outbox_trigger()
returns trigger
language plpgsql
as $$
declare
  queue constant text := tg_argv[0];
  options constant jsonb := postbag.change_options(tg_relid, coalesce(tg_argv[1], '{}')::jsonb);
  befores refcursor;
  afters refcursor;
  before jsonb;
  after jsonb;
  message jsonb;
  messages jsonb[] := '{}';
  bytes bigint := 0;
begin
  perform postbag.check_outbox_trigger(tg_relid, tg_name, tg_op, tg_argv);
  if tg_op <> 'INSERT' then
    open befores for select to_jsonb(changed.*) from old_rows as changed;
  end if;
  if tg_op <> 'DELETE' then
    open afters for select to_jsonb(changed.*) from new_rows as changed;
  end if;

  loop
    if tg_op <> 'INSERT' then
      fetch befores into before;
    end if;
    if tg_op <> 'DELETE' then
      fetch afters into after;
    end if;
    exit when before is null and after is null;
    if tg_op = 'UPDATE' and (before is null or after is null) then
      perform postbag.refuse('PB002', format(
        'an update of table %s that sends its changes must keep every row, got one that another trigger swallowed', tg_relid::regclass
      ));
    end if;
    message := postbag.change_message(tg_table_schema, tg_table_name, lower(tg_op), before, after, options);
    continue when message is null;

    messages := messages || message;
    bytes := bytes + pg_column_size(message);
    if cardinality(messages) = 1000 or bytes > 16777216 then
      perform from postbag.send_batch(queue, to_jsonb(messages));
      messages := '{}';
      bytes := 0;
    end if;
  end loop;
  if messages <> '{}' then
    perform from postbag.send_batch(queue, to_jsonb(messages));
  end if;
  return null;
end
$$;
--! EndIncluded functions/outbox_trigger.sql
--! Included functions/untidy_queues.sql
/* postbag.untidy_queues: the queues in which postbag.maintain has something to do, of all or only the named one, by their ids. To ask all of them
 * in one statement takes some 6 µs for each; to tidy one in vain takes 400. (Each subquery takes the first by the index of ends, for each queue
 * anew: an `exists` might be answered from a list of all messages, and without an order by another index.) */
create or replace function postbag.untidy_queues(queue text, now timestamptz)
returns setof postbag.queue
language plpgsql
stable
set jit = off
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return query
  select known.*
  from postbag.queue as known
  where (untidy_queues.queue is null or known.name = untidy_queues.queue)
    and coalesce(
      (
        select message.expires_at from postbag.message
        where message.queue_id = known.queue_id and message.expires_at <= untidy_queues.now
        order by message.expires_at limit 1
      ),
      (
        select message.expires_at from postbag.volatile_message as message
        where message.queue_id = known.queue_id and message.expires_at <= untidy_queues.now
        order by message.expires_at limit 1
      ),
      (
        select reply.expires_at from postbag.reply
        where reply.queue_id = known.queue_id and reply.expires_at <= untidy_queues.now
        order by reply.expires_at limit 1
      ),
      (select untidy_queues.now from postbag.group_pending as pending where pending.queue_id = known.queue_id limit 1),
      -- (As long after their end as postbag.forget_dedup_ids wants.)
      (
        select id.expires_at from postbag.dedup as id
        where id.queue_id = known.queue_id and id.expires_at <= untidy_queues.now - interval '1 hour'
        order by id.expires_at limit 1
      ),
      (
        select id.expires_at from postbag.volatile_dedup as id
        where id.queue_id = known.queue_id and id.expires_at <= untidy_queues.now - interval '1 hour'
        order by id.expires_at limit 1
      )
    ) is not null
  order by known.queue_id;
end
$$;
--! EndIncluded functions/untidy_queues.sql
--! Included functions/maintain.sql
/* postbag.maintain: remove what nobody needs any more, up to max_messages of each kind, in one queue or in all: messages whose time to
 * live or last lease has ended (to the dead letters, if the queue says so), dead letters kept long enough, replies, shared bodies, dedup ids, old notes, and
 * messages of queues that were deleted while they were sent. `more` is true if there was more to do: call again.
 * Sends and receives do this for their own queue as they go; this is for queues that nobody uses: from cron, once a minute or an hour. */
create or replace function postbag.maintain(
  queue text default null, max_messages integer default 10000, now timestamptz default clock_timestamp()
)
returns table (
  expired_messages bigint, removed_dead_letters bigint, forgotten_dedup_ids bigint, removed_orphans bigint, more boolean
)
language plpgsql
-- (Its statements are short, and would look high enough to compile.)
set jit = off
as $$
declare
  tended postbag.queue;
  tidied record;
  forgotten bigint;
  forgotten_replies bigint := 0;
  forgotten_bodies bigint := 0;
begin
  if max_messages is null or max_messages not between 1 and 100000 then
    perform postbag.refuse('PB002', format('max must be between 1 and 100000, got %s', coalesce(max_messages::text, 'null')));
  elsif maintain.queue is not null then
    perform postbag.queue_named(maintain.queue);
  end if;
  expired_messages := 0;
  removed_dead_letters := 0;
  forgotten_dedup_ids := 0;
  removed_orphans := 0;

  for tended in select * from postbag.untidy_queues(maintain.queue, maintain.now) loop
    select * into tidied
    from postbag.tidy(tended, greatest(max_messages - expired_messages - removed_dead_letters, 0)::integer, maintain.now);
    forgotten := case
      when tended.is_volatile then postbag.volatile_forget_dedup_ids(tended.queue_id, maintain.now)
      else postbag.forget_dedup_ids(tended.queue_id, maintain.now)
    end;
    forgotten_replies := forgotten_replies
      + postbag.forget_replies(tended.queue_id, (max_messages - forgotten_replies)::integer, maintain.now);
    perform postbag.settle_pending(tended.queue_id, maintain.now);
    expired_messages := expired_messages + tidied.expired;
    removed_dead_letters := removed_dead_letters + tidied.removed;
    forgotten_dedup_ids := forgotten_dedup_ids + forgotten;
    more := more or forgotten >= 1024;
  end loop;

  if maintain.queue is null then
    forgotten_bodies := postbag.forget_bodies(max_messages, maintain.now) + postbag.forget_attempts(max_messages, maintain.now);
    removed_orphans := postbag.remove_orphans(max_messages) + postbag.volatile_remove_orphans(max_messages);
  end if;
  delete from postbag.traffic
  where traffic.ctid = any (array(
    select old.ctid from postbag.traffic as old where old.noted_at < maintain.now - interval '10 min' for update skip locked
  ));
  -- (Nothing of their burst is used up.)
  delete from postbag.flow
  where flow.ctid = any (array(select old.ctid from postbag.flow as old where old.spent_until < maintain.now for update skip locked));
  delete from postbag.inbox as known
  where known.ctid = any (array(
    select old.ctid from postbag.inbox as old
    where old.expires_at < maintain.now order by old.expires_at limit max_messages for update skip locked
  ));
  more := coalesce(more, false) or expired_messages + removed_dead_letters >= max_messages or forgotten_replies >= max_messages
    or forgotten_bodies >= max_messages
    or removed_orphans >= max_messages;
  return next;
end
$$;
--! EndIncluded functions/maintain.sql
--! Included functions/gets_turn.sql
/* postbag.gets_turn: whether a receive that is the whole transaction gets the lock under which receives of a queue with a limit take turns
 * (functions/allowance.sql). It waits for 100 ms: whoever has it is either done by then, or is a transaction of somebody else's that may stay
 * open for long, and each that waited for that would hold a connection meanwhile. */
create or replace function postbag.gets_turn(queue_id bigint)
returns boolean
language plpgsql
as $$
declare
  patience constant text := current_setting('lock_timeout');
begin
  if pg_try_advisory_xact_lock(1886352385, hashint8(gets_turn.queue_id)) then
    return true;
  end if;
  begin
    perform set_config('lock_timeout', '100ms', true);
    perform pg_advisory_xact_lock(1886352385, hashint8(gets_turn.queue_id));
    perform set_config('lock_timeout', patience, true);
    return true;
  exception when lock_not_available then
    -- (Which undoes the setting, too.)
    return false;
  end;
end
$$;
--! EndIncluded functions/gets_turn.sql
--! Included functions/receive.sql
/* postbag.receive: lease up to max_messages available messages of one queue: highest priority first, then by availability (the latest
 * first in a lifo queue), then in the order they were sent. Who receives owns a message until leased_until; the receipt is the proof,
 * for ack, nack and extend.
 * Never waits for a message: no rows mean "nothing available now" (waiting is src/wakeup's job). Only where the queue limits its rate or
 * what is in flight, receives take turns: one waits until the transaction of the other ends; for 100 ms only, and then brings nothing, if it
 * is `alone`.
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
    known.queue_id, known.is_volatile, known.receives_plainly,
    known.max_in_flight is not null or known.rate is not null or known.group_rate is not null and known.group_mode = 'fair' as takes_turns,
    known.group_mode, known.durability, known.max_attempts,
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
                  line.place,
                  row_number() over standing as step,
                  bool_and(line.is_ready) over standing as is_next
                from (
                  select
                    message.ctid as place,
                    message.group_position,
                    (message.due_at is null or message.due_at <= receive.now)
                      and (message.expires_at is null or message.expires_at > receive.now)
                      and message.attempts = 0 as is_ready
                  from postbag.message
                  where message.queue_id = source.queue_id
                    and message.group_key = turn.group_key
                    and message.group_position > 0
                  order by message.group_position
                  -- So many that all lines together have what is wanted; where there are few, or fewer than were looked for, some more of each.
                  -- (What is looked at in vain costs a page of the table.)
                  limit (
                    select
                      case when count(*) < greatest(ceil(max_messages / 4.0), 3) then 2 else 1 end * ceil(max_messages / count(*)::double precision - 1)
                    from head
                  )
                ) as line
                window standing as (order by line.group_position rows unbounded preceding)
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

  if receive.alone and source.takes_turns and not postbag.gets_turn(source.queue_id) then
    return;
  end if;
  return query select * from postbag.receive_in_full(
    receive.queue, receive.max_messages - claimed, receive.lease, receive.now
  );
end
$$;
--! EndIncluded functions/receive.sql

select postbag.make_volatile_twins();
