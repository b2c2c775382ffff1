--! Previous: sha1:1b6f64572ccbc247c66ce7915807b889595ce0b8
--! Hash: sha1:0f16641d29d655ca263164af27b6f7ab8e8f16a3
--! Message: shared-bodies

--! split: 1-current.sql
/* Bodies that several copies of a published message share. */
create sequence postbag.body_id;

create table postbag.body (
  body_id bigint not null primary key,
  -- The copies that were made, in parallel. What has been moved since has a body of its own.
  queue_ids bigint[] not null,
  message_ids bigint[] not null,
  body text not null
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000);

/* Where the next round of functions/forget_bodies.sql begins: one row. */
create table postbag.body_round (
  next_id bigint not null
) with (fillfactor = 50);
insert into postbag.body_round (next_id) values (0);

/* Null: a body of its own, in the column of that name or in bytes. */
alter table postbag.message add column body_id bigint;
alter table postbag.volatile_message add column body_id bigint;

/* The functions that are new or changed. */
--! Included functions/body_of.sql
/* postbag.body_of: the body of a message that has no text of its own: its bytes, as base64, or the body that it shares with other copies of
 * what was published (functions/publish_plainly.sql). */
create or replace function postbag.body_of(bytes bytea, body_id bigint)
returns text
language plpgsql
stable
as $$
begin
  if body_of.body_id is null then
    return translate(encode(bytes, 'base64'), E'\n', '');
  end if;
  return (select shared.body from postbag.body as shared where shared.body_id = body_of.body_id);
end
$$;
--! EndIncluded functions/body_of.sql
--! Included functions/shared_size.sql
/* postbag.shared_size: how many bytes a shared body has. (It is not read for that: Postgres knows how long it is.) */
create or replace function postbag.shared_size(body_id bigint)
returns integer
language plpgsql
stable
as $$
begin
  return (select octet_length(shared.body) from postbag.body as shared where shared.body_id = shared_size.body_id);
end
$$;
--! EndIncluded functions/shared_size.sql
--! Included functions/forget_bodies.sql
/* postbag.forget_bodies: remove shared bodies that no message has any more; looks at up to `most`, and returns how many of them went. It goes
 * round: each call goes on where the last one ended. Beside another one it does nothing.
 *
 * Whether a body is still needed is asked of its copies, by their ids: so a message that is acked, has expired or is purged has nothing to do
 * with it, and no two of them wait for each other. A copy that moves to another queue takes a body of its own along (functions/move_dead.sql,
 * functions/revive.sql), so no copy comes later than the body. */
create or replace function postbag.forget_bodies(most integer)
returns bigint
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  start bigint;
  looked_at bigint[];
  gone bigint;
begin
  select round.next_id into start from postbag.body_round as round for update skip locked;
  if not found then
    return 0;
  end if;
  looked_at := array(
    select shared.body_id from postbag.body as shared where shared.body_id >= start order by shared.body_id limit most
  );
  if cardinality(looked_at) = 0 and start = 0 then
    return 0;
  end if;
  delete from postbag.body as shared
  where shared.body_id = any (looked_at)
    and not exists (
      select from unnest(shared.queue_ids, shared.message_ids) as copy (queue_id, message_id)
      join postbag.message
        on message.queue_id = copy.queue_id and message.message_id = copy.message_id and message.body_id = shared.body_id
    );
  get diagnostics gone = row_count;
  update postbag.body_round
  set next_id = case when cardinality(looked_at) < most then 0 else looked_at[most] + 1 end;
  return gone;
end
$$;
--! EndIncluded functions/forget_bodies.sql
--! Included functions/publish_plainly.sql
/* postbag.publish_plainly: one insert for all copies (copy_numbers, copy_ids) of a publish: JSON messages with nothing but a type and
 * headers, to queues that send plainly. What each message holds is read and checked once, however many copies it has. A large body of
 * several copies is stored once (postbag.body), and read by each of them. */
create or replace function postbag.publish_plainly(exchange text, messages jsonb, copy_numbers integer[], copy_ids bigint[], now timestamptz)
returns void
language plpgsql
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  -- Bytes from which on it pays (npm run bench -- publish).
  least_shared constant integer := 8000;
begin
  with sent as materialized (
    select
      given.number::integer, given.message ->> 'type' as type, given.message ->> 'contentType' as content_type,
      postbag.published_headers(
        case
          when not given.message ? 'headers' or given.message -> 'headers' = 'null' then null
          when postbag.is_string_map(given.message -> 'headers') then given.message -> 'headers'
          else postbag.refuse('PB002', format('headers must be an object of strings, got %s', given.message -> 'headers'))::jsonb
        end,
        publish_plainly.exchange, given.message ->> 'routingKey'
      ) as headers,
      coalesce((given.message ->> 'json')::json::text, (given.message -> 'body')::text, 'null') as body
    from jsonb_array_elements(messages) with ordinality as given (message, number)
  ),
  checked as materialized (
    select sent.* from sent
    where postbag.keeps_rules('json', sent.type, sent.content_type, sent.headers, null, sent.body, null)
  ),
  copied as materialized (
    select copy.number, target.queue_id, target.delay, nextval('postbag.message_id') as message_id
    from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
    join postbag.queue as target on target.queue_id = copy.queue_id
  ),
  shared as materialized (
    select checked.number, nextval('postbag.body_id') as body_id, checked.body, many.queue_ids, many.message_ids
    from checked
    join (
      select copied.number, array_agg(copied.queue_id) as queue_ids, array_agg(copied.message_id) as message_ids
      from copied
      group by copied.number
      having count(*) > 1
    ) as many on many.number = checked.number
    where octet_length(checked.body) >= least_shared
  ),
  stored as (
    insert into postbag.body (body_id, queue_ids, message_ids, body)
    select shared.body_id, shared.queue_ids, shared.message_ids, shared.body from shared
  )
  insert into postbag.message (queue_id, message_id, available_at, sent_at, encoding, type, content_type, headers, body, body_id)
  select
    copied.queue_id, copied.message_id, publish_plainly.now + copied.delay, publish_plainly.now, 'json',
    checked.type, checked.content_type, checked.headers, case when shared.body_id is null then checked.body end, shared.body_id
  from copied
  join checked on checked.number = copied.number
  left join shared on shared.number = copied.number;

  -- (Each queue once: what postbag.send_batch does at its end.)
  perform
    case
      when not postbag.is_counted('postbag.sent_' || target.queue_id % 1024, target.queue_id, reached.number, publish_plainly.now)
        then postbag.tick('sent', target.queue_id, reached.number, publish_plainly.now)
    end,
    case when postbag.is_awaited(target.name) then postbag.wake(target.name) end
  from (select copy.queue_id, count(*) as number from unnest(copy_ids) as copy (queue_id) group by copy.queue_id) as reached
  join postbag.queue as target on target.queue_id = reached.queue_id;
end
$$;
--! EndIncluded functions/publish_plainly.sql
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
 * The short way: for a tenth of a second after a look at everything (functions/receive_in_full.sql) brought a session of a plain queue all
 * it wanted, and no group, the session claims from its cursor on with one statement that knows nothing of priorities, groups, limits
 * and looks back. (The time of a statement is that of its parts, used or not: this is a third of the other.) It ends sooner when
 * a claim brings less than was wanted, for one because it met a group. What becomes available behind the cursor meanwhile waits for so
 * long, and then for the next look back. */
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
  -- Into a variable: nothing volatile may stand inside an update of a queue's table.
  drawn_key constant integer := floor(random() * 2147483647);
  until timestamptz;
  takes_heads boolean;
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
    known.queue_id, known.is_volatile, known.receives_plainly, known.group_mode, known.durability, known.lease, known.max_attempts,
    'postbag.cursor_' || known.queue_id % 256 || '_0' as setting,
    -- {queue_id, lowest available_at claimed, how many of them were heads of groups, when the short way was opened}
    postbag.remembered('postbag.cursor_' || known.queue_id % 256 || '_0') as note
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
  if alone then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  if source.receives_plainly
    and source.note[1] = source.queue_id
    and postbag.microseconds(receive.now) between greatest(source.note[2], source.note[4]) and source.note[4] + 100000
    and (receive.lease is null or receive.lease between interval '1 s' and interval '43200 s')
    and max_messages between 1 and 1000
  then
    until := receive.now + coalesce(receive.lease, source.lease);
    takes_heads := source.group_mode = 'ordered' and (max_messages = 1 or source.note[3] > 0);
    if takes_heads and max_messages > 1 then
      return query
        with head as (
          update postbag.message
          set
            leased_until = until,
            attempts = message.attempts + 1,
            lease_key = drawn_key,
            first_received_at = coalesce(message.first_received_at, receive.now),
            expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(until) else message.expires_at end
          from (
            select ready.ctid as place
            from postbag.message as ready
            where ready.queue_id = source.queue_id
              and ready.priority = 0
              and ready.available_at >= postbag.instant(source.note[2])
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
            leased_until = until,
            attempts = message.attempts + 1,
            lease_key = drawn_key,
            first_received_at = coalesce(message.first_received_at, receive.now),
            expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(until) else message.expires_at end
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
                source.setting,
                source.note[1] || ':' || postbag.microseconds(leased.available_at) || ':' || source.note[3] || ':' || source.note[4],
                false
              ) <> ''
              then leased.deaths
          end
        from (select * from head union all select * from follower) as leased;
      get diagnostics claimed = row_count;
      if claimed = max_messages then
        return;
      end if;
    end if;
    return query
      update postbag.message
      set
        leased_until = until,
        attempts = message.attempts + 1,
        lease_key = drawn_key,
        first_received_at = coalesce(message.first_received_at, receive.now),
        expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(until) else message.expires_at end
      from (
        select ready.ctid as place
        from postbag.message as ready
        where ready.queue_id = source.queue_id
          and ready.priority = 0
          and ready.available_at >= postbag.instant(source.note[2])
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
          or takes_heads and message.group_position = 0 and message.attempts = 0
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
              source.setting,
              source.note[1] || ':' || postbag.microseconds(message.available_at) || ':' || source.note[3] || ':' || source.note[4],
              false
            ) <> ''
            then message.deaths
        end;
    get diagnostics number = row_count;
    claimed := claimed + number;
    if claimed = max_messages then
      return;
    end if;
    perform set_config(source.setting, source.queue_id || ':' || source.note[2] || ':' || source.note[3], false);
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
--! Included functions/receive_in_full.sql
/* postbag.receive_in_full: what postbag.receive does in queues of every kind. (That one does by itself only what is plain.)
 *
 * Of a group, claims see only the head (functions/apply_group_changes.sql); what is missing to max_messages is filled up with those
 * that stand behind the heads just taken (functions/follow_heads.sql).
 *
 * How a claim stays fast while dead rows lie at the head of the index (a held snapshot keeps them from being removed):
 *
 *  1. Each session notes per queue and priority where it last found something (the cursor: the lowest available_at it claimed) and
 *     starts there.
 *  2. What became visible behind the cursor is found by looking back: `near` starts 2 s before the cursor (commits that overtook
 *     each other), `full` starts at the head (a transaction that committed late, a lease that ended).
 *  3. A look back is due 20 times its own duration after it ended: nearly always while the head is clean (0.1 ms), and for 5 % of
 *     the time when a million dead rows lie there. The pause is bounded (near 1 s, full 60 s) and grows at most fourfold from one
 *     full look to the next, so that a single one that was slow for another reason (it waited for a lock) delays the next little.
 *  4. A full look that was expensive is announced in postbag.sweep, so that other sessions do not repeat it, but start once where it
 *     found something. Sessions read that row only when their own notes say "due, and expensive" (or say nothing), and write it
 *     only if nobody else is writing it.
 *  5. A claim that got all it wanted opens the short way of postbag.receive for a tenth of a second.
 *
 * The claim changes no indexed column (the lease is leased_until), joins on the ctid it has just locked, and its plan is pinned:
 * statistics of a nearly empty table would flip it. */
create or replace function postbag.receive_in_full(
  queue text, max_messages integer, lease interval, now timestamptz
)
returns setof postbag.delivery
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source constant postbag.queue := postbag.queue_named(receive_in_full.queue);
  until constant timestamptz := receive_in_full.now + coalesce(receive_in_full.lease, source.lease);
  -- Into a variable: nothing volatile may stand inside an update of a queue's table.
  drawn_key constant integer := floor(random() * 2147483647);
  now_us constant bigint := postbag.microseconds(receive_in_full.now);
  started constant timestamptz := clock_timestamp();
  took_us bigint;
  expensive_us constant bigint := 2000;
  longest_near_pause_us constant bigint := 1000000;
  first_pause_us constant bigint := 100000;
  longest_pause_us constant bigint := 60000000;

  -- What this session noted: {queue_id, near look due, full look due, last full look took, pause after it, tidying due}, in
  -- microseconds.
  look_setting constant text := 'postbag.look_' || source.queue_id % 256;
  look bigint[] := postbag.remembered(look_setting);
  depth text := 'cursor';
  shared postbag.sweep;
  -- {queue_id, lowest available_at claimed, how many of them were heads of groups, when the short way of postbag.receive was opened}: one
  -- setting per priority.
  cursor_setting text;
  cursor_note bigint[];
  start timestamptz;

  wanted integer := max_messages;
  most_heads integer;
  claimed integer;
  followers integer;
  allowed integer;
begin
  if max_messages is null or max_messages not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max must be between 1 and 1000, got %s', coalesce(max_messages::text, 'null')));
  elsif until < receive_in_full.now or until > receive_in_full.now + interval '43200 s' then
    perform postbag.refuse('PB002', format(
      'leaseSeconds must be between 0 and 43200, got %s', extract(epoch from receive_in_full.lease)::double precision
    ));
  end if;

  if source.paused then
    return;
  end if;
  if source.max_in_flight is not null or source.rate is not null then
    wanted := least(wanted, postbag.allowance(source, receive_in_full.now));
  end if;
  if source.group_rate is not null then
    perform postbag.put_off_groups(source, wanted, receive_in_full.now);
  end if;
  if wanted <= 0 then
    return;
  end if;
  allowed := wanted;

  -- How far to look back. (A due time beyond the longest pause means that the clock was set back.)
  if look[1] is distinct from source.queue_id or look[5] is null or look[3] > now_us + longest_pause_us then
    look := array[source.queue_id, 0, 0, expensive_us, 0, 0];
  end if;
  if now_us not between coalesce(look[6], 0) - 1000000 and coalesce(look[6], 0) then
    perform postbag.tick('done', source.queue_id, 0, receive_in_full.now);
    look[6] := now_us + 1000000;
    depth := 'near';
  end if;
  if now_us >= look[3] then
    depth := 'full';
    if look[4] >= expensive_us then
      select sweep.* into shared from postbag.sweep where sweep.queue_id = source.queue_id;
      look[5] := greatest(look[5], shared.pause_us);
      if shared.due_us > now_us and shared.due_us <= now_us + longest_pause_us then
        look[3] := shared.due_us;
        depth := 'near';
      end if;
    end if;
  elsif now_us >= look[2] then
    depth := 'near';
  end if;

  for level in reverse source.top_priority .. 0 loop
    cursor_setting := format('postbag.cursor_%s_%s', source.queue_id % 256, level);
    cursor_note := postbag.remembered(cursor_setting);
    start := case
      when depth = 'full' then '-infinity'
      when cursor_note[1] is distinct from source.queue_id or cursor_note[2] > now_us then
        case when depth = 'near' then coalesce(shared.start_at, '-infinity') else '-infinity' end
      when depth = 'near' then least(postbag.instant(cursor_note[2] - 2000000), shared.start_at)
      else postbag.instant(cursor_note[2])
    end;

    if source.delivery_order = 'lifo' then
      return query select * from postbag.claim_newest(source, level, wanted, depth = 'full', until, drawn_key, receive_in_full.now);
      get diagnostics claimed = row_count;
      wanted := wanted - claimed;
      exit when wanted = 0;
      continue;
    end if;

    -- Where there are groups, first a quarter of what is wanted, and those behind them: a head costs more than a follower, and who takes
    -- all heads leaves nothing to others.
    most_heads := case when cursor_note[1] = source.queue_id and cursor_note[3] > 0 then ceil(wanted / 4.0) else wanted end;
    loop
      return query
        with head as materialized (
          select message.ctid as place, message.available_at, message.attempts,
            -- (In an ordered queue that was a fair one, a message may come back that stands in no line.)
            case when message.group_position = 0 or source.group_mode = 'fair' then message.group_key end as group_key
          from postbag.message
          where message.queue_id = source.queue_id
            and message.priority = level
            and message.available_at >= start
            and message.available_at <= receive_in_full.now
            and message.available_at < 'infinity'
            and (message.leased_until is null or message.leased_until <= receive_in_full.now)
            and (message.expires_at is null or message.expires_at > receive_in_full.now)
          order by message.available_at, message.message_id
          limit most_heads
          for update skip locked
        ),
        leased as (
          update postbag.message
          set
            leased_until = until,
            attempts = message.attempts + 1,
            lease_key = drawn_key,
            first_received_at = coalesce(message.first_received_at, receive_in_full.now),
            in_flight_until = case when source.max_in_flight is not null then until end,
            -- After its last attempt it is dead, unless it is settled before the lease ends.
            expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(until) else message.expires_at end,
            -- A fair queue hands out the next of the group at once.
            group_position = case when source.group_mode = 'ordered' then message.group_position end
          from head
          where message.queue_id = source.queue_id and message.ctid = head.place
          returning message.*
        ),
        noted as (
          select
            set_config(
              cursor_setting,
              format('%s:%s:%s', source.queue_id, postbag.microseconds(min(head.available_at)), count(head.group_key)),
              false
            ),
            case when count(head.group_key) > 0 then set_config(
              'postbag.heads',
              jsonb_build_array(
                jsonb_agg(head.group_key) filter (where head.group_key is not null and head.attempts = 0),
                jsonb_agg(head.group_key) filter (where head.group_key is not null and head.attempts > 0)
              )::text,
              true
            ) end
          from head
          having count(*) > 0
        )
        select
          leased.message_id::text,
          concat_ws('.', leased.message_id, leased.attempts, leased.lease_key),
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
          leased.deaths
        from leased, noted
        order by leased.available_at, leased.message_id;

      get diagnostics claimed = row_count;
      wanted := wanted - claimed;
      if current_setting('postbag.heads', true) <> '' then
        return query select * from postbag.follow_heads(source, wanted, until, drawn_key, receive_in_full.now);
        get diagnostics followers = row_count;
        wanted := wanted - followers;
      end if;
      -- (A lease of no time leaves what was taken available.)
      exit when wanted = 0 or claimed < most_heads or until <= receive_in_full.now;
      most_heads := wanted;
    end loop;
    if claimed = 0 then
      -- Nothing from here to now, so the next call may start shortly before now; what commits later is for the near look.
      perform set_config(
        cursor_setting,
        format(
          '%s:%s:%s', source.queue_id, postbag.microseconds(greatest(start, receive_in_full.now - interval '1 s')), coalesce(cursor_note[3], 0)
        ),
        false
      );
    end if;
    exit when wanted = 0;
  end loop;

  if wanted = allowed then
    perform postbag.settle_pending(source.queue_id, receive_in_full.now);
  elsif wanted = 0 and source.receives_plainly and (source.group_mode = 'ordered' or (postbag.remembered(cursor_setting))[3] = 0) then
    perform set_config(cursor_setting, format('%s:%s', current_setting(cursor_setting), now_us), false);
  end if;
  if source.rate is not null and wanted < allowed then
    perform postbag.spend(source, '', allowed - wanted, receive_in_full.now);
  end if;
  if depth <> 'cursor' then
    took_us := postbag.microseconds(clock_timestamp()) - postbag.microseconds(started);
    look[2] := now_us + least(20 * took_us, longest_near_pause_us);
    if depth = 'full' then
      look[4] := took_us;
      look[5] := least(20 * took_us, greatest(4 * look[5], first_pause_us), longest_pause_us);
      look[3] := now_us + look[5];
      -- (In a transaction with a snapshot of its own, writing that row could fail for no reason of the caller's.)
      if took_us >= expensive_us and current_setting('transaction_isolation') = 'read committed' then
        perform postbag.announce_sweep(source.queue_id, source.top_priority, look[3], look[5]);
      end if;
    end if;
    perform set_config(look_setting, array_to_string(look, ':'), false);
  end if;
end
$$;
--! EndIncluded functions/receive_in_full.sql
--! Included functions/follow_heads.sql
/* postbag.follow_heads: after a claim took the heads of groups (noted in the setting postbag.heads): lease up to `wanted` of the messages
 * behind them, under the same lease, group by group and in order.
 *
 *  ordered  only behind a head that was handed out for the first time (after a failure a group goes one message at a time, so that those
 *           behind a message that cannot be done do not use up their attempts), up to the first that is delayed. They stay in line, at
 *           'infinity': if the lease ends, only the head is seen, and takes its followers' leases back.
 *  fair     behind every head. They leave the line: each is retried for itself. The next one becomes the head at commit. */
create or replace function postbag.follow_heads(
  source postbag.queue, wanted integer, until timestamptz, drawn_key integer, now timestamptz
)
returns setof postbag.delivery
language plpgsql
set enable_seqscan = off
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  heads constant jsonb := current_setting('postbag.heads')::jsonb;
  fresh text[] := array(select jsonb_array_elements_text(nullif(heads -> 0, 'null')));
  stale text[] := array(select jsonb_array_elements_text(nullif(heads -> 1, 'null')));
begin
  perform set_config('postbag.heads', '', true);
  if source.group_mode = 'fair' then
    fresh := fresh || stale;
    stale := '{}';
    insert into postbag.group_change (queue_id, groups, changed_at) values (source.queue_id, fresh, follow_heads.now);
  else
    perform postbag.release_followers(source.queue_id, returned.group_key, 0) from unnest(stale) as returned (group_key);
  end if;
  if source.group_rate is not null then
    perform postbag.spend(source, charged.group_key, 1, follow_heads.now) from unnest(fresh || stale) as charged (group_key);
  end if;
  -- Not in groups to which this transaction has sent: who is next there is decided when it commits.
  fresh := array(
    select given.group_key
    from unnest(fresh) with ordinality as given (group_key, number)
    where given.group_key not in (
      select joined.group_key
      from postbag.group_change as change
      cross join lateral unnest(change.groups) as joined (group_key)
      where change.xact = pg_current_xact_id() and change.queue_id = source.queue_id and change.arrived is not null
    )
    -- (In a fair queue a group may have been given out twice: its head, and one that is retried.)
    group by given.group_key
    order by min(given.number)
  );
  -- (Where groups have a rate limit, a receive takes one message of each.)
  if wanted = 0 or cardinality(fresh) = 0 or source.group_rate is not null then
    return;
  end if;

  return query
    with line as materialized (
      select
        candidate.place, candidate.message_id, turn.number, candidate.group_position,
        row_number() over (partition by turn.number order by candidate.group_position) as step,
        bool_and(candidate.is_ready) over (partition by turn.number order by candidate.group_position) as is_next
      from unnest(fresh) with ordinality as turn (group_key, number)
      cross join lateral (
        select
          message.ctid as place,
          message.message_id,
          message.group_position,
          source.group_mode = 'fair' or (
            (message.due_at is null or message.due_at <= follow_heads.now)
            and (message.expires_at is null or message.expires_at > follow_heads.now)
            and message.attempts = 0
          ) as is_ready
        from postbag.message
        where message.queue_id = source.queue_id
          and message.group_key = turn.group_key
          and message.group_position > 0
        order by message.group_position
        limit least(wanted, 2 * ceil(wanted::double precision / cardinality(fresh)))
      ) as candidate
    ),
    locked as materialized (
      select free.*
      from line
      cross join lateral (
        select message.ctid as place
        from postbag.message
        where message.queue_id = source.queue_id
          and message.ctid = line.place
          and (message.due_at is null or message.due_at <= follow_heads.now)
          and (message.expires_at is null or message.expires_at > follow_heads.now)
        for update skip locked
      ) as free
      where line.is_next
    ),
    -- Nobody is passed over: what could not be locked ends its line.
    next as materialized (
      select line.place, line.message_id, line.number, line.group_position
      from (
        select
          line.*,
          bool_and(locked.place is not null) over (partition by line.number order by line.group_position) as is_unbroken
        from line
        left join locked on locked.place = line.place
      ) as line
      where line.is_unbroken or (source.group_mode = 'fair' and line.place in (select locked.place from locked))
      -- One behind each head, then the next one behind each.
      order by line.step, line.number
      limit wanted
    ),
    leased as (
      update postbag.message
      set
        leased_until = until,
        attempts = message.attempts + 1,
        lease_key = drawn_key,
        first_received_at = coalesce(message.first_received_at, follow_heads.now),
        in_flight_until = case when source.max_in_flight is not null then until end,
        expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(until) else message.expires_at end,
        available_at = case when source.group_mode = 'fair' then follow_heads.now else message.available_at end,
        group_position = case when source.group_mode = 'ordered' then message.group_position end
      -- (By their places alone: the planner could walk the queue for a condition on it.)
      where message.ctid = any (array(select next.place from next))
      returning message.*
    )
    select
      leased.message_id::text,
      concat_ws('.', leased.message_id, leased.attempts, leased.lease_key),
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
      leased.deaths
    from leased
    join next on next.message_id = leased.message_id
    order by next.number, next.group_position;
end
$$;
--! EndIncluded functions/follow_heads.sql
--! Included functions/claim_newest.sql
/* postbag.claim_newest: what a claim is in a lifo queue: lease the `wanted` messages of one level that became available last. The mirror
 * of the cursor that functions/receive_in_full.sql tells of: the session notes between which times it found all taken, and looks at what came
 * after (from 2 s before, for commits that overtook each other) and what lies before; a full look sees all. */
create or replace function postbag.claim_newest(
  source postbag.queue, level integer, wanted integer, full_look boolean, until timestamptz, drawn_key integer, now timestamptz
)
returns setof postbag.delivery
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
  setting constant text := format('postbag.newest_%s_%s', source.queue_id % 256, level);
  -- {queue_id, from when on, until when all were taken}
  note bigint[] := postbag.remembered(setting);
  now_us constant bigint := postbag.microseconds(claim_newest.now);
  above timestamptz := '-infinity';
  below timestamptz := claim_newest.now;
  claimed integer;
begin
  if full_look or note[1] is distinct from source.queue_id or note[3] is null or note[3] > now_us then
    note := array[source.queue_id, null, now_us];
  else
    above := postbag.instant(note[3] - 2000000);
  end if;

  for part in 1 .. case when note[2] is null then 1 else 2 end loop
    return query
      with head as materialized (
        select message.ctid as place, message.available_at
        from postbag.message
        where message.queue_id = source.queue_id
          and message.priority = level
          and message.available_at >= above
          and message.available_at <= below
          and message.available_at < 'infinity'
          and (message.leased_until is null or message.leased_until <= claim_newest.now)
          and (message.expires_at is null or message.expires_at > claim_newest.now)
        order by message.available_at desc, message.message_id desc
        limit wanted
        for update skip locked
      ),
      leased as (
        update postbag.message
        set
          leased_until = until,
          attempts = message.attempts + 1,
          lease_key = drawn_key,
          first_received_at = coalesce(message.first_received_at, claim_newest.now),
          in_flight_until = case when source.max_in_flight is not null then until end,
          expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(until) else message.expires_at end
        from head
        where message.queue_id = source.queue_id and message.ctid = head.place
        returning message.*
      ),
      noted as (
        select set_config('postbag.oldest', postbag.microseconds(min(head.available_at))::text, true) from head having count(*) > 0
      )
      select
        leased.message_id::text,
        concat_ws('.', leased.message_id, leased.attempts, leased.lease_key),
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
        leased.deaths
      from leased, noted
      order by leased.available_at desc, leased.message_id desc;

    get diagnostics claimed = row_count;
    wanted := wanted - claimed;
    exit when wanted = 0;
    above := '-infinity';
    below := postbag.instant(note[2]);
  end loop;

  -- Either what was wanted was there, and all that came later is taken now; or there is nothing more at all.
  note[2] := case when wanted = 0 then current_setting('postbag.oldest')::bigint else 0 end;
  perform set_config(setting, format('%s:%s:%s', source.queue_id, note[2], now_us), false);
end
$$;
--! EndIncluded functions/claim_newest.sql
--! Included functions/search.sql
/* postbag.search: look at messages without taking them, in the order of their ids, max_messages (1 to 1000) of those after the id
 * `after` for which all that is given holds: state ('ready', 'leased', 'delayed', 'blocked', 'dead'), type, headers (all of them), group,
 * sent at least min_age and at most max_age ago, text in the body (of text and JSON, as it is stored), reason of a dead letter.
 * Changes nothing. A call looks at 10,000 messages at most; if there may be more, a last row holds nothing but `next`: the next call's
 * `after`, or null to go on after the last message of a full page. */
create or replace function postbag.search(
  queue text,
  max_messages integer default 10,
  after text default null,
  of_state text default null,
  of_type text default null,
  of_headers jsonb default null,
  of_group text default null,
  min_age interval default null,
  max_age interval default null,
  body_contains text default null,
  of_reason text default null,
  now timestamptz default clock_timestamp()
)
returns table (
  id text,
  state text,
  body text,
  encoding text,
  type text,
  content_type text,
  headers jsonb,
  priority integer,
  group_key text,
  attempts integer,
  last_error text,
  sent_at timestamptz,
  available_at timestamptz,
  first_received_at timestamptz,
  leased_until timestamptz,
  expires_at timestamptz,
  dead_at timestamptz,
  dead_reason text,
  deaths jsonb,
  next text
)
language plpgsql
stable
-- A plan made when the table was small would read all queues.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source constant postbag.queue := postbag.queue_named(search.queue);
  most_looked_at constant integer := 10000;
  found_messages bigint;
begin
  if source.is_volatile then
    return query select * from postbag.volatile_search(
      search.queue, search.max_messages, search.after, search.of_state, search.of_type, search.of_headers, search.of_group, search.min_age,
      search.max_age, search.body_contains, search.of_reason, search.now
    );
    return;
  end if;
  perform postbag.check_filter(max_messages, search.of_headers, search.of_reason);
  if after !~ '^[0-9]{1,18}$' then
    perform postbag.refuse('PB002', format('after must be the id of a message, got %L', after));
  elsif search.of_state not in ('ready', 'leased', 'delayed', 'blocked', 'dead') then
    perform postbag.refuse('PB002', format('state must be ready, leased, delayed, blocked or dead, got %L', search.of_state));
  end if;

  return query
    select
      message.message_id::text,
      seen.state,
      case when message.body is null then postbag.body_of(message.bytes, message.body_id) else message.body::text end,
      message.encoding::text,
      message.type::text,
      message.content_type::text,
      message.headers::jsonb,
      message.priority::integer,
      message.group_key::text,
      message.attempts,
      message.last_error,
      message.sent_at,
      case when message.available_at < 'infinity' then message.available_at else message.due_at end,
      message.first_received_at,
      message.leased_until,
      message.expires_at,
      message.dead_at,
      case when message.dead_at is not null then message.deaths -> -1 ->> 'reason' end,
      message.deaths,
      -- A full page goes on after its last message, any other after the last that was looked at.
      null::text
    from (
      select looked_at.*
      from postbag.message as looked_at
      where looked_at.queue_id = source.queue_id and looked_at.message_id > coalesce(search.after, '0')::bigint
      order by looked_at.message_id
      limit most_looked_at
    ) as message
    cross join lateral (
      select postbag.state_of(
        message.dead_at, message.group_position, message.leased_until, message.available_at, message.due_at, message.expires_at,
        search.now
      ) as state
    ) as seen
    where (search.of_type is null or message.type = search.of_type)
      and (search.of_headers is null or coalesce(message.headers, '{}') @> search.of_headers)
      and (search.of_group is null or message.group_key = search.of_group)
      and (search.min_age is null or message.sent_at <= search.now - search.min_age)
      and (search.max_age is null or message.sent_at >= search.now - search.max_age)
      and (search.body_contains is null or strpos(
        case when message.body_id is null then message.body else postbag.body_of(null, message.body_id) end, search.body_contains
      ) > 0)
      and (search.of_reason is null or (message.dead_at is not null and message.deaths -> -1 ->> 'reason' = search.of_reason))
      and seen.state = coalesce(search.of_state, seen.state)
      -- (What has expired is not there any more, though it may not have been removed yet.)
      and seen.state <> 'expired'
    order by message.message_id
    limit max_messages;
  get diagnostics found_messages = row_count;

  -- (The last row says how to go on. A full page goes on after its last message, any other after the last that was looked at.)
  if found_messages < max_messages then
    select max(looked_at.message_id) into next
    from (
      select message.message_id
      from postbag.message
      where message.queue_id = source.queue_id and message.message_id > coalesce(search.after, '0')::bigint
      order by message.message_id
      limit most_looked_at
    ) as looked_at
    having count(*) = most_looked_at;
    if next is null then
      return;
    end if;
  end if;
  id := null;
  return next;
end
$$;
--! EndIncluded functions/search.sql
--! Included functions/count_messages.sql
/* postbag.count_messages: count a queue's messages by state, at most 1,000,000 of them (all, where the queue limits them), or give back
 * the last count while it is fresh: a count of 10,000 messages or more is good for 20 times as long as it took, so that looking costs 5 %
 * of one core at most. What has expired is not counted, and the bytes of dead letters are not. */
create or replace function postbag.count_messages(source postbag.queue, now timestamptz, drawn_before bigint default null)
returns postbag.tally
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  few constant bigint := 10000;
  looked_at bigint;
  started constant timestamptz := clock_timestamp();
  known postbag.tally;
begin
  if source.is_volatile then
    return postbag.volatile_count_messages(source, count_messages.now, drawn_before);
  end if;
  select tally.* into known from postbag.tally where tally.queue_id = source.queue_id;
  if known.ready + known.leased + known.delayed + known.blocked + known.dead >= few
    and known.counted_at between count_messages.now - make_interval(secs => 20 * known.took_us / 1e6)
    and count_messages.now
  then
    return known;
  end if;

  -- (A send that makes room has drawn its own ids already.)
  select coalesce(drawn_before, case when is_called then last_value else 0 end) into known.newest_id from postbag.message_id;
  select
    count(*) filter (where counted.state = 'ready'),
    count(*) filter (where counted.state = 'leased'),
    count(*) filter (where counted.state = 'delayed'),
    count(*) filter (where counted.state = 'blocked'),
    count(*) filter (where counted.state = 'dead'),
    coalesce(sum(counted.size) filter (where counted.state not in ('dead', 'expired')), 0),
    min(counted.available_at) filter (where counted.state = 'ready'),
    count(*) = 1000000 and source.max_messages is null and source.max_bytes is null,
    count(*)
  into known.ready, known.leased, known.delayed, known.blocked, known.dead, known.bytes, known.oldest_ready_at, known.capped,
    looked_at
  from (
    select
      message.available_at,
      case
        when message.body_id is null then octet_length(coalesce(message.body, '')) + octet_length(coalesce(message.bytes, ''))
        else postbag.shared_size(message.body_id)
      end as size,
      postbag.state_of(
        message.dead_at, message.group_position, message.leased_until, message.available_at, message.due_at, message.expires_at,
        count_messages.now
      ) as state
    from postbag.message
    where message.queue_id = source.queue_id
    order by message.message_id
    limit case when source.max_messages is null and source.max_bytes is null then 1000000 end
  ) as counted;
  known.queue_id := source.queue_id;
  known.counted_at := count_messages.now;
  known.took_us := postbag.microseconds(clock_timestamp()) - postbag.microseconds(started);

  -- (In a transaction with a snapshot of its own, writing that row could fail for no reason of the caller's.)
  if current_setting('transaction_isolation') = 'read committed'
    and (looked_at >= few or source.max_messages is not null)
  then
    perform from postbag.tally where tally.queue_id = source.queue_id for update skip locked;
    if found then
      update postbag.tally
      set
        counted_at = known.counted_at, took_us = known.took_us, ready = known.ready, leased = known.leased,
        delayed = known.delayed, blocked = known.blocked, dead = known.dead, bytes = known.bytes,
        oldest_ready_at = known.oldest_ready_at, capped = known.capped, newest_id = known.newest_id
      where tally.queue_id = source.queue_id;
    end if;
  end if;
  return known;
end
$$;
--! EndIncluded functions/count_messages.sql
--! Included functions/make_room.sql
/* postbag.make_room: refuse (PB004) a send for which a queue with a limit of length has no room, or drop its oldest messages.
 *
 * Counting is dear, so it is done only when needed. Ids come from one sequence, so no more messages can have been added since the last
 * count than ids were drawn: while that leaves room, nothing is counted. Else a count counts as good for 20 times as long as it took,
 * if it was of 10,000 messages or more. So the limit is exact for a queue of fewer, except for what other transactions have not committed
 * yet; a longer one may exceed it by what is sent within that time. */
create or replace function postbag.make_room(
  target postbag.queue, messages jsonb, ids bigint[], first_ids bigint[], now timestamptz
)
returns void
language plpgsql
set enable_seqscan = off
as $$
declare
  -- Duplicates take no room.
  added constant bigint := (select count(*) from unnest(ids) with ordinality as given (id, place)
    where first_ids is null or first_ids[given.place] = given.id);
  added_bytes constant bigint := case when target.max_bytes is not null then (
    select coalesce(sum(
      case entry.message ->> 'encoding'
        when 'base64' then octet_length(decode(entry.message ->> 'body', 'base64'))
        else octet_length(postbag.content_of(entry.message))
      end
    ), 0)
    from jsonb_array_elements(messages) with ordinality as entry (message, place)
    where first_ids is null or first_ids[entry.place] = ids[entry.place]
  ) else 0 end;
  known postbag.tally;
  over bigint;
  over_bytes bigint;
  victims bigint[];
begin
  if added > target.max_messages or added_bytes > target.max_bytes then
    perform postbag.refuse('PB003', format(
      'messages must fit into queue "%s": it may hold %s, got %s', target.name,
      concat_ws(' and ', target.max_messages || ' messages', target.max_bytes || ' bytes'),
      concat_ws(' and ', added || ' messages', case when target.max_bytes is not null then added_bytes || ' bytes' end)
    ));
  end if;
  select tally.* into known from postbag.tally where tally.queue_id = target.queue_id;
  if target.max_bytes is null and not known.capped
    and known.ready + known.leased + known.delayed + known.blocked + (ids[cardinality(ids)] - known.newest_id) <= target.max_messages
  then
    return;
  end if;
  known := postbag.count_messages(target, make_room.now, ids[1] - 1);
  over := known.ready + known.leased + known.delayed + known.blocked + added - target.max_messages;
  over_bytes := known.bytes + added_bytes - target.max_bytes;
  if coalesce(over, 0) <= 0 and coalesce(over_bytes, 0) <= 0 then
    return;
  elsif target.overflow = 'reject' then
    perform postbag.refuse('PB004', case
      when over > 0 then format('queue "%s" is full: it may hold %s messages', target.name, target.max_messages)
      else format('queue "%s" is full: it may hold %s bytes', target.name, target.max_bytes)
    end);
  end if;

  -- The oldest that nobody owns, until both excesses are covered.
  select array_agg(oldest.message_id) into victims
  from (
    select
      candidate.message_id,
      row_number() over (order by candidate.message_id) as place,
      sum(candidate.size) over (order by candidate.message_id) - candidate.size as size_before
    from (
      select
        message.message_id,
        case
          when message.body_id is null then octet_length(coalesce(message.body, '')) + octet_length(coalesce(message.bytes, ''))
          else postbag.shared_size(message.body_id)
        end as size
      from postbag.message
      where message.queue_id = target.queue_id
        and (message.dead_at is null or message.available_at < 'infinity' or message.group_position is not null)
        and (message.leased_until is null or message.leased_until <= make_room.now)
      order by message.message_id
      limit greatest(least(over, 1000), case when over_bytes > 0 then 1000 else 1 end)
      for update skip locked
    ) as candidate
  ) as oldest
  where oldest.place <= over or oldest.size_before < over_bytes;
  if victims is null then
    perform postbag.refuse('PB004', format('queue "%s" is full, and all its messages are leased', target.name));
  end if;
  perform postbag.bury(target, victims, 'overflow', make_room.now);
  -- What is gone must not be dropped again for as long as the count is taken for fresh.
  update postbag.tally
  set
    ready = tally.ready - cardinality(victims),
    bytes = greatest(tally.bytes - greatest(over_bytes, 0), 0)
  where tally.queue_id = (
    select held.queue_id from postbag.tally as held where held.queue_id = target.queue_id for update skip locked
  );
end
$$;
--! EndIncluded functions/make_room.sql
--! Included functions/move_dead.sql
/* postbag.move_dead: dead letters of a queue go to others, in one statement: they stand in the one or in the others at every moment. The arrays
 * are parallel, a copy each: of which message, to which queue, and by which routing key of the queue's dead-letter exchange (null: not by
 * one). The first copy of a message keeps its id. */
create or replace function postbag.move_dead(
  source postbag.queue, copied_ids bigint[], target_ids bigint[], routing_keys text[], reason text, now timestamptz
)
returns void
language plpgsql
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
  places constant tid[] := postbag.places_of(source.queue_id, array(select distinct copied.id from unnest(copied_ids) as copied (id)));
  counted_ids bigint[];
  grouped jsonb;
begin
  with gone as (
    delete from postbag.message
    where message.ctid = any (places)
    returning message.*
  ),
  moved as (
    insert into postbag.message (
      queue_id, message_id, available_at, sent_at, priority, encoding, type, content_type, headers, last_error, group_key,
      group_position, expires_at, dead_at, deaths, body, bytes
    )
    select
      target.queue_id,
      case when copy.number = 1 then gone.message_id else nextval('postbag.message_id') end,
      case when gone.group_key is null or target.delivery_order = 'lifo' then move_dead.now else 'infinity' end,
      gone.sent_at, least(gone.priority, target.top_priority), gone.encoding, gone.type, gone.content_type,
      case
        when copy.routing_key is null then gone.headers::jsonb
        else postbag.published_headers(gone.headers::jsonb, source.dead_letter_exchange, copy.routing_key)
      end,
      gone.last_error, gone.group_key,
      case when gone.group_key is not null and target.delivery_order = 'fifo' then nextval('postbag.message_id') end,
      move_dead.now + target.ttl, move_dead.now,
      postbag.with_death(
        gone.deaths, source.name, reason, gone.last_error, gone.attempts, move_dead.now,
        case when copy.routing_key is not null then gone.headers::jsonb end
      ),
      case when gone.body_id is null then gone.body else postbag.body_of(null, gone.body_id) end, gone.bytes
    from gone
    join (
      select
        asked.message_id, asked.queue_id, asked.routing_key,
        row_number() over (partition by asked.message_id order by asked.queue_id) as number
      from unnest(copied_ids, target_ids, routing_keys) as asked (message_id, queue_id, routing_key)
    ) as copy on copy.message_id = gone.message_id
    join postbag.queue as target on target.queue_id = copy.queue_id
    order by gone.group_position nulls last, gone.message_id
    returning message.queue_id, message.message_id, message.group_key, message.group_position
  )
  select jsonb_agg(moved.*) filter (where moved.group_position > 0) into grouped from moved;

  select array_agg(known.queue_id) filter (where known.max_messages is not null) into counted_ids
  from postbag.queue as known
  where known.queue_id = any (target_ids);
  if counted_ids is not null then
    perform postbag.forget_count(counted_ids);
  end if;
  insert into postbag.group_change (queue_id, groups, arrived, changed_at)
  select moved.queue_id, array_agg(moved.group_key), array_agg(moved.message_id), move_dead.now
  from jsonb_to_recordset(grouped) as moved (queue_id bigint, message_id bigint, group_key text)
  group by moved.queue_id;
  perform postbag.wake(known.name) from postbag.queue as known where known.queue_id = any (target_ids) order by known.queue_id;
end
$$;
--! EndIncluded functions/move_dead.sql
--! Included functions/revive.sql
/* postbag.revive: dead letters of a queue become messages again, in `target` or where each came from (here, if that queue is gone), to be
 * received from start_at on, so many in a second; how many there were. Leaves those that another transaction holds. */
create or replace function postbag.revive(
  source postbag.queue, ids bigint[], target text, start_at timestamptz, rate double precision, now timestamptz
)
returns bigint
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  places constant tid[] := postbag.places_of(source.queue_id, ids);
  revived bigint[];
  joined_queues bigint[];
begin
  -- In one statement they leave this queue and stand in the other; a grouped one that stays here takes a new place, too.
  with free as materialized (
    select message.ctid as place
    from postbag.message
    where message.ctid = any (places)
      and message.dead_at is not null
      and (message.leased_until is null or message.leased_until <= revive.now)
    for update skip locked
  ),
  gone as (
    delete from postbag.message
    where message.ctid = any (array(select free.place from free))
    returning message.*
  ),
  due as materialized (
    select
      gone.*,
      (
        select death.value ->> 'queue'
        from jsonb_array_elements(gone.deaths) with ordinality as death (value, number)
        where death.value ->> 'queue' <> source.name
        order by death.number desc
        limit 1
      ) as origin,
      start_at + coalesce(make_interval(secs => (row_number() over (order by gone.dead_at, gone.message_id) - 1) / rate), '0 s')
        as back_at
    from gone
  ),
  born as (
    insert into postbag.message (
      queue_id, message_id, available_at, sent_at, first_received_at, priority, encoding, type, content_type, headers, last_error,
      group_key, group_position, due_at, expires_at, deaths, body, bytes
    )
    select
      there.queue_id, due.message_id,
      case when there.is_in_line then 'infinity' else due.back_at end,
      due.sent_at, due.first_received_at, least(due.priority, there.top_priority), due.encoding, due.type, due.content_type,
      due.headers, due.last_error, due.group_key,
      case when there.is_in_line then nextval('postbag.message_id') end,
      case when there.is_in_line then due.back_at end,
      due.back_at + there.ttl, due.deaths,
      case when due.body_id is null then due.body else postbag.body_of(null, due.body_id) end, due.bytes
    from due
    cross join lateral (
      select
        known.*,
        due.group_key is not null and known.delivery_order = 'fifo'
          -- (In a fair queue there is no order, so a delayed message waits for itself.)
          and (known.group_mode = 'ordered' or due.back_at <= revive.now) as is_in_line
      from postbag.queue as known
      where known.is_volatile = source.is_volatile and known.name in (coalesce(revive.target, due.origin, source.name), source.name)
      order by known.name <> coalesce(revive.target, due.origin, source.name)
      limit 1
    ) as there
    order by due.dead_at, due.message_id
    returning message.queue_id, message.message_id, message.group_key, message.group_position
  ),
  left_behind as (
    insert into postbag.group_change (queue_id, groups, changed_at)
    select source.queue_id, array_agg(due.group_key), revive.now from due where due.group_position = 0 having count(*) > 0
  ),
  joined as (
    insert into postbag.group_change (queue_id, groups, arrived, changed_at)
    select born.queue_id, array_agg(born.group_key), array_agg(born.message_id order by born.group_position), revive.now
    from born
    where born.group_position is not null
    group by born.queue_id
  )
  select array_agg(born.message_id), array_agg(distinct born.queue_id) into revived, joined_queues from born;
  if exists (select from postbag.queue as known where known.queue_id = any (joined_queues) and known.max_messages is not null) then
    perform postbag.forget_count(joined_queues);
  end if;
  perform postbag.wake(known.name) from postbag.queue as known where known.queue_id = any (joined_queues);
  return coalesce(cardinality(revived), 0);
end
$$;
--! EndIncluded functions/revive.sql
--! Included functions/settle_pending.sql
/* postbag.settle_pending: ask for heads, at the end of this transaction, in groups that another transaction left without one. Whose role may have
 * nothing to do with groups has none. */
create or replace function postbag.settle_pending(source_id bigint, now timestamptz)
returns void
language plpgsql
as $$
begin
  if not has_table_privilege('postbag.group_change', 'insert') or not has_table_privilege('postbag.group_pending', 'select') then
    return;
  end if;
  insert into postbag.group_change (queue_id, groups, changed_at)
  select source_id, array_agg(distinct waiting.group_key), settle_pending.now
  from (
    select pending.group_key from postbag.group_pending as pending where pending.queue_id = source_id limit 1000
  ) as waiting
  having count(*) > 0 and current_setting('transaction_isolation') = 'read committed';
end
$$;
--! EndIncluded functions/settle_pending.sql
--! Included functions/tidy_at_commit.sql
/* postbag.tidy_at_commit: what a session has done for a queue once a second, at the end of its transaction: tidy up to 1000 messages,
 * replies and shared bodies, name the heads that were left unnamed, and now and then forget traffic of long ago. */
create or replace function postbag.tidy_at_commit(tidied_id bigint, now timestamptz)
returns void
language plpgsql
as $$
declare
  tidied postbag.queue;
begin
  select known.* into tidied from postbag.queue as known where known.queue_id = tidied_id;
  if found then
    perform postbag.tidy(tidied, 1000, tidy_at_commit.now);
    perform postbag.forget_replies(tidied_id, 1000, tidy_at_commit.now);
  end if;
  -- (On while most of what is looked at is of no use.)
  for turn in 1 .. 10 loop
    exit when postbag.forget_bodies(100) < 50;
  end loop;
  perform postbag.settle_pending(tidied_id, tidy_at_commit.now);
  if random() < 1 / 60.0 then
    perform postbag.forget_traffic(tidied_id, tidy_at_commit.now);
  end if;
end
$$;
--! EndIncluded functions/tidy_at_commit.sql
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

  for tended in
    select known.* from postbag.queue as known where maintain.queue is null or known.name = maintain.queue order by known.queue_id
  loop
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
    forgotten_bodies := postbag.forget_bodies(max_messages);
    removed_orphans := postbag.remove_orphans(max_messages) + postbag.volatile_remove_orphans(max_messages);
  end if;
  delete from postbag.traffic where traffic.noted_at < maintain.now - interval '10 min';
  -- (Nothing of their burst is used up.)
  delete from postbag.flow where flow.spent_until < maintain.now;
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

select postbag.make_volatile_twins();
