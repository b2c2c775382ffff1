--! Previous: sha1:c8ad5bb1e7fea4fc8d5890966f780386733ca2ed
--! Hash: sha1:9b0cb3fd3b3609191292ae25b9d199c71228cd6f
--! Message: order-of-copies

--! split: 1-current.sql
/* The copies of a publish in the order of its messages. */
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
    -- (A queue's ids in the order of its messages, however the planner joins.)
    select placed.number, placed.queue_id, placed.delay, nextval('postbag.message_id') as message_id
    from (
      select copy.number, target.queue_id, target.delay
      from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
      join postbag.queue as target on target.queue_id = copy.queue_id
      order by copy.queue_id, copy.number
    ) as placed
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
