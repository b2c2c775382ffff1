--! Previous: sha1:642b47534981ab54ae502d427e5b72fc691cb390
--! Hash: sha1:1dfbbf633be9af39a51f192886b62533586b6910
--! Message: fewer-steps

--! split: 1-current.sql
-- What a verb needs of a queue in each call, written down once: under which settings a session notes what, how its notes about the queue begin,
-- and the slot of who waits for it.
alter table postbag.queue
  add column note_prefix text not null generated always as (queue_id::text || ':') stored,
  add column cursor_setting text not null generated always as ('postbag.cursor_' || (queue_id % 256)::text || '_0') stored,
  add column look_setting text not null generated always as ('postbag.look_' || (queue_id % 256)::text) stored,
  add column sent_setting text not null generated always as ('postbag.sent_' || (queue_id % 1024)::text) stored,
  add column done_setting text not null generated always as ('postbag.done_' || (queue_id % 1024)::text) stored,
  add column wake_slot integer not null generated always as (postbag.wake_slot(name)) stored;
drop function postbag.is_awaited(text);
--! Included functions/is_awaited.sql
/* postbag.is_awaited: whether somebody may be waiting for a queue of this slot (functions/wake.sql): false is certain. In one expression, which nothing
 * interrupts: the lock is the session's, and would outlive an error. */
create or replace function postbag.is_awaited(slot integer)
returns boolean
language sql
volatile
return not case
  when pg_try_advisory_lock(1886352386, slot) then pg_advisory_unlock(1886352386, slot)
  else false
end;
--! EndIncluded functions/is_awaited.sql
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
  perform pg_notify('postbag', case when starts_with(wake.queue, 'webhooks.') then '~webhooks' else wake.queue end);
end
$$;
--! EndIncluded functions/wake.sql
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
declare
  -- Bytes from which on it pays (npm run bench -- publish).
  least_shared constant integer := 8000;
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
    where many.are_kept or (cardinality(many.queue_ids) > 1 and octet_length(checked.body) >= least_shared)
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
--! Included functions/claimed_id.sql
/* postbag.claimed_id: the id of the message that a receipt names; null if the text is no receipt. (Of a number with more digits than an id
 * can have, the first 18: there may be such a message, but it has another receipt.) */
create or replace function postbag.claimed_id(receipt text)
returns bigint
language sql
immutable
return case
  when translate(left(split_part(receipt, '.', 1), 18), '0123456789', '') = '' then nullif(left(split_part(receipt, '.', 1), 18), '')::bigint
end;
--! EndIncluded functions/claimed_id.sql
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
  -- Of several receipts, those whose messages are gone, and the groups whose heads were among these.
  done text[];
  headless text[];
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
    known.note_prefix || date_part('epoch', ack.now)::bigint || ':' as counting,
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
    insert into postbag.group_change (queue_id, groups, changed_at) values (source.queue_id, headless, ack.now);
  end if;
  noted := current_setting(source.done_setting, true);
  if starts_with(noted, source.counting) and octet_length(noted) < 2000 then
    noted := set_config(source.done_setting, noted || settled || ':', false);
  else
    perform postbag.tick('done', source.queue_id, settled, ack.now);
  end if;
  -- (There is room for others.)
  if source.max_in_flight is not null then
    perform postbag.wake(ack.queue);
  end if;
end
$$;
--! EndIncluded functions/ack.sql
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
  where known.name = send_batch.queue;

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
--! Included functions/send.sql
/* postbag.send: put one message into a queue, in the caller's transaction; returns its id, or the id of the first message sent with
 * the same dedup_id. `select postbag.send('orders', '{"id": 1}', delay => '5 s')`. What the values mean: postbag.send_batch.
 * (Only what was given goes along, because the short way of a send is for messages with a body and a type.) */
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
      jsonb_build_array(
        jsonb_build_object('body', send.body)
        || case when send.headers is null then '{}' else jsonb_build_object('headers', send.headers) end
        || jsonb_strip_nulls(jsonb_build_object(
          'type', send.type, 'priority', send.priority, 'delaySeconds', extract(epoch from send.delay), 'encoding', nullif(send.encoding, 'json'),
          'contentType', send.content_type, 'dedupId', send.dedup_id, 'group', send.group_key, 'ttlSeconds', extract(epoch from send.ttl),
          'availableAt', send.available_at, 'correlationId', send.correlation_id, 'replyTo', send.reply_to
        ))
      ),
      send.now
    ) as sent
  );
end
$$;
--! EndIncluded functions/send.sql
--! Included functions/is_untidy.sql
/* postbag.is_untidy: whether postbag.tidy_at_commit has something to do for a queue, because tidying in vain costs more than most calls. Of notes of
 * traffic those are that should have been gone for five minutes, so that they go many at a time. With the owner's rights: who may only send sees no
 * message, and tidies nevertheless. */
create or replace function postbag.is_untidy(source_id bigint, now timestamptz)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return exists (select from postbag.message where message.queue_id = source_id and message.expires_at <= is_untidy.now)
    or exists (select from postbag.volatile_message as message where message.queue_id = source_id and message.expires_at <= is_untidy.now)
    or exists (select from postbag.reply where reply.queue_id = source_id and reply.expires_at <= is_untidy.now)
    or exists (select from postbag.group_pending as pending where pending.queue_id = source_id)
    or exists (
      select from postbag.traffic as noted
      where noted.queue_id = source_id and noted.noted_at < is_untidy.now - interval '15 min'
    )
    or exists (select from postbag.body)
    or (select eldest.started_at from postbag.attempt as eldest order by eldest.attempt_id limit 1) < is_untidy.now - postbag.kept_for();
end
$$;
--! EndIncluded functions/is_untidy.sql
--! Included functions/tidy_at_commit.sql
/* postbag.tidy_at_commit: what a session has done for an untidy queue once a second at most (functions/tidy_now_and_then.sql), at the end of its
 * transaction: tidy up to 1000 messages, replies and shared bodies, name the heads that were left unnamed, and forget traffic of long ago. */
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
  -- (On while most of what is looked at is of no use.)
  for turn in 1 .. 10 loop
    exit when postbag.forget_bodies(100, tidy_at_commit.now) < 50;
  end loop;
  if random() < 1 / 60.0 then
    perform postbag.forget_attempts(1000, tidy_at_commit.now);
  end if;
  perform postbag.settle_pending(tidied_id, tidy_at_commit.now);
  perform postbag.forget_traffic(tidied_id, tidy_at_commit.now);
end
$$;
--! EndIncluded functions/tidy_at_commit.sql
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
  noted text;
begin
  if starts_with(current_setting(setting, true), source_id || ':') then
    note := postbag.remembered(setting);
    counted := counted + coalesce((select sum(earlier.number) from unnest(note[3:]) as earlier (number)), 0);
    if note[2] || ':' = second then
      perform set_config(setting, format('%s:%s%s:', source_id, second, counted), false);
      return;
    end if;
  end if;

  if counted > 0 and has_table_privilege('postbag.traffic'::regclass, 'insert') then
    insert into postbag.traffic (queue_id, noted_at, sent, done)
    values (source_id, tick.now, case verb when 'sent' then counted else 0 end, case verb when 'done' then counted else 0 end);
  end if;
  noted := set_config(setting, source_id || ':' || second, false);
  perform postbag.tidy_now_and_then(source_id, tick.now);
end
$$;
--! EndIncluded functions/tick.sql
--! Included functions/is_clean.sql
/* postbag.is_clean: whether a session may look at all of a queue, from the head of its index on, by the short statement of postbag.receive: nobody
 * announced that such a look takes long, and was made lately (functions/receive_in_full.sql), and nothing stands in a group. */
create or replace function postbag.is_clean(source_id bigint, now timestamptz)
returns boolean
language plpgsql
stable
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  return (
    select sweep.due_us <= postbag.microseconds(is_clean.now)
    from postbag.sweep
    where sweep.queue_id = source_id
      and not exists (select from postbag.message where message.queue_id = source_id and message.group_position is not null)
  );
end
$$;
--! EndIncluded functions/is_clean.sql
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
    if took_us >= expensive_us and current_setting('transaction_isolation') = 'read committed' then
      perform postbag.announce_sweep(source_id, note_look.top_priority, look[3], look[5]);
    end if;
  end if;
  perform set_config('postbag.look_' || source_id % 256, array_to_string(look, ':'), false);
end
$$;
--! EndIncluded functions/note_look.sql
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
    case when receive.alone and not receive.auto_ack then set_config('synchronous_commit', 'off', true) end
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
  look_setting constant text := 'postbag.look_' || source.queue_id % 256;
  look bigint[] := postbag.remembered(look_setting);
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
              format('%s:0:%s:%s', source.queue_id, count(head.group_key), postbag.microseconds(min(head.available_at))),
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
  select min(note.cursor[4]) into lowest_us
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
