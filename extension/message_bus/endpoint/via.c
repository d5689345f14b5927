/*
 * via.c
 *		The databases that a message has come through: its header "via".
 *
 * An array of names, the nearest last.  A link adds the name of its source; an
 * endpoint that forwards to one of them does not get the message again, so it
 * cannot go in circles.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/errors.h"
#include "message_bus/endpoint/via.h"

#define VIA "via"
/* A message that has come through so many databases has lost its way. */
#define VIA_MAX 16

static JsonbContainer *via_of(Jsonb *headers);
static Jsonb *with_name(Jsonb *headers, const char *name);
static void push_names(JsonbParseState **state, JsonbContainer *names, const char *name);

/*
 * The names in headers, or NULL if there are none.
 */
static JsonbContainer *
via_of(Jsonb *headers)
{
	JsonbValue	key;
	JsonbValue *found;

	key.type = jbvString;
	key.val.string.val = VIA;
	key.val.string.len = strlen(VIA);
	found = findJsonbValueFromContainer(&headers->root, JB_FOBJECT, &key);
	if (found == NULL || found->type != jbvBinary ||
		!JsonContainerIsArray(found->val.binary.data))
		return NULL;
	return found->val.binary.data;
}

/*
 * Whether a message with these headers has come through the database of that name.
 */
bool
via_has(Jsonb *headers, const char *name)
{
	JsonbContainer *names = via_of(headers);
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = (char *) name;
	value.val.string.len = (int) strlen(name);
	return names != NULL && findJsonbValueFromContainer(names, JB_FARRAY, &value) != NULL;
}

/*
 * The headers (NULL: none) with a name more, the same one for all that go with last;
 * MB005 if there are too many.
 */
Jsonb *
via_add(Via *last, Jsonb *headers, const char *name)
{
	bool		same = last->added != NULL && (headers == NULL) == (last->headers == NULL);

	if (same && headers != NULL)
		same = VARSIZE(headers) == VARSIZE(last->headers) &&
			memcmp(headers, last->headers, VARSIZE(headers)) == 0;
	if (!same)
		*last = (Via) {headers, with_name(headers, name)};
	return last->added;
}

static Jsonb *
with_name(Jsonb *headers, const char *name)
{
	JsonbContainer *names;
	JsonbParseState *state = NULL;
	JsonbValue	value;

	/* Whoever sends it refuses it. */
	if (headers != NULL && !JB_ROOT_IS_OBJECT(headers))
		return headers;
	names = headers != NULL ? via_of(headers) : NULL;
	if (names != NULL && JsonContainerSize(names) >= VIA_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_MB_INVALID_MESSAGE),
				 errmsg("message has come through more than %d databases", VIA_MAX),
				 errhint("Links go in a circle; let each forward_to name the database as the links' source does.")));
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (headers != NULL)
	{
		JsonbIterator *iterator = JsonbIteratorInit(&headers->root);
		JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, false);

		while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_END_OBJECT)
			pushJsonbValue(&state, token, &value);
	}
	/* Of equal keys jsonb keeps the last. */
	value.type = jbvString;
	value.val.string.val = VIA;
	value.val.string.len = strlen(VIA);
	pushJsonbValue(&state, WJB_KEY, &value);
	push_names(&state, names, name);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
push_names(JsonbParseState **state, JsonbContainer *names, const char *name)
{
	JsonbValue	value;

	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	if (names != NULL)
	{
		JsonbIterator *iterator = JsonbIteratorInit(names);
		JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, false);

		while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_END_ARRAY)
			pushJsonbValue(state, token, &value);
	}
	value.type = jbvString;
	value.val.string.val = (char *) name;
	value.val.string.len = (int) strlen(name);
	pushJsonbValue(state, WJB_ELEM, &value);
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}
