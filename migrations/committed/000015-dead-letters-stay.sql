--! Previous: sha1:6bda24526b0d73b4a86f5ae7a26576d3847b0818
--! Hash: sha1:494e088ce938fd9239fa851cfceb89d0d2b4838e
--! Message: dead-letters-stay

--! split: 1-current.sql
/* A dead letter stays where it is if the queue that it was to go to is deleted meanwhile. */
--! Included functions/share_body.sql
/* postbag.share_body: store a body for several copies (messages of queues, in parallel), before they are there; its id. */
create or replace function postbag.share_body(body text, queue_ids bigint[], message_ids bigint[])
returns bigint
language plpgsql
as $$
declare
  new_id constant bigint := nextval('postbag.body_id');
begin
  insert into postbag.body (body_id, queue_ids, message_ids, body)
  values (new_id, share_body.queue_ids, share_body.message_ids, share_body.body);
  return new_id;
end
$$;
--! EndIncluded functions/share_body.sql
--! Included functions/dead_letter_ways.sql
/* postbag.dead_letter_ways: where messages of a queue go that die: a row for each queue that each of them goes to; none for those that stay.
 * To the dead-letter queue, if it is there and stores its messages as the queue does; by the dead-letter exchange (functions/route.sql), with
 * `routing_key`: the one that is configured, else the one that the message came with, else the queue's name. An exchange that leads
 * back to the queue itself is not followed there: a message that fails would fail for ever. */
create or replace function postbag.dead_letter_ways(source postbag.queue, ids bigint[])
returns table (message_id bigint, queue_id bigint, routing_key text)
language plpgsql
stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  places constant tid[] := postbag.places_of(source.queue_id, dead_letter_ways.ids);
  letter_ids bigint[];
  letters jsonb;
begin
  if source.dead_letter_queue is not null then
    return query
      select dead.id, known.queue_id, null::text
      from postbag.queue as known
      cross join unnest(dead_letter_ways.ids) as dead (id)
      where known.name = source.dead_letter_queue and known.name <> source.name and known.is_volatile = source.is_volatile;
  elsif source.dead_letter_exchange = 'default'
    or exists (select from postbag.exchange as known where known.name = source.dead_letter_exchange)
  then
    select
      array_agg(message.message_id),
      jsonb_agg(jsonb_build_object(
        'routingKey', coalesce(source.dead_letter_routing_key, message.headers::jsonb ->> 'postbag-routing-key', source.name),
        'headers', coalesce(message.headers::jsonb, '{}')
      ))
    into letter_ids, letters
    from postbag.message
    where message.ctid = any (places);
    return query
      select distinct letter_ids[way.number], known.queue_id, letters -> (way.number - 1) ->> 'routingKey'
      from postbag.route(source.dead_letter_exchange, letters) as way
      join postbag.queue as known on known.queue_id = way.queue_id
      where known.queue_id <> source.queue_id and known.is_volatile = source.is_volatile
      -- (As many copies as a publish may make. It is somebody's commit that pays for them.)
      limit 100000;
  end if;
end
$$;
--! EndIncluded functions/dead_letter_ways.sql
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
      group_position, expires_at, dead_at, deaths, body, bytes, body_id
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
      move_dead.now + target.ttl, move_dead.now,
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
select postbag.make_volatile_twins();
