/*
 * read.c
 *		Reading events: scans in index order.
 *
 * Every scan runs under a snapshot that the caller took after the high-water
 * mark, and gives rows in the order of one index.  Nothing is locked beyond the
 * tables, and those only while the scan is open.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"

#include "base/errors.h"
#include "event_store/contract/contract.h"
#include "event_store/read/partition.h"
#include "event_store/read/read.h"
#include "event_store/stream/deletion.h"
#include "event_store/stream/stream.h"
#include "event_store/stream/table.h"
#include "log/position.h"
#include "pg/scan.h"

/* Of two tables that are read in one order: whether the next row of one is at hand. */
typedef enum Ahead
{
	AHEAD_UNKNOWN,
	AHEAD_ROW,
	AHEAD_END
} Ahead;

struct EventScan
{
	TableScan	rows;
	Ahead		row_ahead;
	bool		mixed;			/* with the deletions of streams */
	TableScan	deletions;
	Ahead		deletion_ahead;
	ScanDirection direction;
	EventFilter filter;
	Visibility *visibility;
	int64		position;		/* of the last row looked at */
	int64		looks_left;
};

static EventScan *begin_scan(ExtensionRelation *index, int nkeys, ScanKey keys,
							 ScanDirection direction, Snapshot snapshot);
static TupleTableSlot *next_of_both(EventScan *scan);
static bool is_ahead(Ahead *ahead, TableScan *rows, ScanDirection direction);
static void note_type(EventFilter *filter, const text *type);

/*
 * Events above after and up to upto by position, as the filter wants them; of one
 * category without touching the others.
 */
static EventScan *
scan_positions(const EventFilter *filter, int64 after, int64 upto, ScanDirection direction,
			   Snapshot snapshot)
{
	ScanKeyData keys[3];
	int			count = 0;
	EventScan  *scan;
	int			column = 1;
	ExtensionRelation *index = &index_event_position;
	ExtensionRelation *deletion_index = &index_deletion_position;

	if (filter->category != NULL)
	{
		index = &index_event_category;
		deletion_index = &index_deletion_category;
		key_int4(&keys[count++], column++, BTEqualStrategyNumber,
				 (int32) category_key(filter->category, filter->category_length));
	}
	key_int8(&keys[count++], column, BTGreaterStrategyNumber, after);
	key_int8(&keys[count++], column, BTLessEqualStrategyNumber, upto);
	scan = begin_scan(index, count, keys, direction, snapshot);
	scan->filter = *filter;
	scan->position = after;
	if (filter->of_consumer)
		event_scan_for_consumer(scan);
	scan->mixed = filter->deletions && deletion_any();
	if (scan->mixed)
		table_scan_begin(&scan->deletions, &relation_deletion, deletion_index, count, keys,
						 snapshot);
	return scan;
}

/*
 * Events above after and up to mark in order of position.
 */
EventScan *
event_scan_positions(const EventFilter *filter, int64 after, int64 mark, Snapshot snapshot)
{
	return scan_positions(filter, after, mark, ForwardScanDirection, snapshot);
}

/*
 * Events up to upto, the newest first.
 */
EventScan *
event_scan_backward(const EventFilter *filter, int64 upto, Snapshot snapshot)
{
	return scan_positions(filter, 0, upto, BackwardScanDirection, snapshot);
}

/*
 * The events of a stream from a version on (0: from its end), in order of
 * version or backward.
 */
EventScan *
event_scan_stream(const char *stream_text, int length, int64 from_version, bool backward,
				  Snapshot snapshot)
{
	StreamName	name;
	ScanKeyData keys[2];
	int			count = 1;

	stream_name(&name, stream_text, length);
	key_int8(&keys[0], 1, BTEqualStrategyNumber, stream_id(&name, snapshot));
	if (from_version > 0)
		key_int8(&keys[count++], 2,
				 backward ? BTLessEqualStrategyNumber : BTGreaterEqualStrategyNumber,
				 from_version);
	return begin_scan(&index_event_version, count, keys,
					  backward ? BackwardScanDirection : ForwardScanDirection, snapshot);
}

/*
 * The events of a correlation in order of position.
 */
EventScan *
event_scan_correlation(const pg_uuid_t *correlation_id, Snapshot snapshot)
{
	ScanKeyData key;

	key_uuid(&key, 1, correlation_id);
	return begin_scan(&index_event_correlation, 1, &key, ForwardScanDirection, snapshot);
}

/*
 * The event with an id.
 */
EventScan *
event_scan_id(const pg_uuid_t *event_id, Snapshot snapshot)
{
	ScanKeyData key;

	key_uuid(&key, 1, event_id);
	return begin_scan(&index_event_id, 1, &key, ForwardScanDirection, snapshot);
}

static EventScan *
begin_scan(ExtensionRelation *index, int nkeys, ScanKey keys, ScanDirection direction,
		   Snapshot snapshot)
{
	EventScan  *scan = palloc0(sizeof(EventScan));

	/* Upcasters count from their registration on; locks held already would not tell. */
	AcceptInvalidationMessages();
	table_scan_begin(&scan->rows, &relation_stored_event, index, nkeys, keys, snapshot);
	scan->visibility = visibility_open(snapshot);
	scan->direction = direction;
	scan->looks_left = PG_INT64_MAX;
	return scan;
}

/*
 * The next event that the filter admits and that is not hidden; false at the
 * end.
 */
bool
event_scan_next(EventScan *scan, Event *event)
{
	while (scan->looks_left-- > 0)
	{
		TupleTableSlot *row = scan->rows.slot;

		if (unlikely(scan->mixed))
			row = next_of_both(scan);
		else if (!table_scan_next_slot(&scan->rows, scan->direction))
			row = NULL;
		if (row == NULL)
			return false;
		event_from_slot(row, event);
		scan->position = event->position;
		/* What deletion hides is not the deletion. */
		if (event_filter_admits(&scan->filter, event) &&
			(row != scan->rows.slot ||
			 !visibility_hides(scan->visibility, event->stream, event->stream_id,
							   event->version, event->occurred_at)))
			return true;
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/*
 * The next row of events and deletions in the order of their positions, NULL at the
 * end.
 */
static TupleTableSlot *
next_of_both(EventScan *scan)
{
	bool		isnull;
	bool		event = is_ahead(&scan->row_ahead, &scan->rows, scan->direction);
	bool		deletion = is_ahead(&scan->deletion_ahead, &scan->deletions, scan->direction);

	if (event && deletion)
	{
		int64		of_event =
			DatumGetInt64(slot_getattr(scan->rows.slot, EVENT_POSITION + 1, &isnull));
		int64		of_deletion =
			DatumGetInt64(slot_getattr(scan->deletions.slot, EVENT_POSITION + 1, &isnull));

		event = (of_event < of_deletion) == ScanDirectionIsForward(scan->direction);
	}
	if (event)
	{
		scan->row_ahead = AHEAD_UNKNOWN;
		return scan->rows.slot;
	}
	if (!deletion)
		return NULL;
	scan->deletion_ahead = AHEAD_UNKNOWN;
	return scan->deletions.slot;
}

/*
 * Looks for a table's next row, unless that is at hand; false when there is none.
 */
static bool
is_ahead(Ahead *ahead, TableScan *rows, ScanDirection direction)
{
	if (*ahead == AHEAD_UNKNOWN)
		*ahead = table_scan_next_slot(rows, direction) ? AHEAD_ROW : AHEAD_END;
	return *ahead == AHEAD_ROW;
}

/*
 * Lets a scan give what retention hides too: a subscription or a projection gets
 * every event, however late.
 */
void
event_scan_for_consumer(EventScan *scan)
{
	visibility_ignore_retention(scan->visibility);
}

/*
 * Lets a scan end after so many events, admitted or not.
 */
void
event_scan_limit(EventScan *scan, int64 looks)
{
	scan->looks_left = looks;
}

/*
 * Whether a scan ended because of that, and there may be more.
 */
bool
event_scan_was_limited(const EventScan *scan)
{
	return scan->looks_left < 0;
}

/*
 * The position of the last event that a scan by position has looked at, admitted or
 * not; where it began if there was none.
 */
int64
event_scan_position(const EventScan *scan)
{
	return scan->position;
}

/*
 * Begins a scan again with its first event.
 */
void
event_scan_restart(EventScan *scan)
{
	index_rescan(scan->rows.scan, NULL, scan->rows.scan->numberOfKeys, NULL, 0);
	scan->row_ahead = AHEAD_UNKNOWN;
	if (!scan->mixed)
		return;
	index_rescan(scan->deletions.scan, NULL, scan->deletions.scan->numberOfKeys, NULL, 0);
	scan->deletion_ahead = AHEAD_UNKNOWN;
}

void
event_scan_end(EventScan *scan)
{
	visibility_close(scan->visibility);
	if (scan->mixed)
		table_scan_end(&scan->deletions);
	table_scan_end(&scan->rows);
	pfree(scan);
}

/*
 * Restricts a filter to some event types; NULL restricts nothing.  "*" is every type
 * but those of deletions, which come only when they are named.
 */
void
event_filter_types(EventFilter *filter, ArrayType *types)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	filter->type_count = 0;
	filter->all_types = filter->deletions = false;
	if (types == NULL)
		return;
	deconstruct_array(types, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	filter->types = palloc(sizeof(text *) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("event_types[%d] must not be null", i),
					 errhint("Name the types, for example '{OrderCreated,OrderCancelled}', or pass NULL for all.")));
		filter->types[filter->type_count] = DatumGetTextPP(elements[i]);
		note_type(filter, filter->types[filter->type_count++]);
	}
	/* An empty list admits nothing: -1 types can never match. */
	if (count == 0)
		filter->type_count = -1;
}

static void
note_type(EventFilter *filter, const text *type)
{
	const char *name = VARDATA_ANY(type);
	int			length = VARSIZE_ANY_EXHDR(type);

	filter->all_types |= length == 1 && name[0] == '*';
	filter->deletions |= deletion_type(name, length);
}

/*
 * Refuses a list of types for something that lasts and could never get an event.
 */
void
event_filter_refuse_none(const EventFilter *filter)
{
	if (filter->type_count < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event_types must not be empty"),
				 errhint("Name the types, for example '{OrderCreated,OrderCancelled}', or pass NULL for all.")));
}

static inline bool
text_equals(const text *value, const char *text, int length)
{
	return VARSIZE_ANY_EXHDR(value) == length && memcmp(VARDATA_ANY(value), text, length) == 0;
}

/*
 * Whether an event passes a filter.  Keys are hashes, so names are compared too.
 */
bool
event_filter_admits(const EventFilter *filter, const Event *event)
{
	if (filter->category != NULL)
	{
		const char *stream = VARDATA_ANY(event->stream);
		int			length = VARSIZE_ANY_EXHDR(event->stream);

		if (category_length(stream, length) != filter->category_length ||
			memcmp(stream, filter->category, filter->category_length) != 0)
			return false;
	}
	if (filter->stream != NULL &&
		!text_equals(event->stream, filter->stream, filter->stream_length))
		return false;
	if (filter->partitions > 0 &&
		event_partition(filter, event, filter->partitions) != filter->partition)
		return false;
	if (unlikely(filter->passed_count > 0) &&
		event->position <= filter->passed[event_partition(filter, event, filter->passed_count)])
		return false;
	if (filter->type_count == 0 ||
		(filter->all_types && !deletion_type(VARDATA_ANY(event->event_type),
											 VARSIZE_ANY_EXHDR(event->event_type))))
		return true;
	for (int i = 0; i < filter->type_count; i++)
	{
		if (text_equals(event->event_type, VARDATA_ANY(filter->types[i]),
						VARSIZE_ANY_EXHDR(filter->types[i])))
			return true;
	}
	return false;
}

/*
 * When the event that a scan has just given was appended: when it occurred, unless who
 * appended it said when that was.
 */
TimestampTz
event_scan_recorded_at(const EventScan *scan, const Event *event)
{
	bool		isnull;
	Datum		value = slot_getattr(scan->rows.slot, EVENT_RECORDED_AT + 1, &isnull);

	return isnull ? event->occurred_at : DatumGetTimestampTz(value);
}

/*
 * Reads a row of stored_event, with all its columns in their order; the last need not
 * be there.
 */
void
event_from_slot(TupleTableSlot *slot, Event *event)
{
	Datum	   *values = slot->tts_values;

	slot_getsomeattrs(slot, EVENT_CATEGORY_KEY + 1);
	event->stored = ExecFetchSlotHeapTuple(slot, false, NULL);
	event->position = DatumGetInt64(values[EVENT_POSITION]);
	event->stream_id = DatumGetInt64(values[EVENT_STREAM_ID]);
	event->version = DatumGetInt64(values[EVENT_VERSION]);
	event->occurred_at = DatumGetTimestampTz(values[EVENT_OCCURRED_AT]);
	event->event_id = DatumGetUUIDP(values[EVENT_EVENT_ID]);
	event->schema_version = DatumGetInt32(values[EVENT_SCHEMA_VERSION]);
	event->stream = (text *) DatumGetPointer(values[EVENT_STREAM]);
	event->event_type = (text *) DatumGetPointer(values[EVENT_EVENT_TYPE]);
	/* May be compressed or out of line; who looks inside must detoast. */
	event->metadata = (Jsonb *) DatumGetPointer(values[EVENT_METADATA]);
	event->data = (Jsonb *) DatumGetPointer(values[EVENT_DATA]);
}

/*
 * Brings a value in that is stored out of line: what we give out may outlive
 * the snapshot that protects it.
 */
static inline struct varlena *
fetch_external(Jsonb *value)
{
	if (VARATT_IS_EXTERNAL(value))
		return detoast_external_attr((struct varlena *) value);
	return (struct varlena *) value;
}

/*
 * Says of which event an upcaster is not capable.
 */
static void
name_upcast_event(void *argument)
{
	const Event *event = argument;

	errcontext("upcasting version " INT64_FORMAT " of stream \"%s\", position " INT64_FORMAT
			   ", from version %d of \"%s\"",
			   event->version, text_to_cstring(event->stream), event->position,
			   event->schema_version, text_to_cstring(event->event_type));
}

/*
 * An event's data in the current version of its type; *schema_version is that.
 */
static Jsonb *
upcast_data(const Event *event, Jsonb *data, int32 *schema_version, Upcasting *many)
{
	const char *type = VARDATA_ANY(event->event_type);
	int			length = VARSIZE_ANY_EXHDR(event->event_type);
	ErrorContextCallback callback = {
		error_context_stack, name_upcast_event, unconstify(Event *, event)
	};

	error_context_stack = &callback;
	data = contract_upcast(type, length, schema_version, data, many);
	error_context_stack = callback.previous;
	return data;
}

/*
 * The nine columns of event_store.event, data as it is stored.  Both arrays have
 * room for spare attributes.
 */
void
event_to_stored_values(const Event *event, Datum *values, bool *nulls)
{
	values[EVENT_POSITION] = Int64GetDatum(event->position);
	values[EVENT_STREAM] = PointerGetDatum(event->stream);
	values[EVENT_VERSION] = Int64GetDatum(event->version);
	values[EVENT_EVENT_ID] = UUIDPGetDatum(event->event_id);
	values[EVENT_EVENT_TYPE] = PointerGetDatum(event->event_type);
	values[EVENT_SCHEMA_VERSION] = Int32GetDatum(event->schema_version);
	values[EVENT_DATA] = PointerGetDatum(fetch_external(event->data));
	values[EVENT_METADATA] = PointerGetDatum(fetch_external(event->metadata));
	values[EVENT_OCCURRED_AT] = TimestampTzGetDatum(event->occurred_at);
	memset(nulls, false, sizeof(bool) * EVENT_PUBLIC_COLUMNS);
	memset(nulls + EVENT_PUBLIC_COLUMNS, true, sizeof(bool) * SPARE_ATTRIBUTES);
}

/*
 * The same with data in the current shape; many as in contract_upcast().
 */
void
event_to_values(const Event *event, Datum *values, bool *nulls, Upcasting *many)
{
	int32		schema_version = event->schema_version;

	event_to_stored_values(event, values, nulls);
	values[EVENT_DATA] = JsonbPGetDatum(
		upcast_data(event, (Jsonb *) DatumGetPointer(values[EVENT_DATA]), &schema_version, many));
	values[EVENT_SCHEMA_VERSION] = Int32GetDatum(schema_version);
}

/*
 * An event as a value of event_store.event, which has been checked; palloc'd.
 */
Datum
event_to_datum(const Event *event, TupleDesc descriptor)
{
	Datum		values[EVENT_PUBLIC_COLUMNS + SPARE_ATTRIBUTES];
	bool		nulls[EVENT_PUBLIC_COLUMNS + SPARE_ATTRIBUTES];

	event_to_values(event, values, nulls, NULL);
	return heap_copy_tuple_as_datum(heap_form_tuple(descriptor, values, nulls), descriptor);
}

/*
 * The key whose writers hold a reader with this filter back.
 */
uint32
event_filter_key(const EventFilter *filter)
{
	if (filter->category != NULL)
		return category_key(filter->category, filter->category_length);
	if (filter->stream != NULL)
		return category_key(filter->stream, category_length(filter->stream, filter->stream_length));
	return POSITION_ANY_KEY;
}
