/*
 * launcher.c
 *		Starts a worker for every database that has the extension.
 *
 * Connected to no database, so that any can be dropped; it reads shared
 * catalogues with plain scans and runs no SQL.  A worker that finds no
 * extension ends at once and is not started again until a backend asks.  One that
 * may not connect to a database in use is told in the log once, and tried again
 * every now and then, and at once when rights on a database or its role change.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/order.h"
#include "log/registry.h"
#include "log/wakeup.h"
#include "pg/clock.h"
#include "worker/worker.h"

/* Milliseconds before a worker that ended is started again, if it is wanted. */
#define RESTART_DELAY 1000

/* And before one is that was not allowed to connect. */
#define REFUSED_DELAY (60 * 1000)

/* As often no slot may be free before that is told: some end at once. */
#define TELL_MISSES 10

typedef struct Managed
{
	Oid			database;
	BackgroundWorkerHandle *handle; /* NULL: not running */
	bool		wanted;
	bool		refused;		/* the last one could not connect, which was told */
	int			misses;			/* so often no slot was free, in a row */
	uint32		connections;	/* the database's, before the last one was started */
	TimestampTz not_before;
} Managed;

PGDLLEXPORT void ecommerce_launcher_main(Datum arg);

static List *managed = NIL;
static Oid	worker_role = InvalidOid;

static void scan_databases(void);
static void forget_databases(List *present, const Oid *registered);
static Oid	find_worker_role(void);
static Managed *find_managed(Oid database);
static void take_requests(void);
static TimestampTz start_wanted(void);
static bool is_taken(RegistryDatabase *database);
static void start(Managed *entry, RegistryDatabase *database);
static void note_ended(void);
static void note_refused(Managed *entry);
static char *database_name(Oid oid);
static void leave_registry(int code, Datum arg);

/*
 * Registers the launcher with the postmaster.  While libraries are preloaded.
 */
void
worker_register_launcher(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "ecommerce", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "ecommerce_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "ecommerce launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "ecommerce launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

/*
 * Main loop of the launcher.
 */
void
ecommerce_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	/* A reload since the fork has been ignored. */
	ConfigReloadPending = true;
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	before_shmem_exit(leave_registry, (Datum) 0);
	pg_atomic_write_u32(&registry()->rescan, 1);
	pg_atomic_write_u32(&registry()->launcher, MyBackendSlot() + 1);
	for (;;)
	{
		TimestampTz due;
		long		timeout = -1;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		note_ended();
		if (pg_atomic_exchange_u32(&registry()->rescan, 0) != 0)
			scan_databases();
		take_requests();
		due = start_wanted();
		if (due != WAKEUP_NEVER)
			timeout = greater(1, clock_timeout(due));
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout, PG_WAIT_EXTENSION);
	}
}

/*
 * Wants a worker for every database that can have one, and forgets databases
 * that are gone.  Without the worker's role no database has the extension.
 */
static void
scan_databases(void)
{
	MemoryContext loop_context = CurrentMemoryContext;
	List	   *present = NIL;
	Oid			registered[REGISTRY_DATABASES];
	Relation	catalog;
	TableScanDesc scan;
	HeapTuple	row;

	/* Before the look: a database that comes and registers later must not seem to be gone. */
	for (int i = 0; i < REGISTRY_DATABASES; i++)
		registered[i] = registry()->databases[i].database;
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	worker_role = find_worker_role();
	catalog = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(catalog, 0, NULL);
	while (HeapTupleIsValid(row = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(row);
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		present = lappend_oid(present, database->oid);
		if (OidIsValid(worker_role) && database->datallowconn && !database->datistemplate)
		{
			Managed    *entry = find_managed(database->oid);

			entry->wanted = true;
			if (entry->refused)
				entry->not_before = 0;
		}
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(catalog, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(loop_context);
	forget_databases(present, registered);
	list_free(present);
}

/*
 * Frees the places of databases that are gone.  A worker that was asked for
 * meanwhile could not connect.
 */
static void
forget_databases(List *present, const Oid *registered)
{
	ListCell   *cell;

	for (int i = 0; i < REGISTRY_DATABASES; i++)
	{
		if (OidIsValid(registered[i]) && !list_member_oid(present, registered[i]))
			registry_forget_database(registered[i]);
	}
	foreach(cell, managed)
	{
		Managed    *entry = (Managed *) lfirst(cell);

		if (entry->handle == NULL && !list_member_oid(present, entry->database))
		{
			managed = foreach_delete_current(managed, cell);
			pfree(entry);
		}
		else if (!list_member_oid(present, entry->database))
			entry->wanted = false;
	}
}

/*
 * Not from the cache of roles: whoever has just committed CREATE EXTENSION wakes
 * us before he tells us that the cache is out of date.  Without the index, which
 * cannot be opened by the first process of a server without a database.
 */
static Oid
find_worker_role(void)
{
	Relation	catalog = table_open(AuthIdRelationId, AccessShareLock);
	Oid			role = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&key, Anum_pg_authid_rolname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(WORKER_ROLE));
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		role = ((Form_pg_authid) GETSTRUCT(row))->oid;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return role;
}

static Managed *
find_managed(Oid database)
{
	ListCell   *cell;
	Managed    *entry;
	MemoryContext old;

	foreach(cell, managed)
	{
		entry = (Managed *) lfirst(cell);
		if (entry->database == database)
			return entry;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	entry = palloc0(sizeof(Managed));
	entry->database = database;
	managed = lappend(managed, entry);
	MemoryContextSwitchTo(old);
	return entry;
}

/*
 * Takes up what backends have asked for through the registry.
 */
static void
take_requests(void)
{
	for (int i = 0; i < REGISTRY_DATABASES; i++)
	{
		RegistryDatabase *database = &registry()->databases[i];

		if (!OidIsValid(database->database) ||
			pg_atomic_exchange_u32(&database->worker_wanted, 0) == 0)
			continue;
		/* The role came with the first CREATE EXTENSION. */
		if (!OidIsValid(worker_role))
			scan_databases();
		find_managed(database->database)->wanted = OidIsValid(worker_role);
	}
}

/*
 * Notes which workers have ended; such a one is not wanted any more unless it
 * is asked for, except after a failure.
 */
static void
note_ended(void)
{
	ListCell   *cell;

	foreach(cell, managed)
	{
		Managed    *entry = (Managed *) lfirst(cell);
		RegistryDatabase *database;
		pid_t		pid;

		if (entry->handle == NULL ||
			GetBackgroundWorkerPid(entry->handle, &pid) != BGWH_STOPPED)
			continue;
		pfree(entry->handle);
		entry->handle = NULL;
		entry->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RESTART_DELAY);
		database = registry_database(entry->database, false);
		/* It takes its mark along when it ends of its own accord. */
		if (database == NULL)
			continue;
		/* Started by a launcher before us, another one is there, and goes on. */
		if (pg_atomic_read_u32(&database->workers[WORKER_MAIN].slot) != 0)
			continue;
		if (pg_atomic_exchange_u32(&database->worker_failed, 0) != 0)
			entry->wanted = true;
		if (pg_atomic_read_u32(&database->connections) == entry->connections)
			note_refused(entry);
		else
			entry->refused = false;
	}
}

/*
 * A worker of a database where the extension is used has ended before it was
 * connected.  PostgreSQL's own line, before ours, says what forbade it.
 */
static void
note_refused(Managed *entry)
{
	char	   *name = database_name(entry->database);

	if (name == NULL)
		return;
	entry->wanted = true;
	entry->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), REFUSED_DELAY);
	if (!entry->refused)
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("ecommerce worker cannot connect to database \"%s\"", name),
				 errdetail("Timers, notifications, sagas and projections of this database wait for it."),
				 errhint("Type GRANT CONNECT ON DATABASE %s TO %s, or see ecommerce.units there for what else is wanting.",
						 quote_identifier(name), WORKER_ROLE)));
	entry->refused = true;
	pfree(name);
}

/*
 * NULL if there is no such database.
 */
static char *
database_name(Oid oid)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *name = NULL;
	Relation	catalog;
	TableScanDesc scan;
	HeapTuple	row;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	catalog = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(catalog, 0, NULL);
	while (name == NULL && HeapTupleIsValid(row = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(row);

		if (database->oid == oid)
			name = MemoryContextStrdup(caller, NameStr(database->datname));
	}
	table_endscan(scan);
	table_close(catalog, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
	return name;
}

/*
 * Starts the workers that are wanted, first those of databases where the extension
 * is used: there may be many others, and few slots.  Returns when to try again.
 */
static TimestampTz
start_wanted(void)
{
	TimestampTz due = WAKEUP_NEVER;
	ListCell   *cell;

	for (int pass = 0; pass < 2; pass++)
	{
		foreach(cell, managed)
		{
			Managed    *entry = (Managed *) lfirst(cell);
			RegistryDatabase *database = registry_database(entry->database, false);

			if (!entry->wanted || entry->handle != NULL || (database == NULL) != (pass == 1))
				continue;
			if (database != NULL && is_taken(database))
				continue;
			if (GetCurrentTimestamp() >= entry->not_before)
				start(entry, database);
			if (entry->wanted)
				due = Min(due, entry->not_before);
		}
	}
	return due;
}

/*
 * Whether somebody wants a database for himself.  A worker that was told to come back
 * and was ended before it could has done so when another one is started.
 */
static bool
is_taken(RegistryDatabase *database)
{
	uint32		come_back = WORKER_COME_BACK;

	if (pg_atomic_read_u32(&database->workers[WORKER_MAIN].slot) == 0)
		pg_atomic_compare_exchange_u32(&database->worker_stop, &come_back, 0);
	return pg_atomic_read_u32(&database->worker_stop) != 0;
}

/*
 * It stays wanted where no slot is free.
 */
static void
start(Managed *entry, RegistryDatabase *database)
{
	BackgroundWorker worker;

	worker_describe(&worker, entry->database, worker_role);
	worker.bgw_notify_pid = MyProcPid;
	entry->connections = database == NULL ? 0 : pg_atomic_read_u32(&database->connections);
	if (RegisterDynamicBackgroundWorker(&worker, &entry->handle))
	{
		entry->wanted = false;
		entry->misses = 0;
		return;
	}
	entry->handle = NULL;
	entry->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RESTART_DELAY);
	if (database != NULL && ++entry->misses == TELL_MISSES)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no slot of max_worker_processes is free for the ecommerce worker of database %u",
						entry->database),
				 errdetail("Timers, notifications, sagas and projections of this database wait for it."),
				 errhint("Raise max_worker_processes and restart the server.")));
}

static void
leave_registry(int code, Datum arg)
{
	pg_atomic_write_u32(&registry()->launcher, 0);
}
