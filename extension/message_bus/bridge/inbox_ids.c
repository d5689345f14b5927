/*
 * inbox_ids.c
 *		Looking ids up in the tables of the inbox, and noting them.
 *
 * By their primary keys, whatever the planner might think of tables that nobody
 * analyses: a batch costs the same however many ids are kept.  An empty table is not
 * looked into.
 *
 * Lock protocol: who looks has locked the bridge's row, and sees what was committed
 * when he begins.  The table that is written stays locked until the transaction ends,
 * the others only while they are read.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

#include "message_bus/bridge/inbox_ids.h"
#include "pg/scan.h"
#include "pg/writer.h"

typedef enum InboxColumn
{
	INBOX_BRIDGE_ID,
	INBOX_MESSAGE_ID,
	INBOX_ACCEPTED_AT,
	INBOX_CONVERSATION_ID,
	INBOX_REQUEST,
	INBOX_COLUMNS
} InboxColumn;

static const ExtensionColumn inbox_columns[INBOX_COLUMNS] = {
	[INBOX_BRIDGE_ID] = {"bridge_id", INT4OID, true},
	[INBOX_MESSAGE_ID] = {"message_id", UUIDOID, true},
	[INBOX_ACCEPTED_AT] = {"accepted_at", TIMESTAMPTZOID, true},
	[INBOX_CONVERSATION_ID] = {"conversation_id", UUIDOID},
	[INBOX_REQUEST] = {"request", JSONBOID},
};

#define INBOX_TABLE(n) EXTENSION_TABLE("message_bus", "inbox_" #n, inbox_columns)
#define INBOX_INDEX(n) \
	{ \
		"message_bus", "inbox_" #n "_pkey" \
	}

static ExtensionRelation tables[INBOX_SLOTS] = {
	INBOX_TABLE(0), INBOX_TABLE(1), INBOX_TABLE(2), INBOX_TABLE(3),
	INBOX_TABLE(4), INBOX_TABLE(5), INBOX_TABLE(6), INBOX_TABLE(7)
};
static ExtensionRelation indexes[INBOX_SLOTS] = {
	INBOX_INDEX(0), INBOX_INDEX(1), INBOX_INDEX(2), INBOX_INDEX(3),
	INBOX_INDEX(4), INBOX_INDEX(5), INBOX_INDEX(6), INBOX_INDEX(7)
};

struct InboxIds
{
	int32		bridge_id;
	int			nscans;
	TableScan	scans[INBOX_SLOTS]; /* of tables that are not empty */
	Snapshot	snapshot;
	HTAB	   *noted;			/* ids of this batch */
	InboxNote  *notes;
	int			nnotes;
};

static void make_keys(const InboxIds *ids, const pg_uuid_t *id, ScanKeyData keys[2]);
static void write_notes(InboxIds *ids, int slot, TimestampTz now);

/*
 * Begins with a batch of at most so many messages, in the current memory context.
 */
InboxIds *
inbox_ids_open(int32 bridge_id, int most)
{
	InboxIds   *ids = palloc0(sizeof(InboxIds));
	HASHCTL		control = {
		.keysize = UUID_LEN, .entrysize = UUID_LEN, .hcxt = CurrentMemoryContext
	};
	ScanKeyData keys[2];

	ids->bridge_id = bridge_id;
	ids->notes = palloc(sizeof(InboxNote) * Max(most, 1));
	ids->noted = hash_create("ids of a batch", Max(most, 16), &control,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ids->snapshot = RegisterSnapshot(GetLatestSnapshot());
	make_keys(ids, &(pg_uuid_t) {{0}}, keys);
	for (int i = 0; i < INBOX_SLOTS; i++)
	{
		TableScan  *scan = &ids->scans[ids->nscans];

		table_scan_open(scan, &tables[i], &indexes[i]);
		if (RelationGetNumberOfBlocks(scan->table) == 0)
		{
			table_scan_close(scan);
			continue;
		}
		table_scan_start(scan, 2, keys, ids->snapshot);
		ids->nscans++;
	}
	return ids;
}

static void
make_keys(const InboxIds *ids, const pg_uuid_t *id, ScanKeyData keys[2])
{
	key_int4(&keys[0], 1, BTEqualStrategyNumber, ids->bridge_id);
	key_uuid(&keys[1], 2, id);
}

/*
 * Whether the id was noted before this batch.
 */
bool
inbox_ids_known(InboxIds *ids, const pg_uuid_t *id)
{
	ScanKeyData keys[2];
	bool		found = false;

	make_keys(ids, id, keys);
	for (int i = 0; i < ids->nscans && !found; i++)
	{
		index_rescan(ids->scans[i].scan, keys, 2, NULL, 0);
		found = table_scan_next_slot(&ids->scans[i], ForwardScanDirection);
	}
	return found;
}

/*
 * Notes an id that is not known; false if it was noted in this batch already.
 */
bool
inbox_ids_note(InboxIds *ids, const InboxNote *note)
{
	bool		found;

	(void) hash_search(ids->noted, &note->message_id, HASH_ENTER, &found);
	if (!found)
		ids->notes[ids->nnotes++] = *note;
	return !found;
}

/*
 * Ends the batch: what was noted goes into a table.
 */
void
inbox_ids_close(InboxIds *ids, int slot, TimestampTz now)
{
	for (int i = 0; i < ids->nscans; i++)
		table_scan_end(&ids->scans[i]);
	UnregisterSnapshot(ids->snapshot);
	if (ids->nnotes > 0)
		write_notes(ids, slot, now);
	hash_destroy(ids->noted);
	pfree(ids->notes);
	pfree(ids);
}

static void
write_notes(InboxIds *ids, int slot, TimestampTz now)
{
	Writer	   *writer = writer_open(&tables[slot], RowExclusiveLock);
	TupleDesc	descriptor = extension_table_descriptor(&tables[slot]);
	HeapTuple  *rows = palloc(sizeof(HeapTuple) * ids->nnotes);

	for (int i = 0; i < ids->nnotes; i++)
	{
		InboxNote  *note = &ids->notes[i];
		Datum		values[INBOX_COLUMNS] = {
			[INBOX_BRIDGE_ID] = Int32GetDatum(ids->bridge_id),
			[INBOX_MESSAGE_ID] = UUIDPGetDatum(&note->message_id),
			[INBOX_ACCEPTED_AT] = TimestampTzGetDatum(now),
			[INBOX_CONVERSATION_ID] = note->conversation_id,
			[INBOX_REQUEST] = note->request,
		};
		bool		nulls[INBOX_COLUMNS] = {
			[INBOX_CONVERSATION_ID] = note->no_conversation, [INBOX_REQUEST] = note->no_request
		};

		rows[i] = heap_form_tuple(descriptor, values, nulls);
	}
	writer_insert_tuples(writer, rows, ids->nnotes);
	writer_close(writer);
}
