/*
 * read_between.c
 *		Reading by time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/snapmgr.h"

#include "event_store/read/event_result.h"
#include "event_store/read/read_call.h"
#include "pg/argument.h"
#include "pg/spi.h"

PG_FUNCTION_INFO_V1(event_store_read_between);
/*
 * event_store.read_between(from_time, to_time, category, max_count)
 *
 * Times are found through a summarizing index, which gives no order: the rows
 * are sorted by the executor and come in portions through a cursor.
 */
Datum
event_store_read_between(PG_FUNCTION_ARGS)
{
	static SpiStatement find = {
		"SELECT e.position, e.stream, e.version, e.event_id, e.event_type, e.schema_version, e.data,"
		" e.metadata, e.occurred_at, e.stream_id, e.category_key FROM event_store.stored_event e"
		" WHERE e.occurred_at BETWEEN $1 AND $2 AND ($3 IS NULL OR e.category_key = $3)"
		" ORDER BY e.occurred_at, e.position"
	};
	static const Oid types[3] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
	EventFilter filter;
	EventResult result;
	Snapshot	snapshot;
	Visibility *visibility;
	Datum		values[3];
	char		nulls[3] = {' ', ' ', 'n'};
	int64		max_count;
	int64		count = 0;
	SpiCursor  *cursor;
	TupleTableSlot *slot;

	argument_not_null(&fcinfo->args[0], "from_time", "-infinity begins with the first event.");
	argument_not_null(&fcinfo->args[1], "to_time", "infinity ends with the last event.");
	max_count = read_max_count(&fcinfo->args[3]);
	read_filter(&filter, &fcinfo->args[2], NULL);
	event_result_begin(fcinfo, &result);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = Int32GetDatum((int32) event_filter_key(&filter));
	if (filter.category != NULL)
		nulls[2] = ' ';
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	visibility = visibility_open(snapshot);
	cursor = spi_cursor_open(&find, 3, types, values, nulls, snapshot);
	while (count < max_count && (slot = spi_cursor_next(cursor)) != NULL)
	{
		Event		event;

		event_from_slot(slot, &event);
		if (!event_filter_admits(&filter, &event) ||
			visibility_hides(visibility, event.stream, event.stream_id, event.version,
							 event.occurred_at))
			continue;
		event_result_put(&result, &event);
		count++;
	}
	event_result_end(&result);
	spi_cursor_close(cursor);
	visibility_close(visibility);
	UnregisterSnapshot(snapshot);
	return (Datum) 0;
}
