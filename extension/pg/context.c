/*
 * context.c
 *		Who acts and why, for the length of a transaction.
 *
 * Lives in TopTransactionContext, and ends with the transaction or the savepoint
 * that it was set in (scoped.c).
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/context.h"
#include "pg/document.h"
#include "pg/result.h"
#include "pg/scoped.h"
#include "pg/settings.h"

static Scoped scoped;

static pg_uuid_t *copy_uuid(const pg_uuid_t *uuid);
static void push_string(JsonbParseState **state, const char *key, const char *value);
static void push_uuid(JsonbParseState **state, const char *key, const pg_uuid_t *uuid);
static void push_members(JsonbParseState **state, Jsonb *object);
static void check_context(const Context *context);
static bool is_traceparent(const char *text);

/*
 * The transaction's context, NULL if none is set.
 */
const Context *
context_get(void)
{
	return (const Context *) DatumGetPointer(scoped_get(&scoped));
}

/*
 * Sets the context until the transaction ends or the savepoint is rolled back.
 * Copies everything.
 */
void
context_set(const Context *context)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Context    *copy = palloc0(sizeof(Context));

	copy->correlation_id = copy_uuid(context->correlation_id);
	copy->conversation_id = copy_uuid(context->conversation_id);
	copy->causation_id = copy_uuid(context->causation_id);
	copy->user_id = context->user_id ? pstrdup(context->user_id) : NULL;
	copy->tenant_id = context->tenant_id ? pstrdup(context->tenant_id) : NULL;
	copy->traceparent = context->traceparent ? pstrdup(context->traceparent) : NULL;
	if (context->headers != NULL)
	{
		copy->headers = palloc(VARSIZE(context->headers));
		memcpy(copy->headers, context->headers, VARSIZE(context->headers));
	}
	else
	{
		JsonbParseState *state = NULL;

		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		copy->headers = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	}
	MemoryContextSwitchTo(old);
	context_put_back(copy);
}

/*
 * Sets what context_get() has given in this transaction, NULL for none.
 */
void
context_put_back(const Context *context)
{
	scoped_set(&scoped, PointerGetDatum(context));
}

/*
 * An event's metadata with the context's members added; members that are there
 * already win.  Gives back its argument when there is nothing to add.
 */
Jsonb *
context_stamp(Jsonb *metadata)
{
	const Context *current = context_get();
	const char *source = setting_ecommerce_source;
	bool		has_source = source != NULL && source[0] != '\0';
	JsonbParseState *state = NULL;

	if (current == NULL && !has_source)
		return metadata;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (current != NULL)
	{
		push_uuid(&state, "correlation_id", current->correlation_id);
		push_uuid(&state, "conversation_id", current->conversation_id);
		push_uuid(&state, "causation_id", current->causation_id);
		push_string(&state, "user_id", current->user_id);
		push_string(&state, "tenant_id", current->tenant_id);
		push_string(&state, "traceparent", current->traceparent);
		if (JB_ROOT_COUNT(current->headers) > 0)
		{
			JsonbValue	key;
			JsonbValue	value;

			key.type = jbvString;
			key.val.string.val = "headers";
			key.val.string.len = strlen("headers");
			pushJsonbValue(&state, WJB_KEY, &key);
			value.type = jbvBinary;
			value.val.binary.data = &current->headers->root;
			value.val.binary.len = VARSIZE(current->headers) - VARHDRSZ;
			pushJsonbValue(&state, WJB_VALUE, &value);
		}
	}
	if (has_source)
		push_string(&state, "source", setting_ecommerce_source);
	/* Of equal keys jsonb keeps the last. */
	push_members(&state, metadata);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * The value of a hexadecimal digit, -1 for anything else.  An append asks a
 * hundred times.
 */
static inline int
hex_digit(char character)
{
	unsigned int digit = (unsigned int) (unsigned char) character - '0';
	unsigned int letter = ((unsigned char) character | 0x20) - 'a';

	if (digit < 10)
		return (int) digit;
	return letter < 6 ? (int) letter + 10 : -1;
}

/*
 * Reads a UUID as uuid_in() does, but answers false instead of failing.
 */
bool
uuid_parse(const char *text, int length, pg_uuid_t *uuid)
{
	const char *end = text + length;
	bool		braces = length > 0 && *text == '{';

	if (braces)
		text++;
	for (int i = 0; i < UUID_LEN; i++)
	{
		int			high;
		int			low;

		if (end - text < 2 || (high = hex_digit(text[0])) < 0 || (low = hex_digit(text[1])) < 0)
			return false;
		text += 2;
		uuid->data[i] = (unsigned char) (high * 16 + low);
		if (text < end && *text == '-' && i % 2 == 1 && i < UUID_LEN - 1)
			text++;
	}
	if (braces && (text >= end || *text++ != '}'))
		return false;
	return text == end;
}

/*
 * Random bytes for the rest of one UUID.  Asking for those of many at once costs
 * hardly more than for one; no process inherits what another has left, because
 * the postmaster asks for none.
 */
static const unsigned char *
random_bytes(void)
{
	static unsigned char pool[64][UUID_LEN - 8];
	static int	left = 0;

	if (left == 0)
	{
		if (!pg_strong_random(pool, sizeof(pool)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		left = lengthof(pool);
	}
	return pool[--left];
}

/*
 * A new time-ordered UUID, version 7 of RFC 9562: 48 bits of milliseconds, 12
 * bits of their fraction, the rest random.  Falls within one backend too, so
 * that a batch's ids rise.
 */
void
uuid_generate_v7(pg_uuid_t *uuid)
{
	static uint64 last = 0;
	uint64		unix_us = (uint64) (GetCurrentTimestamp() +
							   (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	uint64		ticks = (unix_us / 1000) << 12 | ((unix_us % 1000) << 12) / 1000;

	if (ticks <= last)
		ticks = last + 1;
	last = ticks;
	memcpy(uuid->data + 8, random_bytes(), UUID_LEN - 8);
	for (int i = 0; i < 6; i++)
		uuid->data[i] = (unsigned char) (ticks >> (52 - 8 * i));
	uuid->data[6] = (unsigned char) (0x70 | ((ticks >> 8) & 0x0f));
	uuid->data[7] = (unsigned char) ticks;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
}

static pg_uuid_t *
copy_uuid(const pg_uuid_t *uuid)
{
	pg_uuid_t  *copy = NULL;

	if (uuid != NULL)
	{
		copy = palloc(sizeof(pg_uuid_t));
		*copy = *uuid;
	}
	return copy;
}

static void
push_string(JsonbParseState **state, const char *key, const char *value)
{
	JsonbValue	member;

	if (value == NULL)
		return;
	member.type = jbvString;
	member.val.string.val = (char *) key;
	member.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &member);
	member.val.string.val = (char *) value;
	member.val.string.len = strlen(value);
	pushJsonbValue(state, WJB_VALUE, &member);
}

static void
push_uuid(JsonbParseState **state, const char *key, const pg_uuid_t *uuid)
{
	if (uuid != NULL)
		push_string(state, key,
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid))));
}

static void
push_members(JsonbParseState **state, Jsonb *object)
{
	JsonbIterator *iterator = JsonbIteratorInit(&object->root);
	JsonbValue	value;
	JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, false);

	Assert(token == WJB_BEGIN_OBJECT);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_END_OBJECT)
		pushJsonbValue(state, token, &value);
}

/*
 * Refuses what every event and message would carry along, and nobody could read.
 */
static void
check_context(const Context *context)
{
	static const DocumentLimit headers_limit = {
		&setting_event_store_max_metadata_size, "event_store.max_metadata_size",
		ERRCODE_INVALID_PARAMETER_VALUE
	};

	if (context->headers != NULL && !JB_ROOT_IS_OBJECT(context->headers))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers must be a JSON object"),
				 errhint("Pass something like '{\"channel\": \"web\"}'.")));
	if (context->headers != NULL)
		document_check(context->headers, &headers_limit, "headers");
	if (context->traceparent != NULL && !is_traceparent(context->traceparent))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("traceparent is not as in W3C Trace Context"),
				 errhint("Pass version, trace id, parent id and flags in lower-case hexadecimal, for example 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.")));
}

/*
 * Whether a text is a traceparent of W3C Trace Context; versions after 00 may
 * have more behind the flags.
 */
static bool
is_traceparent(const char *text)
{
	static const char form[] = "00-00000000000000000000000000000000-0000000000000000-00";
	const int	length = sizeof(form) - 1;
	const int	trace_id = 3;
	const int	parent_id = 36;

	if (strlen(text) < length)
		return false;
	for (int i = 0; i < length; i++)
	{
		bool		fits = form[i] == '-' ? text[i] == '-'
			: isdigit((unsigned char) text[i]) || (text[i] >= 'a' && text[i] <= 'f');

		if (!fits)
			return false;
	}
	if (strncmp(text, "ff", 2) == 0 ||
		strspn(text + trace_id, "0") == 32 || strspn(text + parent_id, "0") == 16)
		return false;
	return text[length] == '\0' || (strncmp(text, "00", 2) != 0 && text[length] == '-');
}

PG_FUNCTION_INFO_V1(ecommerce_set_context);
/*
 * ecommerce.set_context(correlation_id, causation_id, user_id, tenant_id, headers, traceparent,
 *						 conversation_id)
 */
Datum
ecommerce_set_context(PG_FUNCTION_ARGS)
{
	Context		context = {0};

	if (!PG_ARGISNULL(0))
		context.correlation_id = PG_GETARG_UUID_P(0);
	if (!PG_ARGISNULL(1))
		context.causation_id = PG_GETARG_UUID_P(1);
	if (!PG_ARGISNULL(2))
		context.user_id = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (!PG_ARGISNULL(3))
		context.tenant_id = text_to_cstring(PG_GETARG_TEXT_PP(3));
	if (!PG_ARGISNULL(4))
		context.headers = PG_GETARG_JSONB_P(4);
	if (!PG_ARGISNULL(5))
		context.traceparent = text_to_cstring(PG_GETARG_TEXT_PP(5));
	if (PG_NARGS() > 6 && !PG_ARGISNULL(6))
		context.conversation_id = PG_GETARG_UUID_P(6);
	check_context(&context);
	context_set(&context);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ecommerce_context);
/*
 * ecommerce.context(): the current context as one row, all NULL if none is set.
 */
Datum
ecommerce_context(PG_FUNCTION_ARGS)
{
	const Context *current = context_get();
	TupleDesc	descriptor = result_row_type(fcinfo);
	Datum		values[7] = {0};
	bool		nulls[7];

	memset(nulls, true, sizeof(nulls));
#define SET_COLUMN(i, pointer, datum) \
	do \
	{ \
		if (current != NULL && (pointer) != NULL) \
		{ \
			values[i] = (datum); \
			nulls[i] = false; \
		} \
	} while (0)
	SET_COLUMN(0, current->correlation_id, UUIDPGetDatum(current->correlation_id));
	SET_COLUMN(1, current->causation_id, UUIDPGetDatum(current->causation_id));
	SET_COLUMN(2, current->user_id, CStringGetTextDatum(current->user_id));
	SET_COLUMN(3, current->tenant_id, CStringGetTextDatum(current->tenant_id));
	SET_COLUMN(4, current->headers, JsonbPGetDatum(current->headers));
	SET_COLUMN(5, current->traceparent, CStringGetTextDatum(current->traceparent));
	SET_COLUMN(6, current->conversation_id, UUIDPGetDatum(current->conversation_id));
#undef SET_COLUMN
	PG_RETURN_DATUM(result_row(descriptor, values, nulls));
}
