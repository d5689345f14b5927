/*
 * projection_control.c
 *		Creating, dropping, pausing and resuming projections.
 *
 * Lock protocol: as in projection_progress.c; so a change of state waits for
 * the batch that is being done.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/errors.h"
#include "event_store/projection/projection.h"
#include "event_store/projection/projection_beside.h"
#include "event_store/projection/projection_control.h"
#include "event_store/projection/projection_deferred.h"
#include "event_store/projection/projection_progress.h"
#include "event_store/projection/projection_remote.h"
#include "event_store/stream/stream.h"
#include "log/wakeup.h"
#include "pg/argument.h"
#include "pg/function.h"
#include "pg/rights.h"
#include "pg/spi.h"

/* Bytes of the name of a source. */
#define MAX_SOURCE 100

static ExtensionRelation relation_event = {"event_store", "event"};
static ExtensionRelation relation_projection = {"event_store", "projection"};

static Oid	check_definition(FunctionCallInfo fcinfo);
static bool has_source(FunctionCallInfo fcinfo);
static void check_source(FunctionCallInfo fcinfo);
static Datum table_names(ArrayType *tables, Oid owner);

PG_FUNCTION_INFO_V1(event_store_create_projection);
/*
 * event_store.create_projection(name, handler, category, event_types, mode, tables, on_error,
 *		source)
 */
Datum
event_store_create_projection(PG_FUNCTION_ARGS)
{
	static SpiStatement insert = {
		"INSERT INTO event_store.projection"
		" (name, handler, owner, mode, category, event_types, tables, on_error, source)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING"
	};
	static SpiStatement same = {
		"SELECT FROM event_store.projection WHERE name = $1 AND handler = $2 AND owner = $3"
		" AND mode = $4 AND category IS NOT DISTINCT FROM $5"
		" AND event_types IS NOT DISTINCT FROM $6 AND tables = $7 AND on_error = $8"
		" AND source IS NOT DISTINCT FROM $9"
	};
	static SpiStatement start = {"INSERT INTO event_store.projection_progress (name) VALUES ($1)"};
	static const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID,
		TEXTARRAYOID, TEXTOID, TEXTOID};
	Datum		values[9] = {0};
	char		nulls[] = "        n";
	Oid			owner;

	PreventCommandIfReadOnly("event_store.create_projection");
	PreventCommandDuringRecovery("event_store.create_projection");
	owner = check_definition(fcinfo);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = CStringGetTextDatum(function_signature(PG_GETARG_OID(1)));
	values[2] = rights_role_name(owner);
	values[3] = PG_GETARG_DATUM(4);
	values[4] = PG_GETARG_DATUM(2);
	values[5] = PG_GETARG_DATUM(3);
	values[6] = table_names(PG_ARGISNULL(5) ? construct_empty_array(REGCLASSOID)
											: PG_GETARG_ARRAYTYPE_P(5),
							owner);
	values[7] = PG_GETARG_DATUM(6);
	nulls[4] = PG_ARGISNULL(2) ? 'n' : ' ';
	nulls[5] = PG_ARGISNULL(3) ? 'n' : ' ';
	if (has_source(fcinfo))
	{
		values[8] = PG_GETARG_DATUM(7);
		nulls[8] = ' ';
	}
	/* Two that are created at once must see each other's tables. */
	LockRelationOid(extension_relation_oid(&relation_projection), ShareRowExclusiveLock);
	spi_begin(SPI_AS_OWNER);
	if (spi_run_latest(&same, 9, types, values, nulls) > 0)
	{
		spi_end();
		registration_store(projection_registration(TextDatumGetCString(values[0])),
						   PG_GETARG_OID(1), owner);
		PG_RETURN_VOID();
	}
	if (spi_run(&insert, 9, types, values, nulls) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("projection \"%s\" exists already, with another definition",
						TextDatumGetCString(values[0])),
				 errhint("Call event_store.drop_projection() first, or choose another name.")));
	control_refuse_shared_tables(values[0]);
	(void) spi_run(&start, 1, types, values, NULL);
	spi_end();
	registration_store(projection_registration(TextDatumGetCString(values[0])), PG_GETARG_OID(1),
					   owner);
	/* What an append left behind after an earlier one of that name was dropped. */
	deferred_remove_all(TextDatumGetCString(values[0]));
	remote_forget(TextDatumGetCString(values[0]));
	if (has_source(fcinfo))
		remote_tell();
	else
		wakeup_worker_after_commit(WAKE_FOR_UNITS);
	PG_RETURN_VOID();
}

/*
 * Refuses a projection whose rebuild would empty a table that another one
 * writes too, also as a part of the other's.
 */
void
control_refuse_shared_tables(Datum name)
{
	static SpiStatement find = {
		"WITH RECURSIVE written (name, oid) AS ("
		" SELECT p.name, to_regclass(t.name)::oid"
		" FROM event_store.projection p CROSS JOIN unnest(p.tables) AS t (name)"
		" UNION SELECT w.name, i.inhrelid FROM written w JOIN pg_inherits i ON i.inhparent = w.oid)"
		" SELECT o.name, o.oid::regclass::text FROM written w"
		" JOIN written o ON o.oid = w.oid AND o.name <> w.name WHERE w.name = $1 ORDER BY 1, 2"
	};

	spi_begin(SPI_AS_OWNER);
	if (spi_run_latest(&find, 1, (Oid[]) {TEXTOID}, &name, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("table %s is also written by projection \"%s\"",
						spi_text(0, 1, CurrentMemoryContext), spi_text(0, 0, CurrentMemoryContext)),
				 errdetail("Rebuilding projection \"%s\" would empty it for both.",
						   TextDatumGetCString(name)),
				 errhint("Give each projection tables of its own, or let one handler write both.")));
	spi_end();
}

/*
 * Returns the role with whose rights the handler shall run.
 */
static Oid
check_definition(FunctionCallInfo fcinfo)
{
	Oid			arguments[1] = {get_rel_type_id(extension_relation_oid(&relation_event))};
	EventFilter filter = {0};

	argument_not_null(&fcinfo->args[0], "name", "Name the projection after what it keeps.");
	argument_not_null(&fcinfo->args[1], "handler",
					  "Name a function: handler(event event_store.event) RETURNS void, or handler(events event_store.event[]).");
	argument_not_null(&fcinfo->args[4], "mode", "Pass async or inline.");
	argument_not_null(&fcinfo->args[6], "on_error", "Pass refuse or defer.");
	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name must not be empty")));
	if (strcmp(text_to_cstring(PG_GETARG_TEXT_PP(4)), "inline") != 0 &&
		strcmp(text_to_cstring(PG_GETARG_TEXT_PP(4)), "async") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mode is neither \"inline\" nor \"async\""),
				 errhint("async runs the handler in the background, inline inside the append.")));
	if (strcmp(text_to_cstring(PG_GETARG_TEXT_PP(6)), "refuse") != 0 &&
		strcmp(text_to_cstring(PG_GETARG_TEXT_PP(6)), "defer") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_error is neither \"refuse\" nor \"defer\""),
				 errhint("refuse lets the append fail with an inline handler, defer leaves the event to the background worker.")));
	if (has_source(fcinfo))
		check_source(fcinfo);
	if (!PG_ARGISNULL(2))
	{
		text	   *category = PG_GETARG_TEXT_PP(2);

		category_check(VARDATA_ANY(category), VARSIZE_ANY_EXHDR(category));
	}
	event_filter_types(&filter, PG_ARGISNULL(3) ? NULL : PG_GETARG_ARRAYTYPE_P(3));
	event_filter_refuse_none(&filter);
	if (function_signature_takes_array(function_signature(PG_GETARG_OID(1))))
		arguments[0] = get_array_type(arguments[0]);
	return function_expect(PG_GETARG_OID(1), 1, arguments, VOIDOID);
}

/*
 * Whether events shall come from another database; version 1.0 has no such argument.
 */
static bool
has_source(FunctionCallInfo fcinfo)
{
	return PG_NARGS() > 7 && !PG_ARGISNULL(7);
}

static void
check_source(FunctionCallInfo fcinfo)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(7));
	bool		strange = source[0] == '\0' || strlen(source) > MAX_SOURCE;

	for (const char *p = source; *p != '\0'; p++)
		strange |= (unsigned char) *p < ' ' || *p == 0x7F;
	/* A connection string would end up in views, logs and dumps. */
	if (strange || strchr(source, '=') != NULL || strstr(source, "://") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source must be a name of 1 to %d bytes, not a connection string",
						MAX_SOURCE),
				 errhint("Name a service of pg_service.conf; addresses and secrets stay there.")));
	if (strcmp(text_to_cstring(PG_GETARG_TEXT_PP(4)), "async") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a projection of another database's events cannot be inline"),
				 errhint("Leave mode out.")));
}

/*
 * Qualified names of tables that the owner may empty.
 */
static Datum
table_names(ArrayType *tables, Oid owner)
{
	Datum	   *oids;
	bool	   *nulls;
	Datum	   *names;
	int			count;

	deconstruct_array(tables, REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT, &oids, &nulls, &count);
	names = palloc(sizeof(Datum) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		Oid			table = nulls[i] ? InvalidOid : DatumGetObjectId(oids[i]);
		char	   *name = OidIsValid(table) ? get_rel_name(table) : NULL;

		if (name == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("tables[%d] does not exist", i)));
		if (pg_class_aclcheck(table, owner, ACL_TRUNCATE) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, name);
		name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)), name);
		names[i] = CStringGetTextDatum(name);
	}
	return PointerGetDatum(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(event_store_drop_projection);
/*
 * event_store.drop_projection(name)
 */
Datum
event_store_drop_projection(PG_FUNCTION_ARGS)
{
	static SpiStatement remove_progress = {
		"DELETE FROM event_store.projection_progress WHERE name = $1"
	};
	static SpiStatement remove = {"DELETE FROM event_store.projection WHERE name = $1"};
	ProjectionProgress progress;
	Projection *projection = control_lock_argument(fcinfo, &progress);
	Datum		name = CStringGetTextDatum(projection->name);

	(void) beside_cancel(projection);
	deferred_remove_all(projection->name);
	remote_forget(projection->name);
	spi_execute(&remove_progress, 1, (Oid[]) {TEXTOID}, &name, NULL);
	spi_execute(&remove, 1, (Oid[]) {TEXTOID}, &name, NULL);
	registration_remove(projection_registration(projection->name));
	if (projection->source != NULL)
		remote_tell();
	PG_RETURN_VOID();
}

/*
 * Whoever gives it events looks at it again.
 */
void
control_changed(const Projection *projection)
{
	if (projection->source != NULL)
		remote_tell();
	else
		wakeup_worker_after_commit(WAKE_FOR_UNITS);
}

PG_FUNCTION_INFO_V1(event_store_pause_projection);
/*
 * event_store.pause_projection(name)
 */
Datum
event_store_pause_projection(PG_FUNCTION_ARGS)
{
	ProjectionProgress progress;
	Projection *projection = control_lock_argument(fcinfo, &progress);

	progress.paused = true;
	if (projection->is_inline)
		deferred_hold_back(projection);
	progress_write(projection, &progress);
	control_changed(projection);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_resume_projection);
/*
 * event_store.resume_projection(name)
 */
Datum
event_store_resume_projection(PG_FUNCTION_ARGS)
{
	ProjectionProgress progress;
	Projection *projection = control_lock_argument(fcinfo, &progress);
	Beside		beside;

	if (beside_lock(projection, true, &beside))
	{
		progress_forget_error(&beside.progress);
		beside_write(projection, &beside);
	}
	progress.paused = false;
	progress_forget_error(&progress);
	if (projection->is_inline && progress.rebuild_step == REBUILD_NONE)
		deferred_let_go(projection);
	progress_write(projection, &progress);
	control_changed(projection);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(event_store_skip_event);
/*
 * event_store.skip_event(name, at_position)
 */
Datum
event_store_skip_event(PG_FUNCTION_ARGS)
{
	ProjectionProgress progress;
	Projection *projection = control_lock_argument(fcinfo, &progress);
	int64		position = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
	bool		fails = position > 0 && (position == progress.error_position ||
										 (projection->is_inline &&
										  deferred_failed_at(projection, position)));
	bool		fails_beside = position > 0 && beside_skip(projection, position);

	if (fails_beside)
		wakeup_worker_after_commit(WAKE_FOR_UNITS);
	if (!fails && fails_beside)
		PG_RETURN_VOID();
	if (!fails)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("projection \"%s\" does not fail at position " INT64_FORMAT,
						projection->name, position),
				 progress.error_position == 0
				 ? errhint("Only an event that the handler has failed at can be skipped.")
				 : errhint("It fails at position " INT64_FORMAT ".", progress.error_position)));
	if (projection->is_inline && !progress_is_replaying(&progress))
		deferred_remove(projection, &position, 1);
	else
		progress.checkpoint = position;
	progress_forget_error(&progress);
	progress_write(projection, &progress);
	control_changed(projection);
	PG_RETURN_VOID();
}

/*
 * The projection named by the first argument, its row locked.
 */
Projection *
control_lock_argument(FunctionCallInfo fcinfo, ProjectionProgress *progress)
{
	Projection *projection;
	char	   *name;

	argument_not_null(&fcinfo->args[0], "name", "The view event_store.projections lists them.");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	projection = projection_find(name);
	/* Somebody may have dropped it while we waited. */
	if (!progress_lock(projection, true, progress))
		projection_unknown(name);
	return projection;
}
