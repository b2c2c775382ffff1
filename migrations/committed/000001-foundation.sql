--! Previous: -
--! Hash: sha1:8528641e2a399c68b40715a9968c061f901b0906
--! Message: foundation

--! split: 01-tables.sql
/* The tables of Postbag. migrations/README.md tells how they work together.
 *
 * Rules they keep: queue_id is the first column of every key (so the schema can be sharded by queue); ids come from a bigint
 * sequence; there is no foreign key from message to queue, because every send would then lock its queue's row. */

create schema if not exists postbag;

/* A queue's name and configuration. Read once per operation, written only when somebody configures, pauses or resumes the queue. */
create table postbag.queue (
  queue_id bigint generated always as identity primary key,
  name text collate "C" not null,
  delivery_order text not null,
  max_priority smallint not null,
  -- The highest level a message here may have: the largest max_priority there ever was. Receives look at all levels up to it, so
  -- lowering max_priority strands no message, not even one whose sender has yet to commit.
  top_priority smallint not null,
  group_mode text not null,
  lease interval not null,
  delay interval not null,
  ttl interval,
  max_attempts integer,
  retry_delay interval not null,
  retry_backoff text not null,
  retry_max_delay interval not null,
  retry_jitter double precision not null,
  dead_letter_queue text collate "C",
  dead_letter_retention interval not null,
  dedup_window interval not null,
  dedup_by text not null,
  dedup_scope text not null,
  max_messages bigint,
  max_bytes bigint,
  overflow text not null,
  max_in_flight integer,
  rate double precision,
  burst integer,
  group_rate double precision,
  group_burst integer,
  durability text not null,
  is_volatile boolean generated always as (durability = 'volatile') stored,
  paused boolean not null default false,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint queue_name_is_taken_once unique (name),
  constraint queue_name_is_safe check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$'),
  constraint queue_order_is_fifo_or_lifo check (delivery_order in ('fifo', 'lifo')),
  constraint queue_max_priority_is_0_to_9 check (max_priority between 0 and 9),
  constraint queue_top_priority_covers_max_priority check (top_priority >= max_priority),
  constraint queue_groups_are_ordered_or_fair check (group_mode in ('ordered', 'fair')),
  constraint queue_lease_is_0_to_43200_seconds check (lease between interval '0 s' and interval '43200 s'),
  constraint queue_delay_is_at_most_a_year check (delay between interval '0 s' and interval '31536000 s'),
  constraint queue_ttl_is_a_millisecond_to_a_year check (ttl between interval '1 ms' and interval '31536000 s'),
  constraint queue_max_attempts_is_1_to_1000 check (max_attempts between 1 and 1000),
  constraint queue_retry_delay_is_at_most_a_year check (retry_delay between interval '0 s' and interval '31536000 s'),
  constraint queue_retry_backoff_is_fixed_or_exponential check (retry_backoff in ('fixed', 'exponential')),
  constraint queue_retry_max_delay_is_at_most_a_year check (retry_max_delay between interval '0 s' and interval '31536000 s'),
  constraint queue_retry_jitter_is_0_to_1 check (retry_jitter between 0 and 1),
  constraint queue_dead_letter_retention_is_a_second_to_a_year
    check (dead_letter_retention between interval '1 s' and interval '31536000 s'),
  constraint queue_dedup_window_is_at_most_a_day check (dedup_window between interval '0 s' and interval '86400 s'),
  constraint queue_dedup_by_is_id_or_content check (dedup_by in ('id', 'content')),
  constraint queue_dedup_scope_is_queue_or_group check (dedup_scope in ('queue', 'group')),
  constraint queue_max_messages_is_1_to_1000000000 check (max_messages between 1 and 1000000000),
  constraint queue_max_bytes_is_1_to_1125899906842624 check (max_bytes between 1 and 1125899906842624),
  constraint queue_overflow_is_reject_or_drop_oldest check (overflow in ('reject', 'drop-oldest')),
  constraint queue_max_in_flight_is_1_to_100000 check (max_in_flight between 1 and 100000),
  constraint queue_rate_is_a_thousandth_to_a_million check (rate between 0.001 and 1000000),
  constraint queue_rate_burst_is_1_to_1000000 check (burst between 1 and 1000000),
  constraint queue_rate_burst_needs_a_rate check (burst is null or rate is not null),
  constraint queue_group_rate_is_a_thousandth_to_a_million check (group_rate between 0.001 and 1000000),
  constraint queue_group_rate_burst_is_1_to_1000000 check (group_burst between 1 and 1000000),
  constraint queue_group_rate_burst_needs_a_group_rate check (group_burst is null or group_rate is not null),
  constraint queue_durability_is_full_relaxed_or_volatile check (durability in ('full', 'relaxed', 'volatile'))
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

create domain postbag.message_group as text collate "C"
  constraint message_group_is_1_to_128_characters check (length(value) between 1 and 128);

/* One waiting, delayed, leased or dead message. A claim changes no indexed column and the pages keep room (fillfactor), so claims and
 * extensions are heap-only updates: two index entries per message in its whole life. */
create table postbag.message (
  queue_id bigint not null,
  message_id bigint not null default nextval('postbag.message_id'),
  -- 'infinity': not to be handed out by a claim. It is dead, or its turn in its group has not come.
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
  group_key postbag.message_group,
  -- Its place in the line of its group: 0 is the head, the one that claims may see. Null: in no line.
  group_position bigint,
  -- When a message that waits in line may be received at the earliest; null: at any time.
  due_at timestamptz,
  -- Unless it is leased, it is worth nothing from then on: its time to live, the lease of its last attempt, its time as a dead letter.
  expires_at timestamptz,
  -- Like leased_until, only where the queue limits how many are in flight.
  in_flight_until timestamptz,
  dead_at timestamptz,
  -- How often it was a dead letter: [{queue, reason, error, attempts, at}], oldest first.
  deaths jsonb,
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

/* The lines of the groups. */
create index message_by_group on postbag.message (queue_id, group_key, group_position)
where group_position is not null;

create index message_by_expiry on postbag.message (queue_id, expires_at)
where expires_at is not null;

create index message_in_flight on postbag.message (queue_id, in_flight_until)
where in_flight_until is not null;

create index message_by_death on postbag.message (queue_id, dead_at, message_id)
where dead_at is not null;

/* The same for volatile queues: no write-ahead log, and empty after a crash of the database. The functions have twins that work on it
 * (functions/make_volatile_twins.sql). */
create unlogged sequence postbag.volatile_message_id;

create unlogged table postbag.volatile_message (
  like postbag.message including all
) with (
  fillfactor = 60,
  vacuum_truncate = false,
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_insert_threshold = -1,
  autovacuum_vacuum_cost_delay = 0
);

alter table postbag.volatile_message alter column message_id set default nextval('postbag.volatile_message_id');

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
  -- The group, where a dedup id counts per group; else empty.
  scope text collate "C" not null,
  dedup_id text collate "C" not null,
  message_id bigint not null,
  expires_at timestamptz not null,
  primary key (queue_id, scope, dedup_id),
  constraint dedup_id_is_1_to_128_characters check (length(dedup_id) between 1 and 128)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000);

create index dedup_by_expiry on postbag.dedup (queue_id, expires_at);

create unlogged table postbag.volatile_dedup (
  like postbag.dedup including all
);

/* What a transaction did to the lines of groups: written by the verbs, applied and removed at commit by a deferred trigger
 * (functions/apply_group_changes.sql). So nobody ever sees a row of another transaction, and none survives its own: unlogged. */
create unlogged table postbag.group_change (
  xact xid8 not null default pg_current_xact_id(),
  change_id bigint generated always as identity,
  queue_id bigint not null,
  groups text[] not null,
  -- The messages that joined these lines, in the order of their sending; null if none did.
  arrived bigint[],
  -- Whether the queue is to be tidied, too.
  tidies boolean not null default false,
  changed_at timestamptz not null,
  primary key (xact, change_id)
);

/* Groups that may lack a head, because the transaction that should have named one could not: the next receive does it. */
create table postbag.group_pending (
  queue_id bigint not null,
  group_key text collate "C" not null,
  -- A group may be here more than once: nobody waits for another transaction that has left it, too.
  pending_id bigint generated always as identity,
  primary key (queue_id, group_key, pending_id)
);

/* How far a rate limit is used up (the theoretical arrival time of GCRA): of a queue with an empty group_key, else of a group. */
create table postbag.flow (
  queue_id bigint not null,
  group_key text collate "C" not null,
  spent_until timestamptz not null,
  primary key (queue_id, group_key)
) with (fillfactor = 20);

/* The last count of a queue's messages, for statistics and for limits of length. Written when it was worth counting, never waited for. */
create table postbag.tally (
  queue_id bigint primary key,
  counted_at timestamptz not null,
  took_us bigint not null,
  ready bigint not null,
  leased bigint not null,
  delayed bigint not null,
  blocked bigint not null,
  dead bigint not null,
  bytes bigint not null,
  oldest_ready_at timestamptz,
  capped boolean not null,
  -- The newest message id drawn when counting began: no more than those since can have been added.
  newest_id bigint not null
) with (fillfactor = 20);

/* How many messages were sent to and done in a queue: each session adds what it did, once a second at most. A crash forgets it. */
create unlogged table postbag.traffic (
  queue_id bigint not null,
  noted_at timestamptz not null,
  sent bigint not null,
  done bigint not null
);

create index traffic_by_time on postbag.traffic (queue_id, noted_at);

/* Which messages a consumer has seen, for consumers whose work is in this database and whose queue is in another one. */
create table postbag.inbox (
  consumer text collate "C" not null,
  message_id text collate "C" not null,
  expires_at timestamptz not null,
  primary key (consumer, message_id),
  constraint inbox_consumer_is_1_to_128_characters check (length(consumer) between 1 and 128),
  constraint inbox_message_id_is_1_to_255_characters check (length(message_id) between 1 and 255)
);

create index inbox_by_expiry on postbag.inbox (expires_at);

--! split: 02-functions.sql
/* What callers see, and the functions behind every verb: one file each. */
--! Included views/queue_info.sql
/* postbag.queue_info: a queue's configuration as its callers see it: durations in seconds, no internal id. */
create or replace view postbag.queue_info as
select
  queue.name,
  queue.delivery_order,
  queue.max_priority::integer as max_priority,
  queue.group_mode,
  extract(epoch from queue.lease)::double precision as lease_seconds,
  extract(epoch from queue.delay)::double precision as delay_seconds,
  extract(epoch from queue.ttl)::double precision as ttl_seconds,
  queue.max_attempts,
  extract(epoch from queue.retry_delay)::double precision as retry_delay_seconds,
  queue.retry_backoff,
  extract(epoch from queue.retry_max_delay)::double precision as retry_max_delay_seconds,
  queue.retry_jitter,
  queue.dead_letter_queue,
  extract(epoch from queue.dead_letter_retention)::double precision as dead_letter_retention_seconds,
  extract(epoch from queue.dedup_window)::double precision as dedup_window_seconds,
  queue.dedup_by,
  queue.dedup_scope,
  queue.max_messages,
  queue.max_bytes,
  queue.overflow,
  queue.max_in_flight,
  queue.rate,
  queue.burst,
  queue.group_rate,
  queue.group_burst,
  queue.durability,
  queue.paused,
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
--! Included functions/check_dead_letter_queue.sql
/* postbag.check_dead_letter_queue: refuse (PB002) a dead-letter queue that is not there, or whose messages are stored elsewhere. */
create or replace function postbag.check_dead_letter_queue(dead_letter_queue text, durability text)
returns void
language plpgsql
stable
as $$
declare
  target postbag.queue;
begin
  select known.* into target from postbag.queue as known where known.name = check_dead_letter_queue.dead_letter_queue;
  if target.queue_id is null then
    perform postbag.refuse('PB002', format(
      'deadLetterQueue must be a queue that exists (or the queue itself), got %L', check_dead_letter_queue.dead_letter_queue
    ));
  elsif target.is_volatile <> (check_dead_letter_queue.durability = 'volatile') then
    perform postbag.refuse('PB002', format(
      'deadLetterQueue must be %s as the queue itself is, and "%s" is %s',
      case when target.is_volatile then 'durable' else 'volatile' end, target.name, target.durability
    ));
  end if;
end
$$;
--! EndIncluded functions/check_dead_letter_queue.sql
--! Included functions/create_queue.sql
/* postbag.create_queue: create a queue, or replace the whole configuration of the one that has this name: what is not given goes
 * back to its default. Its messages stay, and so does its pause. A new queue has created_at = updated_at.
 * What each setting means: QueueConfig in src/wire.ts. A volatile queue cannot become a durable one or the reverse: its messages are
 * stored elsewhere.
 * Two callers at once: both succeed, and the configuration of the later one stands. */
create or replace function postbag.create_queue(
  queue text,
  lease interval default '30 s',
  delay interval default '0 s',
  max_priority integer default 0,
  dedup_window interval default '5 min',
  now timestamptz default clock_timestamp(),
  delivery_order text default 'fifo',
  group_mode text default 'ordered',
  ttl interval default null,
  max_attempts integer default null,
  retry_delay interval default '0 s',
  retry_backoff text default 'fixed',
  retry_max_delay interval default '1 h',
  retry_jitter double precision default 0,
  dead_letter_queue text default null,
  dead_letter_retention interval default '14 days',
  dedup_by text default 'id',
  dedup_scope text default 'queue',
  max_messages bigint default null,
  max_bytes bigint default null,
  overflow text default 'reject',
  max_in_flight integer default null,
  rate double precision default null,
  burst integer default null,
  group_rate double precision default null,
  group_burst integer default null,
  durability text default 'full'
)
returns setof postbag.queue_info
language plpgsql
as $$
declare
  present postbag.queue;
begin
  select known.* into present from postbag.queue as known where known.name = create_queue.queue;
  if present.is_volatile <> (create_queue.durability = 'volatile') then
    perform postbag.refuse('PB002', format(
      'durability of queue "%s" must stay %s, got %L: delete the queue first, its messages are stored elsewhere',
      create_queue.queue, case when present.is_volatile then 'volatile' else 'full or relaxed' end, create_queue.durability
    ));
  end if;
  if create_queue.dead_letter_queue <> create_queue.queue then
    perform postbag.check_dead_letter_queue(create_queue.dead_letter_queue, create_queue.durability);
  end if;

  insert into postbag.queue as known (
    name, delivery_order, max_priority, top_priority, group_mode, lease, delay, ttl, max_attempts, retry_delay, retry_backoff,
    retry_max_delay, retry_jitter, dead_letter_queue, dead_letter_retention, dedup_window, dedup_by, dedup_scope, max_messages,
    max_bytes, overflow, max_in_flight, rate, burst, group_rate, group_burst, durability, created_at, updated_at
  )
  values (
    create_queue.queue, create_queue.delivery_order, create_queue.max_priority, create_queue.max_priority,
    create_queue.group_mode, create_queue.lease, create_queue.delay, create_queue.ttl, create_queue.max_attempts,
    create_queue.retry_delay, create_queue.retry_backoff, create_queue.retry_max_delay, create_queue.retry_jitter,
    create_queue.dead_letter_queue, create_queue.dead_letter_retention, create_queue.dedup_window, create_queue.dedup_by,
    create_queue.dedup_scope, create_queue.max_messages, create_queue.max_bytes, create_queue.overflow,
    create_queue.max_in_flight, create_queue.rate, create_queue.burst, create_queue.group_rate, create_queue.group_burst,
    create_queue.durability, create_queue.now, create_queue.now
  )
  on conflict (name) do update set
    delivery_order = excluded.delivery_order,
    max_priority = excluded.max_priority,
    top_priority = greatest(known.top_priority, excluded.max_priority),
    group_mode = excluded.group_mode,
    lease = excluded.lease,
    delay = excluded.delay,
    ttl = excluded.ttl,
    max_attempts = excluded.max_attempts,
    retry_delay = excluded.retry_delay,
    retry_backoff = excluded.retry_backoff,
    retry_max_delay = excluded.retry_max_delay,
    retry_jitter = excluded.retry_jitter,
    dead_letter_queue = excluded.dead_letter_queue,
    dead_letter_retention = excluded.dead_letter_retention,
    dedup_window = excluded.dedup_window,
    dedup_by = excluded.dedup_by,
    dedup_scope = excluded.dedup_scope,
    max_messages = excluded.max_messages,
    max_bytes = excluded.max_bytes,
    overflow = excluded.overflow,
    max_in_flight = excluded.max_in_flight,
    rate = excluded.rate,
    burst = excluded.burst,
    group_rate = excluded.group_rate,
    group_burst = excluded.group_burst,
    durability = excluded.durability,
    -- Later than created_at even if the clock stands still: that is how "replaced" is told from "created".
    updated_at = greatest(excluded.updated_at, known.created_at + interval '1 microsecond')
  -- (Somebody else may have created it since we looked.)
  where known.is_volatile = (excluded.durability = 'volatile');
  if not found then
    perform postbag.refuse('PB002', format(
      'durability of queue "%s" cannot be changed to or from volatile: somebody else has just created it', create_queue.queue
    ));
  end if;

  insert into postbag.sweep (queue_id)
  select known.queue_id from postbag.queue as known where known.name = create_queue.queue
  on conflict do nothing;
  insert into postbag.tally (queue_id, counted_at, took_us, ready, leased, delayed, blocked, dead, bytes, capped, newest_id)
  select known.queue_id, '-infinity', 0, 0, 0, 0, 0, 0, 0, false, 0
  from postbag.queue as known where known.name = create_queue.queue
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
-- (Volatile, as refuse is: else it would not be inlined.)
volatile
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
  known constant text[] := '{body,json,encoding,type,contentType,headers,priority,group,delaySeconds,availableAt,ttlSeconds,dedupId}';
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
--! Included functions/availability.sql
/* postbag.availability: when a message that is sent now becomes available, from what its sender says (delaySeconds or availableAt)
 * or else its queue. PB002 for more than a year ahead. */
create or replace function postbag.availability(
  now timestamptz, delay_seconds double precision, available_at timestamptz, queue_delay interval
)
returns timestamptz
language sql
-- (Volatile, as refuse is: else it would not be inlined.)
volatile
return case
  when delay_seconds is null and available_at is null then now + queue_delay
  when delay_seconds is not null and available_at is not null
    then postbag.refuse('PB002', 'delaySeconds and availableAt exclude each other, got both')::timestamptz
  when available_at > now + interval '31536000 s'
    then postbag.refuse('PB002', format('availableAt must be at most a year ahead, got %s', available_at))::timestamptz
  when available_at is not null then greatest(available_at, now)
  when delay_seconds between 0 and 31536000 then now + make_interval(secs => delay_seconds)
  else postbag.refuse('PB002', format('delaySeconds must be between 0 and 31536000, got %s', delay_seconds))::timestamptz
end;
--! EndIncluded functions/availability.sql
--! Included functions/expiry.sql
/* postbag.expiry: when a message expires that becomes available at that time: its own time to live counts, or else its queue's. */
create or replace function postbag.expiry(available_at timestamptz, ttl_seconds double precision, queue_ttl interval)
returns timestamptz
language sql
-- (Volatile, as refuse is: else it would not be inlined.)
volatile
return case
  when ttl_seconds is null then available_at + queue_ttl
  when ttl_seconds between 0.001 and 31536000 then available_at + make_interval(secs => ttl_seconds)
  else postbag.refuse('PB002', format('ttlSeconds must be between 0.001 and 31536000, got %s', ttl_seconds))::timestamptz
end;
--! EndIncluded functions/expiry.sql
--! Included functions/last_moment.sql
/* postbag.last_moment: when a message expires whose last attempt ends then. A microsecond before: which tells it from a time to live that
 * happens to end with the lease, and leaves no moment at which it is neither owned nor over. */
create or replace function postbag.last_moment(leased_until timestamptz)
returns timestamptz
language sql
immutable
return leased_until - interval '1 microsecond';
--! EndIncluded functions/last_moment.sql
--! Included functions/next_volatile_id.sql
/* postbag.next_volatile_id: an id for a message of a volatile queue. A crash sets the sequence back to its start, so ids grow with the
 * time of the server's start, too: one that was given before is not given again. */
create or replace function postbag.next_volatile_id()
returns bigint
language sql
volatile
return nextval('postbag.volatile_message_id') + extract(epoch from pg_postmaster_start_time())::bigint * 100000000;
--! EndIncluded functions/next_volatile_id.sql
--! Included functions/state_of.sql
/* postbag.state_of: a message's state, read off its columns: 'dead' (also if its last lease has
 * ended and it has yet to be moved), 'leased', 'expired' (to be removed), 'delayed', 'blocked' (its
 * turn in its group has not come) or 'ready'. */
create or replace function postbag.state_of(
  dead_at timestamptz, group_position bigint, leased_until timestamptz, available_at timestamptz, due_at timestamptz, expires_at timestamptz,
  now timestamptz
)
returns text
language sql
immutable
return case
  when dead_at is not null and available_at = 'infinity' and group_position is null then 'dead'
  when leased_until > now then 'leased'
  when expires_at <= now and expires_at = postbag.last_moment(leased_until) then 'dead'
  when expires_at <= now then 'expired'
  when available_at = 'infinity' and due_at > now then 'delayed'
  when available_at = 'infinity' then 'blocked'
  when available_at > now then 'delayed'
  else 'ready'
end;
--! EndIncluded functions/state_of.sql
--! Included functions/with_death.sql
/* postbag.with_death: a message's history with one more entry; the last 10 are kept. */
create or replace function postbag.with_death(
  deaths jsonb, queue text, reason text, error text, attempts integer, now timestamptz
)
returns jsonb
language sql
stable
return
  case when jsonb_array_length(deaths) >= 10 then deaths - 0 else coalesce(deaths, '[]') end
  || jsonb_strip_nulls(jsonb_build_object(
    'queue', queue, 'reason', reason, 'error', error, 'attempts', attempts,
    'at', to_char(with_death.now at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
  ));
--! EndIncluded functions/with_death.sql
--! Included functions/retry_delay.sql
/* postbag.retry_delay: how long a message rests after its n-th attempt failed, by its queue's retry policy. `chance` (0 to 1) is what
 * jitter makes of it. */
create or replace function postbag.retry_delay(source postbag.queue, attempt integer, chance double precision)
returns interval
language sql
immutable
return make_interval(secs => (
  case source.retry_backoff
    when 'exponential' then least(
      extract(epoch from source.retry_delay)::double precision * power(2::double precision, least(attempt - 1, 60)),
      extract(epoch from source.retry_max_delay)::double precision
    )
    else extract(epoch from source.retry_delay)::double precision
  end
) * (1 - source.retry_jitter * chance));
--! EndIncluded functions/retry_delay.sql
--! Included functions/lock_groups.sql
/* postbag.lock_groups: hold the slots of these groups until the transaction ends, so that nobody else names a head in them. */
create or replace function postbag.lock_groups(groups text[])
returns void
language plpgsql
as $$
begin
  perform pg_advisory_xact_lock(1886352384, slots.slot)
  from (
    select distinct hashtext(named.group_key) & 16383 as slot from unnest(lock_groups.groups) as named (group_key) order by slot
  ) as slots;
end
$$;
--! EndIncluded functions/lock_groups.sql
--! Included functions/stand_last.sql
/* postbag.stand_last: messages of this transaction stand behind all that others have committed to their groups, in
 * the order in which they stand. */
create or replace function postbag.stand_last(source_id bigint, ids bigint[])
returns void
language plpgsql
set enable_seqscan = off
as $$
declare
  next_id bigint;
  drawn_position bigint;
begin
  for next_id in
    select joined.message_id
    from unnest(ids) as given (message_id)
    cross join lateral (
      select message.message_id, message.group_position
      from postbag.message
      where message.queue_id = source_id and message.message_id = given.message_id
      limit 1
    ) as joined
    where joined.group_position > 0
    order by joined.group_position
  loop
    -- Into a variable: nothing volatile may stand inside an update of a queue's table.
    drawn_position := nextval('postbag.message_id');
    update postbag.message
    set group_position = drawn_position
    where message.queue_id = source_id and message.message_id = next_id;
  end loop;
end
$$;
--! EndIncluded functions/stand_last.sql
--! Included functions/order_groups.sql
/* postbag.order_groups: put the lines of these groups in order: `arrived` stand behind all that others committed before, and the first
 * in each line is its head. The caller holds the groups' locks, looks at what is committed now (read committed), and pins the plans. */
create or replace function postbag.order_groups(source_id bigint, groups text[], arrived bigint[], now timestamptz)
returns void
language plpgsql
as $$
declare
  overtaken bigint[];
  unnamed text[];
begin
  if cardinality(arrived) > 0 then
    -- If the last ones of a line are not just ours, somebody else stands among them.
    with ours as materialized (
      select joined.group_key, min(joined.group_position) as first, count(*) as number, array_agg(joined.message_id) as ids
      from unnest(arrived) as given (message_id)
      cross join lateral (
        select message.message_id, message.group_key, message.group_position
        from postbag.message
        where message.queue_id = source_id and message.message_id = given.message_id
        limit 1
      ) as joined
      where joined.group_position > 0
      group by joined.group_key
    )
    select array_agg(mixed.message_id order by mixed.message_id) into overtaken
    from ours
    cross join lateral unnest(ours.ids) as mixed (message_id)
    where ours.first <> (
      select message.group_position
      from postbag.message
      where message.queue_id = source_id and message.group_key = ours.group_key and message.group_position is not null
      order by message.group_position desc
      limit 1 offset ours.number - 1
    );
    if overtaken is not null then
      perform postbag.stand_last(source_id, overtaken);
    end if;
  end if;

  with first as materialized (
    select line.*
    from unnest(groups) as touched (group_key)
    cross join lateral (
      select message.ctid as place, message.group_key, message.group_position, message.due_at
      from postbag.message
      where message.queue_id = source_id and message.group_key = touched.group_key and message.group_position is not null
      order by message.group_position
      limit 1
    ) as line
    where line.group_position > 0
    -- (All of them; the planner takes a limit for few, and then looks each up by its place.)
    limit cardinality(groups)
  ),
  free as materialized (
    select head.*
    from first
    cross join lateral (
      select message.ctid as place
      from postbag.message
      where message.queue_id = source_id and message.ctid = first.place
      for update skip locked
    ) as head
  ),
  named as (
    update postbag.message
    set group_position = 0, available_at = greatest(message.due_at, order_groups.now), due_at = null
    from free
    where message.queue_id = source_id and message.ctid = free.place
    returning message.group_key
  )
  select array_agg(first.group_key) into unnamed
  from first
  where first.group_key not in (select named.group_key from named);

  if unnamed is not null then
    insert into postbag.group_pending (queue_id, group_key)
    select source_id, left_over.group_key from unnest(unnamed) as left_over (group_key);
  end if;
end
$$;
--! EndIncluded functions/order_groups.sql
--! Included functions/settle_pending.sql
/* postbag.settle_pending: ask for heads, at the end of this transaction, in groups that another transaction left without one. */
create or replace function postbag.settle_pending(source_id bigint, now timestamptz)
returns void
language plpgsql
as $$
begin
  insert into postbag.group_change (queue_id, groups, changed_at)
  select source_id, array_agg(distinct waiting.group_key), settle_pending.now
  from (
    select pending.group_key from postbag.group_pending as pending where pending.queue_id = source_id limit 1000
  ) as waiting
  having count(*) > 0 and current_setting('transaction_isolation') = 'read committed';
end
$$;
--! EndIncluded functions/settle_pending.sql
--! Included functions/forget_count.sql
/* postbag.forget_count: messages with ids of old were moved into these queues, so a last count says nothing of what they may hold. Never
 * waits: who holds the row is counting anew. */
create or replace function postbag.forget_count(queue_ids bigint[])
returns void
language plpgsql
as $$
begin
  with held as (
    select tally.queue_id from postbag.tally where tally.queue_id = any (forget_count.queue_ids) order by 1 for update skip locked
  )
  update postbag.tally set newest_id = -2000000000, counted_at = '-infinity' from held where tally.queue_id = held.queue_id;
end
$$;
--! EndIncluded functions/forget_count.sql
--! Included functions/dead_letters_to.sql
/* postbag.dead_letters_to: the other queue that a queue's dead letters go to; null if they stay, or if that queue is gone. */
create or replace function postbag.dead_letters_to(source postbag.queue)
returns postbag.queue
language plpgsql
stable
as $$
declare
  target postbag.queue;
begin
  select known.* into target
  from postbag.queue as known
  where known.name = source.dead_letter_queue and known.name <> source.name and known.is_volatile = source.is_volatile;
  return target;
end
$$;
--! EndIncluded functions/dead_letters_to.sql
--! Included functions/move_dead.sql
/* postbag.move_dead: dead letters go to another queue, in one statement: they stand in one of the two at every moment. */
create or replace function postbag.move_dead(source postbag.queue, ids bigint[], reason text, now timestamptz)
returns void
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  places constant tid[] := postbag.places_of(source.queue_id, ids);
  target constant postbag.queue := postbag.dead_letters_to(source);
begin
  with gone as (
    delete from postbag.message
    where message.ctid = any (places)
    returning message.*
  )
  insert into postbag.message (
    queue_id, message_id, available_at, sent_at, priority, encoding, type, content_type, headers, last_error, group_key,
    group_position, expires_at, dead_at, deaths, body, bytes
  )
  select
    target.queue_id, gone.message_id,
    case when gone.group_key is null or target.delivery_order = 'lifo' then move_dead.now else 'infinity' end,
    gone.sent_at, least(gone.priority, target.top_priority), gone.encoding, gone.type, gone.content_type, gone.headers,
    gone.last_error, gone.group_key,
    case when gone.group_key is not null and target.delivery_order = 'fifo' then nextval('postbag.message_id') end,
    move_dead.now + target.ttl, move_dead.now,
    postbag.with_death(gone.deaths, source.name, reason, gone.last_error, gone.attempts, move_dead.now),
    gone.body, gone.bytes
  from gone
  order by gone.group_position nulls last, gone.message_id;

  if target.max_messages is not null then
    perform postbag.forget_count(array[target.queue_id]);
  end if;
  insert into postbag.group_change (queue_id, groups, arrived, changed_at)
  select
    target.queue_id, array_agg(message.group_key) filter (where message.group_position > 0),
    array_agg(message.message_id) filter (where message.group_position > 0), move_dead.now
  from postbag.message
  where message.ctid = any (postbag.places_of(target.queue_id, ids))
  having count(*) filter (where message.group_position > 0) > 0;
end
$$;
--! EndIncluded functions/move_dead.sql
--! Included functions/places_of.sql
/* postbag.places_of: where messages of a queue lie now, for a statement that then says `ctid = any (…)` and nothing of the queue: with the
 * statistics of an empty table the planner would take a condition on the queue for a reason to walk all of it. The caller has locked
 * them, so they stay there. */
create or replace function postbag.places_of(source_id bigint, ids bigint[])
returns tid[]
language plpgsql
volatile
set enable_seqscan = off
as $$
begin
  return array(
    select found_one.place
    from unnest(ids) as wanted (message_id)
    cross join lateral (
      select message.ctid as place
      from postbag.message
      where message.queue_id = source_id and message.message_id = wanted.message_id
      limit 1
    ) as found_one
  );
end
$$;
--! EndIncluded functions/places_of.sql
--! Included functions/bury.sql
/* postbag.bury: messages of a queue, locked by the caller, are worth nothing any more: for `reason` ('attempts', 'expired', 'rejected',
 * 'overflow') they go to the queue's dead letters, in the same transaction.
 *   no dead-letter queue    failed and rejected ones are kept here, in the state 'dead'; expired and overflowed ones are deleted
 *   the queue itself        all are kept here, in the state 'dead'
 *   another queue           all are moved there, ready to be received; kept here if it is gone
 * A dead letter keeps its id, what the last nack said, and its history (the last 10 times it died). */
create or replace function postbag.bury(source postbag.queue, ids bigint[], reason text, now timestamptz)
returns void
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  places tid[];
  headless text[];
begin
  if ids is null then
    return;
  end if;
  places := postbag.places_of(source.queue_id, ids);
  select array_agg(message.group_key) filter (where message.group_position = 0) into headless
  from postbag.message
  where message.ctid = any (places);

  if source.dead_letter_queue is null and reason in ('expired', 'overflow') then
    delete from postbag.message where message.ctid = any (places);
  elsif (postbag.dead_letters_to(source)).queue_id is null then
    update postbag.message
    set
      available_at = 'infinity', leased_until = null, in_flight_until = null, group_position = null, due_at = null,
      dead_at = bury.now,
      expires_at = bury.now + source.dead_letter_retention,
      deaths = postbag.with_death(message.deaths, source.name, reason, message.last_error, message.attempts, bury.now)
    where message.ctid = any (places);
  else
    perform postbag.move_dead(source, ids, reason, bury.now);
  end if;

  -- (Noted after it is done: the transaction may have asked for its deferred triggers to run at once.)
  if headless is not null then
    insert into postbag.group_change (queue_id, groups, changed_at) values (source.queue_id, headless, bury.now);
  end if;
end
$$;
--! EndIncluded functions/bury.sql
--! Included functions/tidy.sql
/* postbag.tidy: bury up to `most` messages of a queue whose time to live or last lease has ended, and delete dead letters that were kept
 * long enough; how many of each. Never waits: rows that another transaction holds are left. */
create or replace function postbag.tidy(source postbag.queue, most integer, now timestamptz)
returns table (expired bigint, removed bigint)
language plpgsql
set enable_seqscan = off
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  kept_long_enough bigint[];
  failed bigint[];
  too_old bigint[];
begin
  with due as (
    select message.message_id, 
      message.dead_at is not null and message.available_at = 'infinity' and message.group_position is null as is_dead,
      message.expires_at = postbag.last_moment(message.leased_until) as was_last_lease
    from postbag.message
    where message.queue_id = source.queue_id
      and message.expires_at <= tidy.now
      and (message.leased_until is null or message.leased_until <= tidy.now)
    order by message.expires_at
    limit most
    for update skip locked
  )
  select
    array_agg(due.message_id) filter (where due.is_dead),
    array_agg(due.message_id) filter (where not due.is_dead and due.was_last_lease is true),
    array_agg(due.message_id) filter (where not due.is_dead and due.was_last_lease is not true)
  into kept_long_enough, failed, too_old
  from due;

  if kept_long_enough is not null then
    delete from postbag.message where message.ctid = any (postbag.places_of(source.queue_id, kept_long_enough));
  end if;
  perform postbag.bury(source, failed, 'attempts', tidy.now);
  perform postbag.bury(source, too_old, 'expired', tidy.now);
  return query select
    coalesce(cardinality(failed), 0)::bigint + coalesce(cardinality(too_old), 0), coalesce(cardinality(kept_long_enough), 0)::bigint;
end
$$;
--! EndIncluded functions/tidy.sql
--! Included functions/every_second.sql
/* postbag.every_second: what a session that uses a queue does for it once a second: write down its traffic, forget rates and traffic of
 * long ago, and ask for tidying at the end of the transaction. Leaves out what the role has no right to; and in a transaction with a
 * snapshot of its own all but the first, which could fail there for no reason of the caller's. */
create or replace function postbag.every_second(source_id bigint, sent bigint, done bigint, now timestamptz)
returns void
language plpgsql
as $$
begin
  if sent + done > 0 and has_table_privilege('postbag.traffic', 'insert') then
    insert into postbag.traffic (queue_id, noted_at, sent, done)
    values (source_id, every_second.now, every_second.sent, every_second.done);
  end if;
  if current_setting('transaction_isolation') = 'read committed' and has_table_privilege('postbag.group_change', 'insert') then
    insert into postbag.group_change (queue_id, groups, tidies, changed_at) values (source_id, '{}', true, every_second.now);
  end if;
end
$$;
--! EndIncluded functions/every_second.sql
--! Included functions/forget_traffic.sql
/* postbag.forget_traffic: delete up to 1000 notes of a queue's traffic that are older than ten minutes, and as many rates of groups that
 * are not used up any more. Leaves what another transaction holds. */
create or replace function postbag.forget_traffic(source_id bigint, now timestamptz)
returns void
language plpgsql
as $$
begin
  with forgotten as (
    delete from postbag.traffic as noted
    where noted.ctid = any (array(
      select old.ctid from postbag.traffic as old
      where old.queue_id = source_id and old.noted_at < forget_traffic.now - interval '10 min'
      limit 1000 for update skip locked
    ))
  )
  delete from postbag.flow as used
  where used.ctid = any (array(
    select old.ctid from postbag.flow as old
    where old.queue_id = source_id and old.group_key <> '' and old.spent_until < forget_traffic.now
    limit 1000 for update skip locked
  ));
end
$$;
--! EndIncluded functions/forget_traffic.sql
--! Included functions/change_groups.sql
/* postbag.change_groups: what one transaction did to groups of one queue becomes true, under their locks: see
 * functions/apply_group_changes.sql. */
create or replace function postbag.change_groups(changed_id bigint, groups text[], arrived bigint[], now timestamptz)
returns void
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
-- (Lines are read in the order of their index: without statistics another index and a sort would look as good.)
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  in_volatile boolean;
  were_pending boolean;
begin
  select
    known.is_volatile, exists (select from postbag.group_pending as pending where pending.queue_id = changed_id)
  into in_volatile, were_pending
  from postbag.queue as known
  where known.queue_id = changed_id;
  if not found or cardinality(groups) = 0 then
    return;
  end if;

  if current_setting('transaction_isolation') <> 'read committed' then
    if in_volatile then
      perform postbag.volatile_stand_last(changed_id, arrived);
    else
      perform postbag.stand_last(changed_id, arrived);
    end if;
    insert into postbag.group_pending (queue_id, group_key)
    select changed_id, touched.group_key from unnest(groups) as touched (group_key);
    return;
  end if;

  if were_pending then
    delete from postbag.group_pending as pending
    where pending.queue_id = changed_id and pending.group_key = any (groups);
  end if;
  if in_volatile then
    perform postbag.volatile_order_groups(changed_id, groups, arrived, change_groups.now);
  else
    perform postbag.order_groups(changed_id, groups, arrived, change_groups.now);
  end if;
end
$$;
--! EndIncluded functions/change_groups.sql
--! Included functions/tidy_at_commit.sql
/* postbag.tidy_at_commit: what a session has done for a queue once a second, at the end of its transaction: tidy up to 1000 messages, name
 * the heads that were left unnamed, and now and then forget traffic of long ago. */
create or replace function postbag.tidy_at_commit(tidied_id bigint, now timestamptz)
returns void
language plpgsql
as $$
declare
  tidied postbag.queue;
begin
  select known.* into tidied from postbag.queue as known where known.queue_id = tidied_id;
  if tidied.is_volatile then
    perform postbag.volatile_tidy(tidied, 1000, tidy_at_commit.now);
  elsif tidied.queue_id is not null then
    perform postbag.tidy(tidied, 1000, tidy_at_commit.now);
  end if;
  perform postbag.settle_pending(tidied_id, tidy_at_commit.now);
  if random() < 1 / 60.0 then
    perform postbag.forget_traffic(tidied_id, tidy_at_commit.now);
  end if;
end
$$;
--! EndIncluded functions/tidy_at_commit.sql
--! Included functions/tick.sql
/* postbag.tick: count what this session sent to and had done in a queue; once a second (by the caller's clock) write the count down for
 * the statistics, and have the queue tidied, so that removing what has expired needs no daemon. */
create or replace function postbag.tick(source_id bigint, sent bigint, done bigint, now timestamptz)
returns void
language plpgsql
as $$
declare
  setting constant text := 'postbag.traffic_' || source_id % 1024;
  now_us constant bigint := postbag.microseconds(tick.now);
  -- {queue_id, sent, done, when it was last written down}
  note bigint[] := postbag.remembered(setting);
begin
  if note[1] is distinct from source_id then
    note := array[source_id, 0, 0, 0];
  end if;
  note[2] := note[2] + sent;
  note[3] := note[3] + done;
  if now_us not between note[4] and note[4] + 1000000 then
    perform postbag.every_second(source_id, note[2], note[3], tick.now);
    note := array[source_id, 0, 0, now_us];
  end if;
  perform set_config(setting, format('%s:%s:%s:%s', note[1], note[2], note[3], note[4]), false);
end
$$;
--! EndIncluded functions/tick.sql
--! Included functions/forget_dedup_ids.sql
/* postbag.forget_dedup_ids: delete up to 1024 dedup ids of a queue whose window ended more than an hour ago. (An id that has only just
 * ended may be sent again, and that send would wait for our transaction.) Skips what another transaction is deleting. The session
 * remembers how far it came (as receive does, and as harmless to lose), so that deleted rows that a held snapshot keeps in the index
 * are not walked over again. */
create or replace function postbag.forget_dedup_ids(target_id bigint, now timestamptz)
returns bigint
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  setting constant text := 'postbag.dedup_' || target_id % 64;
  remembered constant bigint[] := postbag.remembered(setting);
  start timestamptz := '-infinity';
  deleted bigint;
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
  select max(expired.expires_at), count(*) into start, deleted from expired;

  perform set_config(setting, format('%s:%s', target_id, floor(extract(epoch from start))::bigint), false)
  where start is not null;
  return deleted;
end
$$;
--! EndIncluded functions/forget_dedup_ids.sql
--! Included functions/content_of.sql
/* postbag.content_of: the body of a message to send, as it will be stored; of bytes, their base64. */
create or replace function postbag.content_of(message jsonb)
returns text
language sql
immutable
return case
  when message ->> 'encoding' in ('text', 'base64') then message ->> 'body'
  else coalesce(message ->> 'json', (message -> 'body')::text, 'null')
end;
--! EndIncluded functions/content_of.sql
--! Included functions/deduplicate.sql
/* postbag.deduplicate: per message the id of the first one sent with its dedupId within the window: its own (from `ids`) where it is
 * the first or has none. Where the queue goes by content, the hash of its body is its dedupId, whatever the sender says; where the ids
 * count per group, they are looked up in the message's own. Whoever inserts the dedup row first wins; others wait for that transaction, and win
 * if it rolls back. The ids are taken in their sorted order, so two batches cannot deadlock over them; and in one statement, so that
 * the planner has nothing to choose. */
create or replace function postbag.deduplicate(target postbag.queue, messages jsonb, ids bigint[], now timestamptz)
returns bigint[]
language plpgsql
as $$
declare
  first_ids bigint[];
begin
  with item as materialized (
    select
      case when target.dedup_scope = 'group' then coalesce(entry.message ->> 'group', '') else '' end as scope,
      case
        when target.dedup_by = 'content' then encode(sha256(convert_to(
          concat(coalesce(entry.message ->> 'encoding', 'json'), ':', postbag.content_of(entry.message)), 'utf8'
        )), 'hex')
        else entry.message ->> 'dedupId'
      end as dedup_id,
      entry."position"
    from jsonb_array_elements(messages) with ordinality as entry (message, "position")
  ),
  first as (
    insert into postbag.dedup as known (queue_id, scope, dedup_id, message_id, expires_at)
    select target.queue_id, item.scope, item.dedup_id, ids[min(item."position")], deduplicate.now + target.dedup_window
    from item
    where item.dedup_id is not null
    group by item.scope, item.dedup_id
    order by item.scope collate "C", item.dedup_id collate "C"
    on conflict (queue_id, scope, dedup_id) do update set
      message_id = case when known.expires_at <= deduplicate.now then excluded.message_id else known.message_id end,
      expires_at = case when known.expires_at <= deduplicate.now then excluded.expires_at else known.expires_at end
    returning known.scope, known.dedup_id, known.message_id
  )
  select array_agg(coalesce(first.message_id, ids[item."position"]) order by item."position")
  into first_ids
  from item
  left join first on first.dedup_id = item.dedup_id and first.scope = item.scope;

  -- About once per 256 messages, so that the deletion costs a send next to nothing.
  if random() < cardinality(ids) / 256.0 and current_setting('transaction_isolation') = 'read committed' then
    perform postbag.forget_dedup_ids(target.queue_id, deduplicate.now);
  end if;
  return first_ids;
end
$$;
--! EndIncluded functions/deduplicate.sql
--! Included functions/count_messages.sql
/* postbag.count_messages: count a queue's messages by state, at most 1,000,000 of them (all, where the queue limits them), or give back
 * the last count while it is fresh: a count of 10,000 messages or more is good for 20 times as long as it took, so that looking costs 5 %
 * of one core at most. What has expired is not counted, and the bytes of dead letters are not. */
create or replace function postbag.count_messages(source postbag.queue, now timestamptz, drawn_before bigint default null)
returns postbag.tally
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  few constant bigint := 10000;
  looked_at bigint;
  started constant timestamptz := clock_timestamp();
  known postbag.tally;
begin
  select tally.* into known from postbag.tally where tally.queue_id = source.queue_id;
  if known.ready + known.leased + known.delayed + known.blocked + known.dead >= few
    and known.counted_at between count_messages.now - make_interval(secs => 20 * known.took_us / 1e6)
    and count_messages.now
  then
    return known;
  end if;

  -- (A send that makes room has drawn its own ids already.)
  select coalesce(drawn_before, case when is_called then last_value else 0 end) into known.newest_id from postbag.message_id;
  select
    count(*) filter (where counted.state = 'ready'),
    count(*) filter (where counted.state = 'leased'),
    count(*) filter (where counted.state = 'delayed'),
    count(*) filter (where counted.state = 'blocked'),
    count(*) filter (where counted.state = 'dead'),
    coalesce(sum(counted.size) filter (where counted.state not in ('dead', 'expired')), 0),
    min(counted.available_at) filter (where counted.state = 'ready'),
    count(*) = 1000000 and source.max_messages is null and source.max_bytes is null,
    count(*)
  into known.ready, known.leased, known.delayed, known.blocked, known.dead, known.bytes, known.oldest_ready_at, known.capped,
    looked_at
  from (
    select
      message.available_at,
      octet_length(coalesce(message.body, '')) + octet_length(coalesce(message.bytes, '')) as size,
      postbag.state_of(
        message.dead_at, message.group_position, message.leased_until, message.available_at, message.due_at, message.expires_at,
        count_messages.now
      ) as state
    from postbag.message
    where message.queue_id = source.queue_id
    order by message.message_id
    limit case when source.max_messages is null and source.max_bytes is null then 1000000 end
  ) as counted;
  known.queue_id := source.queue_id;
  known.counted_at := count_messages.now;
  known.took_us := postbag.microseconds(clock_timestamp()) - postbag.microseconds(started);

  -- (In a transaction with a snapshot of its own, writing that row could fail for no reason of the caller's.)
  if current_setting('transaction_isolation') = 'read committed'
    and (looked_at >= few or source.max_messages is not null)
  then
    perform from postbag.tally where tally.queue_id = source.queue_id for update skip locked;
    if found then
      update postbag.tally
      set
        counted_at = known.counted_at, took_us = known.took_us, ready = known.ready, leased = known.leased,
        delayed = known.delayed, blocked = known.blocked, dead = known.dead, bytes = known.bytes,
        oldest_ready_at = known.oldest_ready_at, capped = known.capped, newest_id = known.newest_id
      where tally.queue_id = source.queue_id;
    end if;
  end if;
  return known;
end
$$;
--! EndIncluded functions/count_messages.sql
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
  select array_agg(oldest.message_id) into victims
  from (
    select
      candidate.message_id,
      row_number() over (order by candidate.message_id) as place,
      sum(candidate.size) over (order by candidate.message_id) - candidate.size as size_before
    from (
      select message.message_id, octet_length(coalesce(message.body, '')) + octet_length(coalesce(message.bytes, '')) as size
      from postbag.message
      where message.queue_id = target.queue_id
        and (message.dead_at is null or message.available_at < 'infinity' or message.group_position is not null)
        and (message.leased_until is null or message.leased_until <= make_room.now)
      order by message.message_id
      limit greatest(least(over, 1000), case when over_bytes > 0 then 1000 else 1 end)
      for update skip locked
    ) as candidate
  ) as oldest
  where oldest.place <= over or oldest.size_before < over_bytes;
  if victims is null then
    perform postbag.refuse('PB004', format('queue "%s" is full, and all its messages are leased', target.name));
  end if;
  perform postbag.bury(target, victims, 'overflow', make_room.now);
  -- What is gone must not be dropped again for as long as the count is taken for fresh.
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
--! Included functions/note_arrivals.sql
/* postbag.note_arrivals: note which groups the messages of a send join, for the end of the transaction. (In
 * plpgsql, here and wherever a statement runs often: an SQL function that cannot be inlined is planned anew in every call, 200 µs here.) */
create or replace function postbag.note_arrivals(
  target_id bigint, messages jsonb, ids bigint[], first_ids bigint[], now timestamptz
)
returns void
language plpgsql
as $$
begin
  insert into postbag.group_change (queue_id, groups, arrived, changed_at)
  select
    note_arrivals.target_id, array_agg(distinct entry.message ->> 'group'),
    array_agg(ids[entry."position"] order by entry."position"), note_arrivals.now
  from jsonb_array_elements(messages) with ordinality as entry (message, "position")
  where entry.message ->> 'group' is not null
    and (first_ids is null or first_ids[entry."position"] = ids[entry."position"])
  having count(*) > 0;
end
$$;
--! EndIncluded functions/note_arrivals.sql
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
 *   dedupId       1 – 128 characters: a second send with it within the queue's dedup_window sends nothing, gives back the first
 *                 one's id and says `duplicate`
 *
 * A message becomes available at `now` plus its delay, and visible when the transaction commits. A send waits for another
 * transaction only while that one has sent (or is forgetting, long after its window) the same dedupId, and has not committed.
 * PB004 if the queue is full. `alone` says that this call is the whole transaction: then the queue's relaxed durability counts. */
create or replace function postbag.send_batch(
  queue text, messages jsonb, now timestamptz default clock_timestamp(), alone boolean default false
)
returns table (id text, duplicate boolean)
language plpgsql
as $$
declare
  target postbag.queue := postbag.queue_named(send_batch.queue);
  ids bigint[];
  -- Per message the id that its dedupId stands for; null where no message has one.
  first_ids bigint[];
begin
  if target.is_volatile then
    return query select * from postbag.volatile_send_batch(send_batch.queue, send_batch.messages, send_batch.now);
    return;
  end if;
  perform postbag.check_messages(messages);
  if alone and target.durability = 'relaxed' then
    perform set_config('synchronous_commit', 'off', true);
  end if;
  ids := array(select nextval('postbag.message_id') from generate_series(1, jsonb_array_length(messages)));
  if target.dedup_by = 'content' or messages @? '$[*].dedupId' then
    first_ids := postbag.deduplicate(target, messages, ids, send_batch.now);
  end if;
  if target.max_messages is not null or target.max_bytes is not null then
    perform postbag.make_room(target, messages, ids, first_ids, send_batch.now);
  end if;

  insert into postbag.message (
    queue_id, message_id, available_at, sent_at, priority, encoding, type, content_type, headers, group_key, group_position,
    due_at, expires_at, body, bytes
  )
  select
    target.queue_id,
    ids[sent.position],
    -- In a group it waits in line. Who commits first becomes the head, and is available at its time. (In a fair queue there is no order,
    -- so a delayed message waits for itself.)
    case
      when sent."group" is null
        or target.group_mode = 'fair'
          and postbag.availability(send_batch.now, sent."delaySeconds", sent."availableAt", target.delay) > send_batch.now
        then postbag.availability(send_batch.now, sent."delaySeconds", sent."availableAt", target.delay)
      else 'infinity'
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
    sent."group",
    case
      when sent."group" is null then null
      when target.delivery_order = 'fifo' then case
        when target.group_mode = 'ordered'
          or postbag.availability(send_batch.now, sent."delaySeconds", sent."availableAt", target.delay) <= send_batch.now
          then ids[sent.position]
      end
      else postbag.refuse('PB002', format(
        'group must not be given for queue "%s", whose order is lifo, got %s', target.name, sent."group"
      ))::bigint
    end,
    case
      when sent."group" is not null and target.group_mode = 'ordered'
        then postbag.availability(send_batch.now, sent."delaySeconds", sent."availableAt", target.delay)
    end,
    case
      when sent."ttlSeconds" is not null or target.ttl is not null
        then postbag.expiry(
          postbag.availability(send_batch.now, sent."delaySeconds", sent."availableAt", target.delay),
          sent."ttlSeconds", target.ttl
        )
    end,
    case coalesce(sent.encoding, 'json')
      when 'json' then coalesce(sent.json::json::text, sent.body::text, 'null')
      when 'text' then postbag.string_of(sent.body)
    end,
    case when sent.encoding = 'base64' then decode(postbag.string_of(sent.body), 'base64') end
  from rows from (
    jsonb_to_recordset(messages) as (
      body jsonb, json text, encoding text, type text, "contentType" text, headers jsonb, priority integer,
      "delaySeconds" double precision, "availableAt" timestamptz, "ttlSeconds" double precision, "group" text
    )
  ) with ordinality as sent (
    body, json, encoding, type, "contentType", headers, priority, "delaySeconds", "availableAt", "ttlSeconds", "group", position
  )
  where first_ids is null or first_ids[sent.position] = ids[sent.position]
  order by sent.position;

  if messages @? '$[*].group' then
    perform postbag.note_arrivals(target.queue_id, messages, ids, first_ids, send_batch.now);
  end if;
  perform postbag.tick(target.queue_id, jsonb_array_length(messages), 0, send_batch.now);

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
  now timestamptz default clock_timestamp(),
  group_key text default null,
  ttl interval default null,
  available_at timestamptz default null
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
      'availableAt', send.available_at
    ))),
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
--! Included functions/allowance.sql
/* postbag.allowance: how many messages a queue with a rate limit, or a limit of messages in flight, may hand out now (0 or more). Such a
 * queue's receives take turns: the caller holds a lock until its transaction ends. */
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
--! Included functions/spend.sql
/* postbag.spend: charge `number` messages to the rate limit of a queue (group_key '') or of a group. */
create or replace function postbag.spend(source postbag.queue, group_key text, number integer, now timestamptz)
returns void
language plpgsql
as $$
begin
  insert into postbag.flow as known (queue_id, group_key, spent_until)
  values (
    source.queue_id, spend.group_key,
    spend.now + make_interval(secs => spend.number / case when spend.group_key = '' then source.rate else source.group_rate end)
  )
  on conflict on constraint flow_pkey do update
  set spent_until = greatest(known.spent_until, spend.now) + (excluded.spent_until - spend.now);
end
$$;
--! EndIncluded functions/spend.sql
--! Included functions/put_off_groups.sql
/* postbag.put_off_groups: where groups have a rate limit: heads that a claim would take now, and whose group has used up its rate, become
 * available when the group may go on. They leave the claim's way, so groups that are held up cost nothing. The rows stay locked until
 * the transaction ends, so the claim that follows finds what is left. */
create or replace function postbag.put_off_groups(source postbag.queue, wanted integer, now timestamptz)
returns void
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
  period constant interval := make_interval(secs => 1 / source.group_rate);
  grace constant interval := period * (coalesce(source.group_burst, greatest(ceil(source.group_rate), 1)) - 1);
  put_off integer;
begin
  for level in 0 .. source.top_priority loop
    loop
      with head as materialized (
        select message.ctid as place, message.group_key
        from postbag.message
        where message.queue_id = source.queue_id
          and message.priority = level
          and message.available_at <= put_off_groups.now
          and message.available_at < 'infinity'
          and (message.leased_until is null or message.leased_until <= put_off_groups.now)
          and (message.expires_at is null or message.expires_at > put_off_groups.now)
        order by message.available_at, message.message_id
        limit wanted
        for update skip locked
      ),
      early as materialized (
        select head.place, used.spent_until - grace as free_at
        from head
        cross join lateral (
          select flow.spent_until
          from postbag.flow
          where flow.queue_id = source.queue_id and flow.group_key = head.group_key
          limit 1
        ) as used
        where used.spent_until - grace > put_off_groups.now
      )
      update postbag.message
      set available_at = early.free_at
      from early
      where message.queue_id = source.queue_id and message.ctid = early.place;
      get diagnostics put_off = row_count;
      exit when put_off = 0;
    end loop;
  end loop;
end
$$;
--! EndIncluded functions/put_off_groups.sql
--! Included functions/release_followers.sql
/* postbag.release_followers: take back the leases of those that stand behind `place` in the line of a group, because a message before
 * them was given back or is handed out anew: they are next only after it, and this attempt does not count. (What was handed out
 * stands at the front of a line, so the walk ends at the first that never was.) */
create or replace function postbag.release_followers(source_id bigint, group_key text, place bigint)
returns void
language plpgsql
set enable_seqscan = off
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  -- What this transaction has sent, and nobody else sees yet, may stand among what others have committed.
  own_ids constant bigint[] := array(
    select joined.message_id
    from postbag.group_change as change
    cross join lateral unnest(change.arrived) as joined (message_id)
    where change.xact = pg_current_xact_id_if_assigned() and change.queue_id = source_id
  );
  follower record;
begin
  for follower in
    select message.message_id, message.leased_until, message.first_received_at
    from postbag.message
    where message.queue_id = source_id
      and message.group_key = release_followers.group_key
      and message.group_position > place
    order by message.group_position
    -- (What another transaction is settling at this moment is left to it.)
    for no key update skip locked
  loop
    exit when follower.first_received_at is null and not follower.message_id = any (own_ids);
    continue when follower.leased_until is null;
    update postbag.message
    set
      leased_until = null,
      in_flight_until = null,
      attempts = message.attempts - 1,
      expires_at = case when message.expires_at = postbag.last_moment(message.leased_until) then null else message.expires_at end
    where message.queue_id = source_id and message.message_id = follower.message_id and message.leased_until is not null;
  end loop;
end
$$;
--! EndIncluded functions/release_followers.sql
--! Included functions/extend_companions.sql
/* postbag.extend_companions: what one claim took from a group is owned as long as any of it: give the others of that lease the same end. */
create or replace function postbag.extend_companions(
  source_id bigint, group_key text, lease_key integer, until timestamptz
)
returns void
language plpgsql
set enable_seqscan = off
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  -- What this transaction has sent, and nobody else sees yet, may stand among what others have committed.
  own_ids constant bigint[] := array(
    select joined.message_id
    from postbag.group_change as change
    cross join lateral unnest(change.arrived) as joined (message_id)
    where change.xact = pg_current_xact_id_if_assigned() and change.queue_id = source_id
  );
  companion record;
begin
  for companion in
    select message.message_id, message.leased_until, message.first_received_at
    from postbag.message
    where message.queue_id = source_id
      and message.group_key = extend_companions.group_key
      and message.group_position is not null
    order by message.group_position
    -- (What another transaction is settling at this moment is left to it.)
    for no key update skip locked
  loop
    exit when companion.first_received_at is null and not companion.message_id = any (own_ids);
    continue when companion.leased_until is null;
    update postbag.message
    set
      leased_until = until,
      in_flight_until = case when message.in_flight_until is not null then until end,
      expires_at = case when message.expires_at = postbag.last_moment(message.leased_until) then postbag.last_moment(until) else message.expires_at end
    where message.queue_id = source_id
      and message.message_id = companion.message_id
      and message.lease_key = extend_companions.lease_key
      and message.leased_until is not null;
  end loop;
end
$$;
--! EndIncluded functions/extend_companions.sql
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
      coalesce(leased.body::text, translate(encode(leased.bytes, 'base64'), E'\n', '')),
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
--! Included functions/claim_newest.sql
/* postbag.claim_newest: what a claim is in a lifo queue: lease the `wanted` messages of one level that became available last. The mirror
 * of the cursor that functions/receive.sql tells of: the session notes between which times it found all taken, and looks at what came
 * after (from 2 s before, for commits that overtook each other) and what lies before; a full look sees all. */
create or replace function postbag.claim_newest(
  source postbag.queue, level integer, wanted integer, full_look boolean, until timestamptz, drawn_key integer, now timestamptz
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
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
  setting constant text := format('postbag.newest_%s_%s', source.queue_id % 256, level);
  -- {queue_id, from when on, until when all were taken}
  note bigint[] := postbag.remembered(setting);
  now_us constant bigint := postbag.microseconds(claim_newest.now);
  above timestamptz := '-infinity';
  below timestamptz := claim_newest.now;
  claimed integer;
begin
  if full_look or note[1] is distinct from source.queue_id or note[3] is null or note[3] > now_us then
    note := array[source.queue_id, null, now_us];
  else
    above := postbag.instant(note[3] - 2000000);
  end if;

  for part in 1 .. case when note[2] is null then 1 else 2 end loop
    return query
      with head as materialized (
        select message.ctid as place, message.available_at
        from postbag.message
        where message.queue_id = source.queue_id
          and message.priority = level
          and message.available_at >= above
          and message.available_at <= below
          and message.available_at < 'infinity'
          and (message.leased_until is null or message.leased_until <= claim_newest.now)
          and (message.expires_at is null or message.expires_at > claim_newest.now)
        order by message.available_at desc, message.message_id desc
        limit wanted
        for update skip locked
      ),
      leased as (
        update postbag.message
        set
          leased_until = until,
          attempts = message.attempts + 1,
          lease_key = drawn_key,
          first_received_at = coalesce(message.first_received_at, claim_newest.now),
          in_flight_until = case when source.max_in_flight is not null then until end,
          expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(until) else message.expires_at end
        from head
        where message.queue_id = source.queue_id and message.ctid = head.place
        returning message.*
      ),
      noted as (
        select set_config('postbag.oldest', postbag.microseconds(min(head.available_at))::text, true) from head having count(*) > 0
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
        leased.group_key::text,
        leased.attempts,
        leased.sent_at,
        leased.first_received_at,
        leased.leased_until,
        leased.expires_at,
        leased.deaths
      from leased, noted
      order by leased.available_at desc, leased.message_id desc;

    get diagnostics claimed = row_count;
    wanted := wanted - claimed;
    exit when wanted = 0;
    above := '-infinity';
    below := postbag.instant(note[2]);
  end loop;

  -- Either what was wanted was there, and all that came later is taken now; or there is nothing more at all.
  note[2] := case when wanted = 0 then current_setting('postbag.oldest')::bigint else 0 end;
  perform set_config(setting, format('%s:%s:%s', source.queue_id, note[2], now_us), false);
end
$$;
--! EndIncluded functions/claim_newest.sql
--! Included functions/receive.sql
/* postbag.receive: lease up to max_messages available messages of one queue: highest priority first, then by availability (the latest
 * first in a lifo queue), then in the order they were sent. Who receives owns a message until leased_until; the receipt is the proof, for ack, nack and extend.
 * Never waits for a message: no rows mean "nothing available now" (waiting is src/wakeup's job). Only where the queue limits its rate or
 * what is in flight, receives take turns: one waits until the transaction of the other ends.
 * Two callers never share a message: rows another has locked are skipped, rows it has leased are not available.
 * With auto_ack the messages are deleted as they are handed out: at most once, and no receipt. `alone` says that this call is the whole
 * transaction: then the queue's relaxed durability counts.
 *
 * Of a group, claims see only the head (functions/apply_group_changes.sql); what is missing to max_messages is filled up with those
 * that stand behind the heads just taken (functions/follow.sql).
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

  -- What this session noted: {queue_id, near look due, full look due, last full look took, pause after it, tidying due}, in
  -- microseconds.
  look_setting constant text := 'postbag.look_' || source.queue_id % 256;
  look bigint[] := postbag.remembered(look_setting);
  depth text := 'cursor';
  shared postbag.sweep;
  -- {queue_id, lowest available_at claimed, how many of them were heads of groups}: one setting per priority.
  cursor_setting text;
  cursor_note bigint[];
  start timestamptz;

  wanted integer := max_messages;
  most_heads integer;
  claimed integer;
  followers integer;
  allowed integer;
begin
  if source.is_volatile then
    return query select * from postbag.volatile_receive(
      receive.queue, receive.max_messages, receive.lease, receive.now, receive.auto_ack, receive.alone
    );
    return;
  elsif receive.auto_ack then
    return query select * from postbag.receive_and_ack(receive.queue, receive.max_messages, receive.lease, receive.now, receive.alone);
    return;
  end if;
  if max_messages is null or max_messages not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max must be between 1 and 1000, got %s', coalesce(max_messages::text, 'null')));
  elsif until < receive.now or until > receive.now + interval '43200 s' then
    perform postbag.refuse('PB002', format(
      'leaseSeconds must be between 0 and 43200, got %s', extract(epoch from receive.lease)::double precision
    ));
  end if;

  if source.paused then
    return;
  end if;
  if alone and source.durability = 'relaxed' then
    perform set_config('synchronous_commit', 'off', true);
  end if;
  if source.max_in_flight is not null or source.rate is not null then
    wanted := least(wanted, postbag.allowance(source, receive.now));
  end if;
  if source.group_rate is not null then
    perform postbag.put_off_groups(source, wanted, receive.now);
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
    perform postbag.tick(source.queue_id, 0, 0, receive.now);
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
      when cursor_note[1] is distinct from source.queue_id or cursor_note[2] > now_us then
        case when depth = 'near' then coalesce(shared.start_at, '-infinity') else '-infinity' end
      when depth = 'near' then least(postbag.instant(cursor_note[2] - 2000000), shared.start_at)
      else postbag.instant(cursor_note[2])
    end;

    if source.delivery_order = 'lifo' then
      return query select * from postbag.claim_newest(source, level, wanted, depth = 'full', until, drawn_key, receive.now);
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
            and message.available_at <= receive.now
            and message.available_at < 'infinity'
            and (message.leased_until is null or message.leased_until <= receive.now)
            and (message.expires_at is null or message.expires_at > receive.now)
          order by message.available_at, message.message_id
          limit most_heads
          for update skip locked
        ),
        leased as (
          update postbag.message
          set
            leased_until = until,
            attempts = message.attempts + 1,
            lease_key = drawn_key,
            first_received_at = coalesce(message.first_received_at, receive.now),
            in_flight_until = case when source.max_in_flight is not null then until end,
            -- After its last attempt it is dead, unless it is settled before the lease ends.
            expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(until) else message.expires_at end,
            -- A fair queue hands out the next of the group at once.
            group_position = case when source.group_mode = 'ordered' then message.group_position end
          from head
          where message.queue_id = source.queue_id and message.ctid = head.place
          returning message.*
        ),
        noted as (
          select
            set_config(
              cursor_setting,
              format('%s:%s:%s', source.queue_id, postbag.microseconds(min(head.available_at)), count(head.group_key)),
              false
            ),
            case when count(head.group_key) > 0 then set_config(
              'postbag.heads',
              jsonb_build_array(
                jsonb_agg(head.group_key) filter (where head.group_key is not null and head.attempts = 0),
                jsonb_agg(head.group_key) filter (where head.group_key is not null and head.attempts > 0)
              )::text,
              true
            ) end
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
        return query select * from postbag.follow_heads(source, wanted, until, drawn_key, receive.now);
        get diagnostics followers = row_count;
        wanted := wanted - followers;
      end if;
      -- (A lease of no time leaves what was taken available.)
      exit when wanted = 0 or claimed < most_heads or until <= receive.now;
      most_heads := wanted;
    end loop;
    if claimed = 0 then
      -- Nothing from here to now, so the next call may start shortly before now; what commits later is for the near look.
      perform set_config(
        cursor_setting,
        format(
          '%s:%s:%s', source.queue_id, postbag.microseconds(greatest(start, receive.now - interval '1 s')), coalesce(cursor_note[3], 0)
        ),
        false
      );
    end if;
    exit when wanted = 0;
  end loop;

  if wanted = allowed then
    perform postbag.settle_pending(source.queue_id, receive.now);
  end if;
  if source.rate is not null and wanted < allowed then
    perform postbag.spend(source, '', allowed - wanted, receive.now);
  end if;
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
--! Included functions/receive_and_ack.sql
/* postbag.receive_and_ack: receive for at most once: the messages are gone when the transaction commits; the receipt is null, and
 * leased_until is now. */
create or replace function postbag.receive_and_ack(
  queue text, max_messages integer, lease interval, now timestamptz, alone boolean
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
as $$
declare
  taken record;
  receipts text[];
begin
  if receive_and_ack.lease is not null then
    perform postbag.refuse('PB002', 'leaseSeconds must not be given with autoAck, got both');
  end if;
  for taken in
    select given.*
    from postbag.receive(receive_and_ack.queue, receive_and_ack.max_messages, null, receive_and_ack.now, false, receive_and_ack.alone)
      as given
  loop
    receipts := receipts || taken.receipt;
    return query select
      taken.id, null::text, taken.body, taken.encoding, taken.type, taken.content_type, taken.headers, taken.priority,
      taken.group_key, taken.attempts, taken.sent_at, taken.first_received_at, receive_and_ack.now, taken.expires_at, taken.deaths;
  end loop;
  if receipts is not null then
    perform postbag.ack(receive_and_ack.queue, to_jsonb(receipts), receive_and_ack.now, receive_and_ack.alone);
  end if;
end
$$;
--! EndIncluded functions/receive_and_ack.sql
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
 *   'message_gone'     there is no such message in this queue (any more): acked before, purged, or moved to the dead letters
 *   'receipt_invalid'  this is not a receipt
 * A lease that has ended but passed to nobody still acks: the work is done, a redelivery would help no one. `alone` says that this
 * call is the whole transaction: then the queue's relaxed durability counts.
 *
 * Messages are settled in the order of their ids, so that two calls over the same ones cannot deadlock; and one by one, because
 * a set-based join is at the planner's mercy: with the statistics of a nearly empty table it walks the whole queue. */
create or replace function postbag.ack(
  queue text, receipts jsonb, now timestamptz default clock_timestamp(), alone boolean default false
)
returns table (receipt text, outcome text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source constant postbag.queue := postbag.queue_named(ack.queue);
  claim record;
  outcomes text[];
  done bigint := 0;
  acked_group text;
  acked_position bigint;
  -- Groups whose head is done.
  headless text[];
begin
  if source.is_volatile then
    return query select * from postbag.volatile_ack(ack.queue, ack.receipts, ack.now);
    return;
  end if;
  perform postbag.check_receipts(receipts);
  if alone and source.durability = 'relaxed' then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  for claim in
    select given.* from postbag.claims(receipts) as given order by given.message_id, given."position"
  loop
    delete from postbag.message
    where message.queue_id = source.queue_id
      and message.message_id = claim.message_id
      and message.attempts = claim.attempt
      and message.lease_key = claim.lease_key
      and message.leased_until is not null
    returning message.group_key, message.group_position into acked_group, acked_position;
    if found then
      outcomes[claim."position"] := 'ok';
      done := done + 1;
      if acked_position = 0 then
        headless := headless || acked_group;
      end if;
    else
      outcomes[claim."position"] := postbag.refusal(source.queue_id, claim.message_id, claim.attempt, claim.lease_key);
    end if;
  end loop;

  if headless is not null then
    insert into postbag.group_change (queue_id, groups, changed_at) values (source.queue_id, headless, ack.now);
  end if;
  perform postbag.tick(source.queue_id, 0, done, ack.now);

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/ack.sql
--! Included functions/nack.sql
/* postbag.nack: give messages back, to be received again after `delay` (0 s to a year; null: as the queue's retry policy says); `error`
 * says why and is kept with the message (its first 4000 characters). With dead_letter, or after the last of the queue's max_attempts,
 * they go to the dead letters instead, in the same transaction. In the caller's transaction; outcomes, order and `alone` as for
 * postbag.ack.
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
  source constant postbag.queue := postbag.queue_named(nack.queue);
  claim record;
  outcomes text[];
  back_at timestamptz;
  nacked_group text;
  nacked_position bigint;
  -- Per ordered group the first that was given back.
  broken jsonb := '{}';
begin
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
      expires_at = case when message.expires_at = postbag.last_moment(message.leased_until) then null else message.expires_at end,
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

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/nack.sql
--! Included functions/extend.sql
/* postbag.extend: keep messages for `lease` (0 s to 43200 s, default the queue's) from now on. The receipts stay the same. What was taken
 * from an ordered group under one lease is kept together.
 * In the caller's transaction; order, outcomes and `alone` as for postbag.ack, and one outcome more:
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
  source constant postbag.queue := postbag.queue_named(extend.queue);
  until constant timestamptz := extend.now + coalesce(extend.lease, source.lease);
  claim record;
  outcomes text[];
  kept_group text;
  kept_position bigint;
  kept_groups text[] := '{}';
begin
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
    returning message.group_key, message.group_position into kept_group, kept_position;
    if not found then
      outcomes[claim."position"] := postbag.refusal(source.queue_id, claim.message_id, claim.attempt, claim.lease_key);
      continue;
    end if;
    outcomes[claim."position"] := 'ok';
    if kept_position is not null and not kept_group = any (kept_groups) then
      perform postbag.extend_companions(source.queue_id, kept_group, claim.lease_key::integer, until);
      kept_groups := kept_groups || kept_group;
    end if;
  end loop;

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/extend.sql
--! Included functions/search.sql
/* postbag.search: look at messages without taking them, in the order of their ids, max_messages (1 to 1000) of those after the id
 * `after` for which all that is given holds: state ('ready', 'leased', 'delayed', 'blocked', 'dead'), type, headers (all of them), group,
 * sent at least min_age and at most max_age ago, text in the body (of text and JSON, as it is stored), reason of a dead letter.
 * Changes nothing. A call looks at 10,000 messages at most; if there may be more, a last row holds nothing but `next`: the next call's
 * `after`, or null to go on after the last message of a full page. */
create or replace function postbag.search(
  queue text,
  max_messages integer default 10,
  after text default null,
  of_state text default null,
  of_type text default null,
  of_headers jsonb default null,
  of_group text default null,
  min_age interval default null,
  max_age interval default null,
  body_contains text default null,
  of_reason text default null,
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
  group_key text,
  attempts integer,
  last_error text,
  sent_at timestamptz,
  available_at timestamptz,
  first_received_at timestamptz,
  leased_until timestamptz,
  expires_at timestamptz,
  dead_at timestamptz,
  dead_reason text,
  deaths jsonb,
  next text
)
language plpgsql
stable
-- A plan made when the table was small would read all queues.
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source constant postbag.queue := postbag.queue_named(search.queue);
  most_looked_at constant integer := 10000;
  found_messages bigint;
begin
  if source.is_volatile then
    return query select * from postbag.volatile_search(
      search.queue, search.max_messages, search.after, search.of_state, search.of_type, search.of_headers, search.of_group, search.min_age,
      search.max_age, search.body_contains, search.of_reason, search.now
    );
    return;
  end if;
  if max_messages is null or max_messages not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max must be between 1 and 1000, got %s', coalesce(max_messages::text, 'null')));
  elsif after !~ '^[0-9]{1,18}$' then
    perform postbag.refuse('PB002', format('after must be the id of a message, got %L', after));
  elsif search.of_state not in ('ready', 'leased', 'delayed', 'blocked', 'dead') then
    perform postbag.refuse('PB002', format('state must be ready, leased, delayed, blocked or dead, got %L', search.of_state));
  elsif search.of_reason not in ('attempts', 'expired', 'rejected', 'overflow') then
    perform postbag.refuse('PB002', format('reason must be attempts, expired, rejected or overflow, got %L', search.of_reason));
  elsif not postbag.is_string_map(search.of_headers) then
    perform postbag.refuse('PB002', format('headers must be an object of strings, got %s', search.of_headers));
  end if;

  return query
    select
      message.message_id::text,
      seen.state,
      coalesce(message.body::text, translate(encode(message.bytes, 'base64'), E'\n', '')),
      message.encoding::text,
      message.type::text,
      message.content_type::text,
      message.headers::jsonb,
      message.priority::integer,
      message.group_key::text,
      message.attempts,
      message.last_error,
      message.sent_at,
      case when message.available_at < 'infinity' then message.available_at else message.due_at end,
      message.first_received_at,
      message.leased_until,
      message.expires_at,
      message.dead_at,
      case when message.dead_at is not null then message.deaths -> -1 ->> 'reason' end,
      message.deaths,
      -- A full page goes on after its last message, any other after the last that was looked at.
      null::text
    from (
      select looked_at.*
      from postbag.message as looked_at
      where looked_at.queue_id = source.queue_id and looked_at.message_id > coalesce(search.after, '0')::bigint
      order by looked_at.message_id
      limit most_looked_at
    ) as message
    cross join lateral (
      select postbag.state_of(
        message.dead_at, message.group_position, message.leased_until, message.available_at, message.due_at, message.expires_at,
        search.now
      ) as state
    ) as seen
    where (search.of_type is null or message.type = search.of_type)
      and (search.of_headers is null or coalesce(message.headers, '{}') @> search.of_headers)
      and (search.of_group is null or message.group_key = search.of_group)
      and (search.min_age is null or message.sent_at <= search.now - search.min_age)
      and (search.max_age is null or message.sent_at >= search.now - search.max_age)
      and (search.body_contains is null or strpos(message.body, search.body_contains) > 0)
      and (search.of_reason is null or (message.dead_at is not null and message.deaths -> -1 ->> 'reason' = search.of_reason))
      and seen.state = coalesce(search.of_state, seen.state)
      -- (What has expired is not there any more, though it may not have been removed yet.)
      and seen.state <> 'expired'
    order by message.message_id
    limit max_messages;
  get diagnostics found_messages = row_count;

  -- (The last row says how to go on. A full page goes on after its last message, any other after the last that was looked at.)
  if found_messages < max_messages then
    select max(looked_at.message_id) into next
    from (
      select message.message_id
      from postbag.message
      where message.queue_id = source.queue_id and message.message_id > coalesce(search.after, '0')::bigint
      order by message.message_id
      limit most_looked_at
    ) as looked_at
    having count(*) = most_looked_at;
    if next is null then
      return;
    end if;
  end if;
  id := null;
  return next;
end
$$;
--! EndIncluded functions/search.sql
--! Included functions/peek.sql
/* postbag.peek: look at messages without taking them, in the order of their ids, max_messages (1 to 1000) of those after the id
 * `after`. The last id of a full page is the next page's `after`. Changes nothing. What the states mean: postbag.search. */
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
  group_key text,
  attempts integer,
  last_error text,
  sent_at timestamptz,
  available_at timestamptz,
  first_received_at timestamptz,
  leased_until timestamptz,
  expires_at timestamptz,
  dead_at timestamptz,
  dead_reason text,
  deaths jsonb
)
language sql
stable
as $$
  select
    seen.id, seen.state, seen.body, seen.encoding, seen.type, seen.content_type, seen.headers, seen.priority, seen.group_key,
    seen.attempts, seen.last_error, seen.sent_at, seen.available_at, seen.first_received_at, seen.leased_until, seen.expires_at,
    seen.dead_at, seen.dead_reason, seen.deaths
  from postbag.search(peek.queue, peek.max_messages, peek.after, now => peek.now) as seen
  where seen.id is not null
$$;
--! EndIncluded functions/peek.sql
--! Included functions/get_message.sql
/* postbag.get_message: look at one message, by its id. PB005 if it is not in this queue (any more). Changes nothing. */
create or replace function postbag.get_message(queue text, message_id text, now timestamptz default clock_timestamp())
returns table (
  id text,
  state text,
  body text,
  encoding text,
  type text,
  content_type text,
  headers jsonb,
  priority integer,
  group_key text,
  attempts integer,
  last_error text,
  sent_at timestamptz,
  available_at timestamptz,
  first_received_at timestamptz,
  leased_until timestamptz,
  expires_at timestamptz,
  dead_at timestamptz,
  dead_reason text,
  deaths jsonb
)
language plpgsql
stable
set enable_seqscan = off
as $$
declare
  source constant postbag.queue := postbag.queue_named(get_message.queue);
begin
  if source.is_volatile then
    return query select * from postbag.volatile_get_message(get_message.queue, get_message.message_id, get_message.now);
    return;
  end if;
  if get_message.message_id is null or get_message.message_id !~ '^[0-9]{1,18}$' then
    perform postbag.refuse('PB002', format('id must be the id of a message, got %L', get_message.message_id));
  end if;
  return query
    select
      message.message_id::text,
      postbag.state_of(
        message.dead_at, message.group_position, message.leased_until, message.available_at, message.due_at,
        message.expires_at, get_message.now
      ),
      coalesce(message.body::text, translate(encode(message.bytes, 'base64'), E'\n', '')),
      message.encoding::text,
      message.type::text,
      message.content_type::text,
      message.headers::jsonb,
      message.priority::integer,
      message.group_key::text,
      message.attempts,
      message.last_error,
      message.sent_at,
      case when message.available_at < 'infinity' then message.available_at else message.due_at end,
      message.first_received_at,
      message.leased_until,
      message.expires_at,
      message.dead_at,
      case when message.dead_at is not null then message.deaths -> -1 ->> 'reason' end,
      message.deaths
    from postbag.message
    where message.queue_id = source.queue_id
      and message.message_id = get_message.message_id::bigint
      -- (What has expired is not there any more, though it may not have been removed yet.)
      and postbag.state_of(
        message.dead_at, message.group_position, message.leased_until, message.available_at, message.due_at,
        message.expires_at, get_message.now
      ) <> 'expired';
  if not found then
    perform postbag.refuse('PB005', format('queue "%s" has no message %s (any more)', source.name, get_message.message_id));
  end if;
end
$$;
--! EndIncluded functions/get_message.sql
--! Included functions/purge.sql
/* postbag.purge: delete all messages of a queue, leased, delayed and dead ones too; returns how many. Messages that another transaction
 * is receiving or settling at this moment are left to it, so that a purge never waits. */
create or replace function postbag.purge(queue text, now timestamptz default clock_timestamp())
returns bigint
language plpgsql
-- A plan made when the queue was empty would be quadratic.
set enable_nestloop = off
as $$
declare
  source constant postbag.queue := postbag.queue_named(purge.queue);
  deleted bigint;
  headless text[];
begin
  if source.is_volatile then
    return postbag.volatile_purge(purge.queue, purge.now);
  end if;
  with doomed as materialized (
    select message.message_id from postbag.message where message.queue_id = source.queue_id for update skip locked
  ),
  gone as (
    delete from postbag.message using doomed
    where message.queue_id = source.queue_id and message.message_id = doomed.message_id
    returning message.group_key, message.group_position
  )
  select count(*), array_agg(gone.group_key) filter (where gone.group_position = 0) into deleted, headless from gone;
  if headless is not null then
    insert into postbag.group_change (queue_id, groups, changed_at) values (source.queue_id, headless, purge.now);
  end if;
  return deleted;
end
$$;
--! EndIncluded functions/purge.sql
--! Included functions/queue_stats.sql
/* postbag.queue_stats: how many messages of a queue are in each state, how many bytes their bodies have, since when the oldest ready one
 * has been available, and how many were sent and done per second over the last minute. The counts are as of counted_at: a count that
 * took long is not repeated at once (functions/count_messages.sql). Beyond 1,000,000 messages `capped` is true and the counts are what
 * was found among the 1,000,000 oldest. The rates lag by up to a second, and miss what a session did in its last one. */
create or replace function postbag.queue_stats(queue text, now timestamptz default clock_timestamp())
returns table (
  ready bigint,
  leased bigint,
  delayed bigint,
  blocked bigint,
  dead bigint,
  bytes bigint,
  oldest_ready_at timestamptz,
  in_per_second double precision,
  out_per_second double precision,
  counted_at timestamptz,
  capped boolean
)
language plpgsql
set enable_seqscan = off
as $$
declare
  source constant postbag.queue := postbag.queue_named(queue_stats.queue);
  known postbag.tally;
begin
  if source.is_volatile then
    known := postbag.volatile_count_messages(source, queue_stats.now);
  else
    known := postbag.count_messages(source, queue_stats.now);
  end if;
  return query
    select
      known.ready, known.leased, known.delayed, known.blocked, known.dead, known.bytes, known.oldest_ready_at,
      coalesce(sum(noted.sent), 0)::double precision / 60, coalesce(sum(noted.done), 0)::double precision / 60,
      known.counted_at, known.capped
    from postbag.traffic as noted
    where noted.queue_id = source.queue_id
      and noted.noted_at > queue_stats.now - interval '1 min' and noted.noted_at <= queue_stats.now;
end
$$;
--! EndIncluded functions/queue_stats.sql
--! Included functions/pause.sql
/* postbag.pause: stop handing out messages of a queue; sends go on, and who owns messages may settle them. Returns the queue's
 * configuration, as postbag.describe_queue does; PB001 if there is none of that name. */
create or replace function postbag.pause(queue text, now timestamptz default clock_timestamp())
returns setof postbag.queue_info
language plpgsql
as $$
begin
  perform postbag.queue_named(pause.queue);
  update postbag.queue as known
  set paused = true, updated_at = greatest(pause.now, known.created_at + interval '1 microsecond')
  where known.name = pause.queue and known.paused <> true;
  return query select info.* from postbag.queue_info as info where info.name = pause.queue;
end
$$;
--! EndIncluded functions/pause.sql
--! Included functions/resume.sql
/* postbag.resume: hand out messages of a queue again. Returns the queue's
 * configuration, as postbag.describe_queue does; PB001 if there is none of that name. */
create or replace function postbag.resume(queue text, now timestamptz default clock_timestamp())
returns setof postbag.queue_info
language plpgsql
as $$
begin
  perform postbag.queue_named(resume.queue);
  update postbag.queue as known
  set paused = false, updated_at = greatest(resume.now, known.created_at + interval '1 microsecond')
  where known.name = resume.queue and known.paused <> false;
  return query select info.* from postbag.queue_info as info where info.name = resume.queue;
end
$$;
--! EndIncluded functions/resume.sql
--! Included functions/redrive_cursor.sql
/* postbag.redrive_cursor: the three numbers of a redrive's `after`; null if none is given, PB002 if it is something else. */
create or replace function postbag.redrive_cursor(after text)
returns bigint[]
language plpgsql
immutable
as $$
begin
  if after !~ '^[0-9]{1,17}\.[0-9]{1,18}\.[0-9]{1,17}$' then
    perform postbag.refuse('PB002', format('after must be the next of a redrive, got %L', after));
  end if;
  return string_to_array(after, '.')::bigint[];
end
$$;
--! EndIncluded functions/redrive_cursor.sql
--! Included functions/check_redrive.sql
/* postbag.check_redrive: refuse (PB001, PB002) what makes no sense as a redrive. */
create or replace function postbag.check_redrive(
  source postbag.queue, ids jsonb, target text, headers jsonb, reason text, max_messages integer, rate double precision
)
returns void
language plpgsql
stable
as $$
declare
  there postbag.queue;
begin
  if jsonb_typeof(ids) <> 'array' or (jsonb_typeof(ids) = 'array' and jsonb_array_length(ids) not between 1 and 1000) then
    perform postbag.refuse('PB002', 'ids must be a JSON array of 1 to 1000 ids');
  elsif exists (select from jsonb_array_elements_text(ids) as given (id) where given.id !~ '^[0-9]{1,18}$') then
    perform postbag.refuse('PB002', format('ids must be ids of messages, got %s', ids));
  elsif not postbag.is_string_map(headers) then
    perform postbag.refuse('PB002', format('headers must be an object of strings, got %s', headers));
  elsif reason not in ('attempts', 'expired', 'rejected', 'overflow') then
    perform postbag.refuse('PB002', format('reason must be attempts, expired, rejected or overflow, got %L', reason));
  elsif max_messages is null or max_messages not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max must be between 1 and 1000, got %s', coalesce(max_messages::text, 'null')));
  elsif rate not between 0.001 and 1000000 then
    perform postbag.refuse('PB002', format('ratePerSecond must be between 0.001 and 1000000, got %s', rate));
  end if;
  if target is not null then
    there := postbag.queue_named(target);
    if there.is_volatile <> source.is_volatile then
      perform postbag.refuse('PB002', format(
        'target must be %s as queue "%s" is, got "%s"', case when source.is_volatile then 'volatile' else 'durable' end,
        source.name, there.name
      ));
    end if;
  end if;
end
$$;
--! EndIncluded functions/check_redrive.sql
--! Included functions/revive.sql
/* postbag.revive: dead letters of a queue become messages again, in `target` or where each came from (here, if that queue is gone), to be
 * received from start_at on, so many in a second; how many there were. Leaves those that another transaction holds. */
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
      group_key, group_position, due_at, expires_at, deaths, body, bytes
    )
    select
      there.queue_id, due.message_id,
      case when due.group_key is null or there.delivery_order = 'lifo' or (there.group_mode = 'fair' and due.back_at > revive.now) then due.back_at else 'infinity' end,
      due.sent_at, due.first_received_at, least(due.priority, there.top_priority), due.encoding, due.type, due.content_type,
      due.headers, due.last_error, due.group_key,
      case
        when due.group_key is not null and there.delivery_order = 'fifo' and not (there.group_mode = 'fair' and due.back_at > revive.now) then nextval('postbag.message_id')
      end,
      case when due.group_key is not null and not (there.group_mode = 'fair' and due.back_at > revive.now) then due.back_at end,
      due.back_at + there.ttl, due.deaths, due.body, due.bytes
    from due
    cross join lateral (
      select known.* from postbag.queue as known
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
  return coalesce(cardinality(revived), 0);
end
$$;
--! EndIncluded functions/revive.sql
--! Included functions/dead_letters.sql
/* postbag.dead_letters: up to `most` dead letters of a queue, those kept here and those moved here, in the order of their deaths, after the
 * one that died at after_time with after_id; or just these, each looked up. */
create or replace function postbag.dead_letters(source_id bigint, ids jsonb, after_time timestamptz, after_id bigint, most integer)
returns setof postbag.message
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
as $$
begin
  if ids is not null then
    return query
      select letter.*
      from (select distinct given.id::bigint as message_id from jsonb_array_elements_text(ids) as given (id)) as wanted
      cross join lateral (
        select message.*
        from postbag.message
        where message.queue_id = source_id and message.message_id = wanted.message_id
        limit 1
      ) as letter
      where letter.dead_at is not null
        and (letter.dead_at, letter.message_id) > (coalesce(after_time, '-infinity'), coalesce(after_id, 0))
      order by letter.dead_at, letter.message_id;
  else
    return query
      select message.*
      from postbag.message
      where message.queue_id = source_id
        and message.dead_at is not null
        and (message.dead_at, message.message_id) > (coalesce(after_time, '-infinity'), coalesce(after_id, 0))
      order by message.dead_at, message.message_id
      limit most;
  end if;
end
$$;
--! EndIncluded functions/dead_letters.sql
--! Included functions/redrive.sql
/* postbag.redrive: bring dead letters of a queue back, oldest first: those that died here, and those that were moved here from another
 * queue and are not leased. Each goes to the queue it came from, or to `target`, with its attempts forgotten and its history kept.
 *   ids (a JSON array of strings), type, headers, group_key, min_age and max_age (since it died), error_contains (the last error),
 *   reason      which ones: all that is given must hold
 *   rate        they become available one after the other, so many in a second
 *   dry_run     count only
 * Brings back up to max_messages (1 to 1000) and looks at 10,000 at most. If there may be more, `next` is the next call's `after`; a call
 * that was cut off is repeated without harm. Dead letters that another transaction holds are left. */
create or replace function postbag.redrive(
  queue text,
  ids jsonb default null,
  target text default null,
  type text default null,
  headers jsonb default null,
  group_key text default null,
  min_age interval default null,
  max_age interval default null,
  error_contains text default null,
  reason text default null,
  max_messages integer default 1000,
  rate double precision default null,
  dry_run boolean default false,
  after text default null,
  now timestamptz default clock_timestamp()
)
returns table (redriven bigint, next text)
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  source constant postbag.queue := postbag.queue_named(redrive.queue);
  most_looked_at constant integer := 10000;
  -- "<microseconds since 1970 of its death>.<id>.<microseconds since 1970 that the rate is used up to>"
  came_to constant bigint[] := postbag.redrive_cursor(redrive.after);
  candidate record;
  looked_at integer := 0;
  chosen bigint[] := '{}';
  spent_until timestamptz := greatest(redrive.now, postbag.instant(came_to[3]));
begin
  if source.is_volatile then
    return query select * from postbag.volatile_redrive(
      redrive.queue, redrive.ids, redrive.target, redrive.type, redrive.headers, redrive.group_key, redrive.min_age, redrive.max_age,
      redrive.error_contains, redrive.reason, redrive.max_messages, redrive.rate, redrive.dry_run, redrive.after, redrive.now
    );
    return;
  end if;
  if current_setting('transaction_isolation') = 'read committed' then
    perform postbag.tidy(source, 1000, redrive.now);
  end if;
  perform postbag.check_redrive(source, redrive.ids, redrive.target, redrive.headers, redrive.reason, redrive.max_messages, redrive.rate);

  for candidate in
    select letter.message_id, letter.dead_at,
      (redrive.type is null or letter.type = redrive.type)
        and (redrive.headers is null or coalesce(letter.headers, '{}') @> redrive.headers)
        and (redrive.group_key is null or letter.group_key = redrive.group_key)
        and (redrive.min_age is null or letter.dead_at <= redrive.now - redrive.min_age)
        and (redrive.max_age is null or letter.dead_at >= redrive.now - redrive.max_age)
        and (redrive.error_contains is null or strpos(letter.last_error, redrive.error_contains) > 0)
        and (redrive.reason is null or letter.deaths -> -1 ->> 'reason' = redrive.reason)
        and (letter.leased_until is null or letter.leased_until <= redrive.now) as fits
    from postbag.dead_letters(source.queue_id, redrive.ids, postbag.instant(came_to[1]), came_to[2], most_looked_at) as letter
  loop
    if candidate.fits then
      chosen := chosen || candidate.message_id;
    end if;
    looked_at := looked_at + 1;
    if cardinality(chosen) = max_messages or looked_at = most_looked_at then
      next := 'more';
      exit;
    end if;
  end loop;

  redriven := cardinality(chosen);
  if not coalesce(dry_run, false) then
    redriven := postbag.revive(source, chosen, redrive.target, spent_until, redrive.rate, redrive.now);
  end if;
  if rate is not null then
    spent_until := spent_until + make_interval(secs => redriven / rate);
  end if;
  if next is not null then
    next := format(
      '%s.%s.%s', postbag.microseconds(candidate.dead_at), candidate.message_id, postbag.microseconds(spent_until)
    );
  end if;
  return next;
end
$$;
--! EndIncluded functions/redrive.sql
--! Included functions/remove_orphans.sql
/* postbag.remove_orphans: delete up to `most` messages whose queue is gone (their send committed after delete_queue); how many. Walks
 * the queues that have messages, one index look-up each. */
create or replace function postbag.remove_orphans(most integer)
returns bigint
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  seen_id bigint;
  deleted bigint;
  total bigint := 0;
begin
  loop
    select message.queue_id into seen_id
    from postbag.message
    where message.queue_id > coalesce(seen_id, 0)
    order by message.queue_id
    limit 1;
    exit when not found or total >= most;
    if not exists (select from postbag.queue as known where known.queue_id = seen_id) then
      with doomed as materialized (
        select message.message_id from postbag.message where message.queue_id = seen_id limit most - total for update skip locked
      )
      delete from postbag.message using doomed where message.queue_id = seen_id and message.message_id = doomed.message_id;
      get diagnostics deleted = row_count;
      total := total + deleted;
      delete from postbag.dedup where dedup.queue_id = seen_id;
      delete from postbag.group_pending where group_pending.queue_id = seen_id;
      delete from postbag.flow where flow.queue_id = seen_id;
      delete from postbag.traffic where traffic.queue_id = seen_id;
    end if;
  end loop;
  return total;
end
$$;
--! EndIncluded functions/remove_orphans.sql
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
  delete from postbag.sweep where sweep.queue_id = doomed.queue_id;
  delete from postbag.tally where tally.queue_id = doomed.queue_id;
  delete from postbag.flow where flow.queue_id = doomed.queue_id;
  delete from postbag.traffic where traffic.queue_id = doomed.queue_id;
  delete from postbag.group_pending where group_pending.queue_id = doomed.queue_id;
  delete from postbag.dedup where dedup.queue_id = doomed.queue_id;
  delete from postbag.message where message.queue_id = doomed.queue_id;
  get diagnostics deleted = row_count;
  return deleted;
end
$$;
--! EndIncluded functions/delete_queue.sql
--! Included functions/maintain.sql
/* postbag.maintain: remove what nobody needs any more, up to max_messages of each kind, in one queue or in all: messages whose time to
 * live or last lease has ended (to the dead letters, if the queue says so), dead letters kept long enough, dedup ids, old notes, and
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
    if tended.is_volatile then
      select * into tidied
      from postbag.volatile_tidy(tended, greatest(max_messages - expired_messages - removed_dead_letters, 0)::integer, maintain.now);
      forgotten := postbag.volatile_forget_dedup_ids(tended.queue_id, maintain.now);
    else
      select * into tidied
      from postbag.tidy(tended, greatest(max_messages - expired_messages - removed_dead_letters, 0)::integer, maintain.now);
      forgotten := postbag.forget_dedup_ids(tended.queue_id, maintain.now);
    end if;
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
  more := coalesce(more, false) or expired_messages + removed_dead_letters >= max_messages or removed_orphans >= max_messages;
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
  -- About once per 256 messages, so that the deletion costs a call next to nothing.
  if is_first and random() < 1 / 256.0 then
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
--! Included functions/apply_group_changes.sql
/* postbag.apply_group_changes: what the verbs noted in postbag.group_change becomes true, at the end of their transaction.
 *
 *  1. The messages of a group stand in line (group_position). The first one, at position 0, is the head: only it has a finite
 *     available_at, so claims can see nothing else of the group, and need no other way than for messages without groups. The others
 *     wait at 'infinity' (due_at keeps their time). Who takes a head may take those behind it, too, under the same lease.
 *  2. A group needs a new head when messages arrive in an empty one, or when its head goes (acked, dead, purged; in a queue that
 *     serves its groups fairly: as soon as it is handed out). Each decision looks at the line as it is, so two at the same time for the
 *     same group would both be wrong; and they must not wait for each other for as long as a user's transaction is open.
 *  3. So they are made when the transaction commits: a deferred trigger, once for all that it did, under advisory locks on its groups
 *     (taken in ascending order: no deadlock) that are held for the moment of the commit. Locks are on slots that groups share, so that
 *     their number is bounded.
 *  4. Who commits first stands first. Positions are drawn when sending; if someone else committed a later one meanwhile, new ones are
 *     drawn here.
 *  5. It never waits for a row (another transaction might hold it and wait for our locks), and a transaction with a snapshot of its
 *     own (repeatable read) cannot look at the line as it is. Then the group is left in postbag.group_pending: the next transaction that touches it, a receive that
 *     finds nothing, and any session that has used the queue for a second, settle it. */
create or replace function postbag.apply_group_changes()
returns trigger
language plpgsql
-- With the owner's rights, so that who may only send needs none on other messages. (A trigger's function cannot be called.)
security definer
set search_path = pg_catalog
as $$
declare
  changed record;
  -- By whose clock: a role that may not delete messages must not make time pass for others'.
  caller constant text := coalesce(nullif(current_setting('role'), 'none'), session_user);
  latest constant timestamptz := case
    when has_table_privilege(caller, 'postbag.message', 'delete') then 'infinity'
    else clock_timestamp()
  end;
begin
  -- The first row of a transaction applies all of them; for the others there is nothing left.
  if not exists (
    select from postbag.group_change as change where change.xact = new.xact and change.change_id = new.change_id
  ) then
    return null;
  elsif not new.tidies and not exists (
    select from postbag.group_change as change where change.xact = new.xact and change.change_id > new.change_id
  ) then
    perform postbag.lock_groups(array(
      select new.queue_id || ':' || touched.group_key from unnest(new.groups) as touched (group_key)
    ));
    perform postbag.change_groups(new.queue_id, new.groups, new.arrived, least(new.changed_at, latest));
    delete from postbag.group_change as change where change.xact = new.xact;
    return null;
  end if;

  -- Tidying comes first: it may add to the changes. (Now, because what is tidied is held until the transaction ends.)
  perform postbag.tidy_at_commit(tidied.queue_id, least(new.changed_at, latest))
  from (
    select distinct change.queue_id from postbag.group_change as change where change.xact = new.xact and change.tidies
  ) as tidied;

  perform postbag.lock_groups(array(
    select change.queue_id || ':' || touched.group_key
    from postbag.group_change as change
    cross join lateral unnest(change.groups) as touched (group_key)
    where change.xact = new.xact
  ));
  for changed in
    select
      changing.queue_id,
      changing.changed_at,
      array(
        select distinct touched.group_key
        from postbag.group_change as change
        cross join lateral unnest(change.groups) as touched (group_key)
        where change.xact = new.xact and change.queue_id = changing.queue_id
      ) as groups,
      array(
        select joined.message_id
        from postbag.group_change as change
        cross join lateral unnest(change.arrived) as joined (message_id)
        where change.xact = new.xact and change.queue_id = changing.queue_id
      ) as arrived
    from (
      select change.queue_id, max(change.changed_at) as changed_at
      from postbag.group_change as change
      where change.xact = new.xact
      group by change.queue_id
    ) as changing
  loop
    perform postbag.change_groups(changed.queue_id, changed.groups, changed.arrived, least(changed.changed_at, latest));
  end loop;
  delete from postbag.group_change as change where change.xact = new.xact;
  return null;
end
$$;
--! EndIncluded functions/apply_group_changes.sql
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
  verbs constant text[] := '{send_batch,deduplicate,make_room,count_messages,bury,move_dead,stand_last,tidy,receive,receive_and_ack,claim_newest,
    follow_heads,release_followers,extend_companions,put_off_groups,allowance,ack,nack,extend,refusal,order_groups,search,
    get_message,purge,redrive,dead_letters,places_of,revive,remove_orphans,forget_dedup_ids,delete_queue}';
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
    twin := regexp_replace(twin, '(?<!SETOF )\mpostbag\.(message|dedup)\M(?! as)(?!'')', 'postbag.volatile_\1 as \1', 'g');
    twin := regexp_replace(twin, '\mpostbag\.(message_id|dedup|message)\M', 'postbag.volatile_\1', 'g');
    execute regexp_replace(twin, '\.is_volatile then', '.is_volatile is null then', 'g');
  end loop;
end
$$;
--! EndIncluded functions/make_volatile_twins.sql

select postbag.make_volatile_twins();

/* At the end of the transaction, once for all that it did to groups. */
create constraint trigger group_changes_are_applied_at_commit
after insert on postbag.group_change
deferrable initially deferred
for each row execute function postbag.apply_group_changes();
