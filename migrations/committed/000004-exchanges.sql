--! Previous: sha1:03b51b1455d281691f47c36720e9f9e182463e9d
--! Hash: sha1:6e77d592eeafe57fedf0aa80f764e7183732695e
--! Message: exchanges

--! split: 1-current.sql
/* Exchanges, and their bindings to queues and to each other. They are read by every publish, and written when somebody declares or binds.
 * (Where the schema is sharded by queue, these are reference tables.) */
create table postbag.exchange (
  exchange_id bigint generated always as identity primary key,
  name text collate "C" not null,
  type text not null,
  -- By name: it may be declared later, and go before.
  alternate text collate "C",
  created_at timestamptz not null,
  constraint exchange_name_is_known_once unique (name),
  constraint exchange_name_is_1_to_80_safe_characters check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$'),
  constraint exchange_name_is_not_default check (name <> 'default'),
  constraint exchange_type_is_direct_topic_fanout_headers_or_hash check (type in ('direct', 'topic', 'fanout', 'headers', 'hash')),
  constraint exchange_alternate_is_1_to_80_safe_characters check (alternate ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$')
);

create table postbag.binding (
  binding_id bigint generated always as identity primary key,
  exchange_id bigint not null references postbag.exchange on delete cascade,
  queue_id bigint references postbag.queue on delete cascade,
  target_id bigint references postbag.exchange on delete cascade,
  -- Of a topic exchange: the pattern.
  routing_key text collate "C" not null,
  headers jsonb,
  header_match text,
  weight integer,
  created_at timestamptz not null,
  constraint binding_goes_to_a_queue_or_an_exchange check (num_nonnulls(queue_id, target_id) = 1)
);
-- Begins with what direct exchanges look up.
create unique index binding_is_known_once on postbag.binding
  (exchange_id, routing_key, queue_id, target_id, header_match, md5(headers::text)) nulls not distinct;
create index binding_by_queue on postbag.binding (queue_id) where queue_id is not null;
create index binding_by_target on postbag.binding (target_id) where target_id is not null;

/* By what the bindings of topic and headers exchanges are found (functions/index_binding.sql). */
create table postbag.binding_term (
  exchange_id bigint not null,
  term text collate "C" not null,
  binding_id bigint not null references postbag.binding on delete cascade,
  primary key (exchange_id, term, binding_id)
);
create index binding_term_by_binding on postbag.binding_term (binding_id);

/* Where the bindings of hash exchanges are on the circle. */
create table postbag.binding_point (
  exchange_id bigint not null,
  point bigint not null,
  binding_id bigint not null references postbag.binding on delete cascade,
  primary key (exchange_id, point, binding_id)
);
create index binding_point_by_binding on postbag.binding_point (binding_id);

/* The functions that are new or changed. */
--! Included functions/nack.sql
/* postbag.nack: give messages back, to be received again after `delay` (0 s to a year; null: as the queue's retry policy says); `error`
 * says why and is kept with the message (its first 4000 characters). With dead_letter, or after the last of the queue's max_attempts,
 * they go to the dead letters instead, in the same transaction. In the caller's transaction; outcomes and order as for
 * postbag.ack; `alone` says that this call is the whole transaction: then the queue's relaxed durability counts.
 * `untried` says that nobody worked on them (a consumer that stops, say): then the attempt does not count.
 * The message becomes available at now + delay: behind what is waiting already. One of an ordered group keeps its place, and those
 * behind it that were taken under the same lease are given back, too. */
create or replace function postbag.nack(
  queue text,
  receipts jsonb,
  delay interval default null,
  error text default null,
  now timestamptz default clock_timestamp(),
  dead_letter boolean default false,
  untried boolean default false,
  alone boolean default false
)
returns table (receipt text, outcome text)
language plpgsql
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  source constant postbag.queue := postbag.queue_named(nack.queue);
  claim record;
  outcomes text[];
  back_at timestamptz;
  nacked_group text;
  nacked_position bigint;
  -- Per ordered group the first that was given back.
  broken jsonb := '{}';
begin
  if source.is_volatile then
    return query select * from postbag.volatile_nack(
      nack.queue, nack.receipts, nack.delay, nack.error, nack.now, nack.dead_letter, nack.untried, nack.alone
    );
    return;
  end if;
  perform postbag.check_receipts(receipts);
  if nack.delay not between interval '0 s' and interval '31536000 s' then
    perform postbag.refuse('PB002', format(
      'delaySeconds must be between 0 and 31536000, got %s', extract(epoch from nack.delay)::double precision
    ));
  elsif nack.delay is not null and nack.dead_letter then
    perform postbag.refuse('PB002', 'delaySeconds must not be given with deadLetter, got both');
  elsif nack.untried and nack.dead_letter then
    perform postbag.refuse('PB002', 'untried must not be given with deadLetter, got both');
  end if;
  if alone and source.durability = 'relaxed' then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  for claim in
    select given.* from postbag.claims(receipts) as given order by given.message_id, given."position"
  loop
    back_at := nack.now + coalesce(nack.delay, postbag.retry_delay(source, claim.attempt, random()));
    update postbag.message
    set
      leased_until = null,
      in_flight_until = null,
      attempts = message.attempts - case when nack.untried then 1 else 0 end,
      available_at = case when message.group_position > 0 then message.available_at else back_at end,
      due_at = case when message.group_position > 0 then back_at end,
      expires_at = case when message.expires_at = postbag.last_moment(message.leased_until) then null else message.expires_at end,
      last_error = coalesce(left(nack.error, 4000), message.last_error)
    where message.queue_id = source.queue_id
      and message.message_id = claim.message_id
      and message.attempts = claim.attempt
      and message.lease_key = claim.lease_key
      and message.leased_until is not null
    returning message.group_key, message.group_position into nacked_group, nacked_position;
    if not found then
      outcomes[claim."position"] := postbag.refusal(source.queue_id, claim.message_id, claim.attempt, claim.lease_key);
      continue;
    end if;
    outcomes[claim."position"] := 'ok';
    if nack.dead_letter then
      perform postbag.bury(source, array[claim.message_id], 'rejected', nack.now);
    elsif claim.attempt >= source.max_attempts and not nack.untried then
      perform postbag.bury(source, array[claim.message_id], 'attempts', nack.now);
    elsif nacked_position is not null then
      broken := broken || jsonb_build_object(
        nacked_group, least((broken ->> nacked_group)::bigint, nacked_position)
      );
    end if;
  end loop;
  perform postbag.release_followers(source.queue_id, given_back.key, given_back.value::bigint)
  from jsonb_each_text(broken) as given_back;
  -- (The head before one that was given back may go at the same time; who acks it could not make this one the head while we hold it.)
  if broken <> '{}' then
    insert into postbag.group_change (queue_id, groups, changed_at)
    select source.queue_id, array_agg(given_back.key), nack.now
    from jsonb_each_text(broken) as given_back
    where given_back.value::bigint > 0
    having count(*) > 0;
  end if;
  perform postbag.wake(source.name);

  return query
    select given.receipt, outcomes[given."position"]
    from jsonb_array_elements_text(receipts) with ordinality as given (receipt, "position");
end
$$;
--! EndIncluded functions/nack.sql
--! Included functions/exchange_named.sql
/* postbag.exchange_named: the exchange of that name, or PB010. */
create or replace function postbag.exchange_named(exchange text)
returns postbag.exchange
language plpgsql
stable
as $$
declare
  found_exchange postbag.exchange;
begin
  select known.* into found_exchange from postbag.exchange as known where known.name = exchange_named.exchange;
  if not found then
    perform postbag.refuse('PB010', format('exchange "%s" does not exist', exchange));
  end if;
  return found_exchange;
end
$$;
--! EndIncluded functions/exchange_named.sql
--! Included functions/declare_exchange.sql
/* postbag.declare_exchange: create an exchange, or find it just as it is declared; `created` says which. PB011, with the difference, if
 * there is one of that name that is not like this: what is bound to it relies on what it is.
 *   type        direct | topic | fanout | headers | hash: see functions/route.sql
 *   alternate   the exchange that gets what no binding of this one matches; it may be declared later
 * The name "default" is taken: that exchange is always there (functions/route.sql). Two callers at once: both find the same one. */
create or replace function postbag.declare_exchange(
  exchange text, type text default 'direct', alternate text default null, now timestamptz default clock_timestamp()
)
returns table (created boolean, created_at timestamptz)
language plpgsql
as $$
#variable_conflict use_column
declare
  present postbag.exchange;
  is_new boolean;
begin
  insert into postbag.exchange (name, type, alternate, created_at)
  values (declare_exchange.exchange, declare_exchange.type, declare_exchange.alternate, declare_exchange.now)
  on conflict (name) do nothing;
  is_new := found;
  present := postbag.exchange_named(declare_exchange.exchange);
  if present.type <> declare_exchange.type then
    perform postbag.refuse('PB011', format(
      'type of exchange "%s" must be %s, as it was declared, got %s', present.name, present.type, declare_exchange.type
    ));
  elsif present.alternate is distinct from declare_exchange.alternate then
    perform postbag.refuse('PB011', format(
      'alternate of exchange "%s" must be %s, as it was declared, got %s',
      present.name, coalesce(present.alternate, 'none'), coalesce(declare_exchange.alternate, 'none')
    ));
  end if;
  return query select is_new, present.created_at;
end
$$;
--! EndIncluded functions/declare_exchange.sql
--! Included functions/describe_exchange.sql
/* postbag.describe_exchange: one exchange, or PB010 if there is none of that name. */
create or replace function postbag.describe_exchange(exchange text)
returns table (name text, type text, alternate text, created_at timestamptz)
language plpgsql
stable
as $$
declare
  known constant postbag.exchange := postbag.exchange_named(describe_exchange.exchange);
begin
  return query select known.name, known.type, known.alternate, known.created_at;
end
$$;
--! EndIncluded functions/describe_exchange.sql
--! Included functions/list_exchanges.sql
/* postbag.list_exchanges: exchanges by name, a page at a time: those whose name starts with `prefix` and comes after `after`. */
create or replace function postbag.list_exchanges(prefix text default '', after text default '', max_exchanges integer default 100)
returns table (name text, type text, alternate text, created_at timestamptz)
language sql
stable
as $$
  select known.name, known.type, known.alternate, known.created_at
  from postbag.exchange as known
  where starts_with(known.name, list_exchanges.prefix) and known.name > list_exchanges.after
  order by known.name
  limit greatest(least(max_exchanges, 1000), 0)
$$;
--! EndIncluded functions/list_exchanges.sql
--! Included functions/delete_exchange.sql
/* postbag.delete_exchange: delete an exchange and its bindings, those from it and those to it; returns how many. PB010 if there is none of
 * that name; PB012 with if_unused if something is bound to it. Where it was an alternate, there is none from now on. Beside a publish
 * that has not ended: that one still goes where it went. */
create or replace function postbag.delete_exchange(exchange text, if_unused boolean default false)
returns bigint
language plpgsql
as $$
declare
  doomed constant postbag.exchange := postbag.exchange_named(delete_exchange.exchange);
  gone bigint;
begin
  -- (So that nobody binds to it meanwhile.)
  perform from postbag.exchange as known where known.exchange_id = doomed.exchange_id for update;
  if if_unused and exists (select from postbag.binding where binding.exchange_id = doomed.exchange_id) then
    perform postbag.refuse('PB012', format('exchange "%s" must have no bindings to be deleted with ifUnused, got some', doomed.name));
  end if;
  select count(*) into gone
  from postbag.binding
  where binding.exchange_id = doomed.exchange_id or binding.target_id = doomed.exchange_id;
  delete from postbag.exchange as known where known.exchange_id = doomed.exchange_id;
  return gone;
end
$$;
--! EndIncluded functions/delete_exchange.sql
--! Included functions/check_binding.sql
/* postbag.check_binding: refuse (PB002) what no binding may say. */
create or replace function postbag.check_binding(routing_key text, headers jsonb, header_match text, weight integer)
returns void
language plpgsql
immutable
as $$
begin
  if length(routing_key) > 255 then
    perform postbag.refuse('PB002', format('routingKey must be at most 255 characters, got %s', length(routing_key)));
  elsif jsonb_typeof(headers) <> 'object' then
    perform postbag.refuse('PB002', format('headers must be an object, got %s', jsonb_typeof(headers)));
  elsif header_match not in ('all', 'any') then
    perform postbag.refuse('PB002', format('match must be all or any, got %s', header_match));
  elsif weight not between 1 and 100 then
    perform postbag.refuse('PB002', format('weight must be between 1 and 100, got %s', weight));
  end if;
  if headers is not null then
    if (select count(*) from jsonb_object_keys(headers)) > 32 then
      perform postbag.refuse('PB002', 'headers must be at most 32');
    elsif octet_length(headers::text) > 4096 then
      perform postbag.refuse('PB002', format('headers must be at most 4096 bytes of JSON, got %s', octet_length(headers::text)));
    elsif exists (select from jsonb_each(headers) as given where jsonb_typeof(given.value) not in ('string', 'null')) then
      perform postbag.refuse('PB002', format('headers must be an object of strings and nulls, got %s', headers));
    end if;
  end if;
end
$$;
--! EndIncluded functions/check_binding.sql
--! Included functions/header_term.sql
/* postbag.header_term: how a header is written in the index of a headers exchange; without a value: that it is there. */
create or replace function postbag.header_term(name text, value text default null)
returns text
language sql
immutable
return case when value is null then jsonb_build_array(name) else jsonb_build_array(name, value) end::text;
--! EndIncluded functions/header_term.sql
--! Included functions/index_binding.sql
/* postbag.index_binding: write down by what a binding is found (functions/match.sql), anew if it was bound before.
 *
 *   topic     each beginning of its pattern, word by word: 'a.*.b' is found by way of 'a.', 'a.*.' and 'a.*.b.'
 *   headers   "any": by each of its headers. "all": by the one that the fewest other bindings have, since all must be there anyway;
 *             by '' if it asks for none. A header is written ["name","value"], or ["name"] if its value does not matter
 *   hash      100 points on a circle of 2^64 per unit of weight: the more points, the more even the shares
 * direct and fanout exchanges find theirs in the table itself. */
create or replace function postbag.index_binding(bound postbag.binding, exchange_type text)
returns void
language plpgsql
as $$
begin
  case exchange_type
    when 'topic' then
      insert into postbag.binding_term (exchange_id, term, binding_id)
      select bound.exchange_id, array_to_string(words[:place], '.') || '.', bound.binding_id
      from string_to_array(bound.routing_key, '.') as words
      cross join lateral generate_subscripts(words, 1) as place;
    when 'headers' then
      insert into postbag.binding_term (exchange_id, term, binding_id)
      select bound.exchange_id, term.text, bound.binding_id
      from (
        select postbag.header_term(given.key, given.value) as text from jsonb_each_text(bound.headers) as given
        union all
        select '' where bound.headers = '{}' and bound.header_match = 'all'
      ) as term
      cross join lateral (
        -- (Beyond a thousand they are all common.)
        select count(*) as number
        from (
          select from postbag.binding_term as other where other.exchange_id = bound.exchange_id and other.term = term.text limit 1000
        ) as alike
      ) as sharing
      order by sharing.number, term.text
      limit case when bound.header_match = 'all' then 1 end;
    when 'hash' then
      delete from postbag.binding_point as point where point.binding_id = bound.binding_id;
      insert into postbag.binding_point (exchange_id, point, binding_id)
      select bound.exchange_id, hashtextextended(coalesce('queue ' || bound.queue_id, 'exchange ' || bound.target_id) || ' ' || i, 0), bound.binding_id
      from generate_series(1, 100 * bound.weight) as i;
    else null;
  end case;
end
$$;
--! EndIncluded functions/index_binding.sql
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
  source constant postbag.exchange := postbag.exchange_named(bind.exchange);
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

  insert into postbag.binding as known (exchange_id, queue_id, target_id, routing_key, headers, header_match, weight, created_at)
  values (
    bound.exchange_id, bound.queue_id, bound.target_id, bound.routing_key, bound.headers, bound.header_match, bound.weight, bind.now
  )
  on conflict (exchange_id, routing_key, queue_id, target_id, header_match, md5(headers::text)) do update
  set weight = excluded.weight
  where known.weight <> excluded.weight
  returning known.* into bound;
  if not found then
    return false;
  end if;
  perform postbag.index_binding(bound, source.type);
  return true;
end
$$;
--! EndIncluded functions/bind.sql
--! Included functions/unbind.sql
/* postbag.unbind: undo the postbag.bind of the same arguments; false if there is no such binding. PB001 or PB010 for what is not there.
 * (A hash exchange has one binding per target, whatever its weight.) */
create or replace function postbag.unbind(
  exchange text,
  queue text default null,
  routing_key text default '',
  to_exchange text default null,
  headers jsonb default null,
  header_match text default null
)
returns boolean
language plpgsql
as $$
declare
  source constant postbag.exchange := postbag.exchange_named(unbind.exchange);
  source_queue_id bigint;
  source_target_id bigint;
begin
  if (unbind.queue is null) = (unbind.to_exchange is null) then
    perform postbag.refuse('PB002', 'a binding must go to either a queue or an exchange, got ' ||
      case when unbind.queue is null then 'neither' else 'both' end);
  end if;
  if unbind.queue is not null then
    source_queue_id := (postbag.queue_named(unbind.queue)).queue_id;
  else
    source_target_id := (postbag.exchange_named(unbind.to_exchange)).exchange_id;
  end if;
  delete from postbag.binding
  where binding.exchange_id = source.exchange_id
    and binding.queue_id is not distinct from source_queue_id
    and binding.target_id is not distinct from source_target_id
    and (source.type = 'hash' or binding.routing_key = coalesce(unbind.routing_key, ''))
    and (
      source.type <> 'headers'
      or binding.headers = coalesce(unbind.headers, '{}') and binding.header_match = coalesce(unbind.header_match, 'all')
    );
  return found;
end
$$;
--! EndIncluded functions/unbind.sql
--! Included functions/list_bindings.sql
/* postbag.list_bindings: bindings in the order in which they were made, a page at a time: those from an exchange, those to a queue, those
 * to an exchange; all conditions that are given must hold. PB001 or PB010 for what is not there. */
create or replace function postbag.list_bindings(
  of_exchange text default null, of_queue text default null, of_target text default null, after text default '0', max_bindings integer default 100
)
returns table (
  id text, exchange text, queue text, to_exchange text, routing_key text, headers jsonb, header_match text, weight integer, created_at timestamptz
)
language plpgsql
stable
as $$
declare
  source_id constant bigint := case when list_bindings.of_exchange is not null then (postbag.exchange_named(list_bindings.of_exchange)).exchange_id end;
  bound_id constant bigint := case when list_bindings.of_queue is not null then (postbag.queue_named(list_bindings.of_queue)).queue_id end;
  next_id constant bigint := case when list_bindings.of_target is not null then (postbag.exchange_named(list_bindings.of_target)).exchange_id end;
begin
  return query
    select
      binding.binding_id::text, source.name, target.name, next_exchange.name, binding.routing_key, binding.headers,
      binding.header_match, binding.weight, binding.created_at
    from postbag.binding
    join postbag.exchange as source on source.exchange_id = binding.exchange_id
    left join postbag.queue as target on target.queue_id = binding.queue_id
    left join postbag.exchange as next_exchange on next_exchange.exchange_id = binding.target_id
    where (source_id is null or binding.exchange_id = source_id)
      and (bound_id is null or binding.queue_id = bound_id)
      and (next_id is null or binding.target_id = next_id)
      and binding.binding_id > list_bindings.after::bigint
    order by binding.binding_id
    limit greatest(least(max_bindings, 1000), 0);
end
$$;
--! EndIncluded functions/list_bindings.sql
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
    select asked.number, string_to_array(asked.key, '.'), '', 0
    from unnest(numbers, keys) as asked (number, key)
    union
    select walk.number, walk.words, step.path, walk.taken + step.takes
    from walk
    cross join lateral (
      select walk.path || walk.words[walk.taken + 1] || '.', 1 where walk.taken < cardinality(walk.words)
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
--! Included functions/match.sql
/* postbag.match: which bindings of one exchange fit which messages: a row each. A message is its number, its routing key and its headers.
 * The cost grows with what fits, not with how many bindings there are: each type finds its own in an index (functions/index_binding.sql).
 *
 *   direct    the routing key is the binding's
 *   fanout    each
 *   topic     the pattern fits: functions/match_topics.sql
 *   headers   all of the binding's headers, or any of them, are the message's
 *   hash      exactly one: whose point on the circle is the next one after the routing key's hash. So messages of one key go the
 *             same way, and a binding that comes or goes takes its own keys along, and leaves the others where they are */
create or replace function postbag.match(source_id bigint, exchange_type text, numbers integer[], keys text[], headers jsonb[])
returns table (number integer, binding_id bigint)
language plpgsql
stable
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  case exchange_type
    when 'direct' then
      return query
        select asked.number, binding.binding_id
        from unnest(numbers, keys) as asked (number, key)
        join postbag.binding on binding.exchange_id = source_id and binding.routing_key = asked.key;
    when 'fanout' then
      return query
        select asked.number, binding.binding_id
        from unnest(numbers) as asked (number)
        join postbag.binding on binding.exchange_id = source_id;
    when 'topic' then
      return query select * from postbag.match_topics(source_id, numbers, keys);
    when 'headers' then
      return query
        select found.number, found.binding_id
        from (
          select distinct asked.number, indexed.binding_id, asked.headers
          from unnest(numbers, headers) as asked (number, headers)
          cross join lateral (
            select postbag.header_term(given.key, given.value) as text from jsonb_each_text(asked.headers) as given
            union all
            select postbag.header_term(given.key) from jsonb_object_keys(asked.headers) as given (key)
            union all
            select ''
          ) as term
          join postbag.binding_term as indexed on indexed.exchange_id = source_id and indexed.term = term.text
        ) as found
        join postbag.binding on binding.binding_id = found.binding_id
        where binding.header_match = 'any'
          or binding.headers = '{}'
          or jsonb_strip_nulls(binding.headers) <@ found.headers
          and found.headers ?& array(select jsonb_object_keys(binding.headers));
    when 'hash' then
      return query
        select asked.number, next_one.binding_id
        from unnest(numbers, keys) as asked (number, key)
        cross join lateral (
          (
            select point.binding_id, 1 as turn
            from postbag.binding_point as point
            where point.exchange_id = source_id and point.point >= hashtextextended(asked.key, 0)
            order by point.point
            limit 1
          )
          union all
          -- (Behind the last point comes the first.)
          (
            select point.binding_id, 2
            from postbag.binding_point as point
            where point.exchange_id = source_id
            order by point.point
            limit 1
          )
          order by turn
          limit 1
        ) as next_one;
  end case;
end
$$;
--! EndIncluded functions/match.sql
--! Included functions/route.sql
/* postbag.route: where the messages of a publish go: a row per binding that fits, on every exchange that they come to. A message is a JSON
 * object, of which `routingKey` and `headers` count. PB010 if there is no such exchange.
 *
 *  1. The exchange's bindings are matched (functions/match.sql). A binding leads to a queue, or to another exchange, which goes on in
 *     the same way; a message comes to each exchange once, so cycles do no harm, and a queue that is reached twice is one queue.
 *  2. A message that fits no binding of an exchange comes to its alternate exchange, if it has one, and that one is there.
 *  3. The exchange "default" is always there: it leads to the queue that is named by the routing key. It has no bindings. */
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
--! Included functions/explain_route.sql
/* postbag.explain_route: where a message would go if it were published now, and why: the bindings that fit, and the turns to alternates, in
 * the order in which they come about. Nothing is sent. PB010 if there is no such exchange. */
create or replace function postbag.explain_route(exchange text, routing_key text default '', headers jsonb default null)
returns table (
  at_exchange text, exchange_type text, binding_key text, binding_headers jsonb, header_match text, weight integer, queue text,
  to_exchange text, alternate boolean
)
language plpgsql
stable
as $$
begin
  return query
    select
      coalesce(source.name, explain_route.exchange), coalesce(source.type, 'direct'), coalesce(binding.routing_key, target.name),
      binding.headers, binding.header_match, binding.weight, target.name, next_exchange.name, way.is_alternate
    from postbag.route(
      explain_route.exchange,
      jsonb_build_array(jsonb_build_object('routingKey', explain_route.routing_key, 'headers', coalesce(explain_route.headers, '{}')))
    ) with ordinality as way (number, exchange_id, binding_id, queue_id, target_id, is_alternate, turn)
    left join postbag.exchange as source on source.exchange_id = way.exchange_id
    left join postbag.binding on binding.binding_id = way.binding_id
    left join postbag.queue as target on target.queue_id = way.queue_id
    left join postbag.exchange as next_exchange on next_exchange.exchange_id = way.target_id
    order by way.turn;
end
$$;
--! EndIncluded functions/explain_route.sql
--! Included functions/check_publications.sql
/* postbag.check_publications: refuse (PB002, PB003) what is no list of messages to publish: as postbag.check_messages, and a routingKey. */
create or replace function postbag.check_publications(messages jsonb)
returns void
language plpgsql
immutable
as $$
declare
  problem text;
begin
  if jsonb_typeof(messages) = 'array' and messages @? '$[*].routingKey' then
    select case
      when jsonb_typeof(sent.message -> 'routingKey') <> 'string'
        then format('messages[%s].routingKey must be a string, got %s', sent.position - 1, sent.message -> 'routingKey')
      else format(
        'messages[%s].routingKey must be at most 255 characters, got %s', sent.position - 1, length(sent.message ->> 'routingKey')
      )
    end
    into problem
    from jsonb_array_elements(messages) with ordinality as sent (message, position)
    where jsonb_typeof(sent.message -> 'routingKey') <> 'string' or length(sent.message ->> 'routingKey') > 255
    limit 1;
    if problem is not null then
      perform postbag.refuse('PB002', problem);
    end if;
    perform postbag.check_messages((
      select jsonb_agg(case jsonb_typeof(sent.message) when 'object' then sent.message - 'routingKey' else sent.message end)
      from jsonb_array_elements(messages) as sent (message)
    ));
  else
    perform postbag.check_messages(messages);
  end if;
end
$$;
--! EndIncluded functions/check_publications.sql
--! Included functions/published_headers.sql
/* postbag.published_headers: the headers of a message that came by an exchange: its own, and where it came from. */
create or replace function postbag.published_headers(headers jsonb, exchange text, routing_key text)
returns jsonb
language sql
immutable
return coalesce(headers, '{}') || jsonb_build_object('postbag-exchange', exchange, 'postbag-routing-key', coalesce(routing_key, ''));
--! EndIncluded functions/published_headers.sql
--! Included functions/publish_plainly.sql
/* postbag.publish_plainly: one insert for all copies (copy_numbers, copy_ids) of a publish: JSON messages with nothing but a type and
 * headers, to queues that send plainly. What each message holds is read and checked once, however many copies it has. */
create or replace function postbag.publish_plainly(exchange text, messages jsonb, copy_numbers integer[], copy_ids bigint[], now timestamptz)
returns void
language plpgsql
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
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
  )
  insert into postbag.message (queue_id, message_id, available_at, sent_at, encoding, type, content_type, headers, body)
  select
    target.queue_id, nextval('postbag.message_id'), publish_plainly.now + target.delay, publish_plainly.now, 'json',
    checked.type, checked.content_type, checked.headers, checked.body
  from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
  join postbag.queue as target on target.queue_id = copy.queue_id
  join checked on checked.number = copy.number;

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
/* postbag.publish_to_each: the copies of a publish (copy_numbers, copy_ids), queue by queue, as sends of messages and to queues of any kind. */
create or replace function postbag.publish_to_each(exchange text, messages jsonb, copy_numbers integer[], copy_ids bigint[], now timestamptz)
returns void
language plpgsql
as $$
declare
  target record;
begin
  for target in
    select known.name, known.delivery_order, known.max_priority, array_agg(copy.number order by copy.number) as numbers
    from unnest(copy_numbers, copy_ids) as copy (number, queue_id)
    join postbag.queue as known on known.queue_id = copy.queue_id
    group by known.queue_id
    order by known.queue_id
  loop
    perform from postbag.send_batch(
      target.name,
      (
        select jsonb_agg(
          sent.message - 'routingKey'
            - case when target.delivery_order = 'lifo' then 'group' else '' end
            || jsonb_build_object('headers', case
              when not sent.message ? 'headers' or jsonb_typeof(sent.message -> 'headers') in ('object', 'null')
                then postbag.published_headers(nullif(sent.message -> 'headers', 'null'), publish_to_each.exchange, sent.message ->> 'routingKey')
              else sent.message -> 'headers'
            end)
            || case
              when (sent.message ->> 'priority')::integer > target.max_priority then jsonb_build_object('priority', target.max_priority)
              else '{}'
            end
          order by place.ordinality
        )
        from unnest(target.numbers) with ordinality as place (number, ordinality)
        cross join lateral (select messages -> (place.number - 1) as message) as sent
      ),
      publish_to_each.now
    );
  end loop;
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
  are_plain boolean;
  are_relaxed boolean;
  are_awaited boolean;
  lost integer;
begin
  perform postbag.check_publications(messages);
  select array_agg(copy.number), array_agg(copy.queue_id) into copy_numbers, copy_ids
  from (
    select distinct way.queue_id, way.number
    from postbag.route(publish_batch.exchange, publish_batch.messages) as way
    where way.queue_id is not null
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
--! Included functions/publish.sql
/* postbag.publish: publish one message to an exchange, in the caller's transaction; returns how many queues it reached.
 * `select postbag.publish('events', '{"id": 1}', routing_key => 'order.created')`. What the values mean: postbag.publish_batch. */
create or replace function postbag.publish(
  exchange text,
  body jsonb,
  routing_key text default '',
  type text default null,
  headers jsonb default null,
  priority integer default null,
  delay interval default null,
  dedup_id text default null,
  encoding text default null,
  content_type text default null,
  group_key text default null,
  ttl interval default null,
  available_at timestamptz default null,
  mandatory boolean default false,
  now timestamptz default clock_timestamp()
)
returns integer
language sql
as $$
  select published.queues
  from postbag.publish_batch(
    publish.exchange,
    jsonb_build_array(jsonb_build_object('body', publish.body) || jsonb_strip_nulls(jsonb_build_object(
      'routingKey', publish.routing_key, 'type', publish.type, 'headers', publish.headers, 'priority', publish.priority,
      'delaySeconds', extract(epoch from publish.delay), 'dedupId', publish.dedup_id, 'encoding', publish.encoding,
      'contentType', publish.content_type, 'group', publish.group_key, 'ttlSeconds', extract(epoch from publish.ttl),
      'availableAt', publish.available_at
    ))),
    publish.mandatory,
    publish.now
  ) as published
$$;
--! EndIncluded functions/publish.sql

select postbag.make_volatile_twins();
