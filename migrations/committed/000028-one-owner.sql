--! Previous: sha1:e67670fc66c140d5ad1f497f09ad5ecb7f9ecb89
--! Hash: sha1:32a0117c067e2b97a6fb16714eb3c00c5f204133
--! Message: one-owner

--! split: 1-current.sql
-- Holds that a group has one owner when the first of a lease is given back while an open transaction settles one behind it.

-- Whether receives of the queue take turns (functions/allowance.sql).
alter table postbag.queue
  add column takes_turns boolean not null
    generated always as (max_in_flight is not null or rate is not null or group_rate is not null and group_mode = 'fair') stored;

--! Included functions/arrived_here.sql
/* postbag.arrived_here: what this transaction has sent to groups of a queue. Nobody else sees it yet, and it may stand among what others have
 * committed. */
create or replace function postbag.arrived_here(source_id bigint)
returns bigint[]
language sql
stable
as $$
  select array(
    select joined.message_id
    from postbag.group_change as change
    cross join lateral unnest(change.arrived) as joined (message_id)
    where change.xact = pg_current_xact_id_if_assigned() and change.queue_id = source_id
  )
$$;
--! EndIncluded functions/arrived_here.sql
--! Included functions/leased_in_line.sql
/* postbag.leased_in_line: the messages of a group that stand behind `place` in its line and are leased, in its order, locked; those that
 * another transaction is settling at this moment are left to it. What was handed out stands at the front of a line, so the walk ends at
 * the first that never was. */
create or replace function postbag.leased_in_line(source_id bigint, group_key text, place bigint)
returns setof bigint
language plpgsql
set enable_seqscan = off
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  own_ids constant bigint[] := postbag.arrived_here(source_id);
  standing record;
begin
  for standing in
    select message.message_id, message.leased_until, message.first_received_at
    from postbag.message
    where message.queue_id = source_id
      and message.group_key = leased_in_line.group_key
      and message.group_position > place
    order by message.group_position
    for no key update skip locked
  loop
    exit when standing.first_received_at is null and not standing.message_id = any (own_ids);
    if standing.leased_until is not null then
      return next standing.message_id;
    end if;
  end loop;
end
$$;
--! EndIncluded functions/leased_in_line.sql
--! Included functions/lock_lines.sql
/* postbag.lock_lines: before a nack gives the first of several of a group back, and those behind it with it: lock all that it is about to change,
 * in the order of their ids, which waits for who is settling one of them. (It could not pass such a one over, as a receive does: rolled back
 * afterwards, that would be owned by one, and what stands before it by another.) Does nothing where nobody stands behind. */
create or replace function postbag.lock_lines(source_id bigint, receipts jsonb)
returns void
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
-- (Whose cost would look high enough to compile.)
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  group_keys text[];
  places bigint[];
  own_ids bigint[];
  follower_ids bigint[];
begin
  select array_agg(front.group_key), array_agg(front.place)
  into group_keys, places
  from (
    select mine.group_key, min(mine.group_position) as place
    from postbag.claims(receipts) as given
    cross join lateral (
      select message.group_key, message.group_position
      from postbag.message
      where message.queue_id = source_id
        and message.message_id = given.message_id
        and message.attempts = given.attempt
        and message.lease_key = given.lease_key
        and message.leased_until is not null
      limit 1
    ) as mine
    -- (Not further in: the planner would walk the index of groups for it.)
    where mine.group_position is not null
    group by mine.group_key
  ) as front;
  if group_keys is null then
    return;
  end if;

  own_ids := postbag.arrived_here(source_id);
  follower_ids := array(
    select follower.message_id
    from unnest(group_keys, places) as front (group_key, place)
    cross join lateral (
      select message.message_id
      from postbag.message
      where message.queue_id = source_id
        and message.group_key = front.group_key
        and message.group_position > front.place
        -- (As far as functions/leased_in_line.sql goes.)
        and message.group_position < coalesce(
          (
            select untouched.group_position
            from postbag.message as untouched
            where untouched.queue_id = source_id
              and untouched.group_key = front.group_key
              and untouched.group_position > front.place
              and untouched.first_received_at is null
              and not untouched.message_id = any (own_ids)
            order by untouched.group_position
            limit 1
          ),
          9223372036854775807
        )
        and message.leased_until is not null
    ) as follower
  );
  if cardinality(follower_ids) > 0 then
    perform from postbag.message
    where message.queue_id = source_id
      and message.message_id = any (follower_ids || array(select given.message_id from postbag.claims(receipts) as given))
    order by message.message_id
    for no key update;
  end if;
end
$$;
--! EndIncluded functions/lock_lines.sql
--! Included functions/nack.sql
/* postbag.nack: give messages back, to be received again after `delay` (0 s to a year; null: as the queue's retry policy says); `error`
 * says why and is kept with the message (its first 4000 characters). With dead_letter, or after the last of the queue's max_attempts,
 * they go to the dead letters instead, in the same transaction. In the caller's transaction; outcomes and order as for
 * postbag.ack; `alone` says that this call is the whole transaction: then the queue's relaxed durability counts.
 * `untried` says that nobody worked on them (a consumer that stops, say): then the attempt does not count.
 * The message becomes available at now + delay: behind what is waiting already. One of an ordered group keeps its place, and those
 * behind it that were taken under the same lease are given back, too; so this waits for a transaction that settles one of them. */
create or replace function postbag.nack(
  queue text,
  receipts jsonb,
  delay interval default null,
  error text default null,
  now timestamptz default clock_timestamp(),
  dead_letter boolean default false,
  untried boolean default false,
  alone boolean default false
)
returns table (receipt text, outcome text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source postbag.queue;
  claim record;
  outcomes text[];
  back_at timestamptz;
  nacked_group text;
  nacked_position bigint;
  -- Per ordered group the first that was given back.
  broken jsonb := '{}';
begin
  if postbag.is_restricted() then
    return query
      select settled.receipt, settled.outcome
      from json_to_recordset(postbag.as_granted('nack', nack.queue, jsonb_build_object(
        'receipts', nack.receipts, 'delay', nack.delay, 'error', nack.error, 'dead_letter', nack.dead_letter,
        'untried', nack.untried, 'alone', nack.alone
      ))) as settled (receipt text, outcome text);
    return;
  end if;
  source := postbag.queue_named(nack.queue);
  if source.is_volatile then
    return query select * from postbag.volatile_nack(
      nack.queue, nack.receipts, nack.delay, nack.error, nack.now, nack.dead_letter, nack.untried, nack.alone
    );
    return;
  end if;
  perform postbag.check_receipts(receipts);
  if nack.delay not between interval '0 s' and interval '31536000 s' then
    perform postbag.refuse('PB002', format(
      'delaySeconds must be between 0 and 31536000, got %s', extract(epoch from nack.delay)::double precision
    ));
  elsif nack.delay is not null and nack.dead_letter then
    perform postbag.refuse('PB002', 'delaySeconds must not be given with deadLetter, got both');
  elsif nack.untried and nack.dead_letter then
    perform postbag.refuse('PB002', 'untried must not be given with deadLetter, got both');
  end if;
  if alone and source.durability = 'relaxed' then
    perform set_config('synchronous_commit', 'off', true);
  end if;
  if source.group_mode = 'ordered' and not nack.dead_letter then
    perform postbag.lock_lines(source.queue_id, receipts);
  end if;

  for claim in
    select given.* from postbag.claims(receipts) as given order by given.message_id, given."position"
  loop
    back_at := nack.now + coalesce(nack.delay, postbag.retry_delay(source, claim.attempt, random()));
    update postbag.message
    set
      leased_until = null,
      in_flight_until = null,
      attempts = message.attempts - case when nack.untried then 1 else 0 end,
      available_at = case when message.group_position > 0 then message.available_at else back_at end,
      due_at = case when message.group_position > 0 then back_at end,
      expires_at = case when message.expires_at = postbag.last_moment(message.leased_until) then message.ttl_ends_at else message.expires_at end,
      last_error = coalesce(left(nack.error, 4000), message.last_error)
    where message.queue_id = source.queue_id
      and message.message_id = claim.message_id
      and message.attempts = claim.attempt
      and message.lease_key = claim.lease_key
      and message.leased_until is not null
    returning message.group_key, message.group_position into nacked_group, nacked_position;
    if not found then
      outcomes[claim."position"] := postbag.refusal(source.queue_id, claim.message_id, claim.attempt, claim.lease_key);
      continue;
    end if;
    outcomes[claim."position"] := 'ok';
    if nack.dead_letter then
      perform postbag.bury(source, array[claim.message_id], 'rejected', nack.now);
    elsif claim.attempt >= source.max_attempts and not nack.untried then
      perform postbag.bury(source, array[claim.message_id], 'attempts', nack.now);
    elsif nacked_position is not null then
      broken := broken || jsonb_build_object(
        nacked_group, least((broken ->> nacked_group)::bigint, nacked_position)
      );
    end if;
  end loop;
  perform postbag.release_followers(source.queue_id, given_back.key, given_back.value::bigint)
  from jsonb_each_text(broken) as given_back;
  -- (The head before one that was given back may go at the same time; who acks it could not make this one the head while we hold it.)
  if broken <> '{}' then
    insert into postbag.group_change (queue_id, groups, changed_at)
    select source.queue_id, array_agg(given_back.key), nack.now
    from jsonb_each_text(broken) as given_back
    where given_back.value::bigint > 0
    having count(*) > 0;
  end if;
  perform postbag.wake(source.name);

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/nack.sql
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
    known.queue_id, known.is_volatile, known.receives_plainly, known.takes_turns, known.group_mode, known.durability, known.max_attempts,
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
 *  5. A claim that got all it wanted opens the short way of postbag.receive, until the fifth of a second is over; and a session that has no
 *     note about the queue begins there.
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
  expensive_us constant bigint := 2000;
  longest_pause_us constant bigint := 60000000;

  -- What this session noted: {queue_id, near look due, full look due, last full look took, pause after it, tidying due}, in
  -- microseconds.
  look bigint[] := postbag.remembered(source.look_setting);
  depth text := 'cursor';
  shared postbag.sweep;
  -- {queue_id, when the short way of postbag.receive was opened, how many heads of groups were met, lowest available_at claimed}: one setting
  -- per priority.
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
  if source.takes_turns then
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
    perform postbag.tidy_now_and_then(source.queue_id, receive_in_full.now);
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
      when cursor_note[1] is distinct from source.queue_id or cursor_note[4] is null or cursor_note[4] > now_us then
        case when depth = 'near' then coalesce(shared.start_at, '-infinity') else '-infinity' end
      when depth = 'near' then least(postbag.instant(cursor_note[4] - 2000000), shared.start_at)
      else postbag.instant(cursor_note[4])
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
        -- (Of a group with a rate one at a time: in a fair queue there may be several, its head and those that are retried.)
        chosen as materialized (
          select one.*
          from (select head.*, row_number() over (partition by head.group_key order by head.available_at) as turn from head) as one
          where one.group_key is null or source.group_rate is null
            -- (Whose turn came after functions/put_off_groups.sql looked, or lay beyond it, may have used up its rate.)
            or one.turn = 1 and not postbag.has_used_up(source, one.group_key, receive_in_full.now)
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
          from chosen
          where message.queue_id = source.queue_id and message.ctid = chosen.place
          returning message.*
        ),
        noted as (
          select
            set_config(
              cursor_setting,
              format('%s:0:%s:%s', source.queue_id, count(chosen.group_key), postbag.microseconds(min(chosen.available_at))),
              false
            ),
            case when count(chosen.group_key) > 0 then set_config(
              'postbag.heads',
              jsonb_build_array(
                jsonb_agg(chosen.group_key) filter (where chosen.group_key is not null and chosen.attempts = 0),
                jsonb_agg(chosen.group_key) filter (where chosen.group_key is not null and chosen.attempts > 0)
              )::text,
              true
            ) end
          from chosen
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
          '%s:0:%s:%s', source.queue_id, coalesce(cursor_note[3], 0), postbag.microseconds(greatest(start, receive_in_full.now - interval '1 s'))
        ),
        false
      );
    end if;
    exit when wanted = 0;
  end loop;

  if wanted = allowed then
    perform postbag.settle_pending(source.queue_id, receive_in_full.now);
  elsif wanted = 0 and source.receives_plainly then
    cursor_note := postbag.remembered(cursor_setting);
    if source.group_mode = 'ordered' or cursor_note[3] = 0 then
      perform set_config(
        cursor_setting, concat_ws(':', source.queue_id, (date_part('epoch', receive_in_full.now) * 5)::bigint, cursor_note[3], cursor_note[4]), false
      );
    end if;
  end if;
  if source.rate is not null and wanted < allowed then
    perform postbag.spend(source, '', allowed - wanted, receive_in_full.now);
  end if;
  if depth <> 'cursor' then
    perform postbag.note_look(source.queue_id, source.top_priority, look, depth = 'full', started, receive_in_full.now);
  end if;
end
$$;
--! EndIncluded functions/receive_in_full.sql
--! Included functions/declare_exchange.sql
/* postbag.declare_exchange: create an exchange, or find it just as it is declared; `created` says which. PB011, with the difference, if
 * there is one of that name that is not like this: what is bound to it relies on what it is.
 *   type        direct | topic | fanout | headers | hash: see functions/route.sql
 *   alternate   the exchange that gets what no binding of this one matches; it may be declared later
 * The name "default" is taken: that exchange is always there (functions/route.sql). Two callers at once: both find the same one. */
create or replace function postbag.declare_exchange(
  exchange text, type text default 'direct', alternate text default null, now timestamptz default clock_timestamp()
)
returns table (created boolean, created_at timestamptz)
language plpgsql
as $$
#variable_conflict use_column
declare
  present postbag.exchange;
  is_new boolean;
begin
  if declare_exchange.exchange = 'default' then
    perform postbag.refuse('PB002', 'exchange must be another than default, which is always there, got default');
  end if;
  insert into postbag.exchange (name, type, alternate, created_at)
  values (declare_exchange.exchange, declare_exchange.type, declare_exchange.alternate, declare_exchange.now)
  on conflict (name) do nothing;
  is_new := found;
  present := postbag.exchange_named(declare_exchange.exchange);
  if present.type <> declare_exchange.type then
    perform postbag.refuse('PB011', format(
      'type of exchange "%s" must be %s, as it was declared, got %s', present.name, present.type, declare_exchange.type
    ));
  elsif present.alternate is distinct from declare_exchange.alternate then
    perform postbag.refuse('PB011', format(
      'alternate of exchange "%s" must be %s, as it was declared, got %s',
      present.name, coalesce(present.alternate, 'none'), coalesce(declare_exchange.alternate, 'none')
    ));
  end if;
  return query select is_new, present.created_at;
end
$$;
--! EndIncluded functions/declare_exchange.sql
--! Included functions/check_definitions.sql
/* postbag.check_definitions: refuse what is not definitions at all, or says of one name two things (PB002), or too many of them (PB003). */
create or replace function postbag.check_definitions(definitions jsonb, lists text[])
returns void
language plpgsql
immutable
as $$
declare
  list record;
  total integer := 0;
  named_twice text;
begin
  if jsonb_typeof(definitions) is distinct from 'object' then
    perform postbag.refuse('PB002', format('definitions must be an object, got %s', coalesce(left(definitions::text, 80), 'nothing')));
  end if;
  for list in select given.key as name, given.value as elements from jsonb_each(definitions) as given loop
    if list.name <> all (lists) then
      perform postbag.refuse('PB002', format(
        'definitions has the unknown field %s: known are %s', left(list.name, 80), array_to_string(lists, ', ')
      ));
    elsif jsonb_typeof(list.elements) <> 'array' then
      perform postbag.refuse('PB002', format('%s must be an array, got %s', list.name, left(list.elements::text, 80)));
    elsif exists (select from jsonb_array_elements(list.elements) as element where jsonb_typeof(element.value) <> 'object') then
      perform postbag.refuse('PB002', format('%s must be an array of objects', list.name));
    end if;
    select min(element.value ->> 'name') into named_twice
    from jsonb_array_elements(list.elements) as element
    group by element.value ->> 'name'
    having count(distinct element.value) > 1
    limit 1;
    if named_twice is not null then
      perform postbag.refuse('PB002', format(
        '%s must have each name once, or say the same of it, got "%s" with different settings', list.name, left(named_twice, 80)
      ));
    end if;
    total := total + jsonb_array_length(list.elements);
  end loop;
  if total > 10000 then
    perform postbag.refuse('PB003', format('definitions must be at most 10000 in all, got %s', total));
  end if;
end
$$;
--! EndIncluded functions/check_definitions.sql
--! Included functions/make_volatile_twins.sql
/* postbag.make_volatile_twins: write every function that touches messages a second time, for the tables of volatile queues:
 * postbag.receive becomes postbag.volatile_receive, and postbag.message in it postbag.volatile_message. So there is one source, plans
 * stay fixed (a table that is named at run time would be planned anew in every call), and durable queues pay one comparison.
 * Every migration that changes one of these functions ends with a call of this one. */
create or replace function postbag.make_volatile_twins()
returns void
language plpgsql
as $$
declare
  verbs constant text[] := '{send_batch,send_in_full,send_to_groups,deduplicate,make_room,count_messages,bury,dead_letter_ways,move_dead,stand_last,tidy,receive,receive_in_full,is_clean,receive_and_ack,claim_newest,
    follow_heads,leased_in_line,lock_lines,release_followers,extend_companions,put_off_groups,allowance,ack,nack,extend,refusal,order_groups,name_heads,search,
    purge,next_available_at,redrive,dead_letters,places_of,revive,remove_orphans,forget_dedup_ids,forget_queue,delete_queue}';
  names constant text := array_to_string(verbs, '|');
  original record;
  twin text;
begin
  for original in
    select pg_proc.proname as name, pg_get_functiondef(pg_proc.oid) as source
    from pg_catalog.pg_proc
    where pg_proc.pronamespace = 'postbag'::regnamespace and pg_proc.proname = any (verbs)
  loop
    -- Its calls of the others, its own parameters (they go by its name, too), its tables, and the turn to its twin.
    twin := regexp_replace(original.source, format('\mpostbag\.(%s)\(', names), 'postbag.volatile_\1(', 'g');
    twin := regexp_replace(twin, format('\m(%s\.[a-z])', original.name), 'volatile_\1', 'g');
    twin := replace(twin, $text$nextval('postbag.message_id')$text$, 'postbag.next_volatile_id()');
    twin := replace(twin, $text$currval('postbag.message_id')$text$, 'postbag.last_volatile_id()');
    twin := regexp_replace(twin, '(?<!SETOF )\mpostbag\.(message|dedup)\M(?! as)(?!'')', 'postbag.volatile_\1 as \1', 'g');
    twin := regexp_replace(twin, '\mpostbag\.(message_id|dedup|message)\M', 'postbag.volatile_\1', 'g');
    execute regexp_replace(twin, '\m\w+\.is_volatile then', 'false then', 'g');
  end loop;
end
$$;
--! EndIncluded functions/make_volatile_twins.sql
select postbag.make_volatile_twins();
