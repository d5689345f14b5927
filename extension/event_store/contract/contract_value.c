/*
 * contract_value.c
 *		Values inside jsonb, where they stand, and their conversion to SQL.
 *
 * Conversion follows jsonb_populate_record: a scalar goes through the input
 * function of its type as text.  What can be told without converting, is.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

#include "base/order.h"
#include "event_store/contract/contract_value.h"

static char *scalar_text(const JsonSlice *value);
static bool integer_fits(const ContractNode *node, Numeric number);
static int	compare_to_int64(Datum number, int64 integer);
static bool is_canonical_uuid(const JsonSlice *value);
static bool is_iso_moment(Oid type, const JsonSlice *value);
static int	matching(const char *form, const char *text, int length);
static Datum scalar_datum(ContractNode *node, const JsonSlice *value);
static Datum array_datum(ContractNode *node, const JsonSlice *value);
static Datum composite_datum(ContractNode *node, const JsonSlice *value);

/*
 * Whether a scalar is written as event_store.asyncapi() says that values of the
 * node's type are: a number, a string of some form, true or false.  What it
 * does not say is left to the input function.
 */
bool
contract_is_written_so(const ContractNode *node, const JsonSlice *value)
{
	switch (node->kind)
	{
		case CONTRACT_NUMERIC:
		case CONTRACT_INTEGER:
			return JBE_ISNUMERIC(value->entry);
		case CONTRACT_BOOLEAN:
			return JBE_ISBOOL(value->entry);
		case CONTRACT_UUID:
			return JBE_ISSTRING(value->entry) && is_canonical_uuid(value);
		case CONTRACT_MOMENT:
			return JBE_ISSTRING(value->entry) && is_iso_moment(node->base, value);
		default:
			if (node->base == NUMERICOID || node->base == FLOAT4OID || node->base == FLOAT8OID)
				return JBE_ISNUMERIC(value->entry);
			return JBE_ISSTRING(value->entry);
	}
}

/*
 * Whether a scalar surely converts to the node's type.  False means no more
 * than that its input function must tell.
 */
bool
contract_fits(const ContractNode *node, const JsonSlice *value)
{
	switch (node->kind)
	{
		case CONTRACT_TEXT:
			return JBE_ISSTRING(value->entry);
		case CONTRACT_NUMERIC:
			return JBE_ISNUMERIC(value->entry);
		case CONTRACT_INTEGER:
			return JBE_ISNUMERIC(value->entry) && integer_fits(node, (Numeric) value->data);
		case CONTRACT_BOOLEAN:
			return JBE_ISBOOL(value->entry);
		case CONTRACT_UUID:
			return JBE_ISSTRING(value->entry) && is_canonical_uuid(value);
		default:
			return false;
	}
}

/*
 * A scalar as its type's input function gets it.
 */
static char *
scalar_text(const JsonSlice *value)
{
	if (JBE_ISSTRING(value->entry))
		return pnstrdup(value->data, value->length);
	if (JBE_ISNUMERIC(value->entry))
		return DatumGetCString(DirectFunctionCall1(numeric_out, PointerGetDatum(value->data)));
	return pstrdup(JBE_ISBOOL_TRUE(value->entry) ? "true" : "false");
}

/*
 * Converts a value whose structure has been checked.  Raises what the input
 * function raises.
 */
Datum
contract_datum(ContractNode *node, const JsonSlice *value, bool *isnull)
{
	*isnull = JBE_ISNULL(value->entry);
	if (*isnull)
		return (Datum) 0;
	switch (node->kind)
	{
		case CONTRACT_COMPOSITE:
			return composite_datum(node, value);
		case CONTRACT_ARRAY:
			return array_datum(node, value);
		default:
			return scalar_datum(node, value);
	}
}

/*
 * Whether a number is written with more digits than the point needs, as 5.0 is.
 */
bool
contract_is_fraction(Numeric number)
{
	return !numeric_is_nan(number) &&
		DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(number))) != 0 &&
		DatumGetInt32(DirectFunctionCall1(numeric_min_scale, NumericGetDatum(number))) == 0;
}

static bool
integer_fits(const ContractNode *node, Numeric number)
{
	Datum		datum = NumericGetDatum(number);
	bool		failed = false;

	if (numeric_is_nan(number) || DatumGetInt32(DirectFunctionCall1(numeric_min_scale, datum)) != 0)
		return false;
	if (node->base != INT8OID)
	{
		int32		integer = numeric_int4_opt_error(number, &failed);

		return !failed && integer >= node->least && integer <= node->greatest;
	}
	return compare_to_int64(datum, node->least) >= 0 &&
		compare_to_int64(datum, node->greatest) <= 0;
}

static int
compare_to_int64(Datum number, int64 integer)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, number,
											 NumericGetDatum(int64_to_numeric(integer))));
}

static bool
is_canonical_uuid(const JsonSlice *value)
{
	if (value->length != 36)
		return false;
	for (int i = 0; i < 36; i++)
	{
		unsigned char c = (unsigned char) value->data[i];

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (c != '-')
				return false;
		}
		else if (!isxdigit(c))
			return false;
	}
	return true;
}

/*
 * Whether a text has the form that RFC 3339 gives to values of a type: a date, or
 * a date with a time, which has a zone where the type has one.  A time without
 * zone means something else to every reader.
 */
static bool
is_iso_moment(Oid type, const JsonSlice *value)
{
	const char *text = value->data;
	int			left = value->length;
	int			length = matching("0000-00-00", text, left);

	if (type == DATEOID || length == 0)
		return length > 0 && length == left;
	text += length;
	left -= length;
	length = greater(matching("T00:00:00", text, left), matching(" 00:00:00", text, left));
	if (length == 0)
		return false;
	text += length;
	left -= length;
	for (length = 0; left > 0 && (length == 0 ? *text == '.' : isdigit((unsigned char) *text));
		 length++, text++, left--)
		;
	if (length == 1)
		return false;
	if (type == TIMESTAMPOID)
		return left == 0;
	return (left == 1 && *text == 'Z') ||
		(left == 6 && (matching("+00:00", text, left) == left ||
					   matching("-00:00", text, left) == left));
}

/*
 * The length of a form, in which 0 is any digit, if a text begins so; else 0.
 */
static int
matching(const char *form, const char *text, int length)
{
	int			i;

	for (i = 0; form[i] != '\0'; i++)
	{
		if (i >= length ||
			!(form[i] == '0' ? isdigit((unsigned char) text[i]) : text[i] == form[i]))
			return 0;
	}
	return i;
}

static Datum
scalar_datum(ContractNode *node, const JsonSlice *value)
{
	if (node->kind == CONTRACT_INTEGER && JBE_ISNUMERIC(value->entry) &&
		contract_is_fraction((Numeric) value->data))
	{
		Datum		whole = DirectFunctionCall2(numeric_trunc, PointerGetDatum(value->data),
												Int32GetDatum(0));

		return InputFunctionCall(&node->input,
								 DatumGetCString(DirectFunctionCall1(numeric_out, whole)),
								 node->io_param, node->typmod);
	}
	if (node->kind == CONTRACT_NUMERIC && JBE_ISNUMERIC(value->entry))
		return PointerGetDatum(value->data);
	if (node->kind == CONTRACT_TEXT && JBE_ISSTRING(value->entry))
		return PointerGetDatum(cstring_to_text_with_len(value->data, value->length));
	if (node->kind == CONTRACT_JSON)
	{
		JsonbValue	json;
		Jsonb	   *jsonb;

		if (JBE_ISCONTAINER(value->entry))
		{
			json.type = jbvBinary;
			json.val.binary.data = (JsonbContainer *) value->data;
			json.val.binary.len = value->length;
		}
		else if (JBE_ISSTRING(value->entry))
		{
			json.type = jbvString;
			json.val.string.val = value->data;
			json.val.string.len = value->length;
		}
		else if (JBE_ISNUMERIC(value->entry))
		{
			json.type = jbvNumeric;
			json.val.numeric = (Numeric) value->data;
		}
		else
		{
			json.type = jbvBool;
			json.val.boolean = JBE_ISBOOL_TRUE(value->entry);
		}
		jsonb = JsonbValueToJsonb(&json);
		if (node->base == JSONBOID)
			return JsonbPGetDatum(jsonb);
		return CStringGetTextDatum(JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb)));
	}
	return InputFunctionCall(&node->input, scalar_text(value), node->io_param,
							 node->typmod);
}

static Datum
array_datum(ContractNode *node, const JsonSlice *value)
{
	JsonbContainer *container = (JsonbContainer *) value->data;
	int			count = JsonContainerSize(container);
	Datum	   *elements = palloc(sizeof(Datum) * Max(count, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(count, 1));
	int			dimensions[1] = {count};
	int			bounds[1] = {1};
	int16		length;
	bool		by_value;
	char		align;
	JsonWalk	walk;

	json_walk(&walk, container, 0);
	for (int i = 0; i < count; i++)
	{
		JsonSlice	member;

		json_walk_next(&walk, &member);
		elements[i] = contract_datum(node->element, &member, &nulls[i]);
	}
	get_typlenbyvalalign(node->element->declared, &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(elements, nulls, count > 0 ? 1 : 0, dimensions,
											  bounds,
											  node->element->declared, length, by_value, align));
}

static Datum
composite_datum(ContractNode *node, const JsonSlice *value)
{
	JsonbContainer *container = (JsonbContainer *) value->data;
	int			count = JsonContainerSize(container);
	TupleDesc	descriptor = lookup_rowtype_tupdesc_copy(node->base, -1);
	Datum	   *values = palloc0(sizeof(Datum) * Max(descriptor->natts, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(descriptor->natts, 1));
	int			field = 0;
	JsonWalk	keys;
	JsonWalk	members;

	memset(nulls, true, sizeof(bool) * descriptor->natts);
	json_walk(&keys, container, 0);
	json_walk(&members, container, count);
	for (int i = 0; i < count; i++)
	{
		JsonSlice	key;
		JsonSlice	member;

		json_walk_next(&keys, &key);
		json_walk_next(&members, &member);
		/* The structure is known to fit: every key is a field, in this order. */
		while (contract_compare_keys(node->fields[field].name, node->fields[field].length,
									 key.data, key.length) != 0)
			field++;
		values[node->fields[field].column] =
			contract_datum(node->fields[field].node, &member, &nulls[node->fields[field].column]);
	}
	return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
}
