/*
 * projection_beside.c
 *		Tables that are filled beside those of a projection: which they are, making
 *		them, and bringing their rows over.
 *
 * The rows are brought over by what differs, in one transaction and with ordinary
 * statements.  So whoever reads sees the old rows until it has committed and the new
 * ones afterwards, as his snapshot says, and waits for nothing; views, grants, foreign
 * keys and indexes never hear of it.  Which statements those are is said in SQL, where
 * the catalogue is easily asked: event_store._beside_swap().
 *
 * All that touches tables of users runs with the rights of the projection's role.
 *
 * Lock protocol: the row of projection_rebuild FOR UPDATE by whoever fills, brings over
 * or ends; before a projection's row of projection_progress only without waiting, since
 * the functions that control a projection take that one first.  Whoever ends a rebuild
 * holds a lock until others know that the tables are gone, which is later than they see
 * his commit; whoever begins the next one waits for it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/timestamp.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "event_store/projection/projection_beside.h"
#include "log/position.h"
#include "pg/limit.h"
#include "pg/lock.h"
#include "pg/rights.h"
#include "pg/spi.h"

static Oid *to_oids(ArrayType *array, int *count);
static char **to_names(ArrayType *array, int *count);
static void check_tables(const Projection *projection, const Beside *beside);
static List *list_statements(const char *query, int nargs, const Oid *types,
							 const Datum *values);
static void remove_row(const Projection *projection);
static void lock_rebuild(const Projection *projection);
static void run_as_owner(Projection *projection, List *statements);

/*
 * Reads a projection's rebuild as it is now.  False if there is none.
 */
bool
beside_read(const Projection *projection, Beside *beside)
{
	static SpiStatement find = {
		"SELECT r.checkpoint, r.failed, r.failures, r.retry_at, r.error_position, r.last_error,"
		" r.beside, ARRAY(SELECT coalesce(to_regclass(t.name)::oid, 0) FROM unnest(p.tables)"
		" WITH ORDINALITY t (name, n) ORDER BY t.n), ARRAY(SELECT coalesce(to_regclass(t.name)::oid, 0)"
		" FROM unnest(r.beside) WITH ORDINALITY t (name, n) ORDER BY t.n)"
		" FROM event_store.projection_rebuild r JOIN event_store.projection p ON p.name = r.name"
		" WHERE r.name = $1"
	};
	enum
	{
		CHECKPOINT,
		FAILED,
		FAILURES,
		RETRY_AT,
		ERROR_POSITION,
		LAST_ERROR,
		TABLES_BESIDE,
		NAMED,
		MEANT
	};
	Datum		name = CStringGetTextDatum(projection->name);
	MemoryContext context = CurrentMemoryContext;
	ProjectionProgress *progress = &beside->progress;
	int			count;
	bool		isnull;
	Datum		value;

	memset(beside, 0, sizeof(*beside));
	progress->of_rebuild = true;
	spi_begin(SPI_AS_OWNER);
	if (spi_run_latest(&find, 1, (Oid[]) {TEXTOID}, &name, NULL) == 0)
	{
		spi_end();
		return false;
	}
	progress->checkpoint = spi_int64(0, CHECKPOINT, 0);
	progress->failed = spi_bool(0, FAILED);
	progress->failures = spi_int32(0, FAILURES, 0);
	value = spi_value(0, RETRY_AT, &isnull);
	progress->retry_at = isnull ? 0 : DatumGetTimestampTz(value);
	progress->error_position = spi_int64(0, ERROR_POSITION, 0);
	progress->last_error = spi_text(0, LAST_ERROR, context);
	MemoryContextSwitchTo(context);
	beside->names = to_names(DatumGetArrayTypeP(spi_copy(0, TABLES_BESIDE, context, &isnull)),
							 &count);
	beside->redirect.named = to_oids(DatumGetArrayTypeP(spi_copy(0, NAMED, context, &isnull)),
									 &beside->redirect.count);
	beside->redirect.meant = to_oids(DatumGetArrayTypeP(spi_copy(0, MEANT, context, &isnull)),
									 &count);
	spi_end();
	return true;
}

static Oid *
to_oids(ArrayType *array, int *count)
{
	Datum	   *values;
	Oid		   *oids;

	deconstruct_array(array, OIDOID, sizeof(Oid), true, TYPALIGN_INT, &values, NULL, count);
	oids = palloc(sizeof(Oid) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
		oids[i] = DatumGetObjectId(values[i]);
	return oids;
}

static char **
to_names(ArrayType *array, int *count)
{
	Datum	   *values;
	char	  **names;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, count);
	names = palloc(sizeof(char *) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
		names[i] = TextDatumGetCString(values[i]);
	return names;
}

/*
 * Locks a projection's rebuild until the transaction ends and reads it.  False if there
 * is none, or without wait if somebody else is at it.
 */
bool
beside_lock(const Projection *projection, bool wait, Beside *beside)
{
	static SpiStatement lock_waiting = {
		"SELECT FROM event_store.projection_rebuild WHERE name = $1 FOR UPDATE"
	};
	static SpiStatement lock_skipping = {
		"SELECT FROM event_store.projection_rebuild WHERE name = $1 FOR UPDATE SKIP LOCKED"
	};
	Datum		name = CStringGetTextDatum(projection->name);

	return spi_execute(wait ? &lock_waiting : &lock_skipping, 1, (Oid[]) {TEXTOID}, &name,
					   NULL) == 1 &&
		   beside_read(projection, beside);
}

/*
 * Writes a row that was locked.
 */
void
beside_write(const Projection *projection, const Beside *beside)
{
	static SpiStatement update = {
		"UPDATE event_store.projection_rebuild SET checkpoint = $2, failed = $3, failures = $4,"
		" retry_at = $5, error_position = $6, last_error = $7, updated_at = clock_timestamp()"
		" WHERE name = $1"
	};
	static const Oid types[] = {TEXTOID, INT8OID, BOOLOID, INT4OID, TIMESTAMPTZOID, INT8OID,
	TEXTOID};
	const ProjectionProgress *progress = &beside->progress;
	Datum		values[] = {
		CStringGetTextDatum(projection->name), Int64GetDatum(progress->checkpoint),
		BoolGetDatum(progress->failed), Int32GetDatum(progress->failures),
		TimestampTzGetDatum(progress->retry_at), Int64GetDatum(progress->error_position),
		progress->last_error == NULL ? (Datum) 0 : CStringGetTextDatum(progress->last_error)
	};
	char		nulls[] = "       ";

	nulls[4] = progress->retry_at == 0 ? 'n' : ' ';
	nulls[5] = progress->error_position == 0 ? 'n' : ' ';
	nulls[6] = progress->last_error == NULL ? 'n' : ' ';
	spi_execute(&update, lengthof(types), types, values, nulls);
}

/*
 * Leaves out the event that a rebuild fails at; false if it does not fail there.
 */
bool
beside_skip(const Projection *projection, int64 position)
{
	Beside		beside;

	if (!beside_lock(projection, true, &beside) || beside.progress.error_position != position)
		return false;
	beside.progress.checkpoint = position;
	progress_forget_error(&beside.progress);
	beside_write(projection, &beside);
	return true;
}

/*
 * Ends a rebuild and drops the tables beside; false if there is none.
 */
bool
beside_cancel(Projection *projection)
{
	Beside		beside;
	List	   *statements = NIL;

	if (!beside_lock(projection, true, &beside))
		return false;
	for (int i = 0; i < beside.redirect.count; i++)
		statements = lappend(statements, psprintf("DROP TABLE IF EXISTS %s", beside.names[i]));
	run_as_owner(projection, statements);
	remove_row(projection);
	return true;
}

/*
 * Makes tables beside, of these names; *beside is as it has been read then.
 */
void
beside_make(Projection *projection, text *names, Beside *beside)
{
	static SpiStatement start = {
		"INSERT INTO event_store.projection_rebuild (name, beside)"
		" SELECT p.name, event_store._beside_names(p.tables, $2) FROM event_store.projection p"
		" WHERE p.name = $1"
	};
	static SpiStatement check = {
		"SELECT event_store._check_beside(p.owner, t.name::regclass)"
		" FROM event_store.projection p CROSS JOIN unnest(p.tables) t (name) WHERE p.name = $1"
	};
	Datum		values[2] = {CStringGetTextDatum(projection->name), PointerGetDatum(names)};

	lock_rebuild(projection);
	spi_execute_latest(&check, 1, (Oid[]) {TEXTOID}, values, NULL);
	spi_execute(&start, 2, (Oid[]) {TEXTOID, TEXTOID}, values, NULL);
	run_as_owner(projection,
				 list_statements("SELECT d.statement FROM event_store.projection p"
								 " JOIN event_store.projection_rebuild r ON r.name = p.name"
								 " CROSS JOIN unnest(p.tables, r.beside) t (live, beside)"
								 " CROSS JOIN event_store._beside_definition(t.live::regclass, t.beside)"
								 " WITH ORDINALITY d (statement, n) WHERE p.name = $1"
								 " ORDER BY t.beside, d.n",
								 1, (Oid[]){TEXTOID}, values));
	if (!beside_read(projection, beside))
		elog(ERROR, "the rebuild of projection \"%s\" is not there", projection->name);
}

/*
 * Makes the projection's tables have the rows of those beside, and drops these.  Of a
 * stream only, the rows that are there are put in and none goes.
 */
void
beside_bring_over(Projection *projection, const Beside *beside, bool stream_only)
{
	static const char swap[] = "SELECT event_store._beside_swap(ARRAY(SELECT t.name::regclass"
							   " FROM unnest(p.tables) WITH ORDINALITY t (name, n) ORDER BY t.n), r.beside, $2)"
							   " FROM event_store.projection p JOIN event_store.projection_rebuild r ON r.name = p.name"
							   " WHERE p.name = $1";
	Datum		values[2] = {CStringGetTextDatum(projection->name), BoolGetDatum(stream_only)};
	List	   *statements = NIL;

	check_tables(projection, beside);
	/* Whoever looks at them would make us wait after all the work. */
	for (int i = 0; i < beside->redirect.count; i++)
		statements = lappend(statements, psprintf("LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT",
												  beside->names[i]));
	statements = list_concat(statements,
							 list_statements(swap, 2, (Oid[]) {TEXTOID, BOOLOID}, values));
	for (int i = 0; i < beside->redirect.count; i++)
		statements = lappend(statements, psprintf("DROP TABLE %s", beside->names[i]));
	if (DEBUG_BREAK("swap_by_truncate"))
		statements = lcons(psprintf("TRUNCATE %s", projection->tables), statements);
	limit_set(PG_INT32_MAX);
	limit_next_piece();
	run_as_owner(projection, statements);
	remove_row(projection);
}

/*
 * Somebody may have dropped one since.
 */
static void
check_tables(const Projection *projection, const Beside *beside)
{
	for (int i = 0; i < beside->redirect.count; i++)
	{
		if (OidIsValid(beside->redirect.named[i]) && OidIsValid(beside->redirect.meant[i]))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table %s or the one beside it, %s, does not exist", projection->tables,
						beside->names[i]),
				 errhint("SELECT event_store.cancel_rebuild('%s') ends the rebuild.",
						 projection->name)));
	}
}

static void
remove_row(const Projection *projection)
{
	static SpiStatement remove = {"DELETE FROM event_store.projection_rebuild WHERE name = $1"};
	Datum		name = CStringGetTextDatum(projection->name);

	lock_rebuild(projection);
	spi_execute(&remove, 1, (Oid[]) {TEXTOID}, &name, NULL);
}

static void
lock_rebuild(const Projection *projection)
{
	uint32		key = position_key(projection->name, (int) strlen(projection->name));

	(void) lock_take(LOCK_REBUILD, key, 0, ExclusiveLock, true);
	AcceptInvalidationMessages();
}

/*
 * The statements that a query comes to, in its order, in the current memory context.
 */
static List *
list_statements(const char *query, int nargs, const Oid *types, const Datum *values)
{
	MemoryContext context = CurrentMemoryContext;
	SpiStatement statement = {query};
	List	   *statements = NIL;
	uint64		count;

	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(&statement, nargs, types, values, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		char	   *text = spi_text(i, 0, context);
		MemoryContext old = MemoryContextSwitchTo(context);

		statements = lappend(statements, text);
		MemoryContextSwitchTo(old);
	}
	spi_end();
	return statements;
}

static void
run_as_owner(Projection *projection, List *statements)
{
	Rights		before;
	ListCell   *cell;

	rights_take(registration_owner(&projection->registration), &before);
	spi_begin(SPI_AS_CALLER);
	foreach(cell, statements)
		spi_command(lfirst(cell));
	spi_end();
	rights_give_back(&before);
}
