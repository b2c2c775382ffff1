/* Replies to requests: one row per request, made with it, so that a reply has a place to go to (functions/send_request.sql), whether or not
 * somebody waits. One table also for volatile queues: a reply is worth nothing without its request, and goes with the time that it is kept. */
create table postbag.reply (
  queue_id bigint not null,
  reply_id bigint not null,
  -- Who knows it may reply, or fetch.
  reply_key text collate "C" not null,
  -- The message that asks.
  request_id bigint not null,
  expires_at timestamptz not null,
  -- Null: pending. What follows is then null, too.
  replied_at timestamptz,
  encoding text collate "C",
  type text,
  content_type text,
  headers jsonb,
  body text,
  bytes bytea,
  primary key (queue_id, reply_id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000);

create index reply_by_request on postbag.reply (queue_id, request_id);
create index reply_by_expiry on postbag.reply (queue_id, expires_at);

/* What goes because its function got another signature. */
drop function postbag.send;

/* The functions that are new or changed. */
--!include functions/fields_in_headers.sql
--!include functions/keeps_rules.sql
--!include functions/check_messages.sql
--!include functions/send.sql
--!include functions/send_batch.sql
--!include functions/send_in_full.sql
--!include functions/awaited_reply.sql
--!include functions/reply_available_at.sql
--!include functions/next_available_at.sql
--!include functions/send_request.sql
--!include functions/request.sql
--!include functions/send_reply.sql
--!include functions/reply.sql
--!include functions/fetch_reply.sql
--!include functions/forget_replies.sql
--!include functions/tidy_at_commit.sql
--!include functions/forget_queue.sql
--!include functions/delete_queue.sql
--!include functions/maintain.sql

select postbag.make_volatile_twins();
