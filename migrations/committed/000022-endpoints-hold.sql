--! Previous: sha1:f280704cfce75b0948f9dde3ae3b4c62edb8ba27
--! Hash: sha1:a6ceacc2b8f1368103f0deec41da15eb842330f8
--! Message: endpoints-hold

--! split: 1-current.sql
/* When the answers came for which an endpoint rests, by the clock of who delivers: what had begun before says nothing of that. */
alter table postbag.endpoint_health add column resting_since timestamptz;
--! Included functions/route.sql
/* postbag.route: where the messages of a publish go: a row per binding that fits, on every exchange that they come to. A message is a JSON
 * object, of which `routingKey` and `headers` count. PB010 if there is no such exchange.
 *
 *  1. The exchange's bindings are matched (functions/match.sql). A binding leads to a queue, or to another exchange, which goes on in
 *     the same way; a message comes to each exchange once, so cycles do no harm, and a queue that is reached twice is one queue.
 *  2. A message that fits no binding of an exchange comes to its alternate exchange, if it has one, and that one is there.
 *  3. The exchange "default" is always there: it leads to the queue that is named by the routing key, also as an alternate. It has no bindings. */
create or replace function postbag.route(exchange text, messages jsonb)
returns table (number integer, exchange_id bigint, binding_id bigint, queue_id bigint, target_id bigint, is_alternate boolean)
language plpgsql
stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  -- By number, which begins at 1.
  keys constant text[] := array(
    select coalesce(sent.message ->> 'routingKey', '') from jsonb_array_elements(messages) with ordinality as sent (message, number)
    order by sent.number
  );
  headers constant jsonb[] := array(
    select coalesce(sent.message -> 'headers', '{}') from jsonb_array_elements(messages) with ordinality as sent (message, number)
    order by sent.number
  );
  source postbag.exchange;
  -- Who is at an exchange that is still to be looked at, and who has been where: "number exchange_id".
  waiting_numbers integer[];
  waiting_ids bigint[];
  been text[];
  here integer[];
  hit_numbers integer[];
  hit_ids bigint[];
  strays integer[];
begin
  if route.exchange = 'default' then
    return query
      select asked.number::integer, null::bigint, null::bigint, known.queue_id, null::bigint, false
      from unnest(keys) with ordinality as asked (key, number)
      join postbag.queue as known on known.name = asked.key;
    return;
  end if;
  source := postbag.exchange_named(route.exchange);
  here := array(select generate_subscripts(keys, 1));

  loop
    select array_agg(hit.number), array_agg(hit.binding_id) into hit_numbers, hit_ids
    from postbag.match(
      source.exchange_id, source.type, here,
      array(select keys[place] from unnest(here) as place), array(select headers[place] from unnest(here) as place)
    ) as hit;
    return query
      select hit.number, binding.exchange_id, binding.binding_id, binding.queue_id, binding.target_id, false
      from unnest(hit_numbers, hit_ids) as hit (number, binding_id)
      join postbag.binding on binding.binding_id = hit.binding_id;

    been := been || array(select place || ' ' || source.exchange_id from unnest(here) as place);
    select waiting_numbers || array_agg(hit.number), waiting_ids || array_agg(binding.target_id) into waiting_numbers, waiting_ids
    from unnest(hit_numbers, hit_ids) as hit (number, binding_id)
    join postbag.binding on binding.binding_id = hit.binding_id
    where binding.target_id is not null;
    if source.alternate is not null then
      strays := array(select unnest(here) except select unnest(hit_numbers));
      return query
        select stray.number, source.exchange_id, null::bigint, null::bigint, known.exchange_id, true
        from unnest(strays) as stray (number)
        join postbag.exchange as known on known.name = source.alternate;
      return query
        select stray.number, source.exchange_id, null::bigint, known.queue_id, null::bigint, true
        from unnest(strays) as stray (number)
        join postbag.queue as known on known.name = keys[stray.number]
        where source.alternate = 'default';
      select waiting_numbers || array_agg(stray.number), waiting_ids || array_agg(known.exchange_id) into waiting_numbers, waiting_ids
      from unnest(strays) as stray (number)
      join postbag.exchange as known on known.name = source.alternate;
    end if;

    exit when waiting_ids is null;
    -- The next exchange, with all who wait for it.
    select known.* into source
    from unnest(waiting_numbers, waiting_ids) as waiting (number, exchange_id)
    join postbag.exchange as known on known.exchange_id = waiting.exchange_id
    where waiting.number || ' ' || waiting.exchange_id <> all (been)
    limit 1;
    exit when not found;
    here := array(
      select distinct waiting.number
      from unnest(waiting_numbers, waiting_ids) as waiting (number, exchange_id)
      where waiting.exchange_id = source.exchange_id
        and waiting.number || ' ' || waiting.exchange_id <> all (been)
    );
  end loop;
end
$$;
--! EndIncluded functions/route.sql
--! Included functions/content_as_jsonb.sql
/* postbag.content_as_jsonb: the content of a message as jsonb; null if jsonb cannot hold it, as JSON with \u0000, half a character or a huge number. */
create or replace function postbag.content_as_jsonb(message jsonb)
returns jsonb
language plpgsql
immutable
as $$
begin
  return coalesce((message ->> 'json')::jsonb, message -> 'body', 'null');
exception
  when data_exception then
    return null;
end
$$;
--! EndIncluded functions/content_as_jsonb.sql
--! Included functions/passes_filter.sql
/* postbag.passes_filter: whether an endpoint's filter lets an event through. `body`: functions/content_as_jsonb.sql. */
create or replace function postbag.passes_filter(filter jsonb, headers jsonb, body jsonb)
returns boolean
language sql
immutable
return (filter -> 'headers' is null or coalesce(headers, '{}') @> (filter -> 'headers'))
  and (filter -> 'body' is null or coalesce(body @> (filter -> 'body'), false));
--! EndIncluded functions/passes_filter.sql
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
          and not postbag.passes_filter(endpoint.filter, messages -> (way.number - 1) -> 'headers', contents[way.number])
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
--! Included functions/bind.sql
/* postbag.bind: from now on, what is published to `exchange` and fits this binding goes to a queue, or on to another exchange (exactly one of
 * `queue` and `to_exchange`). True if that changed something, false if it was so before. PB001 or PB010 for what is not there.
 *   routing_key    of a direct exchange: the key; of a topic exchange: the pattern. Up to 255 characters; '' by default
 *   headers        of a headers exchange: {"name": "value"}, or null for a name that must be there whatever its value; up to 32 of them
 *   header_match   whether all of them must fit (the default), or any
 *   weight         of a hash exchange: the share of the keys, 1 – 100; 1 by default. Bound once more with another one, it has that
 * What the exchange's type does not look at is refused, but for a routing_key. Two callers at once: one binding. */
create or replace function postbag.bind(
  exchange text,
  queue text default null,
  routing_key text default '',
  to_exchange text default null,
  headers jsonb default null,
  header_match text default null,
  weight integer default null,
  now timestamptz default clock_timestamp()
)
returns boolean
language plpgsql
as $$
#variable_conflict use_column
declare
  source postbag.exchange := postbag.exchange_named(bind.exchange);
  bound postbag.binding;
begin
  if (bind.queue is null) = (bind.to_exchange is null) then
    perform postbag.refuse('PB002', 'a binding must go to either a queue or an exchange, got ' ||
      case when bind.queue is null then 'neither' else 'both' end);
  elsif source.type <> 'headers' and (bind.headers is not null or bind.header_match is not null) then
    perform postbag.refuse('PB002', format('headers must be given for headers exchanges only, and "%s" is of type %s', source.name, source.type));
  elsif source.type <> 'hash' and bind.weight is not null then
    perform postbag.refuse('PB002', format('weight must be given for hash exchanges only, and "%s" is of type %s', source.name, source.type));
  end if;
  perform postbag.check_binding(coalesce(bind.routing_key, ''), bind.headers, bind.header_match, bind.weight);

  bound.exchange_id := source.exchange_id;
  if bind.queue is not null then
    bound.queue_id := (postbag.queue_named(bind.queue)).queue_id;
  else
    bound.target_id := (postbag.exchange_named(bind.to_exchange)).exchange_id;
  end if;
  bound.routing_key := case when source.type = 'hash' then '' else coalesce(bind.routing_key, '') end;
  bound.headers := case when source.type = 'headers' then coalesce(bind.headers, '{}') end;
  bound.header_match := case when source.type = 'headers' then coalesce(bind.header_match, 'all') end;
  bound.weight := case when source.type = 'hash' then coalesce(bind.weight, 1) end;

  begin
    insert into postbag.binding as known (exchange_id, queue_id, target_id, routing_key, headers, header_match, weight, created_at)
    values (
      bound.exchange_id, bound.queue_id, bound.target_id, bound.routing_key, bound.headers, bound.header_match, bound.weight, bind.now
    )
    on conflict (exchange_id, routing_key, queue_id, target_id, header_match, md5(headers::text)) do update
    set weight = excluded.weight
    where known.weight <> excluded.weight
    returning known.* into bound;
  exception
    -- One of its ends has been deleted in this moment: who has waited for that says which.
    when foreign_key_violation then
      source := postbag.exchange_named(bind.exchange);
      perform postbag.queue_named(bind.queue) where bind.queue is not null;
      perform postbag.exchange_named(bind.to_exchange) where bind.to_exchange is not null;
      raise;
  end;
  if not found then
    return false;
  end if;
  perform postbag.index_binding(bound, source.type);
  return true;
end
$$;
--! EndIncluded functions/bind.sql
--! Included functions/disable_endpoint.sql
/* postbag.disable_endpoint: deliver nothing to an endpoint, and let nothing that is published wait for it, until postbag.enable_endpoint. What waits is
 * kept, unless it expires. `because`: 'asked', or 'gone' or 'failing', if its receiver left no other choice. PB014.
 * Whoever is interested learns of it: an event endpoint.disabled is published to the exchange "postbag", which endpoints may be bound to; if none of
 * its queues is full, and the exchange is there. */
create or replace function postbag.disable_endpoint(endpoint text, because text default 'asked', now timestamptz default clock_timestamp())
returns setof postbag.endpoint_info
language plpgsql
as $$
declare
  own postbag.endpoint := postbag.endpoint_named(disable_endpoint.endpoint);
begin
  update postbag.endpoint as known
  set disabled_at = disable_endpoint.now, disabled_because = disable_endpoint.because,
    updated_at = greatest(disable_endpoint.now, known.created_at + interval '1 microsecond')
  where known.queue_id = own.queue_id and known.disabled_at is null;
  if found then
    perform postbag.bind_endpoint(own.queue_id);
    begin
      perform postbag.publish(
        'postbag',
        jsonb_strip_nulls(jsonb_build_object(
          'type', 'endpoint.disabled', 'timestamp', disable_endpoint.now,
          'data', jsonb_build_object('endpoint', own.name, 'application', own.application, 'because', disable_endpoint.because)
        )),
        routing_key => 'endpoint.disabled', type => 'endpoint.disabled', now => disable_endpoint.now
      );
    exception
      when sqlstate 'PB003' or sqlstate 'PB004' or sqlstate 'PB010' then
        null;
    end;
  end if;
  return query select info.* from postbag.endpoint_info as info where info.name = own.name;
end
$$;
--! EndIncluded functions/disable_endpoint.sql
--! Included functions/enable_endpoint.sql
/* postbag.enable_endpoint: deliver to an endpoint again that was disabled, and what is published from now on; and let it rest no longer. PB014. */
create or replace function postbag.enable_endpoint(endpoint text, now timestamptz default clock_timestamp())
returns setof postbag.endpoint_info
language plpgsql
as $$
declare
  own postbag.endpoint := postbag.endpoint_named(enable_endpoint.endpoint);
begin
  -- (Before its health, as whoever disables it does.)
  perform from postbag.endpoint as known where known.queue_id = own.queue_id for update;
  update postbag.endpoint as known
  set disabled_at = null, disabled_because = null,
    updated_at = greatest(enable_endpoint.now, known.created_at + interval '1 microsecond')
  where known.queue_id = own.queue_id and known.disabled_at is not null;
  update postbag.endpoint_health as health
  set failures = 0, failing_since = null, resting_until = null
  where health.queue_id = own.queue_id and (health.failures > 0 or health.resting_until is not null);
  perform postbag.bind_endpoint(own.queue_id);
  perform postbag.wake('webhooks.' || own.name);
  return query select info.* from postbag.endpoint_info as info where info.name = own.name;
end
$$;
--! EndIncluded functions/enable_endpoint.sql
--! Included functions/delete_endpoint.sql
/* postbag.delete_endpoint: delete an endpoint with all that waits for it; how many deliveries that were. PB014. */
create or replace function postbag.delete_endpoint(endpoint text)
returns bigint
language plpgsql
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(delete_endpoint.endpoint);
begin
  -- Before its health, which goes with it: who settles deliveries does so in this order.
  perform from postbag.message where message.queue_id = own.queue_id order by message.message_id for update;
  return postbag.delete_queue('webhooks.' || own.name);
end
$$;
--! EndIncluded functions/delete_endpoint.sql
--! Included functions/set_endpoint.sql
/* postbag.set_endpoint: create an endpoint, or replace the whole configuration of the one that has this name, but its secrets, if none are given.
 * From now on, what is published to `exchange` with a routing key that one of the event types fits is delivered to the URL.
 *   event_types    patterns as those of topic exchanges: '#' is everything. An exchange of type topic, direct or fanout
 *   filter         {"headers": {…}, "body": {…}}: only events whose headers and JSON body contain all that
 *   headers        of the requests: {"name": "value"}
 *   retries        how long to wait after each failed attempt; as the specification of Standard Webhooks recommends by default
 *   rate, burst, concurrency   as rate, burst and max_in_flight of postbag.create_queue
 *   ordering       'group': events of a group are delivered one after the other, each after the one before it has arrived or failed for good;
 *                  'endpoint': all are, whatever their groups; 'none'
 *   secrets        what src/webhooks/secrets.ts makes of them; needed for a new one
 *   first_secrets  the same, but an endpoint that has secrets keeps them
 *
 * An endpoint is a queue, webhooks.<name>, with all that a queue can do: its deliveries are leased messages, those that failed for good are its dead
 * letters; it can be looked at, paused, redriven and purged. What deliveries rest upon (their order, attempts and dead letters) is the endpoint's,
 * whatever policies say; they may set a time to live, limits of length and a rate. PB002, PB010. */
create or replace function postbag.set_endpoint(
  endpoint text,
  url text,
  exchange text,
  event_types text[] default '{#}',
  application text default null,
  filter jsonb default null,
  headers jsonb default '{}',
  description text default null,
  metadata jsonb default '{}',
  timeout interval default '15 s',
  retries interval[] default '{5 s,5 min,30 min,2 h,5 h,10 h,14 h,20 h,24 h}',
  rate double precision default null,
  burst integer default null,
  concurrency integer default 10,
  ordering text default 'none',
  secrets jsonb default null,
  first_secrets jsonb default null,
  now timestamptz default clock_timestamp()
)
returns setof postbag.endpoint_info
language plpgsql
as $$
declare
  source constant postbag.exchange := postbag.exchange_named(set_endpoint.exchange);
  queue_name constant text := 'webhooks.' || set_endpoint.endpoint;
  present postbag.endpoint;
  own_id bigint;
begin
  -- (Where it is published what happens to endpoints.)
  insert into postbag.exchange (name, type, created_at) values ('postbag', 'topic', set_endpoint.now) on conflict (name) do nothing;
  perform postbag.check_endpoint(source, event_types, filter, headers, metadata, retries);
  if ordering is null or ordering not in ('none', 'group', 'endpoint') then
    perform postbag.refuse('PB002', format('order must be none, group or endpoint, got %s', coalesce(ordering, 'null')));
  end if;
  perform postbag.create_queue(
    queue_name,
    lease => set_endpoint.timeout + interval '45 s',
    group_mode => case when ordering = 'none' then 'fair' else 'ordered' end,
    delivery_order => 'fifo', max_priority => 0, delay => '0 s', dedup_by => 'id', dedup_scope => 'queue',
    without => '{max_attempts,dead_letter_queue,dead_letter_exchange,dead_letter_routing_key,group_rate,group_burst}',
    max_in_flight => set_endpoint.concurrency, rate => set_endpoint.rate, burst => set_endpoint.burst,
    now => set_endpoint.now
  );
  update postbag.queue as known set is_endpoint = true, is_one_group = ordering = 'endpoint' where known.name = queue_name returning known.queue_id into own_id;
  select known.* into present from postbag.endpoint as known where known.queue_id = own_id for update;
  if coalesce(set_endpoint.secrets, present.secrets, set_endpoint.first_secrets) is null then
    perform postbag.refuse('PB002', 'secrets must be given for a new endpoint, got none');
  end if;

  insert into postbag.endpoint as known (
    queue_id, name, application, url, exchange, event_types, filter, headers, description, metadata, timeout, retries, secrets,
    created_at, updated_at
  )
  values (
    own_id, set_endpoint.endpoint, set_endpoint.application, set_endpoint.url, source.name, set_endpoint.event_types,
    set_endpoint.filter, coalesce(set_endpoint.headers, '{}'), set_endpoint.description, coalesce(set_endpoint.metadata, '{}'),
    set_endpoint.timeout, set_endpoint.retries, coalesce(set_endpoint.secrets, present.secrets, set_endpoint.first_secrets),
    set_endpoint.now, set_endpoint.now
  )
  on conflict (queue_id) do update set
    application = excluded.application,
    url = excluded.url,
    exchange = excluded.exchange,
    event_types = excluded.event_types,
    filter = excluded.filter,
    headers = excluded.headers,
    description = excluded.description,
    metadata = excluded.metadata,
    timeout = excluded.timeout,
    retries = excluded.retries,
    secrets = excluded.secrets,
    updated_at = greatest(excluded.updated_at, known.created_at + interval '1 microsecond');
  insert into postbag.endpoint_health (queue_id) values (own_id) on conflict do nothing;
  perform postbag.bind_endpoint(own_id);
  return query select info.* from postbag.endpoint_info as info where info.name = set_endpoint.endpoint;
end
$$;
--! EndIncluded functions/set_endpoint.sql
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

  is_late := coalesce(known.resting_until > note_health.now and told.began_at <= known.resting_since, false);
  if known.failing_since <= note_health.now - longest_failing then
    -- (As it may be disabled: in the order in which it is enabled.)
    perform from postbag.endpoint as own where own.queue_id = own_id for update;
  end if;
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
--! Included functions/settle_deliveries.sql
/* postbag.settle_deliveries: what came of deliveries, all of a batch in one step. `results` is a JSON array of 1 to 1000 objects:
 *   endpoint, url, receipt   as claimed: what the attempts at another URL than the present one say of the endpoint does not count
 *   outcome                  'delivered' | 'failed' | 'untried' (nobody made the request: the attempt does not count, and is not noted)
 *   startedAt, millis        when the attempt began, and how long it took
 *   status, responseHeaders, responseBody   what the receiver answered
 *   error, detail            what went wrong, if it did not answer or not well
 *   retryAfterSeconds        how long the whole endpoint shall rest, because the receiver has asked for it
 *   isGone                   whether the endpoint shall be disabled, because the receiver said that it is gone (410)
 * One row per result: what became of the receipt, as for postbag.ack.
 *
 * A failed delivery is tried again after the endpoint's pause for that attempt, and up to a fifth longer; after the last it is a dead letter.
 * An endpoint that fails again and again rests, and is disabled at last (functions/note_health.sql). */
create or replace function postbag.settle_deliveries(results jsonb, now timestamptz default clock_timestamp())
returns table (receipt text, outcome text)
language plpgsql
set enable_seqscan = off
as $$
declare
  target record;
  result record;
  settled text;
  noted jsonb := '[]';
begin
  if jsonb_typeof(results) is distinct from 'array' or jsonb_array_length(results) not between 1 and 1000 then
    perform postbag.refuse('PB002', 'results must be an array of 1 to 1000 objects');
  end if;
  -- In the order of their queues, as every statement on several queues.
  for target in
    select
      own.queue_id, own.retries, 'webhooks.' || own.name as queue, jsonb_agg(given.value order by given.place) as results,
      jsonb_agg(given.value) filter (where coalesce(given.value ->> 'url', own.url) = own.url) as present_results
    from jsonb_array_elements(results) with ordinality as given (value, place)
    join postbag.endpoint as own on own.name = given.value ->> 'endpoint'
    group by own.queue_id
    order by own.queue_id
  loop
    for result in
      select
        given.value ->> 'receipt' as receipt, given.value ->> 'outcome' as outcome, given.value as told,
        claim.parts[1] as message_id, claim.parts[2]::integer as attempts,
        given.value ->> 'outcome' <> 'untried' as is_tried,
        claim.parts[2] > cardinality(target.retries) or coalesce((given.value ->> 'isGone')::boolean, false) as is_over,
        message.body_id, message.type
      from jsonb_array_elements(target.results) with ordinality as given (value, place)
      cross join lateral (select postbag.claim_of(given.value ->> 'receipt') as parts) as claim
      left join lateral (
        select known.body_id, known.type from postbag.message as known
        where known.queue_id = target.queue_id and known.message_id = claim.parts[1] limit 1
      ) as message on true
      order by claim.parts[1]
    loop
      if result.outcome = 'delivered' then
        select done.outcome into settled
        from postbag.ack(target.queue, jsonb_build_array(result.receipt), now => settle_deliveries.now) as done;
      else
        select done.outcome into settled
        from postbag.nack(
          target.queue, jsonb_build_array(result.receipt),
          delay => case
            when not result.is_tried then interval '1 s'
            when not result.is_over then target.retries[result.attempts] * (1 + random() / 5)
          end,
          error => case when result.is_tried then postbag.failure_of(result.told) end,
          dead_letter => result.is_tried and result.is_over, untried => not result.is_tried, now => settle_deliveries.now
        ) as done;
      end if;
      receipt := result.receipt;
      outcome := settled;
      return next;
      if result.is_tried then
        noted := noted || (result.told || jsonb_build_object(
          'queueId', target.queue_id, 'messageId', result.message_id, 'bodyId', result.body_id, 'type', result.type, 'number', result.attempts
        ));
      end if;
    end loop;
    if target.present_results is not null then
      perform postbag.note_health(target.queue_id, target.present_results, settle_deliveries.now);
    end if;
  end loop;

  insert into postbag.attempt (
    queue_id, message_id, body_id, type, number, started_at, millis, outcome, status, error, detail, response_headers, response_body
  )
  select
    made."queueId", made."messageId", made."bodyId", made.type, made.number, made."startedAt", made.millis, made.outcome, made.status,
    made.error, left(made.detail, 1000), made."responseHeaders", left(made."responseBody", 4096)
  from jsonb_to_recordset(noted) as made (
    "queueId" bigint, "messageId" bigint, "bodyId" bigint, type text, number integer, "startedAt" timestamptz, millis integer,
    outcome text, status integer, error text, detail text, "responseHeaders" jsonb, "responseBody" text
  );
end
$$;
--! EndIncluded functions/settle_deliveries.sql
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
--! Included functions/next_delivery_at.sql
/* postbag.next_delivery_at: when a delivery is due, `now` or earlier if one is; null if none waits. For functions that deliver when a clock
 * calls them, and for who waits until there is something to deliver.
 *
 * Goes from one endpoint that has messages to the next, as postbag.claim_deliveries does, and reads a few places of indexes for each; what
 * an endpoint has waiting costs nothing. Ends with the first that is due, and after `most_looked_at`: then the answer is in 5 s, unless one
 * of those comes earlier. So it may be too early, and is never too late. Where the first of a group has yet to be named, which a claim does for the
 * next one, that is in a second. */
create or replace function postbag.next_delivery_at(now timestamptz default clock_timestamp())
returns timestamptz
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  most_looked_at constant integer := 500;
  ready_queue bigint;
  own record;
  due_at timestamptz;
  next_at timestamptz := (
    select next_delivery_at.now + interval '1 s'
    from postbag.group_pending as pending
    cross join lateral (
      select from postbag.endpoint where endpoint.queue_id = pending.queue_id and endpoint.disabled_at is null limit 1
    ) as own
    limit 1
  );
  position bigint := 0;
begin
  for turn in 1 .. most_looked_at loop
    select message.queue_id into ready_queue
    from postbag.message
    where message.queue_id > position and message.available_at < 'infinity'
    order by message.queue_id, message.priority, message.available_at, message.message_id
    limit 1;
    if not found then
      return next_at;
    end if;
    -- Queues that are no endpoints are passed over, as endpoints without messages are.
    select endpoint.queue_id, endpoint.name, endpoint.disabled_at is not null as is_disabled into own
    from postbag.endpoint
    where endpoint.queue_id >= ready_queue
    order by endpoint.queue_id
    limit 1;
    if not found then
      return next_at;
    end if;
    position := own.queue_id - case when own.queue_id > ready_queue then 1 else 0 end;
    continue when own.queue_id > ready_queue or own.is_disabled;
    due_at := postbag.next_available_at('webhooks.' || own.name, next_delivery_at.now);
    continue when due_at is null;
    select greatest(due_at, health.resting_until) into due_at from postbag.endpoint_health as health where health.queue_id = own.queue_id;
    next_at := least(next_at, due_at);
    if next_at <= next_delivery_at.now then
      return next_at;
    end if;
  end loop;
  return least(next_at, next_delivery_at.now + interval '5 s');
end
$$;
--! EndIncluded functions/next_delivery_at.sql
--! Included functions/resend.sql
/* postbag.resend: deliver an event to an endpoint once more, whatever came of it before: the id of the new delivery. Receivers see the same
 * webhook-id. PB014; PB015 if the event is not kept any more. */
create or replace function postbag.resend(endpoint text, event_id text, now timestamptz default clock_timestamp())
returns text
language plpgsql
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(resend.endpoint);
  event postbag.body;
  new_id bigint;
begin
  if event_id ~ '^evt_[0-9]{1,18}$' then
    select kept.* into event from postbag.body as kept where kept.body_id = substr(event_id, 5)::bigint and kept.kept_until > resend.now for update;
  end if;
  if event.body_id is null then
    perform postbag.refuse('PB015', format('event %s does not exist, or is not kept any more', event_id));
  end if;
  insert into postbag.message (queue_id, message_id, available_at, sent_at, encoding, type, content_type, headers, body_id)
  values (
    own.queue_id, nextval('postbag.message_id'), resend.now, resend.now, event.encoding, event.type, event.content_type, event.headers, event.body_id
  )
  returning message_id into new_id;
  update postbag.body
  set queue_ids = body.queue_ids || own.queue_id, message_ids = body.message_ids || new_id,
    -- (For who forgets it just now and waits for this row: it cannot see the new message yet.)
    kept_until = greatest(body.kept_until, resend.now + interval '1 hour')
  where body.body_id = event.body_id;
  perform postbag.wake('webhooks.' || own.name);
  return new_id::text;
end
$$;
--! EndIncluded functions/resend.sql

select postbag.make_volatile_twins();
