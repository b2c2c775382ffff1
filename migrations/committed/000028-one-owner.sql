--! Previous: sha1:e67670fc66c140d5ad1f497f09ad5ecb7f9ecb89
--! Hash: sha1:b38a1a462cfef668fc2dae9ad7c049804bfaa399
--! Message: one-owner

--! split: 1-current.sql
-- Holds that a group has one owner when the first of a lease is given back while an open transaction settles one behind it.
-- Names may come from columns of any collation. A publish through many exchanges costs what it sends, not its square; a queue that is deleted
-- meanwhile does not refuse it. A body is not forgotten while it is being sent again. Triggers that send changes read only the columns they send.

-- Whether receives of the queue take turns (functions/allowance.sql).
alter table postbag.queue
  add column takes_turns boolean not null
    generated always as (max_in_flight is not null or rate is not null or group_rate is not null and group_mode = 'fair') stored;

--! Included functions/arrived_here.sql
/* postbag.arrived_here: what this transaction has sent to groups of a queue. Nobody else sees it yet, and it may stand among what others have
 * committed. */
create or replace function postbag.arrived_here(source_id bigint)
returns bigint[]
language sql
stable
as $$
  select array(
    select joined.message_id
    from postbag.group_change as change
    cross join lateral unnest(change.arrived) as joined (message_id)
    where change.xact = pg_current_xact_id_if_assigned() and change.queue_id = source_id
  )
$$;
--! EndIncluded functions/arrived_here.sql
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
  own_ids constant bigint[] := postbag.arrived_here(source_id);
  standing record;
begin
  for standing in
    select message.message_id, message.leased_until, message.first_received_at
    from postbag.message
    where message.queue_id = source_id
      and message.group_key = leased_in_line.group_key collate "C"
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
--! Included functions/lock_lines.sql
/* postbag.lock_lines: before a nack gives the first of several of a group back, and those behind it with it: lock all that it is about to change,
 * in the order of their ids, which waits for who is settling one of them. (It could not pass such a one over, as a receive does: rolled back
 * afterwards, that would be owned by one, and what stands before it by another.) Does nothing where nobody stands behind. */
create or replace function postbag.lock_lines(source_id bigint, receipts jsonb)
returns void
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
-- (Whose cost would look high enough to compile.)
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  group_keys text[];
  places bigint[];
  own_ids bigint[];
  follower_ids bigint[];
begin
  select array_agg(front.group_key), array_agg(front.place)
  into group_keys, places
  from (
    select mine.group_key, min(mine.group_position) as place
    from postbag.claims(receipts) as given
    cross join lateral (
      select message.group_key, message.group_position
      from postbag.message
      where message.queue_id = source_id
        and message.message_id = given.message_id
        and message.attempts = given.attempt
        and message.lease_key = given.lease_key
        and message.leased_until is not null
      limit 1
    ) as mine
    -- (Not further in: the planner would walk the index of groups for it.)
    where mine.group_position is not null
    group by mine.group_key
  ) as front;
  if group_keys is null then
    return;
  end if;

  own_ids := postbag.arrived_here(source_id);
  follower_ids := array(
    select follower.message_id
    from unnest(group_keys, places) as front (group_key, place)
    cross join lateral (
      select message.message_id
      from postbag.message
      where message.queue_id = source_id
        and message.group_key = front.group_key
        and message.group_position > front.place
        -- (As far as functions/leased_in_line.sql goes.)
        and message.group_position < coalesce(
          (
            select untouched.group_position
            from postbag.message as untouched
            where untouched.queue_id = source_id
              and untouched.group_key = front.group_key
              and untouched.group_position > front.place
              and untouched.first_received_at is null
              and not untouched.message_id = any (own_ids)
            order by untouched.group_position
            limit 1
          ),
          9223372036854775807
        )
        and message.leased_until is not null
    ) as follower
  );
  if cardinality(follower_ids) > 0 then
    perform from postbag.message
    where message.queue_id = source_id
      and message.message_id = any (follower_ids || array(select given.message_id from postbag.claims(receipts) as given))
    order by message.message_id
    for no key update;
  end if;
end
$$;
--! EndIncluded functions/lock_lines.sql
--! Included functions/nack.sql
/* postbag.nack: give messages back, to be received again after `delay` (0 s to a year; null: as the queue's retry policy says); `error`
 * says why and is kept with the message (its first 4000 characters). With dead_letter, or after the last of the queue's max_attempts,
 * they go to the dead letters instead, in the same transaction. In the caller's transaction; outcomes and order as for
 * postbag.ack; `alone` says that this call is the whole transaction: then the queue's relaxed durability counts.
 * `untried` says that nobody worked on them (a consumer that stops, say): then the attempt does not count.
 * The message becomes available at now + delay: behind what is waiting already. One of an ordered group keeps its place, and those
 * behind it that were taken under the same lease are given back, too; so this waits for a transaction that settles one of them. */
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
  source postbag.queue;
  claim record;
  outcomes text[];
  back_at timestamptz;
  nacked_group text;
  nacked_position bigint;
  -- Per ordered group the first that was given back.
  broken jsonb := '{}';
begin
  if postbag.is_restricted() then
    return query
      select settled.receipt, settled.outcome
      from json_to_recordset(postbag.as_granted('nack', nack.queue, jsonb_build_object(
        'receipts', nack.receipts, 'delay', nack.delay, 'error', nack.error, 'dead_letter', nack.dead_letter,
        'untried', nack.untried, 'alone', nack.alone
      ))) as settled (receipt text, outcome text);
    return;
  end if;
  source := postbag.queue_named(nack.queue);
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
  if source.group_mode = 'ordered' and not nack.dead_letter then
    perform postbag.lock_lines(source.queue_id, receipts);
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
      expires_at = case when message.expires_at = postbag.last_moment(message.leased_until) then message.ttl_ends_at else message.expires_at end,
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
  -- (The head before one that was given back may go at the same time; who acks it could not make this one the head while we hold it.)
  if broken <> '{}' then
    insert into postbag.group_change (queue_id, groups, changed_at)
    select source.queue_id, array_agg(given_back.key), nack.now
    from jsonb_each_text(broken) as given_back
    where given_back.value::bigint > 0
    having count(*) > 0;
  end if;
  perform postbag.wake(source.name);

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/nack.sql
--! Included functions/header_term.sql
/* postbag.header_term: how a header is written in the index of a headers exchange; without a value: that it is there. A long one by its hash: an
 * index entry holds 2,700 bytes. */
create or replace function postbag.header_term(name text, value text default null)
returns text
language sql
immutable
return (
  select case when octet_length(term.text) > 1000 then encode(sha256(convert_to(term.text, 'UTF8')), 'hex') else term.text end
  from (select case when value is null then jsonb_build_array(name) else jsonb_build_array(name, value) end::text) as term (text)
);
--! EndIncluded functions/header_term.sql
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
--! Included functions/change_options.sql
/* postbag.change_options: the options of postbag.outbox_trigger with their defaults, and `left_out`, the columns of the table that its
 * messages do not have. PB002 if there is an unknown field, a value that cannot be, or a column that the table does not have (any more). */
create or replace function postbag.change_options(relation regclass, options jsonb)
returns jsonb
language plpgsql
stable
as $$
declare
  known constant text[] := '{columns,group_column,type,images}';
  existing constant text[] := array(
    select attribute.attname::text
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = relation and attribute.attnum > 0 and not attribute.attisdropped
  );
  -- (Postgres computes a virtual column when it is read, and not for triggers: there it is null.)
  virtual constant text[] := array(
    select attribute.attname::text
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = relation and attribute.attnum > 0 and not attribute.attisdropped and attribute.attgenerated = 'v'
  );
  given constant jsonb := '{"images": ["before", "after"]}' || jsonb_strip_nulls(options);
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

  return given || jsonb_build_object('left_out', virtual || case
    when given ? 'columns' then array(
      select other.name from unnest(existing) as other (name) where not given -> 'columns' ? other.name
    )
    else '{}'
  end);
end
$$;
--! EndIncluded functions/change_options.sql
--! Included functions/check_dead_letters.sql
/* postbag.check_dead_letters: refuse (PB002) a queue whose dead letters are to go to a queue or an exchange that is not there, or to a queue
 * whose messages are stored elsewhere. (What the queues are that an exchange leads to, is seen when a message dies.) */
create or replace function postbag.check_dead_letters(wanted postbag.queue)
returns void
language plpgsql
stable
as $$
declare
  target postbag.queue;
begin
  if wanted.dead_letter_exchange <> 'default'
    and not exists (select from postbag.exchange as known where known.name = wanted.dead_letter_exchange collate "C")
  then
    perform postbag.refuse('PB002', format('deadLetterExchange must be an exchange that exists, got %L', wanted.dead_letter_exchange));
  end if;
  if wanted.dead_letter_queue is null or wanted.dead_letter_queue = wanted.name then
    return;
  end if;
  select known.* into target from postbag.queue as known where known.name = wanted.dead_letter_queue collate "C";
  if target.queue_id is null then
    perform postbag.refuse('PB002', format(
      'deadLetterQueue must be a queue that exists (or the queue itself), got %L', wanted.dead_letter_queue
    ));
  elsif target.is_volatile <> (wanted.durability = 'volatile') then
    perform postbag.refuse('PB002', format(
      'deadLetterQueue must be %s as the queue itself is, and "%s" is %s',
      case when target.is_volatile then 'durable' else 'volatile' end, target.name, target.durability
    ));
  end if;
end
$$;
--! EndIncluded functions/check_dead_letters.sql
--! Included functions/check_definitions.sql
/* postbag.check_definitions: refuse what is not definitions at all, or says of one name two things (PB002), or too many of them (PB003). */
create or replace function postbag.check_definitions(definitions jsonb, lists text[])
returns void
language plpgsql
immutable
as $$
declare
  list record;
  total integer := 0;
  named_twice text;
begin
  if jsonb_typeof(definitions) is distinct from 'object' then
    perform postbag.refuse('PB002', format('definitions must be an object, got %s', coalesce(left(definitions::text, 80), 'nothing')));
  end if;
  for list in select given.key as name, given.value as elements from jsonb_each(definitions) as given loop
    if list.name <> all (lists) then
      perform postbag.refuse('PB002', format(
        'definitions has the unknown field %s: known are %s', left(list.name, 80), array_to_string(lists, ', ')
      ));
    elsif jsonb_typeof(list.elements) <> 'array' then
      perform postbag.refuse('PB002', format('%s must be an array, got %s', list.name, left(list.elements::text, 80)));
    elsif exists (select from jsonb_array_elements(list.elements) as element where jsonb_typeof(element.value) <> 'object') then
      perform postbag.refuse('PB002', format('%s must be an array of objects', list.name));
    end if;
    select min(element.value ->> 'name') into named_twice
    from jsonb_array_elements(list.elements) as element
    group by element.value ->> 'name'
    having count(distinct element.value) > 1
    limit 1;
    if named_twice is not null then
      perform postbag.refuse('PB002', format(
        '%s must have each name once, or say the same of it, got "%s" with different settings', list.name, left(named_twice, 80)
      ));
    end if;
    total := total + jsonb_array_length(list.elements);
  end loop;
  if total > 10000 then
    perform postbag.refuse('PB003', format('definitions must be at most 10000 in all, got %s', total));
  end if;
end
$$;
--! EndIncluded functions/check_definitions.sql
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
  if present.is_volatile <> (wanted.durability = 'volatile') then
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
 * back to the queue itself is not followed there: a message that fails would fail for ever. */
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
      -- (As many copies as a publish may make. It is somebody's commit that pays for them.)
      limit 100000;
  end if;
end
$$;
--! EndIncluded functions/dead_letter_ways.sql
--! Included functions/declare_exchange.sql
/* postbag.declare_exchange: create an exchange, or find it just as it is declared; `created` says which. PB011, with the difference, if
 * there is one of that name that is not like this: what is bound to it relies on what it is.
 *   type        direct | topic | fanout | headers | hash: see functions/route.sql
 *   alternate   the exchange that gets what no binding of this one matches; it may be declared later
 * The name "default" is taken: that exchange is always there (functions/route.sql). Two callers at once: both find the same one. */
create or replace function postbag.declare_exchange(
  exchange text, type text default 'direct', alternate text default null, now timestamptz default clock_timestamp()
)
returns table (created boolean, created_at timestamptz)
language plpgsql
as $$
#variable_conflict use_column
declare
  present postbag.exchange;
  is_new boolean;
begin
  if declare_exchange.exchange = 'default' then
    perform postbag.refuse('PB002', 'exchange must be another than default, which is always there, got default');
  end if;
  insert into postbag.exchange (name, type, alternate, created_at)
  values (declare_exchange.exchange, declare_exchange.type, declare_exchange.alternate, declare_exchange.now)
  on conflict (name) do nothing;
  is_new := found;
  present := postbag.exchange_named(declare_exchange.exchange);
  if present.type <> declare_exchange.type collate "C" then
    perform postbag.refuse('PB011', format(
      'type of exchange "%s" must be %s, as it was declared, got %s', present.name, present.type, declare_exchange.type
    ));
  elsif present.alternate is distinct from declare_exchange.alternate collate "C" then
    perform postbag.refuse('PB011', format(
      'alternate of exchange "%s" must be %s, as it was declared, got %s',
      present.name, coalesce(present.alternate, 'none'), coalesce(declare_exchange.alternate, 'none')
    ));
  end if;
  return query select is_new, present.created_at;
end
$$;
--! EndIncluded functions/declare_exchange.sql
--! Included functions/delete_exchange.sql
/* postbag.delete_exchange: delete an exchange and its bindings, those from it and those to it; returns how many. PB010 if there is none of
 * that name; PB012 with if_unused if something is bound to it. Where it was an alternate, there is none from now on. Beside a publish
 * that has not ended: that one still goes where it went. */
create or replace function postbag.delete_exchange(exchange text, if_unused boolean default false)
returns bigint
language plpgsql
as $$
declare
  doomed constant postbag.exchange := postbag.exchange_named(delete_exchange.exchange);
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
  if if_unused and exists (select from postbag.binding where binding.exchange_id = doomed.exchange_id) then
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
--! Included functions/delete_policy.sql
/* postbag.delete_policy: forget a policy (PB009 if there is none of that name); queues that had settings by it have, in the same transaction,
 * what is left: other policies', or the built-in defaults. Returns how many queues it matched. Beside others as for postbag.set_policy. */
create or replace function postbag.delete_policy(policy text, now timestamptz default clock_timestamp())
returns bigint
language plpgsql
as $$
declare
  former text collate "C";
begin
  perform postbag.hold_policies(delete_policy.now);
  delete from postbag.policy as known where known.name = delete_policy.policy collate "C" returning known.name_like into former;
  if not found then
    perform postbag.refuse('PB009', format('policy "%s" does not exist', delete_policy.policy));
  end if;
  perform postbag.apply_policies(array[former], delete_policy.now);
  return (select count(*) from postbag.queue as known where known.name like former);
end
$$;
--! EndIncluded functions/delete_policy.sql
--! Included functions/describe_endpoint.sql
/* postbag.describe_endpoint: an endpoint's configuration, and how it is. PB014. */
create or replace function postbag.describe_endpoint(endpoint text)
returns setof postbag.endpoint_info
language plpgsql
stable
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(describe_endpoint.endpoint);
begin
  return query select info.* from postbag.endpoint_info as info where info.name = own.name collate "C";
end
$$;
--! EndIncluded functions/describe_endpoint.sql
--! Included functions/describe_policy.sql
/* postbag.describe_policy: one policy, or PB009 if there is none of that name. Intervals of its settings are in seconds. */
create or replace function postbag.describe_policy(policy text)
returns setof postbag.policy_info
language plpgsql
stable
as $$
begin
  return query select info.* from postbag.policy_info as info where info.name = describe_policy.policy collate "C";
  if not found then
    perform postbag.refuse('PB009', format('policy "%s" does not exist', describe_policy.policy));
  end if;
end
$$;
--! EndIncluded functions/describe_policy.sql
--! Included functions/describe_queue.sql
/* postbag.describe_queue: the configuration of one queue, or PB001 if there is none of that name. */
create or replace function postbag.describe_queue(queue text)
returns setof postbag.queue_info
language plpgsql
stable
as $$
begin
  perform postbag.queue_named(describe_queue.queue);
  return query select info.* from postbag.queue_info as info where info.name = describe_queue.queue collate "C";
end
$$;
--! EndIncluded functions/describe_queue.sql
--! Included functions/disable_endpoint.sql
/* postbag.disable_endpoint: deliver nothing to an endpoint, and let nothing that is published wait for it, until postbag.enable_endpoint. What waits is
 * kept, unless it expires. `because`: 'asked', or 'gone' or 'failing', if its receiver left no other choice. PB014.
 * Whoever is interested learns of it: an event endpoint.disabled is published to the exchange "postbag", which endpoints may be bound to; if none of
 * its queues is full, and the exchange is there. */
create or replace function postbag.disable_endpoint(endpoint text, because text default 'asked', now timestamptz default clock_timestamp())
returns setof postbag.endpoint_info
language plpgsql
as $$
declare
  own postbag.endpoint := postbag.endpoint_named(disable_endpoint.endpoint);
begin
  update postbag.endpoint as known
  set disabled_at = disable_endpoint.now, disabled_because = disable_endpoint.because,
    updated_at = greatest(disable_endpoint.now, known.created_at + interval '1 microsecond')
  where known.queue_id = own.queue_id and known.disabled_at is null;
  if found then
    perform postbag.bind_endpoint(own.queue_id);
    begin
      perform postbag.publish(
        'postbag',
        jsonb_strip_nulls(jsonb_build_object(
          'type', 'endpoint.disabled', 'timestamp', disable_endpoint.now,
          'data', jsonb_build_object('endpoint', own.name, 'application', own.application, 'because', disable_endpoint.because)
        )),
        routing_key => 'endpoint.disabled', type => 'endpoint.disabled', now => disable_endpoint.now
      );
    exception
      when sqlstate 'PB003' or sqlstate 'PB004' or sqlstate 'PB010' then
        null;
    end;
  end if;
  return query select info.* from postbag.endpoint_info as info where info.name = own.name collate "C";
end
$$;
--! EndIncluded functions/disable_endpoint.sql
--! Included functions/enable_endpoint.sql
/* postbag.enable_endpoint: deliver to an endpoint again that was disabled, and what is published from now on; and let it rest no longer. PB014. */
create or replace function postbag.enable_endpoint(endpoint text, now timestamptz default clock_timestamp())
returns setof postbag.endpoint_info
language plpgsql
as $$
declare
  own postbag.endpoint := postbag.endpoint_named(enable_endpoint.endpoint);
begin
  -- (Before its health, as whoever disables it does.)
  perform from postbag.endpoint as known where known.queue_id = own.queue_id for update;
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
--! Included functions/endpoint_named.sql
/* postbag.endpoint_named: the endpoint of that name, or PB014. */
create or replace function postbag.endpoint_named(endpoint text)
returns postbag.endpoint
language plpgsql
stable
as $$
declare
  found_endpoint postbag.endpoint;
begin
  select known.* into found_endpoint from postbag.endpoint as known where known.name = endpoint_named.endpoint collate "C";
  if not found then
    perform postbag.refuse('PB014', format('endpoint "%s" does not exist', endpoint));
  end if;
  return found_endpoint;
end
$$;
--! EndIncluded functions/endpoint_named.sql
--! Included functions/endpoint_stats.sql
/* postbag.endpoint_stats: how an endpoint does: what waits for it (also for its next attempt), is under way, or is a dead letter, counted
 * as postbag.queue_stats does; and of its last attempts, 1000 at most, how many arrived (0 to 1), and how long half of them and 95 of 100
 * took at most (null without attempts). PB014. */
create or replace function postbag.endpoint_stats(endpoint text, now timestamptz default clock_timestamp())
returns table (
  state text, waiting bigint, leased bigint, dead bigint, oldest_ready_at timestamptz, counted_at timestamptz, capped boolean,
  attempts bigint, success_rate double precision, p50_millis integer, p95_millis integer
)
language plpgsql
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(endpoint_stats.endpoint);
begin
  return query
    select
      info.state, counted.ready + counted.delayed + counted.blocked, counted.leased, counted.dead, counted.oldest_ready_at,
      counted.counted_at, counted.capped, tried.attempts, tried.success_rate, tried.p50_millis, tried.p95_millis
    from postbag.endpoint_info as info
    cross join postbag.queue_stats('webhooks.' || own.name, endpoint_stats.now) as counted
    cross join (
      select
        count(*) as attempts, (avg((latest.outcome = 'delivered')::integer))::double precision as success_rate,
        percentile_disc(0.5) within group (order by latest.millis) as p50_millis,
        percentile_disc(0.95) within group (order by latest.millis) as p95_millis
      from (
        select made.outcome, made.millis from postbag.attempt as made
        where made.queue_id = own.queue_id order by made.attempt_id desc limit 1000
      ) as latest
    ) as tried
    where info.name = own.name collate "C";
end
$$;
--! EndIncluded functions/endpoint_stats.sql
--! Included functions/exchange_named.sql
/* postbag.exchange_named: the exchange of that name, or PB010. */
create or replace function postbag.exchange_named(exchange text)
returns postbag.exchange
language plpgsql
stable
as $$
declare
  found_exchange postbag.exchange;
begin
  select known.* into found_exchange from postbag.exchange as known where known.name = exchange_named.exchange collate "C";
  if not found then
    perform postbag.refuse('PB010', format('exchange "%s" does not exist', exchange));
  end if;
  return found_exchange;
end
$$;
--! EndIncluded functions/exchange_named.sql
--! Included functions/forget_bodies.sql
/* postbag.forget_bodies: remove shared bodies that no message has any more, and that need not be kept for longer; looks at up to `most`, and returns how many of them went. It goes
 * round: each call goes on where the last one ended. Beside another one it does nothing.
 *
 * Whether a body is still needed is asked of its copies, by their ids: so a message that is acked, has expired or is purged has nothing to do
 * with it, and no two of them wait for each other. A copy that moves to another queue takes a body of its own along (functions/move_dead.sql,
 * functions/revive.sql), so no copy comes later than the body. */
create or replace function postbag.forget_bodies(most integer, now timestamptz default clock_timestamp())
returns bigint
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  start bigint;
  looked_at bigint[];
  doomed bigint[];
  gone bigint;
begin
  select round.next_id into start from postbag.body_round as round for update skip locked;
  if not found then
    return 0;
  end if;
  looked_at := array(
    select shared.body_id from postbag.body as shared where shared.body_id >= start order by shared.body_id limit most
  );
  if cardinality(looked_at) = 0 and start = 0 then
    return 0;
  end if;
  -- Held before it is asked for good: one that is sent again just now (functions/resend.sql) is left, and one that was has its message there.
  doomed := array(
    select shared.body_id from postbag.body as shared
    where shared.body_id = any (looked_at)
      and (shared.kept_until is null or shared.kept_until <= forget_bodies.now)
      and not exists (
        select from unnest(shared.queue_ids, shared.message_ids) as copy (queue_id, message_id)
        join postbag.message
          on message.queue_id = copy.queue_id and message.message_id = copy.message_id and message.body_id = shared.body_id
      )
    for update skip locked
  );
  delete from postbag.body as shared
  where shared.body_id = any (doomed)
    and (shared.kept_until is null or shared.kept_until <= forget_bodies.now)
    and not exists (
      select from unnest(shared.queue_ids, shared.message_ids) as copy (queue_id, message_id)
      join postbag.message
        on message.queue_id = copy.queue_id and message.message_id = copy.message_id and message.body_id = shared.body_id
    );
  get diagnostics gone = row_count;
  update postbag.body_round
  set next_id = case when cardinality(looked_at) < most then 0 else looked_at[most] + 1 end;
  return gone;
end
$$;
--! EndIncluded functions/forget_bodies.sql
--! Included functions/import_definitions.sql
/* postbag.import_definitions: declare exchanges, create queues, set policies and bind, all or none: for what was defined elsewhere, in
 * another broker or another database. A row per kind: how many were created, and how many were there.
 *
 *   definitions   {"exchanges": [{"name", "type", "alternate"}], "queues": [{"name", "settings"}],
 *                 "policies": [{"name", "pattern", "settings"}],
 *                 "bindings": [{"exchange", "queue" or "to_exchange", "routing_key", "headers", "header_match", "weight"}]}: arguments of
 *                 declare_exchange, create_queue, set_policy and bind; settings by their names, as set_policy takes them. What is not
 *                 there is empty. Up to 10,000 in all
 *   dry_run       all of it is done, and undone: what cannot be is refused as it would be
 *
 * What is there just so stays as it is, so a second call changes nothing. What is there otherwise is never replaced: PB020 names it, and
 * whatever else of its kind is refused. Queues may be each other's dead-letter queues, and exchanges alternates, in any order.
 * Changes of policies and creations of queues are waited for, and they wait for this one: so two callers go one after the other. */
create or replace function postbag.import_definitions(
  definitions jsonb, dry_run boolean default false, now timestamptz default clock_timestamp()
)
returns table (kind text, created integer, present integer)
language plpgsql
as $$
declare
  lists constant text[] := '{exchanges,queues,policies,bindings}';
  wanted jsonb;
  is_new boolean;
  rule text;
  refused text[] := '{}';
  counts jsonb := '{}';
begin
  perform postbag.check_definitions(definitions, lists);
  perform postbag.hold_policies(import_definitions.now);
  begin
    foreach kind in array lists loop
      created := 0;
      present := 0;
      for wanted in select element.value from jsonb_array_elements(definitions -> kind) as element loop
        begin
          is_new := case kind
            when 'exchanges' then (
              select declared.created from postbag.declare_exchange(
                wanted ->> 'name', coalesce(wanted ->> 'type', 'direct'), wanted ->> 'alternate', import_definitions.now
              ) as declared
            )
            when 'queues' then postbag.import_queue(wanted ->> 'name', wanted -> 'settings', import_definitions.now)
            when 'policies' then postbag.import_policy(
              wanted ->> 'name', wanted ->> 'pattern', wanted -> 'settings', import_definitions.now
            )
            when 'bindings' then postbag.import_binding(wanted, import_definitions.now)
          end;
          created := created + is_new::integer;
          present := present + (not is_new)::integer;
        exception
          when sqlstate 'PB001' or sqlstate 'PB002' or sqlstate 'PB010' or sqlstate 'PB011' or sqlstate 'PB020' or check_violation
          or data_exception or program_limit_exceeded
        then
            get stacked diagnostics rule = constraint_name;
            refused := refused || format('%s: %s', coalesce(
              wanted ->> 'name', concat(wanted ->> 'exchange', ' to ', coalesce(wanted ->> 'queue', wanted ->> 'to_exchange'))
            ), case when rule <> '' then 'refused by the rule: ' || replace(rule, '_', ' ') else sqlerrm end);
        end;
      end loop;
      if kind = 'queues' and refused = '{}' then
        perform postbag.import_dead_letter_queues(definitions -> kind, import_definitions.now);
      end if;
      if refused <> '{}' then
        perform postbag.refuse('PB020', format(
          'nothing was imported, because of %s of the %s: %s%s', cardinality(refused), kind, array_to_string(refused[:20], '; '),
          case when cardinality(refused) > 20 then '; …' else '' end
        ));
      end if;
      counts := counts || jsonb_build_object(kind, array[created, present]);
    end loop;
    if dry_run then
      raise exception using errcode = 'PB099';
    end if;
  exception
    -- (Not PB000: a code that ends in 000 stands for all of its class.)
    when sqlstate 'PB099' then
      null;
  end;
  return query
    select list.name, (counts -> list.name ->> 0)::integer, (counts -> list.name ->> 1)::integer from unnest(lists) as list (name);
end
$$;
--! EndIncluded functions/import_definitions.sql
--! Included functions/import_policy.sql
/* postbag.import_policy: set a policy, or find it just so; whether it was created. PB020 if there is another one of that name. */
create or replace function postbag.import_policy(policy text, pattern text, settings jsonb, now timestamptz)
returns boolean
language plpgsql
as $$
declare
  present postbag.policy;
begin
  select known.* into present from postbag.policy as known where known.name = import_policy.policy collate "C";
  if not found then
    perform from postbag.set_policy(import_policy.policy, import_policy.pattern, import_policy.settings, import_policy.now);
    return true;
  elsif present.pattern is distinct from import_policy.pattern collate "C"
    or present.settings <> postbag.check_policy(import_policy.pattern, import_policy.settings)
  then
    perform postbag.refuse('PB020', format(
      'policy "%s" is there, for %s and with the settings %s, got %s and %s',
      present.name, present.pattern, present.settings, import_policy.pattern, import_policy.settings
    ));
  end if;
  return false;
end
$$;
--! EndIncluded functions/import_policy.sql
--! Included functions/import_queue.sql
/* postbag.import_queue: create a queue with these settings, all but its dead-letter queue, which may be still to come
 * (functions/import_dead_letter_queues.sql); or find it configured just so. Whether it was created. PB020, with what differs, if it is
 * there otherwise: its messages rely on what it is. */
create or replace function postbag.import_queue(queue text, settings jsonb, now timestamptz)
returns boolean
language plpgsql
as $$
declare
  wanted constant jsonb := postbag.explicit_settings(settings);
  present jsonb;
begin
  select known.explicit into present from postbag.queue as known where known.name = import_queue.queue collate "C";
  if not found then
    perform postbag.configure_queue(import_queue.queue, wanted - 'dead_letter_queue', import_queue.now);
    return true;
  elsif present <> wanted then
    perform postbag.refuse('PB020', (
      select format('queue "%s" is there with other settings: %s', import_queue.queue, string_agg(
        format(
          '%s must be %s, as it is, got %s',
          said.name, coalesce((present -> said.name)::text, 'unsaid'), coalesce((wanted -> said.name)::text, 'unsaid')
        ),
        ', ' order by said.name
      ))
      from jsonb_object_keys(present || wanted) as said (name)
      where present -> said.name is distinct from wanted -> said.name
    ));
  end if;
  return false;
end
$$;
--! EndIncluded functions/import_queue.sql
--! Included functions/list_exchanges.sql
/* postbag.list_exchanges: exchanges by name, a page at a time: those whose name starts with `prefix` and comes after `after`. */
create or replace function postbag.list_exchanges(prefix text default '', after text default '', max_exchanges integer default 100)
returns table (name text, type text, alternate text, created_at timestamptz)
language sql
stable
as $$
  select known.name, known.type, known.alternate, known.created_at
  from postbag.exchange as known
  where starts_with(known.name, coalesce(list_exchanges.prefix, '') collate "C")
    and known.name > coalesce(list_exchanges.after, '') collate "C"
  order by known.name
  limit greatest(least(max_exchanges, 1000), 0)
$$;
--! EndIncluded functions/list_exchanges.sql
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
  source postbag.queue;
  until timestamptz;
  claim record;
  outcomes text[];
  kept_group text;
  kept_position bigint;
  kept_groups text[] collate "C" := '{}';
  kept_keys integer[] := '{}';
  previous_until timestamptz;
  was_shortened boolean := false;
begin
  if postbag.is_restricted() then
    return query
      select settled.receipt, settled.outcome
      from json_to_recordset(postbag.as_granted('extend', extend.queue, jsonb_build_object(
        'receipts', extend.receipts, 'lease', extend.lease, 'alone', extend.alone
      ))) as settled (receipt text, outcome text);
    return;
  end if;
  source := postbag.queue_named(extend.queue);
  until := extend.now + coalesce(extend.lease, source.lease);
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
      kept_groups := kept_groups || kept_group;
      kept_keys := kept_keys || claim.lease_key::integer;
    end if;
  end loop;
  -- (At the end, because it locks them in the order of their lines: from here on this waits for nobody.)
  perform postbag.extend_companions(source.queue_id, kept.group_key, kept.lease_key, until)
  from unnest(kept_groups, kept_keys) as kept (group_key, lease_key);
  if was_shortened then
    perform postbag.wake(source.name);
  end if;

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/extend.sql
--! Included functions/has_used_up.sql
/* postbag.has_used_up: whether a group has used up its rate, by the snapshot of the statement that asks. (A function of its own, because whoever may run a
 * statement needs all rights that stand in it, and only queues with rates take those on flow.) */
create or replace function postbag.has_used_up(source postbag.queue, group_key text, now timestamptz)
returns boolean
language sql
stable
return exists (
  select from postbag.flow
  where flow.queue_id = source.queue_id and flow.group_key = has_used_up.group_key collate "C"
    and flow.spent_until > has_used_up.now
      + make_interval(secs => (coalesce(source.group_burst, greatest(ceil(source.group_rate), 1)) - 1) / source.group_rate)
);
--! EndIncluded functions/has_used_up.sql
--! Included functions/settings_of.sql
/* postbag.settings_of: what each setting of a queue is, and who says so: the queue itself (`explicit`), else the most specific policy that
 * matches its name and says it, else nobody: then it is the built-in default, and `origin` is null.
 * More specific is: the name itself; a longer text before the first *; more characters besides *; the earlier name. */
create or replace function postbag.settings_of(queue text, explicit jsonb)
returns table (setting text, value jsonb, origin text)
language sql
stable
as $$
  select distinct on (said.setting) said.setting, said.value, layer.origin
  from (
    select 1 as depth, 0 as place, 'queue' as origin, postbag.with_companions(explicit) as settings
    union all
    select
      2,
      row_number() over (order by policy.is_exact desc, policy.prefix_length desc, policy.literal_length desc, policy.name),
      'policy ' || policy.name,
      postbag.with_companions(policy.settings)
    from postbag.policy
    where settings_of.queue collate "C" like policy.name_like
    union all
    select 3, 0, null, (select jsonb_object_agg(known.name, known.by_default) from postbag.queue_settings() as known)
  ) as layer
  cross join lateral jsonb_each(layer.settings) as said (setting, value)
  order by said.setting, layer.depth, layer.place
$$;
--! EndIncluded functions/settings_of.sql
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
        case when message.body_id is null then message.body else postbag.body_of(null, message.body_id) end, search.body_contains
      ) > 0)
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
--! Included functions/revive.sql
/* postbag.revive: dead letters of a queue become messages again, in `target` or where each died (here, if that was here or its queue is gone), to be
 * received from start_at on, so many in a second; how many there were. Leaves those that another transaction holds. One that stays in its
 * queue keeps its shared body, and is the same event to an endpoint; one that goes to another takes a body of its own along. */
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
  drawn bigint;
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
      gone.deaths -> -1 ->> 'queue' as origin,
      start_at + coalesce(make_interval(secs => (row_number() over (order by gone.dead_at, gone.message_id) - 1) / rate), '0 s')
        as back_at
    from gone
  ),
  born as (
    insert into postbag.message (
      queue_id, message_id, available_at, sent_at, first_received_at, priority, encoding, type, content_type, headers, last_error,
      group_key, group_position, due_at, expires_at, ttl_ends_at, deaths, body, bytes, body_id
    )
    select
      there.queue_id, due.message_id,
      case when there.is_in_line then 'infinity' else due.back_at end,
      due.sent_at, due.first_received_at, least(due.priority, there.top_priority), due.encoding, due.type, due.content_type,
      due.headers, due.last_error, due.group_key,
      case when there.is_in_line then nextval('postbag.message_id') end,
      case when there.is_in_line then due.back_at end,
      due.back_at + there.ttl, due.back_at + there.ttl, due.deaths,
      case when due.body_id is null or there.queue_id = source.queue_id then due.body else postbag.body_of(null, due.body_id) end,
      due.bytes, case when there.queue_id = source.queue_id then due.body_id end
    from due
    cross join lateral (
      select
        known.*,
        due.group_key is not null and known.delivery_order = 'fifo'
          -- (In a fair queue there is no order, so a delayed message waits for itself.)
          and (known.group_mode = 'ordered' or due.back_at <= revive.now) as is_in_line
      from postbag.queue as known
      where known.is_volatile = source.is_volatile and known.name in (coalesce(revive.target collate "C", due.origin, source.name), source.name)
      order by known.name <> coalesce(revive.target collate "C", due.origin, source.name)
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
  select array_agg(born.message_id), array_agg(born.queue_id) into revived, joined_queues from born;
  -- (As functions/move_dead.sql does.)
  select count(nextval('postbag.message_id')) into drawn
  from unnest(joined_queues) as target (queue_id)
  join postbag.queue as known on known.queue_id = target.queue_id
  where known.max_messages is not null;
  perform postbag.wake(known.name) from postbag.queue as known where known.queue_id = any (joined_queues);
  return coalesce(cardinality(revived), 0);
end
$$;
--! EndIncluded functions/revive.sql
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
      (redrive.type is null or letter.type = redrive.type collate "C")
        and (redrive.headers is null or coalesce(letter.headers, '{}') @> redrive.headers)
        and (redrive.group_key is null or letter.group_key = redrive.group_key collate "C")
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
--! Included functions/list_endpoints.sql
/* postbag.list_endpoints: endpoints by name, those of one application or all, at most max_endpoints (1 to 1000) after the name `after`. */
create or replace function postbag.list_endpoints(application text default null, after text default '', max_endpoints integer default 100)
returns setof postbag.endpoint_info
language plpgsql
stable
as $$
begin
  if max_endpoints is null or max_endpoints not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max_endpoints must be between 1 and 1000, got %s', coalesce(max_endpoints::text, 'null')));
  end if;
  return query
    select info.*
    from postbag.endpoint_info as info
    where (list_endpoints.application is null or info.application = list_endpoints.application collate "C")
      and info.name > coalesce(after, '') collate "C"
    order by info.name
    limit max_endpoints;
end
$$;
--! EndIncluded functions/list_endpoints.sql
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
  of_message constant bigint := case when of_id ~ '^[0-9]{1,18}$' then of_id::bigint when of_id is not null then -1 end;
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
      and starts_with(info.name, coalesce(prefix, '') collate "C")
      and info.name >= coalesce(prefix, '') collate "C"
    order by info.name
    limit max_queues;
end
$$;
--! EndIncluded functions/list_queues.sql
--! Included functions/match.sql
/* postbag.match: which bindings of one exchange fit which messages: a row each. A message is its number, its routing key and its headers.
 * The cost grows with what fits, not with how many bindings there are: each type finds its own in an index (functions/index_binding.sql).
 *
 *   direct    the routing key is the binding's
 *   fanout    each
 *   topic     the pattern fits: functions/match_topics.sql
 *   headers   all of the binding's headers, or any of them, are the message's
 *   hash      exactly one: whose point on the circle is the next one after the routing key's hash. So messages of one key go the
 *             same way, and a binding that comes or goes takes its own keys along, and leaves the others where they are */
create or replace function postbag.match(source_id bigint, exchange_type text, numbers integer[], keys text[], headers jsonb[])
returns table (number integer, binding_id bigint)
language plpgsql
stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  case exchange_type
    when 'direct' then
      return query
        select asked.number, binding.binding_id
        from unnest(numbers, keys) as asked (number, key)
        join postbag.binding on binding.exchange_id = source_id and binding.routing_key = asked.key collate "C";
    when 'fanout' then
      return query
        select asked.number, binding.binding_id
        from unnest(numbers) as asked (number)
        join postbag.binding on binding.exchange_id = source_id;
    when 'topic' then
      return query select * from postbag.match_topics(source_id, numbers, keys);
    when 'headers' then
      return query
        select found.number, found.binding_id
        from (
          select distinct asked.number, indexed.binding_id, asked.headers
          from unnest(numbers, headers) as asked (number, headers)
          cross join lateral (
            select postbag.header_term(given.key, given.value) as text from jsonb_each_text(asked.headers) as given
            union all
            select postbag.header_term(given.key) from jsonb_object_keys(asked.headers) as given (key)
            union all
            select ''
          ) as term
          join postbag.binding_term as indexed on indexed.exchange_id = source_id and indexed.term = term.text
        ) as found
        join postbag.binding on binding.binding_id = found.binding_id
        where binding.header_match = 'any'
          or binding.headers = '{}'
          or jsonb_strip_nulls(binding.headers) <@ found.headers
          and found.headers ?& array(select jsonb_object_keys(binding.headers));
    when 'hash' then
      return query
        select asked.number, next_one.binding_id
        from unnest(numbers, keys) as asked (number, key)
        cross join lateral (
          (
            select point.binding_id, 1 as turn
            from postbag.binding_point as point
            where point.exchange_id = source_id and point.point >= hashtextextended(asked.key, 0)
            order by point.point
            limit 1
          )
          union all
          -- (Behind the last point comes the first.)
          (
            select point.binding_id, 2
            from postbag.binding_point as point
            where point.exchange_id = source_id
            order by point.point
            limit 1
          )
          order by turn
          limit 1
        ) as next_one;
  end case;
end
$$;
--! EndIncluded functions/match.sql
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
      when starts_with(next_available_at.queue, '~reply/')
        then postbag.reply_available_at(next_available_at.queue, next_available_at.now)
      when next_available_at.queue = '~webhooks' then postbag.next_delivery_at(next_available_at.now)
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
  -- Null: all columns.
  chosen constant text := case when options -> 'left_out' <> '[]' then (
    select string_agg(quote_ident(attribute.attname), ', ' order by attribute.attnum)
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = tg_relid and attribute.attnum > 0 and not attribute.attisdropped
      and (not options -> 'left_out' ? attribute.attname::text or attribute.attname = options ->> 'group_column')
  ) end;
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
    select given.number, case when copies.are_kept or copies.number > 1 then postbag.sharable_body(given.message, copies.are_kept) end as body
    from jsonb_array_elements(messages) with ordinality as given (message, number)
    left join (
      select copy.number as of, count(*) as number, bool_or(known.is_endpoint) as are_kept
      from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
      join postbag.queue as known on known.queue_id = copy.queue_id
      where not known.is_volatile
      group by copy.number
    ) as copies on copies.of = given.number
  ) as large;

  for target in
    select
      known.queue_id, known.name, known.is_volatile, known.delivery_order, known.max_priority, known.is_one_group,
      array_agg(copy.number order by copy.number) as numbers
    from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
    join postbag.queue as known on known.queue_id = copy.queue_id
    group by known.queue_id
    order by known.queue_id
  loop
    -- One that was deleted while another queue's send waited takes its copies along.
    continue when not exists (select from postbag.queue as known where known.queue_id = target.queue_id);
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
          || case when target.is_one_group then jsonb_build_object('group', 'endpoint') else '{}' end
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

  insert into postbag.body (body_id, queue_ids, message_ids, body, kept_until, encoding, type, content_type, headers)
  select
    shared_ids[made.number], made.queue_ids, made.message_ids, shared_bodies[made.number],
    case when made.are_kept then publish_to_each.now + postbag.kept_for() end,
    coalesce(given.message ->> 'encoding', 'json'), given.message ->> 'type', given.message ->> 'contentType',
    postbag.published_headers(nullif(given.message -> 'headers', 'null'), publish_to_each.exchange, given.message ->> 'routingKey')
  from (
    select
      copy.number, array_agg(copy.queue_id order by copy.position) as queue_ids, array_agg(copy.message_id order by copy.position) as message_ids,
      bool_or(known.is_endpoint) as are_kept
    from unnest(made_numbers, made_queues, made_ids) with ordinality as copy (number, queue_id, message_id, position)
    join postbag.queue as known on known.queue_id = copy.queue_id
    group by copy.number
  ) as made
  cross join lateral (select messages -> (made.number - 1) as message) as given;
end
$$;
--! EndIncluded functions/publish_to_each.sql
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
  select known.* into found_queue from postbag.queue as known where known.name = queue_named.queue collate "C";
  if not found then
    perform postbag.refuse('PB001', format('queue "%s" does not exist', queue));
  end if;
  return found_queue;
end
$$;
--! EndIncluded functions/queue_named.sql
--! Included functions/receive.sql
/* postbag.receive: lease up to max_messages available messages of one queue: highest priority first, then by availability (the latest
 * first in a lifo queue), then in the order they were sent. Who receives owns a message until leased_until; the receipt is the proof,
 * for ack, nack and extend.
 * Never waits for a message: no rows mean "nothing available now" (waiting is src/wakeup's job). Only where the queue limits its rate or
 * what is in flight, receives take turns: one waits until the transaction of the other ends; for 100 ms only, and then brings nothing, if it
 * is `alone`.
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
    known.queue_id, known.is_volatile, known.receives_plainly, known.takes_turns, known.group_mode, known.durability, known.max_attempts,
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
  where known.name = receive.queue collate "C";

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
                  -- So many that all lines together have what is wanted; where there are few, or fewer than were looked for, some more of each.
                  -- (What is looked at in vain costs a page of the table.)
                  limit (
                    select
                      case when count(*) < greatest(ceil(max_messages / 4.0), 3) then 2 else 1 end * ceil(max_messages / count(*)::double precision - 1)
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

  if receive.alone and source.takes_turns and not postbag.gets_turn(source.queue_id) then
    return;
  end if;
  return query select * from postbag.receive_in_full(
    receive.queue, receive.max_messages - claimed, receive.lease, receive.now
  );
end
$$;
--! EndIncluded functions/receive.sql
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
 *  5. A claim that got all it wanted opens the short way of postbag.receive, until the fifth of a second is over; and a session that has no
 *     note about the queue begins there.
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
  expensive_us constant bigint := 2000;
  longest_pause_us constant bigint := 60000000;

  -- What this session noted: {queue_id, near look due, full look due, last full look took, pause after it, tidying due}, in
  -- microseconds.
  look bigint[] := postbag.remembered(source.look_setting);
  depth text := 'cursor';
  shared postbag.sweep;
  -- {queue_id, when the short way of postbag.receive was opened, how many heads of groups were met, lowest available_at claimed}: one setting
  -- per priority.
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
  if source.takes_turns then
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
    perform postbag.tidy_now_and_then(source.queue_id, receive_in_full.now);
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
      when cursor_note[1] is distinct from source.queue_id or cursor_note[4] is null or cursor_note[4] > now_us then
        case when depth = 'near' then coalesce(shared.start_at, '-infinity') else '-infinity' end
      when depth = 'near' then least(postbag.instant(cursor_note[4] - 2000000), shared.start_at)
      else postbag.instant(cursor_note[4])
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
        -- (Of a group with a rate one at a time: in a fair queue there may be several, its head and those that are retried.)
        chosen as materialized (
          select one.*
          from (select head.*, row_number() over (partition by head.group_key order by head.available_at) as turn from head) as one
          where one.group_key is null or source.group_rate is null
            -- (Whose turn came after functions/put_off_groups.sql looked, or lay beyond it, may have used up its rate.)
            or one.turn = 1 and not postbag.has_used_up(source, one.group_key, receive_in_full.now)
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
          from chosen
          where message.queue_id = source.queue_id and message.ctid = chosen.place
          returning message.*
        ),
        noted as (
          select
            set_config(
              cursor_setting,
              format('%s:0:%s:%s', source.queue_id, count(chosen.group_key), postbag.microseconds(min(chosen.available_at))),
              false
            ),
            case when count(chosen.group_key) > 0 then set_config(
              'postbag.heads',
              jsonb_build_array(
                jsonb_agg(chosen.group_key) filter (where chosen.group_key is not null and chosen.attempts = 0),
                jsonb_agg(chosen.group_key) filter (where chosen.group_key is not null and chosen.attempts > 0)
              )::text,
              true
            ) end
          from chosen
          having count(*) > 0
        )
        select
          leased.message_id::text,
          concat_ws('.', leased.message_id, leased.attempts, leased.lease_key),
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
          '%s:0:%s:%s', source.queue_id, coalesce(cursor_note[3], 0), postbag.microseconds(greatest(start, receive_in_full.now - interval '1 s'))
        ),
        false
      );
    end if;
    exit when wanted = 0;
  end loop;

  if wanted = allowed then
    perform postbag.settle_pending(source.queue_id, receive_in_full.now);
  elsif wanted = 0 and source.receives_plainly then
    cursor_note := postbag.remembered(cursor_setting);
    if source.group_mode = 'ordered' or cursor_note[3] = 0 then
      perform set_config(
        cursor_setting, concat_ws(':', source.queue_id, (date_part('epoch', receive_in_full.now) * 5)::bigint, cursor_note[3], cursor_note[4]), false
      );
    end if;
  end if;
  if source.rate is not null and wanted < allowed then
    perform postbag.spend(source, '', allowed - wanted, receive_in_full.now);
  end if;
  if depth <> 'cursor' then
    perform postbag.note_look(source.queue_id, source.top_priority, look, depth = 'full', started, receive_in_full.now);
  end if;
end
$$;
--! EndIncluded functions/receive_in_full.sql
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
  hit_numbers integer[];
  hit_ids bigint[];
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
    select array_agg(hit.number), array_agg(hit.binding_id) into hit_numbers, hit_ids
    from postbag.match(
      source.exchange_id, source.type, here,
      array(select keys[place] from unnest(here) as place), array(select headers[place] from unnest(here) as place)
    ) as hit;
    return query
      select hit.number, binding.exchange_id, binding.binding_id, binding.queue_id, binding.target_id, false
      from unnest(hit_numbers, hit_ids) as hit (number, binding_id)
      join postbag.binding on binding.binding_id = hit.binding_id;

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
        join postbag.queue as known on known.name = keys[stray.number]
        where source.alternate = 'default';
    end if;

    -- (Compared as two sets: each pair with each other one would be a second for a thousand messages at six exchanges.)
    select coalesce(array_agg(fresh.number), '{}'), coalesce(array_agg(fresh.exchange_id), '{}') into new_numbers, new_ids
    from (
      (
        select hit.number, binding.target_id as exchange_id
        from unnest(hit_numbers, hit_ids) as hit (number, binding_id)
        join postbag.binding on binding.binding_id = hit.binding_id
        where binding.target_id is not null
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
  end loop;
end
$$;
--! EndIncluded functions/route.sql
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
    if alone and target.sends_plainly and messages -> 0 ? 'group' and starts_with(current_setting(target.sent_setting, true), target.counting) then
      return query select * from postbag.send_to_groups(target.queue_id, target.delay, send_batch.messages, send_batch.now);
      get diagnostics stored = row_count;
    end if;
    if stored = 0 then
      return query select * from postbag.send_in_full(send_batch.queue, send_batch.messages, send_batch.now, send_batch.alone);
      return;
    end if;
  end if;

  -- (What postbag.is_counted does; in statements of their own its parts are made ready once, not four times.)
  noted := current_setting(target.sent_setting, true);
  if starts_with(noted, target.counting) and octet_length(noted) < 2000 then
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
  perform postbag.change_options(relation, options);
  select attribute.attname into virtual
  from pg_catalog.pg_attribute as attribute
  where attribute.attrelid = relation and attribute.attgenerated = 'v'
    and attribute.attname = any (send_changes.columns || send_changes.group_column)
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
--! Included functions/send_outbox_row.sql
/* postbag.send_outbox_row: what an insert into the view postbag.outbox does, per row: the message goes to the queue that is named aggregatetype,
 * in the caller's transaction and with the caller's rights. A delete there meets no row; applications that delete what they just
 * inserted can go on doing so.
 *
 *   payload             the body: as JSON if it is JSON, else as text (so columns of jsonb, json and text may all have been there before);
 *                       null is the JSON null
 *   aggregateid         the group, type the type; null is none
 *   id                  the dedupId, and the header id
 *   timestamp, tracingspancontext   headers of these names, if given */
create or replace function postbag.send_outbox_row()
returns trigger
language plpgsql
as $$
declare
  is_json boolean := true;
begin
  if tg_op = 'DELETE' then
    return old;
  elsif new.id is null or new.aggregatetype is null then
    perform postbag.refuse('PB002', 'a row of the outbox must have an id and an aggregatetype (the name of a queue), got null');
  end if;
  begin
    perform new.payload::json;
  exception when invalid_text_representation or untranslatable_character or statement_too_complex then
    is_json := false;
  end;

  perform from postbag.send_batch(new.aggregatetype, jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
    'group', nullif(new.aggregateid, ''),
    'type', new.type,
    'dedupId', new.id,
    'headers', jsonb_build_object('id', new.id, 'timestamp', new.timestamp, 'tracingspancontext', new.tracingspancontext)
  )) || case
    when is_json then jsonb_build_object('json', coalesce(new.payload, 'null'))
    else jsonb_build_object('body', new.payload, 'encoding', 'text')
  end));
  return new;
end
$$;
--! EndIncluded functions/send_outbox_row.sql
--! Included functions/set_endpoint.sql
/* postbag.set_endpoint: create an endpoint, or replace the whole configuration of the one that has this name, but its secrets, if none are given.
 * From now on, what is published to `exchange` with a routing key that one of the event types fits is delivered to the URL.
 *   event_types    patterns as those of topic exchanges: '#' is everything. An exchange of type topic, direct or fanout
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
--! Included functions/set_paused.sql
/* postbag.set_paused: what postbag.pause and postbag.resume do. */
create or replace function postbag.set_paused(queue text, paused boolean, now timestamptz)
returns setof postbag.queue_info
language plpgsql
as $$
begin
  update postbag.queue as known
  set paused = set_paused.paused, updated_at = greatest(set_paused.now, known.created_at + interval '1 microsecond')
  where known.name = set_paused.queue collate "C" and known.paused <> set_paused.paused;
  if found and not set_paused.paused then
    perform postbag.wake(set_paused.queue);
  end if;
  return query select * from postbag.describe_queue(set_paused.queue);
end
$$;
--! EndIncluded functions/set_paused.sql
--! Included functions/set_policy.sql
/* postbag.set_policy: say what settings queues have whose name matches the pattern (* stands for any characters, also none), unless they or
 * a more specific policy say otherwise (functions/settings_of.sql); or replace all of the policy that has this name. Settings are any of
 * postbag.create_queue but durability, by their names: '{"ttl": "1 h", "max_attempts": 5}'; a number for a time is its seconds; null
 * means none.
 * In the same transaction all queues that it concerns have them, now and later; if one cannot, nothing is changed (PB002). At most 100
 * policies.
 * Beside changes of policies and creations of queues: they are waited for until their transactions end, and they wait for this one. */
create or replace function postbag.set_policy(
  policy text, pattern text, settings jsonb, now timestamptz default clock_timestamp()
)
returns setof postbag.policy_info
language plpgsql
as $$
declare
  stored jsonb;
  former text collate "C";
begin
  perform postbag.hold_policies(set_policy.now);
  stored := postbag.check_policy(set_policy.pattern, set_policy.settings);
  select known.name_like into former from postbag.policy as known where known.name = set_policy.policy collate "C";
  if not found and (select count(*) >= 100 from postbag.policy) then
    perform postbag.refuse('PB002', 'there must be at most 100 policies, got one more');
  end if;

  insert into postbag.policy as known (name, pattern, settings, created_at, updated_at)
  values (set_policy.policy, set_policy.pattern, stored, set_policy.now, set_policy.now)
  on conflict (name) do update set
    pattern = excluded.pattern,
    settings = excluded.settings,
    updated_at = greatest(excluded.updated_at, known.created_at + interval '1 microsecond');
  perform postbag.apply_policies(
    array(select known.name_like from postbag.policy as known where known.name = set_policy.policy collate "C") || former, set_policy.now
  );
  return query select * from postbag.describe_policy(set_policy.policy);
end
$$;
--! EndIncluded functions/set_policy.sql
--! Included functions/unbind.sql
/* postbag.unbind: undo the postbag.bind of the same arguments; false if there is no such binding. PB001 or PB010 for what is not there.
 * (A hash exchange has one binding per target, whatever its weight.) */
create or replace function postbag.unbind(
  exchange text,
  queue text default null,
  routing_key text default '',
  to_exchange text default null,
  headers jsonb default null,
  header_match text default null
)
returns boolean
language plpgsql
as $$
declare
  source constant postbag.exchange := postbag.exchange_named(unbind.exchange);
  source_queue_id bigint;
  source_target_id bigint;
begin
  if (unbind.queue is null) = (unbind.to_exchange is null) then
    perform postbag.refuse('PB002', 'a binding must go to either a queue or an exchange, got ' ||
      case when unbind.queue is null then 'neither' else 'both' end);
  end if;
  if unbind.queue is not null then
    source_queue_id := (postbag.queue_named(unbind.queue)).queue_id;
  else
    source_target_id := (postbag.exchange_named(unbind.to_exchange)).exchange_id;
  end if;
  delete from postbag.binding
  where binding.exchange_id = source.exchange_id
    and binding.queue_id is not distinct from source_queue_id
    and binding.target_id is not distinct from source_target_id
    and (source.type = 'hash' or binding.routing_key = coalesce(unbind.routing_key, '') collate "C")
    and (
      source.type <> 'headers'
      or binding.headers = coalesce(unbind.headers, '{}') and binding.header_match = coalesce(unbind.header_match, 'all') collate "C"
    );
  return found;
end
$$;
--! EndIncluded functions/unbind.sql
--! Included functions/untidy_queues.sql
/* postbag.untidy_queues: the queues in which postbag.maintain has something to do, of all or only the named one, by their ids. To ask all of them
 * in one statement takes some 6 µs for each; to tidy one in vain takes 400. (Each subquery takes the first by the index of ends, for each queue
 * anew: an `exists` might be answered from a list of all messages, and without an order by another index.) */
create or replace function postbag.untidy_queues(queue text, now timestamptz)
returns setof postbag.queue
language plpgsql
stable
set jit = off
set enable_seqscan = off
set enable_sort = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return query
  select known.*
  from postbag.queue as known
  where (untidy_queues.queue is null or known.name = untidy_queues.queue collate "C")
    and coalesce(
      (
        select message.expires_at from postbag.message
        where message.queue_id = known.queue_id and message.expires_at <= untidy_queues.now
        order by message.expires_at limit 1
      ),
      (
        select message.expires_at from postbag.volatile_message as message
        where message.queue_id = known.queue_id and message.expires_at <= untidy_queues.now
        order by message.expires_at limit 1
      ),
      (
        select reply.expires_at from postbag.reply
        where reply.queue_id = known.queue_id and reply.expires_at <= untidy_queues.now
        order by reply.expires_at limit 1
      ),
      (select untidy_queues.now from postbag.group_pending as pending where pending.queue_id = known.queue_id limit 1),
      -- (As long after their end as postbag.forget_dedup_ids wants.)
      (
        select id.expires_at from postbag.dedup as id
        where id.queue_id = known.queue_id and id.expires_at <= untidy_queues.now - interval '1 hour'
        order by id.expires_at limit 1
      ),
      (
        select id.expires_at from postbag.volatile_dedup as id
        where id.queue_id = known.queue_id and id.expires_at <= untidy_queues.now - interval '1 hour'
        order by id.expires_at limit 1
      )
    ) is not null
  order by known.queue_id;
end
$$;
--! EndIncluded functions/untidy_queues.sql
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
    follow_heads,leased_in_line,lock_lines,release_followers,extend_companions,put_off_groups,allowance,ack,nack,extend,refusal,order_groups,name_heads,search,
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

-- Terms that are written by their hash now.
update postbag.binding_term
set term = encode(sha256(convert_to(binding_term.term, 'UTF8')), 'hex')
where octet_length(binding_term.term) > 1000;
