/*
 * recase.c
 *		Keys of JSON objects in the style of other systems: order_id or orderId.
 *
 * A key that is no name in the style it is to be changed from stays as it is: objects
 * are also used as maps, and a key SKU-1 or USD is data.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/errors.h"
#include "miscadmin.h"

typedef void (*RecaseKey) (StringInfo target, const char *key, int length);

static bool is_lower(char c);
static bool is_upper(char c);
static bool is_digit(char c);
static void to_camel(StringInfo target, const char *key, int length);
static void to_snake(StringInfo target, const char *key, int length);
static bool is_snake(const char *key, int length);
static bool is_camel(const char *key, int length);
static Jsonb *recase(Jsonb *document, RecaseKey change);

static bool
is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool
is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Lower-case words, each begun by a letter but for digits that follow an underscore.
 */
static bool
is_snake(const char *key, int length)
{
	if (length == 0 || !is_lower(key[0]) || key[length - 1] == '_')
		return false;
	for (int i = 0; i < length; i++)
	{
		if (!is_lower(key[i]) && !is_digit(key[i]) && (key[i] != '_' || key[i - 1] == '_'))
			return false;
	}
	return true;
}

static void
to_camel(StringInfo target, const char *key, int length)
{
	bool		snake = is_snake(key, length);

	for (int i = 0; i < length; i++)
	{
		if (snake && key[i] == '_' && is_lower(key[i + 1]))
			appendStringInfoChar(target, key[++i] - 'a' + 'A');
		else
			appendStringInfoChar(target, key[i]);
	}
}

/*
 * Letters and digits, one of them a lower-case letter.
 */
static bool
is_camel(const char *key, int length)
{
	bool		lower = false;

	for (int i = 0; i < length; i++)
	{
		if (!is_lower(key[i]) && !is_upper(key[i]) && !is_digit(key[i]))
			return false;
		lower |= is_lower(key[i]);
	}
	return lower;
}

/*
 * A word begins at a capital after something else, and at the last of several capitals:
 * orderId, OrderID and HTTPStatus are order_id, order_id and http_status.
 */
static void
to_snake(StringInfo target, const char *key, int length)
{
	bool		camel = is_camel(key, length);

	for (int i = 0; i < length; i++)
	{
		if (!camel || !is_upper(key[i]))
		{
			appendStringInfoChar(target, key[i]);
			continue;
		}
		if (i > 0 && (!is_upper(key[i - 1]) || (i + 1 < length && is_lower(key[i + 1]))))
			appendStringInfoChar(target, '_');
		appendStringInfoChar(target, key[i] - 'A' + 'a');
	}
}

static Jsonb *
recase(Jsonb *document, RecaseKey change)
{
	JsonbIterator *iterator = JsonbIteratorInit(&document->root);
	JsonbParseState *state = NULL;
	JsonbValue *result = NULL;
	JsonbValue	value;
	JsonbIteratorToken token;
	bool		bare;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_KEY)
		{
			StringInfoData key;

			initStringInfo(&key);
			change(&key, value.val.string.val, value.val.string.len);
			value.val.string.val = key.data;
			value.val.string.len = key.len;
		}
		/* The ends of objects and arrays have no value; a bare one comes in an array. */
		bare = token == WJB_BEGIN_ARRAY && value.val.array.rawScalar;
		result = pushJsonbValue(&state, token, token < WJB_BEGIN_ARRAY || bare ? &value : NULL);
	}
	return JsonbValueToJsonb(result);
}

PG_FUNCTION_INFO_V1(message_bus_recase);
/*
 * message_bus.recase(document, style)
 */
Datum
message_bus_recase(PG_FUNCTION_ARGS)
{
	char	   *style = text_to_cstring(PG_GETARG_TEXT_PP(1));
	RecaseKey	change = NULL;

	if (strcmp(style, "camel") == 0)
		change = to_camel;
	else if (strcmp(style, "snake") == 0)
		change = to_snake;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no style \"%s\"", style),
				 errhint("Styles are camel and snake.")));
	PG_RETURN_JSONB_P(recase(PG_GETARG_JSONB_P(0), change));
}
