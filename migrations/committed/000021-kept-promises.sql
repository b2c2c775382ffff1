--! Previous: sha1:8bbba84dab6dab78264ee6f3e5bf62b9781c5c67
--! Hash: sha1:767d84bddeaaf7a239acc6aed47674f0f447997a
--! Message: kept-promises

--! split: 1-current.sql
/* What a message's time to live was, for when the lease of its last attempt, whose end stood in its place, is given back.
 * (Null in what was sent before: that has none then, as it had.) */
alter table postbag.message add column ttl_ends_at timestamptz;
alter table postbag.volatile_message add column ttl_ends_at timestamptz;
--! Included functions/send_in_full.sql
/* postbag.send_in_full: what postbag.send_batch does for messages and queues of every kind. (That one does by itself only what is plain.)
 * Of messages that share a body with others (functions/publish_to_each.sql), `body_ids` says which, by their places; who calls stores it. */
create or replace function postbag.send_in_full(
  queue text, messages jsonb, now timestamptz default clock_timestamp(), alone boolean default false, body_ids bigint[] default null
)
returns table (id text, duplicate boolean)
language plpgsql
as $$
declare
  target postbag.queue := postbag.queue_named(send_in_full.queue);
  ids bigint[];
  -- Per message the id that its dedupId stands for; null where no message has one.
  first_ids bigint[];
begin
  perform postbag.check_messages(messages);
  if alone and target.durability = 'relaxed' then
    perform set_config('synchronous_commit', 'off', true);
  end if;
  ids := array(select nextval('postbag.message_id') from generate_series(1, jsonb_array_length(messages)));
  if target.dedup_by = 'content' or messages @? '$[*].dedupId' then
    first_ids := postbag.deduplicate(target, messages, ids, send_in_full.now);
  end if;
  if target.max_messages is not null or target.max_bytes is not null then
    perform postbag.make_room(target, messages, ids, first_ids, send_in_full.now);
  end if;

  insert into postbag.message (
    queue_id, message_id, available_at, sent_at, priority, encoding, type, content_type, headers, group_key, group_position,
    due_at, expires_at, body, bytes, body_id, ttl_ends_at
  )
  select stored.*, stored.expires_at
  from (
    select
      target.queue_id as queue_id,
      ids[sent.position] as message_id,
      -- In a group it waits in line. Who commits first becomes the head, and is available at its time. (In a fair queue there is no order,
      -- so a delayed message waits for itself.)
      case when timed.is_in_line then 'infinity' else timed.due_at end as available_at,
      send_in_full.now as sent_at,
      case
        when sent.priority is null then 0
        when sent.priority between 0 and target.max_priority then sent.priority
        else postbag.refuse('PB002', format(
          'priority must be between 0 and %s, the maxPriority of queue "%s", got %s',
          target.max_priority, target.name, sent.priority
        ))::smallint
      end as priority,
      coalesce(sent.encoding, 'json') as encoding,
      sent.type as type,
      sent."contentType" as content_type,
      case
        when sent.headers is null or postbag.is_string_map(sent.headers)
          then postbag.fields_in_headers(sent.headers, sent."correlationId", sent."replyTo")
        else postbag.refuse('PB002', format('headers must be an object of strings, got %s', sent.headers))::jsonb
      end as headers,
      sent."group" as group_key,
      case
        when sent."group" is null then null
        when target.delivery_order = 'fifo' then case when timed.is_in_line then ids[sent.position] end
        else postbag.refuse('PB002', format(
          'group must not be given for queue "%s", whose order is lifo, got %s', target.name, sent."group"
        ))::bigint
      end as group_position,
      case when timed.is_in_line then timed.due_at end as due_at,
      case
        when sent."ttlSeconds" is not null or target.ttl is not null
          then postbag.expiry(timed.due_at, sent."ttlSeconds", target.ttl)
      end as expires_at,
      case
        when body_ids[sent.position] is not null then null
        when coalesce(sent.encoding, 'json') = 'json' then coalesce(sent.json::json::text, sent.body::text, 'null')
        when sent.encoding = 'text' then postbag.string_of(sent.body)
      end as body,
      case
        when sent.encoding = 'base64' and body_ids[sent.position] is null then decode(postbag.string_of(sent.body), 'base64')
      end as bytes,
      body_ids[sent.position] as body_id
    from rows from (
      jsonb_to_recordset(messages) as (
        body jsonb, json text, encoding text, type text, "contentType" text, headers jsonb, priority integer,
        "delaySeconds" double precision, "availableAt" timestamptz, "ttlSeconds" double precision, "group" text,
        "correlationId" text, "replyTo" text
      )
    ) with ordinality as sent (
      body, json, encoding, type, "contentType", headers, priority, "delaySeconds", "availableAt", "ttlSeconds", "group",
      "correlationId", "replyTo", position
    )
    cross join lateral (
      select
        due.at as due_at,
        sent."group" is not null and (target.group_mode = 'ordered' or due.at <= send_in_full.now) as is_in_line
      from (select postbag.availability(send_in_full.now, sent."delaySeconds", sent."availableAt", target.delay) as at) as due
    ) as timed
    where first_ids is null or first_ids[sent.position] = ids[sent.position]
    order by sent.position
    offset 0
  ) as stored
  where postbag.keeps_rules(
    stored.encoding, stored.type, stored.content_type, stored.headers, stored.group_key, stored.body, stored.bytes
  );

  if messages @? '$[*].group' then
    perform postbag.note_arrivals(target.queue_id, messages, ids, first_ids, send_in_full.now);
  end if;
  if not postbag.is_counted(target.sent_setting, target.queue_id, jsonb_array_length(messages), send_in_full.now) then
    perform postbag.tick('sent', target.queue_id, jsonb_array_length(messages), send_in_full.now);
  end if;

  if postbag.is_awaited(target.wake_slot) then
    perform postbag.wake(send_in_full.queue);
  end if;

  return query
    select coalesce(first_ids[place], ids[place])::text, first_ids is not null and first_ids[place] <> ids[place]
    from generate_subscripts(ids, 1) as place;
end
$$;
--! EndIncluded functions/send_in_full.sql
--! Included functions/revive.sql
/* postbag.revive: dead letters of a queue become messages again, in `target` or where each came from (here, if that queue is gone), to be
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
  select array_agg(born.message_id), array_agg(distinct born.queue_id) into revived, joined_queues from born;
  if exists (select from postbag.queue as known where known.queue_id = any (joined_queues) and known.max_messages is not null) then
    perform postbag.forget_count(joined_queues);
  end if;
  perform postbag.wake(known.name) from postbag.queue as known where known.queue_id = any (joined_queues);
  return coalesce(cardinality(revived), 0);
end
$$;
--! EndIncluded functions/revive.sql
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
  counted_ids bigint[];
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
--! Included functions/nack.sql
/* postbag.nack: give messages back, to be received again after `delay` (0 s to a year; null: as the queue's retry policy says); `error`
 * says why and is kept with the message (its first 4000 characters). With dead_letter, or after the last of the queue's max_attempts,
 * they go to the dead letters instead, in the same transaction. In the caller's transaction; outcomes and order as for
 * postbag.ack; `alone` says that this call is the whole transaction: then the queue's relaxed durability counts.
 * `untried` says that nobody worked on them (a consumer that stops, say): then the attempt does not count.
 * The message becomes available at now + delay: behind what is waiting already. One of an ordered group keeps its place, and those
 * behind it that were taken under the same lease are given back, too. */
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
--! Included functions/release_followers.sql
/* postbag.release_followers: take back the leases of those that stand behind `place` in the line of a group, because a message before
 * them was given back or is handed out anew: they are next only after it, and this attempt does not count. */
create or replace function postbag.release_followers(source_id bigint, group_key text, place bigint)
returns void
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  follower_id bigint;
begin
  for follower_id in select * from postbag.leased_in_line(source_id, release_followers.group_key, place) loop
    update postbag.message
    set
      leased_until = null,
      in_flight_until = null,
      attempts = message.attempts - 1,
      expires_at = case when message.expires_at = postbag.last_moment(message.leased_until) then message.ttl_ends_at else message.expires_at end
    where message.queue_id = source_id and message.message_id = follower_id;
  end loop;
end
$$;
--! EndIncluded functions/release_followers.sql

/* What fair queues hand out beside a group's rate, or of a lease from when they were ordered; and what an extension locks. */
--! Included functions/extend.sql
/* postbag.extend: keep messages for `lease` (0 s to 43200 s, default the queue's) from now on. The receipts stay the same. What was taken
 * from an ordered group under one lease is kept together.
 * In the caller's transaction; order and outcomes as for postbag.ack (`alone` as for postbag.nack), and one outcome more:
 *   'lease_expired'    the lease had ended before: somebody else may receive the message at any moment, so nothing is promised */
create or replace function postbag.extend(
  queue text,
  receipts jsonb,
  lease interval default null,
  now timestamptz default clock_timestamp(),
  alone boolean default false
)
returns table (receipt text, outcome text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source postbag.queue;
  until timestamptz;
  claim record;
  outcomes text[];
  kept_group text;
  kept_position bigint;
  kept_groups text[] := '{}';
  kept_keys integer[] := '{}';
  previous_until timestamptz;
  was_shortened boolean := false;
begin
  if postbag.is_restricted() then
    return query
      select settled.receipt, settled.outcome
      from json_to_recordset(postbag.as_granted('extend', extend.queue, jsonb_build_object(
        'receipts', extend.receipts, 'lease', extend.lease, 'alone', extend.alone
      ))) as settled (receipt text, outcome text);
    return;
  end if;
  source := postbag.queue_named(extend.queue);
  until := extend.now + coalesce(extend.lease, source.lease);
  if source.is_volatile then
    return query select * from postbag.volatile_extend(extend.queue, extend.receipts, extend.lease, extend.now, extend.alone);
    return;
  end if;
  perform postbag.check_receipts(receipts);
  if extend.lease not between interval '0 s' and interval '43200 s' then
    perform postbag.refuse('PB002', format(
      'leaseSeconds must be between 0 and 43200, got %s', extract(epoch from extend.lease)::double precision
    ));
  end if;
  if alone and source.durability = 'relaxed' then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  for claim in
    select given.* from postbag.claims(receipts) as given order by given.message_id, given."position"
  loop
    update postbag.message
    set
      leased_until = until,
      in_flight_until = case when message.in_flight_until is not null then until end,
      expires_at = case when message.expires_at = postbag.last_moment(message.leased_until) then postbag.last_moment(until) else message.expires_at end
    where message.queue_id = source.queue_id
      and message.message_id = claim.message_id
      and message.attempts = claim.attempt
      and message.lease_key = claim.lease_key
      -- (Another receipt of this call may have extended it.)
      and (message.leased_until > extend.now or message.leased_until = until and message.group_key = any (kept_groups))
    returning
      message.group_key, message.group_position,
      (
        select before.leased_until from postbag.message as before
        where before.queue_id = source.queue_id and before.message_id = claim.message_id
      )
    into kept_group, kept_position, previous_until;
    if not found then
      outcomes[claim."position"] := postbag.refusal(source.queue_id, claim.message_id, claim.attempt, claim.lease_key);
      continue;
    end if;
    outcomes[claim."position"] := 'ok';
    was_shortened := was_shortened or coalesce(previous_until > until, true);
    if kept_position is not null and not kept_group = any (kept_groups) then
      kept_groups := kept_groups || kept_group;
      kept_keys := kept_keys || claim.lease_key::integer;
    end if;
  end loop;
  -- (At the end, because it locks them in the order of their lines: from here on this waits for nobody.)
  perform postbag.extend_companions(source.queue_id, kept.group_key, kept.lease_key, until)
  from unnest(kept_groups, kept_keys) as kept (group_key, lease_key);
  if was_shortened then
    perform postbag.wake(source.name);
  end if;

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/extend.sql
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
          -- (In a fair queue that was an ordered one, who has the head has those behind it.)
          and (message.leased_until is null or message.leased_until <= follow_heads.now)
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
          where one.turn = 1 or one.group_key is null or source.group_rate is null
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
