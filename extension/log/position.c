/*
 * position.c
 *		Positions of append-only logs, and the mark below which each is final.
 *
 * Writer: announces that it is going to take a position; takes it from the
 * sequence; raises last; clears the announcement when the transaction has left
 * the ProcArray.  Reader: reads the sequence; raises last to it; full barrier;
 * takes the minimum over the announcements (announcement.c); and only then the
 * snapshot it reads rows with.
 *
 * Why nothing is missed: a position p at or below what the reader saw in the
 * sequence was taken before the reader looked, hence announced before, and
 * lowest <= p because last never runs ahead of the sequence.  So either the
 * reader sees the announcement, or it was cleared, and then the writer's end
 * is visible to the reader's later snapshot.
 *
 * Why marks never go back: last is read for an announcement after that can be
 * seen.  A reader that did not see it yet had raised last before, so it comes
 * to lie above that reader's mark; one that saw it stayed below it.
 *
 * What a crash leaves: shared memory is gone, the sequence is not, but it may
 * come back lower than it was.  Therefore a mark is handed out only after WAL
 * is flushed up to the sequence's page and to the newest commit that took
 * positions; what was handed out is then never used again nor undone.  The
 * same holds for synchronous standbys, which the mark waits for.
 *
 * A log whose readers keep their place in the same database needs none of that:
 * a place that survives the crash comes later in WAL than all it depends on.
 *
 * On a standby the mark is what the primary's worker has published in a second
 * sequence: its WAL record comes after the commits it speaks of.  When
 * no transaction runs on the primary, whatever is visible is final too: the
 * standby hears of a transaction before it can hear of its positions.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender_private.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/debug_point.h"
#include "base/errors.h"
#include "base/order.h"
#include "log/announcement.h"
#include "log/position.h"
#include "log/registry.h"
#include "log/restore.h"
#include "log/wakeup.h"
#include "pg/callbacks.h"
#include "pg/sequence.h"

static LogDefinition definitions[LOG_COUNT];
static bool callback_registered = false;
static RegistrySlot *my_slot = NULL;	/* set while this transaction is announced */

static RegistryLog *current_log(LogId log);
static void raise_to(pg_atomic_uint64 *value, uint64 at_least);
static int64 read_sequence(Oid sequence, XLogRecPtr *lsn);
static bool make_durable(XLogRecPtr lsn, long wait_ms);
static bool standbys_have(XLogRecPtr lsn);
static int64 published_mark(LogId log);
static int64 mark_on_standby(LogId log);
static bool take_mark(LogId log, uint32 key, bool wait, int64 *mark);
static XLogRecPtr compute_mark(LogId log, RegistryLog *shared, uint32 key, int64 *mark);
static void clear_announcements(RegistrySlot *slot);
static void transaction_ended(XactEvent event, void *arg);

/*
 * Says which sequences a log uses.  From the log's module, at load.
 */
void
position_log_define(LogId log, const LogDefinition *definition)
{
	definitions[log] = *definition;
}

/*
 * The key of a name.  Two names may share one: then each is held back by the
 * other's writers, no more.
 */
uint32
position_key(const char *name, int length)
{
	uint32		hash = 2166136261u;

	/* FNV-1a: stored with the rows, so it must be the same on every machine. */
	for (int i = 0; i < length; i++)
		hash = (hash ^ (unsigned char) name[i]) * 16777619u;
	return hash == POSITION_ANY_KEY ? 1 : hash;
}

/*
 * Announces that this transaction is going to take positions under a key.
 * Must come before position_take(), once per key; repeating is cheap.
 */
void
position_announce(LogId log, uint32 key, const char *name, int length)
{
	RegistryLog *shared = current_log(log);
	RegistrySlot *slot = registry_slot(MyBackendSlot());

	restore_refuse_writing();
	if (!callback_registered)
	{
		callback_on_transaction(transaction_ended);
		callback_registered = true;
	}
	if (my_slot == NULL)
	{
		pg_atomic_write_u32(&slot->database, MyDatabaseId);
		my_slot = slot;
		pg_write_barrier();
	}
	announcement_make(slot, log, shared, key, name, length);
}

/*
 * Takes the next position.  The announcement must stand.
 */
int64
position_take(LogId log)
{
	RegistryLog *shared = current_log(log);
	int64		position;

	Assert(my_slot != NULL && pg_atomic_read_u64(&my_slot->lowest[log]) != 0);
	position = sequence_take(shared->sequence);
	DEBUG_POINT("position_taken");
	if (unlikely((uint64) position < pg_atomic_read_u64(&my_slot->lowest[log])) &&
		definitions[log].local)
	{
		sequence_raise(shared->sequence, (int64) pg_atomic_read_u64(&shared->last));
		position = sequence_take(shared->sequence);
	}
	if (unlikely((uint64) position < pg_atomic_read_u64(&my_slot->lowest[log])) &&
		!DEBUG_BREAK("no_announce"))
		ereport(ERROR,
				(errcode(ERRCODE_ST_COUNTER_BEHIND),
				 errmsg("the position counter went back to " INT64_FORMAT, position),
				 errdetail("Positions up to " UINT64_FORMAT " have been handed out since the server started.",
						   pg_atomic_read_u64(&shared->last)),
				 errhint("Type SELECT * FROM event_store.verify(repair => true).")));
	raise_to(&shared->last, (uint64) position);
	return position;
}

/*
 * The high-water mark of a log, or of one key of it: nothing can still appear
 * at or below it.  Take the snapshot for reading afterwards.  Waits until the
 * mark is safe on disk and, where they are configured, on synchronous standbys.
 */
int64
position_mark(LogId log, uint32 key)
{
	int64		mark;

	(void) take_mark(log, key, true, &mark);
	return mark;
}

/*
 * The same, but returns false instead of waiting for a synchronous standby; then
 * the mark is the one last published.
 */
bool
position_mark_nowait(LogId log, uint32 key, int64 *mark)
{
	return take_mark(log, key, false, mark);
}

/*
 * The mark of a log whatever the log's own readers need: safe on disk, and on
 * synchronous standbys.  For who carries what he reads to another server.  Returns
 * false if that takes longer than wait_ms.  *lsn: WAL up to there, which is safe, has
 * all that the mark speaks of.
 */
bool
position_mark_durable(LogId log, uint32 key, long wait_ms, int64 *mark, XLogRecPtr *lsn)
{
	PreventCommandDuringRecovery("reading a log by its durable mark");
	*lsn = compute_mark(log, current_log(log), key, mark);
	if (DEBUG_BREAK("link_no_durable"))
	{
		/* Or the incarnation would tell. */
		*lsn = Min(*lsn, compat_flushed_upto());
		return true;
	}
	return make_durable(*lsn, wait_ms);
}

static bool
take_mark(LogId log, uint32 key, bool wait, int64 *mark)
{
	RegistryLog *shared;
	XLogRecPtr	lsn;

	shared = current_log(log);
	if (RecoveryInProgress())
	{
		/* The two sources of mark_on_standby() take turns, and one lags. */
		raise_to(&shared->standby_mark, (uint64) mark_on_standby(log));
		*mark = (int64) pg_atomic_read_u64(&shared->standby_mark);
		raise_to(&shared->last, (uint64) *mark);
		return true;
	}
	lsn = compute_mark(log, shared, key, mark);
	if (!definitions[log].local && !make_durable(lsn, wait ? -1 : 0))
	{
		*mark = published_mark(log);
		return false;
	}
	return true;
}

/*
 * The mark as shared memory has it; returns what must be flushed before anybody may
 * rely on it after a crash.
 */
static XLogRecPtr
compute_mark(LogId log, RegistryLog *shared, uint32 key, int64 *mark)
{
	XLogRecPtr	lsn;
	XLogRecPtr	commit_lsn;

	*mark = read_sequence(shared->sequence, &lsn);
	raise_to(&shared->last, (uint64) *mark);
	pg_memory_barrier();
	*mark = announcement_limit(log, shared, key, *mark);
	if (DEBUG_BREAK("max_position"))
		*mark = definitions[log].newest(GetLatestSnapshot());
	/* A restore sets the counter when it likes, perhaps before the rows. */
	if (unlikely(restore_goes_on()) && definitions[log].newest != NULL)
		*mark = lesser(*mark, definitions[log].newest(NULL));
	pg_memory_barrier();
	commit_lsn = pg_atomic_read_u64(&shared->lsn);
	return Max(lsn, commit_lsn);
}

/*
 * Who holds back a log now, one entry per transaction and key, palloc'd.
 * Returns how many.
 */
int
position_holders(LogId log, PositionHolder **holders)
{
	Registry   *r = registry();
	RegistryLog *shared = current_log(log);
	int			count = 0;

	*holders = palloc0(sizeof(PositionHolder) * r->slot_count * (r->holds_per_slot + 1));
	for (int i = 0; i < r->slot_count; i++)
	{
		RegistrySlot *slot = registry_slot(i);
		uint64		lowest = announcement_lowest(slot, log, shared);
		uint64		overflow;
		uint32		hold_count = pg_atomic_read_u32(&slot->hold_count);
		int			pid = BackendSlotProc(i)->pid;
		int			before = count;

		if (lowest == 0)
			continue;
		for (uint32 h = 0; h < Min(hold_count, r->holds_per_slot); h++)
		{
			PositionHolder *holder = &(*holders)[count];

			if (slot->holds[h].log != log)
				continue;
			holder->pid = pid;
			holder->key = slot->holds[h].key;
			holder->lowest = (int64) announcement_settled(slot, &slot->holds[h].lowest, shared);
			strlcpy(holder->name, slot->holds[h].name, sizeof(holder->name));
			count++;
		}
		overflow = announcement_settled(slot, &slot->overflow[log], shared);
		if (count == before || overflow != 0)
		{
			(*holders)[count].pid = pid;
			(*holders)[count].key = POSITION_ANY_KEY;
			(*holders)[count].lowest = (int64) (overflow != 0 ? overflow : lowest);
			count++;
		}
	}
	return count;
}

/*
 * For who reads beyond the mark, where earlier positions may still appear: the
 * lowest that transactions may have left which ran at the last call and have
 * ended since; PG_INT64_MAX if there is none.  Take the snapshot afterwards.
 * *running keeps who ran, and is NULL at the first call.
 */
int64
position_ended_since(LogId log, uint64 **running)
{
	Registry   *r = registry();
	RegistryLog *shared = current_log(log);
	int64		ended = PG_INT64_MAX;

	if (*running == NULL)
		*running = MemoryContextAllocZero(TopMemoryContext, sizeof(uint64) * r->slot_count);
	pg_memory_barrier();
	for (int i = 0; i < r->slot_count; i++)
	{
		uint64		lowest = announcement_lowest(registry_slot(i), log, shared);

		if ((*running)[i] != 0 && (*running)[i] != lowest)
			ended = Min(ended, (int64) (*running)[i]);
		(*running)[i] = lowest;
	}
	return ended;
}

/*
 * Where the sequence stands: no position above it was taken.
 */
int64
position_counter(LogId log)
{
	return read_sequence(extension_relation_oid(definitions[log].positions), NULL);
}

/*
 * No position up to this one is to be taken any more: it is in the tables of a log whose
 * readers are here, so that nothing is wrong but the counter.  Somebody has set it back,
 * or has brought tables here without it.
 */
void
position_raise(LogId log, int64 least)
{
	Assert(definitions[log].local);
	if (!RecoveryInProgress() && position_counter(log) < least)
		sequence_raise(extension_relation_oid(definitions[log].positions), least);
}

/*
 * How far readers can have been, as far as is known: the mark last published
 * for standbys, or what was handed out since the server started.
 */
int64
position_published(LogId log)
{
	int64		published = published_mark(log);

	if (RecoveryInProgress())
		return published;
	return greater(published, (int64) pg_atomic_read_u64(&current_log(log)->last));
}

/*
 * Publishes a mark for standbys.  Returns false if it stands there already.
 */
bool
position_publish(LogId log, int64 mark)
{
	Oid			published = extension_relation_oid(definitions[log].published);

	if (mark <= read_sequence(published, NULL))
		return false;
	DirectFunctionCall2(setval_oid, ObjectIdGetDatum(published), Int64GetDatum(mark));
	return true;
}

/*
 * Our shared entry for a log, made to fit the sequence that the extension has
 * now: after DROP and CREATE EXTENSION it is another one, and nobody can be
 * writing, because DROP locked the tables.  If that is rolled back it is the one
 * before again; so lsn stays, which commits of that one need not have been flushed up
 * to, and which is never wrong to flush up to.
 */
static RegistryLog *
current_log(LogId log)
{
	RegistryLog *shared = &registry_my_database()->logs[log];
	Oid			sequence = extension_relation_oid(definitions[log].positions);

	if (unlikely(shared->sequence != sequence))
	{
		uint64		counter = (uint64) read_sequence(sequence, NULL);

		LWLockAcquire(&registry()->lock, LW_EXCLUSIVE);
		if (shared->sequence != sequence)
		{
			pg_atomic_write_u64(&shared->last, counter);
			pg_atomic_write_u64(&shared->standby_mark, 0);
			shared->sequence = sequence;
		}
		LWLockRelease(&registry()->lock);
	}
	return shared;
}

static void
raise_to(pg_atomic_uint64 *value, uint64 at_least)
{
	uint64		current = pg_atomic_read_u64(value);

	while (current < at_least &&
		   !pg_atomic_compare_exchange_u64(value, &current, at_least))
		;
}

/*
 * The newest value of a sequence, 0 if it gave none, and the WAL position that
 * covers it.  Unlike a SELECT this needs no snapshot and works on a standby.
 */
static int64
read_sequence(Oid sequence, XLogRecPtr *lsn)
{
	Relation	relation = relation_open(sequence, AccessShareLock);
	Buffer		buffer = ReadBuffer(relation, 0);
	Page		page;
	HeapTupleHeader tuple;
	Form_pg_sequence_data data;
	int64		value;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	tuple = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	data = (Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff);
	value = data->is_called ? data->last_value : data->last_value - 1;
	if (lsn != NULL)
		*lsn = PageGetLSN(page);
	UnlockReleaseBuffer(buffer);
	relation_close(relation, AccessShareLock);
	return value;
}

/*
 * Makes sure that WAL up to lsn survives a crash and, where synchronous
 * standbys are configured, a failover to one of them.  False if a standby has not
 * got it after wait_ms; -1 waits for ever.
 */
static bool
make_durable(XLogRecPtr lsn, long wait_ms)
{
	bool		waited = false;
	bool		reached = true;
	TimestampTz began = wait_ms > 0 ? GetCurrentTimestamp() : 0;

	if (!DEBUG_BREAK("no_flush"))
		XLogFlush(lsn);
	while (!standbys_have(lsn))
	{
		if (wait_ms == 0 ||
			(wait_ms > 0 &&
			 TimestampDifferenceExceeds(began, GetCurrentTimestamp(), (int) wait_ms)))
		{
			reached = false;
			break;
		}
		waited = true;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	/* The latch may have been set for whoever waits in wakeup.c meanwhile. */
	if (waited)
		SetLatch(MyLatch);
	return reached;
}

static bool
standbys_have(XLogRecPtr lsn)
{
	bool		result;

	if (max_wal_senders == 0 || !compat_sync_standbys_defined())
		return true;
	LWLockAcquire(SyncRepLock, LW_SHARED);
	result = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH] >= lsn;
	LWLockRelease(SyncRepLock);
	return result;
}

/*
 * The mark that the worker has published; 0 for a log that has none.
 */
static int64
published_mark(LogId log)
{
	if (definitions[log].published == NULL)
		return 0;
	return read_sequence(extension_relation_oid(definitions[log].published), NULL);
}

static int64
mark_on_standby(LogId log)
{
	LogDefinition *definition = &definitions[log];
	int64		mark = published_mark(log);
	Snapshot	snapshot;

	if (definition->newest == NULL)
		return mark;
	/* What runs above xmax is not in the snapshot: there must be nothing. */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (snapshot->takenDuringRecovery && snapshot->xcnt == 0 &&
		snapshot->subxcnt == 0 && !snapshot->suboverflowed &&
		snapshot->xmax == XidFromFullTransactionId(ReadNextFullTransactionId()))
		mark = greater(mark, definition->newest(snapshot));
	UnregisterSnapshot(snapshot);
	return mark;
}

static void
clear_announcements(RegistrySlot *slot)
{
	pg_memory_barrier();
	for (int log = 0; log < LOG_COUNT; log++)
		pg_atomic_write_u64(&slot->lowest[log], 0);
	pg_memory_barrier();
}

/*
 * End of a transaction: the announcements go.  For COMMIT and ABORT this runs
 * after the transaction has left the ProcArray; any earlier would be too early.
 */
static void
transaction_ended(XactEvent event, void *arg)
{
	RegistrySlot *slot = my_slot;

	if (slot == NULL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has appended events or sent messages"),
					 errdetail("It would hold back every reader until COMMIT PREPARED, even across a restart."),
					 errhint("Type COMMIT, or append from the transaction manager's own transaction.")));
			break;
		case XACT_EVENT_PRE_COMMIT:
			if (DEBUG_BREAK("clear_before_commit"))
			{
				clear_announcements(slot);
				/* Found without the pause too, but it may take long. */
				pg_usleep(300);
			}
			break;
		case XACT_EVENT_COMMIT:
			for (int log = 0; log < LOG_COUNT; log++)
			{
				if (pg_atomic_read_u64(&slot->lowest[log]) != 0)
					raise_to(&registry_my_database()->logs[log].lsn, XactLastCommitEnd);
			}
			/* FALLTHROUGH */
		case XACT_EVENT_ABORT:
			my_slot = NULL;
			clear_announcements(slot);
			wakeup_after_end(slot);
			pg_atomic_write_u32(&slot->hold_count, 0);
			for (int log = 0; log < LOG_COUNT; log++)
				pg_atomic_write_u64(&slot->overflow[log], 0);
			pg_atomic_write_u32(&slot->database, InvalidOid);
			break;
		default:
			break;
	}
}
