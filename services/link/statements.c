/*
 * statements.c
 *		The SQL that linkd sends.
 *
 * Messages travel as one value in binary form: the source makes an array of them, the
 * target reads it, and nothing in between knows what a message consists of.
 */
#include "link/statements.h"

const PgStatement sql_listen_links = {"LISTEN \"message_bus.links\"", 0};
const PgStatement sql_listen_feeds = {"LISTEN \"event_store.remote\"", 0};
const PgStatement sql_links = {
	"SELECT name, source, endpoint FROM message_bus.links ORDER BY name", 0
};
const PgStatement sql_load = {
	"SELECT l.paused, p.lane, p.position, p.incarnation, p.error_code "
	"FROM message_bus.link l LEFT JOIN message_bus.link_lane p ON p.link_id = l.link_id "
	"WHERE l.name = $1::text", 1
};
const PgStatement sql_hear = {"SELECT message_bus.hear_link($1::text)", 1};
const PgStatement sql_accept = {
	"SELECT message_bus.accept($1::text, $2::int, $3::bigint, $4::bigint, "
	"$5::message_bus.message[], $6::text)", 6
};
const PgStatement sql_lose = {
	"SELECT message_bus.lose_link($1::text, $2::int, $3::bigint, $4::text, $5::text)", 5
};

const PgStatement sql_feeds = {
	"SELECT name, source, category FROM event_store.projection WHERE source IS NOT NULL "
	"ORDER BY name", 0
};
const PgStatement sql_load_feed = {
	"SELECT CASE WHEN r.error_code IS NOT NULL THEN 'lost' WHEN g.paused THEN 'paused' "
	"WHEN g.failed THEN 'failed' WHEN g.retry_at > pg_catalog.clock_timestamp() THEN 'retrying' "
	"ELSE 'running' END, g.checkpoint, p.event_types, r.incarnation, "
	"pg_catalog.ceil(extract(epoch FROM g.retry_at - pg_catalog.clock_timestamp()) * 1000) "
	"FROM event_store.projection p JOIN event_store.projection_progress g USING (name) "
	"LEFT JOIN event_store.projection_remote r USING (name) WHERE p.name = $1::text", 1
};
const PgStatement sql_apply_feed = {
	"SELECT event_store.apply_remote($1::text, $2::bigint, $3::event_store.event[], $4::bigint, "
	"$5::text, $6::bigint)", 6
};
const PgStatement sql_lose_feed = {
	"SELECT event_store.lose_remote($1::text, $2::bigint, $3::text, $4::text)", 4
};
const PgStatement sql_read_feed = {
	"SELECT upto, head, count, events::text, read_from "
	"FROM event_store.read_durable($1::bigint, $2::int, $3::text, $4::text[], $5::text)", 5
};

const PgStatement sql_lazily = {
	"SELECT pg_catalog.set_config('synchronous_commit', 'off', false)", 0
};
const PgStatement sql_wait = {"CALL message_bus.wait($1::text, $2::interval)", 2};
const PgStatement sql_confirm = {
	"SELECT pg_catalog.sum(message_bus.confirm_forwarded($1::text, c.lane, c.at, c.incarnation)) "
	"FROM ROWS FROM (pg_catalog.unnest($2::int[]), pg_catalog.unnest($3::bigint[]), "
	"pg_catalog.unnest($4::text[])) AS c (lane, at, incarnation)", 4
};
/*
 * Of the lanes those that have something, or are not where we think; a lane with nothing
 * that may leave yet has a row with a count of 0.  Those that are not given are at their
 * beginning; those given at -1 are left out.  What forwarded() gives is in order, and
 * stays so: it is sorted no second time.
 */
const PgStatement sql_read = {
	"SELECT l.lane::text, f.count::text, f.upto::text, f.messages, f.read_from "
	"FROM message_bus.forward_lanes($1::text) l "
	"LEFT JOIN ROWS FROM (pg_catalog.unnest($2::int[]), pg_catalog.unnest($3::bigint[]), "
	"pg_catalog.unnest($4::text[])) AS p (lane, at, incarnation) ON p.lane = l.lane "
	"CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS count, "
	"pg_catalog.max(m.position) AS upto, pg_catalog.array_agg(m.message) AS messages, "
	"pg_catalog.max(m.read_from) AS read_from "
	"FROM message_bus.forwarded($1::text, l.lane, coalesce(p.at, 0), $5::int, p.incarnation) m"
	") f WHERE coalesce(p.at, 0) <> l.newest AND coalesce(p.at, 0) >= 0", 5, true
};
const PgStatement sql_check = {
	"SELECT pg_catalog.count(*) "
	"FROM message_bus.forwarded($1::text, $2::int, $3::bigint, 1, $4::text)", 4
};
