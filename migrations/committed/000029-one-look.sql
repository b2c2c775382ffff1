--! Previous: sha1:b38a1a462cfef668fc2dae9ad7c049804bfaa399
--! Hash: sha1:7210beea3131412c0c4b86b9a1ccf1a73b955778
--! Message: one-look

--! split: 1-current.sql
-- It takes one argument more.
drop function postbag.claim_deliveries(integer, bigint, integer, text[], text[], timestamptz);

--! Included functions/volatile_era.sql
/* postbag.volatile_era: what the ids of messages of volatile queues are counted from: it grows with each start of the server, and with each crash
 * that the server survives (that of one session's process, say), which throws away its statistics as it does what is unlogged. */
create or replace function postbag.volatile_era()
returns bigint
language sql
stable
return extract(epoch from greatest(pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time()))::bigint * 100000000;
--! EndIncluded functions/volatile_era.sql
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
 * behind it. With `rides` a receive comes after it, and the two are the whole transaction.
 *
 * Messages are settled in the order of their ids, so that two calls over the same ones cannot deadlock. All that are there and ours go with one
 * statement, which finds each by its key, whatever the statistics say (a join on the queue is at the planner's mercy: with those of a
 * nearly empty table it walks the whole queue); what is left after it is looked at one by one. */
create or replace function postbag.ack(
  queue text, receipts jsonb, now timestamptz default clock_timestamp(), alone boolean default false, rides boolean default false
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
        'receipts', ack.receipts, 'alone', ack.alone, 'rides', ack.rides
      ))) as settled (receipt text, outcome text);
    return;
  end if;
  select
    known.queue_id, known.is_volatile, known.max_in_flight, known.durability, known.done_setting,
    known.wake_slot,
    known.note_prefix || date_part('epoch', ack.now)::bigint || ':' as counting,
    alone and not rides and known.receives_plainly and known.group_mode = 'ordered' and pg_current_xact_id_if_assigned() is null as names_heads,
    case when jsonb_typeof(receipts) = 'array' then jsonb_array_length(receipts) end as number,
    receipts ->> 0 as first
  into source
  from postbag.queue as known
  where known.name = ack.queue collate "C";
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
    if source.names_heads and starts_with(current_setting(source.done_setting, true), source.counting collate "C") then
      are_named := postbag.name_heads(source.queue_id, headless, ack.now);
    end if;
    if not are_named then
      insert into postbag.group_change (queue_id, groups, changed_at) values (source.queue_id, headless, ack.now);
    end if;
  end if;
  -- (As in postbag.send_batch.)
  noted := current_setting(source.done_setting, true);
  if starts_with(noted, source.counting collate "C") and octet_length(noted) < 2000 then
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
-- With the owner's rights, so that who may only send needs none on other messages. (It cannot be called, and nobody else
-- may make a trigger of it: migration 7 revokes that.)
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  changed record;
  untidy_ids bigint[];
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

  -- Tidying comes first: it may add to the changes. (Now, because what is tidied is held until the transaction ends. What asks for it is gone
  -- before: where constraints are immediate, what is added comes here again at once.)
  with asked as (
    delete from postbag.group_change as change where change.xact = new.xact and change.tidies returning change.queue_id
  )
  select array_agg(distinct asked.queue_id) into untidy_ids from asked;
  perform postbag.tidy_at_commit(tidied.queue_id, least(new.changed_at, latest)) from unnest(untidy_ids) as tidied (queue_id);

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
--! Included functions/bind_endpoint.sql
/* postbag.bind_endpoint: bind an endpoint to its exchange as it says, or, if it is disabled, to nothing. */
create or replace function postbag.bind_endpoint(own_id bigint)
returns void
language plpgsql
as $$
declare
  own postbag.endpoint;
begin
  select known.* into own from postbag.endpoint as known where known.queue_id = own_id;
  perform from postbag.binding where binding.queue_id = own_id order by binding.binding_id for update;
  delete from postbag.binding
  where binding.queue_id = own_id
    and (
      own.disabled_at is not null
      or binding.routing_key <> all (own.event_types)
      or binding.exchange_id <> (postbag.exchange_named(own.exchange)).exchange_id
    );
  if own.disabled_at is null then
    perform postbag.bind(own.exchange, queue => 'webhooks.' || own.name, routing_key => wanted.type)
    from unnest(own.event_types) as wanted (type);
  end if;
end
$$;
--! EndIncluded functions/bind_endpoint.sql
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

  if not postbag.sees_commits() then
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
--! Included functions/change_options.sql
/* postbag.change_options: the options of postbag.outbox_trigger with their defaults, and what they mean for the table as it is: `left_out`, the
 * columns that its messages do not have; `virtual`, those among them that Postgres computes when they are read, and not for triggers: there
 * they are null; `read`, the list of columns, as SQL, that are to be read, null for all. PB002 if there is an unknown field, a value that
 * cannot be, or a column that the table does not have (any more). */
create or replace function postbag.change_options(relation regclass, options jsonb)
returns jsonb
language plpgsql
stable
as $$
declare
  known constant text[] := '{columns,group_column,type,images}';
  given constant jsonb := '{"images": ["before", "after"]}' || jsonb_strip_nulls(options);
  existing text[];
  virtual text[];
  left_out text[];
  missing text;
begin
  if jsonb_typeof(options) is distinct from 'object' then
    perform postbag.refuse('PB002', format('options must be a JSON object, got %s', coalesce(jsonb_typeof(options), 'null')));
  elsif given - known <> '{}' then
    perform postbag.refuse('PB002', format(
      'options have the unknown field %s: known are %s',
      (select min(field) from jsonb_object_keys(given - known) as field), array_to_string(known, ', ')
    ));
  elsif coalesce(jsonb_typeof(given -> 'columns'), 'array') <> 'array' or given -> 'columns' = '[]' then
    perform postbag.refuse('PB002', format('columns must be a list of at least one column, got %s', given -> 'columns'));
  elsif jsonb_typeof(given -> 'images') <> 'array' or not given -> 'images' <@ '["before", "after"]' then
    perform postbag.refuse('PB002', format('images must be a list of before and after, got %s', given -> 'images'));
  elsif coalesce(jsonb_typeof(given -> 'type'), 'string') <> 'string' or length(given ->> 'type') not between 1 and 200 then
    perform postbag.refuse('PB002', format('type must have 1 to 200 characters, got %s', given -> 'type'));
  end if;

  select
    coalesce(array_agg(attribute.attname::text order by attribute.attnum), '{}'),
    coalesce(array_agg(attribute.attname::text) filter (where attribute.attgenerated = 'v'), '{}')
  into existing, virtual
  from pg_catalog.pg_attribute as attribute
  where attribute.attrelid = relation and attribute.attnum > 0 and not attribute.attisdropped;
  select named.name into missing
  from (
    select jsonb_array_elements_text(given -> 'columns')
    union all
    select given ->> 'group_column'
  ) as named (name)
  where named.name <> all (existing)
  limit 1;
  if missing is not null then
    perform postbag.refuse('PB002', format('table %s must have the column "%s", got none of that name', relation, missing));
  end if;

  left_out := virtual || case
    when given ? 'columns' then array(
      select other.name from unnest(existing) as other (name) where not given -> 'columns' ? other.name
    )
    else '{}'
  end;
  return given || jsonb_build_object('left_out', left_out, 'virtual', virtual, 'read', case
    when left_out <> '{}' then (
      select string_agg(quote_ident(own.name), ', ' order by own."position")
      from unnest(existing) with ordinality as own (name, "position")
      where own.name <> all (left_out) or own.name = given ->> 'group_column'
    )
  end);
end
$$;
--! EndIncluded functions/change_options.sql
--! Included functions/check_endpoint.sql
/* postbag.check_endpoint: refuse (PB002) what no endpoint may say; what single columns may hold are the table's rules. */
create or replace function postbag.check_endpoint(
  source postbag.exchange, event_types text[], filter jsonb, headers jsonb, metadata jsonb, retries interval[]
)
returns void
language plpgsql
immutable
as $$
declare
  wrong text;
begin
  if source.type not in ('topic', 'direct', 'fanout') then
    perform postbag.refuse('PB002', format('exchange must be of type topic, direct or fanout, and "%s" is of type %s', source.name, source.type));
  elsif source.type = 'fanout' and event_types <> '{#}' then
    perform postbag.refuse('PB002', format(
      'eventTypes must be left out with an exchange of type fanout, which leads everything everywhere, got %s', array_to_string(event_types, ', ')
    ));
  elsif source.type = 'direct' and '#' = any (event_types) then
    perform postbag.refuse('PB002', 'eventTypes must be given with an exchange of type direct, which knows no patterns, got #');
  end if;
  select given.type into wrong from unnest(event_types) as given (type) where given.type is null or length(given.type) > 255 limit 1;
  if found then
    perform postbag.refuse('PB002', format('eventTypes must be at most 255 characters each, got %s', coalesce(length(wrong)::text, 'null')));
  elsif jsonb_typeof(filter) <> 'object' or filter - '{headers,body}'::text[] <> '{}' or jsonb_typeof(filter -> 'headers') <> 'object' then
    perform postbag.refuse('PB002', format('filter must be {"headers": {…}, "body": …}, got %s', left(filter::text, 80)));
  elsif not postbag.is_string_map(coalesce(headers, '{}')) then
    perform postbag.refuse('PB002', format('headers must be an object of strings, got %s', left(headers::text, 80)));
  elsif not postbag.is_string_map(coalesce(metadata, '{}')) then
    perform postbag.refuse('PB002', format('metadata must be an object of strings, got %s', left(metadata::text, 80)));
  elsif exists (
    select from unnest(retries) as pause (length)
    where pause.length is null or pause.length not between interval '0 s' and interval '604800 s'
  ) then
    perform postbag.refuse('PB002', format('retries must be between 0 and 604800 seconds each, got %L', retries));
  end if;
end
$$;
--! EndIncluded functions/check_endpoint.sql
--! Included functions/claim_deliveries.sql
/* postbag.claim_deliveries: lease up to `most` deliveries (1 to 1000) of all endpoints, of about `most_bytes` at most (by the next body of each
 * endpoint; by default however many), each with what the request needs. Who claims makes the
 * requests outside of any transaction, and settles all of them with postbag.settle_deliveries before leased_until.
 *
 * Goes from one endpoint that has messages to the next, by the index of claims, and takes of each endpoint no more than a fair share. What an
 * endpoint has waiting costs the others nothing, and one that rests, is paused, empty or busy costs a look. The last row has nothing but
 * `next`, if there may be more at once: the `after` of the next call.
 *
 * So that those who may keep a deliverer waiting do not keep it from the others, each endpoint has a standing:
 *   unproven    it has never been delivered to, or the last attempt failed
 *   slow        its answers take long
 *   untrusted   it is neither, but does not stand in `trusted`: who claims says whom alone it trusts just now (by default everybody)
 *   trusted     all others
 * One that is unproven or untrusted has one delivery at a time; of all that are not trusted, at most `most_doubtful` are claimed (0 or more; by
 * default `most`); when so many are, the claim ends, so that the others are not kept waiting by it. Those that are `avoided` are passed over:
 * who claims knows that they do not answer.
 * Of an endpoint that has rested because it failed, one delivery is a probe: the others follow when it has arrived.
 * Of an endpoint with an order each group has one delivery under way, its first: who claims makes all requests side by side. What nobody could name
 * the first of (functions/apply_group_changes.sql) is put in order when this transaction commits, which wakes who delivers. */
create or replace function postbag.claim_deliveries(
  most integer default 100,
  after bigint default null,
  most_doubtful integer default null,
  avoided text[] default '{}',
  trusted text[] default null,
  now timestamptz default clock_timestamp(),
  most_bytes bigint default null
)
returns table (
  endpoint text, url text, request_headers jsonb, timeout_seconds double precision, secrets jsonb, receipt text, id text, event_id text,
  attempts integer, body text, encoding text, type text, content_type text, headers jsonb, sent_at timestamptz, leased_until timestamptz,
  standing text, next bigint
)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  -- Queues looked at in one call.
  most_looked_at constant integer := 1000;
  probe_time constant interval := '2 min';
  -- (As objects, in which a name is found without looking at all of them.)
  who_is_avoided constant jsonb := jsonb_object(array_remove(avoided, null), array_remove(avoided, null));
  who_is_trusted constant jsonb := jsonb_object(array_remove(trusted, null), array_remove(trusted, null));
  room integer := most;
  room_in_bytes bigint := most_bytes;
  next_bytes bigint;
  room_for_doubtful integer := least(coalesce(most_doubtful, most), most);
  -- Of one endpoint at a time.
  share constant integer := greatest(most / 4, 1);
  share_of_doubtful constant integer := greatest(room_for_doubtful / 16, 1);
  target record;
  most_in_flight integer;
  in_flight integer;
  taken integer;
  got_now integer;
  claimed integer;
  position bigint;
  -- Whether all were looked at, and whether one of them was given its share only.
  is_over boolean := true;
  is_cut boolean := false;
begin
  if most is null or most not between 1 and 1000 then
    perform postbag.refuse('PB002', format('most must be between 1 and 1000, got %s', coalesce(most::text, 'null')));
  elsif most_doubtful < 0 then
    perform postbag.refuse('PB002', format('mostDoubtful must be 0 or more, got %s', most_doubtful));
  end if;
  if has_table_privilege('postbag.group_pending'::regclass, 'select') then
    perform postbag.settle_pending(unordered.queue_id, claim_deliveries.now)
    from (
      select distinct waiting.queue_id
      from (
        select pending.queue_id
        from postbag.group_pending as pending
        cross join lateral (
          select from postbag.endpoint where endpoint.queue_id = pending.queue_id and endpoint.disabled_at is null limit 1
        ) as own
        limit most_looked_at
      ) as waiting
    ) as unordered;
  end if;
  for target in
    -- One place after the other, as far as the loop goes: of a queue with messages, if that is an endpoint; else before the next endpoint, so
    -- that queues that are none are passed over, however many they are.
    with recursive place as (
      select 0 as number, coalesce(after, 0) as queue_id, false as is_endpoint, null::timestamptz as available_at
      union all
      select
        place.number + 1,
        case when own.queue_id = ready.queue_id then own.queue_id else own.queue_id - 1 end,
        own.queue_id = ready.queue_id,
        ready.available_at
      from place
      cross join lateral (
        select message.queue_id, message.available_at
        from postbag.message
        where message.queue_id > place.queue_id and message.available_at < 'infinity'
        order by message.queue_id, message.priority, message.available_at, message.message_id
        limit 1
      ) as ready
      cross join lateral (
        select endpoint.queue_id from postbag.endpoint where endpoint.queue_id >= ready.queue_id order by endpoint.queue_id limit 1
      ) as own
      where place.number < most_looked_at
    )
    select
      place.number, place.queue_id, queue.name as queue, queue.group_mode = 'ordered' as is_ordered, own.name, own.url, own.headers,
      extract(epoch from own.timeout)::double precision as timeout_seconds,
      own.secrets, queue.max_in_flight, health.failures, health.resting_until,
      case
        when not health.is_proven then 'unproven'
        when health.is_slow then 'slow'
        when not who_is_trusted ? own.name then 'untrusted'
        else 'trusted'
      end as standing,
      ready.is_ready
    from place
    left join postbag.endpoint as own on own.queue_id = place.queue_id
    left join postbag.queue on queue.queue_id = own.queue_id
    left join postbag.endpoint_health as health on health.queue_id = own.queue_id
    cross join lateral (
      select coalesce(
        place.is_endpoint
          and place.available_at <= claim_deliveries.now
          and own.disabled_at is null
          and not queue.paused
          and (health.resting_until is null or health.resting_until <= claim_deliveries.now)
          and not who_is_avoided ? own.name,
        false
      ) as is_ready
    ) as ready
    -- (The last place comes in any case, because it says that there may be more.)
    where ready.is_ready or place.number = most_looked_at
  loop
    position := target.queue_id;
    is_over := target.number < most_looked_at;
    continue when not target.is_ready or target.standing <> 'trusted' and room_for_doubtful <= 0;
    -- One that was deleted since the loop began takes nobody's deliveries along.
    continue when not exists (select from postbag.queue as known where known.queue_id = target.queue_id);
    most_in_flight := case when target.standing in ('trusted', 'slow') then target.max_in_flight else 1 end;
    select count(*) into in_flight
    from (
      select from postbag.message
      where message.queue_id = target.queue_id and message.in_flight_until > claim_deliveries.now
      order by message.in_flight_until
      limit most_in_flight
    ) as under_way;
    taken := least(
      most_in_flight - in_flight,
      case when target.standing = 'trusted' then least(room, share) else least(room_for_doubtful, share_of_doubtful) end
    );
    continue when taken <= 0;
    if target.resting_until is not null and target.failures > 0 then
      -- One of those that come at the same time has the probe.
      update postbag.endpoint_health as health set resting_until = claim_deliveries.now + probe_time, resting_since = null
      where health.queue_id = target.queue_id and health.resting_until = target.resting_until;
      continue when not found;
      taken := 1;
    end if;

    if room_in_bytes is not null then
      select greatest(
        case
          when waiting.body_id is null then octet_length(coalesce(waiting.body, '')) + octet_length(coalesce(waiting.bytes, ''))
          else postbag.shared_size(waiting.body_id)
        end, 1
      )
      into next_bytes
      from postbag.message as waiting
      where waiting.queue_id = target.queue_id and waiting.available_at < 'infinity'
      order by waiting.priority, waiting.available_at, waiting.message_id
      limit 1;
      taken := least(taken, greatest(room_in_bytes / next_bytes, 1));
    end if;

    claimed := 0;
    for turn_of_endpoint in 1 .. case when target.is_ordered then taken else 1 end loop
      return query
        select
          target.name, target.url, target.headers, target.timeout_seconds,
          (
            select jsonb_agg(secret.value order by secret.number)
            from jsonb_array_elements(target.secrets) with ordinality as secret (value, number)
            where secret.value ->> 'until' is null or (secret.value ->> 'until')::timestamptz > claim_deliveries.now
          ),
          got.receipt, got.id, postbag.event_id_of(target.queue_id, got.id),
          got.attempts, got.body, got.encoding, got.type, got.content_type, got.headers, got.sent_at, got.leased_until,
          target.standing, null::bigint
        from postbag.receive(target.queue, case when target.is_ordered then 1 else taken end, now => claim_deliveries.now) as got;
      get diagnostics got_now = row_count;
      claimed := claimed + got_now;
      exit when got_now = 0;
    end loop;
    is_cut := is_cut or claimed = taken and claimed < most_in_flight - in_flight;
    room := room - claimed;
    room_for_doubtful := least(room, room_for_doubtful - case when target.standing = 'trusted' then 0 else claimed end);
    room_in_bytes := room_in_bytes - coalesce(claimed * next_bytes, 0);
    is_over := is_over and room > 0 and coalesce(room_in_bytes > 0, true) and (room_for_doubtful > 0 or target.standing = 'trusted');
    exit when not is_over;
  end loop;
  if not is_over or is_cut then
    claim_deliveries.next := case when is_over then 0 else position end;
    return next;
  end if;
end
$$;
--! EndIncluded functions/claim_deliveries.sql
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
      case
        when message.body_id is null then octet_length(coalesce(message.body, '')) + octet_length(coalesce(message.bytes, ''))
        else postbag.shared_size(message.body_id)
      end as size,
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

  -- (In a transaction with a snapshot of its own, writing that row could fail for no reason of the caller's; in a read-only one it does.)
  if postbag.sees_commits()
    and current_setting('transaction_read_only') = 'off'
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
--! Included functions/create_queue.sql
/* postbag.create_queue: create a queue, or replace the whole configuration of the one that has this name: what is not given (null) gets what
 * the most specific policy that matches its name says (functions/settings_of.sql), else its built-in default
 * (functions/queue_settings.sql). `without` names settings that the queue is to have none of, whatever policies say: '{ttl}', say.
 * Its messages stay, and so does its pause. A new queue has created_at = updated_at.
 * What each setting means: QueueConfig in src/wire.ts. A volatile queue cannot become a durable one or the reverse: its messages are
 * stored elsewhere.
 * Two callers at once: both succeed, and the configuration of the later one stands. While a change of policies is being made, it is
 * waited for (and in a transaction at repeatable read, one that was made since it began ends it with a serialization failure). */
create or replace function postbag.create_queue(
  queue text,
  lease interval default null,
  delay interval default null,
  max_priority integer default null,
  dedup_window interval default null,
  now timestamptz default clock_timestamp(),
  delivery_order text default null,
  group_mode text default null,
  ttl interval default null,
  max_attempts integer default null,
  retry_delay interval default null,
  retry_backoff text default null,
  retry_max_delay interval default null,
  retry_jitter double precision default null,
  dead_letter_queue text default null,
  dead_letter_retention interval default null,
  dedup_by text default null,
  dedup_scope text default null,
  max_messages bigint default null,
  max_bytes bigint default null,
  overflow text default null,
  max_in_flight integer default null,
  rate double precision default null,
  burst integer default null,
  group_rate double precision default null,
  group_burst integer default null,
  durability text default null,
  without text[] default '{}',
  dead_letter_exchange text default null,
  dead_letter_routing_key text default null
)
returns setof postbag.queue_info
language plpgsql
-- How intervals are written down must not depend on the session.
set intervalstyle = 'postgres'
as $$
declare
  given constant jsonb := jsonb_strip_nulls(jsonb_build_object(
    'lease', lease, 'delay', delay, 'max_priority', max_priority, 'dedup_window', dedup_window, 'delivery_order', delivery_order,
    'group_mode', group_mode, 'ttl', ttl, 'max_attempts', max_attempts, 'retry_delay', retry_delay, 'retry_backoff', retry_backoff,
    'retry_max_delay', retry_max_delay, 'retry_jitter', retry_jitter, 'dead_letter_queue', dead_letter_queue,
    'dead_letter_exchange', dead_letter_exchange, 'dead_letter_routing_key', dead_letter_routing_key,
    'dead_letter_retention', dead_letter_retention, 'dedup_by', dedup_by, 'dedup_scope', dedup_scope, 'max_messages', max_messages,
    'max_bytes', max_bytes, 'overflow', overflow, 'max_in_flight', max_in_flight, 'rate', rate, 'burst', burst,
    'group_rate', group_rate, 'group_burst', group_burst, 'durability', durability
  ));
  present postbag.queue;
  wanted postbag.queue;
begin
  perform postbag.check_without(create_queue.without, given);
  -- Policies stay as they are until this transaction ends.
  perform from postbag.policy_change for share;
  wanted.name := create_queue.queue;
  wanted.explicit := given || coalesce((
    select jsonb_object_agg(none.name, null) from unnest(create_queue.without) as none (name)
  ), '{}');
  wanted := postbag.effective_queue(wanted);

  select known.* into present from postbag.queue as known where known.name = create_queue.queue collate "C";
  if present.is_endpoint then
    perform postbag.refuse('PB002', format(
      'queue "%s" must be configured as the endpoint that it is of: what its deliveries rest upon is the endpoint''s', create_queue.queue
    ));
  elsif present.is_volatile <> (wanted.durability = 'volatile') then
    perform postbag.refuse('PB002', format(
      'durability of queue "%s" must stay %s, got %L: delete the queue first, its messages are stored elsewhere',
      create_queue.queue, case when present.is_volatile then 'volatile' else 'full or relaxed' end, wanted.durability
    ));
  end if;
  perform postbag.check_dead_letters(wanted);
  if not postbag.save_queue(wanted, create_queue.now) then
    perform postbag.refuse('PB002', format(
      'durability of queue "%s" cannot be changed to or from volatile: somebody else has just created it', create_queue.queue
    ));
  end if;

  -- (On conflict alone would wait for who has changed the row and not committed yet: a send that counted, and stays open.)
  insert into postbag.sweep (queue_id)
  select known.queue_id from postbag.queue as known
  where known.name = create_queue.queue collate "C" and not exists (select from postbag.sweep where sweep.queue_id = known.queue_id)
  on conflict do nothing;
  insert into postbag.tally (queue_id, counted_at, took_us, ready, leased, delayed, blocked, dead, bytes, capped, newest_id)
  select known.queue_id, '-infinity', 0, 0, 0, 0, 0, 0, 0, false, 0
  from postbag.queue as known
  where known.name = create_queue.queue collate "C" and not exists (select from postbag.tally where tally.queue_id = known.queue_id)
  on conflict do nothing;
  -- More of it may be available than before.
  perform postbag.wake(create_queue.queue);

  return query select info.* from postbag.queue_info as info where info.name = create_queue.queue collate "C";
end
$$;
--! EndIncluded functions/create_queue.sql
--! Included functions/dead_letter_ways.sql
/* postbag.dead_letter_ways: where messages of a queue go that die: a row for each queue that each of them goes to; none for those that stay.
 * To the dead-letter queue, if it is there and stores its messages as the queue does; by the dead-letter exchange (functions/route.sql), with
 * `routing_key`: the one that is configured, else the one that the message came with, else the queue's name. An exchange that leads
 * back to the queue itself is not followed there: a message that fails would fail for ever. Filters of endpoints count as for a publish. */
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
      where known.name = source.dead_letter_queue collate "C" and known.name <> source.name and known.is_volatile = source.is_volatile;
  elsif source.dead_letter_exchange = 'default'
    or exists (select from postbag.exchange as known where known.name = source.dead_letter_exchange collate "C")
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
        and case when known.is_endpoint then postbag.takes_dead_letter(known.queue_id, source.queue_id, letter_ids[way.number]) else true end
      -- (As many copies as a publish may make. It is somebody's commit that pays for them.)
      limit 100000;
  end if;
end
$$;
--! EndIncluded functions/dead_letter_ways.sql
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
  if random() < cardinality(ids) / 256.0 and postbag.sees_commits() then
    perform postbag.forget_dedup_ids(target.queue_id, deduplicate.now);
  end if;
  return first_ids;
end
$$;
--! EndIncluded functions/deduplicate.sql
--! Included functions/delete_exchange.sql
/* postbag.delete_exchange: delete an exchange and its bindings, those from it and those to it; returns how many. PB010 if there is none of
 * that name; PB012 if an endpoint takes from it, and with if_unused if something is bound to it. Where it was an alternate, there is none from now on. Beside a publish
 * that has not ended: that one still goes where it went. */
create or replace function postbag.delete_exchange(exchange text, if_unused boolean default false)
returns bigint
language plpgsql
as $$
declare
  doomed constant postbag.exchange := postbag.exchange_named(delete_exchange.exchange);
  taker text;
  gone bigint;
begin
  -- (So that nobody binds to it meanwhile.)
  perform from postbag.exchange as known where known.exchange_id = doomed.exchange_id for update;
  if not found then
    -- Another deletion came first while this one waited for it.
    perform postbag.exchange_named(delete_exchange.exchange);
  end if;
  -- (In one order: else two that are bound to each other, deleted at once, wait for each other.)
  perform from postbag.binding
  where binding.exchange_id = doomed.exchange_id or binding.target_id = doomed.exchange_id
  order by binding.binding_id
  for update;
  select own.name into taker from postbag.endpoint as own where own.exchange = doomed.name order by own.name limit 1;
  if taker is not null then
    perform postbag.refuse('PB012', format(
      'exchange "%s" must have no endpoints to be deleted, got "%s": delete that first, or let it take from another', doomed.name, taker
    ));
  elsif if_unused and exists (select from postbag.binding where binding.exchange_id = doomed.exchange_id) then
    perform postbag.refuse('PB012', format('exchange "%s" must have no bindings to be deleted with ifUnused, got some', doomed.name));
  end if;
  select count(*) into gone
  from postbag.binding
  where binding.exchange_id = doomed.exchange_id or binding.target_id = doomed.exchange_id;
  delete from postbag.exchange as known where known.exchange_id = doomed.exchange_id;
  return gone;
end
$$;
--! EndIncluded functions/delete_exchange.sql
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
  -- (Its bindings go with it: in the order of their ids, as with an exchange.)
  perform from postbag.queue as known where known.queue_id = doomed.queue_id for update;
  perform from postbag.binding where binding.queue_id = doomed.queue_id order by binding.binding_id for update;
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
--! Included functions/enable_endpoint.sql
/* postbag.enable_endpoint: deliver to an endpoint again that was disabled, and what is published from now on; and let it rest no longer. PB014. */
create or replace function postbag.enable_endpoint(endpoint text, now timestamptz default clock_timestamp())
returns setof postbag.endpoint_info
language plpgsql
as $$
declare
  own postbag.endpoint := postbag.endpoint_named(enable_endpoint.endpoint);
begin
  -- (After its queue, as who deletes it, and before its health, as who disables it.)
  perform from postbag.queue as known where known.queue_id = own.queue_id for key share;
  perform from postbag.endpoint as known where known.queue_id = own.queue_id for update;
  if not found then
    -- It has been deleted meanwhile.
    perform postbag.endpoint_named(enable_endpoint.endpoint);
  end if;
  update postbag.endpoint as known
  set disabled_at = null, disabled_because = null,
    updated_at = greatest(enable_endpoint.now, known.created_at + interval '1 microsecond')
  where known.queue_id = own.queue_id and known.disabled_at is not null;
  update postbag.endpoint_health as health
  set failures = 0, failing_since = null, resting_until = null
  where health.queue_id = own.queue_id and (health.failures > 0 or health.resting_until is not null);
  perform postbag.bind_endpoint(own.queue_id);
  perform postbag.wake('webhooks.' || own.name);
  return query select info.* from postbag.endpoint_info as info where info.name = own.name collate "C";
end
$$;
--! EndIncluded functions/enable_endpoint.sql
--! Included functions/explain_route.sql
/* postbag.explain_route: where a message would go if it were published now, and why: the bindings that fit, and the turns to alternates, in
 * the order in which they come about; without endpoints whose filter asks for other headers (for what it asks of a body, there is none).
 * Nothing is sent. PB010 if there is no such exchange. */
create or replace function postbag.explain_route(exchange text, routing_key text default '', headers jsonb default null)
returns table (
  at_exchange text, exchange_type text, binding_key text, binding_headers jsonb, header_match text, weight integer, queue text,
  to_exchange text, alternate boolean
)
language plpgsql
stable
as $$
begin
  return query
    select
      coalesce(source.name, explain_route.exchange), coalesce(source.type, 'direct'), coalesce(binding.routing_key, target.name),
      binding.headers, binding.header_match, binding.weight, target.name, next_exchange.name, way.is_alternate
    from postbag.route(
      explain_route.exchange,
      jsonb_build_array(jsonb_build_object('routingKey', explain_route.routing_key, 'headers', coalesce(explain_route.headers, '{}')))
    ) with ordinality as way (number, exchange_id, binding_id, queue_id, target_id, is_alternate, turn)
    left join postbag.exchange as source on source.exchange_id = way.exchange_id
    left join postbag.binding on binding.binding_id = way.binding_id
    left join postbag.queue as target on target.queue_id = way.queue_id
    left join postbag.exchange as next_exchange on next_exchange.exchange_id = way.target_id
    where not exists (
      select from postbag.endpoint
      where endpoint.queue_id = way.queue_id
        and not coalesce(explain_route.headers, '{}') @> coalesce(endpoint.filter -> 'headers', '{}')
    )
    order by way.turn;
end
$$;
--! EndIncluded functions/explain_route.sql
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
  if fetch_reply.id is null or fetch_reply.id collate "C" !~ '^[0-9]{1,18}\.[0-9a-f]{32}$' then
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
      and reply.reply_id = split_part(fetch_reply.id collate "C", '.', 1)::bigint
      and reply.reply_key = split_part(fetch_reply.id collate "C", '.', 2)
      and reply.expires_at > fetch_reply.now;
  if not found then
    perform postbag.refuse('PB006', format('queue "%s" awaits no reply of the id %s (any more)', source.name, fetch_reply.id));
  end if;
end
$$;
--! EndIncluded functions/fetch_reply.sql
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
  if get_message.message_id is null or get_message.message_id collate "C" !~ '^[0-9]{1,18}$' then
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
--! Included functions/hold_policies.sql
/* postbag.hold_policies: until this transaction ends, nobody else changes policies, and no queue is created or replaced: who did so is
 * waited for, and seen by every statement from then on. At repeatable read that would not be so; it is refused there (PB002). */
create or replace function postbag.hold_policies(now timestamptz)
returns void
language plpgsql
as $$
begin
  if not postbag.sees_commits() then
    perform postbag.refuse('PB002', format(
      'policies must be changed at the isolation level read committed, got %s: queues made meanwhile would be missed',
      current_setting('transaction_isolation')
    ));
  end if;
  update postbag.policy_change set changed_at = hold_policies.now;
end
$$;
--! EndIncluded functions/hold_policies.sql
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
  -- About once per 256 messages, so that the deletion costs a call next to nothing; not in a transaction with a snapshot of its own, where it could
  -- fail for no reason of the caller's.
  if is_first and random() < 1 / 256.0 and postbag.sees_commits() then
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
--! Included functions/last_volatile_id.sql
/* postbag.last_volatile_id: the id that this session drew last with postbag.next_volatile_id. */
create or replace function postbag.last_volatile_id()
returns bigint
language sql
stable
return currval('postbag.volatile_message_id') + postbag.volatile_era();
--! EndIncluded functions/last_volatile_id.sql
--! Included functions/least_shared.sql
/* postbag.least_shared: from how many bytes on it pays to store a body once for several copies (npm run bench -- publish). */
create or replace function postbag.least_shared()
returns integer
language sql
immutable
return 8000;
--! EndIncluded functions/least_shared.sql
--! Included functions/list_attempts.sql
/* postbag.list_attempts: attempts to deliver to an endpoint, the newest first, at most max_attempts (1 to 1000) before the attempt `before`; all, or
 * those of an outcome or of one delivery. `event_id` is null if the event is not kept any more. PB014. */
create or replace function postbag.list_attempts(
  endpoint text, of_outcome text default null, of_id text default null, before bigint default null, max_attempts integer default 100
)
returns table (
  attempt bigint, id text, event_id text, type text, number integer, started_at timestamptz, millis integer, outcome text, status integer,
  error text, detail text, response_headers jsonb, response_body text
)
language plpgsql
stable
-- What is asked for decides which index is the right one.
set plan_cache_mode = force_custom_plan
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(list_attempts.endpoint);
  -- (No delivery has another id than a number.)
  of_message constant bigint := case when of_id collate "C" ~ '^[0-9]{1,18}$' then of_id::bigint when of_id is not null then -1 end;
begin
  if max_attempts is null or max_attempts not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max must be between 1 and 1000, got %s', coalesce(max_attempts::text, 'null')));
  end if;
  return query
    select
      made.attempt_id, made.message_id::text, 'evt_' || kept.body_id, made.type, made.number, made.started_at, made.millis, made.outcome,
      made.status, made.error, made.detail, made.response_headers, made.response_body
    from postbag.attempt as made
    left join postbag.body as kept on kept.body_id = made.body_id
    where made.queue_id = own.queue_id
      and (list_attempts.before is null or made.attempt_id < list_attempts.before)
      and (list_attempts.of_outcome is null or made.outcome = list_attempts.of_outcome collate "C")
      and (of_message is null or made.message_id = of_message)
    order by made.attempt_id desc
    limit max_attempts;
end
$$;
--! EndIncluded functions/list_attempts.sql
--! Included functions/list_bindings.sql
/* postbag.list_bindings: bindings in the order in which they were made, a page at a time: those from an exchange, those to a queue, those
 * to an exchange; all conditions that are given must hold. PB001 or PB010 for what is not there, PB002 for an `after` that is no id. */
create or replace function postbag.list_bindings(
  of_exchange text default null, of_queue text default null, of_target text default null, after text default '0', max_bindings integer default 100
)
returns table (
  id text, exchange text, queue text, to_exchange text, routing_key text, headers jsonb, header_match text, weight integer, created_at timestamptz
)
language plpgsql
stable
as $$
declare
  source_id constant bigint := case when list_bindings.of_exchange is not null then (postbag.exchange_named(list_bindings.of_exchange)).exchange_id end;
  bound_id constant bigint := case when list_bindings.of_queue is not null then (postbag.queue_named(list_bindings.of_queue)).queue_id end;
  next_id constant bigint := case when list_bindings.of_target is not null then (postbag.exchange_named(list_bindings.of_target)).exchange_id end;
begin
  if list_bindings.after collate "C" !~ '^[0-9]{1,18}$' then
    perform postbag.refuse('PB002', format('after must be the id of a binding, got %s', list_bindings.after));
  end if;
  return query
    select
      binding.binding_id::text, source.name, target.name, next_exchange.name, binding.routing_key, binding.headers,
      binding.header_match, binding.weight, binding.created_at
    from postbag.binding
    join postbag.exchange as source on source.exchange_id = binding.exchange_id
    left join postbag.queue as target on target.queue_id = binding.queue_id
    left join postbag.exchange as next_exchange on next_exchange.exchange_id = binding.target_id
    where (source_id is null or binding.exchange_id = source_id)
      and (bound_id is null or binding.queue_id = bound_id)
      and (next_id is null or binding.target_id = next_id)
      and binding.binding_id > list_bindings.after::bigint
    order by binding.binding_id
    limit greatest(least(max_bindings, 1000), 0);
end
$$;
--! EndIncluded functions/list_bindings.sql
--! Included functions/lock_groups.sql
/* postbag.lock_groups: hold the slots of these groups until the transaction ends, so that nobody else names a head in them.
 * There are 16384 slots, and one lock beside them, which everybody holds in shared mode: who would need more than 512 slots takes that alone
 * instead, because a default server has room for some 9000 locks, of all sessions together. Nobody else names a head for that moment. */
create or replace function postbag.lock_groups(groups text[])
returns void
language plpgsql
as $$
declare
  slots integer[];
  is_locked boolean;
begin
  -- (Mostly it is one; an expression costs less than a statement.)
  if cardinality(groups) = 1 then
    is_locked := pg_advisory_xact_lock_shared(1886352384, 16384) is not null;
    is_locked := pg_advisory_xact_lock(1886352384, hashtext(groups[1]) & 16383) is not null;
    return;
  end if;
  slots := array(select distinct hashtext(named.group_key) & 16383 as slot from unnest(groups) as named (group_key) order by slot);
  if cardinality(slots) > 512 then
    perform pg_advisory_xact_lock(1886352384, 16384);
  else
    perform pg_advisory_xact_lock_shared(1886352384, 16384);
    perform pg_advisory_xact_lock(1886352384, locked.slot) from unnest(slots) as locked (slot);
  end if;
end
$$;
--! EndIncluded functions/lock_groups.sql
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
  -- How much must go at least.
  due integer;
  due_bytes bigint;
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
  due := case when over > 0 then least(over, added) else 0 end;
  due_bytes := case when over_bytes > 0 then least(over_bytes, added_bytes) else 0 end;
  if victims is null or cardinality(victims) < due or dropped_bytes < due_bytes then
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
    if free_count < due or coalesce(free_bytes, 0) < due_bytes then
      perform postbag.refuse('PB004', format(
        'queue "%s" is full, and %s its messages are leased', target.name, case when free_count = 0 then 'all' else 'too many of' end
      ));
    elsif victims is null then
      return;
    end if;
  end if;
  perform postbag.bury(target, victims, 'overflow', make_room.now);
  -- What is gone must not be dropped again for as long as the count is taken for fresh.
  if not postbag.sees_commits() then
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
--! Included functions/message_of.sql
/* postbag.message_of: a message as postbag.send_batch and postbag.publish_batch take it, of the arguments of a function that sends one. Only what was
 * given is in it, because the short ways are for messages with a body and a type. (Headers as they are: that a null among them is refused.) */
create or replace function postbag.message_of(
  body jsonb,
  type text,
  headers jsonb,
  encoding text,
  content_type text,
  priority integer default null,
  delay interval default null,
  dedup_id text default null,
  group_key text default null,
  ttl interval default null,
  available_at timestamptz default null,
  correlation_id text default null,
  reply_to text default null,
  routing_key text default null
)
returns jsonb
language sql
stable
return
  jsonb_build_object('body', message_of.body)
  || case when message_of.headers is null then '{}' else jsonb_build_object('headers', message_of.headers) end
  || jsonb_strip_nulls(jsonb_build_object(
    'type', message_of.type, 'encoding', nullif(message_of.encoding, 'json'), 'contentType', message_of.content_type,
    'priority', message_of.priority, 'delaySeconds', extract(epoch from message_of.delay), 'dedupId', message_of.dedup_id,
    'group', message_of.group_key, 'ttlSeconds', extract(epoch from message_of.ttl), 'availableAt', message_of.available_at,
    'correlationId', message_of.correlation_id, 'replyTo', message_of.reply_to, 'routingKey', message_of.routing_key
  ));
--! EndIncluded functions/message_of.sql
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
  drawn bigint;
  moved_ids bigint[];
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
    where octet_length(own.body) >= postbag.least_shared() and not source.is_volatile
  ),
  moved as (
    insert into postbag.message (
      queue_id, message_id, available_at, sent_at, priority, encoding, type, content_type, headers, last_error, group_key,
      group_position, expires_at, ttl_ends_at, dead_at, deaths, body, bytes, body_id
    )
    select
      target.queue_id,
      copy.new_id,
      case when own.group_key is null or target.delivery_order = 'lifo' then move_dead.now else 'infinity' end,
      gone.sent_at, least(gone.priority, target.top_priority), gone.encoding, gone.type, gone.content_type,
      case
        when copy.routing_key is null then gone.headers::jsonb
        else postbag.published_headers(gone.headers::jsonb, source.dead_letter_exchange, copy.routing_key)
      end,
      gone.last_error, own.group_key,
      case when own.group_key is not null and target.delivery_order = 'fifo' then nextval('postbag.message_id') end,
      move_dead.now + target.ttl, move_dead.now + target.ttl, move_dead.now,
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
    cross join lateral (select case when target.is_one_group then 'endpoint' else gone.group_key end as group_key) as own
    left join shared on shared.message_id = gone.message_id
    order by gone.group_position nulls last, gone.message_id
    returning message.queue_id, message.message_id, message.group_key, message.group_position
  )
  select jsonb_agg(moved.*) filter (where moved.group_position > 0), array_agg(moved.queue_id) into grouped, moved_ids from moved;

  -- Where messages are counted no more can have been added than ids were drawn (functions/make_room.sql): these have brought theirs along.
  select count(nextval('postbag.message_id')) into drawn
  from unnest(moved_ids) as target (queue_id)
  join postbag.queue as known on known.queue_id = target.queue_id
  where known.max_messages is not null;
  insert into postbag.group_change (queue_id, groups, arrived, changed_at)
  select moved.queue_id, array_agg(moved.group_key), array_agg(moved.message_id), move_dead.now
  from jsonb_to_recordset(grouped) as moved (queue_id bigint, message_id bigint, group_key text)
  group by moved.queue_id;
  perform postbag.wake(known.name) from postbag.queue as known where known.queue_id = any (target_ids) order by known.queue_id;
end
$$;
--! EndIncluded functions/move_dead.sql
--! Included functions/name_heads.sql
/* postbag.name_heads: the short way of functions/apply_group_changes.sql for an ack that is the whole transaction: the heads of these groups are
 * gone, and nothing is to be done before the commit, so the next ones are named at once, without a note and a trigger. True if they were.
 *
 * The groups' locks are taken in ascending order, as at commit, and held until it. So what calls this must be the last thing that its transaction
 * does. A receive, with which an ack goes along, is not: its rows are on their way to the client before the commit, and a client that does not
 * read them would keep others from these groups. */
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
begin
  if not postbag.sees_commits()
    or not has_table_privilege('postbag.message'::regclass, 'update')
    or not has_table_privilege('postbag.group_pending'::regclass, 'insert')
  then
    return false;
  end if;
  perform postbag.lock_groups(array(select source_id || ':' || headless.group_key from unnest(groups) as headless (group_key)));
  perform postbag.order_groups(source_id, groups, null, name_heads.now);
  return true;
end
$$;
--! EndIncluded functions/name_heads.sql
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
  select known.* into source from postbag.queue as known where known.name = next_available_at.queue collate "C";
  if not found then
    return case
      when starts_with(next_available_at.queue collate "C", '~reply/')
        then postbag.reply_available_at(next_available_at.queue, next_available_at.now)
      when next_available_at.queue collate "C" = '~webhooks' then postbag.next_delivery_at(next_available_at.now)
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
--! Included functions/next_volatile_id.sql
/* postbag.next_volatile_id: an id for a message of a volatile queue. A crash sets the sequence back to its start, so its numbers
 * are counted from the era on: an id that was given before is not given again. */
create or replace function postbag.next_volatile_id()
returns bigint
language sql
volatile
return nextval('postbag.volatile_message_id') + postbag.volatile_era();
--! EndIncluded functions/next_volatile_id.sql
--! Included functions/note_health.sql
/* postbag.note_health: what the results of a batch (functions/settle_deliveries.sql) say of an endpoint: whether it is well, rests, or is disabled,
 * and whether its answers take long. The one that began last has the last word; for how long they take, all of them together. Those that had
 * begun before the answers came for which it rests may make that rest longer, not end it. Writes nothing for one that was well and is. */
create or replace function postbag.note_health(own_id bigint, results jsonb, now timestamptz)
returns void
language plpgsql
as $$
declare
  failures_until_rest constant integer := 5;
  shortest_rest constant interval := '10 s';
  longest_rest constant interval := '10 min';
  longest_asked_rest constant interval := '1 h';
  longest_failing constant interval := '5 days';
  -- An endpoint is slow when answers take longer than the one, and until they take less than the other.
  slow_millis constant integer := 1000;
  prompt_millis constant integer := 500;
  known postbag.endpoint_health;
  told record;
  takes_long boolean;
  is_late boolean;
begin
  select
    count(*) filter (where given.value ->> 'outcome' = 'failed') as failed,
    (array_agg(given.value ->> 'outcome' order by given.value ->> 'startedAt' desc))[1] = 'delivered' as is_well,
    max((given.value ->> 'startedAt')::timestamptz) as began_at,
    max((given.value ->> 'startedAt')::timestamptz + (given.value ->> 'millis')::integer * interval '1 ms')
      filter (where given.value ->> 'outcome' = 'failed') as failed_at,
    avg((given.value ->> 'millis')::integer) as millis,
    max((given.value ->> 'retryAfterSeconds')::double precision) as asked,
    bool_or((given.value ->> 'isGone')::boolean) as is_gone
  into told
  from jsonb_array_elements(results) as given
  where given.value ->> 'outcome' <> 'untried';
  select health.* into known from postbag.endpoint_health as health where health.queue_id = own_id;
  if told.is_gone then
    perform postbag.disable_endpoint((select own.name from postbag.endpoint as own where own.queue_id = own_id), 'gone', note_health.now);
  end if;
  if told.is_well is null then
    -- A probe that nobody made can be made by the next.
    update postbag.endpoint_health as health set resting_until = note_health.now
    where health.queue_id = own_id and health.failures > 0 and health.resting_since is null and health.resting_until > note_health.now;
    return;
  end if;
  takes_long := told.millis > case when known.is_slow then prompt_millis else slow_millis end;
  if told.is_well and known.is_proven and known.is_slow = takes_long and known.failures = 0 and known.resting_until is null
    and told.asked is null
  then
    return;
  end if;

  if known.failing_since <= note_health.now - longest_failing then
    -- (As it may be disabled: in the order in which it is enabled.)
    perform from postbag.endpoint as own where own.queue_id = own_id for update;
  end if;
  -- (As it is when those who are settling others are done.)
  select health.* into known from postbag.endpoint_health as health where health.queue_id = own_id for update;
  is_late := coalesce(known.resting_until > note_health.now and told.began_at <= known.resting_since, false);
  update postbag.endpoint_health as health
  set
    failures = case when told.is_well and not is_late then 0 else health.failures + told.failed end,
    is_proven = told.is_well and (health.is_proven or not is_late),
    is_slow = takes_long,
    failing_since = case when is_late or not told.is_well then coalesce(health.failing_since, note_health.now) end,
    resting_since = case when is_late then greatest(health.resting_since, told.failed_at) else told.failed_at end,
    resting_until = greatest(
      case when is_late then health.resting_until end,
      case when told.asked > 0 then note_health.now + least(make_interval(secs => least(told.asked, 86400)), longest_asked_rest) end,
      case
        when not told.is_well and health.failures + told.failed >= failures_until_rest then
          note_health.now + least(shortest_rest * 2 ^ least(health.failures + told.failed - failures_until_rest, 10), longest_rest)
      end
    )
  where health.queue_id = own_id
  returning health.* into known;
  if known.failing_since <= note_health.now - longest_failing then
    perform postbag.disable_endpoint((select own.name from postbag.endpoint as own where own.queue_id = own_id), 'failing', note_health.now);
  end if;
end
$$;
--! EndIncluded functions/note_health.sql
--! Included functions/note_look.sql
/* postbag.note_look: note when this session looks back the next time, after a look back that began at `started`
 * (functions/receive_in_full.sql, where `look` is explained): a near one, or a full one, which is announced to the others if it took long. */
create or replace function postbag.note_look(
  source_id bigint, top_priority integer, look bigint[], is_full boolean, started timestamptz, now timestamptz
)
returns void
language plpgsql
as $$
declare
  now_us constant bigint := postbag.microseconds(note_look.now);
  took_us constant bigint := postbag.microseconds(clock_timestamp()) - postbag.microseconds(started);
  expensive_us constant bigint := 2000;
  longest_near_pause_us constant bigint := 1000000;
  first_pause_us constant bigint := 100000;
  longest_pause_us constant bigint := 60000000;
begin
  look[2] := now_us + least(20 * took_us, longest_near_pause_us);
  if is_full then
    look[4] := took_us;
    look[5] := least(20 * took_us, greatest(4 * look[5], first_pause_us), longest_pause_us);
    look[3] := now_us + look[5];
    -- (In a transaction with a snapshot of its own, writing that row could fail for no reason of the caller's.)
    if took_us >= expensive_us and postbag.sees_commits() then
      perform postbag.announce_sweep(source_id, note_look.top_priority, look[3], look[5]);
    end if;
  end if;
  perform set_config('postbag.look_' || source_id % 256, array_to_string(look, ':'), false);
end
$$;
--! EndIncluded functions/note_look.sql
--! Included functions/outbox_trigger.sql
/* postbag.outbox_trigger: what a statement changes in a table is sent to a queue, in the statement's transaction: one message per row, in the
 * order in which the rows were changed; all of them, or the statement fails. postbag.send_changes makes its triggers; by hand:
 *
 *   create trigger … after insert on orders referencing new table as new_rows
 *     for each statement execute function postbag.outbox_trigger('order-changes', '{"group_column": "id"}')
 *
 * (update: old table as old_rows new table as new_rows; delete: old table as old_rows). The second argument may be left out. What its fields
 * mean, and what a message holds: postbag.send_changes.
 *
 *  1. For each statement, because a row's own trigger would send row by row. A call of send_batch takes up to 1000 rows, or 16 MiB.
 *  2. What an update made of a row is found by position: Postgres notes both versions of a row together, so the n-th of one table became
 *     the n-th of the other. (Keys may change, and a table need not have one.) Where that cannot be, because a trigger of the table's own
 *     swallowed a row on its way to another partition, there are fewer new rows than old ones, and the statement is refused.
 *  3. `changed.*` is the row, whatever its columns are called; `changed` would be the column of that name if there is one.
 *  4. Columns that are not sent are not read: to_jsonb refuses some values of json (\u0000).
 *  5. With the rights of who changes the table: he needs those of a sender. (With the owner's, whoever has a table could send anywhere.)
 *     The rows come from the statement, not from the table: its row-level security hides none. */
create or replace function postbag.outbox_trigger()
returns trigger
language plpgsql
as $$
declare
  queue constant text := tg_argv[0];
  options constant jsonb := postbag.change_options(tg_relid, coalesce(tg_argv[1], '{}')::jsonb);
  chosen constant text := options ->> 'read';
  befores refcursor;
  afters refcursor;
  before jsonb;
  after jsonb;
  message jsonb;
  messages jsonb[] := '{}';
  bytes bigint := 0;
begin
  perform postbag.check_outbox_trigger(tg_relid, tg_name, tg_op, tg_argv);
  if tg_op <> 'INSERT' then
    if chosen is null then
      open befores for select to_jsonb(changed.*) from old_rows as changed;
    else
      open befores for execute format('select to_jsonb(changed.*) from (select %s from old_rows) as changed', chosen);
    end if;
  end if;
  if tg_op <> 'DELETE' then
    if chosen is null then
      open afters for select to_jsonb(changed.*) from new_rows as changed;
    else
      open afters for execute format('select to_jsonb(changed.*) from (select %s from new_rows) as changed', chosen);
    end if;
  end if;

  loop
    if tg_op <> 'INSERT' then
      fetch befores into before;
    end if;
    if tg_op <> 'DELETE' then
      fetch afters into after;
    end if;
    exit when before is null and after is null;
    if tg_op = 'UPDATE' and (before is null or after is null) then
      perform postbag.refuse('PB002', format(
        'an update of table %s that sends its changes must keep every row, got one that another trigger swallowed', tg_relid::regclass
      ));
    end if;
    message := postbag.change_message(tg_table_schema, tg_table_name, lower(tg_op), before, after, options);
    continue when message is null;

    messages := messages || message;
    bytes := bytes + pg_column_size(message);
    if cardinality(messages) = 1000 or bytes > 16777216 then
      perform from postbag.send_batch(queue, to_jsonb(messages));
      messages := '{}';
      bytes := 0;
    end if;
  end loop;
  if messages <> '{}' then
    perform from postbag.send_batch(queue, to_jsonb(messages));
  end if;
  return null;
end
$$;
--! EndIncluded functions/outbox_trigger.sql
--! Included functions/publish.sql
/* postbag.publish: publish one message to an exchange, in the caller's transaction; returns how many queues it reached.
 * `select postbag.publish('events', '{"id": 1}', routing_key => 'order.created')`. What the values mean: postbag.publish_batch. */
create or replace function postbag.publish(
  exchange text,
  body jsonb,
  routing_key text default '',
  type text default null,
  headers jsonb default null,
  priority integer default null,
  delay interval default null,
  dedup_id text default null,
  encoding text default null,
  content_type text default null,
  group_key text default null,
  ttl interval default null,
  available_at timestamptz default null,
  mandatory boolean default false,
  now timestamptz default clock_timestamp()
)
returns integer
language plpgsql
as $$
begin
  return (
    select published.queues
    from postbag.publish_batch(
      publish.exchange,
      jsonb_build_array(postbag.message_of(
        publish.body, publish.type, publish.headers, publish.encoding, publish.content_type, publish.priority, publish.delay, publish.dedup_id,
        publish.group_key, publish.ttl, publish.available_at, routing_key => publish.routing_key
      )),
      publish.mandatory,
      publish.now
    ) as published
  );
end
$$;
--! EndIncluded functions/publish.sql
--! Included functions/publish_batch.sql
/* postbag.publish_batch: publish 1 to 1000 messages to one exchange, in the caller's transaction: each queue that a message reaches
 * (functions/route.sql) gets one copy, all or none. One row per message, in the order given: how many queues it reached.
 * A message is what it is for postbag.send_batch, and may have besides
 *
 *   routingKey   up to 255 characters; '' by default
 *
 * Receivers find where it came from in its headers, postbag-exchange and postbag-routing-key. To each queue go its own defaults and limits;
 * who publishes does not know the queues, so a priority counts up to what the queue allows, and a group is left out where the queue is lifo.
 * PB010 if there is no such exchange; with `mandatory` PB013 if a message reaches no queue; PB004 if a queue is full: then nothing is sent.
 * `alone` says that this call is the whole transaction: then the relaxed durability of the queues counts, if all of them are.
 *
 * What goes to plain queues (postbag.queue.sends_plainly) and is plain itself is one insert for all of them, with a shorter way for one message
 * whose body is not shared (functions/publish_one.sql); else each queue has its own send, in the order of their ids. */
create or replace function postbag.publish_batch(
  exchange text, messages jsonb, mandatory boolean default false, now timestamptz default clock_timestamp(), alone boolean default false
)
returns table (queues integer)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  -- One message with nothing but a body and, perhaps, a type and headers, as most publishes are.
  is_simple constant boolean := case
    when jsonb_typeof(messages -> 0) = 'object' and messages -> 1 is null then
      messages -> 0 ?| '{json,body}'
      and (messages -> 0) - '{json,body,type,contentType,headers,routingKey}'::text[] = '{}'
      and coalesce(jsonb_typeof(messages -> 0 -> 'routingKey') = 'string' and length(messages -> 0 ->> 'routingKey') <= 255, true)
    else false
  end;
  -- A copy each: which message, and to which queue.
  copy_numbers integer[];
  copy_ids bigint[];
  has_filters boolean;
  -- By number, if some endpoint looks into them.
  contents jsonb[];
  are_plain boolean;
  are_kept boolean;
  are_relaxed boolean;
  are_awaited boolean;
  lost integer;
begin
  if postbag.is_restricted() then
    return query
      select published.queues
      from json_to_recordset(postbag.as_granted('publish', publish_batch.exchange, jsonb_build_object(
        'messages', publish_batch.messages, 'mandatory', publish_batch.mandatory, 'alone', publish_batch.alone
      ))) as published (queues integer);
    return;
  end if;
  if not is_simple then
    perform postbag.check_publications(messages);
  end if;
  has_filters := exists (select from postbag.endpoint where endpoint.filter is not null);
  if has_filters and exists (select from postbag.endpoint where endpoint.filter ? 'body') then
    contents := array(
      select postbag.content_as_jsonb(given.message)
      from jsonb_array_elements(messages) with ordinality as given (message, number)
      order by given.number
    );
  end if;
  select array_agg(copy.number), array_agg(copy.queue_id) into copy_numbers, copy_ids
  from (
    select distinct way.queue_id, way.number
    from postbag.route(publish_batch.exchange, publish_batch.messages) as way
    where way.queue_id is not null
      and not (has_filters and exists (
        select from postbag.endpoint
        where endpoint.queue_id = way.queue_id
          and not postbag.passes_filter(
            endpoint.filter, messages -> (way.number - 1) -> 'headers',
            -- (One that did not look into them a moment ago may do so now.)
            case when endpoint.filter ? 'body'
              then coalesce(contents[way.number], postbag.content_as_jsonb(messages -> (way.number - 1)))
            end
          )
      ))
    order by way.queue_id, way.number
    -- (One more than there may be.)
    limit 100001
  ) as copy;
  if cardinality(copy_ids) > 100000 then
    perform postbag.refuse('PB003', 'a publish must make at most 100000 copies, got more: publish fewer messages at a time');
  end if;
  if mandatory then
    select place into lost
    from generate_series(1, jsonb_array_length(messages)) as place
    where place <> all (coalesce(copy_numbers, '{}'))
    limit 1;
    if lost is not null then
      perform postbag.refuse('PB013', format(
        'a message with mandatory must reach a queue, and messages[%s] with routing key "%s" reaches none from exchange "%s"',
        lost - 1, coalesce(messages -> (lost - 1) ->> 'routingKey', ''), publish_batch.exchange
      ));
    end if;
  end if;

  if copy_ids is not null then
    select
      bool_and(known.sends_plainly and not known.is_volatile and not known.is_one_group), bool_or(known.is_endpoint),
      bool_and(known.durability <> 'full')
    into are_plain, are_kept, are_relaxed
    from postbag.queue as known
    where known.queue_id = any (copy_ids);
    if alone and are_relaxed then
      perform set_config('synchronous_commit', 'off', true);
    end if;
    if is_simple and are_plain and not are_kept and (cardinality(copy_ids) = 1 or octet_length(messages::text) < postbag.least_shared()) then
      perform postbag.publish_one(publish_batch.exchange, messages -> 0, copy_ids, publish_batch.now);
      queues := cardinality(copy_ids);
      return next;
      return;
    end if;
    if are_plain and messages @? '$[*] ? (exists(@.encoding) || exists(@.priority) || exists(@.delaySeconds) || exists(@.availableAt)
      || exists(@.ttlSeconds) || exists(@.group) || exists(@.dedupId) || exists(@.correlationId) || exists(@.replyTo))'
    then
      are_plain := false;
    end if;
    if are_plain then
      perform postbag.publish_plainly(publish_batch.exchange, messages, copy_numbers, copy_ids, publish_batch.now);
    else
      perform postbag.publish_to_each(publish_batch.exchange, messages, copy_numbers, copy_ids, publish_batch.now);
    end if;
  end if;

  return query
    select coalesce(reached.number, 0)::integer
    from generate_series(1, jsonb_array_length(messages)) as place
    left join (select number.of, count(*) as number from unnest(copy_numbers) as number (of) group by number.of) as reached
      on reached.of = place
    order by place;
end
$$;
--! EndIncluded functions/publish_batch.sql
--! Included functions/publish_one.sql
/* postbag.publish_one: the copies of a publish of one message, one for each of the queues: JSON with nothing but a type and headers, which no two
 * of them share, to queues that send plainly. What postbag.publish_plainly does, in a fraction of its time: most publishes are like this. */
create or replace function postbag.publish_one(exchange text, message jsonb, copy_ids bigint[], now timestamptz)
returns void
language plpgsql
as $$
declare
  sent_type constant text := message ->> 'type';
  sent_content_type constant text := message ->> 'contentType';
  sent_headers constant jsonb := postbag.published_headers(
    case
      when not message ? 'headers' or message -> 'headers' = 'null' then null
      when postbag.is_string_map(message -> 'headers') then message -> 'headers'
      else postbag.refuse('PB002', format('headers must be an object of strings, got %s', message -> 'headers'))::jsonb
    end,
    publish_one.exchange, message ->> 'routingKey'
  );
  sent_body constant text := coalesce((message ->> 'json')::json::text, (message -> 'body')::text, 'null');
begin
  insert into postbag.message (queue_id, message_id, available_at, sent_at, encoding, type, content_type, headers, body)
  select
    target.queue_id, nextval('postbag.message_id'), publish_one.now + target.delay, publish_one.now, 'json',
    sent_type, sent_content_type, sent_headers, sent_body
  from postbag.queue as target
  where target.queue_id = any (copy_ids)
    and postbag.keeps_rules('json', sent_type, sent_content_type, sent_headers, null, sent_body, null);

  perform
    case
      when not postbag.is_counted(target.sent_setting, target.queue_id, 1, publish_one.now)
        then postbag.tick('sent', target.queue_id, 1, publish_one.now)
    end,
    case when postbag.is_awaited(target.wake_slot) then postbag.wake(target.name) end
  from postbag.queue as target
  where target.queue_id = any (copy_ids);
end
$$;
--! EndIncluded functions/publish_one.sql
--! Included functions/publish_plainly.sql
/* postbag.publish_plainly: one insert for all copies (copy_numbers, copy_ids) of a publish: JSON messages with nothing but a type and
 * headers, to queues that send plainly. What each message holds is read and checked once, however many copies it has. A large body of
 * several copies is stored once (postbag.body), and read by each of them; so is every body that goes to an endpoint, where it is kept. */
create or replace function postbag.publish_plainly(exchange text, messages jsonb, copy_numbers integer[], copy_ids bigint[], now timestamptz)
returns void
language plpgsql
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
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
    select placed.number, placed.queue_id, placed.delay, placed.is_endpoint, nextval('postbag.message_id') as message_id
    from (
      select copy.number, target.queue_id, target.delay, target.is_endpoint
      from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
      join postbag.queue as target on target.queue_id = copy.queue_id
      order by copy.queue_id, copy.number
    ) as placed
  ),
  shared as materialized (
    select
      nextval('postbag.body_id') as body_id, checked.*, many.queue_ids, many.message_ids,
      case when many.are_kept then publish_plainly.now + postbag.kept_for() end as kept_until
    from checked
    join (
      select
        copied.number, array_agg(copied.queue_id) as queue_ids, array_agg(copied.message_id) as message_ids,
        bool_or(copied.is_endpoint) as are_kept
      from copied
      group by copied.number
    ) as many on many.number = checked.number
    where many.are_kept or (cardinality(many.queue_ids) > 1 and octet_length(checked.body) >= postbag.least_shared())
  ),
  stored as (
    insert into postbag.body (body_id, queue_ids, message_ids, body, kept_until, encoding, type, content_type, headers)
    select
      shared.body_id, shared.queue_ids, shared.message_ids, shared.body, shared.kept_until, 'json', shared.type, shared.content_type,
      shared.headers
    from shared
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
      when not postbag.is_counted(target.sent_setting, target.queue_id, reached.number, publish_plainly.now)
        then postbag.tick('sent', target.queue_id, reached.number, publish_plainly.now)
    end,
    case when postbag.is_awaited(target.wake_slot) then postbag.wake(target.name) end
  from (select copy.queue_id, count(*) as number from unnest(copy_ids) as copy (queue_id) group by copy.queue_id) as reached
  join postbag.queue as target on target.queue_id = reached.queue_id;
end
$$;
--! EndIncluded functions/publish_plainly.sql
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
  if postbag.sees_commits() and current_setting('transaction_read_only') = 'off' then
    perform postbag.tidy(source, 1000, redrive.now);
  end if;
  perform postbag.check_redrive(source, redrive.ids, redrive.target, redrive.headers, redrive.reason, redrive.max_messages, redrive.rate);

  for candidate in
    select letter.message_id, letter.dead_at,
      (redrive.type is null or letter.type = redrive.type collate "C")
        and (redrive.headers is null or coalesce(letter.headers, '{}') @> redrive.headers)
        and (redrive.group_key is null or letter.group_key = redrive.group_key collate "C")
        and (redrive.min_age is null or letter.dead_at <= redrive.now - redrive.min_age)
        and (redrive.max_age is null or letter.dead_at >= redrive.now - redrive.max_age)
        and (redrive.error_contains is null or strpos(letter.last_error, redrive.error_contains collate "C") > 0)
        and (redrive.reason is null or letter.deaths -> -1 ->> 'reason' = redrive.reason collate "C")
        and (letter.leased_until is null or letter.leased_until <= redrive.now)
        -- (What has expired is not there any more, though it may not have been removed yet.)
        and (letter.expires_at is null or letter.expires_at > redrive.now) as fits
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
--! Included functions/redrive_cursor.sql
/* postbag.redrive_cursor: the three numbers of a redrive's `after`; null if none is given, PB002 if it is something else. */
create or replace function postbag.redrive_cursor(after text)
returns bigint[]
language plpgsql
immutable
as $$
begin
  if after collate "C" !~ '^[0-9]{1,17}\.[0-9]{1,18}\.[0-9]{1,17}$' then
    perform postbag.refuse('PB002', format('after must be the next of a redrive, got %L', after));
  end if;
  return string_to_array(after collate "C", '.')::bigint[];
end
$$;
--! EndIncluded functions/redrive_cursor.sql
--! Included functions/remove_orphans.sql
/* postbag.remove_orphans: delete up to `most` messages whose queue is gone (their send committed after delete_queue); how many. Walks
 * the queues that have messages, one index look-up each, in one statement. */
create or replace function postbag.remove_orphans(most integer)
returns bigint
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  orphaned_id bigint;
  deleted bigint;
  total bigint := 0;
begin
  for orphaned_id in
    with recursive walked (queue_id) as (
      select min(message.queue_id) from postbag.message
      union all
      select (select min(next.queue_id) from postbag.message as next where next.queue_id > walked.queue_id)
      from walked
      where walked.queue_id is not null
    )
    select walked.queue_id
    from walked
    where walked.queue_id is not null and not exists (select from postbag.queue as known where known.queue_id = walked.queue_id)
  loop
    exit when total >= most;
    with doomed as materialized (
      select message.message_id from postbag.message where message.queue_id = orphaned_id limit most - total for update skip locked
    )
    delete from postbag.message using doomed where message.queue_id = orphaned_id and message.message_id = doomed.message_id;
    get diagnostics deleted = row_count;
    total := total + deleted;
    perform postbag.forget_queue(orphaned_id);
  end loop;
  return total;
end
$$;
--! EndIncluded functions/remove_orphans.sql
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
language plpgsql
as $$
begin
  return (
    select replied.outcome
    from postbag.send_reply(
      reply.queue,
      reply.reply_to,
      postbag.message_of(
        reply.body, reply.type, reply.headers, reply.encoding, reply.content_type, correlation_id => reply.correlation_id
      ),
      reply.receipt,
      reply.now
    ) as replied
  );
end
$$;
--! EndIncluded functions/reply.sql
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
      where known.name = split_part(awaited collate "C", '/', 2) and reply.reply_id = split_part(awaited collate "C", '/', 3)::bigint
    ),
    '-infinity'
  )
$$;
--! EndIncluded functions/reply_available_at.sql
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
language plpgsql
as $$
begin
  return query
    select sent.*
    from postbag.send_request(
      request.queue,
      postbag.message_of(
        request.body, request.type, request.headers, request.encoding, request.content_type, request.priority, request.delay, request.dedup_id,
        request.group_key, request.ttl, request.available_at, request.correlation_id
      ),
      request.keep,
      request.now
    ) as sent;
end
$$;
--! EndIncluded functions/request.sql
--! Included functions/resend.sql
/* postbag.resend: deliver an event to an endpoint once more, whatever came of it before: the id of the new delivery. Receivers see the same
 * webhook-id. PB014; PB015 if the event is not kept any more; PB004 if the endpoint's queue is full. */
create or replace function postbag.resend(endpoint text, event_id text, now timestamptz default clock_timestamp())
returns text
language plpgsql
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(resend.endpoint);
  target constant postbag.queue := postbag.queue_named('webhooks.' || own.name);
  event postbag.body;
  new_id bigint;
begin
  if event_id collate "C" ~ '^evt_[0-9]{1,18}$' then
    select kept.* into event from postbag.body as kept where kept.body_id = substr(event_id, 5)::bigint and kept.kept_until > resend.now for update;
  end if;
  if event.body_id is null then
    perform postbag.refuse('PB015', format('event %s does not exist, or is not kept any more', event_id));
  end if;
  new_id := nextval('postbag.message_id');
  if target.max_messages is not null or target.max_bytes is not null then
    perform postbag.make_room(
      target,
      jsonb_build_array(case event.encoding
        when 'json' then jsonb_build_object('json', event.body)
        else jsonb_build_object('encoding', event.encoding, 'body', event.body)
      end),
      array[new_id], null, resend.now
    );
  end if;
  insert into postbag.message (
    queue_id, message_id, available_at, sent_at, encoding, type, content_type, headers, expires_at, ttl_ends_at, body_id
  )
  values (
    target.queue_id, new_id, resend.now, resend.now, event.encoding, event.type, event.content_type, event.headers,
    resend.now + target.ttl, resend.now + target.ttl, event.body_id
  );
  update postbag.body
  set queue_ids = body.queue_ids || target.queue_id, message_ids = body.message_ids || new_id,
    -- (For who forgets it just now and waits for this row: it cannot see the new message yet.)
    kept_until = greatest(body.kept_until, resend.now + interval '1 hour')
  where body.body_id = event.body_id;
  perform postbag.wake('webhooks.' || own.name);
  return new_id::text;
end
$$;
--! EndIncluded functions/resend.sql
--! Included functions/rotate_secret.sql
/* postbag.rotate_secret: from now on a new secret of an endpoint signs (sealed: made by who signs), and those before it for `overlap` longer, so that
 * receivers have time to change: the endpoint. At most ten sign, the oldest goes. PB014, PB002. */
create or replace function postbag.rotate_secret(
  endpoint text, sealed text, overlap interval default '1 day', now timestamptz default clock_timestamp()
)
returns setof postbag.endpoint_info
language plpgsql
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(rotate_secret.endpoint);
begin
  if overlap is null or overlap not between interval '0 s' and interval '604800 s' then
    perform postbag.refuse('PB002', format('overlapSeconds must be between 0 and 604800, got %s', extract(epoch from overlap)::double precision));
  end if;
  update postbag.endpoint as known
  set
    secrets = jsonb_build_array(jsonb_build_object('sealed', sealed)) || coalesce((
      select jsonb_agg(former.secret order by former.number)
      from (
        select
          given.number,
          given.secret || jsonb_build_object('until', least((given.secret ->> 'until')::timestamptz, rotate_secret.now + overlap)) as secret
        from jsonb_array_elements(known.secrets) with ordinality as given (secret, number)
        order by given.number
        limit 9
      ) as former
      where (former.secret ->> 'until')::timestamptz > rotate_secret.now
    ), '[]'),
    updated_at = greatest(rotate_secret.now, known.created_at + interval '1 microsecond')
  where known.queue_id = own.queue_id;
  if not found then
    -- It has been deleted meanwhile.
    perform postbag.endpoint_named(rotate_secret.endpoint);
  end if;
  return query select info.* from postbag.endpoint_info as info where info.name = own.name collate "C";
end
$$;
--! EndIncluded functions/rotate_secret.sql
--! Included functions/route.sql
/* postbag.route: where the messages of a publish go: a row per binding that fits, on every exchange that they come to. A message is a JSON
 * object, of which `routingKey` and `headers` count. PB010 if there is no such exchange.
 *
 *  1. The exchange's bindings are matched (functions/match.sql). A binding leads to a queue, or to another exchange, which goes on in
 *     the same way; a message comes to each exchange once, so cycles do no harm, and a queue that is reached twice is one queue.
 *  2. A message that fits no binding of an exchange comes to its alternate exchange, if it has one, and that one is there.
 *  3. The exchange "default" is always there: it leads to the queue that is named by the routing key, also as an alternate. It has no bindings. */
create or replace function postbag.route(exchange text, messages jsonb)
returns table (number integer, exchange_id bigint, binding_id bigint, queue_id bigint, target_id bigint, is_alternate boolean)
language plpgsql
stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  -- By number, which begins at 1.
  keys constant text[] := array(
    select coalesce(sent.message ->> 'routingKey', '') from jsonb_array_elements(messages) with ordinality as sent (message, number)
    order by sent.number
  );
  headers constant jsonb[] := array(
    select case when jsonb_typeof(sent.message -> 'headers') = 'object' then sent.message -> 'headers' else '{}' end
    from jsonb_array_elements(messages) with ordinality as sent (message, number)
    order by sent.number
  );
  source postbag.exchange;
  -- Who is at an exchange that is still to be looked at; and who has come where, looked at or not: pairs, in parallel.
  waiting_numbers integer[] := '{}';
  waiting_ids bigint[] := '{}';
  come_numbers integer[];
  come_ids bigint[];
  new_numbers integer[];
  new_ids bigint[];
  here integer[];
  here_keys text[] := keys;
  here_headers jsonb[] := headers;
  hit_numbers integer[];
  hit_ids bigint[];
  hit_queues bigint[];
  hit_targets bigint[];
  strays integer[];
begin
  if route.exchange = 'default' then
    return query
      select asked.number::integer, null::bigint, null::bigint, known.queue_id, null::bigint, false
      from unnest(keys) with ordinality as asked (key, number)
      join postbag.queue as known on known.name = asked.key collate "C";
    return;
  end if;
  source := postbag.exchange_named(route.exchange);
  here := array(select generate_subscripts(keys, 1));
  come_numbers := here;
  come_ids := array_fill(source.exchange_id, array[cardinality(here)]);

  loop
    select array_agg(hit.number), array_agg(hit.binding_id), array_agg(binding.queue_id), array_agg(binding.target_id)
    into hit_numbers, hit_ids, hit_queues, hit_targets
    from postbag.match(source.exchange_id, source.type, here, here_keys, here_headers) as hit
    join postbag.binding on binding.binding_id = hit.binding_id;
    return query
      select hit.number, source.exchange_id, hit.binding_id, hit.queue_id, hit.target_id, false
      from unnest(hit_numbers, hit_ids, hit_queues, hit_targets) as hit (number, binding_id, queue_id, target_id);

    strays := '{}';
    if source.alternate is not null then
      strays := array(select unnest(here) except select unnest(hit_numbers));
      return query
        select stray.number, source.exchange_id, null::bigint, null::bigint, known.exchange_id, true
        from unnest(strays) as stray (number)
        join postbag.exchange as known on known.name = source.alternate collate "C";
      return query
        select stray.number, source.exchange_id, null::bigint, known.queue_id, null::bigint, true
        from unnest(strays) as stray (number)
        join postbag.queue as known on known.name = keys[stray.number] collate "C"
        where source.alternate = 'default';
    end if;

    if strays <> '{}' or array_remove(hit_targets, null) <> '{}' then
      -- (Compared as two sets: each pair with each other one would be a second for a thousand messages at six exchanges.)
      select coalesce(array_agg(fresh.number), '{}'), coalesce(array_agg(fresh.exchange_id), '{}') into new_numbers, new_ids
      from (
        (
          select hit.number, hit.target_id as exchange_id
          from unnest(hit_numbers, hit_targets) as hit (number, target_id)
          where hit.target_id is not null
          union all
          select stray.number, known.exchange_id
          from unnest(strays) as stray (number)
          join postbag.exchange as known on known.name = source.alternate collate "C"
        )
        except
        select come.number, come.exchange_id from unnest(come_numbers, come_ids) as come (number, exchange_id)
      ) as fresh;
      come_numbers := come_numbers || new_numbers;
      come_ids := come_ids || new_ids;
      waiting_numbers := waiting_numbers || new_numbers;
      waiting_ids := waiting_ids || new_ids;
    end if;

    exit when waiting_ids = '{}';
    -- The next exchange, with all who wait for it.
    select known.* into source
    from unnest(waiting_ids) as waiting (exchange_id)
    join postbag.exchange as known on known.exchange_id = waiting.exchange_id
    limit 1;
    exit when not found;
    select
      array_agg(waiting.number) filter (where waiting.exchange_id = source.exchange_id),
      coalesce(array_agg(waiting.number) filter (where waiting.exchange_id <> source.exchange_id), '{}'),
      coalesce(array_agg(waiting.exchange_id) filter (where waiting.exchange_id <> source.exchange_id), '{}')
    into here, waiting_numbers, waiting_ids
    from unnest(waiting_numbers, waiting_ids) as waiting (number, exchange_id);
    here_keys := array(select keys[place] from unnest(here) as place);
    here_headers := array(select headers[place] from unnest(here) as place);
  end loop;
end
$$;
--! EndIncluded functions/route.sql
--! Included functions/save_queue.sql
/* postbag.save_queue: write down a queue with all its settings, new or in place of the one of that name; whether it did: not if that one's
 * messages are stored elsewhere. */
create or replace function postbag.save_queue(wanted postbag.queue, now timestamptz)
returns boolean
language plpgsql
as $$
declare
  is_saved boolean;
begin
  insert into postbag.queue as known (
    name, delivery_order, max_priority, top_priority, group_mode, lease, delay, ttl, max_attempts, retry_delay, retry_backoff,
    retry_max_delay, retry_jitter, dead_letter_queue, dead_letter_exchange, dead_letter_routing_key, dead_letter_retention,
    dedup_window, dedup_by, dedup_scope, max_messages, max_bytes, overflow, max_in_flight, rate, burst, group_rate, group_burst,
    durability, explicit, created_at, updated_at
  )
  values (
    wanted.name, wanted.delivery_order, wanted.max_priority, wanted.max_priority, wanted.group_mode, wanted.lease, wanted.delay,
    wanted.ttl, wanted.max_attempts, wanted.retry_delay, wanted.retry_backoff, wanted.retry_max_delay, wanted.retry_jitter,
    wanted.dead_letter_queue, wanted.dead_letter_exchange, wanted.dead_letter_routing_key, wanted.dead_letter_retention,
    wanted.dedup_window, wanted.dedup_by, wanted.dedup_scope, wanted.max_messages, wanted.max_bytes, wanted.overflow,
    wanted.max_in_flight, wanted.rate, wanted.burst, wanted.group_rate, wanted.group_burst, wanted.durability,
    wanted.explicit, save_queue.now, save_queue.now
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
    dead_letter_exchange = excluded.dead_letter_exchange,
    dead_letter_routing_key = excluded.dead_letter_routing_key,
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
    explicit = excluded.explicit,
    -- Later than created_at even if the clock stands still: that is how "replaced" is told from "created".
    updated_at = greatest(excluded.updated_at, known.created_at + interval '1 microsecond')
  -- (Somebody else may have created it since the caller looked.)
  where known.is_volatile = (excluded.durability = 'volatile');
  is_saved := found;
  -- (What came by other ways than a send while there was no limit drew no ids: so the next send counts.)
  update postbag.tally
  set newest_id = 0
  from postbag.queue as known
  where known.name = wanted.name and known.max_messages is not null and tally.queue_id = known.queue_id and tally.newest_id <> 0;
  return is_saved;
end
$$;
--! EndIncluded functions/save_queue.sql
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
  if after collate "C" !~ '^[0-9]{1,18}$' then
    perform postbag.refuse('PB002', format('after must be the id of a message, got %L', after));
  elsif search.of_state not in ('ready', 'leased', 'delayed', 'blocked', 'dead') then
    perform postbag.refuse('PB002', format('state must be ready, leased, delayed, blocked or dead, got %L', search.of_state));
  end if;

  return query
    select
      message.message_id::text,
      seen.state,
      case when message.body is null then postbag.body_of(message.bytes, message.body_id) else message.body::text end,
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
    where (search.of_type is null or message.type = search.of_type collate "C")
      and (search.of_headers is null or coalesce(message.headers, '{}') @> search.of_headers)
      and (search.of_group is null or message.group_key = search.of_group collate "C")
      and (search.min_age is null or message.sent_at <= search.now - search.min_age)
      and (search.max_age is null or message.sent_at >= search.now - search.max_age)
      and (search.body_contains is null or strpos(
        case when message.body_id is null then message.body else postbag.body_of(null, message.body_id) end, search.body_contains collate "C"
      ) > 0)
      and (search.of_reason is null or (message.dead_at is not null and message.deaths -> -1 ->> 'reason' = search.of_reason collate "C"))
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
--! Included functions/sees_commits.sql
/* postbag.sees_commits: whether each statement of this transaction sees what others have committed before it; not where the transaction has a snapshot
 * of its own. (To Postgres read uncommitted is read committed, and is called as it was asked for.) */
create or replace function postbag.sees_commits()
returns boolean
language sql
stable
return current_setting('transaction_isolation') in ('read committed', 'read uncommitted');
--! EndIncluded functions/sees_commits.sql
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
language plpgsql
as $$
begin
  return (
    select sent.id
    from postbag.send_batch(
      send.queue,
      jsonb_build_array(postbag.message_of(
        send.body, send.type, send.headers, send.encoding, send.content_type, send.priority, send.delay, send.dedup_id,
        send.group_key, send.ttl, send.available_at, send.correlation_id, send.reply_to
      )),
      send.now
    ) as sent
  );
end
$$;
--! EndIncluded functions/send.sql
--! Included functions/send_batch.sql
/* postbag.send_batch: put 1 to 1000 messages into one queue, all or none, in the caller's transaction; one row per message, in
 * the order given. A message is a JSON object (the same words as over HTTP):
 *
 *   body          any JSON value; with encoding 'text' or 'base64' a string
 *   json          instead of body: JSON in a string, kept byte for byte (a body is kept as Postgres prints jsonb)
 *   encoding      'json' (default) | 'text' | 'base64'
 *   type, contentType, headers {name: string; those that say where a published message came from are left out}
 *   priority      0 – the queue's max_priority
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
  noted text;
  stored integer := 0;
begin
  if postbag.is_restricted() then
    return query
      select sent.id, sent.duplicate
      from json_to_recordset(postbag.as_granted('send', send_batch.queue, jsonb_build_object(
        'messages', send_batch.messages, 'alone', send_batch.alone
      ))) as sent (id text, duplicate boolean);
    return;
  end if;
  select
    known.queue_id, known.is_volatile, known.sends_plainly, known.delay, known.sent_setting, known.wake_slot,
    known.note_prefix || date_part('epoch', send_batch.now)::bigint || ':' as counting,
    known.sends_plainly and case
      when jsonb_typeof(messages -> 0) = 'object'
        then messages -> 0 ?| '{json,body}' and (messages -> 0) - '{json,body,type}'::text[] = '{}'
      else false
    end as is_plain,
    case when send_batch.alone and known.durability = 'relaxed' then set_config('synchronous_commit', 'off', true) end
  into target
  from postbag.queue as known
  where known.name = send_batch.queue collate "C";

  if target.is_volatile then
    return query select * from postbag.volatile_send_batch(send_batch.queue, send_batch.messages, send_batch.now, send_batch.alone);
    return;
  end if;
  if target.is_plain then
    if jsonb_array_length(messages) = 1 then
      return query
        insert into postbag.message (queue_id, message_id, available_at, sent_at, encoding, type, body)
        values (
          target.queue_id, nextval('postbag.message_id'), send_batch.now + target.delay, send_batch.now, 'json',
          case
            when length(messages -> 0 ->> 'type') not between 1 and 255 then postbag.break_rule('message_type_is_at_most_255_characters')
            else messages -> 0 ->> 'type'
          end,
          case
            when octet_length(coalesce(messages -> 0 ->> 'json', (messages -> 0 -> 'body')::text)) > 1048576
              then postbag.break_rule('message_body_is_at_most_1_mib')
            else coalesce((messages -> 0 ->> 'json')::json::text, (messages -> 0 -> 'body')::text, 'null')
          end
        )
        -- (The id that was just drawn for this row. To name the column, a sender would need a right to read messages.)
        returning currval('postbag.message_id')::text, false;
    else
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
        where sent.are_plain and jsonb_array_length(messages) <= 1000
        returning currval('postbag.message_id')::text, false;
    end if;
    get diagnostics stored = row_count;
  end if;
  if stored = 0 then
    -- (And this session has nothing to tidy now.)
    if alone and target.sends_plainly and messages -> 0 ? 'group' and starts_with(current_setting(target.sent_setting, true), target.counting collate "C") then
      return query select * from postbag.send_to_groups(target.queue_id, target.delay, send_batch.messages, send_batch.now);
      get diagnostics stored = row_count;
    end if;
    if stored = 0 then
      return query
        select * from postbag.send_in_full(send_batch.queue, postbag.without_origin(send_batch.messages), send_batch.now, send_batch.alone);
      return;
    end if;
  end if;

  -- (What postbag.is_counted does; in statements of their own its parts are made ready once, not four times.)
  noted := current_setting(target.sent_setting, true);
  if starts_with(noted, target.counting collate "C") and octet_length(noted) < 2000 then
    noted := set_config(target.sent_setting, noted || jsonb_array_length(messages) || ':', false);
  else
    perform postbag.tick('sent', target.queue_id, jsonb_array_length(messages), send_batch.now);
  end if;
  if postbag.is_awaited(target.wake_slot) then
    perform postbag.wake(send_batch.queue);
  end if;
end
$$;
--! EndIncluded functions/send_batch.sql
--! Included functions/send_changes.sql
/* postbag.send_changes: from now on every change of a table's rows is sent to a queue, in the transaction of the change
 * (functions/outbox_trigger.sql). Called again for the same table and queue, what it says now counts. Returns how many triggers there are: one
 * per event. For who may make triggers on the table; `select on postbag.queue` is needed, too.
 *
 *   columns       which columns a message has, and whose changes count: an update that changes none of them sends nothing. Default all,
 *                 also those that the table gets later
 *   events        which of insert, update, delete
 *   group_column  the message's group is the value of this column: changes of one entity are received in order. Null is no group. It need
 *                 not be among the columns; after an update it is the new value
 *   type          the type is this (1 – 200 characters, default the table's name), a dot, and the operation: orders.insert
 *   images        which of before and after
 *
 * A message's body is {"schema", "table", "operation": "insert" | "update" | "delete", "before": {…} | null, "after": {…} | null}, and for
 * an update "changed": [names of columns]. Values are what to_jsonb makes of them. */
create or replace function postbag.send_changes(
  relation regclass,
  queue text,
  columns text[] default null,
  events text[] default '{insert,update,delete}',
  group_column text default null,
  type text default null,
  images text[] default '{before,after}'
)
returns integer
language plpgsql
as $$
declare
  known constant text[] := '{insert,update,delete}';
  options constant jsonb := jsonb_strip_nulls(jsonb_build_object(
    'columns', send_changes.columns, 'group_column', send_changes.group_column, 'type', send_changes.type, 'images', send_changes.images
  ));
  place record;
  event text;
  virtual text;
begin
  perform postbag.queue_named(send_changes.queue);
  select named.name into virtual
  from unnest(send_changes.columns || send_changes.group_column) as named (name)
  where postbag.change_options(relation, options) -> 'virtual' ? named.name
  limit 1;
  if virtual is not null then
    perform postbag.refuse('PB002', format(
      'column "%s" of table %s must be stored to be sent, got one that is computed when it is read', virtual, relation
    ));
  end if;
  if coalesce(cardinality(events), 0) = 0 or not events <@ known then
    perform postbag.refuse('PB002', format('events must be a list of insert, update and delete, got %s', coalesce(events::text, 'null')));
  end if;

  perform postbag.stop_sending_changes(relation, send_changes.queue);
  select space.nspname as in_schema, class.relname as name into place
  from pg_catalog.pg_class as class
  join pg_catalog.pg_namespace as space on space.oid = class.relnamespace
  where class.oid = relation;
  foreach event in array known loop
    continue when event <> all (events);
    execute format(
      'create trigger %I after %s on %I.%I referencing %s for each statement execute function postbag.outbox_trigger(%L, %L)',
      postbag.change_trigger_name(event, send_changes.queue),
      event,
      place.in_schema,
      place.name,
      case event
        when 'insert' then 'new table as new_rows'
        when 'update' then 'old table as old_rows new table as new_rows'
        when 'delete' then 'old table as old_rows'
      end,
      send_changes.queue,
      options
    );
  end loop;
  return cardinality(array(select distinct chosen.event from unnest(events) as chosen (event)));
end
$$;
--! EndIncluded functions/send_changes.sql
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
    when reply_to collate "C" ~ '^~[0-9]{1,18}\.[0-9]{1,18}\.[0-9a-f]{32}$' then string_to_array(substr(reply_to, 2) collate "C", '.')
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
  elsif not starts_with(reply_to collate "C", '~') then
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
    and reply.reply_key = address[3] collate "C"
    and reply.expires_at > send_reply.now
    and reply.replied_at is null;
  if not found then
    select case when count(*) > 0 then 'already_replied' else 'reply_not_found' end into outcome
    from postbag.reply
    where reply.queue_id = address[1]::bigint
      and reply.reply_id = address[2]::bigint
      and reply.reply_key = address[3] collate "C"
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
    or not postbag.sees_commits()
    or not has_table_privilege('postbag.message', 'select')
    or jsonb_array_length(messages) > 1000
  then
    return;
  end if;
  select
    array_agg(distinct target_id || ':' || (given.message ->> 'group')) as groups,
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

  perform postbag.lock_groups(sent.groups);
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
--! Included functions/set_endpoint.sql
/* postbag.set_endpoint: create an endpoint, or replace the whole configuration of the one that has this name, but its secrets, if none are given.
 * From now on, what is published to `exchange` with a routing key that one of the event types fits is delivered to the URL.
 *   event_types    patterns as those of topic exchanges: '#' is everything, and all that there is of an exchange of type fanout; one of type
 *                  direct knows no patterns
 *   filter         {"headers": {…}, "body": {…}}: only events whose headers and JSON body contain all that
 *   headers        of the requests: {"name": "value"}
 *   retries        how long to wait after each failed attempt; as the specification of Standard Webhooks recommends by default
 *   rate, burst, concurrency   as rate, burst and max_in_flight of postbag.create_queue
 *   ordering       'group': events of a group are delivered one after the other, each after the one before it has arrived or failed for good;
 *                  'endpoint': all are, whatever their groups; 'none'
 *   secrets        what src/webhooks/secrets.ts makes of them; needed for a new one
 *   first_secrets  the same, but an endpoint that has secrets keeps them
 *
 * An endpoint is a queue, webhooks.<name>, with all that a queue can do: its deliveries are leased messages, those that failed for good are its dead
 * letters; it can be looked at, paused, redriven and purged. What deliveries rest upon (their order, attempts and dead letters) is the endpoint's,
 * whatever policies say; they may set a time to live, limits of length and a rate. PB002, PB010. */
create or replace function postbag.set_endpoint(
  endpoint text,
  url text,
  exchange text,
  event_types text[] default '{#}',
  application text default null,
  filter jsonb default null,
  headers jsonb default '{}',
  description text default null,
  metadata jsonb default '{}',
  timeout interval default '15 s',
  retries interval[] default '{5 s,5 min,30 min,2 h,5 h,10 h,14 h,20 h,24 h}',
  rate double precision default null,
  burst integer default null,
  concurrency integer default 10,
  ordering text default 'none',
  secrets jsonb default null,
  first_secrets jsonb default null,
  now timestamptz default clock_timestamp()
)
returns setof postbag.endpoint_info
language plpgsql
as $$
declare
  source constant postbag.exchange := postbag.exchange_named(set_endpoint.exchange);
  queue_name constant text collate "C" := 'webhooks.' || set_endpoint.endpoint;
  present postbag.endpoint;
  own_id bigint;
begin
  -- (As the import does, which comes to exchanges only then.)
  perform from postbag.policy_change for share;
  -- (Where it is published what happens to endpoints.)
  insert into postbag.exchange (name, type, created_at) values ('postbag', 'topic', set_endpoint.now) on conflict (name) do nothing;
  perform postbag.check_endpoint(source, event_types, filter, headers, metadata, retries);
  if ordering is null or ordering not in ('none', 'group', 'endpoint') then
    perform postbag.refuse('PB002', format('order must be none, group or endpoint, got %s', coalesce(ordering, 'null')));
  end if;
  -- (Else nobody configures it.)
  update postbag.queue as known set is_endpoint = false where known.name = queue_name and known.is_endpoint;
  perform postbag.create_queue(
    queue_name,
    lease => set_endpoint.timeout + interval '45 s',
    group_mode => case when ordering = 'none' then 'fair' else 'ordered' end,
    delivery_order => 'fifo', max_priority => 0, delay => '0 s', dedup_by => 'id', dedup_scope => 'queue',
    without => '{max_attempts,dead_letter_queue,dead_letter_exchange,dead_letter_routing_key,group_rate,group_burst}',
    max_in_flight => set_endpoint.concurrency, rate => set_endpoint.rate, burst => set_endpoint.burst,
    now => set_endpoint.now
  );
  update postbag.queue as known set is_endpoint = true, is_one_group = ordering = 'endpoint' where known.name = queue_name returning known.queue_id into own_id;
  select known.* into present from postbag.endpoint as known where known.queue_id = own_id for update;
  if coalesce(set_endpoint.secrets, present.secrets, set_endpoint.first_secrets) is null then
    perform postbag.refuse('PB002', 'secrets must be given for a new endpoint, got none');
  end if;

  insert into postbag.endpoint as known (
    queue_id, name, application, url, exchange, event_types, filter, headers, description, metadata, timeout, retries, secrets,
    created_at, updated_at
  )
  values (
    own_id, set_endpoint.endpoint, set_endpoint.application, set_endpoint.url, source.name, set_endpoint.event_types,
    set_endpoint.filter, coalesce(set_endpoint.headers, '{}'), set_endpoint.description, coalesce(set_endpoint.metadata, '{}'),
    set_endpoint.timeout, set_endpoint.retries, coalesce(set_endpoint.secrets, present.secrets, set_endpoint.first_secrets),
    set_endpoint.now, set_endpoint.now
  )
  on conflict (queue_id) do update set
    application = excluded.application,
    url = excluded.url,
    exchange = excluded.exchange,
    event_types = excluded.event_types,
    filter = excluded.filter,
    headers = excluded.headers,
    description = excluded.description,
    metadata = excluded.metadata,
    timeout = excluded.timeout,
    retries = excluded.retries,
    secrets = excluded.secrets,
    updated_at = greatest(excluded.updated_at, known.created_at + interval '1 microsecond');
  insert into postbag.endpoint_health (queue_id) values (own_id) on conflict do nothing;
  perform postbag.bind_endpoint(own_id);
  return query select info.* from postbag.endpoint_info as info where info.name = set_endpoint.endpoint collate "C";
end
$$;
--! EndIncluded functions/set_endpoint.sql
--! Included functions/settle_deliveries.sql
/* postbag.settle_deliveries: what came of deliveries, all of a batch in one step. `results` is a JSON array of 1 to 1000 objects:
 *   endpoint, url, receipt   as claimed: what the attempts at another URL than the present one say of the endpoint does not count
 *   outcome                  'delivered' | 'failed' | 'untried' (nobody made the request: the attempt does not count, and is not noted)
 *   startedAt, millis        when the attempt began, and how long it took
 *   status, responseHeaders, responseBody   what the receiver answered
 *   error, detail            what went wrong, if it did not answer or not well
 *   retryAfterSeconds        how long the whole endpoint shall rest, because the receiver has asked for it
 *   isGone                   whether the endpoint shall be disabled, because the receiver said that it is gone (410)
 * One row per result: what became of the receipt, as for postbag.ack. What is said of a message that is not there any more is not noted, and does not
 * count: it may have been another endpoint's, of the same name. Nor does what was noted before: who has not heard so says it again.
 *
 * A failed delivery is tried again after the endpoint's pause for that attempt, and up to a fifth longer; after the last it is a dead letter.
 * An endpoint that fails again and again rests, and is disabled at last (functions/note_health.sql). */
create or replace function postbag.settle_deliveries(results jsonb, now timestamptz default clock_timestamp())
returns table (receipt text, outcome text)
language plpgsql
set enable_seqscan = off
as $$
declare
  target record;
  result record;
  settled text;
  noted jsonb[] := '{}';
  -- What counts for the endpoint's health.
  counted jsonb[];
begin
  if jsonb_typeof(results) is distinct from 'array' or jsonb_array_length(results) not between 1 and 1000 then
    perform postbag.refuse('PB002', 'results must be an array of 1 to 1000 objects');
  end if;
  -- In the order of their queues, as every statement on several queues.
  for target in
    select
      own.queue_id, own.retries, own.url, 'webhooks.' || own.name as queue, jsonb_agg(given.value order by given.place) as results
    from jsonb_array_elements(results) with ordinality as given (value, place)
    join postbag.endpoint as own on own.name = given.value ->> 'endpoint'
    group by own.queue_id
    order by own.queue_id
  loop
    counted := '{}';
    for result in
      select
        given.value ->> 'receipt' as receipt, given.value ->> 'outcome' as outcome, given.value as told,
        claim.parts[1] as message_id, claim.parts[2]::integer as attempts,
        given.value ->> 'outcome' <> 'untried' as is_tried,
        place.is_present,
        claim.parts[2] > cardinality(target.retries) or coalesce((given.value ->> 'isGone')::boolean, false) and place.is_present as is_over,
        message.message_id is not null as is_there, message.body_id, message.type
      from jsonb_array_elements(target.results) with ordinality as given (value, place)
      cross join lateral (select postbag.claim_of(given.value ->> 'receipt') as parts) as claim
      cross join lateral (select coalesce(given.value ->> 'url', target.url) = target.url as is_present) as place
      left join lateral (
        select known.message_id, known.body_id, known.type from postbag.message as known
        where known.queue_id = target.queue_id and known.message_id = claim.parts[1] limit 1
      ) as message on true
      order by claim.parts[1]
    loop
      if result.outcome = 'delivered' then
        select done.outcome into settled
        from postbag.ack(target.queue, jsonb_build_array(result.receipt), now => settle_deliveries.now) as done;
      else
        select done.outcome into settled
        from postbag.nack(
          target.queue, jsonb_build_array(result.receipt),
          delay => case
            when not result.is_tried then interval '1 s'
            when not result.is_over then target.retries[result.attempts] * (1 + random() / 5)
          end,
          error => case when result.is_tried then postbag.failure_of(result.told) end,
          dead_letter => result.is_tried and result.is_over, untried => not result.is_tried, now => settle_deliveries.now
        ) as done;
      end if;
      receipt := result.receipt;
      outcome := settled;
      return next;
      continue when not result.is_there or settled <> 'ok' and exists (
        select from postbag.attempt as made
        where made.queue_id = target.queue_id and made.message_id = result.message_id and made.number = result.attempts
      );
      if result.is_present then
        counted := array_append(counted, result.told);
      end if;
      if result.is_tried then
        noted := array_append(noted, result.told || jsonb_build_object(
          'queueId', target.queue_id, 'messageId', result.message_id, 'bodyId', result.body_id, 'type', result.type, 'number', result.attempts
        ));
      end if;
    end loop;
    if counted <> '{}' then
      perform postbag.note_health(target.queue_id, to_jsonb(counted), settle_deliveries.now);
    end if;
  end loop;

  insert into postbag.attempt (
    queue_id, message_id, body_id, type, number, started_at, millis, outcome, status, error, detail, response_headers, response_body
  )
  select
    made."queueId", made."messageId", made."bodyId", made.type, made.number, made."startedAt", made.millis, made.outcome, made.status,
    made.error, left(made.detail, 1000), made."responseHeaders", left(made."responseBody", 4096)
  from unnest(noted) as note
  cross join lateral jsonb_to_record(note) as made (
    "queueId" bigint, "messageId" bigint, "bodyId" bigint, type text, number integer, "startedAt" timestamptz, millis integer,
    outcome text, status integer, error text, detail text, "responseHeaders" jsonb, "responseBody" text
  );
end
$$;
--! EndIncluded functions/settle_deliveries.sql
--! Included functions/settle_pending.sql
/* postbag.settle_pending: ask for heads, at the end of this transaction, in groups that another transaction left without one. Whose role may have
 * nothing to do with groups has none. */
create or replace function postbag.settle_pending(source_id bigint, now timestamptz)
returns void
language plpgsql
as $$
begin
  if not has_table_privilege('postbag.group_change', 'insert') or not has_table_privilege('postbag.group_pending', 'select') then
    return;
  end if;
  insert into postbag.group_change (queue_id, groups, changed_at)
  select source_id, array_agg(distinct waiting.group_key), settle_pending.now
  from (
    select pending.group_key from postbag.group_pending as pending where pending.queue_id = source_id limit 1000
  ) as waiting
  having count(*) > 0 and postbag.sees_commits();
end
$$;
--! EndIncluded functions/settle_pending.sql
--! Included functions/sharable_body.sql
/* postbag.sharable_body: the body of a message to publish, as a row of postbag.body has it, if it is one that pays to be stored once for several copies
 * (JSON or text from postbag.least_shared on); else null. Any body, if it is to be kept: bytes as base64. */
create or replace function postbag.sharable_body(message jsonb, is_kept boolean default false)
returns text
language plpgsql
as $$
declare
  body text;
begin
  if not is_kept
    and (message ->> 'encoding' = 'base64' or octet_length(coalesce(message ->> 'json', message ->> 'body', '')) < postbag.least_shared())
  then
    return null;
  end if;
  body := case message ->> 'encoding'
    when 'text' then postbag.string_of(message -> 'body')
    when 'base64' then translate(encode(decode(postbag.string_of(message -> 'body'), 'base64'), 'base64'), E'\n', '')
    else coalesce((message ->> 'json')::json::text, (message -> 'body')::text)
  end;
  -- (Of bytes, a third more as base64.)
  if octet_length(body) > (case message ->> 'encoding' when 'base64' then 1398104 else 1048576 end) then
    perform postbag.break_rule('message_body_is_at_most_1_mib');
  end if;
  return body;
end
$$;
--! EndIncluded functions/sharable_body.sql
--! Included functions/takes_dead_letter.sql
/* postbag.takes_dead_letter: whether the filter of an endpoint, if it has one, lets a message of another queue through, as it would if that was published
 * now. (A function of its own, so that roles without a right to look at endpoints need none where there are none.) */
create or replace function postbag.takes_dead_letter(endpoint_id bigint, source_id bigint, letter_id bigint)
returns boolean
language plpgsql
stable
set enable_seqscan = off
as $$
declare
  filter jsonb;
  letter record;
begin
  select endpoint.filter into filter from postbag.endpoint where endpoint.queue_id = endpoint_id;
  if filter is null then
    return true;
  end if;
  select
    message.headers::jsonb - '{postbag-exchange,postbag-routing-key}'::text[] as headers,
    case when filter ? 'body' then jsonb_build_object(
      case message.encoding when 'json' then 'json' else 'body' end,
      case when message.body is null then postbag.body_of(message.bytes, message.body_id) else message.body::text end
    ) end as content
  into letter
  from postbag.message
  where message.queue_id = source_id and message.message_id = letter_id
  limit 1;
  return postbag.passes_filter(filter, letter.headers, postbag.content_as_jsonb(letter.content));
end
$$;
--! EndIncluded functions/takes_dead_letter.sql
--! Included functions/tick.sql
/* postbag.tick: what postbag.is_counted leaves to do once a second (by the caller's clock): write down, for the statistics, what this
 * session counted in the second before, and see to the queue's being tidied (functions/tidy_now_and_then.sql), so that removing what has expired
 * needs no daemon. Leaves out what the role has no right to. */
create or replace function postbag.tick(verb text, source_id bigint, number bigint, now timestamptz)
returns void
language plpgsql
as $$
declare
  setting constant text := 'postbag.' || verb || '_' || source_id % 1024;
  second constant text := date_part('epoch', tick.now)::bigint || ':';
  -- {queue_id, second, number, number, …}
  note bigint[];
  counted bigint := tick.number;
  earlier bigint := 0;
  noted text;
begin
  if starts_with(current_setting(setting, true), source_id || ':') then
    note := postbag.remembered(setting);
    earlier := coalesce((select sum(noted.number) from unnest(note[3:]) as noted (number)), 0);
    if note[2] || ':' = second then
      perform set_config(setting, format('%s:%s%s:', source_id, second, earlier + counted), false);
      return;
    end if;
  end if;

  if counted + earlier > 0 and has_table_privilege('postbag.traffic'::regclass, 'insert') then
    -- (One row, if the session was at the queue a moment ago, too.)
    if note[2] >= date_part('epoch', tick.now) - 2 then
      counted := counted + earlier;
      earlier := 0;
    end if;
    insert into postbag.traffic (queue_id, noted_at, sent, done)
    select
      source_id, activity.at, case verb when 'sent' then activity.number else 0 end, case verb when 'done' then activity.number else 0 end
    from (values (tick.now, counted), (to_timestamp(note[2]), earlier)) as activity (at, number)
    where activity.number > 0;
  end if;
  noted := set_config(setting, source_id || ':' || second, false);
  perform postbag.tidy_now_and_then(source_id, tick.now);
end
$$;
--! EndIncluded functions/tick.sql
--! Included functions/tidy_now_and_then.sql
/* postbag.tidy_now_and_then: what a session does for a queue in the first call of each second: have it tidied at the end of the transaction
 * (functions/tidy_at_commit.sql), if there is something to tidy. It looks at 20 queues a second at most, so that a session that goes through
 * thousands of them does not do little else. Dead rows that a held snapshot keeps make a look long; then it pauses for 5,000 times as
 * long, a minute at most, and for two seconds after the first such look, which may have been slow for another reason. Not in a transaction with
 * a snapshot of its own, where tidying could fail for no reason of the caller's. */
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
  if starts_with(looks, second || ':') is not true then
    looks := second || ':';
  end if;
  -- (A due time beyond the longest pause means that the clock was set back.)
  if coalesce(note[3], 0) not between second + 1 and second + 60
    and length(looks) < length(second::text) + 21
    and postbag.sees_commits()
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
--! Included functions/wake.sql
/* postbag.wake: something may be available in a queue now, or earlier than was known: notify who waits for it, when this transaction
 * commits. If nobody waits, which is nearly always, nothing is notified: commits that notify wait for each other.
 *
 * Who waits holds the queue's slot in shared mode (functions/watch.sql). So if this session can have it alone, for a moment, nobody waits.
 * That is seen as it is now, whatever snapshot the transaction has. Another sender that tries in the same moment is in the way, too; so
 * it is tried three times. Called after the change itself was made: who waits counts on the transaction having an id by then.
 *
 * Who delivers webhooks waits for the queues of all endpoints, webhooks.<name>, under the one name ~webhooks. So a publish to very many of
 * them is one notification, of that name, which wakes also who waits for the queue of one. */
create or replace function postbag.wake(queue text)
returns void
language plpgsql
as $$
begin
  for attempt in 1 .. 3 loop
    if not postbag.is_awaited(postbag.wake_slot(wake.queue)) then
      return;
    end if;
  end loop;
  perform pg_notify('postbag', case when starts_with(wake.queue collate "C", 'webhooks.') then '~webhooks' else wake.queue end);
end
$$;
--! EndIncluded functions/wake.sql
--! Included functions/wake_slot.sql
/* postbag.wake_slot: the lock that stands for "somebody waits for this queue". Queues share 1024 of them, so that a process that waits for
 * very many queues cannot fill the database's table of locks; who shares one is notified in vain now and then. The queues of endpoints
 * share one: who delivers waits for all of them (functions/wake.sql). */
create or replace function postbag.wake_slot(queue text)
returns integer
language sql
immutable
as $$
  select hashtext(case when starts_with(queue collate "C", 'webhooks.') then '~webhooks' else queue collate "C" end) & 1023
$$;
--! EndIncluded functions/wake_slot.sql
--! Included functions/without_origin.sql
/* postbag.without_origin: messages to be sent, without the headers that say by which exchange and routing key one came (functions/published_headers.sql):
 * only a publish says that. A dead letter goes on by its routing key, to queues to which its sender may have no right to send. */
create or replace function postbag.without_origin(messages jsonb)
returns jsonb
language plpgsql
immutable
as $$
begin
  if messages @? '$[*].headers ? (exists(@."postbag-exchange") || exists(@."postbag-routing-key"))' then
    return (
      select jsonb_agg(
        case
          when jsonb_typeof(given.message -> 'headers') = 'object'
            then given.message || jsonb_build_object('headers', (given.message -> 'headers') - '{postbag-exchange,postbag-routing-key}'::text[])
          else given.message
        end
        order by given.place
      )
      from jsonb_array_elements(messages) with ordinality as given (message, place)
    );
  end if;
  return messages;
end
$$;
--! EndIncluded functions/without_origin.sql
select postbag.make_volatile_twins();
