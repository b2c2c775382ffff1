/* Who may do what, of roles that have no rights on the tables. */
create table postbag.permission (
  role regrole not null,
  verb text not null,
  -- A queue's name, or the beginning of names and a *.
  queues text collate "C" not null,
  primary key (role, verb, queues),
  constraint permission_verb_is_known check (verb in ('send', 'receive'))
);

--!include views/restricted_call.sql
--!include views/outbox.sql

--!include functions/is_restricted.sql
--!include functions/as_granted.sql
--!include functions/send_batch.sql
--!include functions/receive.sql
--!include functions/ack.sql
--!include functions/nack.sql
--!include functions/extend.sql
--!include functions/call_as_granted.sql
--!include functions/role_named.sql
--!include functions/grant_verb.sql
--!include functions/revoke_verb.sql
--!include functions/grant_send.sql
--!include functions/grant_receive.sql
--!include functions/revoke_send.sql
--!include functions/revoke_receive.sql
--!include functions/change_options.sql
--!include functions/change_message.sql
--!include functions/check_outbox_trigger.sql
--!include functions/outbox_trigger.sql
--!include functions/change_trigger_name.sql
--!include functions/stop_sending_changes.sql
--!include functions/send_changes.sql
--!include functions/send_outbox_row.sql

create trigger call_as_granted instead of update on postbag.restricted_call
  for each row execute function postbag.call_as_granted();
create trigger send_outbox_row instead of insert or delete on postbag.outbox
  for each row execute function postbag.send_outbox_row();

-- With the owner's rights, on what their row says: not to be put on a table of somebody's own.
revoke execute on function postbag.call_as_granted() from public;
revoke execute on function postbag.apply_group_changes() from public;

select postbag.make_volatile_twins();
