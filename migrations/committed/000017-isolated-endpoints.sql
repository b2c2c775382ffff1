--! Previous: sha1:bfe0795f5c5c246d81d93efba80dc9997f39d643
--! Hash: sha1:44869887b83360a545bb3ad066219c2455b781b3
--! Message: isolated-endpoints

--! split: 1-current.sql
/* How far an endpoint is trusted (functions/claim_deliveries.sql): whether it is new, or the last attempt failed; whether its answers take long. */
alter table postbag.endpoint_health
  add column is_proven boolean not null default false,
  add column is_slow boolean not null default false;
update postbag.endpoint_health set is_proven = true where failures = 0;

drop function postbag.claim_deliveries;
--! Included functions/event_id_of.sql
/* postbag.event_id_of: what receivers of webhooks know a delivery by, the same for all endpoints, attempts and resends of an event. What was sent
 * to the queue of an endpoint is no event, and has an id of its own.
 *
 * Asked in a statement of its own, because a message that has just been received may be younger than the snapshot of the statement that received
 * it. */
create or replace function postbag.event_id_of(own_id bigint, message_id text)
returns text
language plpgsql
set enable_seqscan = off
as $$
declare
  event bigint;
begin
  select message.body_id into event
  from postbag.message
  where message.queue_id = own_id and message.message_id = event_id_of.message_id::bigint
  limit 1;
  return coalesce('evt_' || event, 'msg_' || own_id || '_' || event_id_of.message_id);
end
$$;
--! EndIncluded functions/event_id_of.sql
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
 * Of an endpoint with an order each group has one delivery under way, its first: who claims makes all requests side by side. */
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
      update postbag.endpoint_health as health set resting_until = claim_deliveries.now + probe_time
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
--! Included functions/note_health.sql
/* postbag.note_health: what the results of a batch (functions/settle_deliveries.sql) say of an endpoint: whether it is well, rests, or is disabled,
 * and whether its answers take long. The one that began last has the last word; for how long they take, all of them together. Writes nothing
 * for one that was well and is. */
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
begin
  select
    count(*) filter (where given.value ->> 'outcome' = 'failed') as failed,
    (array_agg(given.value ->> 'outcome' order by given.value ->> 'startedAt' desc))[1] = 'delivered' as is_well,
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

  update postbag.endpoint_health as health
  set
    failures = case when told.is_well then 0 else health.failures + told.failed end,
    is_proven = told.is_well,
    is_slow = takes_long,
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
