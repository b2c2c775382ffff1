--! Previous: sha1:963b3ea31d5b882750128f543758fbeae245ca1b
--! Hash: sha1:f280704cfce75b0948f9dde3ae3b4c62edb8ba27
--! Message: nearer-heads

--! split: 1-current.sql
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
  verbs constant text[] := '{send_batch,send_in_full,send_to_groups,deduplicate,make_room,count_messages,bury,dead_letter_ways,move_dead,stand_last,tidy,receive,receive_in_full,is_clean,receive_and_ack,claim_newest,
    follow_heads,leased_in_line,release_followers,extend_companions,put_off_groups,allowance,ack,nack,extend,refusal,order_groups,name_heads,search,
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
    execute regexp_replace(twin, '\m\w+\.is_volatile then', 'false then', 'g');
  end loop;
end
$$;
--! EndIncluded functions/make_volatile_twins.sql
--! Included functions/send_to_groups.sql
/* postbag.send_to_groups: the short way of postbag.send_batch for messages that all have a group, where that is the whole transaction. Then
 * their places need not be decided when it commits (functions/apply_group_changes.sql), because it commits right after: the groups are locked
 * first, what is sent stands behind all that others have committed, and the first in an empty line is its head at once.
 *
 * Brings nothing, and has done nothing, where that cannot be: the messages have more than a body, a type and a group; a group of the queue
 * waits for its head; the session has done something before in this transaction, or has yet to tidy in this second (so who holds groups
 * waits for nothing more); the snapshot is the transaction's own; the role may not look at messages. */
create or replace function postbag.send_to_groups(target_id bigint, delay interval, messages jsonb, now timestamptz)
returns table (id text, duplicate boolean)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  sent record;
begin
  if pg_current_xact_id_if_assigned() is not null
    or current_setting('transaction_isolation') <> 'read committed'
    or not has_table_privilege('postbag.message', 'select')
    or jsonb_array_length(messages) > 1000
  then
    return;
  end if;
  select
    array_agg(distinct hashtext(target_id || ':' || (given.message ->> 'group')) & 16383) as slots,
    bool_and(
      case
        when jsonb_typeof(given.message) = 'object'
          then given.message ?| '{json,body}' and given.message - '{json,body,type,group}'::text[] = '{}'
            and length(coalesce(given.message ->> 'group', '')) between 1 and 128
        else false
      end
    ) as are_plain,
    -- (A fair queue lets a delayed message wait for itself, a lifo queue takes no groups.)
    exists (
      select from postbag.queue as known
      where known.queue_id = target_id and known.delivery_order = 'fifo'
        and (known.group_mode = 'ordered' or known.delay = interval '0 s')
        and not exists (select from postbag.group_pending as pending where pending.queue_id = target_id)
    ) as are_in_line
  into sent
  from jsonb_array_elements(messages) as given (message);
  if sent.are_plain is not true or not sent.are_in_line then
    return;
  end if;

  perform pg_advisory_xact_lock(1886352384, slots.slot) from unnest(sent.slots) as slots (slot);
  return query
    insert into postbag.message (
      queue_id, message_id, available_at, sent_at, encoding, type, group_key, group_position, due_at, body
    )
    select
      target_id, placed.message_id,
      case when placed.is_head then send_to_groups.now + send_to_groups.delay else 'infinity' end,
      send_to_groups.now, 'json',
      case
        when length(placed.message ->> 'type') not between 1 and 255 then postbag.break_rule('message_type_is_at_most_255_characters')
        else placed.message ->> 'type'
      end,
      placed.group_key,
      case when placed.is_head then 0 else placed.message_id end,
      case when not placed.is_head then send_to_groups.now + send_to_groups.delay end,
      case
        when octet_length(coalesce(placed.message ->> 'json', (placed.message -> 'body')::text)) > 1048576
          then postbag.break_rule('message_body_is_at_most_1_mib')
        else coalesce((placed.message ->> 'json')::json::text, (placed.message -> 'body')::text, 'null')
      end
    from (
      select
        nextval('postbag.message_id') as message_id, entry.message, entry.group_key,
        -- (A line that has its head is told by that one entry of the index; only without it the line itself is looked for.)
        entry.turn = 1 and case
          when exists (
            select from postbag.message
            where message.queue_id = target_id and message.group_key = entry.group_key and message.group_position = 0
          ) then false
          else (
            select message.group_position
            from postbag.message
            where message.queue_id = target_id and message.group_key = entry.group_key and message.group_position is not null
            order by message.group_position
            limit 1
          ) is null
        end as is_head
      from (
        select
          given.message, given.message ->> 'group' as group_key, given."position",
          row_number() over (partition by given.message ->> 'group' order by given."position") as turn
        from jsonb_array_elements(messages) with ordinality as given (message, "position")
        order by given."position"
      ) as entry
      offset 0
    ) as placed
    returning currval('postbag.message_id')::text, false;
end
$$;
--! EndIncluded functions/send_to_groups.sql
--! Included functions/name_heads.sql
/* postbag.name_heads: the short way of functions/apply_group_changes.sql for an ack that is the whole transaction: the heads of these groups are
 * gone, and nothing is to be done before the commit, so the next ones are named at once, without a note and a trigger. True if they were.
 *
 * The groups' locks are taken in ascending order, as at commit, and then held until it. So whoever has called this must wait for nothing any
 * more: what could have more to do with groups (functions/tidy_now_and_then.sql, functions/settle_pending.sql) leaves it, as long as
 * postbag.names_heads says so, to the next transaction. A receive in the same transaction, with which the ack goes along, does not wait in
 * the queues that this is for: ordered ones that it claims from plainly. It sees the new heads. */
create or replace function postbag.name_heads(source_id bigint, groups text[], now timestamptz)
returns boolean
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  is_locked boolean;
  noted text;
begin
  if current_setting('transaction_isolation') <> 'read committed'
    or not has_table_privilege('postbag.message'::regclass, 'update')
    or not has_table_privilege('postbag.group_pending'::regclass, 'insert')
  then
    return false;
  end if;
  noted := set_config('postbag.names_heads', 'yes', true);
  if cardinality(groups) = 1 then
    is_locked := pg_advisory_xact_lock(1886352384, hashtext(source_id || ':' || groups[1]) & 16383) is not null;
  else
    perform postbag.lock_groups(array(select source_id || ':' || headless.group_key from unnest(groups) as headless (group_key)));
  end if;
  perform postbag.order_groups(source_id, groups, null, name_heads.now);
  return true;
end
$$;
--! EndIncluded functions/name_heads.sql
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
  -- Whether others may come next in them at once, not only when the transaction commits.
  are_named boolean := false;
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
    known.wake_slot,
    known.note_prefix || date_part('epoch', ack.now)::bigint || ':' as counting,
    alone and known.receives_plainly and known.group_mode = 'ordered' and pg_current_xact_id_if_assigned() is null as names_heads,
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
    -- (And this session has nothing to tidy now.)
    if source.names_heads and starts_with(current_setting(source.done_setting, true), source.counting) then
      are_named := postbag.name_heads(source.queue_id, headless, ack.now);
    end if;
    if not are_named then
      insert into postbag.group_change (queue_id, groups, changed_at) values (source.queue_id, headless, ack.now);
    end if;
  end if;
  -- (As in postbag.send_batch.)
  noted := current_setting(source.done_setting, true);
  if starts_with(noted, source.counting) and octet_length(noted) < 2000 then
    noted := set_config(source.done_setting, noted || settled || ':', false);
  else
    perform postbag.tick('done', source.queue_id, settled, ack.now);
  end if;
  -- There is room for others, or somebody's turn.
  if (source.max_in_flight is not null or are_named) and postbag.is_awaited(source.wake_slot) then
    perform postbag.wake(ack.queue);
  end if;
end
$$;
--! EndIncluded functions/ack.sql
--! Included functions/settle_pending.sql
/* postbag.settle_pending: ask for heads, at the end of this transaction, in groups that another transaction left without one. Whose role may have
 * nothing to do with groups has none; who has named heads at once (functions/name_heads.sql) waits for no other groups any more. */
create or replace function postbag.settle_pending(source_id bigint, now timestamptz)
returns void
language plpgsql
as $$
begin
  if not has_table_privilege('postbag.group_change', 'insert')
    or not has_table_privilege('postbag.group_pending', 'select')
    or current_setting('postbag.names_heads', true) = 'yes'
  then
    return;
  end if;
  insert into postbag.group_change (queue_id, groups, changed_at)
  select source_id, array_agg(distinct waiting.group_key), settle_pending.now
  from (
    select pending.group_key from postbag.group_pending as pending where pending.queue_id = source_id limit 1000
  ) as waiting
  having count(*) > 0 and current_setting('transaction_isolation') = 'read committed';
end
$$;
--! EndIncluded functions/settle_pending.sql
--! Included functions/tidy_now_and_then.sql
/* postbag.tidy_now_and_then: what a session does for a queue in the first call of each second: have it tidied at the end of the transaction
 * (functions/tidy_at_commit.sql), if there is something to tidy. It looks at 20 queues a second at most, so that a session that goes through
 * thousands of them does not do little else. Dead rows that a held snapshot keeps make a look long; then it pauses for 5,000 times as
 * long, a minute at most, and for two seconds after the first such look, which may have been slow for another reason. Not in a transaction with
 * a snapshot of its own, where tidying could fail for no reason of the caller's; and not after functions/name_heads.sql. */
create or replace function postbag.tidy_now_and_then(source_id bigint, now timestamptz)
returns void
language plpgsql
as $$
declare
  second constant bigint := date_part('epoch', tidy_now_and_then.now)::bigint;
  setting constant text := 'postbag.tidied_' || source_id % 1024;
  -- "queue_id:second of the last call:when to look again:pause before that, in seconds"
  noted text := current_setting(setting, true);
  -- "second:xxx": how often this session looked in it.
  looks text := current_setting('postbag.looks', true);
  note bigint[];
  started timestamptz;
begin
  if starts_with(noted, source_id || ':') then
    if starts_with(noted, source_id || ':' || second || ':') then
      return;
    end if;
    note := postbag.remembered(setting);
  end if;
  if current_setting('postbag.names_heads', true) = 'yes' then
    return;
  end if;
  if starts_with(looks, second || ':') is not true then
    looks := second || ':';
  end if;
  -- (A due time beyond the longest pause means that the clock was set back.)
  if coalesce(note[3], 0) not between second + 1 and second + 60
    and length(looks) < length(second::text) + 21
    and current_setting('transaction_isolation') = 'read committed'
    and has_table_privilege('postbag.group_change'::regclass, 'insert')
  then
    looks := set_config('postbag.looks', looks || 'x', false);
    started := clock_timestamp();
    if postbag.is_untidy(source_id, tidy_now_and_then.now) then
      insert into postbag.group_change (queue_id, groups, tidies, changed_at) values (source_id, '{}', true, tidy_now_and_then.now);
    end if;
    note[4] := least(floor(5000 * date_part('epoch', clock_timestamp() - started)), greatest(4 * note[4], 2), 60);
    note[3] := second + note[4];
  end if;
  noted := set_config(setting, format('%s:%s:%s:%s', source_id, second, coalesce(note[3], 0), coalesce(note[4], 0)), false);
end
$$;
--! EndIncluded functions/tidy_now_and_then.sql
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
                  line.place,
                  row_number() over standing as step,
                  bool_and(line.is_ready) over standing as is_next
                from (
                  select
                    message.ctid as place,
                    message.group_position,
                    (message.due_at is null or message.due_at <= receive.now)
                      and (message.expires_at is null or message.expires_at > receive.now)
                      and message.attempts = 0 as is_ready
                  from postbag.message
                  where message.queue_id = source.queue_id
                    and message.group_key = turn.group_key
                    and message.group_position > 0
                  order by message.group_position
                  -- So many that all lines together have what is wanted; where there are fewer than were looked for, some more of each.
                  -- (What is looked at in vain costs a page of the table.)
                  limit (
                    select
                      case when count(*) < ceil(max_messages / 4.0) then 2 else 1 end * ceil(max_messages / count(*)::double precision - 1)
                    from head
                  )
                ) as line
                window standing as (order by line.group_position rows unbounded preceding)
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

select postbag.make_volatile_twins();
