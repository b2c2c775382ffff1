--! Previous: sha1:494e088ce938fd9239fa851cfceb89d0d2b4838e
--! Hash: sha1:bfe0795f5c5c246d81d93efba80dc9997f39d643
--! Message: ordered-endpoints

--! split: 1-current.sql
/* Whether all that is published to a queue is one group: an endpoint in strict order. */
alter table postbag.queue add column is_one_group boolean not null default false;

/* What goes because its function got another signature, or its view other columns. */
drop function postbag.set_endpoint;
drop function postbag.describe_endpoint;
drop function postbag.list_endpoints;
drop function postbag.enable_endpoint;
drop function postbag.disable_endpoint;
drop function postbag.rotate_secret;
drop view postbag.endpoint_info;

/* The functions that are new or changed. */
--! Included views/endpoint_info.sql
/* postbag.endpoint_info: an endpoint as its callers see it: no secrets, durations in seconds; and how it is. Its state is one of
 *   enabled
 *   resting    nothing is delivered until resting_until: it has failed often, or has asked for it
 *   paused     nothing is delivered until it is resumed; what is published meanwhile waits
 *   disabled   nothing is delivered, and what is published meanwhile does not wait */
create or replace view postbag.endpoint_info as
select
  endpoint.name,
  endpoint.application,
  endpoint.url,
  endpoint.exchange,
  endpoint.event_types,
  endpoint.filter,
  endpoint.headers,
  endpoint.description,
  endpoint.metadata,
  extract(epoch from endpoint.timeout)::double precision as timeout_seconds,
  array(select extract(epoch from pause.length)::double precision from unnest(endpoint.retries) as pause (length)) as retries_seconds,
  queue.rate,
  queue.burst,
  queue.max_in_flight as concurrency,
  case when queue.is_one_group then 'endpoint' when queue.group_mode = 'ordered' then 'group' else 'none' end as ordering,
  case
    when endpoint.disabled_at is not null then 'disabled'
    when queue.paused then 'paused'
    when health.resting_until > clock_timestamp() then 'resting'
    else 'enabled'
  end as state,
  endpoint.disabled_at,
  endpoint.disabled_because,
  health.failures,
  health.failing_since,
  health.resting_until,
  endpoint.created_at,
  endpoint.updated_at
from postbag.endpoint
join postbag.queue using (queue_id)
join postbag.endpoint_health as health using (queue_id);
--! EndIncluded views/endpoint_info.sql
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
 * letters; it can be looked at, paused, redriven and purged. PB002, PB010. */
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
--! Included functions/describe_endpoint.sql
/* postbag.describe_endpoint: an endpoint's configuration, and how it is. PB014. */
create or replace function postbag.describe_endpoint(endpoint text)
returns setof postbag.endpoint_info
language plpgsql
stable
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(describe_endpoint.endpoint);
begin
  return query select info.* from postbag.endpoint_info as info where info.name = own.name;
end
$$;
--! EndIncluded functions/describe_endpoint.sql
--! Included functions/list_endpoints.sql
/* postbag.list_endpoints: endpoints by name, those of one application or all, at most max_endpoints (1 to 1000) after the name `after`. */
create or replace function postbag.list_endpoints(application text default null, after text default '', max_endpoints integer default 100)
returns setof postbag.endpoint_info
language plpgsql
stable
as $$
begin
  if max_endpoints is null or max_endpoints not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max_endpoints must be between 1 and 1000, got %s', coalesce(max_endpoints::text, 'null')));
  end if;
  return query
    select info.*
    from postbag.endpoint_info as info
    where (list_endpoints.application is null or info.application = list_endpoints.application)
      and info.name > coalesce(after, '') collate "C"
    order by info.name
    limit max_endpoints;
end
$$;
--! EndIncluded functions/list_endpoints.sql
--! Included functions/enable_endpoint.sql
/* postbag.enable_endpoint: deliver to an endpoint again that was disabled, and what is published from now on; and let it rest no longer. PB014. */
create or replace function postbag.enable_endpoint(endpoint text, now timestamptz default clock_timestamp())
returns setof postbag.endpoint_info
language plpgsql
as $$
declare
  own postbag.endpoint := postbag.endpoint_named(enable_endpoint.endpoint);
begin
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
--! Included functions/disable_endpoint.sql
/* postbag.disable_endpoint: deliver nothing to an endpoint, and let nothing that is published wait for it, until postbag.enable_endpoint. What waits is
 * kept, unless it expires. `because`: 'asked', or 'gone' or 'failing', if its receiver left no other choice. PB014.
 * Whoever is interested learns of it: an event endpoint.disabled is published to the exchange "postbag", which endpoints may be bound to. */
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
    perform postbag.publish(
      'postbag',
      jsonb_strip_nulls(jsonb_build_object(
        'type', 'endpoint.disabled', 'timestamp', disable_endpoint.now,
        'data', jsonb_build_object('endpoint', own.name, 'application', own.application, 'because', disable_endpoint.because)
      )),
      routing_key => 'endpoint.disabled', type => 'endpoint.disabled', now => disable_endpoint.now
    );
  end if;
  return query select info.* from postbag.endpoint_info as info where info.name = own.name;
end
$$;
--! EndIncluded functions/disable_endpoint.sql
--! Included functions/rotate_secret.sql
/* postbag.rotate_secret: from now on a new secret of an endpoint signs (sealed: made by who signs), and those before it for `overlap` longer, so that
 * receivers have time to change: the endpoint. At most ten sign, the oldest goes. PB014, PB002. */
create or replace function postbag.rotate_secret(
  endpoint text, sealed text, overlap interval default '1 day', now timestamptz default clock_timestamp()
)
returns setof postbag.endpoint_info
language plpgsql
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(rotate_secret.endpoint);
begin
  if overlap is null or overlap not between interval '0 s' and interval '604800 s' then
    perform postbag.refuse('PB002', format('overlapSeconds must be between 0 and 604800, got %s', extract(epoch from overlap)::double precision));
  end if;
  update postbag.endpoint as known
  set
    secrets = jsonb_build_array(jsonb_build_object('sealed', sealed)) || coalesce((
      select jsonb_agg(former.secret order by former.number)
      from (
        select
          given.number,
          given.secret || jsonb_build_object('until', least((given.secret ->> 'until')::timestamptz, rotate_secret.now + overlap)) as secret
        from jsonb_array_elements(known.secrets) with ordinality as given (secret, number)
        order by given.number
        limit 9
      ) as former
      where (former.secret ->> 'until')::timestamptz > rotate_secret.now
    ), '[]'),
    updated_at = greatest(rotate_secret.now, known.created_at + interval '1 microsecond')
  where known.queue_id = own.queue_id;
  return query select info.* from postbag.endpoint_info as info where info.name = own.name;
end
$$;
--! EndIncluded functions/rotate_secret.sql
--! Included functions/endpoint_stats.sql
/* postbag.endpoint_stats: how an endpoint does: what waits for it (also for its next attempt), is under way, or is a dead letter, counted
 * as postbag.queue_stats does; and of its last attempts, 1000 at most, how many arrived (0 to 1), and how long half of them and 95 of 100
 * took at most (null without attempts). PB014. */
create or replace function postbag.endpoint_stats(endpoint text, now timestamptz default clock_timestamp())
returns table (
  state text, waiting bigint, leased bigint, dead bigint, oldest_ready_at timestamptz, counted_at timestamptz, capped boolean,
  attempts bigint, success_rate double precision, p50_millis integer, p95_millis integer
)
language plpgsql
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(endpoint_stats.endpoint);
begin
  return query
    select
      info.state, counted.ready + counted.delayed + counted.blocked, counted.leased, counted.dead, counted.oldest_ready_at,
      counted.counted_at, counted.capped, tried.attempts, tried.success_rate, tried.p50_millis, tried.p95_millis
    from postbag.endpoint_info as info
    cross join postbag.queue_stats('webhooks.' || own.name, endpoint_stats.now) as counted
    cross join (
      select
        count(*) as attempts, (avg((latest.outcome = 'delivered')::integer))::double precision as success_rate,
        percentile_disc(0.5) within group (order by latest.millis) as p50_millis,
        percentile_disc(0.95) within group (order by latest.millis) as p95_millis
      from (
        select made.outcome, made.millis from postbag.attempt as made
        where made.queue_id = own.queue_id order by made.attempt_id desc limit 1000
      ) as latest
    ) as tried
    where info.name = own.name;
end
$$;
--! EndIncluded functions/endpoint_stats.sql
--! Included functions/test_endpoint.sql
/* postbag.test_endpoint: deliver an event of the type "test" to an endpoint, whatever its event types and filter say, and to no
 * other: the ids of the delivery and of the event. PB014. */
create or replace function postbag.test_endpoint(endpoint text, now timestamptz default clock_timestamp())
returns table (id text, event_id text)
language plpgsql
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(test_endpoint.endpoint);
begin
  insert into postbag.body as made (body_id, queue_ids, message_ids, body, kept_until, encoding, type, headers)
  values (
    nextval('postbag.body_id'), '{}', '{}',
    jsonb_build_object('type', 'test', 'timestamp', test_endpoint.now, 'data', jsonb_build_object('endpoint', own.name))::text,
    test_endpoint.now + postbag.kept_for(), 'json', 'test', '{}'
  )
  returning 'evt_' || made.body_id into event_id;
  id := postbag.resend(own.name, event_id, test_endpoint.now);
  return next;
end
$$;
--! EndIncluded functions/test_endpoint.sql
--! Included functions/claim_deliveries.sql
/* postbag.claim_deliveries: lease up to `most` deliveries (1 to 1000) of all endpoints, each with what the request needs. Who claims makes the
 * requests outside of any transaction, and settles all of them with postbag.settle_deliveries before leased_until.
 *
 * Goes from one endpoint that has messages to the next, by the index of claims, and takes of each endpoint no more than a fair share. What an endpoint has waiting costs the others
 * nothing, and one that rests, is paused or empty costs a look. The last row has nothing but `next`, if there may be more: the `after` of the
 * next call.
 * Of an endpoint that has rested because it failed, one delivery is a probe: the others follow when it has arrived.
 * Of an endpoint with an order each group has one delivery under way, its first: who claims makes all requests side by side. */
create or replace function postbag.claim_deliveries(most integer default 100, after bigint default null, now timestamptz default clock_timestamp())
returns table (
  endpoint text, url text, request_headers jsonb, timeout_seconds double precision, secrets jsonb, receipt text, id text, event_id text,
  attempts integer, body text, encoding text, type text, content_type text, headers jsonb, sent_at timestamptz, leased_until timestamptz,
  next bigint
)
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
as $$
declare
  -- Of one endpoint at a time, and queues looked at in one call.
  share constant integer := greatest(most / 4, 1);
  most_looked_at constant integer := 1000;
  probe_time constant interval := '2 min';
  ready record;
  next_endpoint bigint;
  target record;
  taken integer;
  got_now integer;
  claimed integer := 0;
  position bigint := after;
begin
  if most is null or most not between 1 and 1000 then
    perform postbag.refuse('PB002', format('most must be between 1 and 1000, got %s', coalesce(most::text, 'null')));
  end if;
  for turn in 1 .. most_looked_at loop
    select message.queue_id, message.available_at into ready
    from postbag.message
    where message.queue_id > coalesce(position, 0) and message.available_at < 'infinity'
    order by message.queue_id, message.priority, message.available_at, message.message_id
    limit 1;
    if not found then
      position := null;
      exit;
    end if;
    -- Queues that are no endpoints are passed over, however many they are, as endpoints without messages are.
    select own.queue_id into next_endpoint from postbag.endpoint as own where own.queue_id >= ready.queue_id order by own.queue_id limit 1;
    if next_endpoint is null then
      position := null;
      exit;
    end if;
    position := next_endpoint - case when next_endpoint > ready.queue_id then 1 else 0 end;
    continue when next_endpoint > ready.queue_id;
    continue when ready.available_at > claim_deliveries.now;
    select
      queue.name as queue, queue.group_mode = 'ordered' as is_ordered, own.name, own.url, own.headers,
      extract(epoch from own.timeout)::double precision as timeout_seconds, own.secrets, health.failures, health.resting_until
    into target
    from postbag.endpoint as own
    join postbag.queue on queue.queue_id = own.queue_id
    join postbag.endpoint_health as health on health.queue_id = own.queue_id
    where own.queue_id = ready.queue_id
      and own.disabled_at is null
      and not queue.paused
      and (health.resting_until is null or health.resting_until <= claim_deliveries.now);
    continue when not found;
    taken := least(share, most - claimed);
    if target.resting_until is not null and target.failures > 0 then
      -- One of those that come at the same time has the probe.
      update postbag.endpoint_health as health set resting_until = claim_deliveries.now + probe_time
      where health.queue_id = ready.queue_id and health.resting_until = target.resting_until;
      continue when not found;
      taken := 1;
    end if;

    for turn_of_endpoint in 1 .. case when target.is_ordered then taken else 1 end loop
      return query
        select
          target.name, target.url, target.headers, target.timeout_seconds,
          (
            select jsonb_agg(secret.value order by secret.number)
            from jsonb_array_elements(target.secrets) with ordinality as secret (value, number)
            where secret.value ->> 'until' is null or (secret.value ->> 'until')::timestamptz > claim_deliveries.now
          ),
          got.receipt, got.id,
          coalesce(
            (select 'evt_' || message.body_id from postbag.message
              where message.queue_id = ready.queue_id and message.message_id = got.id::bigint limit 1),
            'msg_' || ready.queue_id || '_' || got.id
          ),
          got.attempts, got.body, got.encoding, got.type, got.content_type, got.headers, got.sent_at, got.leased_until,
          null::bigint
        from postbag.receive(target.queue, case when target.is_ordered then 1 else taken end, now => claim_deliveries.now) as got;
      get diagnostics got_now = row_count;
      claimed := claimed + got_now;
      exit when got_now = 0;
    end loop;
    exit when claimed >= most;
  end loop;
  if position is not null then
    claim_deliveries.next := position;
    return next;
  end if;
end
$$;
--! EndIncluded functions/claim_deliveries.sql
--! Included functions/revive.sql
/* postbag.revive: dead letters of a queue become messages again, in `target` or where each came from (here, if that queue is gone), to be
 * received from start_at on, so many in a second; how many there were. Leaves those that another transaction holds. One that stays in its
 * queue keeps its shared body, and is the same event to an endpoint; one that goes to another takes a body of its own along. */
create or replace function postbag.revive(
  source postbag.queue, ids bigint[], target text, start_at timestamptz, rate double precision, now timestamptz
)
returns bigint
language plpgsql
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  places constant tid[] := postbag.places_of(source.queue_id, ids);
  revived bigint[];
  joined_queues bigint[];
begin
  -- In one statement they leave this queue and stand in the other; a grouped one that stays here takes a new place, too.
  with free as materialized (
    select message.ctid as place
    from postbag.message
    where message.ctid = any (places)
      and message.dead_at is not null
      and (message.leased_until is null or message.leased_until <= revive.now)
    for update skip locked
  ),
  gone as (
    delete from postbag.message
    where message.ctid = any (array(select free.place from free))
    returning message.*
  ),
  due as materialized (
    select
      gone.*,
      (
        select death.value ->> 'queue'
        from jsonb_array_elements(gone.deaths) with ordinality as death (value, number)
        where death.value ->> 'queue' <> source.name
        order by death.number desc
        limit 1
      ) as origin,
      start_at + coalesce(make_interval(secs => (row_number() over (order by gone.dead_at, gone.message_id) - 1) / rate), '0 s')
        as back_at
    from gone
  ),
  born as (
    insert into postbag.message (
      queue_id, message_id, available_at, sent_at, first_received_at, priority, encoding, type, content_type, headers, last_error,
      group_key, group_position, due_at, expires_at, deaths, body, bytes, body_id
    )
    select
      there.queue_id, due.message_id,
      case when there.is_in_line then 'infinity' else due.back_at end,
      due.sent_at, due.first_received_at, least(due.priority, there.top_priority), due.encoding, due.type, due.content_type,
      due.headers, due.last_error, due.group_key,
      case when there.is_in_line then nextval('postbag.message_id') end,
      case when there.is_in_line then due.back_at end,
      due.back_at + there.ttl, due.deaths,
      case when due.body_id is null or there.queue_id = source.queue_id then due.body else postbag.body_of(null, due.body_id) end,
      due.bytes, case when there.queue_id = source.queue_id then due.body_id end
    from due
    cross join lateral (
      select
        known.*,
        due.group_key is not null and known.delivery_order = 'fifo'
          -- (In a fair queue there is no order, so a delayed message waits for itself.)
          and (known.group_mode = 'ordered' or due.back_at <= revive.now) as is_in_line
      from postbag.queue as known
      where known.is_volatile = source.is_volatile and known.name in (coalesce(revive.target, due.origin, source.name), source.name)
      order by known.name <> coalesce(revive.target, due.origin, source.name)
      limit 1
    ) as there
    order by due.dead_at, due.message_id
    returning message.queue_id, message.message_id, message.group_key, message.group_position
  ),
  left_behind as (
    insert into postbag.group_change (queue_id, groups, changed_at)
    select source.queue_id, array_agg(due.group_key), revive.now from due where due.group_position = 0 having count(*) > 0
  ),
  joined as (
    insert into postbag.group_change (queue_id, groups, arrived, changed_at)
    select born.queue_id, array_agg(born.group_key), array_agg(born.message_id order by born.group_position), revive.now
    from born
    where born.group_position is not null
    group by born.queue_id
  )
  select array_agg(born.message_id), array_agg(distinct born.queue_id) into revived, joined_queues from born;
  if exists (select from postbag.queue as known where known.queue_id = any (joined_queues) and known.max_messages is not null) then
    perform postbag.forget_count(joined_queues);
  end if;
  perform postbag.wake(known.name) from postbag.queue as known where known.queue_id = any (joined_queues);
  return coalesce(cardinality(revived), 0);
end
$$;
--! EndIncluded functions/revive.sql
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
  -- By number, if some endpoint looks at them.
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
  if has_filters then
    contents := array(
      select case when given.message ? 'json' then (given.message ->> 'json')::jsonb else given.message -> 'body' end
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
--! Included functions/publish_to_each.sql
/* postbag.publish_to_each: the copies of a publish (copy_numbers, copy_ids), queue by queue, as sends of messages and to queues of any kind.
 * What postbag.publish_plainly says of large bodies holds for JSON and text, in queues that are not volatile. */
create or replace function postbag.publish_to_each(exchange text, messages jsonb, copy_numbers integer[], copy_ids bigint[], now timestamptz)
returns void
language plpgsql
as $$
declare
  target record;
  sent record;
  -- By number of the message; null where each copy has a body of its own.
  shared_bodies text[];
  shared_ids bigint[];
  -- The copies that share, in parallel; what was a duplicate is none.
  made_numbers integer[] := '{}';
  made_queues bigint[] := '{}';
  made_ids bigint[] := '{}';
begin
  select
    array_agg(large.body order by large.number),
    array_agg(case when large.body is not null then nextval('postbag.body_id') end order by large.number)
  into shared_bodies, shared_ids
  from (
    select given.number, case when copies.are_kept or copies.number > 1 then postbag.sharable_body(given.message, copies.are_kept) end as body
    from jsonb_array_elements(messages) with ordinality as given (message, number)
    left join (
      select copy.number as of, count(*) as number, bool_or(known.is_endpoint) as are_kept
      from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
      join postbag.queue as known on known.queue_id = copy.queue_id
      where not known.is_volatile
      group by copy.number
    ) as copies on copies.of = given.number
  ) as large;

  for target in
    select
      known.queue_id, known.name, known.is_volatile, known.delivery_order, known.max_priority, known.is_one_group,
      array_agg(copy.number order by copy.number) as numbers
    from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
    join postbag.queue as known on known.queue_id = copy.queue_id
    group by known.queue_id
    order by known.queue_id
  loop
    select
      jsonb_agg(
        given.message - 'routingKey'
          - case when target.delivery_order = 'lifo' then 'group' else '' end
          || jsonb_build_object('headers', case
            when not given.message ? 'headers' or jsonb_typeof(given.message -> 'headers') in ('object', 'null')
              then postbag.published_headers(nullif(given.message -> 'headers', 'null'), publish_to_each.exchange, given.message ->> 'routingKey')
            else given.message -> 'headers'
          end)
          || case
            when (given.message ->> 'priority')::integer > target.max_priority then jsonb_build_object('priority', target.max_priority)
            else '{}'
          end
          || case when target.is_one_group then jsonb_build_object('group', 'endpoint') else '{}' end
        order by place.ordinality
      ) as messages,
      array_agg(shared_ids[place.number] order by place.ordinality) as body_ids
    into sent
    from unnest(target.numbers) with ordinality as place (number, ordinality)
    cross join lateral (select messages -> (place.number - 1) as message) as given;

    if target.is_volatile then
      perform from postbag.volatile_send_in_full(target.name, sent.messages, publish_to_each.now);
    else
      select
        made_numbers || array_agg(target.numbers[copy.position] order by copy.position),
        made_queues || array_agg(target.queue_id order by copy.position),
        made_ids || array_agg(copy.id::bigint order by copy.position)
      into made_numbers, made_queues, made_ids
      from postbag.send_in_full(
        target.name, sent.messages, publish_to_each.now, body_ids => sent.body_ids
      ) with ordinality as copy (id, duplicate, position)
      where sent.body_ids[copy.position] is not null and not copy.duplicate;
    end if;
  end loop;

  insert into postbag.body (body_id, queue_ids, message_ids, body, kept_until, encoding, type, content_type, headers)
  select
    shared_ids[made.number], made.queue_ids, made.message_ids, shared_bodies[made.number],
    case when made.are_kept then publish_to_each.now + postbag.kept_for() end,
    coalesce(given.message ->> 'encoding', 'json'), given.message ->> 'type', given.message ->> 'contentType',
    postbag.published_headers(nullif(given.message -> 'headers', 'null'), publish_to_each.exchange, given.message ->> 'routingKey')
  from (
    select
      copy.number, array_agg(copy.queue_id order by copy.position) as queue_ids, array_agg(copy.message_id order by copy.position) as message_ids,
      bool_or(known.is_endpoint) as are_kept
    from unnest(made_numbers, made_queues, made_ids) with ordinality as copy (number, queue_id, message_id, position)
    join postbag.queue as known on known.queue_id = copy.queue_id
    group by copy.number
  ) as made
  cross join lateral (select messages -> (made.number - 1) as message) as given;
end
$$;
--! EndIncluded functions/publish_to_each.sql
select postbag.make_volatile_twins();
