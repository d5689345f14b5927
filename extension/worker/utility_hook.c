/*
 * utility_hook.c
 *		Commands that concern the workers.
 *
 * A worker is connected to its database, and would make DROP DATABASE and the
 * like wait for seconds and fail.  So it is asked to leave first, and comes back
 * at the end of the transaction, if the database is still there.  After what can let a
 * worker into a database that refused it the launcher looks again.  After CREATE
 * or ALTER EXTENSION the worker is woken, or wanted; after ALTER DATABASE ... SET
 * it starts again, since settings of a database are read at the start, and so does one
 * that was just about to start.  Who ends a
 * prepared transaction does not know whom it would have woken: he wakes everybody.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "log/registry.h"
#include "log/wakeup.h"
#include "pg/callbacks.h"
#include "worker/worker.h"

/* Milliseconds to wait for a worker to leave; the command itself waits longer. */
#define LEAVE_TIMEOUT 3000

static ProcessUtility_hook_type previous_hook = NULL;
static List *emptied_databases = NIL;	/* in the transaction's memory */
static List *changed_databases = NIL;	/* likewise */
static bool rescan_wanted = false;
static bool callback_registered = false;

static bool is_our_extension(Node *statement);
static bool ends_prepared(Node *statement);
static bool changes_databases(Node *statement);
static const char *database_to_empty(Node *statement);
static void empty_database(const char *name);
static bool wake_processes(RegistryDatabase *database);
static void note_changed(const char *name);
static void restart_changed(void);
static void restart_worker(Oid oid);
static void transaction_ended(XactEvent event, void *arg);

static void
watch_utility(PlannedStmt *planned, const char *query, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
			  DestReceiver *destination, QueryCompletion *completion)
{
	Node	   *statement = planned->utilityStmt;
	const char *database = database_to_empty(statement);
	/* The statement may be gone when it has been run. */
	bool		concerns_us = is_our_extension(statement);
	bool		prepared = ends_prepared(statement);

	if (!callback_registered)
	{
		callback_on_transaction(transaction_ended);
		callback_registered = true;
	}
	if (database != NULL)
		empty_database(database);
	if (IsA(statement, AlterDatabaseSetStmt))
		note_changed(((AlterDatabaseSetStmt *) statement)->dbname);
	if (changes_databases(statement))
		rescan_wanted = true;
	if (previous_hook)
		previous_hook(planned, query, read_only_tree, context, params, environment,
					  destination, completion);
	else
		standard_ProcessUtility(planned, query, read_only_tree, context, params, environment,
								destination, completion);
	if (concerns_us)
		wakeup_worker_after_commit(WAKE_FOR_ANYTHING);
	if (prepared)
		wakeup_everybody();
}

/*
 * Installs the hook.  While libraries are preloaded.
 */
void
worker_install_utility_hook(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = watch_utility;
}

/*
 * Whether a statement installs or updates this extension.
 */
static bool
is_our_extension(Node *statement)
{
	if (IsA(statement, CreateExtensionStmt))
		return strcmp(((CreateExtensionStmt *) statement)->extname, "ecommerce") == 0;
	if (IsA(statement, AlterExtensionStmt))
		return strcmp(((AlterExtensionStmt *) statement)->extname, "ecommerce") == 0;
	return false;
}

static bool
ends_prepared(Node *statement)
{
	TransactionStmtKind kind;

	if (!IsA(statement, TransactionStmt))
		return false;
	kind = ((TransactionStmt *) statement)->kind;
	return kind == TRANS_STMT_COMMIT_PREPARED || kind == TRANS_STMT_ROLLBACK_PREPARED;
}

/*
 * Whether after a statement other databases may have workers than before it.
 */
static bool
changes_databases(Node *statement)
{
	RoleSpec   *role;

	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
			return true;
		case T_GrantStmt:
			return ((GrantStmt *) statement)->objtype == OBJECT_DATABASE;
		case T_AlterRoleStmt:
			role = ((AlterRoleStmt *) statement)->role;
			return role->roletype == ROLESPEC_CSTRING && strcmp(role->rolename, WORKER_ROLE) == 0;
		default:
			return false;
	}
}

/*
 * The database that nobody may be connected to for a command, NULL for others.
 */
static const char *
database_to_empty(Node *statement)
{
	ListCell   *cell;

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) statement)->dbname;
		case T_RenameStmt:
			return ((RenameStmt *) statement)->renameType == OBJECT_DATABASE
					   ? ((RenameStmt *) statement)->subname
					   : NULL;
		case T_AlterDatabaseStmt:
			foreach(cell, ((AlterDatabaseStmt *) statement)->options)
			{
				if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
					return ((AlterDatabaseStmt *) statement)->dbname;
			}
			return NULL;
		case T_CreatedbStmt:
			foreach(cell, ((CreatedbStmt *) statement)->options)
			{
				DefElem    *option = (DefElem *) lfirst(cell);

				if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
					return defGetString(option);
			}
			return NULL;
		default:
			return NULL;
	}
}

/*
 * Asks the worker of a database to leave and waits until it has.  Does nothing
 * for who does not own the database: his command is going to fail.
 */
static void
empty_database(const char *name)
{
	Oid			oid = get_database_oid(name, true);
	RegistryDatabase *database;
	MemoryContext old;
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LEAVE_TIMEOUT);

	if (!OidIsValid(oid) || oid == MyDatabaseId || !compat_owns_database(oid) ||
		(database = registry_database(oid, false)) == NULL)
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	emptied_databases = list_append_unique_oid(emptied_databases, oid);
	MemoryContextSwitchTo(old);
	pg_atomic_write_u32(&database->worker_stop, 1);
	while (GetCurrentTimestamp() < deadline && wake_processes(database))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Wakes the processes of a database; false if there are none.
 */
static bool
wake_processes(RegistryDatabase *database)
{
	bool		any = false;

	for (int kind = 0; kind < WORKER_KINDS; kind++)
	{
		uint32		slot = pg_atomic_read_u32(&database->workers[kind].slot);

		if (slot != 0)
			SetLatch(&BackendSlotProc(slot - 1)->procLatch);
		any |= slot != 0;
	}
	return any;
}

/*
 * This transaction changes settings of a database.
 */
static void
note_changed(const char *name)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	changed_databases = list_append_unique_oid(changed_databases, get_database_oid(name, true));
	MemoryContextSwitchTo(old);
}

/*
 * First the count, for a worker that has read the settings and not entered itself yet.
 */
static void
restart_changed(void)
{
	ListCell   *cell;

	pg_atomic_fetch_add_u32(&registry()->settings, 1);
	foreach(cell, changed_databases)
		restart_worker(lfirst_oid(cell));
}

static void
restart_worker(Oid oid)
{
	RegistryDatabase *database = registry_database(oid, false);
	uint32		none = 0;

	if (database != NULL && pg_atomic_read_u32(&database->workers[WORKER_MAIN].slot) != 0 &&
		pg_atomic_compare_exchange_u32(&database->worker_stop, &none, WORKER_COME_BACK))
		(void) wake_processes(database);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	ListCell   *cell;

	/* A worker waits by itself for what has been prepared. */
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (changed_databases != NIL && event == XACT_EVENT_COMMIT)
		restart_changed();
	changed_databases = NIL;
	foreach(cell, emptied_databases)
	{
		RegistryDatabase *database = registry_database(lfirst_oid(cell), false);

		if (database != NULL)
			pg_atomic_write_u32(&database->worker_stop, 0);
		rescan_wanted = true;
	}
	emptied_databases = NIL;
	if (rescan_wanted)
	{
		pg_atomic_write_u32(&registry()->rescan, 1);
		wakeup_launcher();
	}
	rescan_wanted = false;
}
