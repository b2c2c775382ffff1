--! Previous: sha1:09cbcd0ae028f7bde0962e28847e5ccb4b631690
--! Hash: sha1:1b6f64572ccbc247c66ce7915807b889595ce0b8
--! Message: dead-letter-exchanges

--! split: 1-current.sql
/* Dead letters by an exchange, as RabbitMQ users know them. */
alter table postbag.queue
  add column dead_letter_exchange text collate "C",
  add column dead_letter_routing_key text collate "C",
  add constraint queue_dead_letter_exchange_is_1_to_80_safe_characters check (dead_letter_exchange ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$'),
  add constraint queue_dead_letter_routing_key_is_at_most_255_characters check (length(dead_letter_routing_key) <= 255),
  add constraint queue_dead_letter_routing_key_needs_a_dead_letter_exchange
    check (dead_letter_routing_key is null or dead_letter_exchange is not null),
  add constraint queue_dead_letters_go_to_a_queue_or_by_an_exchange check (dead_letter_queue is null or dead_letter_exchange is null);

/* What goes because its function got another signature, or another name. */
drop function postbag.create_queue;
drop function postbag.move_dead;
drop function postbag.volatile_move_dead;
drop function postbag.with_death;
drop function postbag.check_dead_letter_queue;
drop function postbag.with_bursts;

/* The functions that are new or changed. */
--! Included functions/match_topics.sql
/* postbag.match_topics: which bindings of a topic exchange fit which routing keys. Words are divided by dots; in a pattern `*` stands for
 * exactly one word, `#` for any number of them, none included. An empty text has no words; 'a..b' has three, one of them empty.
 *
 *  1. All patterns of the exchange together are a tree, whose nodes are their beginnings (postbag.binding_term).
 *  2. A key is read word by word, from the root. At each node the walk goes on to the child of this very word and to the child `*`, which
 *     both take the word; to the child `#`, which takes none; and at a `#` it may also stay, and take the word.
 *  3. A pattern fits if the walk stands on its last word when the key has been read.
 * So what is visited is what some pattern has in common with the key, and how many other patterns there are does not matter. */
create or replace function postbag.match_topics(source_id bigint, numbers integer[], keys text[])
returns table (number integer, binding_id bigint)
language sql
stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
  with recursive walk (number, words, path, taken) as (
    select asked.number, string_to_array(asked.key collate "C", '.'), '' collate "C", 0
    from unnest(numbers, keys) as asked (number, key)
    union
    select walk.number, walk.words, step.path, walk.taken + step.takes
    from walk
    cross join lateral (
      -- (Collations are said, because a caller's arguments bring their own.)
      select (walk.path || walk.words[walk.taken + 1] || '.') collate "C", 1 where walk.taken < cardinality(walk.words)
      union all
      select walk.path || '*.', 1 where walk.taken < cardinality(walk.words)
      union all
      select walk.path || '#.', 0
      union all
      select walk.path, 1 where walk.taken < cardinality(walk.words) and (walk.path = '#.' or walk.path like '%.#.')
    ) as step (path, takes)
    where step.path = walk.path
      or exists (select from postbag.binding_term as node where node.exchange_id = source_id and node.term = step.path)
  )
  select walk.number, binding.binding_id
  from walk
  join postbag.binding on binding.exchange_id = source_id and binding.routing_key = left(walk.path, -1)
  where walk.taken = cardinality(walk.words)
$$;
--! EndIncluded functions/match_topics.sql
--! Included functions/with_companions.sql
/* postbag.with_companions: settings, where one brings those along that mean something only beside it: who says a rate and no burst means a
 * burst of one second, and who says where dead letters go says so alone, not what somebody said who had something else in mind. */
create or replace function postbag.with_companions(settings jsonb)
returns jsonb
language sql
immutable
as $$
  select
    case when settings ? 'rate' then jsonb '{"burst": null}' else '{}' end
    || case when settings ? 'group_rate' then jsonb '{"group_burst": null}' else '{}' end
    || case
      when coalesce(settings ->> 'dead_letter_queue', settings ->> 'dead_letter_exchange') is not null
        then jsonb '{"dead_letter_queue": null, "dead_letter_exchange": null, "dead_letter_routing_key": null}'
      else '{}'
    end
    || settings
$$;
--! EndIncluded functions/with_companions.sql
--! Included functions/queue_settings.sql
/* postbag.queue_settings: the settings of a queue, their built-in defaults (null: none, such as no limit), and whether a policy may say them.
 * The one list of them: a setting is a line here, a column of postbag.queue, and a line each in postbag.create_queue and
 * postbag.save_queue. Names are the columns'. A number for an interval is its seconds.
 * Durability is each queue's own: where messages are stored cannot change under them. */
create or replace function postbag.queue_settings()
returns table (name text, kind text, by_default jsonb, by_policy boolean)
language sql
immutable
as $$
  values
    ('delivery_order', 'text', jsonb '"fifo"', true),
    ('max_priority', 'number', '0', true),
    ('group_mode', 'text', '"ordered"', true),
    ('lease', 'interval', '"30 s"', true),
    ('delay', 'interval', '"0 s"', true),
    ('ttl', 'interval', 'null', true),
    ('max_attempts', 'number', 'null', true),
    ('retry_delay', 'interval', '"0 s"', true),
    ('retry_backoff', 'text', '"fixed"', true),
    ('retry_max_delay', 'interval', '"1 h"', true),
    ('retry_jitter', 'number', '0', true),
    ('dead_letter_queue', 'text', 'null', true),
    ('dead_letter_exchange', 'text', 'null', true),
    ('dead_letter_routing_key', 'text', 'null', true),
    ('dead_letter_retention', 'interval', '"14 days"', true),
    ('dedup_window', 'interval', '"5 min"', true),
    ('dedup_by', 'text', '"id"', true),
    ('dedup_scope', 'text', '"queue"', true),
    ('max_messages', 'number', 'null', true),
    ('max_bytes', 'number', 'null', true),
    ('overflow', 'text', '"reject"', true),
    ('max_in_flight', 'number', 'null', true),
    ('rate', 'number', 'null', true),
    ('burst', 'number', 'null', true),
    ('group_rate', 'number', 'null', true),
    ('group_burst', 'number', 'null', true),
    ('durability', 'text', '"full"', false)
$$;
--! EndIncluded functions/queue_settings.sql
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
    where settings_of.queue like policy.name_like
    union all
    select 3, 0, null, (select jsonb_object_agg(known.name, known.by_default) from postbag.queue_settings() as known)
  ) as layer
  cross join lateral jsonb_each(layer.settings) as said (setting, value)
  order by said.setting, layer.depth, layer.place
$$;
--! EndIncluded functions/settings_of.sql
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
    and not exists (select from postbag.exchange as known where known.name = wanted.dead_letter_exchange)
  then
    perform postbag.refuse('PB002', format('deadLetterExchange must be an exchange that exists, got %L', wanted.dead_letter_exchange));
  end if;
  if wanted.dead_letter_queue is null or wanted.dead_letter_queue = wanted.name then
    return;
  end if;
  select known.* into target from postbag.queue as known where known.name = wanted.dead_letter_queue;
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
--! Included functions/save_queue.sql
/* postbag.save_queue: write down a queue with all its settings, new or in place of the one of that name; whether it did: not if that one's
 * messages are stored elsewhere. */
create or replace function postbag.save_queue(wanted postbag.queue, now timestamptz)
returns boolean
language plpgsql
as $$
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
  return found;
end
$$;
--! EndIncluded functions/save_queue.sql
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

  insert into postbag.sweep (queue_id)
  select known.queue_id from postbag.queue as known where known.name = create_queue.queue
  on conflict do nothing;
  insert into postbag.tally (queue_id, counted_at, took_us, ready, leased, delayed, blocked, dead, bytes, capped, newest_id)
  select known.queue_id, '-infinity', 0, 0, 0, 0, 0, 0, 0, false, 0
  from postbag.queue as known where known.name = create_queue.queue
  on conflict do nothing;
  -- More of it may be available than before.
  perform postbag.wake(create_queue.queue);

  return query select info.* from postbag.queue_info as info where info.name = create_queue.queue;
end
$$;
--! EndIncluded functions/create_queue.sql
--! Included functions/check_policy.sql
/* postbag.check_policy: refuse (PB002, or the rule of postbag.queue that is broken) settings that no queue could have, by whatever policy;
 * else the settings as they are stored: intervals as seconds. */
create or replace function postbag.check_policy(pattern text, settings jsonb)
returns jsonb
language plpgsql
as $$
declare
  by_policy constant text[] := array(select known.name from postbag.queue_settings() as known where known.by_policy);
  probe postbag.queue;
  stored jsonb;
  said record;
begin
  if jsonb_typeof(settings) is distinct from 'object' then
    perform postbag.refuse('PB002', format('settings must be an object, got %s', coalesce(left(settings::text, 80), 'nothing')));
  end if;
  for said in
    select given.name, given.value, known.by_default, known.by_policy
    from jsonb_each(settings) as given (name, value)
    left join postbag.queue_settings() as known on known.name = given.name
  loop
    if said.by_default is null then
      perform postbag.refuse('PB002', format(
        'settings has the unknown field %s: known are %s', left(said.name, 80), array_to_string(by_policy, ', ')
      ));
    elsif not said.by_policy then
      perform postbag.refuse('PB002', format('%s must be set by each queue itself, got a policy with it', said.name));
    elsif said.value = 'null' and said.by_default <> 'null' then
      perform postbag.refuse('PB002', format('%s must not be null: leave it out of the settings to say nothing', said.name));
    end if;
  end loop;
  select coalesce(jsonb_object_agg(given.name, case
    when known.kind = 'interval' and given.value <> 'null'
      then to_jsonb(trim_scale(extract(epoch from (given.value #>> '{}')::interval)))
    else given.value
  end), '{}') into stored
  from jsonb_each(settings) as given (name, value)
  join postbag.queue_settings() as known on known.name = given.name;

  if stored ->> 'dead_letter_queue' <> pattern
    and not exists (select from postbag.queue as known where known.name = stored ->> 'dead_letter_queue')
  then
    perform postbag.refuse('PB002', format('deadLetterQueue must be a queue that exists, got %L', stored ->> 'dead_letter_queue'));
  end if;
  if stored ->> 'dead_letter_exchange' <> 'default'
    and not exists (select from postbag.exchange as known where known.name = stored ->> 'dead_letter_exchange')
  then
    perform postbag.refuse('PB002', format('deadLetterExchange must be an exchange that exists, got %L', stored ->> 'dead_letter_exchange'));
  end if;

  -- The rules of the values are the table's: a queue that has just these settings is made, and undone at once.
  begin
    probe := jsonb_populate_record(null::postbag.queue, stored || (
      select jsonb_object_agg(known.name, known.by_default) from postbag.queue_settings() as known where not stored ? known.name
    ));
    probe.name := 'policy.' || gen_random_uuid();
    probe.explicit := '{}';
    perform postbag.save_queue(probe, clock_timestamp());
    raise exception using errcode = 'PB000';
  exception
    when sqlstate 'PB000' then
      null;
  end;
  return stored;
end
$$;
--! EndIncluded functions/check_policy.sql
--! Included functions/apply_policies.sql
/* postbag.apply_policies: give every queue whose name matches one of the patterns (of LIKE) the settings that it has by the policies as they
 * are now, with the same consequences as a replacement of its configuration. Called by who holds postbag.policy_change, so that no queue
 * appears or is replaced meanwhile. One that cannot have its new settings refuses the whole (PB002), by name. */
create or replace function postbag.apply_policies(patterns text[], now timestamptz)
returns void
language plpgsql
as $$
declare
  known postbag.queue;
  wanted postbag.queue;
  rule text;
begin
  for known in
    select queue.* from postbag.queue where queue.name like any (patterns) order by queue.queue_id for update
  loop
    wanted := postbag.effective_queue(known);
    continue when wanted = known;
    -- One that has been deleted since it was named is not asked for anew.
    if (wanted.dead_letter_queue, wanted.dead_letter_exchange) is distinct from (known.dead_letter_queue, known.dead_letter_exchange) then
      perform postbag.check_dead_letters(wanted);
    end if;
    perform postbag.save_queue(wanted, apply_policies.now);
    perform postbag.wake(known.name);
  end loop;
exception
  when check_violation or sqlstate 'PB002' then
    get stacked diagnostics rule = constraint_name;
    perform postbag.refuse('PB002', format(
      'the policies must fit every queue, and queue "%s" does not: %s', known.name,
      case when rule <> '' then 'refused by the rule: ' || replace(rule, '_', ' ') else sqlerrm end
    ));
end
$$;
--! EndIncluded functions/apply_policies.sql
--! Included views/queue_info.sql
/* postbag.queue_info: a queue's configuration as its callers see it: durations in seconds, no internal id; and where each setting comes from
 * that is not a built-in default. */
create or replace view postbag.queue_info as
select
  queue.name,
  queue.delivery_order,
  queue.max_priority::integer as max_priority,
  queue.group_mode,
  extract(epoch from queue.lease)::double precision as lease_seconds,
  extract(epoch from queue.delay)::double precision as delay_seconds,
  extract(epoch from queue.ttl)::double precision as ttl_seconds,
  queue.max_attempts,
  extract(epoch from queue.retry_delay)::double precision as retry_delay_seconds,
  queue.retry_backoff,
  extract(epoch from queue.retry_max_delay)::double precision as retry_max_delay_seconds,
  queue.retry_jitter,
  queue.dead_letter_queue,
  extract(epoch from queue.dead_letter_retention)::double precision as dead_letter_retention_seconds,
  extract(epoch from queue.dedup_window)::double precision as dedup_window_seconds,
  queue.dedup_by,
  queue.dedup_scope,
  queue.max_messages,
  queue.max_bytes,
  queue.overflow,
  queue.max_in_flight,
  queue.rate,
  queue.burst,
  queue.group_rate,
  queue.group_burst,
  queue.durability,
  queue.paused,
  queue.created_at,
  queue.updated_at,
  postbag.origins_of(queue.name, queue.explicit) as origins,
  queue.dead_letter_exchange,
  queue.dead_letter_routing_key
from postbag.queue;
--! EndIncluded views/queue_info.sql
--! Included functions/with_death.sql
/* postbag.with_death: a message's history with one more entry; the last 10 are kept. `lost_headers` are those that it will not have any more:
 * if they say where it came from, the entry does. */
create or replace function postbag.with_death(
  deaths jsonb, queue text, reason text, error text, attempts integer, now timestamptz, lost_headers jsonb default null
)
returns jsonb
language sql
stable
return
  case when jsonb_array_length(deaths) >= 10 then deaths - 0 else coalesce(deaths, '[]') end
  || jsonb_strip_nulls(jsonb_build_object(
    'queue', queue, 'reason', reason, 'error', error, 'attempts', attempts,
    'at', to_char(with_death.now at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    'exchange', lost_headers ->> 'postbag-exchange', 'routingKey', lost_headers ->> 'postbag-routing-key'
  ));
--! EndIncluded functions/with_death.sql
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
      where known.name = source.dead_letter_queue and known.name <> source.name and known.is_volatile = source.is_volatile;
  elsif source.dead_letter_exchange = 'default'
    or exists (select from postbag.exchange as known where known.name = source.dead_letter_exchange)
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
      where known.queue_id <> source.queue_id and known.is_volatile = source.is_volatile;
  end if;
end
$$;
--! EndIncluded functions/dead_letter_ways.sql
--! Included functions/move_dead.sql
/* postbag.move_dead: dead letters of a queue go to others, in one statement: they stand in the one or in the others at every moment. The arrays
 * are parallel, a copy each: of which message, to which queue, and by which routing key of the queue's dead-letter exchange (null: not by
 * one). The first copy of a message keeps its id. */
create or replace function postbag.move_dead(
  source postbag.queue, copied_ids bigint[], target_ids bigint[], routing_keys text[], reason text, now timestamptz
)
returns void
language plpgsql
set enable_seqscan = off
set enable_mergejoin = off
as $$
declare
  places constant tid[] := postbag.places_of(source.queue_id, array(select distinct copied.id from unnest(copied_ids) as copied (id)));
  counted_ids bigint[];
  grouped jsonb;
begin
  with gone as (
    delete from postbag.message
    where message.ctid = any (places)
    returning message.*
  ),
  moved as (
    insert into postbag.message (
      queue_id, message_id, available_at, sent_at, priority, encoding, type, content_type, headers, last_error, group_key,
      group_position, expires_at, dead_at, deaths, body, bytes
    )
    select
      target.queue_id,
      case when copy.number = 1 then gone.message_id else nextval('postbag.message_id') end,
      case when gone.group_key is null or target.delivery_order = 'lifo' then move_dead.now else 'infinity' end,
      gone.sent_at, least(gone.priority, target.top_priority), gone.encoding, gone.type, gone.content_type,
      case
        when copy.routing_key is null then gone.headers::jsonb
        else postbag.published_headers(gone.headers::jsonb, source.dead_letter_exchange, copy.routing_key)
      end,
      gone.last_error, gone.group_key,
      case when gone.group_key is not null and target.delivery_order = 'fifo' then nextval('postbag.message_id') end,
      move_dead.now + target.ttl, move_dead.now,
      postbag.with_death(
        gone.deaths, source.name, reason, gone.last_error, gone.attempts, move_dead.now,
        case when copy.routing_key is not null then gone.headers::jsonb end
      ),
      gone.body, gone.bytes
    from gone
    join (
      select
        asked.message_id, asked.queue_id, asked.routing_key,
        row_number() over (partition by asked.message_id order by asked.queue_id) as number
      from unnest(copied_ids, target_ids, routing_keys) as asked (message_id, queue_id, routing_key)
    ) as copy on copy.message_id = gone.message_id
    join postbag.queue as target on target.queue_id = copy.queue_id
    order by gone.group_position nulls last, gone.message_id
    returning message.queue_id, message.message_id, message.group_key, message.group_position
  )
  select jsonb_agg(moved.*) filter (where moved.group_position > 0) into grouped from moved;

  select array_agg(known.queue_id) filter (where known.max_messages is not null) into counted_ids
  from postbag.queue as known
  where known.queue_id = any (target_ids);
  if counted_ids is not null then
    perform postbag.forget_count(counted_ids);
  end if;
  insert into postbag.group_change (queue_id, groups, arrived, changed_at)
  select moved.queue_id, array_agg(moved.group_key), array_agg(moved.message_id), move_dead.now
  from jsonb_to_recordset(grouped) as moved (queue_id bigint, message_id bigint, group_key text)
  group by moved.queue_id;
  perform postbag.wake(known.name) from postbag.queue as known where known.queue_id = any (target_ids) order by known.queue_id;
end
$$;
--! EndIncluded functions/move_dead.sql
--! Included functions/bury.sql
/* postbag.bury: messages of a queue, locked by the caller, are worth nothing any more: for `reason` ('attempts', 'expired', 'rejected',
 * 'overflow') they go to the queue's dead letters, in the same transaction.
 *   nothing configured      failed and rejected ones are kept here, in the state 'dead'; expired and overflowed ones are deleted
 *   the queue itself        all are kept here, in the state 'dead'
 *   another queue           all are moved there, ready to be received; kept here if it is gone
 *   an exchange             each is moved to every queue that the exchange leads it to; kept here if that is none
 * A dead letter keeps its id (of several copies, the first), what the last nack said, and its history (the last 10 times it died). */
create or replace function postbag.bury(source postbag.queue, ids bigint[], reason text, now timestamptz)
returns void
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  places tid[] := postbag.places_of(source.queue_id, ids);
  headless text[];
  -- The copies to be made, in parallel: of which message, to which queue, by which routing key.
  copied_ids bigint[];
  target_ids bigint[];
  routing_keys text[];
begin
  if ids is null then
    return;
  end if;
  select array_agg(message.group_key) filter (where message.group_position = 0) into headless
  from postbag.message
  where message.ctid = any (places);

  if source.dead_letter_queue is null and source.dead_letter_exchange is null and reason in ('expired', 'overflow') then
    delete from postbag.message where message.ctid = any (places);
  else
    select array_agg(way.message_id), array_agg(way.queue_id), array_agg(way.routing_key)
    into copied_ids, target_ids, routing_keys
    from postbag.dead_letter_ways(source, ids) as way;
    if copied_ids is not null then
      perform postbag.move_dead(source, copied_ids, target_ids, routing_keys, reason, bury.now);
      -- Those that stay.
      places := postbag.places_of(source.queue_id, ids);
    end if;
    update postbag.message
    set
      available_at = 'infinity', leased_until = null, in_flight_until = null, group_position = null, due_at = null,
      dead_at = bury.now,
      expires_at = bury.now + source.dead_letter_retention,
      deaths = postbag.with_death(message.deaths, source.name, reason, message.last_error, message.attempts, bury.now)
    where message.ctid = any (places);
  end if;

  -- (Noted after it is done: the transaction may have asked for its deferred triggers to run at once.)
  if headless is not null then
    insert into postbag.group_change (queue_id, groups, changed_at) values (source.queue_id, headless, bury.now);
  end if;
end
$$;
--! EndIncluded functions/bury.sql
--! Included functions/tidy.sql
/* postbag.tidy: bury up to `most` messages of a queue whose time to live or last lease has ended, and delete dead letters that were kept
 * long enough; how many of each. Never waits: rows that another transaction holds are left. */
create or replace function postbag.tidy(source postbag.queue, most integer, now timestamptz)
returns table (expired bigint, removed bigint)
language plpgsql
set enable_seqscan = off
set enable_sort = off
-- (Whose cost would look high enough to compile.)
set jit = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  kept_long_enough bigint[];
  places tid[];
  failed bigint[];
  too_old bigint[];
begin
  if source.is_volatile then
    return query select * from postbag.volatile_tidy(source, most, tidy.now);
    return;
  end if;
  with due as (
    select
      message.message_id,
      message.dead_at is not null and message.available_at = 'infinity' and message.group_position is null as is_dead,
      message.expires_at = postbag.last_moment(message.leased_until) as was_last_lease
    from postbag.message
    where message.queue_id = source.queue_id
      and message.expires_at <= tidy.now
      and (message.leased_until is null or message.leased_until <= tidy.now)
    order by message.expires_at
    limit most
    for update skip locked
  )
  select
    array_agg(due.message_id) filter (where due.is_dead),
    array_agg(due.message_id) filter (where not due.is_dead and due.was_last_lease is true),
    array_agg(due.message_id) filter (where not due.is_dead and due.was_last_lease is not true)
  into kept_long_enough, failed, too_old
  from due;

  if kept_long_enough is not null then
    -- (First into a variable: what is volatile in a condition keeps the planner from going straight to the places.)
    places := postbag.places_of(source.queue_id, kept_long_enough);
    delete from postbag.message where message.ctid = any (places);
  end if;
  perform postbag.bury(source, failed, 'attempts', tidy.now);
  perform postbag.bury(source, too_old, 'expired', tidy.now);
  return query select
    coalesce(cardinality(failed), 0)::bigint + coalesce(cardinality(too_old), 0), coalesce(cardinality(kept_long_enough), 0)::bigint;
end
$$;
--! EndIncluded functions/tidy.sql
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
  verbs constant text[] := '{send_batch,send_in_full,send_to_groups,deduplicate,make_room,count_messages,bury,dead_letter_ways,move_dead,stand_last,tidy,receive,receive_in_full,receive_and_ack,claim_newest,
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
