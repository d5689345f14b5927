/*
 * new_event.c
 *		Events to append, read from SQL arguments and checked.
 *
 * All checks come before anything is locked or written.  Messages count events
 * from 0.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "event_store/append/new_event.h"
#include "event_store/contract/contract.h"
#include "event_store/stream/deletion.h"
#include "event_store/stream/stream.h"
#include "pg/clock.h"
#include "pg/context.h"
#include "pg/document.h"
#include "pg/settings.h"

/* Columns of event_store.new_event, which are the keys of append_json's objects. */
typedef enum NewEventColumn
{
	NEW_EVENT_TYPE,
	NEW_EVENT_DATA,
	NEW_EVENT_METADATA,
	NEW_EVENT_ID,
	NEW_EVENT_OCCURRED_AT,
	NEW_EVENT_SCHEMA_VERSION,
	NEW_EVENT_COLUMNS
} NewEventColumn;

#define TIME_HINT "Use ISO 8601 in UTC, for example 2026-01-31T12:00:00Z."
#define VERSION_HINT "Leave it out, or count from 1."

static const char *const column_names[NEW_EVENT_COLUMNS] = {
	"event_type", "data", "metadata", "event_id", "occurred_at", "schema_version"
};

static const DocumentLimit data_limit = {
	&setting_event_store_max_event_size, "event_store.max_event_size", ERRCODE_ST_INVALID_EVENT
};
static const DocumentLimit metadata_limit = {
	&setting_event_store_max_metadata_size, "event_store.max_metadata_size",
	ERRCODE_ST_INVALID_EVENT
};

static void check_count(int count);
static void read_row(HeapTupleHeader row, int number, NewEvent *event);
static void read_object(JsonbContainer *object, int number, NewEvent *event);
static void read_member(int column, JsonbValue *value, int number, NewEvent *event);
static int32 read_schema_version(JsonbValue *value, int number);
static void check_event(NewEvent *event, int number);
static void check_event_type(NewEvent *event, int number);
static void check_metadata(Jsonb *metadata, int number);
static void check_distinct_ids(NewEvents *events);
static const char *path(int number, const char *column);
static void invalid(int number, const char *column, const char *problem, const char *hint)
			pg_attribute_noreturn();

/*
 * Reads an array of event_store.new_event.
 */
void
new_events_from_array(ArrayType *array, NewEvents *events)
{
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *rows;
	bool	   *nulls;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("events must be an array of one dimension"),
				 errhint("Pass ARRAY[ROW('OrderCreated', '{}', NULL, NULL, NULL, NULL)::event_store.new_event].")));
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align,
					  &rows, &nulls, &events->count);
	check_count(events->count);
	events->events = palloc0(sizeof(NewEvent) * Max(events->count, 1));
	for (int i = 0; i < events->count; i++)
	{
		if (nulls[i])
			invalid(i, NULL, "is null", "Pass an event_store.new_event.");
		read_row(DatumGetHeapTupleHeader(rows[i]), i, &events->events[i]);
	}
}

/*
 * Reads a JSON array of objects with the keys of event_store.new_event.
 */
void
new_events_from_json(Jsonb *json, NewEvents *events)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token PG_USED_FOR_ASSERTS_ONLY;
	JsonbValue	value;
	int			number = 0;

	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("events is not a JSON array"),
				 errhint("Pass [{\"event_type\": \"OrderCreated\", \"data\": {}}].")));
	events->count = JB_ROOT_COUNT(json);
	check_count(events->count);
	events->events = palloc0(sizeof(NewEvent) * Max(events->count, 1));
	iterator = JsonbIteratorInit(&json->root);
	token = JsonbIteratorNext(&iterator, &value, true);
	Assert(token == WJB_BEGIN_ARRAY);
	while (JsonbIteratorNext(&iterator, &value, true) == WJB_ELEM)
	{
		if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
			invalid(number, NULL, "is not a JSON object",
					"Pass an object such as {\"event_type\": \"OrderCreated\", \"data\": {}}.");
		read_object(value.val.binary.data, number, &events->events[number]);
		number++;
	}
}

/*
 * Checks every event before anything is written, and stamps its metadata.
 */
void
new_events_check(NewEvents *events)
{
	for (int i = 0; i < events->count; i++)
		check_event(&events->events[i], events->single ? -1 : i);
	if (events->count > 1)
		check_distinct_ids(events);
}

static void
check_count(int count)
{
	if (count > EVENTS_PER_APPEND_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_ST_INVALID_EVENT),
				 errmsg("%d events in one call, more than %d", count, EVENTS_PER_APPEND_MAX),
				 errhint("Append them in several calls inside one transaction.")));
}

static void
read_row(HeapTupleHeader row, int number, NewEvent *event)
{
	TupleDesc	descriptor = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row),
													HeapTupleHeaderGetTypMod(row));
	HeapTupleData tuple;
	Datum		values[NEW_EVENT_COLUMNS];
	bool		nulls[NEW_EVENT_COLUMNS];

	if (descriptor->natts != NEW_EVENT_COLUMNS)
		elog(ERROR, "event_store.new_event has %d columns", descriptor->natts);
	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = row;
	heap_deform_tuple(&tuple, descriptor, values, nulls);
	ReleaseTupleDesc(descriptor);

	if (!nulls[NEW_EVENT_TYPE])
		event->event_type = DatumGetTextPP(values[NEW_EVENT_TYPE]);
	if (!nulls[NEW_EVENT_DATA])
		event->data = DatumGetJsonbP(values[NEW_EVENT_DATA]);
	if (!nulls[NEW_EVENT_METADATA])
		event->metadata = DatumGetJsonbP(values[NEW_EVENT_METADATA]);
	event->has_event_id = !nulls[NEW_EVENT_ID];
	if (event->has_event_id)
		event->event_id = *DatumGetUUIDP(values[NEW_EVENT_ID]);
	event->has_occurred_at = !nulls[NEW_EVENT_OCCURRED_AT];
	if (event->has_occurred_at)
		event->occurred_at = DatumGetTimestampTz(values[NEW_EVENT_OCCURRED_AT]);
	if (!nulls[NEW_EVENT_SCHEMA_VERSION])
		new_event_version(event, DatumGetInt32(values[NEW_EVENT_SCHEMA_VERSION]), number);
}

/*
 * Takes the schema version that is given for an event.
 */
void
new_event_version(NewEvent *event, int32 schema_version, int number)
{
	if (schema_version < 1)
		invalid(number, "schema_version", "is not a whole number of 1 or more", VERSION_HINT);
	event->schema_version = schema_version;
}

static void
read_object(JsonbContainer *object, int number, NewEvent *event)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token PG_USED_FOR_ASSERTS_ONLY;
	JsonbValue	key;
	JsonbValue	value;

	token = JsonbIteratorNext(&iterator, &key, true);
	Assert(token == WJB_BEGIN_OBJECT);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		int			column = 0;

		while (column < NEW_EVENT_COLUMNS &&
			   !(strlen(column_names[column]) == key.val.string.len &&
				 memcmp(column_names[column], key.val.string.val, key.val.string.len) == 0))
			column++;
		if (column == NEW_EVENT_COLUMNS)
			ereport(ERROR,
					(errcode(ERRCODE_ST_INVALID_EVENT),
					 errmsg("events[%d] has an unknown key \"%.*s\"", number,
							key.val.string.len, key.val.string.val),
					 errhint("Known keys are event_type, data, metadata, event_id, occurred_at and schema_version.")));
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (value.type != jbvNull)
			read_member(column, &value, number, event);
	}
}

static void
read_member(int column, JsonbValue *value, int number, NewEvent *event)
{
	bool		is_string = value->type == jbvString;

	switch ((NewEventColumn) column)
	{
		case NEW_EVENT_TYPE:
			if (!is_string)
				invalid(number, "event_type", "is not a string",
						"Pass a name such as \"OrderCreated\".");
			event->event_type =
				cstring_to_text_with_len(value->val.string.val, value->val.string.len);
			break;
		case NEW_EVENT_DATA:
			event->data = JsonbValueToJsonb(value);
			break;
		case NEW_EVENT_METADATA:
			event->metadata = JsonbValueToJsonb(value);
			break;
		case NEW_EVENT_ID:
			if (!is_string ||
				!uuid_parse(value->val.string.val, value->val.string.len, &event->event_id))
				invalid(number, "event_id", "is not a UUID", "Leave it out to have one generated.");
			event->has_event_id = true;
			break;
		case NEW_EVENT_OCCURRED_AT:
			if (!is_string ||
				!compat_timestamptz_parse(pnstrdup(value->val.string.val, value->val.string.len),
										  &event->occurred_at))
				invalid(number, "occurred_at", "is not a time", TIME_HINT);
			event->has_occurred_at = true;
			break;
		case NEW_EVENT_SCHEMA_VERSION:
			event->schema_version = read_schema_version(value, number);
			break;
		case NEW_EVENT_COLUMNS:
			break;
	}
}

static int32
read_schema_version(JsonbValue *value, int number)
{
	char	   *digits = value->type == jbvNumeric ? numeric_normalize(value->val.numeric) : "";
	long		version = 0;

	if (digits[0] != '\0' && strspn(digits, "0123456789") == strlen(digits) && strlen(digits) <= 9)
		version = strtol(digits, NULL, 10);
	if (version < 1)
		invalid(number, "schema_version", "is not a whole number of 1 or more", VERSION_HINT);
	return (int32) version;
}

static void
check_event(NewEvent *event, int number)
{
	DocumentFault fault;

	check_event_type(event, number);
	if (event->data == NULL || !JB_ROOT_IS_OBJECT(event->data))
		invalid(number, "data", "is not a JSON object",
				"Pass an object, {} if there is nothing to say.");
	/* The contract first: it says where in the document something is wrong. */
	event->data = contract_check(VARDATA_ANY(event->event_type),
								 VARSIZE_ANY_EXHDR(event->event_type),
								 &event->schema_version, event->data, number);
	fault = document_fault(event->data, setting_event_store_max_event_size);
	if (unlikely(fault != DOCUMENT_FINE))
		document_refuse(fault, event->data, &data_limit, path(number, "data"));
	if (event->has_occurred_at)
		(void) clock_finite(event->occurred_at, path(number, "occurred_at"));
	if (event->metadata != NULL && !JB_ROOT_IS_OBJECT(event->metadata))
		invalid(number, "metadata", "is not a JSON object", "Pass an object, or NULL for {}.");
	if (event->metadata == NULL)
		event->metadata = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	event->metadata = context_stamp(event->metadata);
	if (JB_ROOT_COUNT(event->metadata) > 0)
		check_metadata(event->metadata, number);
}

static void
check_event_type(NewEvent *event, int number)
{
	int			length;

	if (event->event_type == NULL || VARSIZE_ANY_EXHDR(event->event_type) == 0)
		invalid(number, "event_type", "is empty",
				"Name it in the past tense, for example OrderCreated.");
	length = VARSIZE_ANY_EXHDR(event->event_type);
	if (length > EVENT_TYPE_MAX)
		invalid(number, "event_type", "has more than 255 bytes",
				"Use a shorter name, for example OrderCreated.");
	if (control_character(VARDATA_ANY(event->event_type), length) >= 0)
		invalid(number, "event_type", "has a control character", "Use printable characters only.");
	if (deletion_type(VARDATA_ANY(event->event_type), length))
		invalid(number, "event_type", "is reserved",
				"event_store.delete_stream() and tombstone_stream() make these events.");
}

static void
check_metadata(Jsonb *metadata, int number)
{
	DocumentFault fault = document_fault(metadata, setting_event_store_max_metadata_size);
	JsonbValue	buffer;
	JsonbValue *correlation;
	pg_uuid_t	uuid;

	if (unlikely(fault != DOCUMENT_FINE))
		document_refuse(fault, metadata, &metadata_limit, path(number, "metadata"));
	correlation = getKeyJsonValueFromContainer(&metadata->root, "correlation_id",
											   strlen("correlation_id"), &buffer);
	if (correlation == NULL)
		return;
	if (correlation->type != jbvString ||
		!uuid_parse(correlation->val.string.val, correlation->val.string.len, &uuid))
		invalid(number, "metadata.correlation_id", "is not a UUID",
				"Leave it out, or set it with ecommerce.set_context().");
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(*(pg_uuid_t *const *) a, *(pg_uuid_t *const *) b, sizeof(pg_uuid_t));
}

static void
check_distinct_ids(NewEvents *events)
{
	pg_uuid_t **ids = palloc(sizeof(pg_uuid_t *) * events->count);
	int			count = 0;

	for (int i = 0; i < events->count; i++)
	{
		if (events->events[i].has_event_id)
			ids[count++] = &events->events[i].event_id;
	}
	qsort(ids, count, sizeof(pg_uuid_t *), compare_ids);
	for (int i = 1; i < count; i++)
	{
		if (memcmp(ids[i - 1], ids[i], sizeof(pg_uuid_t)) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_ST_DUPLICATE_EVENT),
					 errmsg("event id %s stands twice in one call",
							DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(ids[i])))),
					 errhint("Give each event an id of its own, or none.")));
	}
}

/*
 * Where in the call something stands; number is -1 for an event given by itself.
 */
static const char *
path(int number, const char *column)
{
	if (number < 0)
		return column;
	return column != NULL ? psprintf("events[%d].%s", number, column)
						  : psprintf("events[%d]", number);
}

static void
invalid(int number, const char *column, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_ST_INVALID_EVENT),
			 errmsg("%s %s", path(number, column), problem),
			 errhint("%s", hint)));
}
