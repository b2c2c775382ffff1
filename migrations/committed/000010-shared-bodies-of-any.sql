--! Previous: sha1:0f16641d29d655ca263164af27b6f7ab8e8f16a3
--! Hash: sha1:eae9b6251870f3c113995fc2810b0b6c91f4392d
--! Message: shared-bodies-of-any

--! split: 1-current.sql
/* Large bodies are stored once also where a publish is no plain one: as those of the client, which have dedup ids. */
drop function postbag.send_in_full;
drop function postbag.volatile_send_in_full;
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
    due_at, expires_at, body, bytes, body_id
  )
  select stored.*
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
      case when sent.encoding = 'base64' then decode(postbag.string_of(sent.body), 'base64') end as bytes,
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
  if not postbag.is_counted('postbag.sent_' || target.queue_id % 1024, target.queue_id, jsonb_array_length(messages), send_in_full.now) then
    perform postbag.tick('sent', target.queue_id, jsonb_array_length(messages), send_in_full.now);
  end if;

  if postbag.is_awaited(send_in_full.queue) then
    perform postbag.wake(send_in_full.queue);
  end if;

  return query
    select coalesce(first_ids[place], ids[place])::text, first_ids is not null and first_ids[place] <> ids[place]
    from generate_subscripts(ids, 1) as place;
end
$$;
--! EndIncluded functions/send_in_full.sql
--! Included functions/sharable_body.sql
/* postbag.sharable_body: the body of a message to publish, as it will be stored, if it is one that pays to be stored once for several copies
 * (npm run bench -- publish): JSON or text of 8000 bytes or more; else null. */
create or replace function postbag.sharable_body(message jsonb)
returns text
language plpgsql
as $$
declare
  body text;
begin
  if message ->> 'encoding' = 'base64' or octet_length(coalesce(message ->> 'json', message ->> 'body')) < 8000 then
    return null;
  end if;
  body := case
    when message ->> 'encoding' = 'text' then postbag.string_of(message -> 'body')
    else coalesce((message ->> 'json')::json::text, (message -> 'body')::text)
  end;
  if octet_length(body) > 1048576 then
    perform postbag.break_rule('message_body_is_at_most_1_mib');
  end if;
  return body;
end
$$;
--! EndIncluded functions/sharable_body.sql
--! Included functions/publish_to_each.sql
/* postbag.publish_to_each: the copies of a publish (copy_numbers, copy_ids), queue by queue, as sends of messages and to queues of any kind.
 * What postbag.publish_plainly says of large bodies holds for JSON and text, in queues that are not volatile. */
create or replace function postbag.publish_to_each(exchange text, messages jsonb, copy_numbers integer[], copy_ids bigint[], now timestamptz)
returns void
language plpgsql
as $$
declare
  target record;
  sent record;
  -- By number of the message; null where each copy has a body of its own.
  shared_bodies text[];
  shared_ids bigint[];
  -- The copies that share, in parallel; what was a duplicate is none.
  made_numbers integer[] := '{}';
  made_queues bigint[] := '{}';
  made_ids bigint[] := '{}';
begin
  select
    array_agg(large.body order by large.number),
    array_agg(case when large.body is not null then nextval('postbag.body_id') end order by large.number)
  into shared_bodies, shared_ids
  from (
    select given.number, case when coalesce(copies.number, 0) > 1 then postbag.sharable_body(given.message) end as body
    from jsonb_array_elements(messages) with ordinality as given (message, number)
    left join (
      select copy.number as of, count(*) as number
      from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
      join postbag.queue as known on known.queue_id = copy.queue_id
      where not known.is_volatile
      group by copy.number
    ) as copies on copies.of = given.number
  ) as large;

  for target in
    select
      known.queue_id, known.name, known.is_volatile, known.delivery_order, known.max_priority,
      array_agg(copy.number order by copy.number) as numbers
    from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
    join postbag.queue as known on known.queue_id = copy.queue_id
    group by known.queue_id
    order by known.queue_id
  loop
    select
      jsonb_agg(
        given.message - 'routingKey'
          - case when target.delivery_order = 'lifo' then 'group' else '' end
          || jsonb_build_object('headers', case
            when not given.message ? 'headers' or jsonb_typeof(given.message -> 'headers') in ('object', 'null')
              then postbag.published_headers(nullif(given.message -> 'headers', 'null'), publish_to_each.exchange, given.message ->> 'routingKey')
            else given.message -> 'headers'
          end)
          || case
            when (given.message ->> 'priority')::integer > target.max_priority then jsonb_build_object('priority', target.max_priority)
            else '{}'
          end
        order by place.ordinality
      ) as messages,
      array_agg(shared_ids[place.number] order by place.ordinality) as body_ids
    into sent
    from unnest(target.numbers) with ordinality as place (number, ordinality)
    cross join lateral (select messages -> (place.number - 1) as message) as given;

    if target.is_volatile then
      perform from postbag.volatile_send_in_full(target.name, sent.messages, publish_to_each.now);
    else
      select
        made_numbers || array_agg(target.numbers[copy.position] order by copy.position),
        made_queues || array_agg(target.queue_id order by copy.position),
        made_ids || array_agg(copy.id::bigint order by copy.position)
      into made_numbers, made_queues, made_ids
      from postbag.send_in_full(
        target.name, sent.messages, publish_to_each.now, body_ids => sent.body_ids
      ) with ordinality as copy (id, duplicate, position)
      where sent.body_ids[copy.position] is not null and not copy.duplicate;
    end if;
  end loop;

  insert into postbag.body (body_id, queue_ids, message_ids, body)
  select
    shared_ids[made.number], array_agg(made.queue_id order by made.position), array_agg(made.message_id order by made.position),
    shared_bodies[made.number]
  from unnest(made_numbers, made_queues, made_ids) with ordinality as made (number, queue_id, message_id, position)
  group by made.number;
end
$$;
--! EndIncluded functions/publish_to_each.sql

select postbag.make_volatile_twins();
