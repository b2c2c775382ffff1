--! Previous: sha1:38762c70ad6618c67e351b01ed1b3c8386280e44
--! Hash: sha1:03b51b1455d281691f47c36720e9f9e182463e9d
--! Message: flat

--! split: 01-functions.sql
/* What goes because its function got another signature. */
drop function postbag.receive_in_full;
drop function postbag.volatile_receive_in_full;

/* The functions that are new or changed. */
--! Included functions/claim_of.sql
/* postbag.claim_of: what a receipt names: {message_id, attempt, lease_key}; null if the text is no receipt. (Checked without a regular
 * expression, which costs more than the rest of an ack.) */
create or replace function postbag.claim_of(receipt text)
returns bigint[]
language sql
immutable
return case
  when translate(receipt, '0123456789', '') = '..'
    -- (As numbers are written: another way to write a receipt is none.)
    and receipt not like '0%' and receipt not like '%.0_%'
    and length(split_part(receipt, '.', 1)) between 1 and 18
    and length(split_part(receipt, '.', 2)) between 1 and 9
    and length(split_part(receipt, '.', 3)) between 1 and 10
    then string_to_array(receipt, '.')::bigint[]
end;
--! EndIncluded functions/claim_of.sql
--! Included functions/tick.sql
/* postbag.tick: what postbag.is_counted leaves to do once a second (by the caller's clock): write down, for the statistics, what this
 * session counted in the second before, and ask for tidying at the end of the transaction, so that removing what has expired needs no
 * daemon; in 20 queues a second at most, so that a session that goes through thousands of them does not do little else. Leaves out what
 * the role has no right to, and tidying in a transaction with a snapshot of its own, where it could fail for no reason of the caller's. */
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
  -- {second, how often this session asked for tidying in it}
  asked bigint[] := postbag.remembered('postbag.tidying');
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
  if asked[1] is distinct from second then
    asked := array[second, 0];
  end if;
  if asked[2] < 20 and current_setting('transaction_isolation') = 'read committed'
    and has_table_privilege('postbag.group_change', 'insert')
  then
    insert into postbag.group_change (queue_id, groups, tidies, changed_at) values (source_id, '{}', true, tick.now);
    perform set_config('postbag.tidying', format('%s:%s', second, asked[2] + 1), false);
  end if;
  perform set_config(setting, format('%s:%s:', source_id, second), false);
end
$$;
--! EndIncluded functions/tick.sql
--! Included functions/claim_newest.sql
/* postbag.claim_newest: what a claim is in a lifo queue: lease the `wanted` messages of one level that became available last. The mirror
 * of the cursor that functions/receive_in_full.sql tells of: the session notes between which times it found all taken, and looks at what came
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
--! Included functions/order_groups.sql
/* postbag.order_groups: put the lines of these groups in order: `arrived` stand behind all that others committed before, and the first
 * in each line is its head. The caller holds the groups' locks, looks at what is committed now (read committed), and pins the plans. */
create or replace function postbag.order_groups(source_id bigint, groups text[], arrived bigint[], now timestamptz)
returns void
language plpgsql
as $$
declare
  overtaken bigint[];
  named integer;
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

  update postbag.message
  set group_position = 0, available_at = greatest(message.due_at, order_groups.now), due_at = null
  from (
    select line.*
    from unnest(groups) as touched (group_key)
    cross join lateral (
      select message.ctid as place, message.group_position
      from postbag.message
      where message.queue_id = source_id and message.group_key = touched.group_key and message.group_position is not null
      order by message.group_position
      limit 1
    ) as line
    where line.group_position > 0
    -- (All of them; the planner takes a limit for few, and then looks each up by its place.)
    limit cardinality(groups)
  ) as first
  cross join lateral (
    select message.ctid as place
    from postbag.message
    where message.queue_id = source_id and message.ctid = first.place
    for update skip locked
  ) as free
  where message.ctid = free.place;
  get diagnostics named = row_count;

  -- Some have a head, or nobody in line. The first of another is locked.
  if named < cardinality(groups) then
    insert into postbag.group_pending (queue_id, group_key)
    select source_id, touched.group_key
    from unnest(groups) as touched (group_key)
    where (
      select message.group_position
      from postbag.message
      where message.queue_id = source_id and message.group_key = touched.group_key and message.group_position is not null
      order by message.group_position
      limit 1
    ) > 0;
  end if;
end
$$;
--! EndIncluded functions/order_groups.sql
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
  -- What nearly all transactions do to groups is one change.
  delete from postbag.group_change as change
  where change.xact = new.xact and change.change_id = new.change_id
    and not change.tidies
    and not exists (select from postbag.group_change as other where other.xact = new.xact and other.change_id <> new.change_id);
  if found then
    perform postbag.lock_groups(array(
      select new.queue_id || ':' || touched.group_key from unnest(new.groups) as touched (group_key)
    ));
    perform postbag.change_groups(new.queue_id, new.groups, new.arrived, least(new.changed_at, latest));
    return null;
  -- Else the first row of a transaction applies all of them; for the others there is nothing left.
  elsif not exists (
    select from postbag.group_change as change where change.xact = new.xact and change.change_id = new.change_id
  ) then
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
        entry.turn = 1 and (
          select message.group_position
          from postbag.message
          where message.queue_id = target_id and message.group_key = entry.group_key and message.group_position is not null
          order by message.group_position desc
          limit 1
        ) is null as is_head
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
    return query select * from postbag.volatile_send_batch(send_batch.queue, send_batch.messages, send_batch.now, send_batch.alone);
    return;
  end if;
  if target.sends_plainly
    and jsonb_typeof(messages) = 'array' and jsonb_array_length(messages) between 1 and 1000
    -- (So that who sends to groups, say, seldom tries this in vain.)
    and not messages -> 0 ?| '{group,encoding,contentType,headers,priority,delaySeconds,availableAt,ttlSeconds,dedupId}'
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
 *  5. A claim that got all it wanted opens the short way of postbag.receive for a tenth of a second.
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
  -- {queue_id, lowest available_at claimed, how many of them were heads of groups, when the short way of postbag.receive was opened}: one
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
  elsif wanted = 0 and source.receives_plainly and (source.group_mode = 'ordered' or (postbag.remembered(cursor_setting))[3] = 0) then
    perform set_config(cursor_setting, format('%s:%s', current_setting(cursor_setting), now_us), false);
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
 * a claim brings less than was wanted, for one because it met a group. What becomes available behind the cursor meanwhile waits for so
 * long, and then for the next look back. */
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
  drawn_key constant integer := floor(random() * 2147483647);
  until timestamptz;
  takes_heads boolean;
  claimed integer := 0;
  number integer;
begin
  select
    known.queue_id, known.is_volatile, known.receives_plainly, known.group_mode, known.durability, known.lease, known.max_attempts,
    'postbag.cursor_' || known.queue_id % 256 || '_0' as setting,
    -- {queue_id, lowest available_at claimed, how many of them were heads of groups, when the short way was opened}
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
    and postbag.microseconds(receive.now) between greatest(source.note[2], source.note[4]) and source.note[4] + 100000
    and (receive.lease is null or receive.lease between interval '1 s' and interval '43200 s')
    and max_messages between 1 and 1000
  then
    until := receive.now + coalesce(receive.lease, source.lease);
    takes_heads := source.group_mode = 'ordered' and (max_messages = 1 or source.note[3] > 0);
    if takes_heads and max_messages > 1 then
      return query
        with head as (
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
            leased_until = until,
            attempts = message.attempts + 1,
            lease_key = drawn_key,
            first_received_at = coalesce(message.first_received_at, receive.now),
            expires_at = case when message.attempts + 1 >= source.max_attempts then postbag.last_moment(until) else message.expires_at end
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
          case when leased.bytes is null then leased.body::text else translate(encode(leased.bytes, 'base64'), E'\n', '') end,
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
                source.setting,
                source.note[1] || ':' || postbag.microseconds(leased.available_at) || ':' || source.note[3] || ':' || source.note[4],
                false
              ) <> ''
              then leased.deaths
          end
        from (select * from head union all select * from follower) as leased;
      get diagnostics claimed = row_count;
      if claimed = max_messages then
        return;
      end if;
    end if;
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
          or takes_heads and message.group_position = 0 and message.attempts = 0
          or set_config('postbag.met_group', 'yes', true) is null
        )
      returning
        message.message_id::text,
        message.message_id || '.' || message.attempts || '.' || message.lease_key,
        case when message.bytes is null then message.body::text else translate(encode(message.bytes, 'base64'), E'\n', '') end,
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
              source.setting,
              source.note[1] || ':' || postbag.microseconds(message.available_at) || ':' || source.note[3] || ':' || source.note[4],
              false
            ) <> ''
            then message.deaths
        end;
    get diagnostics number = row_count;
    claimed := claimed + number;
    if claimed = max_messages then
      return;
    end if;
    perform set_config(source.setting, source.queue_id || ':' || source.note[2] || ':' || source.note[3], false);
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
  -- The receipts whose messages are gone, and the groups whose heads were among these.
  done text[];
  headless text[];
  is_grouped boolean := false;
  claim record;
  previous text;
  acked record;
  outcomes text[];
begin
  select
    known.queue_id, known.is_volatile, known.max_in_flight, known.durability, 'postbag.done_' || known.queue_id % 1024 as counter,
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

  if source.number = 1 then
    delete from postbag.message
    where message.queue_id = source.queue_id
      and message.message_id = source.first[1]
      and message.attempts = source.first[2]
      and message.lease_key = source.first[3]
      and message.leased_until is not null
    returning message.group_key::text, message.group_position into acked;
    if found then
      receipt := receipts ->> 0;
      outcome := 'ok';
      return next;
      done := array[receipt];
      is_grouped := acked.group_key is not null;
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
      returning mine.receipt, message.group_key::text, message.group_position
    )
    select array_agg(gone.receipt), array_agg(gone.group_key) filter (where gone.group_position = 0), count(gone.group_key) > 0
    into done, headless, is_grouped
    from gone;
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
        returning message.group_key::text, message.group_position into acked;
        if found then
          outcomes[claim."position"] := 'ok';
          done := done || claim.receipt;
          is_grouped := is_grouped or acked.group_key is not null;
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

  if alone and (not is_grouped or source.durability = 'relaxed') then
    perform set_config('synchronous_commit', 'off', true);
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
  verbs constant text[] := '{send_batch,send_in_full,send_to_groups,deduplicate,make_room,count_messages,bury,move_dead,stand_last,tidy,receive,receive_in_full,receive_and_ack,claim_newest,
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
    execute regexp_replace(twin, '\m\w+\.is_volatile then', 'false then', 'g');
  end loop;
end
$$;
--! EndIncluded functions/make_volatile_twins.sql

select postbag.make_volatile_twins();
