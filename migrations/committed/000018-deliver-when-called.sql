--! Previous: sha1:44869887b83360a545bb3ad066219c2455b781b3
--! Hash: sha1:642b47534981ab54ae502d427e5b72fc691cb390
--! Message: deliver-when-called

--! split: 1-current.sql
/* Deliveries of webhooks by functions that do not run all the time, and deliverers that are told of what there is to do. */
--! Included views/endpoint_info.sql
/* postbag.endpoint_info: an endpoint as its callers see it: no secrets, durations in seconds; and how it is. Its state is one of
 *   enabled
 *   resting    nothing is delivered until resting_until: it has failed often, or has asked for it
 *   paused     nothing is delivered until it is resumed; what is published meanwhile waits
 *   disabled   nothing is delivered, and what is published meanwhile does not wait
 * Its breaker is closed, open while it rests, and half-open after that, until a delivery has arrived. */
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
  endpoint.updated_at,
  case
    when health.resting_until is null then 'closed'
    when health.resting_until > clock_timestamp() then 'open'
    else 'half-open'
  end as breaker
from postbag.endpoint
join postbag.queue using (queue_id)
join postbag.endpoint_health as health using (queue_id);
--! EndIncluded views/endpoint_info.sql
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
-- What is asked for decides which index is the right one.
set plan_cache_mode = force_custom_plan
as $$
declare
  own constant postbag.endpoint := postbag.endpoint_named(list_attempts.endpoint);
  -- (No delivery has another id than a number.)
  of_message constant bigint := case when of_id ~ '^[0-9]{1,18}$' then of_id::bigint when of_id is not null then -1 end;
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
      and (of_message is null or made.message_id = of_message)
    order by made.attempt_id desc
    limit max_attempts;
end
$$;
--! EndIncluded functions/list_attempts.sql
--! Included functions/next_delivery_at.sql
/* postbag.next_delivery_at: when a delivery is due, `now` or earlier if one is; null if none waits. For functions that deliver when a clock
 * calls them, and for who waits until there is something to deliver.
 *
 * Goes from one endpoint that has messages to the next, as postbag.claim_deliveries does, and reads a few places of indexes for each; what
 * an endpoint has waiting costs nothing. Ends with the first that is due, and after `most_looked_at`: then the answer is in 5 s, unless one
 * of those comes earlier. So it may be too early, and is never too late. */
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
  next_at timestamptz;
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
--! Included functions/next_available_at.sql
/* postbag.next_available_at: when a receive from a queue may find something, if nobody sends, settles or configures anything: at `now` or
 * before if there is something (or if it cannot be told cheaply), later when a delay or a lease ends, or a limit is no longer reached; null
 * if never. '-infinity' if there is no such queue. May be too early, never too late.
 *
 * Unlike a receive it knows no cursor, and looks at what is committed, whoever has it locked: so that "nothing" is certain. For that
 * it looks at the first 1000 messages of each priority; if all of those are leased, it cannot tell. A time to live that ends counts, too:
 * the receive after it lets the next of the group go on, and the dead letter be moved. */
create or replace function postbag.next_available_at(queue text, now timestamptz default clock_timestamp())
returns timestamptz
language plpgsql
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
  most constant integer := 1000;
  source postbag.queue;
  seen integer;
  head_at timestamptz;
  next_at timestamptz;
begin
  select known.* into source from postbag.queue as known where known.name = next_available_at.queue;
  if not found then
    return case
      when starts_with(next_available_at.queue, '~reply/')
        then postbag.reply_available_at(next_available_at.queue, next_available_at.now)
      when next_available_at.queue = '~webhooks' then postbag.next_delivery_at(next_available_at.now)
      else '-infinity'
    end;
  elsif source.is_volatile then
    return postbag.volatile_next_available_at(next_available_at.queue, next_available_at.now);
  elsif source.paused then
    return null;
  end if;

  for level in 0 .. source.top_priority loop
    select count(*), min(coalesce(head.leased_until, head.available_at)) filter (
      where head.expires_at is null or head.expires_at > greatest(head.leased_until, next_available_at.now)
    )
    into seen, head_at
    from (
      select message.available_at, message.leased_until, message.expires_at
      from postbag.message
      where message.queue_id = source.queue_id
        and message.priority = level
        and message.available_at <= next_available_at.now
        and message.available_at < 'infinity'
      order by message.available_at, message.message_id
      limit most
    ) as head;
    next_at := least(next_at, head_at, case when seen = most then next_available_at.now end, (
      select message.available_at
      from postbag.message
      where message.queue_id = source.queue_id
        and message.priority = level
        and message.available_at > next_available_at.now
        and message.available_at < 'infinity'
      order by message.available_at, message.message_id
      limit 1
    ));
  end loop;

  select count(*), min(greatest(ended.expires_at, ended.leased_until)) into seen, head_at
  from (
    select message.expires_at, message.leased_until
    from postbag.message
    where message.queue_id = source.queue_id and message.expires_at <= next_available_at.now
    order by message.expires_at
    limit most
  ) as ended;
  next_at := least(next_at, head_at, case when seen = most then next_available_at.now + interval '1 s' end, (
    select message.expires_at
    from postbag.message
    where message.queue_id = source.queue_id and message.expires_at > next_available_at.now
    order by message.expires_at
    limit 1
  ));
  if exists (select from postbag.group_pending as pending where pending.queue_id = source.queue_id) then
    next_at := next_available_at.now;
  end if;

  if source.max_in_flight is not null then
    select count(*), min(in_flight.until) into seen, head_at
    from (
      select message.in_flight_until as until
      from postbag.message
      where message.queue_id = source.queue_id and message.in_flight_until > next_available_at.now
      order by message.in_flight_until
      limit source.max_in_flight
    ) as in_flight;
    if seen >= source.max_in_flight then
      next_at := greatest(next_at, head_at);
    end if;
  end if;
  if source.rate is not null then
    -- (As functions/allowance.sql counts.)
    select greatest(next_at, max(flow.spent_until) - make_interval(
      secs => (coalesce(source.burst, greatest(ceil(source.rate), 1)) - 1) / source.rate
    ))
    into next_at
    from postbag.flow
    where flow.queue_id = source.queue_id and flow.group_key = '' and next_at is not null;
  end if;
  return next_at;
end
$$;
--! EndIncluded functions/next_available_at.sql
--! Included functions/wake_slot.sql
/* postbag.wake_slot: the lock that stands for "somebody waits for this queue". Queues share 1024 of them, so that a process that waits for
 * very many queues cannot fill the database's table of locks; who shares one is notified in vain now and then. The queues of endpoints
 * share one: who delivers waits for all of them (functions/wake.sql). */
create or replace function postbag.wake_slot(queue text)
returns integer
language sql
immutable
as $$
  select hashtext(case when starts_with(queue, 'webhooks.') then '~webhooks' else queue end) & 1023
$$;
--! EndIncluded functions/wake_slot.sql
--! Included functions/wake.sql
/* postbag.wake: something may be available in a queue now, or earlier than was known: notify who waits for it, when this transaction
 * commits. If nobody waits, which is nearly always, nothing is notified: commits that notify wait for each other.
 *
 * Who waits holds the queue's slot in shared mode (functions/watch.sql). So if this session can have it alone, for a moment, nobody waits.
 * That is seen as it is now, whatever snapshot the transaction has. Another sender that tries in the same moment is in the way, too; so
 * it is tried three times. Called after the change itself was made: who waits counts on the transaction having an id by then.
 *
 * Who delivers webhooks waits for the queues of all endpoints, webhooks.<name>, under the one name ~webhooks. So a publish to very many of
 * them is one notification, of that name, which wakes also who waits for the queue of one. */
create or replace function postbag.wake(queue text)
returns void
language plpgsql
as $$
begin
  for attempt in 1 .. 3 loop
    if not postbag.is_awaited(wake.queue) then
      return;
    end if;
  end loop;
  perform pg_notify('postbag', case when starts_with(wake.queue, 'webhooks.') then '~webhooks' else wake.queue end);
end
$$;
--! EndIncluded functions/wake.sql

select postbag.make_volatile_twins();
