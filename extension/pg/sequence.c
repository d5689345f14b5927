/*
 * sequence.c
 *		Taking numbers from our own sequences.
 *
 * As nextval() does it, but the session's lastval() stays what its own last
 * nextval() gave: an application that inserts a row, appends an event and then
 * asks for the row's number must not get ours.  Numbers rise by one whatever
 * somebody may have altered the sequence to.
 *
 * Lock protocol: the sequence's RowExclusiveLock until the transaction ends, and
 * its page's lock for the moment.
 *
 * A crash may skip the numbers that were logged ahead; it gives none twice, if
 * what they were used for was flushed.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "base/compat.h"
#include "commands/sequence.h"
#include "common/int.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/rel.h"

#include "pg/sequence.h"

/* Numbers that one WAL record covers beyond the one asked for. */
#define LOGGED_AHEAD 32

static void write_state(Relation relation, Buffer buffer, int64 last, bool log, int64 ahead);

/*
 * A number that nobody else gets.  None are kept in hand: setval() counts at once,
 * for whoever repairs a sequence that stands behind its rows.
 */
int64
sequence_take(Oid sequence)
{
	Relation	relation = relation_open(sequence, RowExclusiveLock);
	Buffer		buffer = ReadBuffer(relation, 0);
	Page		page = BufferGetPage(buffer);
	HeapTupleHeader tuple;
	Form_pg_sequence_data data;
	int64		number;
	int64		covered;
	bool		log;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	tuple = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	data = (Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff);
	if (pg_add_s64_overflow(data->last_value, data->is_called, &number) ||
		pg_add_s64_overflow(number, LOGGED_AHEAD, &covered))
		ereport(ERROR,
				(errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
				 errmsg("sequence \"%s\" has no number left", RelationGetRelationName(relation)),
				 errhint("Type SELECT * FROM event_store.verify(repair => true).")));
	/* Anew after a checkpoint too, before which redo does not begin. */
	log = !data->is_called || data->log_cnt < 1 || PageGetLSN(page) <= GetRedoRecPtr();
	/* With a transaction id, the commit waits for the record. */
	if (log && RelationNeedsWAL(relation))
		(void) GetTopTransactionId();
	write_state(relation, buffer, number, log && RelationNeedsWAL(relation),
				log ? LOGGED_AHEAD : data->log_cnt - 1);
	UnlockReleaseBuffer(buffer);
	relation_close(relation, NoLock);
	return number;
}

/*
 * From now on no number is given up to this one.
 */
void
sequence_raise(Oid sequence, int64 least)
{
	Relation	relation = relation_open(sequence, RowExclusiveLock);
	Buffer		buffer = ReadBuffer(relation, 0);
	Page		page = BufferGetPage(buffer);
	HeapTupleHeader tuple;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	tuple = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	if (((Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff))->last_value < least)
		write_state(relation, buffer, least, RelationNeedsWAL(relation), 0);
	UnlockReleaseBuffer(buffer);
	relation_close(relation, NoLock);
}

/*
 * Writes into the locked page that last was the last number, and that so many
 * more are logged.
 */
static void
write_state(Relation relation, Buffer buffer, int64 last, bool log, int64 ahead)
{
	Page		page = BufferGetPage(buffer);
	ItemId		item = PageGetItemId(page, FirstOffsetNumber);
	HeapTupleHeader tuple = (HeapTupleHeader) PageGetItem(page, item);
	Form_pg_sequence_data data = (Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff);

	START_CRIT_SECTION();
	MarkBufferDirty(buffer);
	if (log)
	{
		xl_seq_rec	record;
		XLogRecPtr	lsn;

		/* What recovery finds: as if all that is covered had been given. */
		data->last_value = last + ahead;
		data->is_called = true;
		data->log_cnt = 0;
		record.compat_seq_rec_locator = relation->compat_rd_locator;
		XLogBeginInsert();
		XLogRegisterBuffer(0, buffer, REGBUF_WILL_INIT);
		XLogRegisterData((char *) &record, sizeof(record));
		XLogRegisterData((char *) tuple, ItemIdGetLength(item));
		lsn = XLogInsert(RM_SEQ_ID, XLOG_SEQ_LOG);
		PageSetLSN(page, lsn);
	}
	data->last_value = last;
	data->is_called = true;
	data->log_cnt = ahead;
	END_CRIT_SECTION();
}
