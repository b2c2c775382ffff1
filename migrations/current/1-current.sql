--! Message: dead-letters-stay

/* A dead letter stays where it is if the queue that it was to go to is deleted meanwhile. */
--!include functions/move_dead.sql
select postbag.make_volatile_twins();
