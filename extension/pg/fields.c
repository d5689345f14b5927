/*
 * fields.c
 *		Small JSON objects of named fields, read strictly: policies.
 *
 * What is not understood is refused, with the field's name: a misspelt field that
 * is passed over would be found out when it matters.
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "pg/clock.h"
#include "pg/fields.h"

static int	find_field(const Field *fields, int count, const JsonbValue *name);
static void read_value(const FieldsOwner *owner, const Field *field, JsonbValue *json,
					   FieldValue *value);
static int64 read_count(const FieldsOwner *owner, const Field *field, const JsonbValue *json);
static void read_list(const FieldsOwner *owner, const Field *field, const JsonbValue *json,
					  FieldValue *value);
static int64 read_interval(const FieldsOwner *owner, const Field *field, const JsonbValue *json);

/*
 * Reads an object that has some of these fields and nothing else.
 */
void
fields_read(Jsonb *json, const FieldsOwner *owner, const Field *fields, int count,
			FieldValue *values)
{
	JsonbIterator *iterator;
	JsonbValue	value;
	JsonbIteratorToken token;
	int			field = -1;

	memset(values, 0, count * sizeof(FieldValue));
	if (!JB_ROOT_IS_OBJECT(json))
		fields_refuse(owner, "It must be a JSON object.", NULL);
	iterator = JsonbIteratorInit(&json->root);
	(void) JsonbIteratorNext(&iterator, &value, false);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_END_OBJECT)
	{
		if (token == WJB_KEY)
		{
			field = find_field(fields, count, &value);
			if (field < 0)
				fields_refuse(owner, "It has no member \"%s\".",
							  pnstrdup(value.val.string.val, value.val.string.len));
		}
		else
			read_value(owner, &fields[field], &value, &values[field]);
	}
}

/*
 * Makes sure that the given fields are exactly the listed ones, NULL at the end;
 * one that begins with "?" may be missing.
 */
void
fields_check(const FieldsOwner *owner, const Field *fields, int count, const FieldValue *values,
			 const char *const *members)
{
	for (int i = 0; i < count; i++)
	{
		bool		listed = false;
		bool		optional = false;

		for (int m = 0; members[m] != NULL && !listed; m++)
		{
			optional = members[m][0] == '?';
			listed = strcmp(members[m] + (optional ? 1 : 0), fields[i].name) == 0;
		}
		if (values[i].given && !listed)
			fields_refuse(owner, "Its kind has no member \"%s\".", fields[i].name);
		if (!values[i].given && listed && !optional)
			fields_refuse(owner, "It lacks the member \"%s\".", fields[i].name);
	}
}

/*
 * Raises the owner's error; detail may have the place for a name.
 */
void
fields_refuse(const FieldsOwner *owner, const char *detail, const char *name)
{
	ereport(ERROR,
			(errcode(owner->sqlstate),
			 errmsg("malformed %s", owner->what),
			 errdetail_internal("%s", name == NULL ? detail : psprintf(detail, name)),
			 owner->hint == NULL ? 0 : errhint("%s", owner->hint)));
}

/*
 * An interval from its text; false if that is none.  Unlike PostgreSQL's own it
 * raises no error.
 */
bool
interval_parse(const char *text, Interval *interval)
{
	char		work[256];
	char	   *copy = pstrdup(text);
	char	   *parts[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			count;
	int			kind;
	struct pg_itm_in units;
	int			error = ParseDateTime(copy, work, sizeof(work), parts, types, MAXDATEFIELDS,
									  &count);

	if (error == 0)
		error = DecodeInterval(parts, types, count, INTERVAL_FULL_RANGE, &kind, &units);
	if (error == DTERR_BAD_FORMAT)
		error = DecodeISO8601Interval(copy, &kind, &units);
	return error == 0 && kind == DTK_DELTA && itmin2interval(&units, interval) == 0;
}

static int
find_field(const Field *fields, int count, const JsonbValue *name)
{
	for (int i = 0; i < count; i++)
		if (strlen(fields[i].name) == name->val.string.len &&
			memcmp(fields[i].name, name->val.string.val, name->val.string.len) == 0)
			return i;
	return -1;
}

static void
read_value(const FieldsOwner *owner, const Field *field, JsonbValue *json, FieldValue *value)
{
	value->given = true;
	switch (field->type)
	{
		case FIELD_NAME:
			if (json->type != jbvString)
				fields_refuse(owner, "Its member \"%s\" must be a string.", field->name);
			value->name = pnstrdup(json->val.string.val, json->val.string.len);
			break;
		case FIELD_COUNT:
			value->number = read_count(owner, field, json);
			break;
		case FIELD_INTERVAL:
			value->number = read_interval(owner, field, json);
			break;
		case FIELD_INTERVALS:
			read_list(owner, field, json, value);
			break;
	}
}

static int64
read_count(const FieldsOwner *owner, const Field *field, const JsonbValue *json)
{
	char	   *digits;
	char	   *end;
	int64		count;

	if (json->type != jbvNumeric)
		fields_refuse(owner, "Its member \"%s\" must be a number.", field->name);
	digits = DatumGetCString(DirectFunctionCall1(numeric_out,
												 NumericGetDatum(json->val.numeric)));
	errno = 0;
	count = strtoi64(digits, &end, 10);
	if (*end != '\0' && errno == 0)
		fields_refuse(owner, "Its member \"%s\" must be a whole number.", field->name);
	if (errno != 0 || count < 0 || count > FIELD_MAX_COUNT)
		fields_refuse(owner, "Its member \"%s\" is out of range.", field->name);
	return count;
}

static void
read_list(const FieldsOwner *owner, const Field *field, const JsonbValue *json,
		  FieldValue *value)
{
	JsonbContainer *list = json->type == jbvBinary ? json->val.binary.data : NULL;

	if (list == NULL || !JsonContainerIsArray(list) || JsonContainerSize(list) == 0)
		fields_refuse(owner, "Its member \"%s\" must be an array of intervals.", field->name);
	value->number = JsonContainerSize(list);
	value->list = palloc(value->number * sizeof(int64));
	for (int i = 0; i < value->number; i++)
		value->list[i] = read_interval(owner, field, getIthJsonbValueFromContainer(list, i));
}

static int64
read_interval(const FieldsOwner *owner, const Field *field, const JsonbValue *json)
{
	Interval	interval;
	int64		microseconds;

	if (json->type != jbvString ||
		!interval_parse(pnstrdup(json->val.string.val, json->val.string.len), &interval))
		fields_refuse(owner, "Its member \"%s\" must be an interval, like \"3 s\".", field->name);
	microseconds = clock_microseconds(&interval, psprintf("\"%s\"", field->name));
	if (microseconds < 0)
		fields_refuse(owner, "Its member \"%s\" is negative.", field->name);
	return microseconds;
}
