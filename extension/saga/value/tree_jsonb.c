/*
 * tree_jsonb.c
 *		From jsonb to trees, and back; values as text.
 *
 * Bodies of messages come from anybody.  What is nested deeper than
 * TREE_MAX_DEPTH is neither read nor written, so that whatever was written can be
 * read again, and every loop can be interrupted.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/errors.h"
#include "saga/value/tree.h"

/* What a jsonb holds of a value besides its bytes, and how much it can hold. */
#define NODE_BYTES 4
#define MAX_BYTES ((int64) JENTRY_OFFLENMASK)

/* A tree on its way to be a jsonb. */
typedef struct JsonbWriter
{
	JsonbParseState *state;
	int64		bytes;
} JsonbWriter;

static Tree *from_value(const JsonbValue *value, int depth);
static Tree *from_container(JsonbContainer *container, int depth);
static JsonbValue *push_tree(JsonbWriter *writer, const Tree *tree, JsonbIteratorToken token,
							 int depth);
static JsonbValue *push_members(JsonbWriter *writer, const Tree *tree, int depth);
static void to_scalar(const Tree *tree, JsonbValue *value);
static void check_depth(int depth);
static void check_size(const JsonbWriter *writer);

/*
 * Reads a jsonb, which must live as long as the tree.  SG005 if it is too deep.
 */
Tree *
tree_from_jsonb(Jsonb *jsonb)
{
	if (JB_ROOT_IS_SCALAR(jsonb))
	{
		JsonbValue	scalar;

		(void) JsonbExtractScalar(&jsonb->root, &scalar);
		return from_value(&scalar, 0);
	}
	return from_container(&jsonb->root, 1);
}

/*
 * SG005 if it is too deep, or too large for a jsonb: trees share their parts, so
 * that the whole may be much more than what memory holds of it.
 */
Jsonb *
tree_to_jsonb(const Tree *tree)
{
	JsonbWriter writer = {0};
	JsonbValue	scalar;

	if (tree->type == TREE_ARRAY || tree->type == TREE_OBJECT)
		return JsonbValueToJsonb(push_tree(&writer, tree, WJB_ELEM, 1));
	to_scalar(tree, &scalar);
	return JsonbValueToJsonb(&scalar);
}

/*
 * The text of a value: a string as it is, everything else as JSON.
 */
char *
tree_to_text(const Tree *tree)
{
	Jsonb	   *jsonb;

	switch (tree->type)
	{
		case TREE_STRING:
			return pnstrdup(tree->as.string, tree->count);
		case TREE_NUMBER:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(tree->as.number)));
		default:
			jsonb = tree_to_jsonb(tree);
			return JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
	}
}

/*
 * The text of a member; NULL if it is absent or null.
 */
char *
tree_get_text(const Tree *object, const char *key)
{
	Tree	   *value = tree_get(object, key);

	return value == NULL || value->type == TREE_NULL ? NULL : tree_to_text(value);
}

static Tree *
from_value(const JsonbValue *value, int depth)
{
	switch (value->type)
	{
		case jbvBool:
			return tree_bool(value->val.boolean);
		case jbvNumeric:
			return tree_number(value->val.numeric);
		case jbvString:
			return tree_string(value->val.string.val, value->val.string.len);
		case jbvBinary:
			return from_container(value->val.binary.data, depth + 1);
		default:
			return tree_null();
	}
}

static Tree *
from_container(JsonbContainer *container, int depth)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	value;
	Tree	   *tree = NULL;
	TreeMember *member = NULL;

	check_stack_depth();
	check_depth(depth);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		switch (token)
		{
			case WJB_BEGIN_ARRAY:
				tree = tree_array();
				tree->room = Max(value.val.array.nElems, 1);
				tree->as.items = palloc(tree->room * sizeof(Tree *));
				break;
			case WJB_BEGIN_OBJECT:
				tree = tree_object();
				tree->room = Max(value.val.object.nPairs, 1);
				tree->as.members = palloc(tree->room * sizeof(TreeMember));
				break;
			case WJB_KEY:
				member = &tree->as.members[tree->count++];
				member->key = value.val.string.val;
				member->length = value.val.string.len;
				break;
			case WJB_VALUE:
				member->value = from_value(&value, depth);
				break;
			case WJB_ELEM:
				tree->as.items[tree->count++] = from_value(&value, depth);
				break;
			default:
				break;
		}
	}
	return tree;
}

/*
 * Pushes a tree as an element or a member's value; the last call gives the root.
 */
static JsonbValue *
push_tree(JsonbWriter *writer, const Tree *tree, JsonbIteratorToken token, int depth)
{
	JsonbValue	value;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	check_size(writer);
	writer->bytes += NODE_BYTES;
	if (tree->type == TREE_ARRAY)
	{
		check_depth(depth);
		pushJsonbValue(&writer->state, WJB_BEGIN_ARRAY, NULL);
		for (int i = 0; i < tree->count; i++)
			push_tree(writer, tree->as.items[i], WJB_ELEM, depth + 1);
		return pushJsonbValue(&writer->state, WJB_END_ARRAY, NULL);
	}
	if (tree->type == TREE_OBJECT)
		return push_members(writer, tree, depth);
	to_scalar(tree, &value);
	writer->bytes += tree->type == TREE_STRING ? tree->count
					 : tree->type == TREE_NUMBER ? VARSIZE_ANY(tree->as.number)
												 : 0;
	return pushJsonbValue(&writer->state, token, &value);
}

static JsonbValue *
push_members(JsonbWriter *writer, const Tree *tree, int depth)
{
	JsonbValue	key;

	check_depth(depth);
	pushJsonbValue(&writer->state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < tree->count; i++)
	{
		key.type = jbvString;
		key.val.string.val = unconstify(char *, tree->as.members[i].key);
		key.val.string.len = tree->as.members[i].length;
		writer->bytes += NODE_BYTES + tree->as.members[i].length;
		pushJsonbValue(&writer->state, WJB_KEY, &key);
		push_tree(writer, tree->as.members[i].value, WJB_VALUE, depth + 1);
	}
	return pushJsonbValue(&writer->state, WJB_END_OBJECT, NULL);
}

static void
to_scalar(const Tree *tree, JsonbValue *value)
{
	switch (tree->type)
	{
		case TREE_BOOL:
			value->type = jbvBool;
			value->val.boolean = tree->as.boolean;
			break;
		case TREE_NUMBER:
			value->type = jbvNumeric;
			value->val.numeric = tree->as.number;
			break;
		case TREE_STRING:
			value->type = jbvString;
			value->val.string.val = unconstify(char *, tree->as.string);
			value->val.string.len = tree->count;
			break;
		default:
			value->type = jbvNull;
			break;
	}
}

static void
check_depth(int depth)
{
	if (depth > TREE_MAX_DEPTH)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("JSON is nested more than %d levels deep", TREE_MAX_DEPTH)));
}

static void
check_size(const JsonbWriter *writer)
{
	if (writer->bytes > MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("JSON is larger than %d MB", (int) (MAX_BYTES >> 20))));
}
