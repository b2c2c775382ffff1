--! Previous: sha1:68490afb5cf08555139b74dd62bf5cbc2865048f
--! Hash: sha1:88e15a71f4ebf717bfa129f9c5e5b0853493bfa0
--! Message: owners-rights

--! split: 1-current.sql
-- What runs with the owner's rights takes no type and no table of the caller's; a batch of small messages may take the place of a large one.
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
--! Included functions/is_untidy.sql
/* postbag.is_untidy: whether postbag.tidy_at_commit has something to do for a queue, because tidying in vain costs more than most calls. Of notes of
 * traffic those are that should have been gone for five minutes, so that they go many at a time. With the owner's rights: who may only send sees no
 * message, and tidies nevertheless. */
create or replace function postbag.is_untidy(source_id bigint, now timestamptz)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
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
    or exists (
      select from (select attempt.started_at from postbag.attempt order by attempt.attempt_id limit 1) as eldest
      where eldest.started_at < is_untidy.now - postbag.kept_for()
    );
end
$$;
--! EndIncluded functions/is_untidy.sql
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
  if current_setting('transaction_isolation') <> 'read committed' then
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

select postbag.make_volatile_twins();
