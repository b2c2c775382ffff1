--! Previous: -
--! Hash: sha1:10d9057e17c271ca24334bc4fba4a0098b15806b
--! Message: foundation

--! split: 01-tables.sql
/* The tables of Postbag. migrations/README.md tells how they work together.
 *
 * Rules they keep: queue_id is the first column of every key (so the schema can be sharded by queue); ids come from a bigint
 * sequence; there is no foreign key from message to queue, because every send would then lock its queue's row. */

create schema if not exists postbag;

/* A queue's name and configuration. Read once per operation, written only when somebody configures the queue. */
create table postbag.queue (
  queue_id bigint generated always as identity primary key,
  name text collate "C" not null,
  lease interval not null default '30 s',
  delay interval not null default '0 s',
  max_priority smallint not null default 0,
  -- The highest level a message here may have: the largest max_priority there ever was. Receives look at all levels up to it, so
  -- lowering max_priority strands no message, not even one whose sender has yet to commit.
  top_priority smallint not null default 0,
  dedup_window interval not null default '5 min',
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint queue_name_is_taken_once unique (name),
  constraint queue_name_is_safe check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$'),
  constraint queue_lease_is_0_to_43200_seconds check (lease between interval '0 s' and interval '43200 s'),
  constraint queue_delay_is_at_most_a_year check (delay between interval '0 s' and interval '31536000 s'),
  constraint queue_max_priority_is_0_to_9 check (max_priority between 0 and 9),
  constraint queue_top_priority_covers_max_priority check (top_priority >= max_priority),
  constraint queue_dedup_window_is_at_most_a_day check (dedup_window between interval '0 s' and interval '86400 s')
);

/* What the columns of a message may hold. Domains, because a check constraint on the table is parsed anew by every statement that writes a
 * row, claims included (six of them: 80 µs), and a domain is checked once, when the value comes in. */
create domain postbag.message_encoding as text
  constraint message_encoding_is_known check (value in ('json', 'text', 'base64'));
create domain postbag.message_type as text
  constraint message_type_is_at_most_255_characters check (length(value) between 1 and 255);
create domain postbag.message_content_type as text
  constraint message_content_type_is_at_most_255_characters check (length(value) between 1 and 255);
create domain postbag.message_headers as jsonb
  constraint message_headers_are_at_most_16_kib check (octet_length(value::text) <= 16384);
create domain postbag.message_body as text
  constraint message_body_is_at_most_1_mib check (octet_length(value) <= 1048576);
create domain postbag.message_bytes as bytea
  constraint message_body_is_at_most_1_mib check (octet_length(value) <= 1048576);

create sequence if not exists postbag.message_id;

/* One waiting, delayed or leased message. A claim changes no indexed column and the pages keep room (fillfactor), so claims and
 * extensions are heap-only updates: two index entries per message in its whole life. */
create table postbag.message (
  queue_id bigint not null,
  message_id bigint not null default nextval('postbag.message_id'),
  available_at timestamptz not null,
  sent_at timestamptz not null,
  leased_until timestamptz,
  first_received_at timestamptz,
  attempts integer not null default 0,
  -- Drawn by the claim. With attempts it names one lease, even if a claim was rolled back and the next one counts the same attempt.
  lease_key integer,
  priority smallint not null default 0,
  encoding postbag.message_encoding not null,
  type postbag.message_type,
  content_type postbag.message_content_type,
  headers postbag.message_headers,
  last_error text,
  body postbag.message_body,
  bytes postbag.message_bytes,
  primary key (queue_id, message_id)
) with (
  fillfactor = 60,
  vacuum_truncate = false,
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_insert_threshold = -1,
  autovacuum_vacuum_cost_delay = 0
);

/* The order of a claim, and its only way in. Partial, because a claim says `available_at < 'infinity'` and a look-up by id does not:
 * with the statistics of a nearly empty table the planner would else take this index for look-ups by id, and walk the queue. */
create index message_by_availability on postbag.message (queue_id, priority, available_at, message_id)
where available_at < 'infinity';

/* When the next expensive full scan of a queue may start, and where a session that knows nothing may start meanwhile: shared by
 * all sessions, so that a hundred of them do not sweep a hundred times. Written only after an expensive sweep, never waited for. */
create table postbag.sweep (
  queue_id bigint primary key,
  due_us bigint not null default 0,
  pause_us bigint not null default 0,
  start_at timestamptz not null default '-infinity'
) with (fillfactor = 20);

/* Which dedup ids were sent lately, and as which message. Apart from message, so that it cannot bloat the claim's way. */
create table postbag.dedup (
  queue_id bigint not null,
  dedup_id text collate "C" not null,
  message_id bigint not null,
  expires_at timestamptz not null,
  primary key (queue_id, dedup_id),
  constraint dedup_id_is_1_to_128_characters check (length(dedup_id) between 1 and 128)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000);

create index dedup_by_expiry on postbag.dedup (queue_id, expires_at);

--! split: 02-functions.sql
/* What callers see, and the functions behind every verb: one file each. */
--! Included views/queue_info.sql
/* postbag.queue_info: a queue's configuration as its callers see it: durations in seconds, no internal id. */
create or replace view postbag.queue_info as
select
  queue.name,
  extract(epoch from queue.lease)::double precision as lease_seconds,
  extract(epoch from queue.delay)::double precision as delay_seconds,
  queue.max_priority::integer as max_priority,
  extract(epoch from queue.dedup_window)::double precision as dedup_window_seconds,
  queue.created_at,
  queue.updated_at
from postbag.queue;
--! EndIncluded views/queue_info.sql
--! Included functions/refuse.sql
/* postbag.refuse: end the statement with one of Postbag's own errors (errcode 'PB0xx', the list is in src/errors.ts).
 * A function, so that a check can stand inside an expression (`case when ok then x else postbag.refuse(…)::integer end`) and
 * costs nothing while it holds. Never returns. */
create or replace function postbag.refuse(code text, problem text)
returns text
language plpgsql
as $$
begin
  raise exception using errcode = code, message = problem;
end
$$;
--! EndIncluded functions/refuse.sql
--! Included functions/queue_named.sql
/* postbag.queue_named: the queue of that name, or PB001. Takes no lock: a queue that is deleted meanwhile takes what was sent
 * to it along, or leaves it where nobody can see it. */
create or replace function postbag.queue_named(queue text)
returns postbag.queue
language plpgsql
stable
as $$
declare
  found_queue postbag.queue;
begin
  select known.* into found_queue from postbag.queue as known where known.name = queue_named.queue;
  if not found then
    perform postbag.refuse('PB001', format('queue "%s" does not exist', queue));
  end if;
  return found_queue;
end
$$;
--! EndIncluded functions/queue_named.sql
--! Included functions/remembered.sql
/* postbag.remembered: the numbers this database session has noted under a custom setting ("7:1893456000000000"), or null if there is
 * nothing of that form. A session's notes are hints: they make the next call faster, and losing them (another backend behind a
 * pooler, a rollback, DISCARD) is harmless. */
create or replace function postbag.remembered(setting text)
returns bigint[]
language sql
stable
return case
  when translate(current_setting(setting, true), ':0123456789', '') = ''
    then string_to_array(current_setting(setting, true), ':', '')::bigint[]
end;
--! EndIncluded functions/remembered.sql
--! Included functions/microseconds.sql
/* postbag.microseconds: a time as whole microseconds since 1970, for what a session notes as numbers. (Stable, because the planner
 * counts extract as that, and inlines no function that claims to be more.) */
create or replace function postbag.microseconds(instant timestamptz)
returns bigint
language sql
stable
return (extract(epoch from instant) * 1000000)::bigint;
--! EndIncluded functions/microseconds.sql
--! Included functions/instant.sql
/* postbag.instant: the time that lies so many microseconds after 1970. */
create or replace function postbag.instant(microseconds bigint)
returns timestamptz
language sql
immutable
return to_timestamp(microseconds / 1000000.0);
--! EndIncluded functions/instant.sql
--! Included functions/create_queue.sql
/* postbag.create_queue: create a queue, or replace the whole configuration of the one that has this name: what is not given goes
 * back to its default. Its messages stay. A new queue has created_at = updated_at.
 * Two callers at once: both succeed, and the configuration of the later one stands. */
create or replace function postbag.create_queue(
  queue text,
  lease interval default '30 s',
  delay interval default '0 s',
  max_priority integer default 0,
  dedup_window interval default '5 min',
  now timestamptz default clock_timestamp()
)
returns setof postbag.queue_info
language plpgsql
as $$
begin
  insert into postbag.queue as known
    (name, lease, delay, max_priority, top_priority, dedup_window, created_at, updated_at)
  values (
    create_queue.queue, create_queue.lease, create_queue.delay, create_queue.max_priority, create_queue.max_priority,
    create_queue.dedup_window, create_queue.now, create_queue.now
  )
  on conflict (name) do update set
    lease = excluded.lease,
    delay = excluded.delay,
    max_priority = excluded.max_priority,
    top_priority = greatest(known.top_priority, excluded.max_priority),
    dedup_window = excluded.dedup_window,
    -- Later than created_at even if the clock stands still: that is how "replaced" is told from "created".
    updated_at = greatest(excluded.updated_at, known.created_at + interval '1 microsecond');

  insert into postbag.sweep (queue_id)
  select known.queue_id from postbag.queue as known where known.name = create_queue.queue
  on conflict do nothing;

  return query select info.* from postbag.queue_info as info where info.name = create_queue.queue;
end
$$;
--! EndIncluded functions/create_queue.sql
--! Included functions/describe_queue.sql
/* postbag.describe_queue: the configuration of one queue, or PB001 if there is none of that name. */
create or replace function postbag.describe_queue(queue text)
returns setof postbag.queue_info
language plpgsql
stable
as $$
begin
  perform postbag.queue_named(describe_queue.queue);
  return query select info.* from postbag.queue_info as info where info.name = describe_queue.queue;
end
$$;
--! EndIncluded functions/describe_queue.sql
--! Included functions/list_queues.sql
/* postbag.list_queues: queues whose name starts with the prefix, by name, at most max_queues after the name `after`.
 * The last name of a full page is the next page's `after`; no rows mean there are no more. */
create or replace function postbag.list_queues(prefix text default '', after text default '', max_queues integer default 100)
returns setof postbag.queue_info
language plpgsql
stable
as $$
begin
  if max_queues is null or max_queues not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max_queues must be between 1 and 1000, got %s', max_queues));
  end if;
  return query
    select info.*
    from postbag.queue_info as info
    where info.name > coalesce(after, '') collate "C"
      and starts_with(info.name, coalesce(prefix, ''))
      and info.name >= coalesce(prefix, '') collate "C"
    order by info.name
    limit max_queues;
end
$$;
--! EndIncluded functions/list_queues.sql
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
  delete from postbag.queue as known where known.queue_id = doomed.queue_id;
  if not found then
    -- Another deletion came first while this one waited for it.
    perform postbag.queue_named(delete_queue.queue);
  end if;
  -- In the order in which a send and an ack lock them, so that they and this cannot deadlock.
  perform from postbag.dedup where dedup.queue_id = doomed.queue_id order by dedup.dedup_id for update;
  perform from postbag.message where message.queue_id = doomed.queue_id order by message.message_id for update;
  delete from postbag.sweep where sweep.queue_id = doomed.queue_id;
  delete from postbag.dedup where dedup.queue_id = doomed.queue_id;
  delete from postbag.message where message.queue_id = doomed.queue_id;
  get diagnostics deleted = row_count;
  return deleted;
end
$$;
--! EndIncluded functions/delete_queue.sql
--! Included functions/is_string_map.sql
/* postbag.is_string_map: whether a JSON value is an object whose values are all strings. */
create or replace function postbag.is_string_map(value jsonb)
returns boolean
language sql
immutable
return jsonb_typeof(value) = 'object' and not jsonb_path_exists(value, 'strict $.* ? (@.type() != "string")');
--! EndIncluded functions/is_string_map.sql
--! Included functions/string_of.sql
/* postbag.string_of: the text of a JSON string; anything else is refused (PB002), because encoding 'text' and 'base64' need one. */
create or replace function postbag.string_of(body jsonb)
returns text
language sql
immutable
return case
  when jsonb_typeof(body) = 'string' then body #>> '{}'
  else postbag.refuse(
    'PB002', format('body must be a string with this encoding, got %s', coalesce(jsonb_typeof(body), 'nothing'))
  )
end;
--! EndIncluded functions/string_of.sql
--! Included functions/check_messages.sql
/* postbag.check_messages: refuse (PB002, PB003) what is not a JSON array of 1 to 1000 message objects with known fields. What the
 * fields hold is checked where they are stored. */
create or replace function postbag.check_messages(messages jsonb)
returns void
language plpgsql
immutable
as $$
declare
  known constant text[] := '{body,json,encoding,type,contentType,headers,priority,delaySeconds,dedupId}';
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
--! Included functions/forget_dedup_ids.sql
/* postbag.forget_dedup_ids: delete up to 1024 dedup ids of a queue whose window ended more than an hour ago. (An id that has only just
 * ended may be sent again, and that send would wait for our transaction.) Skips what another transaction is deleting. The session
 * remembers how far it came (as receive does, and as harmless to lose), so that deleted rows that a held snapshot keeps in the index
 * are not walked over again. */
create or replace function postbag.forget_dedup_ids(target_id bigint, now timestamptz)
returns void
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  setting constant text := 'postbag.dedup_' || target_id % 64;
  remembered constant bigint[] := postbag.remembered(setting);
  start timestamptz := '-infinity';
begin
  if remembered[1] = target_id then
    start := to_timestamp(remembered[2]);
  end if;

  with expired as (
    select known.ctid as place, known.expires_at
    from postbag.dedup as known
    where known.queue_id = target_id and known.expires_at >= start and known.expires_at <= forget_dedup_ids.now - interval '1 hour'
    order by known.expires_at
    limit 1024
    for update skip locked
  ),
  forgotten as (
    delete from postbag.dedup as known using expired where known.queue_id = target_id and known.ctid = expired.place
  )
  select max(expired.expires_at) into start from expired;

  perform set_config(setting, format('%s:%s', target_id, floor(extract(epoch from start))::bigint), false)
  where start is not null;
end
$$;
--! EndIncluded functions/forget_dedup_ids.sql
--! Included functions/deduplicate.sql
/* postbag.deduplicate: per message the id of the first one sent with its dedupId within the window: its own (from `ids`) where it is
 * the first or has none. Whoever inserts the dedup row first wins; others wait for that transaction, and win if it rolls back.
 * The ids are taken in their sorted order, so two batches cannot deadlock over them; and in one statement, so that the planner has
 * nothing to choose. */
create or replace function postbag.deduplicate(
  target_id bigint, dedup_window interval, messages jsonb, ids bigint[], now timestamptz
)
returns bigint[]
language plpgsql
as $$
declare
  first_ids bigint[];
begin
  with item as materialized (
    select entry.message ->> 'dedupId' as dedup_id, entry."position"
    from jsonb_array_elements(messages) with ordinality as entry (message, "position")
  ),
  first as (
    insert into postbag.dedup as known (queue_id, dedup_id, message_id, expires_at)
    select target_id, item.dedup_id, ids[min(item."position")], deduplicate.now + dedup_window
    from item
    where item.dedup_id is not null
    group by item.dedup_id
    order by item.dedup_id collate "C"
    on conflict (queue_id, dedup_id) do update set
      message_id = case when known.expires_at <= deduplicate.now then excluded.message_id else known.message_id end,
      expires_at = case when known.expires_at <= deduplicate.now then excluded.expires_at else known.expires_at end
    returning known.dedup_id, known.message_id
  )
  select array_agg(coalesce(first.message_id, ids[item."position"]) order by item."position")
  into first_ids
  from item
  left join first on first.dedup_id = item.dedup_id;

  -- About once per 256 messages, so that the deletion costs a send next to nothing.
  if random() < cardinality(ids) / 256.0 then
    perform postbag.forget_dedup_ids(target_id, deduplicate.now);
  end if;
  return first_ids;
end
$$;
--! EndIncluded functions/deduplicate.sql
--! Included functions/send_batch.sql
/* postbag.send_batch: put 1 to 1000 messages into one queue, all or none, in the caller's transaction; one row per message, in
 * the order given. A message is a JSON object (the same words as over HTTP):
 *
 *   body          any JSON value; with encoding 'text' or 'base64' a string
 *   json          instead of body: JSON in a string, kept byte for byte (a body is kept as Postgres prints jsonb)
 *   encoding      'json' (default) | 'text' | 'base64'
 *   type, contentType, headers {name: string}, priority 0 – the queue's max_priority, delaySeconds 0 – 31536000
 *   dedupId       1 – 128 characters: a second send with it within the queue's dedup_window sends nothing, gives back the first
 *                 one's id and says `duplicate`
 *
 * A message becomes available at `now` plus its delay, and visible when the transaction commits. A send waits for another
 * transaction only while that one has sent (or is forgetting, long after its window) the same dedupId, and has not committed. */
create or replace function postbag.send_batch(queue text, messages jsonb, now timestamptz default clock_timestamp())
returns table (id text, duplicate boolean)
language plpgsql
as $$
declare
  target postbag.queue := postbag.queue_named(send_batch.queue);
  ids bigint[];
  -- Per message the id that its dedupId stands for; null where no message has one.
  first_ids bigint[];
begin
  perform postbag.check_messages(messages);
  ids := array(select nextval('postbag.message_id') from generate_series(1, jsonb_array_length(messages)));
  if jsonb_path_exists(messages, '$[*].dedupId') then
    first_ids := postbag.deduplicate(target.queue_id, target.dedup_window, messages, ids, send_batch.now);
  end if;

  insert into postbag.message
    (queue_id, message_id, available_at, sent_at, priority, encoding, type, content_type, headers, body, bytes)
  select
    target.queue_id,
    ids[sent.position],
    send_batch.now + case
      when sent."delaySeconds" is null then target.delay
      when sent."delaySeconds" between 0 and 31536000 then make_interval(secs => sent."delaySeconds")
      else postbag.refuse('PB002', format('delaySeconds must be between 0 and 31536000, got %s', sent."delaySeconds"))::interval
    end,
    send_batch.now,
    case
      when sent.priority is null then 0
      when sent.priority between 0 and target.max_priority then sent.priority
      else postbag.refuse('PB002', format(
        'priority must be between 0 and %s, the maxPriority of queue "%s", got %s',
        target.max_priority, target.name, sent.priority
      ))::smallint
    end,
    coalesce(sent.encoding, 'json'),
    sent.type,
    sent."contentType",
    case
      when sent.headers is null then null
      when postbag.is_string_map(sent.headers) then sent.headers
      else postbag.refuse('PB002', format('headers must be an object of strings, got %s', sent.headers))::jsonb
    end,
    case coalesce(sent.encoding, 'json')
      when 'json' then coalesce(sent.json::json::text, sent.body::text, 'null')
      when 'text' then postbag.string_of(sent.body)
    end,
    case when sent.encoding = 'base64' then decode(postbag.string_of(sent.body), 'base64') end
  from rows from (
    jsonb_to_recordset(messages) as (
      body jsonb, json text, encoding text, type text, "contentType" text, headers jsonb, priority integer,
      "delaySeconds" double precision
    )
  ) with ordinality as sent (
    body, json, encoding, type, "contentType", headers, priority, "delaySeconds", position
  )
  where first_ids is null or first_ids[sent.position] = ids[sent.position]
  order by sent.position;

  return query
    select coalesce(first_ids[place], ids[place])::text, first_ids is not null and first_ids[place] <> ids[place]
    from generate_subscripts(ids, 1) as place;
end
$$;
--! EndIncluded functions/send_batch.sql
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
  now timestamptz default clock_timestamp()
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
    ) || case when send.dedup_id is null then '{}'::jsonb else jsonb_build_object('dedupId', send.dedup_id) end),
    send.now
  ) as sent
$$;
--! EndIncluded functions/send.sql
--! Included functions/announce_sweep.sql
/* postbag.announce_sweep: tell all sessions that a full look over the queue was expensive, when the next is due (after which pause), and
 * where a session may start until then: the lowest of this session's cursors, or the head if it has not looked at every priority.
 * Does nothing if another session is just announcing: never waits. */
create or replace function postbag.announce_sweep(swept_id bigint, top_priority integer, due_us bigint, pause_us bigint)
returns void
language plpgsql
as $$
declare
  lowest_us bigint;
begin
  select min(note.cursor[2]) into lowest_us
  from (
    select postbag.remembered(format('postbag.cursor_%s_%s', swept_id % 256, level)) as cursor
    from generate_series(0, announce_sweep.top_priority) as level
  ) as note
  having bool_and(note.cursor[1] is not distinct from swept_id);

  perform from postbag.sweep where sweep.queue_id = swept_id for update skip locked;
  if found then
    update postbag.sweep
    set
      due_us = announce_sweep.due_us,
      pause_us = announce_sweep.pause_us,
      start_at = coalesce(postbag.instant(lowest_us), '-infinity')
    where sweep.queue_id = swept_id;
  end if;
end
$$;
--! EndIncluded functions/announce_sweep.sql
--! Included functions/receive.sql
/* postbag.receive: lease up to max_messages available messages of one queue: highest priority first, then by availability, then in
 * the order they were sent. Who receives owns a message until leased_until; the receipt is the proof, for ack, nack and extend.
 * Never waits: no rows mean "nothing available now" (waiting is src/wakeup's job).
 * Two callers never share a message: rows another has locked are skipped, rows it has leased are not available.
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
 *
 * The claim changes no indexed column (the lease is leased_until), joins on the ctid it has just locked, and its plan is pinned:
 * statistics of a nearly empty table would flip it. */
create or replace function postbag.receive(
  queue text,
  max_messages integer default 1,
  lease interval default null,
  now timestamptz default clock_timestamp()
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
  attempts integer,
  sent_at timestamptz,
  first_received_at timestamptz,
  leased_until timestamptz
)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source constant postbag.queue := postbag.queue_named(receive.queue);
  until constant timestamptz := receive.now + coalesce(receive.lease, source.lease);
  -- Into a variable: nothing volatile may stand inside an update of a queue's table.
  drawn_key constant integer := floor(random() * 2147483647);
  now_us constant bigint := postbag.microseconds(receive.now);
  started constant timestamptz := clock_timestamp();
  took_us bigint;
  expensive_us constant bigint := 2000;
  longest_near_pause_us constant bigint := 1000000;
  first_pause_us constant bigint := 100000;
  longest_pause_us constant bigint := 60000000;

  -- What this session noted: {queue_id, near look due, full look due, last full look took, pause after it}, in microseconds.
  look_setting constant text := 'postbag.look_' || source.queue_id % 256;
  look bigint[] := postbag.remembered(look_setting);
  depth text := 'cursor';
  shared postbag.sweep;
  -- {queue_id, lowest available_at claimed}: one setting per priority.
  cursor_setting text;
  cursor_note bigint[];
  start timestamptz;

  wanted integer := max_messages;
  claimed integer;
begin
  if max_messages is null or max_messages not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max must be between 1 and 1000, got %s', coalesce(max_messages::text, 'null')));
  elsif until < receive.now or until > receive.now + interval '43200 s' then
    perform postbag.refuse('PB002', format(
      'leaseSeconds must be between 0 and 43200, got %s', extract(epoch from receive.lease)::double precision
    ));
  end if;

  -- How far to look back. (A due time beyond the longest pause means that the clock was set back.)
  if look[1] is distinct from source.queue_id or look[5] is null or look[3] > now_us + longest_pause_us then
    look := array[source.queue_id, 0, 0, expensive_us, 0];
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

    return query
      with head as materialized (
        select message.ctid as place, message.available_at
        from postbag.message
        where message.queue_id = source.queue_id
          and message.priority = level
          and message.available_at >= start
          and message.available_at <= receive.now
          and message.available_at < 'infinity'
          and (message.leased_until is null or message.leased_until <= receive.now)
        order by message.available_at, message.message_id
        limit wanted
        for update skip locked
      ),
      leased as (
        update postbag.message
        set
          leased_until = until,
          attempts = message.attempts + 1,
          lease_key = drawn_key,
          first_received_at = coalesce(message.first_received_at, receive.now)
        from head
        where message.queue_id = source.queue_id and message.ctid = head.place
        returning message.*
      ),
      noted as (
        select set_config(
          cursor_setting,
          format('%s:%s', source.queue_id, postbag.microseconds(min(head.available_at))),
          false
        )
        from head
        having count(*) > 0
      )
      select
        leased.message_id::text,
        concat_ws('.', leased.message_id, leased.attempts, leased.lease_key),
        coalesce(leased.body::text, translate(encode(leased.bytes, 'base64'), E'\n', '')),
        leased.encoding::text,
        leased.type::text,
        leased.content_type::text,
        leased.headers::jsonb,
        leased.priority::integer,
        leased.attempts,
        leased.sent_at,
        leased.first_received_at,
        leased.leased_until
      from leased, noted
      order by leased.available_at, leased.message_id;

    get diagnostics claimed = row_count;
    wanted := wanted - claimed;
    if claimed = 0 then
      -- Nothing from here to now, so the next call may start shortly before now; what commits later is for the near look.
      perform set_config(
        cursor_setting,
        format('%s:%s', source.queue_id, postbag.microseconds(greatest(start, receive.now - interval '1 s'))),
        false
      );
    end if;
    exit when wanted = 0;
  end loop;

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
--! EndIncluded functions/receive.sql
--! Included functions/claims.sql
/* postbag.claims: the receipts of a JSON array taken apart: which message, and which of its leases (its attempt and its key: a lease
 * has a higher attempt than the one before, and the key tells it from one that was rolled back). All null where the text is no receipt.
 * (Checked without a regular expression, which costs more than the rest of an ack.) */
create or replace function postbag.claims(receipts jsonb)
returns table ("position" bigint, receipt text, message_id bigint, attempt integer, lease_key bigint)
language sql
immutable
as $$
  select given."position", given.receipt, part[1]::bigint, part[2]::integer, part[3]::bigint
  from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position")
  cross join lateral string_to_array(
    case
      when translate(given.receipt, '0123456789', '') = '..'
        and length(split_part(given.receipt, '.', 1)) between 1 and 18
        and length(split_part(given.receipt, '.', 2)) between 1 and 9
        and length(split_part(given.receipt, '.', 3)) between 1 and 10
        then given.receipt
    end,
    '.'
  ) as part
$$;
--! EndIncluded functions/claims.sql
--! Included functions/check_receipts.sql
/* postbag.check_receipts: refuse (PB002, PB003) what is not a JSON array of 1 to 1000 elements. What an element is worth is an outcome
 * of its own. */
create or replace function postbag.check_receipts(receipts jsonb)
returns void
language plpgsql
immutable
as $$
begin
  if receipts is null or jsonb_typeof(receipts) <> 'array' then
    perform postbag.refuse('PB002', format('receipts must be a JSON array, got %s', coalesce(jsonb_typeof(receipts), 'null')));
  elsif jsonb_array_length(receipts) = 0 then
    perform postbag.refuse('PB002', 'receipts must be between 1 and 1000, got 0');
  elsif jsonb_array_length(receipts) > 1000 then
    perform postbag.refuse('PB003', format('receipts must be between 1 and 1000, got %s', jsonb_array_length(receipts)));
  end if;
end
$$;
--! EndIncluded functions/check_receipts.sql
--! Included functions/refusal.sql
/* postbag.refusal: why a receipt could not be used: 'receipt_invalid', 'message_gone', 'lease_lost' or 'lease_expired' (the words are
 * explained at postbag.ack and postbag.extend). Volatile, so that it looks at what is there now, not when the statement began. */
create or replace function postbag.refusal(source_id bigint, claimed_id bigint, attempt integer, lease_key bigint)
returns text
language plpgsql
volatile
as $$
declare
  reason text := 'message_gone';
begin
  if claimed_id is null then
    return 'receipt_invalid';
  end if;
  select case
    when message.attempts = refusal.attempt and message.lease_key = refusal.lease_key
      and message.leased_until is not null then 'lease_expired'
    else 'lease_lost'
  end
  into reason
  from postbag.message
  where message.queue_id = source_id and message.message_id = claimed_id;
  return coalesce(reason, 'message_gone');
end
$$;
--! EndIncluded functions/refusal.sql
--! Included functions/ack.sql
/* postbag.ack: delete the messages of these receipts (a JSON array of strings), in the caller's transaction, so that work and ack
 * can commit together. One row per receipt, in the order given, with its outcome:
 *   'ok'               the message is done and gone
 *   'lease_lost'       the message was given back, or received again since: this receipt owns nothing, nothing changed
 *   'message_gone'     there is no such message in this queue (any more): acked before, or purged
 *   'receipt_invalid'  this is not a receipt
 * A lease that has ended but passed to nobody still acks: the work is done, a redelivery would help no one.
 *
 * Messages are settled in the order of their ids, so that two calls over the same ones cannot deadlock; and one by one, because
 * a set-based join is at the planner's mercy: with the statistics of a nearly empty table it walks the whole queue. */
create or replace function postbag.ack(queue text, receipts jsonb)
returns table (receipt text, outcome text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source constant postbag.queue := postbag.queue_named(ack.queue);
  claim record;
  outcomes text[];
begin
  perform postbag.check_receipts(receipts);

  for claim in
    select given.* from postbag.claims(receipts) as given order by given.message_id, given."position"
  loop
    delete from postbag.message
    where message.queue_id = source.queue_id
      and message.message_id = claim.message_id
      and message.attempts = claim.attempt
      and message.lease_key = claim.lease_key
      and message.leased_until is not null;
    outcomes[claim."position"] :=
      case when found then 'ok' else postbag.refusal(source.queue_id, claim.message_id, claim.attempt, claim.lease_key) end;
  end loop;

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/ack.sql
--! Included functions/nack.sql
/* postbag.nack: give messages back, to be received again at once or after the delay (0 s to a year); `error` says why and is kept
 * with the message (its first 4000 characters). In the caller's transaction; outcomes and order as for postbag.ack.
 * The message becomes available at now + delay: behind what is waiting already. */
create or replace function postbag.nack(
  queue text,
  receipts jsonb,
  delay interval default '0 s',
  error text default null,
  now timestamptz default clock_timestamp()
)
returns table (receipt text, outcome text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source constant postbag.queue := postbag.queue_named(nack.queue);
  claim record;
  outcomes text[];
begin
  perform postbag.check_receipts(receipts);
  if nack.delay not between interval '0 s' and interval '31536000 s' then
    perform postbag.refuse('PB002', format(
      'delaySeconds must be between 0 and 31536000, got %s', extract(epoch from nack.delay)::double precision
    ));
  end if;

  for claim in
    select given.* from postbag.claims(receipts) as given order by given.message_id, given."position"
  loop
    update postbag.message
    set
      leased_until = null,
      available_at = nack.now + coalesce(nack.delay, '0 s'),
      last_error = coalesce(left(nack.error, 4000), message.last_error)
    where message.queue_id = source.queue_id
      and message.message_id = claim.message_id
      and message.attempts = claim.attempt
      and message.lease_key = claim.lease_key
      and message.leased_until is not null;
    outcomes[claim."position"] :=
      case when found then 'ok' else postbag.refusal(source.queue_id, claim.message_id, claim.attempt, claim.lease_key) end;
  end loop;

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/nack.sql
--! Included functions/extend.sql
/* postbag.extend: keep messages for `lease` (0 s to 43200 s, default the queue's) from now on. The receipts stay the same.
 * In the caller's transaction; order and outcomes as for postbag.ack, and one more:
 *   'lease_expired'    the lease had ended before: somebody else may receive the message at any moment, so nothing is promised */
create or replace function postbag.extend(
  queue text,
  receipts jsonb,
  lease interval default null,
  now timestamptz default clock_timestamp()
)
returns table (receipt text, outcome text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source constant postbag.queue := postbag.queue_named(extend.queue);
  claim record;
  outcomes text[];
begin
  perform postbag.check_receipts(receipts);
  if extend.lease not between interval '0 s' and interval '43200 s' then
    perform postbag.refuse('PB002', format(
      'leaseSeconds must be between 0 and 43200, got %s', extract(epoch from extend.lease)::double precision
    ));
  end if;

  for claim in
    select given.* from postbag.claims(receipts) as given order by given.message_id, given."position"
  loop
    update postbag.message
    set leased_until = extend.now + coalesce(extend.lease, source.lease)
    where message.queue_id = source.queue_id
      and message.message_id = claim.message_id
      and message.attempts = claim.attempt
      and message.lease_key = claim.lease_key
      and message.leased_until > extend.now;
    outcomes[claim."position"] :=
      case when found then 'ok' else postbag.refusal(source.queue_id, claim.message_id, claim.attempt, claim.lease_key) end;
  end loop;

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/extend.sql
--! Included functions/peek.sql
/* postbag.peek: look at messages without taking them, in the order they were sent, max_messages (1 to 1000) of those after the id
 * `after`. The last id of a full page is the next page's `after`. Changes nothing.
 * state: 'ready' (would be received now), 'leased' (until leased_until), 'delayed' (until available_at). */
create or replace function postbag.peek(
  queue text,
  max_messages integer default 10,
  after text default null,
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
  attempts integer,
  last_error text,
  sent_at timestamptz,
  available_at timestamptz,
  first_received_at timestamptz,
  leased_until timestamptz
)
language plpgsql
stable
-- A plan made when the table was small would read all queues.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
  source constant postbag.queue := postbag.queue_named(peek.queue);
begin
  if max_messages is null or max_messages not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max must be between 1 and 1000, got %s', coalesce(max_messages::text, 'null')));
  elsif after !~ '^[0-9]{1,18}$' then
    perform postbag.refuse('PB002', format('after must be the id of a message, got %L', after));
  end if;
  return query
    select
      message.message_id::text,
      case
        when message.leased_until > peek.now then 'leased'
        when message.available_at > peek.now then 'delayed'
        else 'ready'
      end,
      coalesce(message.body::text, translate(encode(message.bytes, 'base64'), E'\n', '')),
      message.encoding::text,
      message.type::text,
      message.content_type::text,
      message.headers::jsonb,
      message.priority::integer,
      message.attempts,
      message.last_error,
      message.sent_at,
      message.available_at,
      message.first_received_at,
      message.leased_until
    from postbag.message
    where message.queue_id = source.queue_id and message.message_id > coalesce(peek.after, '0')::bigint
    order by message.message_id
    limit max_messages;
end
$$;
--! EndIncluded functions/peek.sql
--! Included functions/purge.sql
/* postbag.purge: delete all messages of a queue, leased and delayed ones too; returns how many. Messages that another transaction
 * is receiving or settling at this moment are left to it, so that a purge never waits. */
create or replace function postbag.purge(queue text)
returns bigint
language plpgsql
-- A plan made when the queue was empty would be quadratic.
set enable_nestloop = off
as $$
declare
  source constant postbag.queue := postbag.queue_named(purge.queue);
  deleted bigint;
begin
  with doomed as materialized (
    select message.message_id from postbag.message where message.queue_id = source.queue_id for update skip locked
  )
  delete from postbag.message using doomed
  where message.queue_id = source.queue_id and message.message_id = doomed.message_id;
  get diagnostics deleted = row_count;
  return deleted;
end
$$;
--! EndIncluded functions/purge.sql
--! Included functions/queue_stats.sql
/* postbag.queue_stats: how many messages of a queue are ready, leased and delayed, and since when the oldest ready one has been
 * available. Counts at most 100,000 messages, so that looking stays cheap; beyond that `capped` is true and the counts are what was
 * found among the 100,000 oldest. */
create or replace function postbag.queue_stats(queue text, now timestamptz default clock_timestamp())
returns table (
  ready bigint,
  leased bigint,
  delayed bigint,
  oldest_ready_at timestamptz,
  capped boolean
)
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  source constant postbag.queue := postbag.queue_named(queue_stats.queue);
begin
  return query
    select
      count(*) filter (where counted.state = 'ready'),
      count(*) filter (where counted.state = 'leased'),
      count(*) filter (where counted.state = 'delayed'),
      min(counted.available_at) filter (where counted.state = 'ready'),
      count(*) = 100000
    from (
      select
        message.available_at,
        case
          when message.leased_until > queue_stats.now then 'leased'
          when message.available_at > queue_stats.now then 'delayed'
          else 'ready'
        end as state
      from postbag.message
      where message.queue_id = source.queue_id
      order by message.message_id
      limit 100000
    ) as counted;
end
$$;
--! EndIncluded functions/queue_stats.sql
