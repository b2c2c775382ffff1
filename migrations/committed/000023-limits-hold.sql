--! Previous: sha1:a6ceacc2b8f1368103f0deec41da15eb842330f8
--! Hash: sha1:a6b841a3121685ea514787b43dd36f5e87fe4e18
--! Message: limits-hold

--! split: 1-current.sql
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
  dropped_bytes bigint;
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
  select array_agg(oldest.message_id), sum(oldest.size) into victims, dropped_bytes
  from (
    select
      candidate.message_id, candidate.size,
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
        -- (Else it takes no room: it is dead, or expired, and tidied up as that.)
        and (message.expires_at is null or message.expires_at > make_room.now)
      order by message.message_id
      limit greatest(least(over, 1000), case when over_bytes > 0 then 1000 else 1 end)
      for update skip locked
    ) as candidate
  ) as oldest
  where oldest.place <= over or oldest.size_before < over_bytes;
  -- (Where there is more than may be, because the limit was lowered, a send must not add to it.)
  if victims is null or cardinality(victims) < least(over, added) or dropped_bytes < least(over_bytes, added_bytes) then
    perform postbag.refuse('PB004', format(
      'queue "%s" is full, and %s its messages are leased', target.name, case when victims is null then 'all' else 'too many of' end
    ));
  end if;
  perform postbag.bury(target, victims, 'overflow', make_room.now);
  -- What is gone must not be dropped again for as long as the count is taken for fresh.
  if current_setting('transaction_isolation') <> 'read committed' then
    return;
  end if;
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
--! Included functions/inbox.sql
/* postbag.inbox: note that a consumer has seen a message; true the first time, false after that (for as long as `keep` says, up to a
 * year). For a consumer whose work is in this database and whose queue is in another one: call it in the transaction of the work, and do the
 * work only if it is true. Two transactions with the same message: the second waits for the first, and is the first if that rolls back. */
create or replace function postbag.inbox(
  consumer text, message_id text, keep interval default '7 days', now timestamptz default clock_timestamp()
)
returns boolean
language plpgsql
as $$
declare
  is_first boolean;
begin
  if inbox.keep is null or inbox.keep not between interval '1 s' and interval '31536000 s' then
    perform postbag.refuse('PB002', format('keep must be between 1 and 31536000 seconds, got %s', coalesce(inbox.keep::text, 'null')));
  end if;
  insert into postbag.inbox as known (consumer, message_id, expires_at)
  values (inbox.consumer, inbox.message_id, inbox.now + inbox.keep)
  on conflict on constraint inbox_pkey do update set expires_at = excluded.expires_at where known.expires_at <= inbox.now;
  is_first := found;
  -- About once per 256 messages, so that the deletion costs a call next to nothing; not in a transaction with a snapshot of its own, where it could
  -- fail for no reason of the caller's.
  if is_first and random() < 1 / 256.0 and current_setting('transaction_isolation') = 'read committed' then
    delete from postbag.inbox as known
    where known.ctid = any (array(
      select old.ctid from postbag.inbox as old
      where old.expires_at < inbox.now - interval '1 hour' order by old.expires_at limit 1024 for update skip locked
    ));
  end if;
  return is_first;
end
$$;
--! EndIncluded functions/inbox.sql
--! Included functions/move_dead.sql
/* postbag.move_dead: dead letters of a queue go to others, in one statement: they stand in the one or in the others at every moment. The arrays
 * are parallel, a copy each: of which message, to which queue, and by which routing key of the queue's dead-letter exchange (null: not by
 * one). The first copy of a message keeps its id. One whose queues have all been deleted meanwhile stays where it is. */
create or replace function postbag.move_dead(
  source postbag.queue, copied_ids bigint[], target_ids bigint[], routing_keys text[], reason text, now timestamptz
)
returns void
language plpgsql
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
  drawn bigint;
  moved_ids bigint[];
  grouped jsonb;
begin
  with copy as materialized (
    select
      asked.message_id, asked.queue_id, asked.routing_key,
      row_number() over (partition by asked.message_id order by asked.queue_id) as number
    from unnest(copied_ids, target_ids, routing_keys) as asked (message_id, queue_id, routing_key)
    join postbag.queue as known on known.queue_id = asked.queue_id
  ),
  gone as (
    delete from postbag.message
    -- (As functions/places_of.sql does it, but in this statement, to which the same queues are there.)
    where message.ctid = any (array(
      select found_one.place
      from (select distinct copy.message_id from copy) as wanted
      cross join lateral (
        select message.ctid as place
        from postbag.message
        where message.queue_id = source.queue_id and message.message_id = wanted.message_id
        limit 1
      ) as found_one
    ))
    returning message.*
  ),
  placed as materialized (
    select copy.*, case when copy.number = 1 then copy.message_id else nextval('postbag.message_id') end as new_id from copy
  ),
  -- A large body of several copies is stored once, as that of a publish (functions/publish_plainly.sql).
  shared as materialized (
    select gone.message_id, postbag.share_body(own.body, many.queue_ids, many.new_ids) as body_id
    from gone
    join (
      select placed.message_id, array_agg(placed.queue_id) as queue_ids, array_agg(placed.new_id) as new_ids
      from placed
      group by placed.message_id
      having count(*) > 1
    ) as many on many.message_id = gone.message_id
    cross join lateral (
      select case when gone.body_id is null then gone.body::text else postbag.body_of(null, gone.body_id) end as body
    ) as own
    where octet_length(own.body) >= 8000 and not source.is_volatile
  ),
  moved as (
    insert into postbag.message (
      queue_id, message_id, available_at, sent_at, priority, encoding, type, content_type, headers, last_error, group_key,
      group_position, expires_at, ttl_ends_at, dead_at, deaths, body, bytes, body_id
    )
    select
      target.queue_id,
      copy.new_id,
      case when gone.group_key is null or target.delivery_order = 'lifo' then move_dead.now else 'infinity' end,
      gone.sent_at, least(gone.priority, target.top_priority), gone.encoding, gone.type, gone.content_type,
      case
        when copy.routing_key is null then gone.headers::jsonb
        else postbag.published_headers(gone.headers::jsonb, source.dead_letter_exchange, copy.routing_key)
      end,
      gone.last_error, gone.group_key,
      case when gone.group_key is not null and target.delivery_order = 'fifo' then nextval('postbag.message_id') end,
      move_dead.now + target.ttl, move_dead.now + target.ttl, move_dead.now,
      postbag.with_death(
        gone.deaths, source.name, reason, gone.last_error, gone.attempts, move_dead.now,
        case when copy.routing_key is not null then gone.headers::jsonb end
      ),
      case
        when shared.body_id is not null then null
        when gone.body_id is null then gone.body
        else postbag.body_of(null, gone.body_id)
      end,
      gone.bytes, shared.body_id
    from gone
    join placed as copy on copy.message_id = gone.message_id
    join postbag.queue as target on target.queue_id = copy.queue_id
    left join shared on shared.message_id = gone.message_id
    order by gone.group_position nulls last, gone.message_id
    returning message.queue_id, message.message_id, message.group_key, message.group_position
  )
  select jsonb_agg(moved.*) filter (where moved.group_position > 0), array_agg(moved.queue_id) into grouped, moved_ids from moved;

  -- Where messages are counted no more can have been added than ids were drawn (functions/make_room.sql): these have brought theirs along.
  select count(nextval('postbag.message_id')) into drawn
  from unnest(moved_ids) as target (queue_id)
  join postbag.queue as known on known.queue_id = target.queue_id
  where known.max_messages is not null;
  insert into postbag.group_change (queue_id, groups, arrived, changed_at)
  select moved.queue_id, array_agg(moved.group_key), array_agg(moved.message_id), move_dead.now
  from jsonb_to_recordset(grouped) as moved (queue_id bigint, message_id bigint, group_key text)
  group by moved.queue_id;
  perform postbag.wake(known.name) from postbag.queue as known where known.queue_id = any (target_ids) order by known.queue_id;
end
$$;
--! EndIncluded functions/move_dead.sql
--! Included functions/revive.sql
/* postbag.revive: dead letters of a queue become messages again, in `target` or where each died (here, if that was here or its queue is gone), to be
 * received from start_at on, so many in a second; how many there were. Leaves those that another transaction holds. One that stays in its
 * queue keeps its shared body, and is the same event to an endpoint; one that goes to another takes a body of its own along. */
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
  drawn bigint;
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
      gone.deaths -> -1 ->> 'queue' as origin,
      start_at + coalesce(make_interval(secs => (row_number() over (order by gone.dead_at, gone.message_id) - 1) / rate), '0 s')
        as back_at
    from gone
  ),
  born as (
    insert into postbag.message (
      queue_id, message_id, available_at, sent_at, first_received_at, priority, encoding, type, content_type, headers, last_error,
      group_key, group_position, due_at, expires_at, ttl_ends_at, deaths, body, bytes, body_id
    )
    select
      there.queue_id, due.message_id,
      case when there.is_in_line then 'infinity' else due.back_at end,
      due.sent_at, due.first_received_at, least(due.priority, there.top_priority), due.encoding, due.type, due.content_type,
      due.headers, due.last_error, due.group_key,
      case when there.is_in_line then nextval('postbag.message_id') end,
      case when there.is_in_line then due.back_at end,
      due.back_at + there.ttl, due.back_at + there.ttl, due.deaths,
      case when due.body_id is null or there.queue_id = source.queue_id then due.body else postbag.body_of(null, due.body_id) end,
      due.bytes, case when there.queue_id = source.queue_id then due.body_id end
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
  select array_agg(born.message_id), array_agg(born.queue_id) into revived, joined_queues from born;
  -- (As functions/move_dead.sql does.)
  select count(nextval('postbag.message_id')) into drawn
  from unnest(joined_queues) as target (queue_id)
  join postbag.queue as known on known.queue_id = target.queue_id
  where known.max_messages is not null;
  perform postbag.wake(known.name) from postbag.queue as known where known.queue_id = any (joined_queues);
  return coalesce(cardinality(revived), 0);
end
$$;
--! EndIncluded functions/revive.sql
--! Included functions/has_used_up.sql
/* postbag.has_used_up: whether a group has used up its rate, by the snapshot of the statement that asks. (A function of its own, because whoever may run a
 * statement needs all rights that stand in it, and only queues with rates take those on flow.) */
create or replace function postbag.has_used_up(source postbag.queue, group_key text, now timestamptz)
returns boolean
language sql
stable
return exists (
  select from postbag.flow
  where flow.queue_id = source.queue_id and flow.group_key = has_used_up.group_key
    and flow.spent_until > has_used_up.now
      + make_interval(secs => (coalesce(source.group_burst, greatest(ceil(source.group_rate), 1)) - 1) / source.group_rate)
);
--! EndIncluded functions/has_used_up.sql
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
  if source.max_in_flight is not null or source.rate is not null or source.group_rate is not null and source.group_mode = 'fair' then
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

select postbag.make_volatile_twins();
drop function postbag.forget_count(bigint[]);
