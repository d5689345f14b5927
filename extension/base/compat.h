/*
 * compat.h
 *		Differences between PostgreSQL 14 and 18, the only place that looks at
 *		PG_VERSION_NUM.
 */
#ifndef ECOMMERCE_BASE_COMPAT_H
#define ECOMMERCE_BASE_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "datatype/timestamp.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker.h"
#include "replication/walsender.h"
#include "storage/proc.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#endif

#if PG_VERSION_NUM < 140000
#error "ecommerce needs PostgreSQL 14 or newer"
#endif

/* The index of this backend's slot in per-backend arrays. */
#if PG_VERSION_NUM >= 170000
#define MyBackendSlot()			((int) MyProcNumber)
#define BackendSlotProc(slot)	GetPGProcByNumber(slot)
#else
#define MyBackendSlot()			((int) MyProc->pgprocno)
#define BackendSlotProc(slot)	(&ProcGlobal->allProcs[slot])
#endif

/* The number of this backend's transaction, that of its savepoints too. */
#if PG_VERSION_NUM >= 170000
#define compat_local_transaction() (MyProc->vxid.lxid)
#else
#define compat_local_transaction() (MyProc->lxid)
#endif

#if PG_VERSION_NUM >= 150000
#define compat_cryptohash_final(hash, target, length) pg_cryptohash_final(hash, target, length)
#else
#define compat_cryptohash_final(hash, target, length) pg_cryptohash_final(hash, target)
#endif

#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* From 18 on, room can be asked for before the tuple. */
#if PG_VERSION_NUM >= 180000
#define compat_minimal_tuple(tuple) minimal_tuple_from_heap_tuple(tuple, 0)
#else
#define compat_minimal_tuple(tuple) minimal_tuple_from_heap_tuple(tuple)
#endif

/* From 17 on, an index may keep pins between insertions. */
#if PG_VERSION_NUM >= 170000
#define compat_index_insert_cleanup(index, info) index_insert_cleanup(index, info)
#else
#define compat_index_insert_cleanup(index, info) ((void) 0)
#endif

/*
 * Which indexes an update must enter the new row into: none, all, or, from 16 on,
 * only those that summarize pages.
 */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes CompatUpdateIndexes;

#define COMPAT_UPDATES_ALL		TU_All
#define COMPAT_UPDATES_NONE		TU_None
#define compat_updates_index(which, info) \
	((which) == TU_All || ((which) == TU_Summarizing && (info)->ii_Summarizing))
#else
typedef bool CompatUpdateIndexes;

#define COMPAT_UPDATES_ALL		true
#define COMPAT_UPDATES_NONE		false
#define compat_updates_index(which, info) (which)
#endif

/* From 16 on, a relation's files are named otherwise. */
#if PG_VERSION_NUM >= 160000
#define compat_seq_rec_locator	locator
#define compat_rd_locator		rd_locator
#else
#define compat_seq_rec_locator	node
#define compat_rd_locator		rd_node
#endif

/*
 * Before 15, MaxBackends is still unset while preloaded libraries are
 * initialized; this is how the server is going to compute it.
 */
static inline int
compat_max_backends(void)
{
#if PG_VERSION_NUM < 150000
	if (MaxBackends == 0)
		return MaxConnections + autovacuum_max_workers + 1 +
			max_worker_processes + max_wal_senders;
#endif
	return MaxBackends;
}

/* From 17 on, a dynamic hash table must be told how to copy a key. */
#if PG_VERSION_NUM >= 170000
#define compat_dshash_copy_function(parameters) ((parameters).copy_function = dshash_memcpy)
#else
#define compat_dshash_copy_function(parameters) ((void) 0)
#endif

/* From 17 on, the kind of a process is asked for another way. */
#if PG_VERSION_NUM >= 170000
#define compat_is_background_worker() AmBackgroundWorkerProcess()
#else
#define compat_is_background_worker() IsBackgroundWorker
#endif

/* Before 15, every custom scan is taken to compute expressions. */
#if PG_VERSION_NUM >= 150000
#define COMPAT_CUSTOMPATH_PROJECTION CUSTOMPATH_SUPPORT_PROJECTION
#else
#define COMPAT_CUSTOMPATH_PROJECTION 0
#endif

/* From 16 on, the n-th session is asked for by another name. */
#if PG_VERSION_NUM >= 160000
#define compat_session(n) pgstat_get_local_beentry_by_index(n)
#else
#define compat_session(n) pgstat_fetch_stat_local_beentry(n)
#endif

/* Before 15, a timeout does not come again. */
#if PG_VERSION_NUM >= 150000
#define compat_timeout_every(timeout, first_ms, then_ms) \
	enable_timeout_every(timeout, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), first_ms), \
						 then_ms)
#else
#define compat_timeout_every(timeout, first_ms, then_ms) enable_timeout_after(timeout, first_ms)
#endif

/*
 * Sends what this process has counted; returns in how many milliseconds it has to
 * be called again, 0 if all is sent.
 */
#if PG_VERSION_NUM >= 150000
#define compat_report_stat() pgstat_report_stat(false)
#else
#define compat_report_stat() (pgstat_report_stat(true), 0L)
#endif

/* From 16 on, input functions can report errors softly. */
#if PG_VERSION_NUM >= 160000
#define COMPAT_SOFT_ERRORS
#endif

/* From 15 on, shared memory is asked for in a hook. */
#if PG_VERSION_NUM >= 150000
#define COMPAT_SHMEM_REQUEST_HOOK
#endif

/* Before 17, every interval ends. */
#ifndef INTERVAL_NOT_FINITE
#define INTERVAL_NOT_FINITE(interval) false
#endif

extern bool compat_sync_standbys_defined(void);
extern void compat_keep_memory(int bytes);
extern bool compat_timestamptz_parse(char *text, TimestampTz *result);

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* The timeline that is written, and how far WAL is on disk. */
#if PG_VERSION_NUM >= 150000
#define compat_timeline()		GetWALInsertionTimeLine()
#define compat_flushed_upto()	GetFlushRecPtr(NULL)
#else
#define compat_timeline()		ThisTimeLineID
#define compat_flushed_upto()	GetFlushRecPtr()
#endif

/* Whether the current user may execute a function, owns a database. */
#if PG_VERSION_NUM >= 160000
#define compat_may_execute(function) \
	(object_aclcheck(ProcedureRelationId, function, GetUserId(), ACL_EXECUTE) == ACLCHECK_OK)
#define compat_owns_database(database) \
	object_ownercheck(DatabaseRelationId, database, GetUserId())
#else
#define compat_may_execute(function) \
	(pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE) == ACLCHECK_OK)
#define compat_owns_database(database) pg_database_ownercheck(database, GetUserId())
#endif

/*
 * From 16 on, what may be done to a query's tables stands apart from its range table.
 * Gives the tables there other numbers, those that meant_for() has one for.
 */
#if PG_VERSION_NUM >= 160000
#define compat_redirect_permissions(query, meant_for) \
	do { \
		ListCell   *_cell; \
		foreach(_cell, (query)->rteperminfos) \
		{ \
			RTEPermissionInfo *_info = lfirst_node(RTEPermissionInfo, _cell); \
			if (OidIsValid(meant_for(_info->relid))) \
				_info->relid = meant_for(_info->relid); \
		} \
	} while (0)
#else
#define compat_redirect_permissions(query, meant_for) ((void) 0)
#endif

#endif
