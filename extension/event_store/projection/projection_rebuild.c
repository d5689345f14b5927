/*
 * projection_rebuild.c
 *		Asking for a rebuild of a projection: in place, beside, of one stream; ending it.
 *
 * In place and beside all that is done here is the beginning; projection_run.c and
 * projection_fill.c go on.  Of one stream all is done here, in the caller's
 * transaction: its events make rows in empty tables beside, and these are put in.
 *
 * Lock protocol: as in projection_control.c.  The stream is locked as by an append, so
 * that none comes in between.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "base/order.h"
#include "event_store/projection/projection_beside.h"
#include "event_store/projection/projection_control.h"
#include "event_store/projection/projection_deferred.h"
#include "event_store/projection/projection_remote.h"
#include "event_store/stream/stream.h"
#include "log/wakeup.h"
#include "pg/rights.h"
#include "pg/spi.h"

static void rebuild_in_place(Projection *projection, ProjectionProgress *progress);
static void rebuild_stream(Projection *projection, const ProjectionProgress *progress,
						   text *stream);
static void lock_stream(const StreamName *name);
static int64 version_given(const Projection *projection, const ProjectionProgress *progress,
						   text *stream);
static text *names_for_stream(const Projection *projection);
static void refuse_while_rebuilt(const Projection *projection,
								 const ProjectionProgress *progress);
static void refuse_without_tables(const Projection *projection);

PG_FUNCTION_INFO_V1(event_store_rebuild_projection);
/*
 * event_store.rebuild_projection(name, beside, stream)
 */
Datum
event_store_rebuild_projection(PG_FUNCTION_ARGS)
{
	ProjectionProgress progress;
	Projection *projection = control_lock_argument(fcinfo, &progress);
	Beside		beside;

	control_refuse_shared_tables(CStringGetTextDatum(projection->name));
	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("beside and stream do not go together"),
				 errhint("A stream's rows are put into the tables that are read.")));
	if (!PG_ARGISNULL(1) || !PG_ARGISNULL(2))
	{
		refuse_while_rebuilt(projection, &progress);
		refuse_without_tables(projection);
	}
	if (!PG_ARGISNULL(2))
		rebuild_stream(projection, &progress, PG_GETARG_TEXT_PP(2));
	else if (!PG_ARGISNULL(1))
		beside_make(projection, PG_GETARG_TEXT_PP(1), &beside);
	else
		rebuild_in_place(projection, &progress);
	control_changed(projection);
	PG_RETURN_VOID();
}

static void
rebuild_in_place(Projection *projection, ProjectionProgress *progress)
{
	Beside		beside;

	if (beside_read(projection, &beside))
		refuse_while_rebuilt(projection, progress);
	progress_forget_error(progress);
	if (projection->is_inline)
	{
		/* The rest can only come when appends know that they must not run it. */
		deferred_hold_back(projection);
		progress->rebuild_step = REBUILD_REQUESTED;
		progress->rebuild_until = -1;
	}
	else
	{
		projection_truncate(projection);
		if (projection->source == NULL)
			progress->rebuild_until = event_newest_position(NULL);
		else
		{
			progress->rebuild_until = greater(progress->rebuild_until, progress->checkpoint);
			remote_begin_anew(projection->name);
		}
		progress->checkpoint = 0;
		progress->rebuild_step = REBUILD_REPLAYING;
	}
	progress_write(projection, progress);
}

/*
 * Gives the handler the events of a stream that it has had, into empty tables, and puts
 * what is there then into the tables that are read.
 */
static void
rebuild_stream(Projection *projection, const ProjectionProgress *progress, text *stream)
{
	StreamName	name;
	Beside		beside;
	ProjectionRun run = {0};

	stream_name(&name, VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream));
	lock_stream(&name);
	if (projection->is_inline && deferred_any(projection))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("projection \"%s\" has events left that the worker will give it",
						projection->name),
				 errhint("Wait until event_store.projections says running.")));
	beside_make(projection, names_for_stream(projection), &beside);
	run.projection = projection;
	run.source = SOURCE_STREAM;
	run.stream = &name;
	run.upto = version_given(projection, progress, stream);
	run.limit = PG_INT32_MAX;
	run.whole = true;
	run.replaying = true;
	run.redirect = &beside.redirect;
	projection_give(&run);
	CommandCounterIncrement();
	beside_bring_over(projection, &beside, true);
}

static void
lock_stream(const StreamName *name)
{
	EventTables tables;
	Stream		stream;

	event_tables_open(&tables, RowExclusiveLock);
	(void) stream_lock(&tables, name, LockTupleNoKeyExclusive, &stream);
	event_tables_close(&tables);
}

/*
 * The newest version of a stream that the projection has had.
 */
static int64
version_given(const Projection *projection, const ProjectionProgress *progress, text *stream)
{
	static SpiStatement find = {
		"SELECT max(e.version) FROM event_store.read_stream($1) e WHERE e.position <= $2"
	};
	Datum		values[2] = {PointerGetDatum(stream), Int64GetDatum(progress->checkpoint)};
	int64		version;

	if (projection->is_inline)
		return PG_INT64_MAX;
	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&find, 2, (Oid[]) {TEXTOID, INT8OID}, values, NULL);
	version = spi_int64(0, 0, 0);
	spi_end();
	return version;
}

/*
 * Names of tables that stand beside for the length of this transaction.  Rows are put in
 * by their keys, so each table must have one.
 */
static text *
names_for_stream(const Projection *projection)
{
	static SpiStatement find = {
		"SELECT string_agg(format('%I.%I', n.nspname, left(c.relname, 40) || '_rebuild_' || t.n), ','"
		" ORDER BY t.n), string_agg(t.name, ', ') FILTER (WHERE k.same IS NULL)"
		" FROM event_store.projection p CROSS JOIN unnest(p.tables) WITH ORDINALITY t (name, n)"
		" JOIN pg_class c ON c.oid = to_regclass(t.name) JOIN pg_namespace n ON n.oid = c.relnamespace"
		" LEFT JOIN event_store._beside_key k ON k.live = c.oid WHERE p.name = $1"
	};
	Datum		name = CStringGetTextDatum(projection->name);
	MemoryContext context = CurrentMemoryContext;
	text	   *names;
	bool		isnull;

	spi_begin(SPI_AS_OWNER);
	(void) spi_run_latest(&find, 1, (Oid[]) {TEXTOID}, &name, NULL);
	(void) spi_value(0, 1, &isnull);
	if (!isnull)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table %s has no primary key", spi_text(0, 1, context)),
				 errdetail("Rows of one stream can only be put in by their keys."),
				 errhint("Give it one, or rebuild the whole projection.")));
	names = DatumGetTextPP(spi_copy(0, 0, context, &isnull));
	spi_end();
	return names;
}

static void
refuse_while_rebuilt(const Projection *projection, const ProjectionProgress *progress)
{
	Beside		beside;

	if (progress->rebuild_step == REBUILD_NONE && !beside_read(projection, &beside))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("projection \"%s\" is being rebuilt already", projection->name),
			 errhint("The view event_store.rebuilds tells how far it is; event_store.cancel_rebuild() ends one beside.")));
}

static void
refuse_without_tables(const Projection *projection)
{
	if (projection->source != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("projection \"%s\" has the events of another database",
						projection->name),
				 errhint("Rebuild it in place, without beside or stream.")));
	if (projection->tables == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("projection \"%s\" names no tables", projection->name),
				 errhint("Pass tables to create_projection(), all that the handler writes.")));
}

PG_FUNCTION_INFO_V1(event_store_cancel_rebuild);
/*
 * event_store.cancel_rebuild(name)
 */
Datum
event_store_cancel_rebuild(PG_FUNCTION_ARGS)
{
	ProjectionProgress progress;
	Projection *projection = control_lock_argument(fcinfo, &progress);

	if (!beside_cancel(projection))
		PG_RETURN_BOOL(false);
	if (progress.rebuild_step == REBUILD_CLOSING)
	{
		progress.rebuild_step = REBUILD_NONE;
		progress.rebuild_until = -1;
		if (!progress.paused)
			deferred_let_go(projection);
		progress_write(projection, &progress);
	}
	wakeup_worker_after_commit(WAKE_FOR_UNITS);
	PG_RETURN_BOOL(true);
}
