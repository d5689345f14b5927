/*
 * statements.c
 *		The SQL that bridged sends.
 *
 * What an envelope looks like is SQL too: message_bus.to_envelope() and from_envelope().
 */
#include "bridge/statements.h"

const PgStatement sql_listen_bridges = {"LISTEN \"message_bus.bridges\"", 0};
const PgStatement sql_bridges = {
	"SELECT name, pg_catalog.concat(state, options), state <> 'paused', broker, endpoint, queue, "
	"coalesce(options ->> 'unroutable', 'dead_letter'), message_bus.bridge_topology(name) "
	"FROM message_bus.bridges ORDER BY name", 0
};
const PgStatement sql_claim = {
	"SELECT c.ours, CASE WHEN c.ours THEN message_bus.hear_bridge($1::text, false) END "
	"FROM (SELECT message_bus.claim_bridge($1::text) AS ours) c", 1
};
const PgStatement sql_hear = {"SELECT message_bus.hear_bridge($1::text, true)", 1};
/* The lock of a bridge is the session's: who has gone must not keep it while his backend waits. */
const PgStatement sql_lazily = {
	"SELECT pg_catalog.set_config('synchronous_commit', 'off', false), "
	"pg_catalog.set_config('idle_session_timeout', '60s', false), "
	"pg_catalog.set_config('client_connection_check_interval', '1s', false)", 0
};
const PgStatement sql_read = {
	"SELECT lane, position, envelope FROM message_bus.read_bridge($1::text, $2::int)", 2
};
const PgStatement sql_wait = {"CALL message_bus.wait($1::text, $2::interval)", 2};
const PgStatement sql_settle = {
	"WITH refused AS MATERIALIZED (SELECT pg_catalog.count(message_bus.refuse_forwarded($1::text, "
	"r.lane, r.at, 'MB012', r.error)) AS n FROM ROWS FROM (pg_catalog.unnest($2::int[]), "
	"pg_catalog.unnest($3::bigint[]), pg_catalog.unnest($4::text[])) AS r (lane, at, error)) "
	"SELECT refused.n, pg_catalog.sum(message_bus.confirm_forwarded($1::text, c.lane, c.at)) "
	"FROM refused, ROWS FROM (pg_catalog.unnest($5::int[]), pg_catalog.unnest($6::bigint[])) "
	"AS c (lane, at) GROUP BY refused.n", 6
};
const PgStatement sql_accept = {
	"SELECT accepted, repeated, refused FROM message_bus.accept_foreign($1::text, $2::jsonb[])", 2
};
