--! Previous: sha1:0813b9f228bbfc551363cfa4623a74140d179581
--! Hash: sha1:807fb04fe6ae569f6fb609a9f6dd8a323f975156
--! Message: replies

--! split: 1-current.sql
/* Replies to requests: one row per request, made with it, so that a reply has a place to go to (functions/send_request.sql), whether or not
 * somebody waits. One table also for volatile queues: a reply is worth nothing without its request, and goes with the time that it is kept. */
create table postbag.reply (
  queue_id bigint not null,
  reply_id bigint not null,
  -- Who knows it may reply, or fetch.
  reply_key text collate "C" not null,
  -- The message that asks.
  request_id bigint not null,
  expires_at timestamptz not null,
  -- Null: pending. What follows is then null, too.
  replied_at timestamptz,
  encoding text collate "C",
  type text,
  content_type text,
  headers jsonb,
  body text,
  bytes bytea,
  primary key (queue_id, reply_id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000);

create index reply_by_request on postbag.reply (queue_id, request_id);
create index reply_by_expiry on postbag.reply (queue_id, expires_at);

/* What goes because its function got another signature. */
drop function postbag.send;

/* The functions that are new or changed. */
--! Included functions/fields_in_headers.sql
/* postbag.fields_in_headers: a message's headers with the fields that are kept among them, under reserved names: so they cost a message
 * without them nothing, not even a column. A name given both ways has the field's value. Null if there is neither. */
create or replace function postbag.fields_in_headers(headers jsonb, correlation_id text, reply_to text)
returns jsonb
language sql
immutable
return case
  when coalesce(correlation_id, reply_to) is null then headers
  else coalesce(headers, '{}') || jsonb_strip_nulls(jsonb_build_object(
    'postbag-correlation-id', correlation_id, 'postbag-reply-to', reply_to
  ))
end;
--! EndIncluded functions/fields_in_headers.sql
--! Included functions/keeps_rules.sql
/* postbag.keeps_rules: true for what a message may hold; else the statement ends, as with a check constraint that says so. A function,
 * because constraints are prepared anew by every statement that writes a row, claims included (six of them on the table: 80 µs; seven as
 * domains: a sixth of a send). */
create or replace function postbag.keeps_rules(
  encoding text, type text, content_type text, headers jsonb, group_key text, body text, bytes bytea
)
returns boolean
language sql
-- (Volatile, as break_rule is: else it would not be inlined.)
volatile
return case
  when octet_length(body) > 1048576 or octet_length(bytes) > 1048576 then postbag.break_rule('message_body_is_at_most_1_mib')
  when encoding not in ('json', 'text', 'base64') then postbag.break_rule('message_encoding_is_known')
  when length(type) not between 1 and 255 then postbag.break_rule('message_type_is_at_most_255_characters')
  when length(content_type) not between 1 and 255 then postbag.break_rule('message_content_type_is_at_most_255_characters')
  when length(group_key) not between 1 and 128 then postbag.break_rule('message_group_is_1_to_128_characters')
  when octet_length(headers::text) > 16384 then postbag.break_rule('message_headers_are_at_most_16_kib')
  when length(headers ->> 'postbag-correlation-id') not between 1 and 255
    then postbag.break_rule('message_correlation_id_is_1_to_255_characters')
  when length(headers ->> 'postbag-reply-to') not between 1 and 255 then postbag.break_rule('message_reply_to_is_1_to_255_characters')
end is null;
--! EndIncluded functions/keeps_rules.sql
--! Included functions/check_messages.sql
/* postbag.check_messages: refuse (PB002, PB003) what is not a JSON array of 1 to 1000 message objects with known fields. What the
 * fields hold is checked where they are stored. */
create or replace function postbag.check_messages(messages jsonb)
returns void
language plpgsql
immutable
as $$
declare
  known constant text[] := '{body,json,encoding,type,contentType,headers,priority,group,delaySeconds,availableAt,ttlSeconds,dedupId,
    correlationId,replyTo}';
  problem text;
begin
  if messages is null or jsonb_typeof(messages) <> 'array' then
    perform postbag.refuse('PB002', format('messages must be a JSON array, got %s', coalesce(jsonb_typeof(messages), 'null')));
  elsif jsonb_array_length(messages) = 0 then
    perform postbag.refuse('PB002', 'messages must be between 1 and 1000, got 0');
  elsif jsonb_array_length(messages) > 1000 then
    perform postbag.refuse('PB003', format('messages must be between 1 and 1000, got %s', jsonb_array_length(messages)));
  end if;

  select case
    when jsonb_typeof(entry.message) <> 'object' then
      format('messages[%s] must be an object, got %s', entry.position - 1, jsonb_typeof(entry.message))
    when entry.message - known <> '{}' then
      format(
        'messages[%s] has the unknown field %s: known are %s', entry.position - 1,
        (select min(field) from jsonb_object_keys(entry.message - known) as field), array_to_string(known, ', ')
      )
    else
      format('messages[%s] must have a body', entry.position - 1)
  end
  into problem
  from jsonb_array_elements(messages) with ordinality as entry (message, position)
  where jsonb_typeof(entry.message) <> 'object'
    or entry.message - known <> '{}'
    or not entry.message ?| '{body,json}'
  limit 1;

  if problem is not null then
    perform postbag.refuse('PB002', problem);
  end if;
end
$$;
--! EndIncluded functions/check_messages.sql
--! Included functions/send.sql
/* postbag.send: put one message into a queue, in the caller's transaction; returns its id, or the id of the first message sent with
 * the same dedup_id. `select postbag.send('orders', '{"id": 1}', delay => '5 s')`. What the values mean: postbag.send_batch. */
create or replace function postbag.send(
  queue text,
  body jsonb,
  type text default null,
  headers jsonb default null,
  priority integer default null,
  delay interval default null,
  dedup_id text default null,
  encoding text default 'json',
  content_type text default null,
  now timestamptz default clock_timestamp(),
  group_key text default null,
  ttl interval default null,
  available_at timestamptz default null,
  correlation_id text default null,
  reply_to text default null
)
returns text
language sql
as $$
  select sent.id
  from postbag.send_batch(
    send.queue,
    jsonb_build_array(jsonb_build_object(
      'body', send.body, 'type', send.type, 'headers', send.headers, 'priority', send.priority,
      'delaySeconds', extract(epoch from send.delay), 'encoding', send.encoding, 'contentType', send.content_type
    ) || jsonb_strip_nulls(jsonb_build_object(
      'dedupId', send.dedup_id, 'group', send.group_key, 'ttlSeconds', extract(epoch from send.ttl),
      'availableAt', send.available_at, 'correlationId', send.correlation_id, 'replyTo', send.reply_to
    ))),
    send.now
  ) as sent
$$;
--! EndIncluded functions/send.sql
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
  stored integer := 0;
begin
  select known.queue_id, known.is_volatile, known.sends_plainly, known.durability, known.delay into target
  from postbag.queue as known
  where known.name = send_batch.queue;

  if target.is_volatile then
    return query select * from postbag.volatile_send_batch(send_batch.queue, send_batch.messages, send_batch.now, send_batch.alone);
    return;
  end if;
  if target.sends_plainly
    and jsonb_typeof(messages) = 'array' and jsonb_array_length(messages) between 1 and 1000
    -- (So that who sends to groups, say, seldom tries this in vain.)
    and not messages -> 0 ?| '{group,encoding,contentType,headers,priority,delaySeconds,availableAt,ttlSeconds,dedupId,correlationId,replyTo}'
  then
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
      where sent.are_plain
      -- (The id that was just drawn for this row. To name the column, a sender would need a right to read messages.)
      returning currval('postbag.message_id')::text, false;
    get diagnostics stored = row_count;
  end if;
  if stored = 0 and alone and target.sends_plainly and messages -> 0 ? 'group'
    -- (So that this session has nothing to tidy now.)
    and starts_with(
      current_setting('postbag.sent_' || target.queue_id % 1024, true),
      target.queue_id || ':' || date_part('epoch', send_batch.now)::bigint || ':'
    )
  then
    return query select * from postbag.send_to_groups(target.queue_id, target.delay, send_batch.messages, send_batch.now);
    get diagnostics stored = row_count;
  end if;
  if stored = 0 then
    return query select * from postbag.send_in_full(send_batch.queue, send_batch.messages, send_batch.now, send_batch.alone);
    return;
  end if;

  if alone and target.durability = 'relaxed' then
    perform set_config('synchronous_commit', 'off', true);
  end if;
  if not postbag.is_counted('postbag.sent_' || target.queue_id % 1024, target.queue_id, jsonb_array_length(messages), send_batch.now) then
    perform postbag.tick('sent', target.queue_id, jsonb_array_length(messages), send_batch.now);
  end if;
  if postbag.is_awaited(send_batch.queue) then
    perform postbag.wake(send_batch.queue);
  end if;
end
$$;
--! EndIncluded functions/send_batch.sql
--! Included functions/send_in_full.sql
/* postbag.send_in_full: what postbag.send_batch does for messages and queues of every kind. (That one does by itself only what is plain.) */
create or replace function postbag.send_in_full(
  queue text, messages jsonb, now timestamptz default clock_timestamp(), alone boolean default false
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
    due_at, expires_at, body, bytes
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
      case coalesce(sent.encoding, 'json')
        when 'json' then coalesce(sent.json::json::text, sent.body::text, 'null')
        when 'text' then postbag.string_of(sent.body)
      end as body,
      case when sent.encoding = 'base64' then decode(postbag.string_of(sent.body), 'base64') end as bytes
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
--! Included functions/awaited_reply.sql
/* postbag.awaited_reply: under which name a reply is waited for (postbag.watch, postbag.wake): one that no queue can have. */
create or replace function postbag.awaited_reply(queue text, reply_id bigint)
returns text
language sql
immutable
return '~reply/' || queue || '/' || reply_id;
--! EndIncluded functions/awaited_reply.sql
--! Included functions/reply_available_at.sql
/* postbag.reply_available_at: postbag.next_available_at for the name of an awaited reply: now if it is there; '-infinity' if it will never
 * be, because its queue is gone or its time is over; else when that will be so. */
create or replace function postbag.reply_available_at(awaited text, now timestamptz)
returns timestamptz
language sql
stable
as $$
  select coalesce(
    (
      select case
        when reply.expires_at <= reply_available_at.now then '-infinity'
        when reply.replied_at is not null then reply_available_at.now
        else reply.expires_at
      end
      from postbag.queue as known
      join postbag.reply on reply.queue_id = known.queue_id
      where known.name = split_part(awaited, '/', 2) and reply.reply_id = split_part(awaited, '/', 3)::bigint
    ),
    '-infinity'
  )
$$;
--! EndIncluded functions/reply_available_at.sql
--! Included functions/next_available_at.sql
/* postbag.next_available_at: when a receive from a queue may find something, if nobody sends, settles or configures anything: at `now` or
 * before if there is something (or if it cannot be told cheaply), later when a delay or a lease ends, or a limit is no longer reached; null
 * if never. '-infinity' if there is no such queue. May be too early, never too late.
 *
 * Unlike a receive it knows no cursor, and looks at what is committed, whoever has it locked: so that "nothing" is certain. For that
 * it looks at the first 1000 messages of each priority; if all of those are leased, it cannot tell. A time to live that ends counts, too:
 * the receive after it lets the next of the group go on, and the dead letter be moved. */
create or replace function postbag.next_available_at(queue text, now timestamptz default clock_timestamp())
returns timestamptz
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  most constant integer := 1000;
  source postbag.queue;
  seen integer;
  head_at timestamptz;
  next_at timestamptz;
begin
  select known.* into source from postbag.queue as known where known.name = next_available_at.queue;
  if not found then
    return case
      when starts_with(next_available_at.queue, '~reply/')
        then postbag.reply_available_at(next_available_at.queue, next_available_at.now)
      else '-infinity'
    end;
  elsif source.is_volatile then
    return postbag.volatile_next_available_at(next_available_at.queue, next_available_at.now);
  elsif source.paused then
    return null;
  end if;

  for level in 0 .. source.top_priority loop
    select count(*), min(coalesce(head.leased_until, head.available_at)) filter (
      where head.expires_at is null or head.expires_at > greatest(head.leased_until, next_available_at.now)
    )
    into seen, head_at
    from (
      select message.available_at, message.leased_until, message.expires_at
      from postbag.message
      where message.queue_id = source.queue_id
        and message.priority = level
        and message.available_at <= next_available_at.now
        and message.available_at < 'infinity'
      order by message.available_at, message.message_id
      limit most
    ) as head;
    next_at := least(next_at, head_at, case when seen = most then next_available_at.now end, (
      select message.available_at
      from postbag.message
      where message.queue_id = source.queue_id
        and message.priority = level
        and message.available_at > next_available_at.now
        and message.available_at < 'infinity'
      order by message.available_at, message.message_id
      limit 1
    ));
  end loop;

  select count(*), min(greatest(ended.expires_at, ended.leased_until)) into seen, head_at
  from (
    select message.expires_at, message.leased_until
    from postbag.message
    where message.queue_id = source.queue_id and message.expires_at <= next_available_at.now
    order by message.expires_at
    limit most
  ) as ended;
  next_at := least(next_at, head_at, case when seen = most then next_available_at.now + interval '1 s' end, (
    select message.expires_at
    from postbag.message
    where message.queue_id = source.queue_id and message.expires_at > next_available_at.now
    order by message.expires_at
    limit 1
  ));
  if exists (select from postbag.group_pending as pending where pending.queue_id = source.queue_id) then
    next_at := next_available_at.now;
  end if;

  if source.max_in_flight is not null then
    select count(*), min(in_flight.until) into seen, head_at
    from (
      select message.in_flight_until as until
      from postbag.message
      where message.queue_id = source.queue_id and message.in_flight_until > next_available_at.now
      order by message.in_flight_until
      limit source.max_in_flight
    ) as in_flight;
    if seen >= source.max_in_flight then
      next_at := greatest(next_at, head_at);
    end if;
  end if;
  if source.rate is not null then
    -- (As functions/allowance.sql counts.)
    select greatest(next_at, max(flow.spent_until) - make_interval(
      secs => (coalesce(source.burst, greatest(ceil(source.rate), 1)) - 1) / source.rate
    ))
    into next_at
    from postbag.flow
    where flow.queue_id = source.queue_id and flow.group_key = '' and next_at is not null;
  end if;
  return next_at;
end
$$;
--! EndIncluded functions/next_available_at.sql
--! Included functions/send_request.sql
/* postbag.send_request: send one message (an object, as for postbag.send_batch) that asks for a reply, in the caller's transaction. Its
 * replyTo, made here, is what postbag.reply takes: `~<queue_id>.<reply_id>.<key>`, with a key that nobody can guess. Gives back the
 * `id` under which postbag.fetch_reply brings the reply, once there is one; it is kept until `keep` (a second to 7 days, an hour if not
 * said) after the request.
 *
 * With a dedupId that was sent before, nothing is sent, and the id is that of the first request's reply; PB006 if the first was no
 * request, or its time is over. Else as postbag.send_batch. */
create or replace function postbag.send_request(
  queue text, message jsonb, keep interval default null, now timestamptz default clock_timestamp(), alone boolean default false
)
returns table (id text, message_id text, duplicate boolean)
language plpgsql
set enable_seqscan = off
as $$
declare
  target constant postbag.queue := postbag.queue_named(send_request.queue);
  kept constant interval := coalesce(send_request.keep, interval '1 h');
  -- (The sequence that a sender may use anyway.)
  drawn_id constant bigint := nextval('postbag.message_id');
  drawn_key constant text := replace(gen_random_uuid()::text, '-', '');
  sent record;
begin
  if kept not between interval '1 s' and interval '7 d' then
    perform postbag.refuse('PB002', format(
      'keepSeconds must be between 1 and 604800, got %s', extract(epoch from kept)::double precision
    ));
  elsif message ? 'replyTo' then
    perform postbag.refuse('PB002', format('replyTo must not be given: a request makes its own, got %s', message -> 'replyTo'));
  end if;

  select batch.* into sent
  from postbag.send_batch(
    target.name,
    jsonb_build_array(case
      when jsonb_typeof(message) = 'object'
        then message || jsonb_build_object('replyTo', format('~%s.%s.%s', target.queue_id, drawn_id, drawn_key))
      else message
    end),
    send_request.now
  ) as batch;
  message_id := sent.id;
  duplicate := sent.duplicate;
  if not duplicate then
    insert into postbag.reply (queue_id, reply_id, reply_key, request_id, expires_at)
    values (target.queue_id, drawn_id, drawn_key, sent.id::bigint, send_request.now + kept);
    id := drawn_id || '.' || drawn_key;
    if alone and target.durability <> 'full' then
      perform set_config('synchronous_commit', 'off', true);
    end if;
    return next;
    return;
  end if;

  select reply.reply_id || '.' || reply.reply_key into id
  from postbag.reply
  where reply.queue_id = target.queue_id and reply.request_id = sent.id::bigint and reply.expires_at > send_request.now
  order by reply.reply_id desc
  limit 1;
  if not found then
    perform postbag.refuse('PB006', format('message %s, sent with this dedupId before, awaits no reply (any more)', sent.id));
  end if;
  return next;
end
$$;
--! EndIncluded functions/send_request.sql
--! Included functions/request.sql
/* postbag.request: send one message that asks for a reply, in the caller's transaction: the arguments of postbag.send, and `keep`, how long
 * after the request its reply may come and be fetched. The reply can come only after the commit:
 *   select id from postbag.request('orders', '{"id": 1}', keep => '10 min');     then, again and again:
 *   select state, body from postbag.fetch_reply('orders', '<id>'); */
create or replace function postbag.request(
  queue text,
  body jsonb,
  type text default null,
  headers jsonb default null,
  priority integer default null,
  delay interval default null,
  dedup_id text default null,
  encoding text default 'json',
  content_type text default null,
  now timestamptz default clock_timestamp(),
  group_key text default null,
  ttl interval default null,
  available_at timestamptz default null,
  correlation_id text default null,
  keep interval default null
)
returns table (id text, message_id text, duplicate boolean)
language sql
as $$
  select sent.*
  from postbag.send_request(
    request.queue,
    jsonb_build_object('body', request.body) || jsonb_strip_nulls(jsonb_build_object(
      'type', request.type, 'headers', request.headers, 'priority', request.priority,
      'delaySeconds', extract(epoch from request.delay), 'encoding', request.encoding, 'contentType', request.content_type,
      'dedupId', request.dedup_id, 'group', request.group_key, 'ttlSeconds', extract(epoch from request.ttl),
      'availableAt', request.available_at, 'correlationId', request.correlation_id
    )),
    request.keep,
    request.now
  ) as sent
$$;
--! EndIncluded functions/request.sql
--! Included functions/send_reply.sql
/* postbag.send_reply: reply to a request, in the caller's transaction, and with its `receipt` ack it in the same step. `reply_to` is the
 * request's: that of postbag.send_request, or the name of a queue, to which the reply is sent then. `message` is the reply: an object with
 * body, json, encoding, type, contentType, headers, correlationId (as for postbag.send_batch), and dedupId, which counts for a queue only.
 * One row, with the outcome:
 *   'ok'               replied; `replied_queue` is where (the request's queue, or reply_to), `replied_id` the id of the reply or message
 *   'already_replied'  somebody has replied before: the first reply stays. The receipt is acked all the same: the request is done.
 *   'reply_not_found'  nobody awaits this reply (any more): its time is over, or its queue is gone. The receipt is acked all the same.
 *   'lease_lost', 'message_gone', 'receipt_invalid'   as for postbag.ack: the lease is somebody else's, so nothing was done.
 * PB001 if reply_to is the name of a queue that does not exist; then nothing was done, as with all errors.
 *
 * Of two that reply at the same time the second waits until the first has committed, and replies if that rolls back. The message is
 * locked before the reply, as delete_queue does. `alone` says that this call is the whole transaction. */
create or replace function postbag.send_reply(
  queue text,
  reply_to text,
  message jsonb,
  receipt text default null,
  now timestamptz default clock_timestamp(),
  alone boolean default false
)
returns table (outcome text, replied_queue text, replied_id text)
language plpgsql
set enable_seqscan = off
as $$
declare
  known_words constant text[] := '{body,json,encoding,type,contentType,headers,correlationId,dedupId}';
  source constant postbag.queue := postbag.queue_named(send_reply.queue);
  -- {queue_id, reply_id, key}
  address constant text[] := case
    when reply_to ~ '^~[0-9]{1,18}\.[0-9]{1,18}\.[0-9a-f]{32}$' then string_to_array(substr(reply_to, 2), '.')
  end;
  asking record;
  given record;
begin
  if coalesce(length(reply_to), 0) not between 1 and 255 then
    perform postbag.refuse('PB002', format(
      'replyTo must be that of a request, of 1 to 255 characters, got %s', coalesce(to_jsonb(left(reply_to, 80))::text, 'null')
    ));
  end if;
  perform postbag.check_messages(jsonb_build_array(message));
  if message - known_words <> '{}' then
    perform postbag.refuse('PB002', format(
      'a reply has the unknown field %s: known are %s',
      (select min(field) from jsonb_object_keys(message - known_words) as field), array_to_string(known_words, ', ')
    ));
  end if;

  outcome := 'ok';
  if receipt is not null then
    select settled.outcome into outcome from postbag.ack(source.name, jsonb_build_array(receipt), send_reply.now) as settled;
  end if;
  if outcome <> 'ok' then
    return next;
    return;
  elsif not starts_with(reply_to, '~') then
    select sent.id into replied_id from postbag.send_batch(reply_to, jsonb_build_array(message), send_reply.now) as sent;
    replied_queue := reply_to;
    return next;
    return;
  end if;

  select
    coalesce(reply.encoding, 'json') as encoding,
    reply.type,
    reply."contentType" as content_type,
    case
      when reply.headers is null or postbag.is_string_map(reply.headers)
        then postbag.fields_in_headers(reply.headers, reply."correlationId", null)
      else postbag.refuse('PB002', format('headers must be an object of strings, got %s', reply.headers))::jsonb
    end as headers,
    case coalesce(reply.encoding, 'json')
      when 'json' then coalesce(reply.json::json::text, reply.body::text, 'null')
      when 'text' then postbag.string_of(reply.body)
    end as body,
    case when reply.encoding = 'base64' then decode(postbag.string_of(reply.body), 'base64') end as bytes
  into given
  from jsonb_to_record(message) as reply (
    body jsonb, json text, encoding text, type text, "contentType" text, headers jsonb, "correlationId" text
  );
  perform postbag.keeps_rules(
    given.encoding, given.type, given.content_type, given.headers, null, given.body, given.bytes
  );

  update postbag.reply
  set
    replied_at = send_reply.now,
    encoding = given.encoding,
    type = given.type,
    content_type = given.content_type,
    headers = given.headers,
    body = given.body,
    bytes = given.bytes
  where reply.queue_id = address[1]::bigint
    and reply.reply_id = address[2]::bigint
    and reply.reply_key = address[3]
    and reply.expires_at > send_reply.now
    and reply.replied_at is null;
  if not found then
    select case when count(*) > 0 then 'already_replied' else 'reply_not_found' end into outcome
    from postbag.reply
    where reply.queue_id = address[1]::bigint
      and reply.reply_id = address[2]::bigint
      and reply.reply_key = address[3]
      and reply.expires_at > send_reply.now;
    return next;
    return;
  end if;

  select known.name, known.durability into asking from postbag.queue as known where known.queue_id = address[1]::bigint;
  if alone and asking.durability <> 'full' then
    perform set_config('synchronous_commit', 'off', true);
  end if;
  replied_queue := asking.name;
  replied_id := address[2] || '.' || address[3];
  if asking.name is not null then
    perform postbag.wake(postbag.awaited_reply(asking.name, address[2]::bigint));
  end if;
  return next;
end
$$;
--! EndIncluded functions/send_reply.sql
--! Included functions/reply.sql
/* postbag.reply: reply to a request that was received from `queue`, in the caller's transaction; returns the outcome. With the receipt
 * the request is acked in the same step. `select postbag.reply('orders', '<its replyTo>', '{"ok": true}', receipt => '…')`. The replyTo
 * stands in the request's headers as 'postbag-reply-to'. What the outcomes mean: postbag.send_reply. */
create or replace function postbag.reply(
  queue text,
  reply_to text,
  body jsonb,
  receipt text default null,
  type text default null,
  headers jsonb default null,
  encoding text default 'json',
  content_type text default null,
  correlation_id text default null,
  now timestamptz default clock_timestamp()
)
returns text
language sql
as $$
  select replied.outcome
  from postbag.send_reply(
    reply.queue,
    reply.reply_to,
    jsonb_build_object('body', reply.body) || jsonb_strip_nulls(jsonb_build_object(
      'type', reply.type, 'headers', reply.headers, 'encoding', reply.encoding, 'contentType', reply.content_type,
      'correlationId', reply.correlation_id
    )),
    reply.receipt,
    reply.now
  ) as replied
$$;
--! EndIncluded functions/reply.sql
--! Included functions/fetch_reply.sql
/* postbag.fetch_reply: the reply to a request, by the id that postbag.request gave; as often as one likes, until its time is over. One row:
 * state 'pending' while nobody has replied, then 'replied'. PB006 if no reply is awaited under this id (any more). Changes nothing, never
 * waits. */
create or replace function postbag.fetch_reply(queue text, id text, now timestamptz default clock_timestamp())
returns table (
  message_id text,
  state text,
  body text,
  encoding text,
  type text,
  content_type text,
  headers jsonb,
  replied_at timestamptz,
  expires_at timestamptz
)
language plpgsql
stable
set enable_seqscan = off
as $$
declare
  source constant postbag.queue := postbag.queue_named(fetch_reply.queue);
begin
  if fetch_reply.id is null or fetch_reply.id !~ '^[0-9]{1,18}\.[0-9a-f]{32}$' then
    perform postbag.refuse('PB002', format('id must be the id of a reply, got %L', left(fetch_reply.id, 80)));
  end if;
  return query
    select
      reply.request_id::text,
      case when reply.replied_at is null then 'pending' else 'replied' end,
      coalesce(reply.body, translate(encode(reply.bytes, 'base64'), E'\n', '')),
      reply.encoding,
      reply.type,
      reply.content_type,
      reply.headers,
      reply.replied_at,
      reply.expires_at
    from postbag.reply
    where reply.queue_id = source.queue_id
      and reply.reply_id = split_part(fetch_reply.id, '.', 1)::bigint
      and reply.reply_key = split_part(fetch_reply.id, '.', 2)
      and reply.expires_at > fetch_reply.now;
  if not found then
    perform postbag.refuse('PB006', format('queue "%s" awaits no reply of the id %s (any more)', source.name, fetch_reply.id));
  end if;
end
$$;
--! EndIncluded functions/fetch_reply.sql
--! Included functions/forget_replies.sql
/* postbag.forget_replies: delete up to `most` replies of a queue whose time is over, given or not; how many. Never waits. */
create or replace function postbag.forget_replies(source_id bigint, most integer, now timestamptz)
returns bigint
language plpgsql
set enable_seqscan = off
as $$
declare
  forgotten bigint;
begin
  delete from postbag.reply
  where reply.ctid = any (array(
    select old.ctid from postbag.reply as old
    where old.queue_id = source_id and old.expires_at <= forget_replies.now
    order by old.expires_at
    limit most
    for update skip locked
  ));
  get diagnostics forgotten = row_count;
  return forgotten;
end
$$;
--! EndIncluded functions/forget_replies.sql
--! Included functions/tidy_at_commit.sql
/* postbag.tidy_at_commit: what a session has done for a queue once a second, at the end of its transaction: tidy up to 1000 messages and replies, name
 * the heads that were left unnamed, and now and then forget traffic of long ago. */
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
  perform postbag.settle_pending(tidied_id, tidy_at_commit.now);
  if random() < 1 / 60.0 then
    perform postbag.forget_traffic(tidied_id, tidy_at_commit.now);
  end if;
end
$$;
--! EndIncluded functions/tidy_at_commit.sql
--! Included functions/forget_queue.sql
/* postbag.forget_queue: delete all that is noted of a queue that is gone, besides its messages. */
create or replace function postbag.forget_queue(gone_id bigint)
returns void
language plpgsql
as $$
begin
  delete from postbag.dedup where dedup.queue_id = gone_id;
  delete from postbag.sweep where sweep.queue_id = gone_id;
  delete from postbag.tally where tally.queue_id = gone_id;
  delete from postbag.flow where flow.queue_id = gone_id;
  delete from postbag.traffic where traffic.queue_id = gone_id;
  delete from postbag.reply where reply.queue_id = gone_id;
  delete from postbag.group_pending where group_pending.queue_id = gone_id;
end
$$;
--! EndIncluded functions/forget_queue.sql
--! Included functions/delete_queue.sql
/* postbag.delete_queue: delete a queue and all its messages, leased ones too; returns how many messages went with it.
 * PB001 if there is none of that name. A receipt of the queue is worth nothing afterwards.
 * Beside a send that has not committed yet: the send may still succeed, and its message is gone with the queue. */
create or replace function postbag.delete_queue(queue text)
returns bigint
language plpgsql
as $$
declare
  doomed postbag.queue := postbag.queue_named(delete_queue.queue);
  deleted bigint;
begin
  if doomed.is_volatile then
    return postbag.volatile_delete_queue(delete_queue.queue);
  end if;
  delete from postbag.queue as known where known.queue_id = doomed.queue_id;
  if not found then
    -- Another deletion came first while this one waited for it.
    perform postbag.queue_named(delete_queue.queue);
  end if;
  -- In the order in which a send and an ack lock them, so that they and this cannot deadlock.
  perform from postbag.dedup where dedup.queue_id = doomed.queue_id order by dedup.scope, dedup.dedup_id for update;
  perform from postbag.message where message.queue_id = doomed.queue_id order by message.message_id for update;
  perform postbag.wake(postbag.awaited_reply(doomed.name, reply.reply_id))
  from postbag.reply
  where reply.queue_id = doomed.queue_id and reply.replied_at is null;
  perform postbag.forget_queue(doomed.queue_id);
  delete from postbag.message where message.queue_id = doomed.queue_id;
  get diagnostics deleted = row_count;
  -- Who waits is told that it is gone.
  perform postbag.wake(doomed.name);
  return deleted;
end
$$;
--! EndIncluded functions/delete_queue.sql
--! Included functions/maintain.sql
/* postbag.maintain: remove what nobody needs any more, up to max_messages of each kind, in one queue or in all: messages whose time to
 * live or last lease has ended (to the dead letters, if the queue says so), dead letters kept long enough, replies, dedup ids, old notes, and
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
    or removed_orphans >= max_messages;
  return next;
end
$$;
--! EndIncluded functions/maintain.sql

select postbag.make_volatile_twins();
