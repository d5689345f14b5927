-- Every function, called by readers and by who monitors, with arguments it should not be called with.
\getenv top PG_ABS_SRCDIR
\set roles '{ecommerce_monitor,ecommerce_reader}'
\set schemas '{ecommerce,event_store,message_bus,saga}'
\set ECHO none
\o /dev/null
\i :top/sql/include/arguments.sql
\o
\set ECHO all
\pset format unaligned
\pset footer off
SELECT role, calls > 5000 AS many, functions > 200 AS of_all, denied > 1000 AS denied FROM called;
SELECT * FROM surprise;
SELECT * FROM unnamed;
