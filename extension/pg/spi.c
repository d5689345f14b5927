/*
 * spi.c
 *		The only door to SPI: checked, parameterised, plans saved per backend.
 *
 * spi_begin() and spi_end() nest.  Between them the search path is pg_catalog
 * alone and, with SPI_AS_OWNER, the current user is the extension's owner; an
 * error unwinds both, because they hang on the (sub)transaction.  There is a snapshot
 * all the time, also where the caller has none, as in a procedure that waits: what a
 * result has in TOAST can be fetched until spi_end().
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#include "pg/callbacks.h"
#include "pg/relation.h"
#include "pg/rights.h"
#include "pg/spi.h"

/* What functions are pinned to in SQL; then there is nothing left to do. */
#define PINNED_SEARCH_PATH "pg_catalog, pg_temp"

typedef struct SpiFrame
{
	Identity	caller;
	int			guc_level;
	bool		own_snapshot;
} SpiFrame;

/*
 * Frames live in each level's SPI procedure context, which the abort of a
 * (sub)transaction frees; the list head is found again from there.
 */
typedef struct SpiLevel
{
	SpiFrame	frame;
	struct SpiLevel *outer;
	MemoryContextCallback on_free;
} SpiLevel;

/* Rows that a cursor brings at a time. */
#define CURSOR_PORTION 1000

struct SpiCursor
{
	Portal		portal;
	TupleTableSlot *slot;
	uint64		next;
	uint64		count;
};

static SpiLevel *innermost = NULL;
static uint64 relation_changes = 1;

static void check_tables(SpiStatement *statement);
static void count_change(Oid relation);
static void prepare(SpiStatement *statement, int nargs, const Oid *types);

static void
level_freed(void *arg)
{
	SpiLevel   *level = (SpiLevel *) arg;

	/* After an error several may go at once, in any order. */
	for (SpiLevel **link = &innermost; *link != NULL; link = &(*link)->outer)
	{
		if (*link == level)
		{
			*link = level->outer;
			break;
		}
	}
}

/*
 * Connects.  Pins the search path and takes on the rights asked for until
 * spi_end().  Results live in the SPI context: copy out what must stay.
 */
void
spi_begin(SpiRights rights)
{
	SpiLevel   *level;
	Oid			owner = rights == SPI_AS_OWNER ? extension_owner() : InvalidOid;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	level = (SpiLevel *) palloc0(sizeof(SpiLevel));
	level->outer = innermost;
	level->on_free.func = level_freed;
	level->on_free.arg = level;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &level->on_free);
	innermost = level;

	level->frame.own_snapshot = !ActiveSnapshotSet();
	if (level->frame.own_snapshot)
		PushActiveSnapshot(GetLatestSnapshot());
	level->frame.guc_level = -1;
	if (strcmp(namespace_search_path, PINNED_SEARCH_PATH) != 0)
	{
		level->frame.guc_level = NewGUCNestLevel();
		(void) set_config_option("search_path", PINNED_SEARCH_PATH, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	}
	if (rights == SPI_AS_OWNER)
		rights_become(owner, SECURITY_NOFORCE_RLS, &level->frame.caller);
	else
		GetUserIdAndSecContext(&level->frame.caller.user, &level->frame.caller.security);
}

/*
 * Gives rights and search path back and disconnects.
 */
void
spi_end(void)
{
	SpiFrame	frame;

	if (innermost == NULL)
		elog(ERROR, "spi_end without spi_begin");
	frame = innermost->frame;
	if (frame.own_snapshot)
		PopActiveSnapshot();
	rights_become_again(&frame.caller);
	if (frame.guc_level >= 0)
		AtEOXact_GUC(false, frame.guc_level);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}

/*
 * Runs a statement, planned at its first use in this backend.  Returns the
 * number of rows it gave or touched.  nulls as for SPI_execute_plan, NULL
 * when there is none.
 */
uint64
spi_run(SpiStatement *statement, int nargs, const Oid *types,
		const Datum *values, const char *nulls)
{
	int			code;

	prepare(statement, nargs, types);
	code = SPI_execute_plan(statement->plan, (Datum *) values, nulls, false, 0);
	if (code < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(code));
	return SPI_processed;
}

/*
 * Runs a statement of which no row is read, as the extension's owner, outside of
 * spi_begin() and spi_end(); the number of rows is still told.
 */
uint64
spi_execute(SpiStatement *statement, int nargs, const Oid *types,
			const Datum *values, const char *nulls)
{
	uint64		count;

	spi_begin(SPI_AS_OWNER);
	count = spi_run(statement, nargs, types, values, nulls);
	spi_end();
	return count;
}

uint64
spi_execute_latest(SpiStatement *statement, int nargs, const Oid *types,
				   const Datum *values, const char *nulls)
{
	uint64		count;

	spi_begin(SPI_AS_OWNER);
	count = spi_run_latest(statement, nargs, types, values, nulls);
	spi_end();
	return count;
}

/*
 * Runs a command once, with the rights that spi_begin() took on.
 */
void
spi_command(const char *sql)
{
	int			code = SPI_execute(sql, false, 0);

	if (code < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(code));
}

/*
 * Plans a statement at its first use, and looks at its tables again whenever
 * some relation has changed.
 */
static void
prepare(SpiStatement *statement, int nargs, const Oid *types)
{
	SPIPlanPtr	plan;

	if (likely(statement->plan != NULL && statement->checked == relation_changes))
		return;
	if (statement->plan != NULL)
	{
		check_tables(statement);
		return;
	}
	plan = SPI_prepare(statement->sql, nargs, (Oid *) types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	statement->plan = plan;
	check_tables(statement);
}

static void
check_tables(SpiStatement *statement)
{
	static bool watching = false;
	uint64		changes;
	ListCell   *source;
	ListCell   *relation;

	if (!watching)
		callback_on_relation(count_change);
	watching = true;
	changes = relation_changes;
	foreach(source, SPI_plan_get_plan_sources(statement->plan))
	{
		foreach(relation, ((CachedPlanSource *) lfirst(source))->relationOids)
			extension_refuse_policies(lfirst_oid(relation));
	}
	statement->checked = changes;
}

static void
count_change(Oid relation)
{
	relation_changes++;
}

/*
 * Opens a read-only query as the extension's owner, under the given snapshot.
 * Connects to SPI until spi_cursor_close().
 */
SpiCursor *
spi_cursor_open(SpiStatement *statement, int nargs, const Oid *types,
				const Datum *values, const char *nulls, Snapshot snapshot)
{
	SpiCursor  *cursor;

	spi_begin(SPI_AS_OWNER);
	prepare(statement, nargs, types);
	cursor = palloc0(sizeof(SpiCursor));
	PushActiveSnapshot(snapshot);
	cursor->portal = SPI_cursor_open(NULL, statement->plan, (Datum *) values, nulls, true);
	PopActiveSnapshot();
	/* The privileges have been checked: what the caller does between rows is his own. */
	rights_become_again(&innermost->frame.caller);
	if (cursor->portal == NULL)
		elog(ERROR, "SPI_cursor_open failed: %s", SPI_result_code_string(SPI_result));
	return cursor;
}

/*
 * The next row, NULL at the end.  Valid until the next call.
 */
TupleTableSlot *
spi_cursor_next(SpiCursor *cursor)
{
	if (cursor->next == cursor->count)
	{
		if (SPI_tuptable != NULL)
			SPI_freetuptable(SPI_tuptable);
		SPI_cursor_fetch(cursor->portal, true, CURSOR_PORTION);
		cursor->next = 0;
		cursor->count = SPI_processed;
		if (cursor->count == 0)
			return NULL;
		if (cursor->slot == NULL)
			cursor->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(SPI_tuptable->tupdesc),
													&TTSOpsHeapTuple);
	}
	ExecStoreHeapTuple(SPI_tuptable->vals[cursor->next++], cursor->slot, false);
	return cursor->slot;
}

void
spi_cursor_close(SpiCursor *cursor)
{
	SPI_cursor_close(cursor->portal);
	spi_end();
}

/*
 * The same, but the statement sees what is committed now, even under
 * REPEATABLE READ.
 */
uint64
spi_run_latest(SpiStatement *statement, int nargs, const Oid *types,
			   const Datum *values, const char *nulls)
{
	int			code;

	prepare(statement, nargs, types);
	code = SPI_execute_snapshot(statement->plan, (Datum *) values, nulls, GetLatestSnapshot(),
								InvalidSnapshot, false, true, 0);
	if (code < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(code));
	return SPI_processed;
}

/*
 * A value of the last result; rows and columns count from 0.
 */
Datum
spi_value(uint64 row, int column, bool *isnull)
{
	if (SPI_tuptable == NULL || row >= SPI_tuptable->numvals ||
		column >= SPI_tuptable->tupdesc->natts)
		elog(ERROR, "no value at row " UINT64_FORMAT ", column %d", row, column);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column + 1, isnull);
}

int64
spi_int64(uint64 row, int column, int64 if_null)
{
	bool		isnull;
	Datum		value = spi_value(row, column, &isnull);

	return isnull ? if_null : DatumGetInt64(value);
}

int32
spi_int32(uint64 row, int column, int32 if_null)
{
	bool		isnull;
	Datum		value = spi_value(row, column, &isnull);

	return isnull ? if_null : DatumGetInt32(value);
}

bool
spi_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = spi_value(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

/*
 * A text value as a C string in the given context, NULL for null.
 */
char *
spi_text(uint64 row, int column, MemoryContext context)
{
	bool		isnull;
	Datum		value = spi_value(row, column, &isnull);
	MemoryContext old;
	char	   *result;

	if (isnull)
		return NULL;
	old = MemoryContextSwitchTo(context);
	result = TextDatumGetCString(value);
	MemoryContextSwitchTo(old);
	return result;
}

/*
 * A value of any type, copied to the given context as a whole, from TOAST too.
 */
Datum
spi_copy(uint64 row, int column, MemoryContext context, bool *isnull)
{
	Datum		value = spi_value(row, column, isnull);
	Form_pg_attribute attribute = TupleDescAttr(SPI_tuptable->tupdesc, column);
	MemoryContext old;

	if (*isnull)
		return (Datum) 0;
	old = MemoryContextSwitchTo(context);
	if (attribute->attlen == -1)
		value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	else
		value = datumCopy(value, attribute->attbyval, attribute->attlen);
	MemoryContextSwitchTo(old);
	return value;
}

/*
 * Commits the transaction of a procedure that was called at top level and
 * starts the next one, which holds no snapshot yet.
 */
void
spi_commit_transaction(void)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	SPI_commit();
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}
