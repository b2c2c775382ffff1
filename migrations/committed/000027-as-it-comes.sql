--! Previous: sha1:88e15a71f4ebf717bfa129f9c5e5b0853493bfa0
--! Hash: sha1:f1e61295bbb6fa236e1ef32fe2a0a1a98700097a
--! Message: as-it-comes

--! split: 1-current.sql
-- Holds what was promised where a table or a publication is not as expected: a table that sends its changes may call a column `changed`, and
-- its group column may be empty; a publication of all tables does not refuse the one row that says where the round of shared bodies is.

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
