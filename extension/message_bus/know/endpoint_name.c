/*
 * endpoint_name.c
 *		The kebab-case name of an endpoint, from the name of a type.
 *
 * As the seed's library forms them, so that names agree between the two.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

typedef struct NameKind
{
	const char *name;
	const char *suffix;			/* of the type, left out; NULL: none */
	const char *appended;
} NameKind;

static const NameKind kinds[] = {
	{"consumer", "Consumer", ""},
	{"saga", "Saga", ""},
	{"activity", "Activity", "_execute"},
	{"compensate_activity", "Activity", "_compensate"},
	{"message", NULL, ""},
};

static const NameKind *find_kind(const char *name);
static void append_kebab(StringInfo result, const char *name, int length);

/*
 * message_bus.endpoint_name(type_name, kind, prefix, include_namespace)
 */
static char *
endpoint_name(const char *type_name, const NameKind *kind, const char *prefix,
			  bool include_namespace)
{
	StringInfoData plain;
	StringInfoData result;
	int			length;

	initStringInfo(&plain);
	appendStringInfoString(&plain, prefix);
	for (const char *p = type_name; *p != '\0'; p++)
	{
		if (*p != '.' && *p != '+')
			appendStringInfoChar(&plain, *p);
		else if (!include_namespace)
		{
			resetStringInfo(&plain);
			appendStringInfoString(&plain, prefix);
		}
	}
	length = plain.len;
	if (kind->suffix != NULL && length >= (int) strlen(kind->suffix) &&
		pg_strcasecmp(plain.data + length - strlen(kind->suffix), kind->suffix) == 0)
		length -= (int) strlen(kind->suffix);
	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing is left of type name \"%s\" for an endpoint name", type_name),
				 errhint("Give the type a name of its own before \"%s\", or pass a prefix.",
						 kind->suffix ? kind->suffix : "")));
	initStringInfo(&result);
	append_kebab(&result, plain.data, length);
	appendStringInfoString(&result, kind->appended);
	return result.data;
}

static void
append_kebab(StringInfo result, const char *name, int length)
{
	for (int i = 0; i < length; i++)
	{
		char		c = name[i];
		char		before = i > 0 ? name[i - 1] : '\0';

		if (c >= 'A' && c <= 'Z' &&
			((before >= 'a' && before <= 'z') || (before >= '0' && before <= '9')))
			appendStringInfoChar(result, '-');
		appendStringInfoChar(result, c == '_' ? '-' : (char) pg_ascii_tolower((unsigned char) c));
	}
}

static const NameKind *
find_kind(const char *name)
{
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind \"%s\" of endpoint", name),
			 errhint("Pass consumer, saga, activity, compensate_activity or message.")));
}

PG_FUNCTION_INFO_V1(message_bus_endpoint_name);
/*
 * message_bus.endpoint_name(type_name, kind, prefix, include_namespace)
 */
Datum
message_bus_endpoint_name(PG_FUNCTION_ARGS)
{
	const NameKind *kind = find_kind(text_to_cstring(PG_GETARG_TEXT_PP(1)));

	PG_RETURN_TEXT_P(cstring_to_text(endpoint_name(text_to_cstring(PG_GETARG_TEXT_PP(0)), kind,
												   text_to_cstring(PG_GETARG_TEXT_PP(2)),
												   PG_GETARG_BOOL(3))));
}
