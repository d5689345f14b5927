/*
 * writer.c
 *		The one writer of our own tables.
 *
 * An append spends most of its time in heap and index insertion; planning and
 * starting an executor for one row would double it.  So rows go to the table
 * and all of its indexes directly, where INSERT, UPDATE or DELETE would do
 * nothing beyond that; writer_shape.c knows.  Else the executor gets them, one
 * statement per row in the owner's name.  CHECK constraints and expressions of
 * indexes are evaluated here.  Privileges are those of the function that was
 * called.
 *
 * An index is entered into as soon as it says that it is ready, also while it
 * is being built or replaced concurrently and nobody reads it yet.
 *
 * Lock protocol: a writer's locks on table and indexes stay until the
 * transaction ends; a reader's go when it closes.
 *
 * A crash leaves what any INSERT, UPDATE or DELETE of an open transaction leaves.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "pg/spi.h"
#include "pg/writer.h"
#include "pg/writer_shape.h"

/* So many pins of one descriptor a resource owner still keeps as a list. */
#define FEW_SLOTS 32

/* A table's statements for the executor, planned once per backend. */
typedef struct WriterStatements
{
	ExtensionRelation *table;
	SpiStatement statements[WRITER_COMMANDS];
	Oid		   *types;			/* a tid, then the columns */
	struct WriterStatements *next;
} WriterStatements;

static WriterStatements *all_statements = NULL;

static Relation open_index(Writer *writer, int number);
static void fill_row(Writer *writer, const Datum *values, const bool *nulls);
static void replace_row(Writer *writer, ItemPointer tid);
static void delete_row(Writer *writer, ItemPointer tid);
static void store_row(Writer *writer, TupleTableSlot *row);
static bool goes_direct(Writer *writer, WriterCommand command);
static void check_row(Writer *writer, TupleTableSlot *row);
static bool enter_into_indexes(Writer *writer, TupleTableSlot *row, Oid may_conflict,
							   CompatUpdateIndexes which);
static void use_executor(Writer *writer, WriterCommand command, ItemPointer tid,
						 TupleTableSlot *row);
static WriterStatements *statements_for(ExtensionRelation *table);
static char *build_statement(ExtensionRelation *table, WriterCommand command);

/*
 * Opens a table; its indexes are opened when they are needed.  In the current
 * memory context.
 */
Writer *
writer_open(ExtensionRelation *table, LOCKMODE lockmode)
{
	Writer	   *writer;
	Relation	heap = extension_table_open(table, lockmode);
	WriterShape *shape = writer_shape(table, heap);
	Size		room;

	room = sizeof(Writer) + shape->index_count * (sizeof(Relation) + sizeof(void *));
	writer = palloc0(room);
	writer->heap = heap;
	writer->table = table;
	writer->lockmode = lockmode;
	writer->context = CurrentMemoryContext;
	writer->shape = shape;
	writer->indexes = (Relation *) (writer + 1);
	writer->index_states = (void **) (writer->indexes + shape->index_count);
	shape->users++;
	return writer;
}

/*
 * Closes what writer_open() opened.  A reader's locks go at once, a writer's stay
 * until the transaction ends.
 */
void
writer_close(Writer *writer)
{
	LOCKMODE	lockmode = writer->lockmode == AccessShareLock ? AccessShareLock : NoLock;

	for (int i = 0; i < writer->shape->index_count; i++)
	{
		if (writer->indexes[i] == NULL)
			continue;
		if (writer->index_states[i] != NULL)
		{
			writer->shape->infos[i]->ii_AmCache = writer->index_states[i];
			compat_index_insert_cleanup(writer->indexes[i], writer->shape->infos[i]);
		}
		index_close(writer->indexes[i], lockmode);
	}
	if (writer->row != NULL)
		ExecDropSingleTupleTableSlot(writer->row);
	if (writer->slot != NULL)
		ExecDropSingleTupleTableSlot(writer->slot);
	table_close(writer->heap, lockmode);
	writer->shape->users--;
	pfree(writer);
}

/*
 * Closes a table that nothing was written to, and gives its lock back.
 */
void
writer_cancel(Writer *writer)
{
	Oid			relation = RelationGetRelid(writer->heap);
	LOCKMODE	lockmode = writer->lockmode;

	writer_close(writer);
	if (lockmode != AccessShareLock)
		UnlockRelationOid(relation, lockmode);
}

/*
 * The opened relation of one of the table's indexes.
 */
Relation
writer_index(Writer *writer, ExtensionRelation *index)
{
	Oid			wanted = extension_relation_oid(index);

	for (int i = 0; i < writer->shape->index_count; i++)
	{
		if (writer->shape->indexes[i] == wanted)
			return open_index(writer, i);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("index \"%s.%s\" does not belong to table \"%s.%s\"",
					index->schema, index->name, writer->table->schema, writer->table->name),
			 errhint("Make the index again as the extension makes it.")));
}

static Relation
open_index(Writer *writer, int number)
{
	if (writer->indexes[number] == NULL)
		writer->indexes[number] = index_open(writer->shape->indexes[number], writer->lockmode);
	return writer->indexes[number];
}

/*
 * A slot to scan the table with.
 */
TupleTableSlot *
writer_slot(Writer *writer)
{
	if (writer->slot == NULL)
		writer->slot = table_slot_create(writer->heap, NULL);
	return writer->slot;
}

/* ---------------------------------------------------------------- rows */

/*
 * An empty row to fill: our columns are marked as not null, others are null.
 */
TupleTableSlot *
writer_new_row(Writer *writer)
{
	TupleDesc	descriptor = RelationGetDescr(writer->heap);
	int			ours = writer->table->column_count;

	if (writer->row == NULL)
		writer->row = MakeSingleTupleTableSlot(descriptor, &TTSOpsVirtual);
	else
		ExecClearTuple(writer->row);
	memset(writer->row->tts_isnull, false, sizeof(bool) * ours);
	for (int i = ours; i < descriptor->natts; i++)
	{
		writer->row->tts_values[i] = (Datum) 0;
		writer->row->tts_isnull[i] = true;
	}
	return writer->row;
}

/*
 * Inserts the row and enters it into every index; its place is in the row's
 * tts_tid.  A conflict in a unique index is an error, except in may_conflict (if
 * valid): there the row stands, false is returned, and the caller must find out
 * who else has the key and raise an error if that one lives.
 */
bool
writer_insert(Writer *writer, Oid may_conflict)
{
	TupleTableSlot *row = writer->row;

	ExecStoreVirtualTuple(row);
	if (unlikely(!goes_direct(writer, WRITE_INSERT)))
	{
		use_executor(writer, WRITE_INSERT, NULL, row);
		return true;
	}
	check_row(writer, row);
	store_row(writer, row);
	return enter_into_indexes(writer, row, may_conflict, COMPAT_UPDATES_ALL);
}

/*
 * Puts a row into the table, without nulls at its end.
 */
static void
store_row(Writer *writer, TupleTableSlot *row)
{
	const WriterShape *shape = writer->shape;
	TupleDesc	all = row->tts_tupleDescriptor;
	int			last = all->natts;

	if (shape->short_row != NULL)
	{
		while (last > shape->needed && row->tts_isnull[last - 1])
			last--;
		if (last == shape->needed)
			row->tts_tupleDescriptor = shape->short_row;
	}
	table_tuple_insert(writer->heap, row, GetCurrentCommandId(true), 0, NULL);
	row->tts_tupleDescriptor = all;
}

/*
 * Inserts rows, which have our columns and no others, in this order.
 */
void
writer_insert_tuples(Writer *writer, HeapTuple *rows, int count)
{
	bool		direct = goes_direct(writer, WRITE_INSERT);
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * count);
	TupleDesc	descriptor = RelationGetDescr(writer->heap);

	/* Of one descriptor that counts its references the resource owner finds many slowly. */
	if (count > FEW_SLOTS)
		descriptor = CreateTupleDescCopyConstr(descriptor);
	for (int i = 0; i < count; i++)
	{
		slots[i] = MakeSingleTupleTableSlot(descriptor, &TTSOpsHeapTuple);
		ExecStoreHeapTuple(rows[i], slots[i], false);
		if (direct)
			check_row(writer, slots[i]);
		else
			use_executor(writer, WRITE_INSERT, NULL, slots[i]);
	}
	if (direct && count == 1)
		table_tuple_insert(writer->heap, slots[0], GetCurrentCommandId(true), 0, NULL);
	else if (direct)
		table_multi_insert(writer->heap, slots, count, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < count; i++)
	{
		if (direct)
			(void) enter_into_indexes(writer, slots[i], InvalidOid, COMPAT_UPDATES_ALL);
		ExecDropSingleTupleTableSlot(slots[i]);
	}
	if (count > FEW_SLOTS)
		FreeTupleDesc(descriptor);
	pfree(slots);
}

/*
 * An expression that writes to its own table finds our evaluation state in use.
 */
static bool
goes_direct(Writer *writer, WriterCommand command)
{
	return writer->shape->direct[command] && !writer->shape->evaluating;
}

static void
check_row(Writer *writer, TupleTableSlot *row)
{
	WriterShape *shape = writer->shape;

	if (likely(shape->checks == NULL))
		return;
	shape->evaluating = true;
	shape->checks->ri_RelationDesc = writer->heap;
	ExecConstraints(shape->checks, row, shape->estate);
	ResetPerTupleExprContext(shape->estate);
	shape->evaluating = false;
}

/*
 * Enters a row into the indexes, all that are ready for it.
 */
static bool
enter_into_indexes(Writer *writer, TupleTableSlot *row, Oid may_conflict,
				   CompatUpdateIndexes which)
{
	WriterShape *shape = writer->shape;
	bool		unique = true;

	shape->evaluating = true;
	/* At once: each index would take the row apart a bit further. */
	slot_getsomeattrs(row, shape->last_indexed);
	for (int i = 0; i < shape->index_count; i++)
	{
		IndexInfo  *info = shape->infos[i];
		IndexUniqueCheck check = UNIQUE_CHECK_NO;
		Relation	index;
		Datum		values[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];

		if (!compat_updates_index(which, info))
			continue;
		if (info->ii_PredicateState != NULL || info->ii_ExpressionsState != NIL)
			GetPerTupleExprContext(shape->estate)->ecxt_scantuple = row;
		if (info->ii_PredicateState != NULL &&
			!ExecQual(info->ii_PredicateState, GetPerTupleExprContext(shape->estate)))
			continue;
		index = open_index(writer, i);
		/* Not from the info: it tells of the time when it was made. */
		if (!index->rd_index->indisready)
			continue;
		FormIndexDatum(info, row, shape->estate, values, nulls);
		/* The info outlives this call, what an index hangs on it does not. */
		info->ii_AmCache = writer->index_states[i];
		info->ii_Context = writer->context;
		if (info->ii_Unique)
			check =
				RelationGetRelid(index) == may_conflict ? UNIQUE_CHECK_PARTIAL : UNIQUE_CHECK_YES;
		if (!index_insert(index, values, nulls, &row->tts_tid, writer->heap, check, false, info) &&
			check == UNIQUE_CHECK_PARTIAL)
			unique = false;
		writer->index_states[i] = info->ii_AmCache;
	}
	ResetPerTupleExprContext(shape->estate);
	shape->evaluating = false;
	return unique;
}

/* ---------------------------------------------------------------- the executor's way */

/*
 * Runs a command for one row as a statement.  What a trigger or a rule keeps from
 * happening is an error: we go on as if it had happened.
 */
static void
use_executor(Writer *writer, WriterCommand command, ItemPointer tid, TupleTableSlot *row)
{
	static const char *const done[] = {"inserted into", "updated in", "deleted from"};
	ExtensionRelation *table = writer->table;
	WriterStatements *own = statements_for(table);
	int			first = command == WRITE_INSERT ? 1 : 0;
	int			count = row != NULL ? table->column_count : 0;
	Datum	   *values = palloc(sizeof(Datum) * (table->column_count + 1));
	char	   *nulls = palloc0(table->column_count + 2);
	uint64		rows;

	memset(nulls, ' ', table->column_count + 1);
	values[0] = PointerGetDatum(tid);
	if (row != NULL)
	{
		slot_getsomeattrs(row, count);
		for (int i = 0; i < count; i++)
		{
			values[i + 1] = row->tts_values[i];
			nulls[i + 1] = row->tts_isnull[i] ? 'n' : ' ';
		}
	}
	spi_begin(SPI_AS_OWNER);
	rows = spi_run_latest(&own->statements[command], count + 1 - first, own->types + first,
						  values + first, nulls + first);
	if (rows != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a row was not %s table \"%s.%s\"", done[command], table->schema,
						table->name),
				 errdetail("A trigger or a rule on the table has prevented it."),
				 errhint("Drop the trigger or the rule, or let it pass the rows of the extension.")));
	if (row != NULL && command == WRITE_INSERT)
	{
		bool		isnull;

		row->tts_tid = *(ItemPointer) DatumGetPointer(spi_value(0, 0, &isnull));
	}
	spi_end();
	pfree(values);
	pfree(nulls);
}

static WriterStatements *
statements_for(ExtensionRelation *table)
{
	WriterStatements *own;
	MemoryContext old;

	for (own = all_statements; own != NULL; own = own->next)
	{
		if (own->table == table)
			return own;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	own = palloc0(sizeof(WriterStatements));
	own->table = table;
	own->types = palloc(sizeof(Oid) * (table->column_count + 1));
	own->types[0] = TIDOID;
	for (int i = 0; i < table->column_count; i++)
		own->types[i + 1] = table->columns[i].type;
	for (int i = 0; i < WRITER_COMMANDS; i++)
		own->statements[i].sql = build_statement(table, i);
	MemoryContextSwitchTo(old);
	own->next = all_statements;
	all_statements = own;
	return own;
}

static char *
build_statement(ExtensionRelation *table, WriterCommand command)
{
	StringInfoData sql;
	const char *const separator[] = {"", ", "};

	initStringInfo(&sql);
	switch (command)
	{
		case WRITE_INSERT:
			appendStringInfo(&sql, "INSERT INTO %s.%s (", table->schema, table->name);
			for (int i = 0; i < table->column_count; i++)
				appendStringInfo(&sql, "%s%s", separator[i > 0],
								 quote_identifier(table->columns[i].name));
			appendStringInfoString(&sql, ") VALUES (");
			for (int i = 0; i < table->column_count; i++)
				appendStringInfo(&sql, "%s$%d", separator[i > 0], i + 1);
			appendStringInfoString(&sql, ") RETURNING ctid");
			break;
		case WRITE_UPDATE:
			appendStringInfo(&sql, "UPDATE %s.%s SET ", table->schema, table->name);
			for (int i = 0; i < table->column_count; i++)
				appendStringInfo(&sql, "%s%s = $%d", separator[i > 0],
								 quote_identifier(table->columns[i].name), i + 2);
			appendStringInfoString(&sql, " WHERE ctid = $1");
			break;
		case WRITE_DELETE:
			appendStringInfo(&sql, "DELETE FROM %s.%s WHERE ctid = $1",
							 table->schema, table->name);
			break;
	}
	return sql.data;
}

/* ---------------------------------------------------------------- at once */

/*
 * Inserts a row.
 */
void
table_insert(ExtensionRelation *table, const Datum *values, const bool *nulls)
{
	Writer	   *writer = writer_open(table, RowExclusiveLock);

	fill_row(writer, values, nulls);
	(void) writer_insert(writer, InvalidOid);
	writer_close(writer);
}

/*
 * Replaces the row at tid, which nobody else may be changing.
 */
void
table_update(ExtensionRelation *table, ItemPointer tid, const Datum *values, const bool *nulls)
{
	Writer	   *writer = writer_open(table, RowExclusiveLock);

	fill_row(writer, values, nulls);
	replace_row(writer, tid);
	writer_close(writer);
}

/*
 * Deletes the row at tid, which nobody else may be changing.
 */
void
table_delete(ExtensionRelation *table, ItemPointer tid)
{
	Writer	   *writer = writer_open(table, RowExclusiveLock);

	delete_row(writer, tid);
	writer_close(writer);
}

static void
replace_row(Writer *writer, ItemPointer tid)
{
	TupleTableSlot *row = writer->row;
	CompatUpdateIndexes which;

	ExecStoreVirtualTuple(row);
	if (!goes_direct(writer, WRITE_UPDATE))
	{
		use_executor(writer, WRITE_UPDATE, tid, row);
		return;
	}
	CheckCmdReplicaIdentity(writer->heap, CMD_UPDATE);
	check_row(writer, row);
	simple_table_tuple_update(writer->heap, tid, row, SnapshotSelf, &which);
	if (which != COMPAT_UPDATES_NONE)
		(void) enter_into_indexes(writer, row, InvalidOid, which);
}

static void
delete_row(Writer *writer, ItemPointer tid)
{
	if (!goes_direct(writer, WRITE_DELETE))
	{
		use_executor(writer, WRITE_DELETE, tid, NULL);
		return;
	}
	CheckCmdReplicaIdentity(writer->heap, CMD_DELETE);
	simple_table_tuple_delete(writer->heap, tid, SnapshotSelf);
}

static void
fill_row(Writer *writer, const Datum *values, const bool *nulls)
{
	TupleTableSlot *row = writer_new_row(writer);
	int			count = writer->table->column_count;

	memcpy(row->tts_values, values, sizeof(Datum) * count);
	memcpy(row->tts_isnull, nulls, sizeof(bool) * count);
}
