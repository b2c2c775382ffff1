--! Message: policies

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

--!include functions/queue_settings.sql
--!include functions/with_bursts.sql
--!include functions/settings_of.sql
--!include functions/origins_of.sql
--!include views/queue_info.sql
--!include views/policy_info.sql
--!include functions/effective_queue.sql
--!include functions/check_without.sql
--!include functions/save_queue.sql
--!include functions/create_queue.sql
--!include functions/check_policy.sql
--!include functions/hold_policies.sql
--!include functions/apply_policies.sql
--!include functions/describe_policy.sql
--!include functions/list_policies.sql
--!include functions/set_policy.sql
--!include functions/delete_policy.sql

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
