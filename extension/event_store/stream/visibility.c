/*
 * visibility.c
 *		Which stored events are hidden by deletion and retention.
 *
 * Most stores have neither, which costs a look at the size of two tables.
 * Else, per stream that is met, the first version to show and the oldest time
 * to show are worked out once per read.  A stream's own policy comes before its
 * category's, member by member.
 */
#include "postgres.h"

#include "access/table.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "event_store/stream/stream.h"
#include "event_store/stream/table.h"
#include "event_store/stream/visibility.h"
#include "pg/clock.h"
#include "pg/scan.h"

static ExtensionRelation index_retention = {"event_store", "retention_pkey"};

typedef struct StreamVisibility
{
	int64		stream_id;		/* hash key */
	int64		first_version;
	TimestampTz oldest;
} StreamVisibility;

struct Visibility
{
	TableScan	retention;
	TableScan	truncated;
	TableScan	events;
	Snapshot	snapshot;
	HTAB	   *streams;
	TimestampTz now;
	bool		only_deletion;
};

/* Columns of event_store.retention. */
enum
{
	RETENTION_NAME, RETENTION_MAX_COUNT, RETENTION_MAX_AGE, RETENTION_TRUNCATE_BEFORE,
	RETENTION_COLUMNS
};

/* Columns of event_store.truncated_stream. */
enum
{
	TRUNCATED_STREAM_ID, TRUNCATED_BEFORE_VERSION
};

static bool is_empty(ExtensionRelation *relation);
static void work_out(Visibility *v, const text *stream, StreamVisibility *result);
static void apply_policies(Visibility *v, const text *stream, StreamVisibility *result);
static bool find_policy(Visibility *v, const char *name, int length);

/*
 * Opens what is needed to tell hidden events, as a snapshot sees it; NULL if
 * nothing is hidden at all.
 */
Visibility *
visibility_open(Snapshot snapshot)
{
	Visibility *v;
	HASHCTL		control = {0};

	if (is_empty(&relation_retention) && is_empty(&relation_truncated_stream))
		return NULL;
	v = palloc0(sizeof(Visibility));
	v->snapshot = snapshot;
	v->now = clock_now();
	table_scan_open(&v->retention, &relation_retention, &index_retention);
	table_scan_open(&v->truncated, &relation_truncated_stream, &index_truncated_stream);
	table_scan_open(&v->events, &relation_stored_event, &index_event_version);
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(StreamVisibility);
	control.hcxt = CurrentMemoryContext;
	v->streams = hash_create("streams met by a read", 64, &control,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return v;
}

/*
 * From now on hides what deletion hides, and no more.  visibility may be NULL.
 */
void
visibility_ignore_retention(Visibility *visibility)
{
	if (visibility != NULL)
		visibility->only_deletion = true;
}

/*
 * Whether an event is hidden.  visibility may be NULL.
 */
bool
visibility_hides(Visibility *visibility, const text *stream, int64 stream_id,
				 int64 version, TimestampTz occurred_at)
{
	int64		first_version;
	TimestampTz oldest;

	if (likely(visibility == NULL))
		return false;
	visibility_bounds(visibility, stream, stream_id, &first_version, &oldest);
	return version < first_version || occurred_at < oldest;
}

/*
 * The first version and the oldest time of a stream's events that are shown.
 */
void
visibility_bounds(Visibility *visibility, const text *stream, int64 stream_id,
				  int64 *first_version, TimestampTz *oldest)
{
	StreamVisibility *entry;
	bool		found;

	entry = hash_search(visibility->streams, &stream_id, HASH_ENTER, &found);
	if (!found)
		work_out(visibility, stream, entry);
	*first_version = entry->first_version;
	*oldest = entry->oldest;
}

/*
 * Closes what visibility_open() opened; NULL is fine.
 */
void
visibility_close(Visibility *visibility)
{
	if (visibility == NULL)
		return;
	table_scan_close(&visibility->retention);
	table_scan_close(&visibility->truncated);
	table_scan_close(&visibility->events);
	hash_destroy(visibility->streams);
	pfree(visibility);
}

static bool
is_empty(ExtensionRelation *relation)
{
	Relation	heap = extension_table_open(relation, AccessShareLock);
	bool		empty = RelationGetNumberOfBlocks(heap) == 0;

	table_close(heap, AccessShareLock);
	return empty;
}

static void
work_out(Visibility *v, const text *stream, StreamVisibility *result)
{
	ScanKeyData key;
	bool		isnull;

	result->first_version = 1;
	result->oldest = DT_NOBEGIN;
	key_int8(&key, 1, BTEqualStrategyNumber, result->stream_id);
	if (table_scan_first(&v->truncated, 1, &key, v->snapshot, ForwardScanDirection))
		result->first_version =
			DatumGetInt64(slot_getattr(v->truncated.slot, TRUNCATED_BEFORE_VERSION + 1, &isnull));
	if (!v->only_deletion)
		apply_policies(v, stream, result);
}

static void
apply_policies(Visibility *v, const text *stream, StreamVisibility *result)
{
	const char *name = VARDATA_ANY(stream);
	int			length = VARSIZE_ANY_EXHDR(stream);
	int			lengths[2] = {category_length(name, length), length};
	Datum		policy[RETENTION_COLUMNS] = {0};
	bool		set[RETENTION_COLUMNS] = {false};

	for (int i = 0; i < 2; i++)
	{
		if ((i == 1 && lengths[0] == lengths[1]) || !find_policy(v, name, lengths[i]))
			continue;
		for (int column = RETENTION_MAX_COUNT; column < RETENTION_COLUMNS; column++)
		{
			bool		isnull;
			Datum		value = slot_getattr(v->retention.slot, column + 1, &isnull);

			if (isnull)
				continue;
			policy[column] =
				column == RETENTION_MAX_AGE
					? PointerGetDatum(memcpy(palloc(sizeof(Interval)), DatumGetIntervalP(value),
											 sizeof(Interval)))
					: value;
			set[column] = true;
		}
	}
	if (set[RETENTION_TRUNCATE_BEFORE])
		result->first_version = Max(result->first_version,
									DatumGetInt64(policy[RETENTION_TRUNCATE_BEFORE]));
	if (set[RETENTION_MAX_AGE])
		result->oldest = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
																 TimestampTzGetDatum(v->now),
																 policy[RETENTION_MAX_AGE]));
	if (set[RETENTION_MAX_COUNT])
	{
		ScanKeyData key;
		bool		isnull;
		int64		last = 0;

		key_int8(&key, 1, BTEqualStrategyNumber, result->stream_id);
		if (table_scan_first(&v->events, 1, &key, v->snapshot, BackwardScanDirection))
			last = DatumGetInt64(slot_getattr(v->events.slot, EVENT_VERSION + 1, &isnull));
		result->first_version = Max(result->first_version,
									last - DatumGetInt64(policy[RETENTION_MAX_COUNT]) + 1);
	}
}

static bool
find_policy(Visibility *v, const char *name, int length)
{
	ScanKeyData key;

	key_text(&key, RETENTION_NAME + 1, name, length);
	return table_scan_first(&v->retention, 1, &key, v->snapshot, ForwardScanDirection);
}
