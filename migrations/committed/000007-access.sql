--! Previous: sha1:807fb04fe6ae569f6fb609a9f6dd8a323f975156
--! Hash: sha1:09cbcd0ae028f7bde0962e28847e5ccb4b631690
--! Message: access

--! split: 1-current.sql
/* Who may do what, of roles that have no rights on the tables. */
create table postbag.permission (
  role regrole not null,
  verb text not null,
  -- A queue's name (to publish: an exchange's), or the beginning of names and a *.
  queues text collate "C" not null,
  primary key (role, verb, queues),
  constraint permission_verb_is_known check (verb in ('send', 'receive', 'publish'))
);

--! Included views/restricted_call.sql
/* postbag.restricted_call: one row, through which a role without rights of its own calls a verb, by updating it
 * (functions/call_as_granted.sql). It holds nothing. */
create or replace view postbag.restricted_call as
select
  current_user::name as caller,
  null::text as verb,
  null::text as queue,
  null::jsonb as arguments,
  null::json as outcome;
--! EndIncluded views/restricted_call.sql
--! Included views/outbox.sql
/* postbag.outbox: a table of Debezium's outbox pattern to those who insert: a row becomes a message (functions/send_outbox_row.sql). It holds
 * nothing, so deleting from it is allowed and does nothing. */
create or replace view postbag.outbox as
select
  null::uuid as id,
  null::text as aggregatetype,
  null::text as aggregateid,
  null::text as type,
  null::text as payload,
  null::timestamptz as "timestamp",
  null::text as tracingspancontext
where false;

alter view postbag.outbox alter column id set default gen_random_uuid();
--! EndIncluded views/outbox.sql

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
--! Included functions/is_restricted.sql
/* postbag.is_restricted: whether the role that asks may not read postbag.queue, as every role with rights of its own may: then the verbs go
 * by what postbag.grant_send and postbag.grant_receive gave it (functions/call_as_granted.sql). All that the others pay. */
create or replace function postbag.is_restricted()
returns boolean
language sql
stable
return not has_table_privilege('postbag.queue'::regclass, 'select');
--! EndIncluded functions/is_restricted.sql
--! Included functions/as_granted.sql
/* postbag.as_granted: a verb on a queue with the owner's rights, if the role that asks was granted it: a JSON array of what it returns. */
create or replace function postbag.as_granted(verb text, queue text, arguments jsonb)
returns json
language plpgsql
as $$
declare
  outcome json;
begin
  update postbag.restricted_call as made
  set verb = as_granted.verb, queue = as_granted.queue, arguments = as_granted.arguments
  returning made.outcome into outcome;
  return outcome;
end
$$;
--! EndIncluded functions/as_granted.sql
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
  if postbag.is_restricted() then
    return query
      select sent.id, sent.duplicate
      from json_to_recordset(postbag.as_granted('send', send_batch.queue, jsonb_build_object(
        'messages', send_batch.messages, 'alone', send_batch.alone
      ))) as sent (id text, duplicate boolean);
    return;
  end if;
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
 * What goes to plain queues (postbag.queue.sends_plainly) and is plain itself is one insert for all of them; else each queue has its own
 * send, in the order of their ids. */
create or replace function postbag.publish_batch(
  exchange text, messages jsonb, mandatory boolean default false, now timestamptz default clock_timestamp(), alone boolean default false
)
returns table (queues integer)
language plpgsql
set plan_cache_mode = force_generic_plan
as $$
declare
  -- A copy each: which message, and to which queue.
  copy_numbers integer[];
  copy_ids bigint[];
  are_plain boolean;
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
  perform postbag.check_publications(messages);
  select array_agg(copy.number), array_agg(copy.queue_id) into copy_numbers, copy_ids
  from (
    select distinct way.queue_id, way.number
    from postbag.route(publish_batch.exchange, publish_batch.messages) as way
    where way.queue_id is not null
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
    select bool_and(known.sends_plainly and not known.is_volatile), bool_and(known.durability <> 'full')
    into are_plain, are_relaxed
    from postbag.queue as known
    where known.queue_id = any (copy_ids);
    if alone and are_relaxed then
      perform set_config('synchronous_commit', 'off', true);
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
  if postbag.is_restricted() then
    return query
      select received.*
      from json_populate_recordset(null::postbag.delivery, postbag.as_granted('receive', receive.queue, jsonb_build_object(
        'max_messages', receive.max_messages, 'lease', receive.lease, 'auto_ack', receive.auto_ack, 'alone', receive.alone
      ))) as received;
    return;
  end if;
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
  if postbag.is_restricted() then
    return query
      select settled.receipt, settled.outcome
      from json_to_recordset(postbag.as_granted('ack', ack.queue, jsonb_build_object(
        'receipts', ack.receipts, 'alone', ack.alone
      ))) as settled (receipt text, outcome text);
    return;
  end if;
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
  kept_groups text[] := '{}';
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
--! Included functions/call_as_granted.sql
/* postbag.call_as_granted: what an update of the view postbag.restricted_call does: a verb on a queue, with the owner's rights, for a role that
 * has none on Postbag's tables, if postbag.permission says that it may.
 *
 *  1. Who asks is what the view says: `caller` is its current_user, which is who runs the update, also inside a security definer
 *     function of somebody else's. (A security definer function cannot see its caller: current_user is the owner there, and the
 *     session's user is not whose rights count. An argument could be forged; the old row of a view cannot.
 *     The row of another table could: so a trigger elsewhere gets nothing, and nobody may make one.)
 *  2. A permission of a role is one of its members' (that inherit it), too.
 *  3. The time is the database's, whatever `now` was given: a role must not make time pass for others.
 *  4. A refusal does not say whether there is such a queue.
 *
 * Another verb is a line in `needed`, a branch, and a word in the constraint permission_verb_is_known. */
create or replace function postbag.call_as_granted()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  needed constant text := case when new.verb in ('send', 'publish') then new.verb when new.verb in ('receive', 'ack', 'nack', 'extend') then 'receive' end;
  given constant jsonb := new.arguments;
begin
  if tg_relid <> 'postbag.restricted_call'::regclass or not exists (
    select from postbag.permission as granted
    -- (Whose role is gone is nobody's.)
    join pg_catalog.pg_roles as holder on holder.oid = granted.role
    where pg_has_role(old.caller, granted.role, 'usage')
      and granted.verb = needed
      and (
        granted.queues = new.queue
        or right(granted.queues, 1) = '*' and starts_with(new.queue, left(granted.queues, -1))
      )
  ) then
    raise exception using
      errcode = 'insufficient_privilege',
      message = format(
        'role "%s" must be granted %s on %s "%s", got no such grant', old.caller, coalesce(needed, new.verb),
        case when needed = 'publish' then 'exchange' else 'queue' end, new.queue
      );
  end if;

  case new.verb
    when 'send' then
      select json_agg(sent) into new.outcome
      from postbag.send_batch(new.queue, given -> 'messages', alone => (given ->> 'alone')::boolean) as sent;
    when 'publish' then
      select json_agg(json_build_object('queues', published.queues)) into new.outcome
      from postbag.publish_batch(
        new.queue, given -> 'messages', (given ->> 'mandatory')::boolean, alone => (given ->> 'alone')::boolean
      ) as published;
    when 'receive' then
      select json_agg(received) into new.outcome
      from postbag.receive(
        new.queue, (given ->> 'max_messages')::integer, (given ->> 'lease')::interval,
        auto_ack => (given ->> 'auto_ack')::boolean, alone => (given ->> 'alone')::boolean
      ) as received;
    when 'ack' then
      select json_agg(settled) into new.outcome
      from postbag.ack(new.queue, given -> 'receipts', alone => (given ->> 'alone')::boolean) as settled;
    when 'nack' then
      select json_agg(settled) into new.outcome
      from postbag.nack(
        new.queue, given -> 'receipts', (given ->> 'delay')::interval, given ->> 'error',
        dead_letter => (given ->> 'dead_letter')::boolean, untried => (given ->> 'untried')::boolean,
        alone => (given ->> 'alone')::boolean
      ) as settled;
    when 'extend' then
      select json_agg(settled) into new.outcome
      from postbag.extend(
        new.queue, given -> 'receipts', (given ->> 'lease')::interval, alone => (given ->> 'alone')::boolean
      ) as settled;
  end case;
  return new;
end
$$;
--! EndIncluded functions/call_as_granted.sql
--! Included functions/role_named.sql
/* postbag.role_named: the role of that name, or PB002. */
create or replace function postbag.role_named(role text)
returns oid
language plpgsql
stable
as $$
declare
  named oid;
begin
  select known.oid into named from pg_catalog.pg_roles as known where known.rolname = role_named.role;
  if not found then
    perform postbag.refuse('PB002', format('role must be one of the database, got "%s"', coalesce(role_named.role, 'null')));
  end if;
  return named;
end
$$;
--! EndIncluded functions/role_named.sql
--! Included functions/grant_verb.sql
/* postbag.grant_verb: let a role send to or receive from queues (postbag.grant_send, postbag.grant_receive). The role must have no rights on
 * Postbag's tables: they would be a way around. */
create or replace function postbag.grant_verb(role text, verb text, queues text[])
returns integer
language plpgsql
as $$
declare
  grantee constant oid := postbag.role_named(grant_verb.role);
  wrong text;
begin
  if coalesce(cardinality(queues), 0) not between 1 and 1000 then
    perform postbag.refuse('PB002', format('queues must be between 1 and 1000, got %s', coalesce(cardinality(queues), 0)));
  end if;
  select given.pattern into wrong
  from unnest(queues) as given (pattern)
  where (given.pattern ~ '^([A-Za-z0-9][A-Za-z0-9._-]{0,79}|([A-Za-z0-9][A-Za-z0-9._-]{0,79})?[*])$') is not true
  limit 1;
  if found then
    perform postbag.refuse('PB002', format('queues must be names, or beginnings of names and a *, got %s', coalesce(wrong, 'null')));
  end if;
  if has_table_privilege(grantee, 'postbag.queue'::regclass, 'select') then
    perform postbag.refuse('PB002', format(
      'role "%s" must have no rights on the tables of Postbag, got one that may read postbag.queue', grant_verb.role
    ));
  end if;

  insert into postbag.permission as granted (role, verb, queues)
  select grantee, grant_verb.verb, given.pattern from unnest(queues) as given (pattern)
  on conflict on constraint permission_pkey do nothing;
  execute format('grant usage on schema postbag to %I', grant_verb.role);
  execute format('grant select, update on postbag.restricted_call to %I', grant_verb.role);
  execute format('grant select, insert, delete on postbag.outbox to %I', grant_verb.role);
  return (select count(*) from postbag.permission as granted where granted.role = grantee and granted.verb = grant_verb.verb);
end
$$;
--! EndIncluded functions/grant_verb.sql
--! Included functions/revoke_verb.sql
/* postbag.revoke_verb: take back what postbag.grant_verb gave, word by word; all of it if `queues` is null. With its last permission the role
 * loses the right to call at all, so that it can be dropped. Returns how many permissions of the verb are left. */
create or replace function postbag.revoke_verb(role text, verb text, queues text[])
returns integer
language plpgsql
as $$
declare
  grantee constant oid := postbag.role_named(revoke_verb.role);
begin
  delete from postbag.permission as granted
  where granted.role = grantee
    and granted.verb = revoke_verb.verb
    and (revoke_verb.queues is null or granted.queues = any (revoke_verb.queues));
  if not exists (select from postbag.permission as granted where granted.role = grantee) then
    execute format('revoke select, update on postbag.restricted_call from %I', revoke_verb.role);
    execute format('revoke select, insert, delete on postbag.outbox from %I', revoke_verb.role);
    -- (Who was given rights by hand meanwhile keeps the way to them.)
    if not has_table_privilege(grantee, 'postbag.queue'::regclass, 'select') then
      execute format('revoke usage on schema postbag from %I', revoke_verb.role);
    end if;
  end if;
  return (select count(*) from postbag.permission as granted where granted.role = grantee and granted.verb = revoke_verb.verb);
end
$$;
--! EndIncluded functions/revoke_verb.sql
--! Included functions/grant_send.sql
/* postbag.grant_send: a role that has no rights on Postbag's tables may send to these queues: names, or a beginning and a *, or * alone. As its
 * owner. Adds to what it was granted before; returns how many names and beginnings that is now. */
create or replace function postbag.grant_send(role text, queues text[])
returns integer
language sql
return postbag.grant_verb(grant_send.role, 'send', grant_send.queues);
--! EndIncluded functions/grant_send.sql
--! Included functions/grant_receive.sql
/* postbag.grant_receive: the same as postbag.grant_send for receive, ack, nack and extend. */
create or replace function postbag.grant_receive(role text, queues text[])
returns integer
language sql
return postbag.grant_verb(grant_receive.role, 'receive', grant_receive.queues);
--! EndIncluded functions/grant_receive.sql
--! Included functions/grant_publish.sql
/* postbag.grant_publish: a role that has no rights on Postbag's tables may publish to these exchanges: names, or a beginning and a *, or * alone. As its
 * owner. Adds to what it was granted before; returns how many names and beginnings that is now. */
create or replace function postbag.grant_publish(role text, exchanges text[])
returns integer
language sql
return postbag.grant_verb(grant_publish.role, 'publish', grant_publish.exchanges);
--! EndIncluded functions/grant_publish.sql
--! Included functions/revoke_send.sql
/* postbag.revoke_send: take back what postbag.grant_send gave, word by word; all if `queues` is not given. Returns what is left. */
create or replace function postbag.revoke_send(role text, queues text[] default null)
returns integer
language sql
return postbag.revoke_verb(revoke_send.role, 'send', revoke_send.queues);
--! EndIncluded functions/revoke_send.sql
--! Included functions/revoke_receive.sql
/* postbag.revoke_receive: the same as postbag.revoke_send for postbag.grant_receive. */
create or replace function postbag.revoke_receive(role text, queues text[] default null)
returns integer
language sql
return postbag.revoke_verb(revoke_receive.role, 'receive', revoke_receive.queues);
--! EndIncluded functions/revoke_receive.sql
--! Included functions/revoke_publish.sql
/* postbag.revoke_publish: take back what postbag.grant_publish gave, word by word; all if `exchanges` is not given. Returns what is left. */
create or replace function postbag.revoke_publish(role text, exchanges text[] default null)
returns integer
language sql
return postbag.revoke_verb(revoke_publish.role, 'publish', revoke_publish.exchanges);
--! EndIncluded functions/revoke_publish.sql
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

  return given || jsonb_build_object('left_out', case
    when given ? 'columns' then array(
      select other.name from unnest(existing) as other (name) where not given -> 'columns' ? other.name
    )
    else '{}'
  end);
end
$$;
--! EndIncluded functions/change_options.sql
--! Included functions/change_message.sql
/* postbag.change_message: the message, as postbag.send_batch takes it, that says what happened to a row: `before` and `after` are all of it,
 * `options` come from postbag.change_options. Null if an update changed none of the chosen columns. */
create or replace function postbag.change_message(
  schema_name text, table_name text, operation text, before jsonb, after jsonb, options jsonb
)
returns jsonb
language plpgsql
immutable
as $$
declare
  left_out constant text[] := array(select jsonb_array_elements_text(options -> 'left_out'));
  chosen_before constant jsonb := before - left_out;
  chosen_after constant jsonb := after - left_out;
  body jsonb := jsonb_build_object('schema', schema_name, 'table', table_name, 'operation', operation);
begin
  if operation = 'update' then
    if chosen_before = chosen_after then
      return null;
    end if;
    body := body || jsonb_build_object('changed', array(
      select field.key from jsonb_each(chosen_after) as field where field.value is distinct from chosen_before -> field.key order by 1
    ));
  end if;
  if options -> 'images' ? 'before' then
    body := body || jsonb_build_object('before', chosen_before);
  end if;
  if options -> 'images' ? 'after' then
    body := body || jsonb_build_object('after', chosen_after);
  end if;
  return jsonb_build_object('body', body, 'type', coalesce(options ->> 'type', table_name) || '.' || operation)
    || jsonb_strip_nulls(jsonb_build_object('group', coalesce(after, before) ->> (options ->> 'group_column')));
end
$$;
--! EndIncluded functions/change_message.sql
--! Included functions/check_outbox_trigger.sql
/* postbag.check_outbox_trigger: refuse (PB002) a trigger that calls postbag.outbox_trigger and was not made as that one needs it. */
create or replace function postbag.check_outbox_trigger(relation regclass, trigger_name name, operation text, arguments text[])
returns void
language plpgsql
stable
as $$
declare
  needed constant text := case operation
    when 'INSERT' then 'after insert … referencing new table as new_rows for each statement'
    when 'UPDATE' then 'after update … referencing old table as old_rows new table as new_rows for each statement'
    when 'DELETE' then 'after delete … referencing old table as old_rows for each statement'
    else 'for insert, update or delete'
  end;
begin
  if cardinality(arguments) is distinct from 1 and cardinality(arguments) is distinct from 2 then
    perform postbag.refuse('PB002', format(
      'trigger %I must call outbox_trigger with a queue and perhaps options, got %s arguments',
      trigger_name, coalesce(cardinality(arguments), 0)
    ));
  end if;
  perform
  from pg_catalog.pg_trigger as made
  where made.tgrelid = relation
    and made.tgname = trigger_name
    and operation <> 'TRUNCATE'
    and (made.tgoldtable is not distinct from 'old_rows' or operation = 'INSERT')
    and (made.tgnewtable is not distinct from 'new_rows' or operation = 'DELETE');
  if not found then
    perform postbag.refuse('PB002', format('trigger %I must be made %s, got another one', trigger_name, needed));
  end if;
end
$$;
--! EndIncluded functions/check_outbox_trigger.sql
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
 *  3. With the rights of who changes the table: he needs those of a sender. (With the owner's, whoever has a table could send anywhere.)
 *     The rows come from the statement, not from the table: its row-level security hides none. */
create or replace function postbag.outbox_trigger()
returns trigger
language plpgsql
as $$
declare
  queue constant text := tg_argv[0];
  options constant jsonb := postbag.change_options(tg_relid, coalesce(tg_argv[1], '{}')::jsonb);
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
    open befores for select to_jsonb(changed) from old_rows as changed;
  end if;
  if tg_op <> 'DELETE' then
    open afters for select to_jsonb(changed) from new_rows as changed;
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
--! Included functions/change_trigger_name.sql
/* postbag.change_trigger_name: what postbag.send_changes calls its trigger of an event: it says the queue's name, as far as there is room. */
create or replace function postbag.change_trigger_name(event text, queue text)
returns name
language sql
immutable
return format(
  'postbag_%s_%s', event, case when length(queue) <= 40 then queue else left(queue, 31) || '_' || left(md5(queue), 8) end
)::name;
--! EndIncluded functions/change_trigger_name.sql
--! Included functions/stop_sending_changes.sql
/* postbag.stop_sending_changes: a table's changes are sent to this queue no more (which need not exist any more). Returns how many triggers
 * of postbag.send_changes went; those that were made by hand stay. */
create or replace function postbag.stop_sending_changes(relation regclass, queue text)
returns integer
language plpgsql
as $$
declare
  made record;
  dropped integer := 0;
begin
  for made in
    select existing.tgname as name, space.nspname as in_schema, class.relname as of_table
    from pg_catalog.pg_trigger as existing
    join pg_catalog.pg_class as class on class.oid = existing.tgrelid
    join pg_catalog.pg_namespace as space on space.oid = class.relnamespace
    where existing.tgrelid = relation
      and existing.tgfoid = 'postbag.outbox_trigger()'::regprocedure
      and existing.tgname in (
        select postbag.change_trigger_name(event, stop_sending_changes.queue) from unnest('{insert,update,delete}'::text[]) as event
      )
  loop
    execute format('drop trigger %I on %I.%I', made.name, made.in_schema, made.of_table);
    dropped := dropped + 1;
  end loop;
  return dropped;
end
$$;
--! EndIncluded functions/stop_sending_changes.sql
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
begin
  perform postbag.queue_named(send_changes.queue);
  perform postbag.change_options(relation, options);
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
  exception when invalid_text_representation or untranslatable_character then
    is_json := false;
  end;

  perform from postbag.send_batch(new.aggregatetype, jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
    'group', new.aggregateid,
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

create trigger call_as_granted instead of update on postbag.restricted_call
  for each row execute function postbag.call_as_granted();
create trigger send_outbox_row instead of insert or delete on postbag.outbox
  for each row execute function postbag.send_outbox_row();

-- With the owner's rights, on what their row says: not to be put on a table of somebody's own.
revoke execute on function postbag.call_as_granted() from public;
revoke execute on function postbag.apply_group_changes() from public;

select postbag.make_volatile_twins();
