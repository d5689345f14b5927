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

#include "event_store/contract_value.h"

static bool integer_fits(const ContractNode *node, Numeric number);
static int	compare_to_int64(Datum number, int64 integer);
static bool is_canonical_uuid(const JsonSlice *value);
static Datum scalar_datum(ContractNode *node, const JsonSlice *value);
static Datum array_datum(ContractNode *node, const JsonSlice *value);
static Datum composite_datum(ContractNode *node, const JsonSlice *value);

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
			return true;
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
char *
contract_scalar_text(const JsonSlice *value)
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

static bool
integer_fits(const ContractNode *node, Numeric number)
{
	Datum		datum = NumericGetDatum(number);
	bool		failed = false;

	/* "1.0" is refused by the integer's input function, so it is here. */
	if (numeric_is_nan(number) || DatumGetInt32(DirectFunctionCall1(numeric_scale, datum)) != 0)
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

static Datum
scalar_datum(ContractNode *node, const JsonSlice *value)
{
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
	return InputFunctionCall(&node->input, contract_scalar_text(value), node->io_param,
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
