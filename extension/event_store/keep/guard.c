/*
 * guard.c
 *		Stored events do not change and are not dropped by accident.
 *
 * The trigger fires for superusers and replication roles too, but not for what a
 * subscription brings: the publisher has been asked.  Who is allowed to change
 * events by hand changes what snapshots were made of, so those of the stream go.
 * The hook sees
 * every way in which the table can go: DROP EXTENSION, DROP OWNED, CASCADE.
 * It is there when the library is preloaded, or loaded in the session.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "event_store/aggregate/snapshot.h"
#include "event_store/keep/guard.h"
#include "event_store/stream/table.h"
#include "pg/settings.h"

static object_access_hook_type previous_hook = NULL;

/* The transaction and savepoint in which our own statements rewrite. */
static struct
{
	TransactionId transaction;
	SubTransactionId level;
}			rewriting;

static bool has_rows(Oid relation);
static bool is_our_rewrite(void);
static void forget_snapshots(Relation relation, HeapTuple row);

static void
refuse_drop_with_events(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	char	   *name;

	if (previous_hook)
		previous_hook(access, class_id, object_id, sub_id, arg);
	if (access != OAT_DROP || class_id != RelationRelationId || sub_id != 0 ||
		setting_event_store_allow_drop)
		return;
	name = get_rel_name(object_id);
	if (name == NULL || strcmp(name, relation_stored_event.name) != 0 ||
		get_rel_namespace(object_id) != get_namespace_oid(relation_stored_event.schema, true) ||
		!has_rows(object_id))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ST_EVENTS_EXIST),
			 errmsg("extension \"ecommerce\" holds events in this database and is not dropped"),
			 errhint("To lose them, type SET event_store.allow_drop = on first. To keep them, pg_dump the database.")));
}

/*
 * Installs the hook that refuses to drop events.
 */
void
guard_install(void)
{
	previous_hook = object_access_hook;
	object_access_hook = refuse_drop_with_events;
}

/*
 * Lets our own statements change stored rows until guard_forbid_rewrite(), or
 * the end of the (sub)transaction after an error.  They know what becomes of
 * snapshots.
 */
int
guard_allow_rewrite(void)
{
	int			level = NewGUCNestLevel();

	rewriting.transaction = GetTopTransactionId();
	rewriting.level = GetCurrentSubTransactionId();
	(void) set_config_option("event_store.allow_rewrite", "on", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
guard_forbid_rewrite(int level)
{
	AtEOXact_GUC(false, level);
	rewriting.level = InvalidSubTransactionId;
}

/*
 * Whether a change is one of our own statements'.  An error in one of them has
 * ended its (sub)transaction.
 */
static bool
is_our_rewrite(void)
{
	return rewriting.level == GetCurrentSubTransactionId() &&
		rewriting.transaction == GetTopTransactionIdIfAny();
}

/*
 * Removes the snapshots that may have been made of a row.
 */
static void
forget_snapshots(Relation relation, HeapTuple row)
{
	const char *table = RelationGetRelationName(relation);
	int			name = strcmp(table, relation_stream.name) == 0 ? STREAM_NAME : EVENT_STREAM;
	bool		isnull;
	text	   *stream = DatumGetTextPP(heap_getattr(row, name + 1, RelationGetDescr(relation),
													 &isnull));

	snapshot_forget(VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream));
}

static bool
has_rows(Oid relation)
{
	Relation	heap = table_open(relation, NoLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(heap, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	bool		found = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(heap, NoLock);
	return found;
}

PG_FUNCTION_INFO_V1(event_store_guard_immutable);
/*
 * Trigger event_store._guard_immutable()
 */
Datum
event_store_guard_immutable(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("event_store._guard_immutable can only be called as a trigger")));
	if (!setting_event_store_allow_rewrite && !IsLogicalWorker())
		ereport(ERROR,
				(errcode(ERRCODE_ST_IMMUTABLE),
				 errmsg("rows of %s.%s are immutable",
						get_namespace_name(RelationGetNamespace(trigger->tg_relation)),
						RelationGetRelationName(trigger->tg_relation)),
				 errhint("Append an event that corrects, or use event_store.delete_stream and scavenge. A superuser can SET event_store.allow_rewrite = on for repairs.")));
	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
	{
		snapshot_forget_all();
		return PointerGetDatum(NULL);
	}
	if (!is_our_rewrite())
	{
		forget_snapshots(trigger->tg_relation, trigger->tg_trigtuple);
		if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
			forget_snapshots(trigger->tg_relation, trigger->tg_newtuple);
	}
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
						   : trigger->tg_trigtuple);
}
