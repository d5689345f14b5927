/*
 * aggregate_save.c
 *		Saving what a command decided, and defining aggregates.
 *
 * A save is an append that expects the loaded version, so the lock protocol is
 * the append's.  Every snapshot_every events it stores the new state.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/errors.h"
#include "event_store/aggregate/aggregate.h"
#include "event_store/aggregate/snapshot.h"
#include "event_store/append/append.h"
#include "event_store/contract/contract.h"
#include "event_store/stream/stream.h"
#include "pg/argument.h"
#include "pg/function.h"
#include "pg/relation.h"
#include "pg/result.h"
#include "pg/rights.h"
#include "pg/spi.h"

static ExtensionRelation relation_event = {"event_store", "event"};

/* How a row is defined: a new one, the same one, another one. */
typedef struct RowDefinition
{
	int			columns;
	SpiStatement *insert;
	SpiStatement *same;
	SpiStatement *replace;
} RowDefinition;

static Datum save(FunctionCallInfo fcinfo, NewEvents *events);
static bool define(const RowDefinition *definition, const Oid *types, Datum *values,
				   const char *nulls, bool replace);
static bool replaces(FunctionCallInfo fcinfo, int argument);
static void check_handlers(Aggregate *aggregate, const NewEvents *events);
static void store_snapshot_if_due(Aggregate *aggregate, const StreamName *name,
								  int64 version, int count);
static text *category_argument(FunctionCallInfo fcinfo);
static void expect_aggregate(Datum category);

PG_FUNCTION_INFO_V1(event_store_save);
/*
 * event_store.save(stream, loaded_version, events)
 */
Datum
event_store_save(PG_FUNCTION_ARGS)
{
	NewEvents	events = {0};

	argument_not_null(&fcinfo->args[2], "events", "Pass an array of new events.");
	new_events_from_array(PG_GETARG_ARRAYTYPE_P(2), &events);
	return save(fcinfo, &events);
}

PG_FUNCTION_INFO_V1(event_store_save_json);
/*
 * event_store.save_json(stream, loaded_version, events)
 */
Datum
event_store_save_json(PG_FUNCTION_ARGS)
{
	NewEvents	events = {0};

	argument_not_null(&fcinfo->args[2], "events", "Pass a JSON array of new events.");
	new_events_from_json(PG_GETARG_JSONB_P(2), &events);
	return save(fcinfo, &events);
}

/*
 * Saves the events under the first two arguments of a call.
 */
static Datum
save(FunctionCallInfo fcinfo, NewEvents *events)
{
	text	   *stream = PG_ARGISNULL(0) ? cstring_to_text("") : PG_GETARG_TEXT_PP(0);
	AppendResult result = {0};
	StreamName	name;
	TupleDesc	descriptor;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	argument_not_null(&fcinfo->args[1], "loaded_version",
					  "Pass the version that event_store.load() returned.");
	if (PG_GETARG_INT64(1) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("loaded_version must not be negative"),
				 errhint("Pass the version that event_store.load() returned.")));
	stream_name(&name, VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream));
	result.version = PG_GETARG_INT64(1);
	if (events->count > 0)
	{
		Aggregate  *aggregate = aggregate_find(name.text, name.category_length);

		check_handlers(aggregate, events);
		event_append(name.text, name.length, PG_GETARG_INT64(1), events, &result);
		store_snapshot_if_due(aggregate, &name, result.version, events->count);
	}
	descriptor = result_row_type(fcinfo);
	values[0] = Int64GetDatum(result.version);
	values[1] = Int64GetDatum(result.position);
	nulls[1] = result.position == 0;
	return result_row(descriptor, values, nulls);
}

/*
 * An event that no handler takes would make the stream impossible to load.
 */
static void
check_handlers(Aggregate *aggregate, const NewEvents *events)
{
	for (int i = 0; i < events->count; i++)
	{
		/* A missing type is the append's to refuse. */
		if (events->events[i].event_type != NULL)
			(void) aggregate_handler(aggregate, events->events[i].event_type);
	}
}

static void
store_snapshot_if_due(Aggregate *aggregate, const StreamName *name, int64 version, int count)
{
	Fold		fold;

	if (aggregate->snapshot_every == 0 ||
		version / aggregate->snapshot_every == (version - count) / aggregate->snapshot_every)
		return;
	/* What was just appended must be visible. */
	CommandCounterIncrement();
	aggregate_load(name->text, name->length, &(AsOf) {.version = &version}, &fold);
	if (fold.version > 0 && fold.snapshot_version < fold.version)
		snapshot_store(name->text, name->length, &fold);
}

PG_FUNCTION_INFO_V1(event_store_create_aggregate);
/*
 * event_store.create_aggregate(category, initial_state, snapshot_every, replace)
 */
Datum
event_store_create_aggregate(PG_FUNCTION_ARGS)
{
	static SpiStatement insert = {
		"INSERT INTO event_store.aggregate (category, initial_state, snapshot_every) VALUES ($1, $2, $3)"
		" ON CONFLICT (category) DO NOTHING"
	};
	static SpiStatement same = {
		"SELECT FROM event_store.aggregate WHERE category = $1 AND initial_state = $2"
		" AND snapshot_every IS NOT DISTINCT FROM $3"
	};
	static SpiStatement replace = {
		"UPDATE event_store.aggregate SET initial_state = $2, snapshot_every = $3 WHERE category = $1"
	};
	static const RowDefinition definition = {3, &insert, &same, &replace};
	static const Oid types[] = {TEXTOID, JSONBOID, INT4OID};
	Datum		values[3] = {PointerGetDatum(category_argument(fcinfo))};

	argument_not_null(&fcinfo->args[1], "initial_state", "Pass {} to begin with nothing.");
	if (!PG_ARGISNULL(2) && PG_GETARG_INT32(2) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("snapshot_every must be 1 or more"),
				 errhint("It counts events; pass NULL for no snapshots.")));
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_GETARG_DATUM(2);
	if (!define(&definition, types, values, PG_ARGISNULL(2) ? "  n" : NULL, replaces(fcinfo, 3)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("the aggregate of category \"%s\" is defined already, otherwise",
						TextDatumGetCString(values[0])),
				 errhint("Pass replace => true to define it anew.")));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_create_event_handler);
/*
 * event_store.create_event_handler(category, event_type, handler, replace)
 */
Datum
event_store_create_event_handler(PG_FUNCTION_ARGS)
{
	static SpiStatement insert = {
		"INSERT INTO event_store.event_handler (category, event_type, handler, owner)"
		/* Not while somebody drops it. */
		" SELECT a.category, $2, $3, $4 FROM event_store.aggregate a WHERE a.category = $1"
		" FOR KEY SHARE ON CONFLICT (category, event_type) DO NOTHING"
	};
	static SpiStatement same = {
		"SELECT FROM event_store.event_handler WHERE category = $1 AND event_type = $2"
		" AND handler = $3 AND owner = $4"
	};
	static SpiStatement replace = {
		"UPDATE event_store.event_handler SET handler = $3, owner = $4"
		" WHERE category = $1 AND event_type = $2"
	};
	static const RowDefinition definition = {4, &insert, &same, &replace};
	static const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Oid			arguments[2] = {JSONBOID, get_rel_type_id(extension_relation_oid(&relation_event))};
	Datum		values[4] = {
		PointerGetDatum(category_argument(fcinfo)),
		PointerGetDatum(event_type_argument(fcinfo, 1))
	};
	Oid			owner;

	argument_not_null(&fcinfo->args[2], "handler",
					  "Name a function: handler(state jsonb, event event_store.event) RETURNS jsonb.");
	owner = function_expect(PG_GETARG_OID(2), 2, arguments, JSONBOID);
	values[3] = rights_role_name(owner);
	values[2] = CStringGetTextDatum(function_signature(PG_GETARG_OID(2)));
	expect_aggregate(values[0]);
	if (!define(&definition, types, values, NULL, replaces(fcinfo, 3)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("event type \"%s\" of category \"%s\" has another handler already",
						TextDatumGetCString(values[1]), TextDatumGetCString(values[0])),
				 errhint("Pass replace => true to put this one in its place.")));
	registration_store(aggregate_handler_registration(DatumGetTextPP(values[0]),
													  DatumGetTextPP(values[1])),
					   PG_GETARG_OID(2), owner);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_drop_event_handler);
/*
 * event_store.drop_event_handler(category, event_type)
 */
Datum
event_store_drop_event_handler(PG_FUNCTION_ARGS)
{
	static SpiStatement remove = {
		"DELETE FROM event_store.event_handler WHERE category = $1 AND event_type = $2"
	};
	Datum		values[2] = {
		PointerGetDatum(category_argument(fcinfo)),
		PointerGetDatum(event_type_argument(fcinfo, 1))
	};
	uint64		removed;

	removed = spi_execute(&remove, 2, (Oid[]) {TEXTOID, TEXTOID}, values, NULL);
	if (removed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ST_NO_HANDLER),
				 errmsg("no handler registered for event type \"%s\" of category \"%s\"",
						TextDatumGetCString(values[1]), TextDatumGetCString(values[0]))));
	registration_remove(aggregate_handler_registration(DatumGetTextPP(values[0]),
													   DatumGetTextPP(values[1])));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_drop_aggregate);
/*
 * event_store.drop_aggregate(category)
 */
Datum
event_store_drop_aggregate(PG_FUNCTION_ARGS)
{
	static SpiStatement remove_snapshots = {
		"DELETE FROM event_store.snapshot WHERE pg_catalog.split_part(stream, '-', 1) = $1"
	};
	static SpiStatement remove_handlers = {
		"DELETE FROM event_store.event_handler WHERE category = $1 RETURNING event_type"
	};
	static SpiStatement remove = {"DELETE FROM event_store.aggregate WHERE category = $1"};
	Datum		category = PointerGetDatum(category_argument(fcinfo));
	uint64		removed;
	bool		isnull;

	expect_aggregate(category);
	spi_execute(&remove_snapshots, 1, (Oid[]) {TEXTOID}, &category, NULL);
	spi_execute(&remove, 1, (Oid[]) {TEXTOID}, &category, NULL);
	spi_begin(SPI_AS_OWNER);
	/* Last, so that it sees those of who was first. */
	removed = spi_run_latest(&remove_handlers, 1, (Oid[]) {TEXTOID}, &category, NULL);
	for (uint64 i = 0; i < removed; i++)
	{
		text	   *event_type = DatumGetTextPP(spi_value(i, 0, &isnull));

		registration_remove(aggregate_handler_registration(DatumGetTextPP(category), event_type));
	}
	spi_end();
	PG_RETURN_VOID();
}

/*
 * Puts a definition in place unless another one is there that must not be
 * replaced; then false.  The same one again is left alone.
 */
static bool
define(const RowDefinition *definition, const Oid *types, Datum *values, const char *nulls,
	   bool replace)
{
	int			columns = definition->columns;

	return spi_execute(definition->insert, columns, types, values, nulls) > 0 ||
		spi_execute_latest(definition->same, columns, types, values, nulls) > 0 ||
		(replace && spi_execute_latest(definition->replace, columns, types, values, nulls) > 0);
}

static bool
replaces(FunctionCallInfo fcinfo, int argument)
{
	argument_not_null(&fcinfo->args[argument], "replace",
					  "Pass true to put another definition in place of one that is there.");
	return PG_GETARG_BOOL(argument);
}

/*
 * ST011 if no aggregate is defined for a category.
 */
static void
expect_aggregate(Datum category)
{
	text	   *name = DatumGetTextPP(category);

	(void) aggregate_find(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

static text *
category_argument(FunctionCallInfo fcinfo)
{
	text	   *category = PG_ARGISNULL(0) ? cstring_to_text("") : PG_GETARG_TEXT_PP(0);

	category_check(VARDATA_ANY(category), VARSIZE_ANY_EXHDR(category));
	return category;
}
