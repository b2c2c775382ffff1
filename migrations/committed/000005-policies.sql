--! Previous: sha1:6e77d592eeafe57fedf0aa80f764e7183732695e
--! Hash: sha1:0813b9f228bbfc551363cfa4623a74140d179581
--! Message: policies

--! split: 1-current.sql
/* Policies: settings for all queues whose names match a pattern. */

/* What a queue's own configuration says, by setting (functions/queue_settings.sql); null: none, whatever policies say. Its columns are what
 * this, the policies and the built-in defaults come to, so that nobody who sends or receives looks at policies. */
alter table postbag.queue add column explicit jsonb not null default '{}';

create table postbag.policy (
  name text collate "C" primary key,
  -- * stands for any characters, as in a token's scope.
  pattern text collate "C" not null,
  settings jsonb not null,
  -- The pattern as LIKE has it, and what makes it more specific than others.
  name_like text collate "C" not null generated always as (replace(replace(pattern, '_', '\_'), '*', '%')) stored,
  is_exact boolean not null generated always as (strpos(pattern, '*') = 0) stored,
  prefix_length integer not null generated always as (length(split_part(pattern, '*', 1))) stored,
  literal_length integer not null generated always as (length(replace(pattern, '*', ''))) stored,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint policy_name_is_safe check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$'),
  constraint policy_pattern_is_1_to_80_name_characters_or_stars check (pattern ~ '^[A-Za-z0-9._*-]{1,80}$')
);

/* One row, the lock of policies: who creates or replaces a queue shares it until the transaction ends, who changes policies has it alone. */
create table postbag.policy_change (
  is_only boolean primary key default true,
  changed_at timestamptz not null,
  constraint policy_change_has_one_row check (is_only)
);
insert into postbag.policy_change (changed_at) values (now());

drop function postbag.create_queue;

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
--! Included functions/with_bursts.sql
/* postbag.with_bursts: settings, where a rate brings its burst along: who says the one and not the other means a burst of one second, not
 * the burst of somebody who had another rate in mind. */
create or replace function postbag.with_bursts(settings jsonb)
returns jsonb
language sql
immutable
as $$
  select
    case when settings ? 'rate' then jsonb '{"burst": null}' else '{}' end
    || case when settings ? 'group_rate' then jsonb '{"group_burst": null}' else '{}' end
    || settings
$$;
--! EndIncluded functions/with_bursts.sql
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
    select 1 as depth, 0 as place, 'queue' as origin, postbag.with_bursts(explicit) as settings
    union all
    select
      2,
      row_number() over (order by policy.is_exact desc, policy.prefix_length desc, policy.literal_length desc, policy.name),
      'policy ' || policy.name,
      postbag.with_bursts(policy.settings)
    from postbag.policy
    where settings_of.queue like policy.name_like
    union all
    select 3, 0, null, (select jsonb_object_agg(known.name, known.by_default) from postbag.queue_settings() as known)
  ) as layer
  cross join lateral jsonb_each(layer.settings) as said (setting, value)
  order by said.setting, layer.depth, layer.place
$$;
--! EndIncluded functions/settings_of.sql
--! Included functions/origins_of.sql
/* postbag.origins_of: who says what a setting of a queue is, by setting: 'queue' or 'policy <name>'; no entry for built-in defaults. */
create or replace function postbag.origins_of(queue text, explicit jsonb)
returns jsonb
language sql
stable
as $$
  select coalesce(jsonb_object_agg(said.setting, said.origin), '{}')
  from postbag.settings_of(queue, explicit) as said
  -- A burst of one second is nothing that anybody has said.
  where said.origin is not null and not (said.setting in ('burst', 'group_burst') and said.value = 'null')
$$;
--! EndIncluded functions/origins_of.sql
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
  postbag.origins_of(queue.name, queue.explicit) as origins
from postbag.queue;
--! EndIncluded views/queue_info.sql
--! Included views/policy_info.sql
/* postbag.policy_info: a policy as its callers see it, and how many queues it matches; the most specific comes first if they are listed by
 * `place`. */
create or replace view postbag.policy_info as
select
  policy.name,
  policy.pattern,
  policy.settings,
  (select count(*) from postbag.queue where queue.name like policy.name_like) as queues,
  policy.created_at,
  policy.updated_at,
  row_number() over (
    order by policy.is_exact desc, policy.prefix_length desc, policy.literal_length desc, policy.name
  )::integer as place
from postbag.policy;
--! EndIncluded views/policy_info.sql
--! Included functions/effective_queue.sql
/* postbag.effective_queue: a queue as the settings it was given, the policies as they are now and the built-in defaults make it. What is no
 * setting (its id, its name, its pause …) stays as it is. */
create or replace function postbag.effective_queue(queue postbag.queue)
returns postbag.queue
language sql
stable
-- How intervals are read must not depend on the session.
set intervalstyle = 'postgres'
as $$
  select jsonb_populate_record(queue, (
    select jsonb_object_agg(said.setting, said.value) from postbag.settings_of((queue).name, (queue).explicit) as said
  ))
$$;
--! EndIncluded functions/effective_queue.sql
--! Included functions/check_without.sql
/* postbag.check_without: refuse (PB002) a list of settings to have none of that names one which must be something, or which is given too. */
create or replace function postbag.check_without(without text[], given jsonb)
returns void
language plpgsql
immutable
as $$
declare
  optional constant text[] := array(
    select known.name from postbag.queue_settings() as known where known.by_default = 'null' order by known.name
  );
  none text;
begin
  foreach none in array coalesce(without, '{}') loop
    if none is null or none <> all (optional) then
      perform postbag.refuse('PB002', format('without must name some of %s, got %L', array_to_string(optional, ', '), none));
    elsif given ? none then
      perform postbag.refuse('PB002', format('%s must be given or named in without, got both', none));
    end if;
  end loop;
end
$$;
--! EndIncluded functions/check_without.sql
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
    retry_max_delay, retry_jitter, dead_letter_queue, dead_letter_retention, dedup_window, dedup_by, dedup_scope, max_messages,
    max_bytes, overflow, max_in_flight, rate, burst, group_rate, group_burst, durability, explicit, created_at, updated_at
  )
  values (
    wanted.name, wanted.delivery_order, wanted.max_priority, wanted.max_priority, wanted.group_mode, wanted.lease, wanted.delay,
    wanted.ttl, wanted.max_attempts, wanted.retry_delay, wanted.retry_backoff, wanted.retry_max_delay, wanted.retry_jitter,
    wanted.dead_letter_queue, wanted.dead_letter_retention, wanted.dedup_window, wanted.dedup_by, wanted.dedup_scope,
    wanted.max_messages, wanted.max_bytes, wanted.overflow, wanted.max_in_flight, wanted.rate, wanted.burst, wanted.group_rate,
    wanted.group_burst, wanted.durability, wanted.explicit, save_queue.now, save_queue.now
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
  without text[] default '{}'
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
  if wanted.dead_letter_queue <> create_queue.queue then
    perform postbag.check_dead_letter_queue(wanted.dead_letter_queue, wanted.durability);
  end if;
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
--! Included functions/hold_policies.sql
/* postbag.hold_policies: until this transaction ends, nobody else changes policies, and no queue is created or replaced: who did so is
 * waited for, and seen by every statement from then on. At repeatable read that would not be so; it is refused there (PB002). */
create or replace function postbag.hold_policies(now timestamptz)
returns void
language plpgsql
as $$
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    perform postbag.refuse('PB002', format(
      'policies must be changed at the isolation level read committed, got %s: queues made meanwhile would be missed',
      current_setting('transaction_isolation')
    ));
  end if;
  update postbag.policy_change set changed_at = hold_policies.now;
end
$$;
--! EndIncluded functions/hold_policies.sql
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
    if wanted.dead_letter_queue <> known.name and wanted.dead_letter_queue is distinct from known.dead_letter_queue then
      perform postbag.check_dead_letter_queue(wanted.dead_letter_queue, wanted.durability);
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
--! Included functions/describe_policy.sql
/* postbag.describe_policy: one policy, or PB009 if there is none of that name. Intervals of its settings are in seconds. */
create or replace function postbag.describe_policy(policy text)
returns setof postbag.policy_info
language plpgsql
stable
as $$
begin
  return query select info.* from postbag.policy_info as info where info.name = describe_policy.policy;
  if not found then
    perform postbag.refuse('PB009', format('policy "%s" does not exist', describe_policy.policy));
  end if;
end
$$;
--! EndIncluded functions/describe_policy.sql
--! Included functions/list_policies.sql
/* postbag.list_policies: all policies (at most 100), the most specific first; the order counts for those that match the same queue. */
create or replace function postbag.list_policies()
returns setof postbag.policy_info
language sql
stable
as $$
  select info.* from postbag.policy_info as info order by info.place
$$;
--! EndIncluded functions/list_policies.sql
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
  former text;
begin
  perform postbag.hold_policies(set_policy.now);
  stored := postbag.check_policy(set_policy.pattern, set_policy.settings);
  select known.name_like into former from postbag.policy as known where known.name = set_policy.policy;
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
    array(select known.name_like from postbag.policy as known where known.name = set_policy.policy) || former, set_policy.now
  );
  return query select * from postbag.describe_policy(set_policy.policy);
end
$$;
--! EndIncluded functions/set_policy.sql
--! Included functions/delete_policy.sql
/* postbag.delete_policy: forget a policy (PB009 if there is none of that name); queues that had settings by it have, in the same transaction,
 * what is left: other policies', or the built-in defaults. Returns how many queues it matched. Beside others as for postbag.set_policy. */
create or replace function postbag.delete_policy(policy text, now timestamptz default clock_timestamp())
returns bigint
language plpgsql
as $$
declare
  former text;
begin
  perform postbag.hold_policies(delete_policy.now);
  delete from postbag.policy as known where known.name = delete_policy.policy returning known.name_like into former;
  if not found then
    perform postbag.refuse('PB009', format('policy "%s" does not exist', delete_policy.policy));
  end if;
  perform postbag.apply_policies(array[former], delete_policy.now);
  return (select count(*) from postbag.queue as known where known.name like former);
end
$$;
--! EndIncluded functions/delete_policy.sql

/* Queues that are there have given all that is not the built-in default. */
set local intervalstyle = 'postgres';
update postbag.queue set explicit = (
  select coalesce(jsonb_object_agg(known.name, present.value), '{}')
  from jsonb_each(to_jsonb(queue)) as present (name, value)
  join postbag.queue_settings() as known on known.name = present.name
  where case
    when known.kind = 'interval' then (present.value #>> '{}')::interval is distinct from (known.by_default #>> '{}')::interval
    else present.value <> known.by_default
  end
);
