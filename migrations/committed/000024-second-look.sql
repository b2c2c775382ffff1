--! Previous: sha1:a6b841a3121685ea514787b43dd36f5e87fe4e18
--! Hash: sha1:b174c9e604aebfb9b206e146101aaf695a5f214b
--! Message: second-look

--! split: 1-current.sql
/* With another argument, which nobody gives but who receives in the same statement. */
drop function postbag.ack(text, jsonb, timestamptz, boolean);
drop function postbag.volatile_ack(text, jsonb, timestamptz, boolean);
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
      from postbag.ack(new.queue, given -> 'receipts', alone => (given ->> 'alone')::boolean, rides => (given ->> 'rides')::boolean) as settled;
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
declare
  is_locked boolean;
begin
  if current_setting('transaction_isolation') <> 'read committed'
    or not has_table_privilege('postbag.message'::regclass, 'update')
    or not has_table_privilege('postbag.group_pending'::regclass, 'insert')
  then
    return false;
  end if;
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
  having count(*) > 0 and current_setting('transaction_isolation') = 'read committed';
end
$$;
--! EndIncluded functions/settle_pending.sql
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

  return query select * from postbag.receive_in_full(
    receive.queue, receive.max_messages - claimed, receive.lease, receive.now
  );
end
$$;
--! EndIncluded functions/receive.sql
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
  has_filters boolean;
  -- By number, if some endpoint looks into them.
  contents jsonb[];
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
    select bool_and(known.sends_plainly and not known.is_volatile and not known.is_one_group), bool_and(known.durability <> 'full')
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
  takes_long := told.millis > case when known.is_slow then prompt_millis else slow_millis end;
  if told.is_well is null
    or told.is_well and known.is_proven and known.is_slow = takes_long and known.failures = 0 and known.resting_until is null
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
--! Included functions/delete_endpoint.sql
/* postbag.delete_endpoint: delete an endpoint with all that waits for it; how many deliveries that were. PB014. */
create or replace function postbag.delete_endpoint(endpoint text)
returns bigint
language plpgsql
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(delete_endpoint.endpoint);
begin
  -- Before its health, which goes with it: who settles deliveries does so in this order. And after the queue, as functions/delete_queue.sql.
  perform from postbag.queue as known where known.queue_id = own.queue_id for update;
  perform from postbag.message where message.queue_id = own.queue_id order by message.message_id for update;
  return postbag.delete_queue('webhooks.' || own.name);
end
$$;
--! EndIncluded functions/delete_endpoint.sql
--! Included functions/claim_deliveries.sql
/* postbag.claim_deliveries: lease up to `most` deliveries (1 to 1000) of all endpoints, each with what the request needs. Who claims makes the
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
  now timestamptz default clock_timestamp()
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
    is_over := is_over and room > 0 and (room_for_doubtful > 0 or target.standing = 'trusted');
    exit when not is_over;
  end loop;
  if not is_over or is_cut then
    claim_deliveries.next := case when is_over then 0 else position end;
    return next;
  end if;
end
$$;
--! EndIncluded functions/claim_deliveries.sql

select postbag.make_volatile_twins();
