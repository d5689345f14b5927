/*
 * restore.c
 *		While a dump is being restored into this database.
 *
 * A dump fills our tables one after the other, each in a transaction of its own,
 * perhaps several at once, in any order, while the server runs.  In between
 * they contradict each other: messages without their cursors, counters ahead of
 * what they count, timers of sagas without definitions.  Whoever acted on that,
 * or remembered it, would lose something.  Hence one rule:
 *
 *		A session that fills a table of the extension from outside, with COPY or
 *		INSERT, is noted before its first row.  As long as a session is noted no
 *		duty of a worker runs, receive and fetch give nothing, and nobody else
 *		writes.  When the last has gone, what was loaded from tables into shared
 *		memory or a worker counts no more.
 *
 * A statement trigger on every table that is dumped does the noting (_note_restore).
 * It also invalidates the relation cache in all backends when its transaction has
 * committed, because COPY does not: so no cache stays filled from half a restore.
 * The extension's own writers are not "outside": they do not run as a top-level
 * COPY or INSERT into one of these tables.
 *
 * Lock protocol: the note is an atomic in the slot of the backend, counted in the
 * entry of the database.  Raise the count, then wait for who holds the extension:
 * a worker's transaction holds it (extension_begin_transaction()) and looks at the
 * count afterwards, so no such transaction overlaps the filling.  Others look
 * before and after they have read.  At the end: raise the generation, then
 * lower the count; so who sees no restore sees the generation that follows it.
 *
 * A crash ends all sessions, and everything is loaded anew anyway.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/inval.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "log/registry.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "pg/relation.h"
#include "pg/result.h"

static bool exit_callback_registered = false;
/* The transaction in which this session was noted. */
static LocalTransactionId noted_in = InvalidLocalTransactionId;

static void note_session(void);
static void wait_for_workers(void);
static bool end_note(RegistrySlot *slot);
static void end_own_note(void);
static void wake_everybody(RegistryDatabase *database);
static bool fills(Oid relation);
static bool statement_fills(PlannedStmt *statement, Oid relation);
static bool statement_writes(void);
static void leave(int code, Datum arg);

/*
 * Tells the layer below.  From _PG_init.
 */
void
restore_init(void)
{
	extension_is_restored = restore_goes_on;
}

/*
 * Rises whenever a restore has ended; never 0.  What was loaded under another
 * number must be loaded again.
 */
uint32
restore_generation(void)
{
	return pg_atomic_read_u32(&registry_my_database()->restores) + 1;
}

/*
 * Whether some session fills our tables.  One that did so itself in an earlier
 * transaction, and now uses them, has finished.
 */
bool
restore_goes_on(void)
{
	RegistryDatabase *database = registry_my_database();

	if (likely(pg_atomic_read_u32(&database->restorers) == 0))
		return false;
	end_own_note();
	return pg_atomic_read_u32(&database->restorers) != 0;
}

/*
 * Fails while another session fills our tables: what is written meanwhile would
 * take numbers that the dump brings along.
 */
void
restore_refuse_writing(void)
{
	RegistryDatabase *database = registry_my_database();

	if (likely(!restore_goes_on()))
		return;
	if (pg_atomic_read_u32(&registry_slot(MyBackendSlot())->restoring) == MyDatabaseId &&
		pg_atomic_read_u32(&database->restorers) == 1)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("the tables of extension \"ecommerce\" are being restored"),
			 errdetail("Sessions that restore them are in the view ecommerce.restores."),
			 errhint("Try again when the restore has ended. If it has, type SELECT ecommerce.restore_done().")));
}

/*
 * Fails if a restore has begun since the caller saw that none goes on, under this
 * generation: then what he has read may be half of something.
 */
void
restore_check_unchanged(uint32 generation)
{
	if (likely(pg_atomic_read_u32(&registry_my_database()->restorers) == 0 &&
			   restore_generation() == generation))
		return;
	/* Only we ourselves? */
	if (restore_generation() == generation &&
		pg_atomic_read_u32(&registry_slot(MyBackendSlot())->restoring) == MyDatabaseId &&
		pg_atomic_read_u32(&registry_my_database()->restorers) == 1)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the tables of extension \"ecommerce\" have been restored meanwhile"),
			 errhint("Begin the transaction again.")));
}

PG_FUNCTION_INFO_V1(ecommerce_note_restore);
/*
 * ecommerce._note_restore(), a trigger before statements that insert.
 */
Datum
ecommerce_note_restore(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("ecommerce._note_restore() is a trigger")));
	if (fills(RelationGetRelid(trigger->tg_relation)))
	{
		note_session();
		CacheInvalidateRelcacheAll();
	}
	PG_RETURN_POINTER(NULL);
}

/*
 * Whether the statement that this session runs fills a relation: none of our
 * functions does so that way, nor does the script of CREATE EXTENSION.
 */
static bool
fills(Oid relation)
{
	ListCell   *cell;

	if (creating_extension || ActivePortal == NULL)
		return false;
	foreach(cell, ActivePortal->stmts)
	{
		if (statement_fills(lfirst_node(PlannedStmt, cell), relation))
			return true;
	}
	return false;
}

static bool
statement_fills(PlannedStmt *statement, Oid relation)
{
	ListCell   *cell;

	if (statement->utilityStmt != NULL)
	{
		CopyStmt   *copy = (CopyStmt *) statement->utilityStmt;

		return IsA(copy, CopyStmt) && copy->is_from && copy->relation != NULL &&
			RangeVarGetRelid(copy->relation, NoLock, true) == relation;
	}
	if (statement->commandType != CMD_INSERT)
		return false;
	foreach(cell, statement->resultRelations)
	{
		if (rt_fetch(lfirst_int(cell), statement->rtable)->relid == relation)
			return true;
	}
	return false;
}

/*
 * Whether the session's statement is a COPY or an INSERT, as in a dump; a trigger
 * on a table that is restored is no sign that the restore has ended.
 */
static bool
statement_writes(void)
{
	return ActivePortal != NULL &&
		(ActivePortal->commandTag == CMDTAG_COPY || ActivePortal->commandTag == CMDTAG_INSERT);
}

static void
note_session(void)
{
	RegistryDatabase *database = registry_my_database();
	RegistrySlot *slot = registry_slot(MyBackendSlot());

	noted_in = compat_local_transaction();
	if (pg_atomic_read_u32(&slot->restoring) != InvalidOid)
		return;
	if (!exit_callback_registered)
	{
		/* Runs when what was not committed has been rolled back. */
		on_shmem_exit(leave, (Datum) 0);
		exit_callback_registered = true;
	}
	slot->restoring_since = GetCurrentTimestamp();
	pg_atomic_fetch_add_u32(&database->restorers, 1);
	pg_atomic_write_u32(&slot->restoring, MyDatabaseId);
	pg_memory_barrier();
	ereport(LOG,
			(errmsg("tables of extension \"ecommerce\" are being restored"),
			 errdetail("Workers wait, and nothing is received or fetched, until this session ends.")));
	wait_for_workers();
}

/*
 * Who began before the note was there holds the extension until his transaction
 * ends.
 */
static void
wait_for_workers(void)
{
	Oid			extension = get_extension_oid("ecommerce", true);

	if (!OidIsValid(extension))
		return;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessExclusiveLock);
	UnlockDatabaseObject(ExtensionRelationId, extension, 0, AccessExclusiveLock);
}

/*
 * Takes a session's note back; false if it has none of this database.
 */
static bool
end_note(RegistrySlot *slot)
{
	RegistryDatabase *database = registry_my_database();
	uint32		expected = MyDatabaseId;

	if (!pg_atomic_compare_exchange_u32(&slot->restoring, &expected, InvalidOid))
		return false;
	pg_atomic_fetch_add_u32(&database->restores, 1);
	if (pg_atomic_sub_fetch_u32(&database->restorers, 1) == 0)
		wake_everybody(database);
	return true;
}

static void
end_own_note(void)
{
	if (compat_local_transaction() != noted_in && !statement_writes())
		(void) end_note(registry_slot(MyBackendSlot()));
}

/*
 * Everything may have changed for who waits or sleeps.
 */
static void
wake_everybody(RegistryDatabase *database)
{
	Registry   *r = registry();

	for (int i = 0; i < r->slot_count; i++)
	{
		if (pg_atomic_read_u32(&registry_slot(i)->wait_database) == MyDatabaseId)
			SetLatch(&BackendSlotProc(i)->procLatch);
	}
	for (int kind = 0; kind < WORKER_KINDS; kind++)
	{
		uint32		slot = pg_atomic_read_u32(&database->workers[kind].slot);

		if (slot != 0)
			SetLatch(&BackendSlotProc(slot - 1)->procLatch);
		else if (kind == WORKER_MAIN)
			wakeup_worker(WAKE_FOR_ANYTHING);
	}
}

static void
leave(int code, Datum arg)
{
	(void) end_note(registry_slot(MyBackendSlot()));
}

PG_FUNCTION_INFO_V1(ecommerce_restore_done);
/*
 * ecommerce.restore_done(pid)
 */
Datum
ecommerce_restore_done(PG_FUNCTION_ARGS)
{
	Registry   *r = registry();
	int			count = 0;

	for (int i = 0; i < r->slot_count; i++)
	{
		if (PG_ARGISNULL(0) || BackendSlotProc(i)->pid == PG_GETARG_INT32(0))
			count += end_note(registry_slot(i));
	}
	PG_RETURN_INT32(count);
}

PG_FUNCTION_INFO_V1(ecommerce_restoring_sessions);
/*
 * ecommerce._restoring_sessions()
 */
Datum
ecommerce_restoring_sessions(PG_FUNCTION_ARGS)
{
	SetResult	result;
	Registry   *r = registry();

	result_begin(fcinfo, &result);
	for (int i = 0; i < r->slot_count; i++)
	{
		RegistrySlot *slot = registry_slot(i);
		Datum		values[2] = {Int32GetDatum(BackendSlotProc(i)->pid),
		TimestampTzGetDatum(slot->restoring_since)};
		bool		nulls[2] = {false, false};

		if (pg_atomic_read_u32(&slot->restoring) == MyDatabaseId)
			result_put(&result, values, nulls);
	}
	return (Datum) 0;
}
