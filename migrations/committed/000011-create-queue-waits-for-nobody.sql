--! Previous: sha1:eae9b6251870f3c113995fc2810b0b6c91f4392d
--! Hash: sha1:46477e85e2014a577cd6e400684829f239eeeb1e
--! Message: create-queue-waits-for-nobody

--! split: 1-current.sql
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

  select known.* into present from postbag.queue as known where known.name = create_queue.queue;
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
  where known.name = create_queue.queue and not exists (select from postbag.sweep where sweep.queue_id = known.queue_id)
  on conflict do nothing;
  insert into postbag.tally (queue_id, counted_at, took_us, ready, leased, delayed, blocked, dead, bytes, capped, newest_id)
  select known.queue_id, '-infinity', 0, 0, 0, 0, 0, 0, 0, false, 0
  from postbag.queue as known
  where known.name = create_queue.queue and not exists (select from postbag.tally where tally.queue_id = known.queue_id)
  on conflict do nothing;
  -- More of it may be available than before.
  perform postbag.wake(create_queue.queue);

  return query select info.* from postbag.queue_info as info where info.name = create_queue.queue;
end
$$;
--! EndIncluded functions/create_queue.sql
