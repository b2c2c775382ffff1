--! Previous: sha1:46477e85e2014a577cd6e400684829f239eeeb1e
--! Hash: sha1:c8ad5bb1e7fea4fc8d5890966f780386733ca2ed
--! Message: import

--! split: 1-current.sql
-- Definitions from elsewhere: exchanges, queues, policies and bindings, all or none.
--! Included functions/explicit_settings.sql
/* postbag.explicit_settings: settings by their names as a queue keeps what it was given: each value as its column writes it, so that 60 and
 * "1 min" are the same. PB002 for what is no setting. */
create or replace function postbag.explicit_settings(settings jsonb)
returns jsonb
language plpgsql
stable
set intervalstyle = 'postgres'
as $$
declare
  unknown text;
  typed jsonb;
begin
  if settings is null then
    return '{}';
  elsif jsonb_typeof(settings) <> 'object' then
    perform postbag.refuse('PB002', format('settings must be an object, got %s', left(settings::text, 80)));
  end if;
  select given.name into unknown
  from jsonb_object_keys(settings) as given (name)
  where not exists (select from postbag.queue_settings() as known where known.name = given.name);
  if found then
    perform postbag.refuse('PB002', format('settings has the unknown field %s', left(unknown, 80)));
  end if;
  typed := to_jsonb(jsonb_populate_record(null::postbag.queue, settings));
  return coalesce((select jsonb_object_agg(given.name, typed -> given.name) from jsonb_object_keys(settings) as given (name)), '{}');
end
$$;
--! EndIncluded functions/explicit_settings.sql
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
    raise exception using errcode = 'PB099';
  exception
    when sqlstate 'PB099' then
      null;
  end;
  return stored;
end
$$;
--! EndIncluded functions/check_policy.sql
--! Included functions/configure_queue.sql
/* postbag.configure_queue: postbag.create_queue for settings that are in an object, by their names; null means none. */
create or replace function postbag.configure_queue(queue text, settings jsonb, now timestamptz)
returns void
language plpgsql
as $$
declare
  given constant postbag.queue := jsonb_populate_record(null::postbag.queue, settings);
begin
  perform from postbag.create_queue(
    configure_queue.queue,
    now => configure_queue.now,
    delivery_order => given.delivery_order,
    max_priority => given.max_priority,
    group_mode => given.group_mode,
    lease => given.lease,
    delay => given.delay,
    ttl => given.ttl,
    max_attempts => given.max_attempts,
    retry_delay => given.retry_delay,
    retry_backoff => given.retry_backoff,
    retry_max_delay => given.retry_max_delay,
    retry_jitter => given.retry_jitter,
    dead_letter_queue => given.dead_letter_queue,
    dead_letter_exchange => given.dead_letter_exchange,
    dead_letter_routing_key => given.dead_letter_routing_key,
    dead_letter_retention => given.dead_letter_retention,
    dedup_window => given.dedup_window,
    dedup_by => given.dedup_by,
    dedup_scope => given.dedup_scope,
    max_messages => given.max_messages,
    max_bytes => given.max_bytes,
    overflow => given.overflow,
    max_in_flight => given.max_in_flight,
    rate => given.rate,
    burst => given.burst,
    group_rate => given.group_rate,
    group_burst => given.group_burst,
    durability => given.durability,
    without => array(select said.key from jsonb_each(settings) as said where said.value = 'null')
  );
end
$$;
--! EndIncluded functions/configure_queue.sql
--! Included functions/check_definitions.sql
/* postbag.check_definitions: refuse what is not definitions at all (PB002), or too many of them (PB003). */
create or replace function postbag.check_definitions(definitions jsonb, lists text[])
returns void
language plpgsql
immutable
as $$
declare
  list record;
  total integer := 0;
begin
  if jsonb_typeof(definitions) is distinct from 'object' then
    perform postbag.refuse('PB002', format('definitions must be an object, got %s', coalesce(left(definitions::text, 80), 'nothing')));
  end if;
  for list in select given.key as name, given.value as elements from jsonb_each(definitions) as given loop
    if list.name <> all (lists) then
      perform postbag.refuse('PB002', format(
        'definitions has the unknown field %s: known are %s', left(list.name, 80), array_to_string(lists, ', ')
      ));
    elsif jsonb_typeof(list.elements) <> 'array' then
      perform postbag.refuse('PB002', format('%s must be an array, got %s', list.name, left(list.elements::text, 80)));
    elsif exists (select from jsonb_array_elements(list.elements) as element where jsonb_typeof(element.value) <> 'object') then
      perform postbag.refuse('PB002', format('%s must be an array of objects', list.name));
    end if;
    total := total + jsonb_array_length(list.elements);
  end loop;
  if total > 10000 then
    perform postbag.refuse('PB003', format('definitions must be at most 10000 in all, got %s', total));
  end if;
end
$$;
--! EndIncluded functions/check_definitions.sql
--! Included functions/import_queue.sql
/* postbag.import_queue: create a queue with these settings, all but its dead-letter queue, which may be still to come
 * (functions/import_dead_letter_queues.sql); or find it configured just so. Whether it was created. PB020, with what differs, if it is
 * there otherwise: its messages rely on what it is. */
create or replace function postbag.import_queue(queue text, settings jsonb, now timestamptz)
returns boolean
language plpgsql
as $$
declare
  wanted constant jsonb := postbag.explicit_settings(settings);
  present jsonb;
begin
  select known.explicit into present from postbag.queue as known where known.name = import_queue.queue;
  if not found then
    perform postbag.configure_queue(import_queue.queue, wanted - 'dead_letter_queue', import_queue.now);
    return true;
  elsif present <> wanted then
    perform postbag.refuse('PB020', (
      select format('queue "%s" is there with other settings: %s', import_queue.queue, string_agg(
        format(
          '%s must be %s, as it is, got %s',
          said.name, coalesce((present -> said.name)::text, 'unsaid'), coalesce((wanted -> said.name)::text, 'unsaid')
        ),
        ', ' order by said.name
      ))
      from jsonb_object_keys(present || wanted) as said (name)
      where present -> said.name is distinct from wanted -> said.name
    ));
  end if;
  return false;
end
$$;
--! EndIncluded functions/import_queue.sql
--! Included functions/import_dead_letter_queues.sql
/* postbag.import_dead_letter_queues: give the queues that were just created the dead-letter queues that they are to have: all are there
 * now. */
create or replace function postbag.import_dead_letter_queues(queues jsonb, now timestamptz)
returns void
language plpgsql
as $$
declare
  waiting record;
begin
  for waiting in
    select known.name, said.settings
    from jsonb_array_elements(queues) as element
    cross join lateral (select postbag.explicit_settings(element.value -> 'settings') as settings) as said
    join postbag.queue as known on known.name = element.value ->> 'name'
    where known.explicit <> said.settings
  loop
    perform postbag.configure_queue(waiting.name, waiting.settings, import_dead_letter_queues.now);
  end loop;
exception
  when sqlstate 'PB002' then
    perform postbag.refuse('PB020', format('nothing was imported, because of queue "%s": %s', waiting.name, sqlerrm));
end
$$;
--! EndIncluded functions/import_dead_letter_queues.sql
--! Included functions/import_policy.sql
/* postbag.import_policy: set a policy, or find it just so; whether it was created. PB020 if there is another one of that name. */
create or replace function postbag.import_policy(policy text, pattern text, settings jsonb, now timestamptz)
returns boolean
language plpgsql
as $$
declare
  present postbag.policy;
begin
  select known.* into present from postbag.policy as known where known.name = import_policy.policy;
  if not found then
    perform from postbag.set_policy(import_policy.policy, import_policy.pattern, import_policy.settings, import_policy.now);
    return true;
  elsif present.pattern is distinct from import_policy.pattern
    or present.settings <> postbag.check_policy(import_policy.pattern, import_policy.settings)
  then
    perform postbag.refuse('PB020', format(
      'policy "%s" is there, for %s and with the settings %s, got %s and %s',
      present.name, present.pattern, present.settings, import_policy.pattern, import_policy.settings
    ));
  end if;
  return false;
end
$$;
--! EndIncluded functions/import_policy.sql
--! Included functions/import_binding.sql
/* postbag.import_binding: bind, or find it bound just so; whether it was bound by this. PB020 if the weight at a hash exchange is another
 * one, which a plain bind would change. */
create or replace function postbag.import_binding(wanted jsonb, now timestamptz)
returns boolean
language plpgsql
as $$
declare
  present integer;
begin
  select binding.weight into present
  from postbag.binding
  join postbag.exchange on exchange.exchange_id = binding.exchange_id
  left join postbag.queue on queue.queue_id = binding.queue_id
  left join postbag.exchange as target on target.exchange_id = binding.target_id
  where exchange.name = wanted ->> 'exchange' and exchange.type = 'hash'
    and queue.name is not distinct from wanted ->> 'queue' and target.name is not distinct from wanted ->> 'to_exchange';
  if present <> coalesce((wanted ->> 'weight')::integer, 1) then
    perform postbag.refuse('PB020', format('weight must be %s, as it was bound, got %s', present, coalesce(wanted ->> 'weight', '1')));
  end if;
  return postbag.bind(
    wanted ->> 'exchange',
    queue => wanted ->> 'queue',
    to_exchange => wanted ->> 'to_exchange',
    routing_key => coalesce(wanted ->> 'routing_key', ''),
    headers => nullif(wanted -> 'headers', 'null'),
    header_match => wanted ->> 'header_match',
    weight => (wanted ->> 'weight')::integer,
    now => import_binding.now
  );
end
$$;
--! EndIncluded functions/import_binding.sql
--! Included functions/import_definitions.sql
/* postbag.import_definitions: declare exchanges, create queues, set policies and bind, all or none: for what was defined elsewhere, in
 * another broker or another database. A row per kind: how many were created, and how many were there.
 *
 *   definitions   {"exchanges": [{"name", "type", "alternate"}], "queues": [{"name", "settings"}],
 *                 "policies": [{"name", "pattern", "settings"}],
 *                 "bindings": [{"exchange", "queue" or "to_exchange", "routing_key", "headers", "header_match", "weight"}]}: arguments of
 *                 declare_exchange, create_queue, set_policy and bind; settings by their names, as set_policy takes them. What is not
 *                 there is empty. Up to 10,000 in all
 *   dry_run       all of it is done, and undone: what cannot be is refused as it would be
 *
 * What is there just so stays as it is, so a second call changes nothing. What is there otherwise is never replaced: PB020 names it, and
 * whatever else of its kind is refused. Queues may be each other's dead-letter queues, and exchanges alternates, in any order.
 * Changes of policies and creations of queues are waited for, and they wait for this one: so two callers go one after the other. */
create or replace function postbag.import_definitions(
  definitions jsonb, dry_run boolean default false, now timestamptz default clock_timestamp()
)
returns table (kind text, created integer, present integer)
language plpgsql
as $$
declare
  lists constant text[] := '{exchanges,queues,policies,bindings}';
  wanted jsonb;
  is_new boolean;
  rule text;
  refused text[] := '{}';
  counts jsonb := '{}';
begin
  perform postbag.check_definitions(definitions, lists);
  perform postbag.hold_policies(import_definitions.now);
  begin
    foreach kind in array lists loop
      created := 0;
      present := 0;
      for wanted in select element.value from jsonb_array_elements(definitions -> kind) as element loop
        begin
          is_new := case kind
            when 'exchanges' then (
              select declared.created from postbag.declare_exchange(
                wanted ->> 'name', coalesce(wanted ->> 'type', 'direct'), wanted ->> 'alternate', import_definitions.now
              ) as declared
            )
            when 'queues' then postbag.import_queue(wanted ->> 'name', wanted -> 'settings', import_definitions.now)
            when 'policies' then postbag.import_policy(
              wanted ->> 'name', wanted ->> 'pattern', wanted -> 'settings', import_definitions.now
            )
            when 'bindings' then postbag.import_binding(wanted, import_definitions.now)
          end;
          created := created + is_new::integer;
          present := present + (not is_new)::integer;
        exception
          when sqlstate 'PB001' or sqlstate 'PB002' or sqlstate 'PB010' or sqlstate 'PB011' or sqlstate 'PB020' or check_violation then
            get stacked diagnostics rule = constraint_name;
            refused := refused || format('%s: %s', coalesce(
              wanted ->> 'name', concat(wanted ->> 'exchange', ' to ', coalesce(wanted ->> 'queue', wanted ->> 'to_exchange'))
            ), case when rule <> '' then 'refused by the rule: ' || replace(rule, '_', ' ') else sqlerrm end);
        end;
      end loop;
      if kind = 'queues' and refused = '{}' then
        perform postbag.import_dead_letter_queues(definitions -> kind, import_definitions.now);
      end if;
      if refused <> '{}' then
        perform postbag.refuse('PB020', format(
          'nothing was imported, because of %s of the %s: %s%s', cardinality(refused), kind, array_to_string(refused[:20], '; '),
          case when cardinality(refused) > 20 then '; …' else '' end
        ));
      end if;
      counts := counts || jsonb_build_object(kind, array[created, present]);
    end loop;
    if dry_run then
      raise exception using errcode = 'PB099';
    end if;
  exception
    -- (Not PB000: a code that ends in 000 stands for all of its class.)
    when sqlstate 'PB099' then
      null;
  end;
  return query
    select list.name, (counts -> list.name ->> 0)::integer, (counts -> list.name ->> 1)::integer from unnest(lists) as list (name);
end
$$;
--! EndIncluded functions/import_definitions.sql
