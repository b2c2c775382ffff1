--! Previous: sha1:9b0cb3fd3b3609191292ae25b9d199c71228cd6f
--! Hash: sha1:6bda24526b0d73b4a86f5ae7a26576d3847b0818
--! Message: endpoints

--! split: 1-current.sql
/* Webhooks: endpoints, to which the messages of a queue are delivered (functions/set_endpoint.sql). */
alter table postbag.queue add column is_endpoint boolean not null default false;

/* What a published event was, so that it can be delivered again: kept for a while beyond its last copy. */
alter table postbag.body
  add column kept_until timestamptz,
  add column encoding text,
  add column type text,
  add column content_type text,
  add column headers jsonb;

create table postbag.endpoint (
  queue_id bigint primary key references postbag.queue on delete cascade,
  name text collate "C" not null,
  application text collate "C",
  url text not null,
  exchange text collate "C" not null,
  event_types text[] not null,
  -- {"headers": {…}, "body": {…}}: what an event must contain.
  filter jsonb,
  -- Of the requests, beside those of every webhook.
  headers jsonb not null,
  description text,
  metadata jsonb not null,
  timeout interval not null,
  -- How long to wait after the first failed attempt, the second …; after the last, the delivery is a dead letter.
  retries interval[] not null,
  -- [{"sealed": …, "until": …}], the newest first: made and read by who signs (src/webhooks/).
  secrets jsonb not null,
  disabled_at timestamptz,
  disabled_because text,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  constraint endpoint_name_is_taken_once unique (name),
  constraint endpoint_name_is_1_to_71_safe_characters check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,70}$'),
  constraint endpoint_application_is_1_to_128_characters check (length(application) between 1 and 128),
  constraint endpoint_url_is_http_and_at_most_2048_characters check (url ~ '^https?://' and length(url) <= 2048),
  constraint endpoint_event_types_are_1_to_100 check (cardinality(event_types) between 1 and 100),
  constraint endpoint_filter_is_at_most_4096_bytes check (octet_length(filter::text) <= 4096),
  constraint endpoint_headers_are_at_most_16_kib check (octet_length(headers::text) <= 16384),
  constraint endpoint_description_is_at_most_1000_characters check (length(description) <= 1000),
  constraint endpoint_metadata_is_at_most_4096_bytes check (octet_length(metadata::text) <= 4096),
  constraint endpoint_timeout_is_1_to_60_seconds check (timeout between interval '1 s' and interval '60 s'),
  constraint endpoint_retries_are_at_most_50 check (cardinality(retries) <= 50),
  constraint endpoint_secrets_are_1_to_10 check (jsonb_array_length(secrets) between 1 and 10)
);
create index endpoint_by_application on postbag.endpoint (application, name);

/* How an endpoint is: a row that is written while it fails, and once when it is well again. */
create table postbag.endpoint_health (
  queue_id bigint primary key references postbag.endpoint on delete cascade,
  -- Failed attempts since the last that succeeded.
  failures integer not null default 0,
  failing_since timestamptz,
  -- Nothing is delivered until then: the breaker is open, or the receiver has asked for it.
  resting_until timestamptz
) with (fillfactor = 50);

/* Every attempt to deliver, for a while. */
create table postbag.attempt (
  attempt_id bigint generated always as identity primary key,
  queue_id bigint not null,
  message_id bigint not null,
  -- Of the event that was delivered, as long as it is kept.
  body_id bigint,
  type text,
  number integer not null,
  started_at timestamptz not null,
  millis integer not null,
  outcome text not null,
  status integer,
  error text,
  detail text,
  response_headers jsonb,
  response_body text
) with (autovacuum_vacuum_scale_factor = 0.02);
create index attempt_by_endpoint on postbag.attempt (queue_id, attempt_id);
create index attempt_by_message on postbag.attempt (queue_id, message_id, attempt_id);
create index endpoint_with_filter on postbag.endpoint (queue_id) where filter is not null;

/* What goes because its function got another signature. */
drop function postbag.sharable_body;
drop function postbag.forget_bodies;

/* The functions that are new or changed. */
--! Included functions/endpoint_named.sql
/* postbag.endpoint_named: the endpoint of that name, or PB014. */
create or replace function postbag.endpoint_named(endpoint text)
returns postbag.endpoint
language plpgsql
stable
as $$
declare
  found_endpoint postbag.endpoint;
begin
  select known.* into found_endpoint from postbag.endpoint as known where known.name = endpoint_named.endpoint;
  if not found then
    perform postbag.refuse('PB014', format('endpoint "%s" does not exist', endpoint));
  end if;
  return found_endpoint;
end
$$;
--! EndIncluded functions/endpoint_named.sql
--! Included functions/check_endpoint.sql
/* postbag.check_endpoint: refuse (PB002) what no endpoint may say; what single columns may hold are the table's rules. */
create or replace function postbag.check_endpoint(
  source postbag.exchange, event_types text[], filter jsonb, headers jsonb, metadata jsonb, retries interval[]
)
returns void
language plpgsql
immutable
as $$
declare
  wrong text;
begin
  if source.type not in ('topic', 'direct', 'fanout') then
    perform postbag.refuse('PB002', format('exchange must be of type topic, direct or fanout, and "%s" is of type %s', source.name, source.type));
  end if;
  select given.type into wrong from unnest(event_types) as given (type) where given.type is null or length(given.type) > 255 limit 1;
  if found then
    perform postbag.refuse('PB002', format('eventTypes must be at most 255 characters each, got %s', coalesce(length(wrong)::text, 'null')));
  elsif jsonb_typeof(filter) <> 'object' or filter - '{headers,body}'::text[] <> '{}' or jsonb_typeof(filter -> 'headers') <> 'object' then
    perform postbag.refuse('PB002', format('filter must be {"headers": {…}, "body": …}, got %s', left(filter::text, 80)));
  elsif not postbag.is_string_map(coalesce(headers, '{}')) then
    perform postbag.refuse('PB002', format('headers must be an object of strings, got %s', left(headers::text, 80)));
  elsif not postbag.is_string_map(coalesce(metadata, '{}')) then
    perform postbag.refuse('PB002', format('metadata must be an object of strings, got %s', left(metadata::text, 80)));
  elsif exists (
    select from unnest(retries) as pause (length)
    where pause.length is null or pause.length not between interval '0 s' and interval '604800 s'
  ) then
    perform postbag.refuse('PB002', format('retries must be between 0 and 604800 seconds each, got %L', retries));
  end if;
end
$$;
--! EndIncluded functions/check_endpoint.sql
--! Included functions/bind_endpoint.sql
/* postbag.bind_endpoint: bind an endpoint to its exchange as it says, or, if it is disabled, to nothing. */
create or replace function postbag.bind_endpoint(own_id bigint)
returns void
language plpgsql
as $$
declare
  own postbag.endpoint;
begin
  select known.* into own from postbag.endpoint as known where known.queue_id = own_id;
  delete from postbag.binding
  where binding.queue_id = own_id
    and (
      own.disabled_at is not null
      or binding.routing_key <> all (own.event_types)
      or binding.exchange_id <> (postbag.exchange_named(own.exchange)).exchange_id
    );
  if own.disabled_at is null then
    perform postbag.bind(own.exchange, queue => 'webhooks.' || own.name, routing_key => wanted.type)
    from unnest(own.event_types) as wanted (type);
  end if;
end
$$;
--! EndIncluded functions/bind_endpoint.sql
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
  queue.group_mode = 'ordered' as is_ordered,
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
 *   is_ordered     whether events of a group are delivered one after the other, each after the one before it has arrived
 *   secrets        what src/webhooks/ makes of them; needed for a new one
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
  is_ordered boolean default false,
  secrets jsonb default null,
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
  perform postbag.create_queue(
    queue_name,
    lease => set_endpoint.timeout + interval '45 s',
    group_mode => case when is_ordered then 'ordered' else 'fair' end,
    max_in_flight => set_endpoint.concurrency, rate => set_endpoint.rate, burst => set_endpoint.burst,
    now => set_endpoint.now
  );
  update postbag.queue as known set is_endpoint = true where known.name = queue_name returning known.queue_id into own_id;
  select known.* into present from postbag.endpoint as known where known.queue_id = own_id for update;
  if coalesce(set_endpoint.secrets, present.secrets) is null then
    perform postbag.refuse('PB002', 'secrets must be given for a new endpoint, got none');
  end if;

  insert into postbag.endpoint as known (
    queue_id, name, application, url, exchange, event_types, filter, headers, description, metadata, timeout, retries, secrets,
    created_at, updated_at
  )
  values (
    own_id, set_endpoint.endpoint, set_endpoint.application, set_endpoint.url, source.name, set_endpoint.event_types,
    set_endpoint.filter, coalesce(set_endpoint.headers, '{}'), set_endpoint.description, coalesce(set_endpoint.metadata, '{}'),
    set_endpoint.timeout, set_endpoint.retries, coalesce(set_endpoint.secrets, present.secrets), set_endpoint.now, set_endpoint.now
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
--! Included functions/rotate_secret.sql
/* postbag.rotate_secret: from now on a new secret of an endpoint signs (sealed: made by who signs), and those before it for `overlap` longer, so that
 * receivers have time to change. PB014. */
create or replace function postbag.rotate_secret(
  endpoint text, sealed text, overlap interval default '1 day', now timestamptz default clock_timestamp()
)
returns void
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
        -- (Ten at most, the oldest goes.)
        order by given.number
        limit 9
      ) as former
      where (former.secret ->> 'until')::timestamptz > rotate_secret.now
    ), '[]'),
    updated_at = greatest(rotate_secret.now, known.created_at + interval '1 microsecond')
  where known.queue_id = own.queue_id;
end
$$;
--! EndIncluded functions/rotate_secret.sql
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
--! Included functions/delete_endpoint.sql
/* postbag.delete_endpoint: delete an endpoint with all that waits for it; how many deliveries that were. PB014. */
create or replace function postbag.delete_endpoint(endpoint text)
returns bigint
language plpgsql
as $$
begin
  return postbag.delete_queue('webhooks.' || (postbag.endpoint_named(delete_endpoint.endpoint)).name);
end
$$;
--! EndIncluded functions/delete_endpoint.sql
--! Included functions/kept_for.sql
/* postbag.kept_for: for how long events that went to endpoints, and the attempts to deliver them, are kept. */
create or replace function postbag.kept_for()
returns interval
language sql
immutable
return interval '30 days';
--! EndIncluded functions/kept_for.sql
--! Included functions/passes_filter.sql
/* postbag.passes_filter: whether an endpoint's filter lets an event through. */
create or replace function postbag.passes_filter(filter jsonb, headers jsonb, body jsonb)
returns boolean
language sql
immutable
return (filter -> 'headers' is null or coalesce(headers, '{}') @> (filter -> 'headers'))
  and (filter -> 'body' is null or coalesce(body, 'null') @> (filter -> 'body'));
--! EndIncluded functions/passes_filter.sql
--! Included functions/sharable_body.sql
/* postbag.sharable_body: the body of a message to publish, as a row of postbag.body has it, if it is one that pays to be stored once for several copies
 * (npm run bench -- publish): JSON or text of 8000 bytes or more; else null. Any body, if it is to be kept: bytes as base64. */
create or replace function postbag.sharable_body(message jsonb, is_kept boolean default false)
returns text
language plpgsql
as $$
declare
  body text;
begin
  if not is_kept
    and (message ->> 'encoding' = 'base64' or octet_length(coalesce(message ->> 'json', message ->> 'body', '')) < 8000)
  then
    return null;
  end if;
  body := case message ->> 'encoding'
    when 'text' then postbag.string_of(message -> 'body')
    when 'base64' then translate(encode(decode(postbag.string_of(message -> 'body'), 'base64'), 'base64'), E'\n', '')
    else coalesce((message ->> 'json')::json::text, (message -> 'body')::text)
  end;
  -- (Of bytes, a third more as base64.)
  if octet_length(body) > (case message ->> 'encoding' when 'base64' then 1398104 else 1048576 end) then
    perform postbag.break_rule('message_body_is_at_most_1_mib');
  end if;
  return body;
end
$$;
--! EndIncluded functions/sharable_body.sql
--! Included functions/send_in_full.sql
/* postbag.send_in_full: what postbag.send_batch does for messages and queues of every kind. (That one does by itself only what is plain.)
 * Of messages that share a body with others (functions/publish_to_each.sql), `body_ids` says which, by their places; who calls stores it. */
create or replace function postbag.send_in_full(
  queue text, messages jsonb, now timestamptz default clock_timestamp(), alone boolean default false, body_ids bigint[] default null
)
returns table (id text, duplicate boolean)
language plpgsql
as $$
declare
  target postbag.queue := postbag.queue_named(send_in_full.queue);
  ids bigint[];
  -- Per message the id that its dedupId stands for; null where no message has one.
  first_ids bigint[];
begin
  perform postbag.check_messages(messages);
  if alone and target.durability = 'relaxed' then
    perform set_config('synchronous_commit', 'off', true);
  end if;
  ids := array(select nextval('postbag.message_id') from generate_series(1, jsonb_array_length(messages)));
  if target.dedup_by = 'content' or messages @? '$[*].dedupId' then
    first_ids := postbag.deduplicate(target, messages, ids, send_in_full.now);
  end if;
  if target.max_messages is not null or target.max_bytes is not null then
    perform postbag.make_room(target, messages, ids, first_ids, send_in_full.now);
  end if;

  insert into postbag.message (
    queue_id, message_id, available_at, sent_at, priority, encoding, type, content_type, headers, group_key, group_position,
    due_at, expires_at, body, bytes, body_id
  )
  select stored.*
  from (
    select
      target.queue_id as queue_id,
      ids[sent.position] as message_id,
      -- In a group it waits in line. Who commits first becomes the head, and is available at its time. (In a fair queue there is no order,
      -- so a delayed message waits for itself.)
      case when timed.is_in_line then 'infinity' else timed.due_at end as available_at,
      send_in_full.now as sent_at,
      case
        when sent.priority is null then 0
        when sent.priority between 0 and target.max_priority then sent.priority
        else postbag.refuse('PB002', format(
          'priority must be between 0 and %s, the maxPriority of queue "%s", got %s',
          target.max_priority, target.name, sent.priority
        ))::smallint
      end as priority,
      coalesce(sent.encoding, 'json') as encoding,
      sent.type as type,
      sent."contentType" as content_type,
      case
        when sent.headers is null or postbag.is_string_map(sent.headers)
          then postbag.fields_in_headers(sent.headers, sent."correlationId", sent."replyTo")
        else postbag.refuse('PB002', format('headers must be an object of strings, got %s', sent.headers))::jsonb
      end as headers,
      sent."group" as group_key,
      case
        when sent."group" is null then null
        when target.delivery_order = 'fifo' then case when timed.is_in_line then ids[sent.position] end
        else postbag.refuse('PB002', format(
          'group must not be given for queue "%s", whose order is lifo, got %s', target.name, sent."group"
        ))::bigint
      end as group_position,
      case when timed.is_in_line then timed.due_at end as due_at,
      case
        when sent."ttlSeconds" is not null or target.ttl is not null
          then postbag.expiry(timed.due_at, sent."ttlSeconds", target.ttl)
      end as expires_at,
      case
        when body_ids[sent.position] is not null then null
        when coalesce(sent.encoding, 'json') = 'json' then coalesce(sent.json::json::text, sent.body::text, 'null')
        when sent.encoding = 'text' then postbag.string_of(sent.body)
      end as body,
      case
        when sent.encoding = 'base64' and body_ids[sent.position] is null then decode(postbag.string_of(sent.body), 'base64')
      end as bytes,
      body_ids[sent.position] as body_id
    from rows from (
      jsonb_to_recordset(messages) as (
        body jsonb, json text, encoding text, type text, "contentType" text, headers jsonb, priority integer,
        "delaySeconds" double precision, "availableAt" timestamptz, "ttlSeconds" double precision, "group" text,
        "correlationId" text, "replyTo" text
      )
    ) with ordinality as sent (
      body, json, encoding, type, "contentType", headers, priority, "delaySeconds", "availableAt", "ttlSeconds", "group",
      "correlationId", "replyTo", position
    )
    cross join lateral (
      select
        due.at as due_at,
        sent."group" is not null and (target.group_mode = 'ordered' or due.at <= send_in_full.now) as is_in_line
      from (select postbag.availability(send_in_full.now, sent."delaySeconds", sent."availableAt", target.delay) as at) as due
    ) as timed
    where first_ids is null or first_ids[sent.position] = ids[sent.position]
    order by sent.position
    offset 0
  ) as stored
  where postbag.keeps_rules(
    stored.encoding, stored.type, stored.content_type, stored.headers, stored.group_key, stored.body, stored.bytes
  );

  if messages @? '$[*].group' then
    perform postbag.note_arrivals(target.queue_id, messages, ids, first_ids, send_in_full.now);
  end if;
  if not postbag.is_counted('postbag.sent_' || target.queue_id % 1024, target.queue_id, jsonb_array_length(messages), send_in_full.now) then
    perform postbag.tick('sent', target.queue_id, jsonb_array_length(messages), send_in_full.now);
  end if;

  if postbag.is_awaited(send_in_full.queue) then
    perform postbag.wake(send_in_full.queue);
  end if;

  return query
    select coalesce(first_ids[place], ids[place])::text, first_ids is not null and first_ids[place] <> ids[place]
    from generate_subscripts(ids, 1) as place;
end
$$;
--! EndIncluded functions/send_in_full.sql
--! Included functions/publish_plainly.sql
/* postbag.publish_plainly: one insert for all copies (copy_numbers, copy_ids) of a publish: JSON messages with nothing but a type and
 * headers, to queues that send plainly. What each message holds is read and checked once, however many copies it has. A large body of
 * several copies is stored once (postbag.body), and read by each of them; so is every body that goes to an endpoint, where it is kept. */
create or replace function postbag.publish_plainly(exchange text, messages jsonb, copy_numbers integer[], copy_ids bigint[], now timestamptz)
returns void
language plpgsql
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  -- Bytes from which on it pays (npm run bench -- publish).
  least_shared constant integer := 8000;
begin
  with sent as materialized (
    select
      given.number::integer, given.message ->> 'type' as type, given.message ->> 'contentType' as content_type,
      postbag.published_headers(
        case
          when not given.message ? 'headers' or given.message -> 'headers' = 'null' then null
          when postbag.is_string_map(given.message -> 'headers') then given.message -> 'headers'
          else postbag.refuse('PB002', format('headers must be an object of strings, got %s', given.message -> 'headers'))::jsonb
        end,
        publish_plainly.exchange, given.message ->> 'routingKey'
      ) as headers,
      coalesce((given.message ->> 'json')::json::text, (given.message -> 'body')::text, 'null') as body
    from jsonb_array_elements(messages) with ordinality as given (message, number)
  ),
  checked as materialized (
    select sent.* from sent
    where postbag.keeps_rules('json', sent.type, sent.content_type, sent.headers, null, sent.body, null)
  ),
  copied as materialized (
    -- (A queue's ids in the order of its messages, however the planner joins.)
    select placed.number, placed.queue_id, placed.delay, placed.is_endpoint, nextval('postbag.message_id') as message_id
    from (
      select copy.number, target.queue_id, target.delay, target.is_endpoint
      from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
      join postbag.queue as target on target.queue_id = copy.queue_id
      order by copy.queue_id, copy.number
    ) as placed
  ),
  shared as materialized (
    select
      nextval('postbag.body_id') as body_id, checked.*, many.queue_ids, many.message_ids,
      case when many.are_kept then publish_plainly.now + postbag.kept_for() end as kept_until
    from checked
    join (
      select
        copied.number, array_agg(copied.queue_id) as queue_ids, array_agg(copied.message_id) as message_ids,
        bool_or(copied.is_endpoint) as are_kept
      from copied
      group by copied.number
    ) as many on many.number = checked.number
    where many.are_kept or (cardinality(many.queue_ids) > 1 and octet_length(checked.body) >= least_shared)
  ),
  stored as (
    insert into postbag.body (body_id, queue_ids, message_ids, body, kept_until, encoding, type, content_type, headers)
    select
      shared.body_id, shared.queue_ids, shared.message_ids, shared.body, shared.kept_until, 'json', shared.type, shared.content_type,
      shared.headers
    from shared
  )
  insert into postbag.message (queue_id, message_id, available_at, sent_at, encoding, type, content_type, headers, body, body_id)
  select
    copied.queue_id, copied.message_id, publish_plainly.now + copied.delay, publish_plainly.now, 'json',
    checked.type, checked.content_type, checked.headers, case when shared.body_id is null then checked.body end, shared.body_id
  from copied
  join checked on checked.number = copied.number
  left join shared on shared.number = copied.number;

  -- (Each queue once: what postbag.send_batch does at its end.)
  perform
    case
      when not postbag.is_counted('postbag.sent_' || target.queue_id % 1024, target.queue_id, reached.number, publish_plainly.now)
        then postbag.tick('sent', target.queue_id, reached.number, publish_plainly.now)
    end,
    case when postbag.is_awaited(target.name) then postbag.wake(target.name) end
  from (select copy.queue_id, count(*) as number from unnest(copy_ids) as copy (queue_id) group by copy.queue_id) as reached
  join postbag.queue as target on target.queue_id = reached.queue_id;
end
$$;
--! EndIncluded functions/publish_plainly.sql
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
      known.queue_id, known.name, known.is_volatile, known.delivery_order, known.max_priority,
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
    select bool_and(known.sends_plainly and not known.is_volatile), bool_and(known.durability <> 'full')
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
--! Included functions/claim_deliveries.sql
/* postbag.claim_deliveries: lease up to `most` deliveries (1 to 1000) of all endpoints, each with what the request needs. Who claims makes the
 * requests outside of any transaction, and settles all of them with postbag.settle_deliveries before leased_until.
 *
 * Goes from one endpoint that has messages to the next, by the index of claims, and takes of each endpoint no more than a fair share. What an endpoint has waiting costs the others
 * nothing, and one that rests, is paused or empty costs a look. The last row has nothing but `next`, if there may be more: the `after` of the
 * next call.
 * Of an endpoint that has rested because it failed, one delivery is a probe: the others follow when it has arrived. */
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
      queue.name as queue, own.name, own.url, own.headers, extract(epoch from own.timeout)::double precision as timeout_seconds, own.secrets,
      health.failures, health.resting_until
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
      from postbag.receive(target.queue, taken, now => claim_deliveries.now) as got;
    get diagnostics taken = row_count;
    claimed := claimed + taken;
    exit when claimed >= most;
  end loop;
  if position is not null then
    claim_deliveries.next := position;
    return next;
  end if;
end
$$;
--! EndIncluded functions/claim_deliveries.sql
--! Included functions/failure_of.sql
/* postbag.failure_of: why a delivery failed, in a few words, from what was told of it (functions/settle_deliveries.sql). */
create or replace function postbag.failure_of(told jsonb)
returns text
language sql
immutable
return concat_ws(': ', coalesce(told ->> 'error', 'status'), coalesce(told ->> 'detail', told ->> 'status'));
--! EndIncluded functions/failure_of.sql
--! Included functions/note_health.sql
/* postbag.note_health: what the results of a batch (functions/settle_deliveries.sql) say of an endpoint: whether it is well, rests, or is disabled. The one
 * that began last has the last word. Writes nothing for one that was well and is. */
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
  known postbag.endpoint_health;
  told record;
begin
  select
    count(*) filter (where given.value ->> 'outcome' = 'failed') as failed,
    (array_agg(given.value ->> 'outcome' order by given.value ->> 'startedAt' desc))[1] = 'delivered' as is_well,
    max((given.value ->> 'retryAfterSeconds')::double precision) as asked,
    bool_or((given.value ->> 'isGone')::boolean) as is_gone
  into told
  from jsonb_array_elements(results) as given
  where given.value ->> 'outcome' <> 'untried';
  select health.* into known from postbag.endpoint_health as health where health.queue_id = own_id;
  if told.is_gone then
    perform postbag.disable_endpoint((select own.name from postbag.endpoint as own where own.queue_id = own_id), 'gone', note_health.now);
  end if;
  if told.is_well is null or (told.is_well and known.failures = 0 and known.resting_until is null and told.asked is null) then
    return;
  end if;

  update postbag.endpoint_health as health
  set
    failures = case when told.is_well then 0 else health.failures + told.failed end,
    failing_since = case when not told.is_well then coalesce(health.failing_since, note_health.now) end,
    resting_until = greatest(
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
 *   endpoint, receipt        as claimed
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
    select own.queue_id, own.name, own.retries, 'webhooks.' || own.name as queue, jsonb_agg(given.value order by given.place) as results
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
    perform postbag.note_health(target.queue_id, target.results, settle_deliveries.now);
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
--! Included functions/list_attempts.sql
/* postbag.list_attempts: attempts to deliver to an endpoint, the newest first, at most max_attempts (1 to 1000) before the attempt `before`; all, or
 * those of an outcome or of one delivery. `event_id` is null if the event is not kept any more. PB014. */
create or replace function postbag.list_attempts(
  endpoint text, of_outcome text default null, of_id text default null, before bigint default null, max_attempts integer default 100
)
returns table (
  attempt bigint, id text, event_id text, type text, number integer, started_at timestamptz, millis integer, outcome text, status integer,
  error text, detail text, response_headers jsonb, response_body text
)
language plpgsql
stable
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(list_attempts.endpoint);
begin
  if max_attempts is null or max_attempts not between 1 and 1000 then
    perform postbag.refuse('PB002', format('max must be between 1 and 1000, got %s', coalesce(max_attempts::text, 'null')));
  end if;
  return query
    select
      made.attempt_id, made.message_id::text, 'evt_' || kept.body_id, made.type, made.number, made.started_at, made.millis, made.outcome,
      made.status, made.error, made.detail, made.response_headers, made.response_body
    from postbag.attempt as made
    left join postbag.body as kept on kept.body_id = made.body_id
    where made.queue_id = own.queue_id
      and (list_attempts.before is null or made.attempt_id < list_attempts.before)
      and (list_attempts.of_outcome is null or made.outcome = list_attempts.of_outcome)
      and (list_attempts.of_id is null or made.message_id::text = list_attempts.of_id)
    order by made.attempt_id desc
    limit max_attempts;
end
$$;
--! EndIncluded functions/list_attempts.sql
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
    select kept.* into event from postbag.body as kept where kept.body_id = substr(event_id, 5)::bigint and kept.kept_until is not null for update;
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
  set queue_ids = body.queue_ids || own.queue_id, message_ids = body.message_ids || new_id
  where body.body_id = event.body_id;
  perform postbag.wake('webhooks.' || own.name);
  return new_id::text;
end
$$;
--! EndIncluded functions/resend.sql
--! Included functions/forget_attempts.sql
/* postbag.forget_attempts: delete up to `most` attempts of longer ago than events are kept (functions/kept_for.sql); how many. */
create or replace function postbag.forget_attempts(most integer, now timestamptz)
returns bigint
language plpgsql
set enable_seqscan = off
as $$
declare
  forgotten bigint;
begin
  delete from postbag.attempt
  where attempt.ctid = any (array(
    select old.ctid
    from (select eldest.ctid, eldest.started_at from postbag.attempt as eldest order by eldest.attempt_id limit most for update skip locked) as old
    where old.started_at < forget_attempts.now - postbag.kept_for()
  ));
  get diagnostics forgotten = row_count;
  return forgotten;
end
$$;
--! EndIncluded functions/forget_attempts.sql
--! Included functions/forget_bodies.sql
/* postbag.forget_bodies: remove shared bodies that no message has any more, and that need not be kept for longer; looks at up to `most`, and returns how many of them went. It goes
 * round: each call goes on where the last one ended. Beside another one it does nothing.
 *
 * Whether a body is still needed is asked of its copies, by their ids: so a message that is acked, has expired or is purged has nothing to do
 * with it, and no two of them wait for each other. A copy that moves to another queue takes a body of its own along (functions/move_dead.sql,
 * functions/revive.sql), so no copy comes later than the body. */
create or replace function postbag.forget_bodies(most integer, now timestamptz default clock_timestamp())
returns bigint
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  start bigint;
  looked_at bigint[];
  gone bigint;
begin
  select round.next_id into start from postbag.body_round as round for update skip locked;
  if not found then
    return 0;
  end if;
  looked_at := array(
    select shared.body_id from postbag.body as shared where shared.body_id >= start order by shared.body_id limit most
  );
  if cardinality(looked_at) = 0 and start = 0 then
    return 0;
  end if;
  delete from postbag.body as shared
  where shared.body_id = any (looked_at)
    and (shared.kept_until is null or shared.kept_until <= forget_bodies.now)
    and not exists (
      select from unnest(shared.queue_ids, shared.message_ids) as copy (queue_id, message_id)
      join postbag.message
        on message.queue_id = copy.queue_id and message.message_id = copy.message_id and message.body_id = shared.body_id
    );
  get diagnostics gone = row_count;
  update postbag.body_round
  set next_id = case when cardinality(looked_at) < most then 0 else looked_at[most] + 1 end;
  return gone;
end
$$;
--! EndIncluded functions/forget_bodies.sql
--! Included functions/tidy_at_commit.sql
/* postbag.tidy_at_commit: what a session has done for a queue once a second, at the end of its transaction: tidy up to 1000 messages,
 * replies and shared bodies, name the heads that were left unnamed, and now and then forget traffic of long ago. */
create or replace function postbag.tidy_at_commit(tidied_id bigint, now timestamptz)
returns void
language plpgsql
as $$
declare
  tidied postbag.queue;
begin
  select known.* into tidied from postbag.queue as known where known.queue_id = tidied_id;
  if found then
    perform postbag.tidy(tidied, 1000, tidy_at_commit.now);
    perform postbag.forget_replies(tidied_id, 1000, tidy_at_commit.now);
  end if;
  -- (On while most of what is looked at is of no use.)
  for turn in 1 .. 10 loop
    exit when postbag.forget_bodies(100, tidy_at_commit.now) < 50;
  end loop;
  if random() < 1 / 60.0 then
    perform postbag.forget_attempts(1000, tidy_at_commit.now);
  end if;
  perform postbag.settle_pending(tidied_id, tidy_at_commit.now);
  if random() < 1 / 60.0 then
    perform postbag.forget_traffic(tidied_id, tidy_at_commit.now);
  end if;
end
$$;
--! EndIncluded functions/tidy_at_commit.sql
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

  for tended in
    select known.* from postbag.queue as known where maintain.queue is null or known.name = maintain.queue order by known.queue_id
  loop
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
  delete from postbag.traffic where traffic.noted_at < maintain.now - interval '10 min';
  -- (Nothing of their burst is used up.)
  delete from postbag.flow where flow.spent_until < maintain.now;
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

select postbag.make_volatile_twins();
