-- Enter migration here

/* How far an endpoint is trusted (functions/claim_deliveries.sql): whether it is new, or the last attempt failed; whether its answers take long. */
alter table postbag.endpoint_health
  add column is_proven boolean not null default false,
  add column is_slow boolean not null default false;
update postbag.endpoint_health set is_proven = true where failures = 0;

drop function postbag.claim_deliveries;
--!include functions/event_id_of.sql
--!include functions/claim_deliveries.sql
--!include functions/note_health.sql
