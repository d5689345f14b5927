/*
 * bridge_admin.c
 *		Creating, changing, pausing and dropping bridges.
 *
 * Lock protocol: row locks of the table bridge.  What is being accepted while its bridge
 * is paused or changed comes before that or is refused.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "log/restore.h"
#include "message_bus/bridge/bridge.h"
#include "message_bus/endpoint/endpoint.h"
#include "message_bus/link/own_endpoint.h"
#include "pg/argument.h"
#include "pg/lock.h"
#include "pg/spi.h"

static void check_options(Datum format, Datum options);
static char *option_text(Datum options, const char *name);
static Datum with_defaults(const char *name, Datum format, Datum options);
static void check_alone(const char *name, Datum options);
static void tell(void);
static void set_paused(FunctionCallInfo fcinfo, bool paused);

/*
 * Refuses options that make no bridge: of a wrong form, or with endpoints that are not
 * there, or not of that kind.
 */
static void
check_options(Datum format, Datum options)
{
	static SpiStatement check = {"SELECT message_bus._check_bridge($1, $2)"};
	Datum		values[] = {format, options};
	char	   *name;

	(void) spi_run(&check, 2, (Oid[]) {TEXTOID, JSONBOID}, values, NULL);
	name = option_text(options, "target");
	if (name != NULL)
		(void) endpoint_use_named(name);
	name = option_text(options, "endpoint");
	if (name != NULL && endpoint_use_named(name)->forward_to == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_MB_FORWARDED),
				 errmsg("endpoint \"%s\" does not forward its messages", name),
				 errhint("Create one with forward_to, which names the broker.")));
}

/*
 * An option as text in the caller's memory, or NULL.
 */
static char *
option_text(Datum options, const char *name)
{
	static SpiStatement get = {"SELECT $1 OPERATOR(pg_catalog.->>) $2"};
	Datum		values[] = {options, CStringGetTextDatum(name)};

	(void) spi_run(&get, 2, (Oid[]) {JSONBOID, TEXTOID}, values, NULL);
	return spi_text(0, 0, CurrentMemoryContext);
}

/*
 * The options without what is null, with the broker and the style of keys that they
 * leave out.
 */
static Datum
with_defaults(const char *name, Datum format, Datum options)
{
	static SpiStatement fill = {
		"SELECT pg_catalog.jsonb_build_object('broker', coalesce((SELECT e.forward_to"
		" FROM message_bus.endpoint e WHERE e.name = $2 ->> 'endpoint'), $1))"
		" || CASE $3 WHEN 'masstransit'"
		" THEN '{\"keys\": \"camel\", \"namespace\": \"Ecommerce\"}'::pg_catalog.jsonb"
		" ELSE '{}' END || pg_catalog.jsonb_strip_nulls($2)"};
	Datum		values[] = {CStringGetTextDatum(name), options, format};
	bool		isnull;

	(void) spi_run_latest(&fill, 3, (Oid[]) {TEXTOID, JSONBOID, TEXTOID}, values, NULL);
	return spi_copy(0, 0, CurrentMemoryContext, &isnull);
}

/*
 * Refuses options with an endpoint or a queue that another bridge has: what one of two had
 * sent would be gone for the other, and ids of what came are known to one alone.
 */
static void
check_alone(const char *name, Datum options)
{
	static SpiStatement find = {
		"SELECT b.name, CASE WHEN b.options ->> 'endpoint' = $2 ->> 'endpoint'"
		" THEN 'endpoint' ELSE 'queue' END FROM message_bus.bridge b WHERE b.name <> $1"
		" AND (b.options ->> 'endpoint' = $2 ->> 'endpoint' OR (b.options ->> 'queue' = $2 ->> 'queue'"
		" AND b.options ->> 'broker' = $2 ->> 'broker')) ORDER BY b.name LIMIT 1"};
	Datum		values[] = {CStringGetTextDatum(name), options};

	if (spi_run_latest(&find, 2, (Oid[]) {TEXTOID, JSONBOID}, values, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("the %s has a bridge already: \"%s\"",
						spi_text(0, 1, CurrentMemoryContext),
						spi_text(0, 0, CurrentMemoryContext)),
				 errhint("Change that one with message_bus.alter_bridge(), or drop it first.")));
}

/*
 * Tells the programs that carry.
 */
static void
tell(void)
{
	static SpiStatement notify = {"SELECT pg_catalog.pg_notify('message_bus.bridges', '')"};

	(void) spi_run(&notify, 0, NULL, NULL, NULL);
}

PG_FUNCTION_INFO_V1(message_bus_create_bridge);
/*
 * message_bus.create_bridge(name, format, options)
 */
Datum
message_bus_create_bridge(PG_FUNCTION_ARGS)
{
	static SpiStatement find = {"SELECT FROM message_bus.bridge b WHERE b.name = $1"};
	static SpiStatement insert = {
		"INSERT INTO message_bus.bridge (name, format, options, endpoint_id)"
		" VALUES ($1, $2, $3, $4)"};
	static const char *const names[] = {"name", "format", "options"};
	Datum		values[4];
	char	   *name;

	PreventCommandIfReadOnly("message_bus.create_bridge()");
	restore_refuse_writing();
	for (int i = 0; i < 3; i++)
	{
		argument_not_null(&fcinfo->args[i], names[i],
						  "Type SELECT message_bus.create_bridge('rabbit', 'masstransit', '{\"queue\": \"orders\"}').");
		values[i] = PG_GETARG_DATUM(i);
	}
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	own_endpoint_check_name(name, "name");
	spi_begin(SPI_AS_OWNER);
	if (spi_run_latest(&find, 1, (Oid[]) {TEXTOID}, values, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("bridge \"%s\" already exists", name),
				 errhint("Drop it with message_bus.drop_bridge(), or choose another name.")));
	check_options(values[1], values[2]);
	values[2] = with_defaults(name, values[1], values[2]);
	check_alone(name, values[2]);
	values[3] = Int32GetDatum(own_endpoint_create(BRIDGE_ENDPOINT_PREFIX, name));
	(void) spi_run(&insert, 4, (Oid[]) {TEXTOID, TEXTOID, JSONBOID, INT4OID}, values, NULL);
	tell();
	spi_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_alter_bridge);
/*
 * message_bus.alter_bridge(bridge, options)
 */
Datum
message_bus_alter_bridge(PG_FUNCTION_ARGS)
{
	static SpiStatement merge = {"SELECT pg_catalog.jsonb_strip_nulls($1 || $2)"};
	static SpiStatement update = {
		"UPDATE message_bus.bridge b SET options = $2 WHERE b.bridge_id = $1"};
	Bridge	   *bridge;
	Datum		values[2];
	Datum		format;
	bool		isnull;

	PreventCommandIfReadOnly("message_bus.alter_bridge()");
	restore_refuse_writing();
	bridge = bridge_argument(fcinfo, true);
	argument_not_null(&fcinfo->args[1], "options", "Pass those that are to change.");
	values[0] = JsonbPGetDatum(bridge->options);
	values[1] = PG_GETARG_DATUM(1);
	spi_begin(SPI_AS_OWNER);
	(void) spi_run(&merge, 2, (Oid[]) {JSONBOID, JSONBOID}, values, NULL);
	values[1] = spi_copy(0, 0, CurrentMemoryContext, &isnull);
	format = CStringGetTextDatum(bridge->format);
	check_options(format, values[1]);
	values[0] = Int32GetDatum(bridge->id);
	values[1] = with_defaults(bridge->name, format, values[1]);
	check_alone(bridge->name, values[1]);
	(void) spi_run_latest(&update, 2, (Oid[]) {INT4OID, JSONBOID}, values, NULL);
	tell();
	spi_end();
	PG_RETURN_VOID();
}

/*
 * Sets it, and tells the programs that carry.
 */
static void
set_paused(FunctionCallInfo fcinfo, bool paused)
{
	static SpiStatement update = {
		"UPDATE message_bus.bridge b SET paused = $2 WHERE b.bridge_id = $1"};
	Datum		values[2];

	PreventCommandIfReadOnly(paused ? "message_bus.pause_bridge()" : "message_bus.resume_bridge()");
	restore_refuse_writing();
	values[0] = Int32GetDatum(bridge_argument(fcinfo, true)->id);
	values[1] = BoolGetDatum(paused);
	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&update, 2, (Oid[]) {INT4OID, BOOLOID}, values, NULL);
	tell();
	spi_end();
}

PG_FUNCTION_INFO_V1(message_bus_hear_bridge);
/*
 * message_bus.hear_bridge(bridge, inwards)
 */
Datum
message_bus_hear_bridge(PG_FUNCTION_ARGS)
{
	static SpiStatement update = {
		"UPDATE message_bus.bridge b SET"
		" heard_in_at = CASE WHEN $2 THEN pg_catalog.clock_timestamp() ELSE b.heard_in_at END,"
		" heard_out_at = CASE WHEN $2 THEN b.heard_out_at ELSE pg_catalog.clock_timestamp() END"
		" WHERE b.bridge_id = $1"};
	Datum		values[2];

	PreventCommandIfReadOnly("message_bus.hear_bridge()");
	restore_refuse_writing();
	argument_not_null(&fcinfo->args[1], "inwards", "Pass true for what comes in.");
	values[0] = Int32GetDatum(bridge_argument(fcinfo, false)->id);
	values[1] = PG_GETARG_DATUM(1);
	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&update, 2, (Oid[]) {INT4OID, BOOLOID}, values, NULL);
	spi_end();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_claim_bridge);
/*
 * message_bus.claim_bridge(bridge)
 */
Datum
message_bus_claim_bridge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(lock_claim(LOCK_BRIDGE, (uint32) bridge_argument(fcinfo, false)->id, 0));
}

PG_FUNCTION_INFO_V1(message_bus_pause_bridge);
/*
 * message_bus.pause_bridge(bridge)
 */
Datum
message_bus_pause_bridge(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, true);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_resume_bridge);
/*
 * message_bus.resume_bridge(bridge)
 */
Datum
message_bus_resume_bridge(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, false);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(message_bus_drop_bridge);
/*
 * message_bus.drop_bridge(bridge, force)
 */
Datum
message_bus_drop_bridge(PG_FUNCTION_ARGS)
{
	static SpiStatement remove = {"DELETE FROM message_bus.bridge b WHERE b.bridge_id = $1"};
	Bridge	   *bridge;
	Datum		id;

	PreventCommandIfReadOnly("message_bus.drop_bridge()");
	bridge = bridge_argument(fcinfo, true);
	id = Int32GetDatum(bridge->id);
	spi_begin(SPI_AS_OWNER);
	own_endpoint_drop(bridge->endpoint_id, !PG_ARGISNULL(1) && PG_GETARG_BOOL(1));
	(void) spi_run_latest(&remove, 1, (Oid[]) {INT4OID}, &id, NULL);
	tell();
	spi_end();
	PG_RETURN_VOID();
}
