--! Previous: sha1:8528641e2a399c68b40715a9968c061f901b0906
--! Hash: sha1:38762c70ad6618c67e351b01ed1b3c8386280e44
--! Message: fast

--! split: 01-tables.sql
/* What changes in tables and types for speed, and what goes because its function got another signature, or is no longer needed. */

drop function postbag.dead_letters_to;
drop function postbag.every_second;
drop function postbag.tick;
drop function postbag.move_dead;
drop function postbag.volatile_move_dead;
drop function postbag.claim_newest;
drop function postbag.volatile_claim_newest;
drop function postbag.follow_heads;
drop function postbag.volatile_follow_heads;
drop function postbag.receive_and_ack;
drop function postbag.volatile_receive_and_ack;
drop function postbag.volatile_get_message;

/* What postbag.receive gives back of a message, for the functions behind it. */
create type postbag.delivery as (
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
);

/* What a message may hold is checked by postbag.keeps_rules, when it is stored, and no longer by domains. */
alter table postbag.message
  alter column encoding type text,
  alter column type type text,
  alter column content_type type text,
  alter column headers type jsonb,
  alter column group_key type text collate "C",
  alter column body type text,
  alter column bytes type bytea;
alter table postbag.volatile_message
  alter column encoding type text,
  alter column type type text,
  alter column content_type type text,
  alter column headers type jsonb,
  alter column group_key type text collate "C",
  alter column body type text,
  alter column bytes type bytea;
drop domain postbag.message_encoding;
drop domain postbag.message_type;
drop domain postbag.message_content_type;
drop domain postbag.message_headers;
drop domain postbag.message_body;
drop domain postbag.message_bytes;
drop domain postbag.message_group;

/* Whether sends to this queue, and receives from it, may go the short way (functions/send_batch.sql, functions/receive.sql). */
alter table postbag.queue
  add column sends_plainly boolean not null
    generated always as (dedup_by = 'id' and ttl is null and max_messages is null and max_bytes is null) stored,
  add column receives_plainly boolean not null
    generated always as (
      not paused and delivery_order = 'fifo' and top_priority = 0 and rate is null and group_rate is null and max_in_flight is null
      and lease >= interval '1 s'
    ) stored;

/* Room on each page for one more version of every message on it, so that a claim is a heap-only update even if it takes a whole page at
 * once. (With 40 % free a fifth of the claims went to other pages: 876 B of WAL per message, now 730.) */
alter table postbag.message set (fillfactor = 50);
alter table postbag.volatile_message set (fillfactor = 50);

--! split: 02-functions.sql
/* The functions that are new or changed. */
--! Included functions/wake_slot.sql
/* postbag.wake_slot: the lock that stands for "somebody waits for this queue". Queues share 1024 of them, so that a process that waits for
 * very many queues cannot fill the database's table of locks; who shares one is notified in vain now and then. */
create or replace function postbag.wake_slot(queue text)
returns integer
language sql
immutable
as $$
  select hashtext(queue) & 1023
$$;
--! EndIncluded functions/wake_slot.sql
--! Included functions/is_awaited.sql
/* postbag.is_awaited: whether somebody may be waiting for a queue (functions/wake.sql): false is certain. In one expression, which nothing
 * interrupts: the lock is the session's, and would outlive an error. */
create or replace function postbag.is_awaited(queue text)
returns boolean
language sql
volatile
return not case
  when pg_try_advisory_lock(1886352386, postbag.wake_slot(queue)) then pg_advisory_unlock(1886352386, postbag.wake_slot(queue))
  else false
end;
--! EndIncluded functions/is_awaited.sql
--! Included functions/wake.sql
/* postbag.wake: something may be available in a queue now, or earlier than was known: notify who waits for it, when this transaction
 * commits. If nobody waits, which is nearly always, nothing is notified: commits that notify wait for each other.
 *
 * Who waits holds the queue's slot in shared mode (functions/watch.sql). So if this session can have it alone, for a moment, nobody waits.
 * That is seen as it is now, whatever snapshot the transaction has. Another sender that tries in the same moment is in the way, too; so
 * it is tried three times. Called after the change itself was made: who waits counts on the transaction having an id by then. */
create or replace function postbag.wake(queue text)
returns void
language plpgsql
as $$
begin
  for attempt in 1 .. 3 loop
    if not postbag.is_awaited(wake.queue) then
      return;
    end if;
  end loop;
  perform pg_notify('postbag', wake.queue);
end
$$;
--! EndIncluded functions/wake.sql
--! Included functions/microseconds.sql
/* postbag.microseconds: a time as whole microseconds since 1970, for what a session notes as numbers. (Stable, because the planner
 * counts extract as that, and inlines no function that claims to be more.) */
create or replace function postbag.microseconds(instant timestamptz)
returns bigint
language sql
stable
return (date_part('epoch', instant) * 1000000)::bigint;
--! EndIncluded functions/microseconds.sql
--! Included functions/instant.sql
/* postbag.instant: the time that lies so many microseconds after 1970. */
create or replace function postbag.instant(microseconds bigint)
returns timestamptz
language sql
immutable
return to_timestamp(microseconds / 1000000::double precision);
--! EndIncluded functions/instant.sql
--! Included functions/break_rule.sql
/* postbag.break_rule: end the statement with what a check constraint of that name would say. Never returns. */
create or replace function postbag.break_rule(rule text)
returns text
language plpgsql
as $$
begin
  raise exception using
    errcode = 'check_violation', constraint = rule, table = 'message', message = format('value violates the rule %s', rule);
end
$$;
--! EndIncluded functions/break_rule.sql
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
end is null;
--! EndIncluded functions/keeps_rules.sql
--! Included functions/last_volatile_id.sql
/* postbag.last_volatile_id: the id that this session drew last with postbag.next_volatile_id. */
create or replace function postbag.last_volatile_id()
returns bigint
language sql
stable
return currval('postbag.volatile_message_id') + extract(epoch from pg_postmaster_start_time())::bigint * 100000000;
--! EndIncluded functions/last_volatile_id.sql
--! Included functions/claim_of.sql
/* postbag.claim_of: what a receipt names: {message_id, attempt, lease_key}; null if the text is no receipt. (Checked without a regular
 * expression, which costs more than the rest of an ack.) */
create or replace function postbag.claim_of(receipt text)
returns bigint[]
language sql
immutable
return case
  when translate(receipt, '0123456789', '') = '..'
    and length(split_part(receipt, '.', 1)) between 1 and 18
    and length(split_part(receipt, '.', 2)) between 1 and 9
    and length(split_part(receipt, '.', 3)) between 1 and 10
    then string_to_array(receipt, '.')::bigint[]
end;
--! EndIncluded functions/claim_of.sql
--! Included functions/claimed_id.sql
/* postbag.claimed_id: the id of the message that a receipt names; null if the text is no receipt. (Of a number with more digits than an id
 * can have, the first 18: there may be such a message, but it has another receipt.) */
create or replace function postbag.claimed_id(receipt text)
returns bigint
language sql
immutable
return case
  when translate(receipt, '0123456789', '') = '..' then nullif(left(split_part(receipt, '.', 1), 18), '')::bigint
end;
--! EndIncluded functions/claimed_id.sql
--! Included functions/claims.sql
/* postbag.claims: the receipts of a JSON array taken apart: which message, and which of its leases (its attempt and its key: a lease
 * has a higher attempt than the one before, and the key tells it from one that was rolled back). All null where the text is no receipt. */
create or replace function postbag.claims(receipts jsonb)
returns table ("position" bigint, receipt text, message_id bigint, attempt integer, lease_key bigint)
language sql
immutable
as $$
  select given."position", given.receipt, claim[1], claim[2]::integer, claim[3]
  from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position")
  cross join lateral postbag.claim_of(given.receipt) as claim
$$;
--! EndIncluded functions/claims.sql
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
      select message.ctid as place, message.group_key, message.group_position
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
--! Included functions/move_dead.sql
/* postbag.move_dead: dead letters (`ids`, which lie at `places`) go to another queue, in one statement: they stand in one of the two at every moment. */
create or replace function postbag.move_dead(
  source postbag.queue, target postbag.queue, ids bigint[], places tid[], reason text, now timestamptz
)
returns void
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
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
  perform postbag.wake(target.name);
end
$$;
--! EndIncluded functions/move_dead.sql
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
  target postbag.queue;
begin
  if ids is null then
    return;
  end if;
  -- The other queue that they go to; none if they stay, or if it is gone.
  select known.* into target
  from postbag.queue as known
  where known.name = source.dead_letter_queue and known.name <> source.name and known.is_volatile = source.is_volatile;
  places := postbag.places_of(source.queue_id, ids);
  select array_agg(message.group_key) filter (where message.group_position = 0) into headless
  from postbag.message
  where message.ctid = any (places);

  if source.dead_letter_queue is null and reason in ('expired', 'overflow') then
    delete from postbag.message where message.ctid = any (places);
  elsif target.queue_id is null then
    update postbag.message
    set
      available_at = 'infinity', leased_until = null, in_flight_until = null, group_position = null, due_at = null,
      dead_at = bury.now,
      expires_at = bury.now + source.dead_letter_retention,
      deaths = postbag.with_death(message.deaths, source.name, reason, message.last_error, message.attempts, bury.now)
    where message.ctid = any (places);
  else
    perform postbag.move_dead(source, target, ids, places, reason, bury.now);
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
  if source.is_volatile then
    return query select * from postbag.volatile_tidy(source, most, tidy.now);
    return;
  end if;
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
  if found then
    perform postbag.tidy(tidied, 1000, tidy_at_commit.now);
  end if;
  perform postbag.settle_pending(tidied_id, tidy_at_commit.now);
  if random() < 1 / 60.0 then
    perform postbag.forget_traffic(tidied_id, tidy_at_commit.now);
  end if;
end
$$;
--! EndIncluded functions/tidy_at_commit.sql
--! Included functions/is_counted.sql
/* postbag.is_counted: count what this session just sent to a queue, or had done there, in a note of its own (`setting`):
 * "queue:second:number:number:…". False, and nothing is counted, if the note is of another second or queue, or long: then postbag.tick is
 * to be called. So a verb pays for one comparison, and once a second for the rest. */
create or replace function postbag.is_counted(setting text, source_id bigint, number bigint, now timestamptz)
returns boolean
language sql
volatile
return case
  when starts_with(current_setting(setting, true), source_id || ':' || date_part('epoch', now)::bigint || ':')
    and octet_length(current_setting(setting, true)) < 2000
    then set_config(setting, current_setting(setting, true) || number || ':', false) <> ''
  else false
end;
--! EndIncluded functions/is_counted.sql
--! Included functions/tick.sql
/* postbag.tick: what postbag.is_counted leaves to do once a second (by the caller's clock): write down, for the statistics, what this
 * session counted in the second before, and ask for tidying at the end of the transaction, so that removing what has expired needs no
 * daemon. Leaves out what the role has no right to, and tidying in a transaction with a snapshot of its own, where it could fail for no
 * reason of the caller's. */
create or replace function postbag.tick(verb text, source_id bigint, number bigint, now timestamptz)
returns void
language plpgsql
as $$
declare
  setting constant text := 'postbag.' || verb || '_' || source_id % 1024;
  second constant bigint := date_part('epoch', tick.now)::bigint;
  -- {queue_id, second, number, number, …}
  note constant bigint[] := postbag.remembered(setting);
  counted bigint := tick.number;
begin
  if note[1] = source_id then
    counted := counted + coalesce((select sum(earlier.number) from unnest(note[3:]) as earlier (number)), 0);
  end if;
  if note[1] = source_id and note[2] = second then
    perform set_config(setting, format('%s:%s:%s:', source_id, second, counted), false);
    return;
  end if;

  if counted > 0 and has_table_privilege('postbag.traffic', 'insert') then
    insert into postbag.traffic (queue_id, noted_at, sent, done)
    values (source_id, tick.now, case verb when 'sent' then counted else 0 end, case verb when 'done' then counted else 0 end);
  end if;
  if current_setting('transaction_isolation') = 'read committed' and has_table_privilege('postbag.group_change', 'insert') then
    insert into postbag.group_change (queue_id, groups, tidies, changed_at) values (source_id, '{}', true, tick.now);
  end if;
  perform set_config(setting, format('%s:%s:', source_id, second), false);
end
$$;
--! EndIncluded functions/tick.sql
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
  if source.is_volatile then
    return postbag.volatile_count_messages(source, count_messages.now, drawn_before);
  end if;
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
        when sent.headers is null then null
        when postbag.is_string_map(sent.headers) then sent.headers
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
        "delaySeconds" double precision, "availableAt" timestamptz, "ttlSeconds" double precision, "group" text
      )
    ) with ordinality as sent (
      body, json, encoding, type, "contentType", headers, priority, "delaySeconds", "availableAt", "ttlSeconds", "group", position
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
    return query select * from postbag.volatile_send_batch(send_batch.queue, send_batch.messages, send_batch.now);
    return;
  end if;
  if target.sends_plainly and jsonb_typeof(messages) = 'array' and jsonb_array_length(messages) between 1 and 1000 then
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
--! Included functions/leased_in_line.sql
/* postbag.leased_in_line: the messages of a group that stand behind `place` in its line and are leased, in its order, locked; those that
 * another transaction is settling at this moment are left to it. What was handed out stands at the front of a line, so the walk ends at
 * the first that never was. */
create or replace function postbag.leased_in_line(source_id bigint, group_key text, place bigint)
returns setof bigint
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
  standing record;
begin
  for standing in
    select message.message_id, message.leased_until, message.first_received_at
    from postbag.message
    where message.queue_id = source_id
      and message.group_key = leased_in_line.group_key
      and message.group_position > place
    order by message.group_position
    for no key update skip locked
  loop
    exit when standing.first_received_at is null and not standing.message_id = any (own_ids);
    if standing.leased_until is not null then
      return next standing.message_id;
    end if;
  end loop;
end
$$;
--! EndIncluded functions/leased_in_line.sql
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
      expires_at = case when message.expires_at = postbag.last_moment(message.leased_until) then null else message.expires_at end
    where message.queue_id = source_id and message.message_id = follower_id;
  end loop;
end
$$;
--! EndIncluded functions/release_followers.sql
--! Included functions/extend_companions.sql
/* postbag.extend_companions: what one claim took from a group is owned as long as any of it: give the others of that lease the same
 * end. */
create or replace function postbag.extend_companions(
  source_id bigint, group_key text, lease_key integer, until timestamptz
)
returns void
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  companion_id bigint;
begin
  -- (From the head on, at place 0.)
  for companion_id in select * from postbag.leased_in_line(source_id, extend_companions.group_key, -1) loop
    update postbag.message
    set
      leased_until = until,
      in_flight_until = case when message.in_flight_until is not null then until end,
      expires_at = case
        when message.expires_at = postbag.last_moment(message.leased_until) then postbag.last_moment(until)
        else message.expires_at
      end
    where message.queue_id = source_id
      and message.message_id = companion_id
      and message.lease_key = extend_companions.lease_key;
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
returns setof postbag.delivery
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
--! Included functions/receive_in_full.sql
/* postbag.receive: lease up to max_messages available messages of one queue: highest priority first, then by availability (the latest
 * first in a lifo queue), then in the order they were sent. Who receives owns a message until leased_until; the receipt is the proof,
 * for ack, nack and extend.
 * Never waits for a message: no rows mean "nothing available now" (waiting is src/wakeup's job). Only where the queue limits its rate or
 * what is in flight, receives take turns: one waits until the transaction of the other ends.
 * Two callers never share a message: rows another has locked are skipped, rows it has leased are not available.
 * With auto_ack the messages are deleted as they are handed out: at most once, and no receipt. `alone` says that this call is the whole
 * transaction: then the queue's relaxed durability counts.
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
 *
 * The claim changes no indexed column (the lease is leased_until), joins on the ctid it has just locked, and its plan is pinned:
 * statistics of a nearly empty table would flip it. */
create or replace function postbag.receive_in_full(
  queue text, max_messages integer, lease interval, now timestamptz, alone boolean
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
  took_us bigint;
  expensive_us constant bigint := 2000;
  longest_near_pause_us constant bigint := 1000000;
  first_pause_us constant bigint := 100000;
  longest_pause_us constant bigint := 60000000;
  plain_for_us constant bigint := 100000;

  -- What this session noted: {queue_id, near look due, full look due, last full look took, pause after it, tidying due}, in
  -- microseconds.
  look_setting constant text := 'postbag.look_' || source.queue_id % 256;
  look bigint[] := postbag.remembered(look_setting);
  depth text := 'cursor';
  shared postbag.sweep;
  -- {queue_id, lowest available_at claimed, how many of them were heads of groups, until when postbag.receive may claim by itself}: one
  -- setting per priority.
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
  if source.max_in_flight is not null or source.rate is not null then
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
    perform postbag.tick('done', source.queue_id, 0, receive_in_full.now);
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
          '%s:%s:%s', source.queue_id, postbag.microseconds(greatest(start, receive_in_full.now - interval '1 s')), coalesce(cursor_note[3], 0)
        ),
        false
      );
    end if;
    exit when wanted = 0;
  end loop;

  if wanted = allowed then
    perform postbag.settle_pending(source.queue_id, receive_in_full.now);
  elsif wanted = 0 and source.receives_plainly and (postbag.remembered(cursor_setting))[3] = 0 then
    perform set_config(cursor_setting, format('%s:%s', current_setting(cursor_setting), now_us + plain_for_us), false);
  end if;
  if source.rate is not null and wanted < allowed then
    perform postbag.spend(source, '', allowed - wanted, receive_in_full.now);
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
--! EndIncluded functions/receive_in_full.sql
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
 * The short way: for a tenth of a second after a look at everything (functions/receive_in_full.sql) brought a session of a plain queue all
 * it wanted, and no group, the session claims from its cursor on with one statement that knows nothing of priorities, groups, limits
 * and looks back. (The time of a statement is that of its parts, used or not: this is a third of the other.) It ends sooner when
 * a claim brings less than was wanted. What becomes available behind the cursor meanwhile waits for so long at most. */
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
  -- Into a variable: nothing volatile may stand inside an update of a queue's table.
  drawn_key constant integer := random() * 2147483646;
  until timestamptz;
  claimed integer;
begin
  select
    known.queue_id, known.is_volatile, known.receives_plainly, known.durability, known.lease, known.max_attempts,
    'postbag.cursor_' || known.queue_id % 256 || '_0' as setting,
    -- {queue_id, lowest available_at claimed, how many of them were heads of groups, until when the short way is open}
    postbag.remembered('postbag.cursor_' || known.queue_id % 256 || '_0') as note
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
  if alone then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  if source.receives_plainly
    and source.note[1] = source.queue_id
    and postbag.microseconds(receive.now) between source.note[2] and source.note[4]
    and (receive.lease is null or receive.lease between interval '1 s' and interval '43200 s')
    and max_messages between 1 and 1000
  then
    until := receive.now + coalesce(receive.lease, source.lease);
    return query
      update postbag.message
      set
        leased_until = until,
        attempts = message.attempts + 1,
        lease_key = drawn_key,
        first_received_at = coalesce(message.first_received_at, receive.now),
        expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(until) else message.expires_at end
      from (
        select ready.ctid as place
        from postbag.message as ready
        where ready.queue_id = source.queue_id
          and ready.priority = 0
          and ready.available_at >= postbag.instant(source.note[2])
          and ready.available_at <= receive.now
          and ready.available_at < 'infinity'
          and ready.group_key is null
          and (ready.leased_until is null or ready.leased_until <= receive.now)
          and (ready.expires_at is null or ready.expires_at > receive.now)
        order by ready.available_at, ready.message_id
        limit max_messages
        for update skip locked
      ) as head
      where message.ctid = head.place
      returning
        message.message_id::text,
        message.message_id || '.' || message.attempts || '.' || message.lease_key,
        case when message.bytes is null then message.body else translate(encode(message.bytes, 'base64'), E'\n', '') end,
        message.encoding,
        message.type,
        message.content_type,
        message.headers,
        message.priority::integer,
        message.group_key,
        message.attempts,
        message.sent_at,
        message.first_received_at,
        message.leased_until,
        message.expires_at,
        -- (Where the next claim may start, noted at each eighth message, because a note costs as much as a row.)
        case
          when (max_messages > 1 and message.message_id % 8 <> 0)
            or set_config(
              source.setting,
              source.note[1] || ':' || postbag.microseconds(message.available_at) || ':0:' || source.note[4],
              false
            ) <> ''
            then message.deaths
        end;
    get diagnostics claimed = row_count;
    if claimed = max_messages then
      return;
    end if;
    perform set_config(source.setting, source.queue_id || ':' || source.note[2] || ':0', false);
    if claimed > 0 then
      return;
    end if;
  end if;

  return query select * from postbag.receive_in_full(
    receive.queue, receive.max_messages, receive.lease, receive.now, receive.alone
  );
end
$$;
--! EndIncluded functions/receive.sql
--! Included functions/receive_and_ack.sql
/* postbag.receive_and_ack: receive for at most once: the messages are gone when the transaction commits; the receipt is null, and
 * leased_until is now. */
create or replace function postbag.receive_and_ack(
  queue text, max_messages integer, lease interval, now timestamptz, alone boolean
)
returns setof postbag.delivery
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
--! Included functions/ack.sql
/* postbag.ack: delete the messages of these receipts (a JSON array of strings), in the caller's transaction, so that work and ack
 * can commit together. One row per receipt, in the order given, with its outcome:
 *   'ok'               the message is done and gone
 *   'lease_lost'       the message was given back, or received again since: this receipt owns nothing, nothing changed
 *   'message_gone'     there is no such message in this queue (any more): acked before, purged, or moved to the dead letters
 *   'receipt_invalid'  this is not a receipt
 * A lease that has ended but passed to nobody still acks: the work is done, a redelivery would help no one. `alone` says that this
 * call is the whole transaction: then it does not wait for the disk (an ack that a crash of the database undoes means that the message
 * comes again).
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
  -- The receipts whose messages are gone, and the groups whose heads were among these.
  done text[];
  headless text[];
  claim record;
  previous text;
  acked record;
  outcomes text[];
begin
  select
    known.queue_id, known.is_volatile, known.max_in_flight, 'postbag.done_' || known.queue_id % 1024 as counter,
    case when jsonb_typeof(receipts) = 'array' then jsonb_array_length(receipts) else 0 end as number,
    postbag.claim_of(receipts ->> 0) as first
  into source
  from postbag.queue as known
  where known.name = ack.queue;
  if source.is_volatile then
    return query select * from postbag.volatile_ack(ack.queue, ack.receipts, ack.now);
    return;
  elsif source.queue_id is null then
    perform postbag.queue_named(ack.queue);
  end if;
  if source.number not between 1 and 1000 then
    perform postbag.check_receipts(receipts);
  end if;
  if alone then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  if source.number = 1 then
    delete from postbag.message
    where message.queue_id = source.queue_id
      and message.message_id = source.first[1]
      and message.attempts = source.first[2]
      and message.lease_key = source.first[3]
      and message.leased_until is not null
    returning message.group_key, message.group_position into acked;
    if found then
      receipt := receipts ->> 0;
      outcome := 'ok';
      return next;
      done := array[receipt];
      if acked.group_position = 0 then
        headless := array[acked.group_key];
      end if;
    end if;
  else
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
      returning mine.receipt, message.group_key, message.group_position
    )
    select array_agg(gone.receipt), array_agg(gone.group_key) filter (where gone.group_position = 0) into done, headless from gone;
    if cardinality(done) = source.number then
      return query select given.receipt, 'ok' from jsonb_array_elements_text(receipts) as given (receipt);
    end if;
  end if;

  if cardinality(done) is distinct from source.number then
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
        returning message.group_key, message.group_position into acked;
        if found then
          outcomes[claim."position"] := 'ok';
          done := done || claim.receipt;
          if acked.group_position = 0 then
            headless := headless || acked.group_key;
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

  if headless is not null then
    insert into postbag.group_change (queue_id, groups, changed_at) values (source.queue_id, headless, ack.now);
  end if;
  if not postbag.is_counted(source.counter, source.queue_id, coalesce(cardinality(done), 0), ack.now) then
    perform postbag.tick('done', source.queue_id, coalesce(cardinality(done), 0), ack.now);
  end if;
  -- (There is room for others.)
  if source.max_in_flight is not null then
    perform postbag.wake(ack.queue);
  end if;
end
$$;
--! EndIncluded functions/ack.sql
--! Included functions/check_filter.sql
/* postbag.check_filter: refuse (PB002) what makes no sense as a page's size, or as conditions on messages. */
create or replace function postbag.check_filter(max_messages integer, headers jsonb, reason text)
returns void
language plpgsql
immutable
as $$
begin
  if max_messages is null or max_messages not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max must be between 1 and 1000, got %s', coalesce(max_messages::text, 'null')));
  elsif not postbag.is_string_map(headers) then
    perform postbag.refuse('PB002', format('headers must be an object of strings, got %s', headers));
  elsif reason not in ('attempts', 'expired', 'rejected', 'overflow') then
    perform postbag.refuse('PB002', format('reason must be attempts, expired, rejected or overflow, got %L', reason));
  end if;
end
$$;
--! EndIncluded functions/check_filter.sql
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
  perform postbag.check_filter(max_messages, search.of_headers, search.of_reason);
  if after !~ '^[0-9]{1,18}$' then
    perform postbag.refuse('PB002', format('after must be the id of a message, got %L', after));
  elsif search.of_state not in ('ready', 'leased', 'delayed', 'blocked', 'dead') then
    perform postbag.refuse('PB002', format('state must be ready, leased, delayed, blocked or dead, got %L', search.of_state));
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
as $$
begin
  perform postbag.queue_named(get_message.queue);
  if get_message.message_id is null or get_message.message_id !~ '^[0-9]{1,18}$' then
    perform postbag.refuse('PB002', format('id must be the id of a message, got %L', get_message.message_id));
  end if;
  return query
    select
      seen.id, seen.state, seen.body, seen.encoding, seen.type, seen.content_type, seen.headers, seen.priority, seen.group_key,
      seen.attempts, seen.last_error, seen.sent_at, seen.available_at, seen.first_received_at, seen.leased_until, seen.expires_at,
      seen.dead_at, seen.dead_reason, seen.deaths
    -- The one after the id before it, if that is it.
    from postbag.search(
      get_message.queue, 1, greatest(get_message.message_id::bigint - 1, 0)::text, now => get_message.now
    ) as seen
    where seen.id::bigint = get_message.message_id::bigint;
  if not found then
    perform postbag.refuse('PB005', format('queue "%s" has no message %s (any more)', get_message.queue, get_message.message_id));
  end if;
end
$$;
--! EndIncluded functions/get_message.sql
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
  known constant postbag.tally := postbag.count_messages(source, queue_stats.now);
begin
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
--! Included functions/set_paused.sql
/* postbag.set_paused: what postbag.pause and postbag.resume do. */
create or replace function postbag.set_paused(queue text, paused boolean, now timestamptz)
returns setof postbag.queue_info
language plpgsql
as $$
begin
  update postbag.queue as known
  set paused = set_paused.paused, updated_at = greatest(set_paused.now, known.created_at + interval '1 microsecond')
  where known.name = set_paused.queue and known.paused <> set_paused.paused;
  if found and not set_paused.paused then
    perform postbag.wake(set_paused.queue);
  end if;
  return query select * from postbag.describe_queue(set_paused.queue);
end
$$;
--! EndIncluded functions/set_paused.sql
--! Included functions/pause.sql
/* postbag.pause: stop handing out messages of a queue; sends go on, and who owns messages may settle them. Returns the
 * queue's configuration, as postbag.describe_queue does; PB001 if there is none of that name. */
create or replace function postbag.pause(queue text, now timestamptz default clock_timestamp())
returns setof postbag.queue_info
language sql
as $$
  select * from postbag.set_paused(pause.queue, true, pause.now)
$$;
--! EndIncluded functions/pause.sql
--! Included functions/resume.sql
/* postbag.resume: hand out messages of a queue again. Returns the
 * queue's configuration, as postbag.describe_queue does; PB001 if there is none of that name. */
create or replace function postbag.resume(queue text, now timestamptz default clock_timestamp())
returns setof postbag.queue_info
language sql
as $$
  select * from postbag.set_paused(resume.queue, false, resume.now)
$$;
--! EndIncluded functions/resume.sql
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
  perform postbag.check_filter(max_messages, headers, reason);
  if jsonb_typeof(ids) <> 'array' or (jsonb_typeof(ids) = 'array' and jsonb_array_length(ids) not between 1 and 1000) then
    perform postbag.refuse('PB002', 'ids must be a JSON array of 1 to 1000 ids');
  elsif exists (select from jsonb_array_elements_text(ids) as given (id) where given.id !~ '^[0-9]{1,18}$') then
    perform postbag.refuse('PB002', format('ids must be ids of messages, got %s', ids));
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
      case when there.is_in_line then 'infinity' else due.back_at end,
      due.sent_at, due.first_received_at, least(due.priority, there.top_priority), due.encoding, due.type, due.content_type,
      due.headers, due.last_error, due.group_key,
      case when there.is_in_line then nextval('postbag.message_id') end,
      case when there.is_in_line then due.back_at end,
      due.back_at + there.ttl, due.deaths, due.body, due.bytes
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
  delete from postbag.group_pending where group_pending.queue_id = gone_id;
end
$$;
--! EndIncluded functions/forget_queue.sql
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
      perform postbag.forget_queue(seen_id);
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
    select * into tidied
    from postbag.tidy(tended, greatest(max_messages - expired_messages - removed_dead_letters, 0)::integer, maintain.now);
    forgotten := case
      when tended.is_volatile then postbag.volatile_forget_dedup_ids(tended.queue_id, maintain.now)
      else postbag.forget_dedup_ids(tended.queue_id, maintain.now)
    end;
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
 *     own (repeatable read) cannot look at the line as it is. Then the group is left in postbag.group_pending: the next transaction that
 *     touches it, a receive that finds nothing, and any session that has used the queue for a second, settle it. */
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
    return '-infinity';
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
--! Included functions/prospects.sql
/* postbag.prospects: per queue, in how many seconds it is worth looking at it: 0 for now, null for never by itself; or that it is `gone`.
 * And how many seconds it took to find out. */
create or replace function postbag.prospects(queues text[])
returns table (queue text, gone boolean, available_in double precision, took double precision)
language plpgsql
as $$
declare
  started timestamptz;
  next_at timestamptz;
begin
  foreach queue in array queues loop
    started := clock_timestamp();
    next_at := postbag.next_available_at(queue, started);
    gone := coalesce(next_at = '-infinity', false);
    available_in := case when next_at > '-infinity' then greatest(extract(epoch from next_at - started), 0) end;
    took := extract(epoch from clock_timestamp() - started);
    return next;
  end loop;
end
$$;
--! EndIncluded functions/prospects.sql
--! Included functions/watch.sql
/* postbag.watch: from now on who makes something available in these queues notifies this session, which has said LISTEN before. Per
 * queue what postbag.prospects says, seen after that began; and who may have come too early to know: the transactions older than
 * `fence` that have not ended in `snapshot`. What they bring is seen when they have. (src/wakeup/listen-hub.ts tells the whole.)
 * Where it was `costly` to find out lately, it is left at "there may be something now".
 * Ends with postbag.unwatch, and with the session. In a transaction of its own, read committed. */
create or replace function postbag.watch(queues text[], costly text[] default '{}')
returns table (queue text, gone boolean, available_in double precision, took double precision, fence text, snapshot text)
language plpgsql
as $$
begin
  -- (A sender holds a slot for a moment.)
  perform pg_advisory_lock_shared(1886352386, postbag.wake_slot(watched.name)) from unnest(queues) as watched (name);
  -- Each step after the one before. An id drawn now is larger than that of everybody who found the slots free.
  watch.fence := pg_current_xact_id()::text;
  select pg_current_snapshot()::text into watch.snapshot;
  return query
    select prospect.*, watch.fence, watch.snapshot
    from postbag.prospects(array(select unnest(queues) except select unnest(costly))) as prospect
    union all
    select unknown.name, false, 0, 0, watch.fence, watch.snapshot from unnest(costly) as unknown (name);
end
$$;
--! EndIncluded functions/watch.sql
--! Included functions/unwatch.sql
/* postbag.unwatch: this session is no longer to be notified of these queues, each of which it has watched once more than unwatched. */
create or replace function postbag.unwatch(queues text[])
returns bigint
language sql
as $$
  select count(pg_advisory_unlock_shared(1886352386, postbag.wake_slot(watched.name))) from unnest(queues) as watched (name)
$$;
--! EndIncluded functions/unwatch.sql
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
  changed_name text;
  in_volatile boolean;
  were_pending boolean;
begin
  select
    known.name, known.is_volatile, exists (select from postbag.group_pending as pending where pending.queue_id = changed_id)
  into changed_name, in_volatile, were_pending
  from postbag.queue as known
  where known.queue_id = changed_id;
  if not found or cardinality(groups) = 0 then
    return;
  end if;
  perform postbag.wake(changed_name);

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
  perform postbag.wake(source.name);

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
  previous_until timestamptz;
  was_shortened boolean := false;
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
      perform postbag.extend_companions(source.queue_id, kept_group, claim.lease_key::integer, until);
      kept_groups := kept_groups || kept_group;
    end if;
  end loop;
  if was_shortened then
    perform postbag.wake(source.name);
  end if;

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/extend.sql
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
  -- More of it may be available than before.
  perform postbag.wake(create_queue.queue);

  return query select info.* from postbag.queue_info as info where info.name = create_queue.queue;
end
$$;
--! EndIncluded functions/create_queue.sql
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
  if source.max_in_flight is not null then
    perform postbag.wake(source.name);
  end if;
  return deleted;
end
$$;
--! EndIncluded functions/purge.sql
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
  verbs constant text[] := '{send_batch,send_in_full,deduplicate,make_room,count_messages,bury,move_dead,stand_last,tidy,receive,receive_in_full,receive_and_ack,claim_newest,
    follow_heads,leased_in_line,release_followers,extend_companions,put_off_groups,allowance,ack,nack,extend,refusal,order_groups,search,
    purge,next_available_at,redrive,dead_letters,places_of,revive,remove_orphans,forget_dedup_ids,forget_queue,delete_queue}';
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
    twin := replace(twin, $text$currval('postbag.message_id')$text$, 'postbag.last_volatile_id()');
    twin := regexp_replace(twin, '(?<!SETOF )\mpostbag\.(message|dedup)\M(?! as)(?!'')', 'postbag.volatile_\1 as \1', 'g');
    twin := regexp_replace(twin, '\mpostbag\.(message_id|dedup|message)\M', 'postbag.volatile_\1', 'g');
    execute regexp_replace(twin, '\.is_volatile then', '.is_volatile is null then', 'g');
  end loop;
end
$$;
--! EndIncluded functions/make_volatile_twins.sql

select postbag.make_volatile_twins();
