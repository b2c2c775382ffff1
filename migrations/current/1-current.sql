/* Deliveries of webhooks by functions that do not run all the time, and deliverers that are told of what there is to do. */
--!include functions/next_delivery_at.sql
--!include functions/next_available_at.sql
--!include functions/wake_slot.sql
--!include functions/wake.sql

select postbag.make_volatile_twins();
