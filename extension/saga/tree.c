/*
 * tree.c
 *		JSON values as trees in memory, cheap to read, share and change.
 *
 * A transition reads and changes small documents many times; doing that on
 * jsonb would copy the whole each time.  Objects are searched one member after
 * the other: ours have a dozen, and the bytes lie together.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "saga/tree.h"

static Tree *tree_new(TreeType type);
static Tree *from_value(const JsonbValue *value);
static Tree *from_container(JsonbContainer *container);
static JsonbValue *push_tree(JsonbParseState **state, const Tree *tree, JsonbIteratorToken token);
static void to_scalar(const Tree *tree, JsonbValue *value);
static Tree *shallow_copy(const Tree *tree);
static int	find_member(const Tree *object, const char *key, int length);

Tree *
tree_null(void)
{
	return tree_new(TREE_NULL);
}

Tree *
tree_bool(bool value)
{
	Tree	   *tree = tree_new(TREE_BOOL);

	tree->as.boolean = value;
	return tree;
}

Tree *
tree_int(int64 value)
{
	Tree	   *tree = tree_new(TREE_NUMBER);

	tree->as.number = int64_to_numeric(value);
	return tree;
}

Tree *
tree_text(const char *text)
{
	return tree_string(text, (int) strlen(text));
}

/*
 * A string that points to the given bytes; they must live as long as it does.
 */
Tree *
tree_string(const char *bytes, int length)
{
	Tree	   *tree = tree_new(TREE_STRING);

	tree->as.string = bytes;
	tree->count = length;
	return tree;
}

Tree *
tree_array(void)
{
	return tree_new(TREE_ARRAY);
}

Tree *
tree_object(void)
{
	return tree_new(TREE_OBJECT);
}

/*
 * Adds an item in place; returns the array.
 */
Tree *
tree_append(Tree *array, Tree *item)
{
	Assert(array->type == TREE_ARRAY);
	if (array->count == array->room)
	{
		int			room = array->room == 0 ? 4 : array->room * 2;

		array->as.items = array->room == 0 ? palloc(room * sizeof(Tree *))
										   : repalloc(array->as.items, room * sizeof(Tree *));
		array->room = room;
	}
	array->as.items[array->count++] = item;
	return array;
}

/*
 * Sets a member in place; returns the object.  The key is not copied.
 */
Tree *
tree_put(Tree *object, const char *key, Tree *value)
{
	int			length = (int) strlen(key);
	int			at = find_member(object, key, length);

	if (at >= 0)
	{
		object->as.members[at].value = value;
		return object;
	}
	if (object->count == object->room)
	{
		int			room = object->room == 0 ? 8 : object->room * 2;

		object->as.members = object->room == 0
								 ? palloc(room * sizeof(TreeMember))
								 : repalloc(object->as.members, room * sizeof(TreeMember));
		object->room = room;
	}
	object->as.members[object->count++] = (TreeMember) {key, length, value};
	return object;
}

Tree *
tree_put_text(Tree *object, const char *key, const char *text)
{
	return tree_put(object, key, text == NULL ? tree_null() : tree_text(text));
}

/*
 * Reads a jsonb, which must live as long as the tree.
 */
Tree *
tree_from_jsonb(Jsonb *jsonb)
{
	if (JB_ROOT_IS_SCALAR(jsonb))
	{
		JsonbValue	scalar;

		(void) JsonbExtractScalar(&jsonb->root, &scalar);
		return from_value(&scalar);
	}
	return from_container(&jsonb->root);
}

Jsonb *
tree_to_jsonb(const Tree *tree)
{
	JsonbParseState *state = NULL;
	JsonbValue	scalar;

	if (tree->type == TREE_ARRAY || tree->type == TREE_OBJECT)
		return JsonbValueToJsonb(push_tree(&state, tree, WJB_ELEM));
	to_scalar(tree, &scalar);
	return JsonbValueToJsonb(&scalar);
}

/*
 * A copy in the current memory context that shares nothing with the original.
 */
Tree *
tree_copy(const Tree *tree)
{
	Tree	   *copy = shallow_copy(tree);

	check_stack_depth();
	switch (tree->type)
	{
		case TREE_NUMBER:
			copy->as.number = DatumGetNumericCopy(NumericGetDatum(tree->as.number));
			break;
		case TREE_STRING:
			copy->as.string = pnstrdup(tree->as.string, tree->count);
			break;
		case TREE_ARRAY:
			for (int i = 0; i < tree->count; i++)
				copy->as.items[i] = tree_copy(tree->as.items[i]);
			break;
		case TREE_OBJECT:
			for (int i = 0; i < tree->count; i++)
			{
				TreeMember *member = &copy->as.members[i];

				member->key = pnstrdup(member->key, member->length);
				member->value = tree_copy(member->value);
			}
			break;
		case TREE_NULL:
		case TREE_BOOL:
			break;
	}
	return copy;
}

/*
 * A member's value; NULL if there is none or this is no object.
 */
Tree *
tree_get(const Tree *object, const char *key)
{
	return tree_get_n(object, key, (int) strlen(key));
}

Tree *
tree_get_n(const Tree *object, const char *key, int length)
{
	int			at;

	if (object == NULL || object->type != TREE_OBJECT)
		return NULL;
	at = find_member(object, key, length);
	return at < 0 ? NULL : object->as.members[at].value;
}

bool
tree_is_text(const Tree *tree, const char *text)
{
	return tree != NULL && tree->type == TREE_STRING &&
		tree->count == (int) strlen(text) && memcmp(tree->as.string, text, tree->count) == 0;
}

bool
tree_is_true(const Tree *tree)
{
	return tree != NULL && tree->type == TREE_BOOL && tree->as.boolean;
}

/*
 * A whole number that fits, else what the caller wants instead.
 */
int64
tree_to_int(const Tree *tree, int64 otherwise)
{
	char	   *digits;
	char	   *end;
	int64		value;

	if (tree == NULL || tree->type != TREE_NUMBER)
		return otherwise;
	digits = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(tree->as.number)));
	errno = 0;
	value = strtoi64(digits, &end, 10);
	return errno != 0 || *end != '\0' ? otherwise : value;
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

bool
tree_equal(const Tree *a, const Tree *b)
{
	if (a == b)
		return true;
	if (a == NULL || b == NULL || a->type != b->type)
		return false;
	check_stack_depth();
	switch (a->type)
	{
		case TREE_NULL:
			return true;
		case TREE_BOOL:
			return a->as.boolean == b->as.boolean;
		case TREE_NUMBER:
		case TREE_STRING:
			return tree_compare(a, b) == 0;
		case TREE_ARRAY:
			for (int i = 0; i < a->count; i++)
				if (i >= b->count || !tree_equal(a->as.items[i], b->as.items[i]))
					return false;
			return a->count == b->count;
		case TREE_OBJECT:
			for (int i = 0; i < a->count; i++)
				if (!tree_equal(a->as.members[i].value,
								tree_get_n(b, a->as.members[i].key, a->as.members[i].length)))
					return false;
			return a->count == b->count;
	}
	return false;
}

/*
 * Orders two numbers by value or two strings by bytes; values of different or
 * other types by type alone.
 */
int
tree_compare(const Tree *a, const Tree *b)
{
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->type == TREE_NUMBER)
		return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a->as.number),
												 NumericGetDatum(b->as.number)));
	if (a->type == TREE_STRING)
	{
		int			order = memcmp(a->as.string, b->as.string, Min(a->count, b->count));

		return order != 0 ? order : a->count - b->count;
	}
	return 0;
}

/*
 * The object with one member set; the original stays as it is.
 */
Tree *
tree_with(const Tree *object, const char *key, Tree *value)
{
	return tree_put(shallow_copy(object), key, value);
}

Tree *
tree_without(const Tree *object, const char *key)
{
	Tree	   *copy = tree_object();

	for (int i = 0; i < object->count; i++)
		if (strncmp(object->as.members[i].key, key, object->as.members[i].length) != 0 ||
			key[object->as.members[i].length] != '\0')
			tree_put(copy, pnstrdup(object->as.members[i].key, object->as.members[i].length),
					 object->as.members[i].value);
	return copy;
}

Tree *
tree_with_item(const Tree *array, int index, Tree *item)
{
	Tree	   *copy = shallow_copy(array);

	copy->as.items[index] = item;
	return copy;
}

Tree *
tree_with_appended(const Tree *array, Tree *item)
{
	return tree_append(shallow_copy(array), item);
}

/*
 * JSON merge patch (RFC 7396): members that are null in the patch are removed.
 */
Tree *
tree_merge(Tree *target, Tree *patch)
{
	Tree	   *result;

	if (patch->type != TREE_OBJECT)
		return patch;
	check_stack_depth();
	result = target != NULL && target->type == TREE_OBJECT ? shallow_copy(target) : tree_object();
	for (int i = 0; i < patch->count; i++)
	{
		TreeMember *member = &patch->as.members[i];
		char	   *key = pnstrdup(member->key, member->length);

		if (member->value->type == TREE_NULL)
			result = tree_without(result, key);
		else
			tree_put(result, key, tree_merge(tree_get(result, key), member->value));
	}
	return result;
}

static Tree *
tree_new(TreeType type)
{
	Tree	   *tree = palloc0(sizeof(Tree));

	tree->type = type;
	return tree;
}

static Tree *
from_value(const JsonbValue *value)
{
	Tree	   *tree;

	switch (value->type)
	{
		case jbvBool:
			return tree_bool(value->val.boolean);
		case jbvNumeric:
			tree = tree_new(TREE_NUMBER);
			tree->as.number = value->val.numeric;
			return tree;
		case jbvString:
			return tree_string(value->val.string.val, value->val.string.len);
		case jbvBinary:
			return from_container(value->val.binary.data);
		default:
			return tree_null();
	}
}

static Tree *
from_container(JsonbContainer *container)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	value;
	Tree	   *tree = NULL;
	TreeMember *member = NULL;

	check_stack_depth();
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
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
				member->value = from_value(&value);
				break;
			case WJB_ELEM:
				tree->as.items[tree->count++] = from_value(&value);
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
push_tree(JsonbParseState **state, const Tree *tree, JsonbIteratorToken token)
{
	JsonbValue	value;

	check_stack_depth();
	if (tree->type == TREE_ARRAY)
	{
		pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
		for (int i = 0; i < tree->count; i++)
			push_tree(state, tree->as.items[i], WJB_ELEM);
		return pushJsonbValue(state, WJB_END_ARRAY, NULL);
	}
	if (tree->type == TREE_OBJECT)
	{
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		for (int i = 0; i < tree->count; i++)
		{
			value.type = jbvString;
			value.val.string.val = unconstify(char *, tree->as.members[i].key);
			value.val.string.len = tree->as.members[i].length;
			pushJsonbValue(state, WJB_KEY, &value);
			push_tree(state, tree->as.members[i].value, WJB_VALUE);
		}
		return pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	to_scalar(tree, &value);
	return pushJsonbValue(state, token, &value);
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

static Tree *
shallow_copy(const Tree *tree)
{
	Tree	   *copy = palloc(sizeof(Tree));

	*copy = *tree;
	if (tree->type == TREE_ARRAY && tree->room > 0)
	{
		copy->as.items = palloc(copy->room * sizeof(Tree *));
		memcpy(copy->as.items, tree->as.items, tree->count * sizeof(Tree *));
	}
	else if (tree->type == TREE_OBJECT && tree->room > 0)
	{
		copy->as.members = palloc(copy->room * sizeof(TreeMember));
		memcpy(copy->as.members, tree->as.members, tree->count * sizeof(TreeMember));
	}
	return copy;
}

static int
find_member(const Tree *object, const char *key, int length)
{
	for (int i = 0; i < object->count; i++)
		if (object->as.members[i].length == length &&
			memcmp(object->as.members[i].key, key, length) == 0)
			return i;
	return -1;
}
