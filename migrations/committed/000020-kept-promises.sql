--! Previous: sha1:1dfbbf633be9af39a51f192886b62533586b6910
--! Hash: sha1:963b3ea31d5b882750128f543758fbeae245ca1b
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

/* What fair queues hand out beside a group's rate, or of a lease from when they were ordered; and what an extension locks. */
--! Included functions/allowance.sql
/* postbag.allowance: how many messages a queue with a rate limit, or a limit of messages in flight, may hand out now (0 or more; without either
 * as many as a receive may bring). Such a queue's receives take turns: the caller holds a lock until its transaction ends. So do those of a fair
 * queue whose groups have a rate: what two hand out of one group would else be charged by neither for the other. */
create or replace function postbag.allowance(source postbag.queue, now timestamptz)
returns integer
language plpgsql
set enable_seqscan = off
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
as $$
declare
  allowed double precision := 1000;
begin
  perform pg_advisory_xact_lock(1886352385, hashint8(source.queue_id));
  if source.max_in_flight is not null then
    select source.max_in_flight - count(*) into allowed
    from (
      select from postbag.message
      where message.queue_id = source.queue_id and message.in_flight_until > allowance.now
      order by message.in_flight_until
      limit source.max_in_flight
    ) as in_flight;
  end if;
  if source.rate is not null then
    select least(allowed, floor(
      coalesce(source.burst, greatest(ceil(source.rate), 1))
      -- (A microsecond of rounding must not cost a message.)
      - source.rate * coalesce(greatest(extract(epoch from max(flow.spent_until) - allowance.now)::double precision, 0), 0) + 0.0001
    ))
    into allowed
    from postbag.flow
    where flow.queue_id = source.queue_id and flow.group_key = '';
  end if;
  return greatest(allowed, 0)::integer;
end
$$;
--! EndIncluded functions/allowance.sql
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

/* The same as before, said better. */
--! Included functions/ack.sql
/* postbag.ack: delete the messages of these receipts (a JSON array of strings), in the caller's transaction, so that work and ack
 * can commit together. One row per receipt, in the order given, with its outcome:
 *   'ok'               the message is done and gone
 *   'lease_lost'       the message was given back, or received again since: this receipt owns nothing, nothing changed
 *   'message_gone'     there is no such message in this queue (any more): acked before, purged, or moved to the dead letters
 *   'receipt_invalid'  this is not a receipt
 * A lease that has ended but passed to nobody still acks: the work is done, a redelivery would help no one. `alone` says that this
 * call is the whole transaction: then it does not wait for the disk (an ack that a crash of the database undoes means that the message
 * comes again), but for messages of groups it does, unless the queue's durability is relaxed: one that came again would come after those
 * behind it.
 *
 * Messages are settled in the order of their ids, so that two calls over the same ones cannot deadlock. All that are there and ours go with one
 * statement, which finds each by its key, whatever the statistics say (a join on the queue is at the planner's mercy: with those of a
 * nearly empty table it walks the whole queue); what is left after it is looked at one by one. */
create or replace function postbag.ack(
  queue text, receipts jsonb, now timestamptz default clock_timestamp(), alone boolean default false
)
returns table (receipt text, outcome text)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source record;
  -- Of several receipts, those whose messages went with the one statement.
  done text[];
  -- The groups whose heads are gone, and how many messages are.
  headless text[];
  settled integer := 0;
  acked_group text;
  acked_position bigint;
  is_grouped boolean := false;
  claim record;
  previous text;
  outcomes text[];
  noted text;
begin
  if postbag.is_restricted() then
    return query
      select settled.receipt, settled.outcome
      from json_to_recordset(postbag.as_granted('ack', ack.queue, jsonb_build_object(
        'receipts', ack.receipts, 'alone', ack.alone
      ))) as settled (receipt text, outcome text);
    return;
  end if;
  select
    known.queue_id, known.is_volatile, known.max_in_flight, known.durability, known.done_setting,
    known.note_prefix || date_part('epoch', ack.now)::bigint || ':' as counting,
    case when jsonb_typeof(receipts) = 'array' then jsonb_array_length(receipts) end as number,
    receipts ->> 0 as first
  into source
  from postbag.queue as known
  where known.name = ack.queue;
  if source.is_volatile then
    return query select * from postbag.volatile_ack(ack.queue, ack.receipts, ack.now);
    return;
  end if;

  if source.number = 1 then
    delete from postbag.message
    where message.queue_id = source.queue_id
      and message.message_id = postbag.claimed_id(source.first)
      and message.message_id || '.' || message.attempts || '.' || message.lease_key = source.first
      and message.leased_until is not null
    returning source.first, 'ok', message.group_key, message.group_position into receipt, outcome, acked_group, acked_position;
    get diagnostics settled = row_count;
    if settled = 1 then
      return next;
      if acked_group is not null then
        is_grouped := true;
        headless := case when acked_position = 0 then array[acked_group] end;
      end if;
    end if;
  elsif source.number between 2 and 1000 then
    with gone as (
      delete from postbag.message
      using (
        select given.receipt, there.place
        from jsonb_array_elements_text(receipts) as given (receipt)
        cross join lateral (
          select message.ctid as place, message.message_id
          from postbag.message
          where message.queue_id = source.queue_id and message.message_id = postbag.claimed_id(given.receipt)
          limit 1
        ) as there
        order by there.message_id
      ) as mine
      where message.ctid = mine.place
        and message.message_id || '.' || message.attempts || '.' || message.lease_key = mine.receipt
        and message.leased_until is not null
      returning mine.receipt, message.group_key::text, message.group_position
    )
    select array_agg(gone.receipt), array_agg(gone.group_key) filter (where gone.group_position = 0), count(gone.group_key) > 0, count(*)
    into done, headless, is_grouped, settled
    from gone;
    if settled = source.number then
      return query select given.receipt, 'ok' from jsonb_array_elements_text(receipts) as given (receipt);
    end if;
  else
    perform postbag.queue_named(ack.queue);
    perform postbag.check_receipts(receipts);
  end if;

  if settled < source.number then
    for claim in
      select given.* from postbag.claims(receipts) as given order by given.message_id, given.receipt, given."position"
    loop
      if claim.receipt = any (done) and claim.receipt is distinct from previous then
        outcomes[claim."position"] := 'ok';
      else
        -- (Extended in this very moment, say.)
        delete from postbag.message
        where message.queue_id = source.queue_id
          and message.message_id = claim.message_id
          and message.attempts = claim.attempt
          and message.lease_key = claim.lease_key
          and message.leased_until is not null
        returning message.group_key, message.group_position into acked_group, acked_position;
        if found then
          outcomes[claim."position"] := 'ok';
          settled := settled + 1;
          is_grouped := is_grouped or acked_group is not null;
          if acked_position = 0 then
            headless := headless || acked_group;
          end if;
        else
          outcomes[claim."position"] := postbag.refusal(source.queue_id, claim.message_id, claim.attempt, claim.lease_key);
        end if;
      end if;
      previous := claim.receipt;
    end loop;
    return query
      select given.receipt, outcomes[given."position"]
      from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
  end if;

  if alone and (not is_grouped or source.durability = 'relaxed') then
    noted := set_config('synchronous_commit', 'off', true);
  end if;
  if headless is not null then
    insert into postbag.group_change (queue_id, groups, changed_at) values (source.queue_id, headless, ack.now);
  end if;
  -- (As in postbag.send_batch.)
  noted := current_setting(source.done_setting, true);
  if starts_with(noted, source.counting) and octet_length(noted) < 2000 then
    noted := set_config(source.done_setting, noted || settled || ':', false);
  else
    perform postbag.tick('done', source.queue_id, settled, ack.now);
  end if;
  -- (There is room for others.)
  if source.max_in_flight is not null then
    perform postbag.wake(ack.queue);
  end if;
end
$$;
--! EndIncluded functions/ack.sql
--! Included functions/claimed_id.sql
/* postbag.claimed_id: the id that a receipt begins with; null if it begins with none. Whether it is the receipt of that message is for the
 * caller to compare. (Of a number with more digits than an id can have, the first 18: there may be such a message, but it has another receipt.) */
create or replace function postbag.claimed_id(receipt text)
returns bigint
language sql
immutable
return case
  when translate(left(split_part(receipt, '.', 1), 18), '0123456789', '') = '' then nullif(left(split_part(receipt, '.', 1), 18), '')::bigint
end;
--! EndIncluded functions/claimed_id.sql
--! Included functions/is_untidy.sql
/* postbag.is_untidy: whether postbag.tidy_at_commit has something to do for a queue, because tidying in vain costs more than most calls. Of notes of
 * traffic those are that should have been gone for five minutes, so that they go many at a time. With the owner's rights: who may only send sees no
 * message, and tidies nevertheless. */
create or replace function postbag.is_untidy(source_id bigint, now timestamptz)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return exists (select from postbag.message where message.queue_id = source_id and message.expires_at <= is_untidy.now)
    or exists (select from postbag.volatile_message as message where message.queue_id = source_id and message.expires_at <= is_untidy.now)
    or exists (select from postbag.reply where reply.queue_id = source_id and reply.expires_at <= is_untidy.now)
    or exists (select from postbag.group_pending as pending where pending.queue_id = source_id)
    or exists (
      select from postbag.traffic as noted
      where noted.queue_id = source_id and noted.noted_at < is_untidy.now - interval '15 min'
    )
    or exists (select from postbag.body)
    or exists (
      select from (select attempt.started_at from postbag.attempt order by attempt.attempt_id limit 1) as eldest
      where eldest.started_at < is_untidy.now - postbag.kept_for()
    );
end
$$;
--! EndIncluded functions/is_untidy.sql
--! Included functions/send_batch.sql
/* postbag.send_batch: put 1 to 1000 messages into one queue, all or none, in the caller's transaction; one row per message, in
 * the order given. A message is a JSON object (the same words as over HTTP):
 *
 *   body          any JSON value; with encoding 'text' or 'base64' a string
 *   json          instead of body: JSON in a string, kept byte for byte (a body is kept as Postgres prints jsonb)
 *   encoding      'json' (default) | 'text' | 'base64'
 *   type, contentType, headers {name: string}, priority 0 – the queue's max_priority
 *   delaySeconds 0 – 31536000, or availableAt (a time at most a year ahead)
 *   ttlSeconds    0.001 – 31536000, from its availability on
 *   group         1 – 128 characters: see functions/apply_group_changes.sql
 *   correlationId, replyTo  1 – 255 characters each: what a reply refers to, and where it goes (postbag.send_reply); kept among the headers
 *   dedupId       1 – 128 characters: a second send with it within the queue's dedup_window sends nothing, gives back the first
 *                 one's id and says `duplicate`
 *
 * A message becomes available at `now` plus its delay, and visible when the transaction commits. A send waits for another
 * transaction only while that one has sent (or is forgetting, long after its window) the same dedupId, and has not committed.
 * PB004 if the queue is full. `alone` says that this call is the whole transaction: then the queue's relaxed durability counts.
 *
 * What most sends are, JSON of a type or of none to a queue without limits, is done here with one insert; the time of a statement is
 * that of its parts, used or not. All else is in functions/send_in_full.sql. */
create or replace function postbag.send_batch(
  queue text, messages jsonb, now timestamptz default clock_timestamp(), alone boolean default false
)
returns table (id text, duplicate boolean)
language plpgsql
as $$
declare
  target record;
  noted text;
  stored integer := 0;
begin
  if postbag.is_restricted() then
    return query
      select sent.id, sent.duplicate
      from json_to_recordset(postbag.as_granted('send', send_batch.queue, jsonb_build_object(
        'messages', send_batch.messages, 'alone', send_batch.alone
      ))) as sent (id text, duplicate boolean);
    return;
  end if;
  select
    known.queue_id, known.is_volatile, known.sends_plainly, known.delay, known.sent_setting, known.wake_slot,
    known.note_prefix || date_part('epoch', send_batch.now)::bigint || ':' as counting,
    known.sends_plainly and case
      when jsonb_typeof(messages -> 0) = 'object'
        then messages -> 0 ?| '{json,body}' and (messages -> 0) - '{json,body,type}'::text[] = '{}'
      else false
    end as is_plain,
    case when send_batch.alone and known.durability = 'relaxed' then set_config('synchronous_commit', 'off', true) end
  into target
  from postbag.queue as known
  where known.name = send_batch.queue;

  if target.is_volatile then
    return query select * from postbag.volatile_send_batch(send_batch.queue, send_batch.messages, send_batch.now, send_batch.alone);
    return;
  end if;
  if target.is_plain then
    if jsonb_array_length(messages) = 1 then
      return query
        insert into postbag.message (queue_id, message_id, available_at, sent_at, encoding, type, body)
        values (
          target.queue_id, nextval('postbag.message_id'), send_batch.now + target.delay, send_batch.now, 'json',
          case
            when length(messages -> 0 ->> 'type') not between 1 and 255 then postbag.break_rule('message_type_is_at_most_255_characters')
            else messages -> 0 ->> 'type'
          end,
          case
            when octet_length(coalesce(messages -> 0 ->> 'json', (messages -> 0 -> 'body')::text)) > 1048576
              then postbag.break_rule('message_body_is_at_most_1_mib')
            else coalesce((messages -> 0 ->> 'json')::json::text, (messages -> 0 -> 'body')::text, 'null')
          end
        )
        -- (The id that was just drawn for this row. To name the column, a sender would need a right to read messages.)
        returning currval('postbag.message_id')::text, false;
    else
      return query
        insert into postbag.message (queue_id, message_id, available_at, sent_at, encoding, type, body)
        select
          target.queue_id, nextval('postbag.message_id'), send_batch.now + target.delay, send_batch.now, 'json',
          case
            when length(sent.message ->> 'type') not between 1 and 255 then postbag.break_rule('message_type_is_at_most_255_characters')
            else sent.message ->> 'type'
          end,
          case
            when octet_length(coalesce(sent.message ->> 'json', (sent.message -> 'body')::text)) > 1048576
              then postbag.break_rule('message_body_is_at_most_1_mib')
            else coalesce((sent.message ->> 'json')::json::text, (sent.message -> 'body')::text, 'null')
          end
        from (
          select
            given.message,
            bool_and(
              case
                when jsonb_typeof(given.message) = 'object'
                  then given.message ?| '{json,body}' and given.message - '{json,body,type}'::text[] = '{}'
                else false
              end
            ) over () as are_plain
          from jsonb_array_elements(messages) as given (message)
        ) as sent
        where sent.are_plain and jsonb_array_length(messages) <= 1000
        returning currval('postbag.message_id')::text, false;
    end if;
    get diagnostics stored = row_count;
  end if;
  if stored = 0 then
    -- (And this session has nothing to tidy now.)
    if alone and target.sends_plainly and messages -> 0 ? 'group' and starts_with(current_setting(target.sent_setting, true), target.counting) then
      return query select * from postbag.send_to_groups(target.queue_id, target.delay, send_batch.messages, send_batch.now);
      get diagnostics stored = row_count;
    end if;
    if stored = 0 then
      return query select * from postbag.send_in_full(send_batch.queue, send_batch.messages, send_batch.now, send_batch.alone);
      return;
    end if;
  end if;

  -- (What postbag.is_counted does; in statements of their own its parts are made ready once, not four times.)
  noted := current_setting(target.sent_setting, true);
  if starts_with(noted, target.counting) and octet_length(noted) < 2000 then
    noted := set_config(target.sent_setting, noted || jsonb_array_length(messages) || ':', false);
  else
    perform postbag.tick('sent', target.queue_id, jsonb_array_length(messages), send_batch.now);
  end if;
  if postbag.is_awaited(target.wake_slot) then
    perform postbag.wake(send_batch.queue);
  end if;
end
$$;
--! EndIncluded functions/send_batch.sql

select postbag.make_volatile_twins();
