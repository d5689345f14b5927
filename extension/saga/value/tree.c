/*
 * tree.c
 *		JSON values as trees in memory, cheap to read, share and change.
 *
 * A transition reads and changes small documents many times; doing that on
 * jsonb would copy the whole each time.  The members of an object are kept in
 * jsonb's own order (shorter keys first, then by bytes), so that a member is found
 * by bisection, two objects are merged or compared in one pass, and neither
 * reading a jsonb nor writing one has anything to sort.
 *
 * Bodies of messages come from anybody: every function that visits all of a value
 * can be interrupted, and what recurses checks the stack.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "saga/value/tree.h"

/* Objects of up to so many members are searched one after the other. */
#define FEW_MEMBERS 8

static Tree *tree_new(TreeType type);
static Tree *shallow_copy(const Tree *tree);
static int	find_member(const Tree *object, const char *key, int length, bool *found);
static int	compare_keys(const char *a, int a_length, const char *b, int b_length);
static int	next_member(const Tree *a, int i, const Tree *b, int j);
static void make_room(Tree *object);
static void add_last(Tree *object, const TreeMember *member, Tree *value);

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
	return tree_number(int64_to_numeric(value));
}

Tree *
tree_number(Numeric value)
{
	Tree	   *tree = tree_new(TREE_NUMBER);

	tree->as.number = value;
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
 * Sets a member in place; returns the object.  The key is not copied.  Cheap for
 * keys that come in order, and in any order for the few members of what is made
 * here; whole objects are brought together by tree_with_members() and tree_merge().
 */
Tree *
tree_put(Tree *object, const char *key, Tree *value)
{
	int			length = (int) strlen(key);
	bool		found;
	int			at = find_member(object, key, length, &found);

	if (found)
	{
		object->as.members[at].value = value;
		return object;
	}
	if (object->count == object->room)
		make_room(object);
	memmove(object->as.members + at + 1, object->as.members + at,
			(object->count - at) * sizeof(TreeMember));
	object->as.members[at] = (TreeMember) {key, length, value};
	object->count++;
	return object;
}

Tree *
tree_put_text(Tree *object, const char *key, const char *text)
{
	return tree_put(object, key, text == NULL ? tree_null() : tree_text(text));
}

/*
 * A copy in the current memory context that shares nothing with the original.
 */
Tree *
tree_copy(const Tree *tree)
{
	Tree	   *copy = shallow_copy(tree);

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
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
	bool		found;
	int			at;

	if (object == NULL || object->type != TREE_OBJECT)
		return NULL;
	at = find_member(object, key, length, &found);
	return found ? object->as.members[at].value : NULL;
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

bool
tree_equal(const Tree *a, const Tree *b)
{
	if (a == b)
		return true;
	if (a == NULL || b == NULL || a->type != b->type)
		return false;
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (a->type >= TREE_ARRAY && a->count != b->count)
		return false;
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
				if (!tree_equal(a->as.items[i], b->as.items[i]))
					return false;
			return true;
		case TREE_OBJECT:
			for (int i = 0; i < a->count; i++)
				if (next_member(a, i, b, i) != 0 ||
					!tree_equal(a->as.members[i].value, b->as.members[i].value))
					return false;
			return true;
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
	Tree	   *copy = shallow_copy(object);
	bool		found;
	int			at = find_member(copy, key, (int) strlen(key), &found);

	if (!found)
		return copy;
	copy->count--;
	memmove(copy->as.members + at, copy->as.members + at + 1,
			(copy->count - at) * sizeof(TreeMember));
	return copy;
}

/*
 * The object with all members of another one set.
 */
Tree *
tree_with_members(const Tree *object, const Tree *members)
{
	Tree	   *result = tree_object();
	int			i = 0;
	int			j = 0;

	while (i < object->count || j < members->count)
	{
		int			order = next_member(object, i, members, j);

		CHECK_FOR_INTERRUPTS();
		if (order < 0)
			add_last(result, &object->as.members[i], object->as.members[i].value);
		else
			add_last(result, &members->as.members[j], members->as.members[j].value);
		i += order <= 0 ? 1 : 0;
		j += order >= 0 ? 1 : 0;
	}
	return result;
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
	static const Tree nothing = {TREE_OBJECT};
	const Tree *old = target != NULL && target->type == TREE_OBJECT ? target : &nothing;
	Tree	   *result;
	int			i = 0;
	int			j = 0;

	if (patch->type != TREE_OBJECT)
		return patch;
	check_stack_depth();
	result = tree_object();
	while (i < old->count || j < patch->count)
	{
		int			order = next_member(old, i, patch, j);

		CHECK_FOR_INTERRUPTS();
		if (order < 0)
			add_last(result, &old->as.members[i], old->as.members[i].value);
		else if (patch->as.members[j].value->type != TREE_NULL)
			add_last(result, &patch->as.members[j],
					 tree_merge(order == 0 ? old->as.members[i].value : NULL,
								patch->as.members[j].value));
		i += order <= 0 ? 1 : 0;
		j += order >= 0 ? 1 : 0;
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

/*
 * Where a member is, or would have to be.
 */
static int
find_member(const Tree *object, const char *key, int length, bool *found)
{
	int			low = 0;
	int			high = object->count;
	int			order;

	if (high <= FEW_MEMBERS)
	{
		const TreeMember *member = object->as.members;

		*found = false;
		for (; low < high && member->length <= length; low++, member++)
		{
			if (member->length < length)
				continue;
			order = memcmp(member->key, key, length);
			*found = order == 0;
			if (order >= 0)
				break;
		}
		return low;
	}
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		order = compare_keys(object->as.members[middle].key, object->as.members[middle].length,
							 key, length);
		if (order == 0)
		{
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = false;
	return low;
}

/*
 * The order of members in a jsonb.
 */
static int
compare_keys(const char *a, int a_length, const char *b, int b_length)
{
	return a_length != b_length ? a_length - b_length : memcmp(a, b, a_length);
}

/*
 * Which of two members comes first: less than 0 the one of a, greater the one of
 * b, 0 they have the same key.  Past its end an object has none.
 */
static int
next_member(const Tree *a, int i, const Tree *b, int j)
{
	if (i >= a->count)
		return 1;
	if (j >= b->count)
		return -1;
	return compare_keys(a->as.members[i].key, a->as.members[i].length, b->as.members[j].key,
						b->as.members[j].length);
}

static void
make_room(Tree *object)
{
	int			room = object->room == 0 ? 8 : object->room * 2;

	object->as.members = object->room == 0
							 ? palloc(room * sizeof(TreeMember))
							 : repalloc(object->as.members, room * sizeof(TreeMember));
	object->room = room;
}

/*
 * Adds a member that comes after all the others.
 */
static void
add_last(Tree *object, const TreeMember *member, Tree *value)
{
	if (object->count == object->room)
		make_room(object);
	object->as.members[object->count++] = (TreeMember) {member->key, member->length, value};
}
