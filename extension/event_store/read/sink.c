/*
 * sink.c
 *		Creating, changing and dropping sinks, and noting how far they are.
 *
 * What a sink has is known there, not here: the row is what was asked for, and what
 * streamd has said of it last.
 *
 * Lock protocol: row locks of the table sink; whoever publishes has locked its name.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "log/restore.h"
#include "pg/argument.h"
#include "pg/lock.h"
#include "pg/spi.h"

#define SINK_ARGUMENTS 6

/* A statement that takes a function's arguments as they are. */
typedef struct SinkChange
{
	const char *function;
	SpiStatement statement;
	Oid			types[SINK_ARGUMENTS];
} SinkChange;

static uint64 run(FunctionCallInfo fcinfo, SinkChange *change);
static void change_one(FunctionCallInfo fcinfo, SinkChange *change);
static void check_position(FunctionCallInfo fcinfo, int number, const char *name);

/*
 * Runs it; returns how many rows it has changed.
 */
static uint64
run(FunctionCallInfo fcinfo, SinkChange *change)
{
	Datum		values[SINK_ARGUMENTS];
	char		nulls[SINK_ARGUMENTS + 1] = {0};

	PreventCommandIfReadOnly(change->function);
	restore_refuse_writing();
	argument_not_null(&fcinfo->args[0], "name", "Names are in event_store.sinks.");
	for (int i = 0; i < PG_NARGS(); i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	return spi_execute_latest(&change->statement, PG_NARGS(), change->types, values, nulls);
}

/*
 * The same for a sink that must be there.
 */
static void
change_one(FunctionCallInfo fcinfo, SinkChange *change)
{
	if (run(fcinfo, change) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ST_NO_SINK),
				 errmsg("sink \"%s\" does not exist", text_to_cstring(PG_GETARG_TEXT_PP(0))),
				 errhint("Names are in event_store.sinks.")));
}

/*
 * Refuses what no event can follow.
 */
static void
check_position(FunctionCallInfo fcinfo, int number, const char *name)
{
	argument_not_null(&fcinfo->args[number], name, "0 is the beginning.");
	if (PG_GETARG_INT64(number) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", name),
				 errhint("0 is the beginning.")));
}

PG_FUNCTION_INFO_V1(event_store_create_sink);
/*
 * event_store.create_sink(name, kind, options, category, event_types, after_position)
 */
Datum
event_store_create_sink(PG_FUNCTION_ARGS)
{
	static SinkChange create = {
		"event_store.create_sink()",
		{"INSERT INTO event_store.sink (name, kind, options, category, event_types, starts_after)"
		" VALUES ($1, $2, event_store._sink_options($1, $2, $3), $4, $5, $6)"
		" ON CONFLICT (name) DO NOTHING"},
		{TEXTOID, TEXTOID, JSONBOID, TEXTOID, TEXTARRAYOID, INT8OID}
	};

	check_position(fcinfo, 5, "after_position");
	if (run(fcinfo, &create) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("sink \"%s\" already exists", text_to_cstring(PG_GETARG_TEXT_PP(0))),
				 errhint("Drop it with event_store.drop_sink(), or choose another name.")));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_pause_sink);
/*
 * event_store.pause_sink(name)
 */
Datum
event_store_pause_sink(PG_FUNCTION_ARGS)
{
	static SinkChange pause = {
		"event_store.pause_sink()",
		{"UPDATE event_store.sink s SET paused = true WHERE s.name = $1"}, {TEXTOID}
	};

	change_one(fcinfo, &pause);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_resume_sink);
/*
 * event_store.resume_sink(name)
 */
Datum
event_store_resume_sink(PG_FUNCTION_ARGS)
{
	static SinkChange resume = {
		"event_store.resume_sink()",
		{"UPDATE event_store.sink s SET paused = false WHERE s.name = $1"}, {TEXTOID}
	};

	change_one(fcinfo, &resume);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_drop_sink);
/*
 * event_store.drop_sink(name)
 */
Datum
event_store_drop_sink(PG_FUNCTION_ARGS)
{
	static SinkChange drop = {
		"event_store.drop_sink()", {"DELETE FROM event_store.sink s WHERE s.name = $1"}, {TEXTOID}
	};

	change_one(fcinfo, &drop);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_reset_sink);
/*
 * event_store.reset_sink(name, to_position)
 */
Datum
event_store_reset_sink(PG_FUNCTION_ARGS)
{
	/* Whatever was restored: no generation comes twice. */
	static SinkChange reset = {
		"event_store.reset_sink()",
		{"UPDATE event_store.sink s SET starts_after = $2, \"position\" = NULL, lost = false,"
		" error = NULL, error_at = NULL, generation = greatest(s.generation + 1,"
		" pg_catalog.floor(extract(epoch FROM pg_catalog.clock_timestamp()))::bigint)"
		" WHERE s.name = $1"},
		{TEXTOID, INT8OID}
	};

	check_position(fcinfo, 1, "to_position");
	change_one(fcinfo, &reset);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_note_sink);
/*
 * event_store.note_sink(name, generation, position, lost, error)
 */
Datum
event_store_note_sink(PG_FUNCTION_ARGS)
{
	static SinkChange note = {
		"event_store.note_sink()",
		{"UPDATE event_store.sink s SET \"position\" = coalesce($3, s.\"position\"), lost = $4,"
		" error = $5, heard_at = pg_catalog.clock_timestamp(), error_at = CASE"
		" WHEN $5 IS NOT NULL THEN coalesce(s.error_at, pg_catalog.clock_timestamp()) END"
		" WHERE s.name = $1 AND s.generation <= $2 AND NOT s.lost"},
		{TEXTOID, INT8OID, INT8OID, BOOLOID, TEXTOID}
	};

	PG_RETURN_BOOL(run(fcinfo, &note) > 0);
}

PG_FUNCTION_INFO_V1(event_store_lock_sink);
/*
 * event_store._lock_sink(name)
 */
Datum
event_store_lock_sink(PG_FUNCTION_ARGS)
{
	text	   *name;
	uint64		hash;

	argument_not_null(&fcinfo->args[0], "name", "Names are in event_store.sinks.");
	name = PG_GETARG_TEXT_PP(0);
	hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(name),
							   (int) VARSIZE_ANY_EXHDR(name), 0);
	PG_RETURN_BOOL(lock_claim(LOCK_SINK, (uint32) (hash >> 32), (uint32) hash));
}
