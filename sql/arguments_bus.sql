-- Every function of message_bus and saga, called by admins and superusers, with arguments it should
-- not be called with.
\getenv top PG_ABS_SRCDIR
\set roles '{ecommerce_admin,postgres}'
\set schemas '{message_bus,saga}'
\set ECHO none
\o /dev/null
\i :top/sql/include/arguments.sql
\o
\set ECHO all
\pset format unaligned
\pset footer off
SELECT role, calls > 2000 AS many, functions > 90 AS of_all FROM called;
-- A NULL is refused everywhere where the function has nothing to work on without it.
SELECT refused > 10 AS refused FROM called WHERE role = 'postgres';
SELECT * FROM surprise;
SELECT * FROM unnamed;

-- Procedures, which want to be called by themselves.
\set VERBOSITY terse
CALL message_bus.wait(NULL, '1 s');
CALL message_bus.wait('thing', NULL);
CALL message_bus.wait('thing', '178000000 years');
CALL message_bus.wait('thing', '-178000000 years');
