--! Previous: sha1:b174c9e604aebfb9b206e146101aaf695a5f214b
--! Hash: sha1:68490afb5cf08555139b74dd62bf5cbc2865048f
--! Message: as-promised

--! split: 1-current.sql
-- What is not remembered is no duplicate; what others drop at the same time makes room.
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
  if target.dedup_window > interval '0' and (target.dedup_by = 'content' or messages @? '$[*].dedupId') then
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
  free_count bigint;
  free_bytes bigint;
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
    -- What others are dropping or acking at this moment makes room, too, when they commit.
    select count(*), sum(free.size) into free_count, free_bytes
    from (
      select
        case
          when message.body_id is null then octet_length(coalesce(message.body, '')) + octet_length(coalesce(message.bytes, ''))
          else postbag.shared_size(message.body_id)
        end as size
      from postbag.message
      where message.queue_id = target.queue_id
        and (message.dead_at is null or message.available_at < 'infinity' or message.group_position is not null)
        and (message.leased_until is null or message.leased_until <= make_room.now)
        and (message.expires_at is null or message.expires_at > make_room.now)
      limit greatest(least(over, 1000), case when over_bytes > 0 then 1000 else 1 end)
    ) as free;
    if free_count < least(over, added) or coalesce(free_bytes, 0) < least(over_bytes, added_bytes) then
      perform postbag.refuse('PB004', format(
        'queue "%s" is full, and %s its messages are leased', target.name, case when free_count = 0 then 'all' else 'too many of' end
      ));
    elsif victims is null then
      return;
    end if;
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

select postbag.make_volatile_twins();
