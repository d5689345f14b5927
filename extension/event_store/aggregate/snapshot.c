/*
 * snapshot.c
 *		Stored states of aggregates, so that loading need not begin at the beginning.
 *
 * A snapshot is taken by the transaction that appended the event it stands at,
 * so it is there exactly when its events are.  It is used only while it
 * carries the fingerprint of the aggregate as it is defined now; taking a new
 * one removes those of the stream that do not.  Snapshots at older versions
 * stay, for loading the state as it was.
 *
 * Two transactions never store one for the same stream at once: each holds the
 * stream's row.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "event_store/aggregate/snapshot.h"
#include "event_store/read/read.h"
#include "pg/lookup.h"
#include "pg/spi.h"

/* Columns of event_store.snapshot. */
typedef enum SnapshotColumn
{
	SNAPSHOT_STREAM,
	SNAPSHOT_VERSION,
	SNAPSHOT_FINGERPRINT,
	SNAPSHOT_CREATED_AT,
	SNAPSHOT_UPDATED_AT,
	SNAPSHOT_LATEST_AT,
	SNAPSHOT_STATE,
	SNAPSHOT_COLUMNS
} SnapshotColumn;

static const ExtensionColumn snapshot_columns[SNAPSHOT_COLUMNS] = {
	[SNAPSHOT_STREAM] = {"stream", TEXTOID, true},
	[SNAPSHOT_VERSION] = {"version", INT8OID, true},
	[SNAPSHOT_FINGERPRINT] = {"fingerprint", TEXTOID, true},
	[SNAPSHOT_CREATED_AT] = {"created_at", TIMESTAMPTZOID, true},
	[SNAPSHOT_UPDATED_AT] = {"updated_at", TIMESTAMPTZOID, true},
	[SNAPSHOT_LATEST_AT] = {"latest_at", TIMESTAMPTZOID, true},
	[SNAPSHOT_STATE] = {"state", JSONBOID, true},
};

static ExtensionRelation relation_snapshot =
	EXTENSION_TABLE("event_store", "snapshot", snapshot_columns);
static ExtensionRelation index_snapshot = {"event_store", "snapshot_pkey"};

static bool was_recorded(const char *stream, int length, int64 version, TimestampTz by,
						 Snapshot events);

/*
 * Starts a fold at the newest snapshot that is usable: above deleted_version,
 * not beyond the version or time asked for, and of the aggregate as it is
 * defined now.  Leaves the fold alone if there is none.  events is what sees the
 * stream's events.
 */
void
snapshot_find(const char *stream, int length, int64 deleted_version,
			  const AsOf *as_of, Snapshot events, Fold *fold)
{
	const char *fingerprint = aggregate_fingerprint(fold->aggregate);
	Lookup		lookup;
	Datum		values[SNAPSHOT_COLUMNS];
	bool		nulls[SNAPSHOT_COLUMNS];

	lookup_begin_backward(&lookup, &relation_snapshot, &index_snapshot, stream, length);
	while (fold->version == 0 && lookup_next(&lookup, values, nulls))
	{
		int64		version = DatumGetInt64(values[SNAPSHOT_VERSION]);

		if (version <= deleted_version)
			break;
		if ((as_of->version != NULL && version > *as_of->version) ||
			(as_of->time != NULL &&
			 DatumGetTimestampTz(values[SNAPSHOT_LATEST_AT]) > *as_of->time) ||
			strcmp(TextDatumGetCString(values[SNAPSHOT_FINGERPRINT]), fingerprint) != 0 ||
			(as_of->recorded != NULL &&
			 !was_recorded(stream, length, version, *as_of->recorded, events)))
			continue;
		fold->version = fold->snapshot_version = version;
		fold->created_at = DatumGetTimestampTz(values[SNAPSHOT_CREATED_AT]);
		fold->updated_at = DatumGetTimestampTz(values[SNAPSHOT_UPDATED_AT]);
		fold->latest_at = DatumGetTimestampTz(values[SNAPSHOT_LATEST_AT]);
		fold->state = PointerGetDatum(PG_DETOAST_DATUM_COPY(values[SNAPSHOT_STATE]));
	}
	lookup_end(&lookup);
}

/*
 * Whether an event of a stream was appended by some time; one that is gone was not.
 */
static bool
was_recorded(const char *stream, int length, int64 version, TimestampTz by, Snapshot events)
{
	EventScan  *scan = event_scan_stream(stream, length, version, false, events);
	Event		event;
	bool		was;

	was = event_scan_next(scan, &event) && event.version == version &&
		event_scan_recorded_at(scan, &event) <= by;
	event_scan_end(scan);
	return was;
}

/*
 * Stores a fold as a snapshot, and removes the stream's outdated ones.
 */
void
snapshot_store(const char *stream, int length, const Fold *fold)
{
	static SpiStatement insert = {
		"INSERT INTO event_store.snapshot (stream, version, fingerprint, created_at, updated_at, latest_at, state)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (stream, version) DO UPDATE SET"
		" fingerprint = excluded.fingerprint, created_at = excluded.created_at, updated_at = excluded.updated_at,"
		" latest_at = excluded.latest_at, state = excluded.state"
	};
	static SpiStatement remove = {
		"DELETE FROM event_store.snapshot WHERE stream = $1 AND fingerprint <> $2"
	};
	static const Oid types[SNAPSHOT_COLUMNS] = {
		TEXTOID, INT8OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID
	};
	Datum		name = PointerGetDatum(cstring_to_text_with_len(stream, length));
	Datum		fingerprint = CStringGetTextDatum(aggregate_fingerprint(fold->aggregate));
	Datum		values[SNAPSHOT_COLUMNS] = {
		name, Int64GetDatum(fold->version), fingerprint, TimestampTzGetDatum(fold->created_at),
		TimestampTzGetDatum(fold->updated_at), TimestampTzGetDatum(fold->latest_at), fold->state
	};

	spi_execute(&remove, 2, (Oid[]) {TEXTOID, TEXTOID}, (Datum[]) {name, fingerprint}, NULL);
	spi_execute(&insert, SNAPSHOT_COLUMNS, types, values, NULL);
}

/*
 * Removes the snapshots of all streams.
 */
void
snapshot_forget_all(void)
{
	static SpiStatement remove = {"DELETE FROM event_store.snapshot"};

	spi_execute(&remove, 0, NULL, NULL, NULL);
}

/*
 * Removes all snapshots of a stream, because its events go or change.
 */
void
snapshot_forget(const char *stream, int length)
{
	static SpiStatement remove = {"DELETE FROM event_store.snapshot WHERE stream = $1"};
	Datum		name = PointerGetDatum(cstring_to_text_with_len(stream, length));

	/* Another transaction may have taken one, or removed it, since our snapshot. */
	spi_execute_latest(&remove, 1, (Oid[]) {TEXTOID}, &name, NULL);
}
