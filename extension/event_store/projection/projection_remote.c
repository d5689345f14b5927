/*
 * projection_remote.c
 *		What is kept of a projection whose events come from another database.
 *
 * Beside the row of projection_progress, whose checkpoint is a position of the source:
 * from which history of it that was read, how far the source is, and whether it is lost,
 * because the source no longer holds what was read.
 *
 * Lock protocol: that of projection_progress.c; this row is read and written by whoever
 * holds that one, and only read by others.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "event_store/projection/projection_progress.h"
#include "event_store/projection/projection_remote.h"
#include "log/restore.h"
#include "pg/argument.h"
#include "pg/lookup.h"
#include "pg/spi.h"

/* Columns of event_store.projection_remote. */
typedef enum RemoteColumn
{
	REMOTE_NAME,
	REMOTE_INCARNATION,
	REMOTE_HEAD,
	REMOTE_HEARD_AT,
	REMOTE_BEHIND_SINCE,
	REMOTE_ERROR_CODE,
	REMOTE_ERROR,
	REMOTE_LOST_AT,
	REMOTE_COLUMNS
} RemoteColumn;

static const ExtensionColumn remote_columns[REMOTE_COLUMNS] = {
	[REMOTE_NAME] = {"name", TEXTOID, true},
	[REMOTE_INCARNATION] = {"incarnation", TEXTOID},
	[REMOTE_HEAD] = {"head", INT8OID, true},
	[REMOTE_HEARD_AT] = {"heard_at", TIMESTAMPTZOID},
	[REMOTE_BEHIND_SINCE] = {"behind_since", TIMESTAMPTZOID},
	[REMOTE_ERROR_CODE] = {"error_code", TEXTOID},
	[REMOTE_ERROR] = {"error", TEXTOID},
	[REMOTE_LOST_AT] = {"lost_at", TIMESTAMPTZOID},
};

static ExtensionRelation relation_remote =
	EXTENSION_TABLE("event_store", "projection_remote", remote_columns);
static ExtensionRelation index_remote = {"event_store", "projection_remote_pkey"};

static char *text_column(const Datum *values, const bool *nulls, RemoteColumn column);
static Projection *lock_argument(FunctionCallInfo fcinfo, ProjectionProgress *progress);

/*
 * Reads a projection's row; false, and nothing known, if there is none yet.
 */
bool
remote_read(const Projection *projection, ProjectionRemote *remote)
{
	Lookup		lookup;
	Datum		values[REMOTE_COLUMNS];
	bool		nulls[REMOTE_COLUMNS];
	bool		found;

	memset(remote, 0, sizeof(*remote));
	lookup_begin(&lookup, &relation_remote, &index_remote, projection->name,
				 (int) strlen(projection->name));
	found = lookup_next(&lookup, values, nulls);
	if (found)
	{
		remote->incarnation = text_column(values, nulls, REMOTE_INCARNATION);
		remote->head = DatumGetInt64(values[REMOTE_HEAD]);
		if (!nulls[REMOTE_BEHIND_SINCE])
			remote->behind_since = DatumGetTimestampTz(values[REMOTE_BEHIND_SINCE]);
		remote->error_code = text_column(values, nulls, REMOTE_ERROR_CODE);
		remote->error = text_column(values, nulls, REMOTE_ERROR);
	}
	lookup_end(&lookup);
	return found;
}

static char *
text_column(const Datum *values, const bool *nulls, RemoteColumn column)
{
	return nulls[column] ? NULL : TextDatumGetCString(values[column]);
}

/*
 * The source has been heard of: how far it is, and from which history that is.
 */
void
remote_heard(const Projection *projection, const ProjectionRemote *remote)
{
	static SpiStatement update = {
		"INSERT INTO event_store.projection_remote AS r"
		" (name, incarnation, head, heard_at, behind_since)"
		" VALUES ($1, $2, $3, pg_catalog.clock_timestamp(), $4)"
		" ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation,"
		" head = excluded.head, heard_at = excluded.heard_at, behind_since = excluded.behind_since"
	};
	Datum		values[4] = {CStringGetTextDatum(projection->name), 0,
	Int64GetDatum(remote->head), TimestampTzGetDatum(remote->behind_since)};
	char		nulls[] = " n  ";

	if (remote->incarnation != NULL)
	{
		values[1] = CStringGetTextDatum(remote->incarnation);
		nulls[1] = ' ';
	}
	if (remote->behind_since == 0)
		nulls[3] = 'n';
	spi_execute_latest(&update, 4, (Oid[]) {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID}, values,
					   nulls);
}

/*
 * Nothing is known of the source any more, and nothing is wrong with it.
 */
void
remote_begin_anew(const char *name)
{
	static SpiStatement begin = {
		"UPDATE event_store.projection_remote SET incarnation = NULL, behind_since = NULL,"
		" error_code = NULL, error = NULL, lost_at = NULL WHERE name = $1"
	};
	Datum		value = CStringGetTextDatum(name);

	spi_execute_latest(&begin, 1, (Oid[]) {TEXTOID}, &value, NULL);
}

void
remote_forget(const char *name)
{
	static SpiStatement remove = {"DELETE FROM event_store.projection_remote WHERE name = $1"};
	Datum		value = CStringGetTextDatum(name);

	spi_execute_latest(&remove, 1, (Oid[]) {TEXTOID}, &value, NULL);
}

/*
 * Refuses a projection of events of this database.
 */
void
remote_refuse_local(const Projection *projection)
{
	if (projection->source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("projection \"%s\" gets the events of this database", projection->name),
				 errhint("Create one with source => 'name' for those of another.")));
}

/*
 * Tells the program that brings events that there is something new about projections.
 */
void
remote_tell(void)
{
	static SpiStatement tell = {"SELECT pg_catalog.pg_notify('event_store.remote', '')"};

	spi_execute(&tell, 0, NULL, NULL, NULL);
}

/*
 * The projection that the first argument names, its row locked.
 */
static Projection *
lock_argument(FunctionCallInfo fcinfo, ProjectionProgress *progress)
{
	Projection *projection;

	argument_not_null(&fcinfo->args[0], "name", "The view event_store.projections lists them.");
	projection = projection_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	remote_refuse_local(projection);
	if (!progress_lock(projection, true, progress))
		projection_unknown(projection->name);
	return projection;
}

PG_FUNCTION_INFO_V1(event_store_lose_remote);
/*
 * event_store.lose_remote(name, at_position, error_code, error)
 */
Datum
event_store_lose_remote(PG_FUNCTION_ARGS)
{
	static SpiStatement mark = {
		"INSERT INTO event_store.projection_remote AS r (name, error_code, error, lost_at)"
		" VALUES ($1, $2, $3, pg_catalog.clock_timestamp())"
		" ON CONFLICT (name) DO UPDATE SET error_code = excluded.error_code,"
		" error = excluded.error, lost_at = excluded.lost_at WHERE r.error_code IS NULL"
	};
	ProjectionProgress progress;
	Projection *projection;
	Datum		values[3];

	PreventCommandIfReadOnly("event_store.lose_remote()");
	restore_refuse_writing();
	argument_not_null(&fcinfo->args[1], "at_position", "Pass the checkpoint that was refused.");
	argument_not_null(&fcinfo->args[2], "error_code", "Pass ST021.");
	argument_not_null(&fcinfo->args[3], "error", "Say what is wrong.");
	projection = lock_argument(fcinfo, &progress);
	if (progress.checkpoint != PG_GETARG_INT64(1))
		PG_RETURN_BOOL(false);
	values[0] = CStringGetTextDatum(projection->name);
	values[1] = PG_GETARG_DATUM(2);
	values[2] = PG_GETARG_DATUM(3);
	PG_RETURN_BOOL(spi_execute_latest(&mark, 3, (Oid[]) {TEXTOID, TEXTOID, TEXTOID}, values,
									  NULL) > 0);
}

PG_FUNCTION_INFO_V1(event_store_reset_remote);
/*
 * event_store.reset_remote(name, to_position)
 */
Datum
event_store_reset_remote(PG_FUNCTION_ARGS)
{
	ProjectionProgress progress;
	Projection *projection;

	PreventCommandIfReadOnly("event_store.reset_remote()");
	restore_refuse_writing();
	argument_not_null(&fcinfo->args[1], "to_position", "0 is the beginning.");
	if (PG_GETARG_INT64(1) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("to_position must not be negative"),
				 errhint("0 is the beginning.")));
	projection = lock_argument(fcinfo, &progress);
	progress.checkpoint = PG_GETARG_INT64(1);
	progress.rebuild_step = REBUILD_NONE;
	progress.rebuild_until = -1;
	progress_forget_error(&progress);
	progress_write(projection, &progress);
	remote_begin_anew(projection->name);
	remote_tell();
	PG_RETURN_VOID();
}
