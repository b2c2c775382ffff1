--! Previous: sha1:88e15a71f4ebf717bfa129f9c5e5b0853493bfa0
--! Hash: sha1:281f948d911818cf55c60bd931a5f4ec982f19a2
--! Message: as-it-comes

--! split: 1-current.sql
-- Holds what was promised where a table or a publication is not as expected: a table that sends its changes may call a column `changed`, and
-- its group column may be empty; a publication of all tables does not refuse the one row that says where the round of shared bodies is.
-- Maintenance of many queues at rest costs little.

-- The key of the only row, without which its update could not be published.
alter table postbag.body_round add column is_only boolean primary key default true check (is_only);

--! Included functions/change_message.sql
/* postbag.change_message: the message, as postbag.send_batch takes it, that says what happened to a row: `before` and `after` are all of it,
 * `options` come from postbag.change_options. Null if an update changed none of the chosen columns. A group column that is null or empty makes no
 * group, as no group has an empty name; PB002 if it is longer than one may be. */
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
  group_key constant text := nullif(coalesce(after, before) ->> (options ->> 'group_column'), '');
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
  if length(group_key) > 128 then
    perform postbag.refuse('PB002', format(
      'column "%s" of table "%s" must have at most 128 characters, as it is the group of its messages, got %s',
      options ->> 'group_column', table_name, length(group_key)
    ));
  end if;
  if options -> 'images' ? 'before' then
    body := body || jsonb_build_object('before', chosen_before);
  end if;
  if options -> 'images' ? 'after' then
    body := body || jsonb_build_object('after', chosen_after);
  end if;
  return jsonb_build_object('body', body, 'type', coalesce(options ->> 'type', table_name) || '.' || operation)
    || jsonb_strip_nulls(jsonb_build_object('group', group_key));
end
$$;
--! EndIncluded functions/change_message.sql
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
 *  4. With the rights of who changes the table: he needs those of a sender. (With the owner's, whoever has a table could send anywhere.)
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
    open befores for select to_jsonb(changed.*) from old_rows as changed;
  end if;
  if tg_op <> 'DELETE' then
    open afters for select to_jsonb(changed.*) from new_rows as changed;
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
  where (untidy_queues.queue is null or known.name = untidy_queues.queue)
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
--! Included functions/maintain.sql
/* postbag.maintain: remove what nobody needs any more, up to max_messages of each kind, in one queue or in all: messages whose time to
 * live or last lease has ended (to the dead letters, if the queue says so), dead letters kept long enough, replies, shared bodies, dedup ids, old notes, and
 * messages of queues that were deleted while they were sent. `more` is true if there was more to do: call again.
 * Sends and receives do this for their own queue as they go; this is for queues that nobody uses: from cron, once a minute or an hour. */
create or replace function postbag.maintain(
  queue text default null, max_messages integer default 10000, now timestamptz default clock_timestamp()
)
returns table (
  expired_messages bigint, removed_dead_letters bigint, forgotten_dedup_ids bigint, removed_orphans bigint, more boolean
)
language plpgsql
-- (Its statements are short, and would look high enough to compile.)
set jit = off
as $$
declare
  tended postbag.queue;
  tidied record;
  forgotten bigint;
  forgotten_replies bigint := 0;
  forgotten_bodies bigint := 0;
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

  for tended in select * from postbag.untidy_queues(maintain.queue, maintain.now) loop
    select * into tidied
    from postbag.tidy(tended, greatest(max_messages - expired_messages - removed_dead_letters, 0)::integer, maintain.now);
    forgotten := case
      when tended.is_volatile then postbag.volatile_forget_dedup_ids(tended.queue_id, maintain.now)
      else postbag.forget_dedup_ids(tended.queue_id, maintain.now)
    end;
    forgotten_replies := forgotten_replies
      + postbag.forget_replies(tended.queue_id, (max_messages - forgotten_replies)::integer, maintain.now);
    perform postbag.settle_pending(tended.queue_id, maintain.now);
    expired_messages := expired_messages + tidied.expired;
    removed_dead_letters := removed_dead_letters + tidied.removed;
    forgotten_dedup_ids := forgotten_dedup_ids + forgotten;
    more := more or forgotten >= 1024;
  end loop;

  if maintain.queue is null then
    forgotten_bodies := postbag.forget_bodies(max_messages, maintain.now) + postbag.forget_attempts(max_messages, maintain.now);
    removed_orphans := postbag.remove_orphans(max_messages) + postbag.volatile_remove_orphans(max_messages);
  end if;
  delete from postbag.traffic
  where traffic.ctid = any (array(
    select old.ctid from postbag.traffic as old where old.noted_at < maintain.now - interval '10 min' for update skip locked
  ));
  -- (Nothing of their burst is used up.)
  delete from postbag.flow
  where flow.ctid = any (array(select old.ctid from postbag.flow as old where old.spent_until < maintain.now for update skip locked));
  delete from postbag.inbox as known
  where known.ctid = any (array(
    select old.ctid from postbag.inbox as old
    where old.expires_at < maintain.now order by old.expires_at limit max_messages for update skip locked
  ));
  more := coalesce(more, false) or expired_messages + removed_dead_letters >= max_messages or forgotten_replies >= max_messages
    or forgotten_bodies >= max_messages
    or removed_orphans >= max_messages;
  return next;
end
$$;
--! EndIncluded functions/maintain.sql
