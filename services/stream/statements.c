/*
 * statements.c
 *		The SQL that streamd sends.
 *
 * What a CloudEvent looks like is SQL too: event_store.read_sink().
 */
#include "stream/statements.h"

const PgStatement sql_listen_sinks = {"LISTEN \"event_store.sinks\"", 0};
const PgStatement sql_sinks = {
	"SELECT name, pg_catalog.concat_ws('|', kind, options, category, event_types, generation, paused), "
	"NOT paused, kind, options, category FROM event_store.sink ORDER BY name", 0
};
const PgStatement sql_lazily = {
	"SELECT pg_catalog.set_config('synchronous_commit', 'off', false), "
	"pg_catalog.set_config('idle_session_timeout', '60s', false)", 0
};
const PgStatement sql_claim = {
	"SELECT claimed, state, generation, starts_after, position "
	"FROM event_store.claim_sink($1::text)", 1
};
const PgStatement sql_read = {
	"SELECT upto, head, count, events, read_from "
	"FROM event_store.read_sink($1::text, $2::bigint, $3::int, $4::text)", 4
};
const PgStatement sql_note = {
	"SELECT event_store.note_sink($1::text, $2::bigint, $3::bigint, $4::boolean, $5::text)", 5
};
