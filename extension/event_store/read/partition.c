/*
 * partition.c
 *		Into which partition of a subscription an event falls.
 *
 * By its stream, or by the value that a path finds in it as it was appended: the
 * numbers must stay what they are, whatever upcasters are registered later.  Checkpoints
 * and dumps rely on them, on every machine.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/jsonpath.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "event_store/read/partition.h"

#define METADATA "$metadata"

/* What looking for a value needs is of no use afterwards; a scan looks at many. */
static MemoryContext scratch = NULL;

static uint64 key_of(const EventFilter *filter, const Event *event);
static bool find_value(const PartitionBy *by, const Event *event, JsonbValue *value);
static uint64 hash_text(const char *text, int length);

/*
 * What partition_by says, in the current memory context: a jsonpath into the data, or,
 * from "$metadata" on, into the metadata.  An error of its syntax is jsonpath's own.
 */
PartitionBy *
partition_by_parse(const char *text)
{
	PartitionBy *by = palloc0(sizeof(PartitionBy));
	Size		length = strlen(METADATA);
	char	   *path = pstrdup(text);

	if (strncmp(text, METADATA, length) == 0 && (text[length] == '.' || text[length] == '['))
	{
		by->of_metadata = true;
		path = psprintf("$%s", text + length);
	}
	if (path[0] != '$' || (path[1] != '.' && path[1] != '['))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partition_by \"%s\" is no path into an event", text),
				 errhint("For example '$.customer_id', of the data, or '$metadata.correlation_id'.")));
	by->path = DirectFunctionCall1(jsonpath_in, CStringGetDatum(path));
	return by;
}

/*
 * Fails unless text can be a subscription's partition_by: an error at each event would be
 * too late.  There are no variables here, and what depends on the time zone fails in
 * jsonpath itself, at some values.  Written out, both stand where no name or string is.
 */
void
partition_by_check(const char *text)
{
	PartitionBy *by = partition_by_parse(text);
	const char *at = DatumGetCString(DirectFunctionCall1(jsonpath_out, by->path));
	bool		quoted = false;

	for (; *at != '\0'; at++)
	{
		if (quoted && *at == '\\')
			at++;
		else if (!quoted && (strncmp(at, "$\"", 2) == 0 || strncmp(at, ".date", 5) == 0 ||
							 strncmp(at, ".time", 5) == 0))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("partition_by \"%s\" has a variable, or a date or time", text),
					 errdetail("In some events, or in all, it could not be evaluated."),
					 errhint("A path that leads to a text or a number will do.")));
		else if (*at == '"')
			quoted = !quoted;
	}
}

/*
 * The number of an event's partition when there are so many.
 */
int
event_partition(const EventFilter *filter, const Event *event, int partitions)
{
	MemoryContext old;
	uint64		key;

	if (likely(filter->partition_by == NULL))
		return (int) (event->stream_id % partitions);
	if (scratch == NULL)
		scratch = AllocSetContextCreate(TopMemoryContext, "partition of an event",
										ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	key = key_of(filter, event);
	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
	return (int) (key % (uint64) partitions);
}

/*
 * Events without the value go by their streams.
 */
static uint64
key_of(const EventFilter *filter, const Event *event)
{
	JsonbValue	value;
	char	   *text;

	if (!find_value(filter->partition_by, event, &value))
		return (uint64) event->stream_id;
	switch (value.type)
	{
		case jbvString:
			return hash_text(value.val.string.val, value.val.string.len);
		case jbvNumeric:
			text = numeric_normalize(value.val.numeric);
			return hash_text(text, (int) strlen(text));
		case jbvBool:
			return hash_text(value.val.boolean ? "t" : "f", 1);
		default:
			return (uint64) event->stream_id;
	}
}

/*
 * The scalar that the path finds first, if it finds one.
 */
static bool
find_value(const PartitionBy *by, const Event *event, JsonbValue *value)
{
	static Jsonb *no_variables = NULL;
	LOCAL_FCINFO(call, 4);
	Jsonb	   *document = by->of_metadata ? event->metadata : event->data;
	Datum		found;

	if (no_variables == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		no_variables = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
		MemoryContextSwitchTo(old);
	}
	InitFunctionCallInfoData(*call, NULL, 4, InvalidOid, NULL, NULL);
	call->args[0] = (NullableDatum) {JsonbPGetDatum(document), false};
	call->args[1] = (NullableDatum) {by->path, false};
	call->args[2] = (NullableDatum) {JsonbPGetDatum(no_variables), false};
	call->args[3] = (NullableDatum) {BoolGetDatum(true), false};
	found = jsonb_path_query_first(call);
	return !call->isnull && JsonbExtractScalar(&DatumGetJsonbP(found)->root, value);
}

/*
 * FNV-1a, 64 bits: the same on every machine.
 */
static uint64
hash_text(const char *text, int length)
{
	uint64		hash = UINT64CONST(14695981039346656037);

	for (int i = 0; i < length; i++)
		hash = (hash ^ (unsigned char) text[i]) * UINT64CONST(1099511628211);
	/* The lowest bits of FNV are its weakest. */
	return hash >> 16;
}
