/*
 * path_walk.c
 *		The common part of jsonpath, executed on trees.
 *
 * Keys, array elements, filters, comparisons, logic, exists, size and arithmetic in
 * lax mode, with the same results as PostgreSQL's executor.  Whatever turns up
 * that is out of the ordinary, an error included, is left to that.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgrprotos.h"

#include "saga/value/path_walk.h"

/* Three-valued logic of predicates. */
typedef enum Truth
{
	TRUTH_FALSE,
	TRUTH_TRUE,
	TRUTH_UNKNOWN
} Truth;

typedef struct Walk
{
	Tree	   *root;
	Tree	   *current;		/* what @ means */
	bool		bailed;			/* leave it to PostgreSQL */
} Walk;

/* The matches of an expression, most often one. */
typedef struct Matches
{
	int			count;
	Tree	   *first;
	Tree	   *all;			/* array, from the second match on */
} Matches;

static bool can_walk(JsonPathItem *item);
static bool can_walk_subscript(JsonPathItem *item);
static void walk(Walk *w, JsonPathItem *item, Tree *value, bool unwrap, Matches *matches);
static void walk_next(Walk *w, JsonPathItem *item, Tree *value, bool unwrap, Matches *matches);
static void walk_subscript(Walk *w, JsonPathItem *item, Tree *value, Matches *matches);
static void walk_operation(Walk *w, JsonPathItem *item, Matches *matches);
static Truth walk_predicate(Walk *w, JsonPathItem *item);
static Truth compare_operands(Walk *w, JsonPathItem *item);
static Truth compare_scalars(JsonPathItemType operation, const Tree *a, const Tree *b);
static Tree *literal(JsonPathItem *item);
static void add_match(Matches *matches, Tree *value);
static void add_unwrapped(Matches *matches, Tree *value);
static Tree *match_at(const Matches *matches, int index);
/*
 * Whether a path can be executed on trees at all.
 */
bool
path_can_walk(const JsonPath *path)
{
	JsonPathItem item;

	if (!(path->header & JSONPATH_LAX))
		return false;
	jspInit(&item, unconstify(JsonPath *, path));
	return can_walk(&item);
}

/*
 * All matches, as an array; NULL leaves it to PostgreSQL.
 */
Tree *
path_walk(const JsonPath *path, Tree *root)
{
	Walk		w = {root};
	Matches		matches = {0};
	JsonPathItem item;

	jspInit(&item, unconstify(JsonPath *, path));
	walk(&w, &item, root, true, &matches);
	if (w.bailed)
		return NULL;
	if (matches.count > 1)
		return matches.all;
	return matches.count == 1 ? tree_append(tree_array(), matches.first) : tree_array();
}

/*
 * Whether everything from this item on can be executed on the tree.
 */
static bool
can_walk(JsonPathItem *item)
{
	JsonPathItem other;

	check_stack_depth();
	switch (item->type)
	{
		case jpiNull:
		case jpiString:
		case jpiNumeric:
		case jpiBool:
		case jpiRoot:
		case jpiCurrent:
		case jpiKey:
		case jpiAnyArray:
		case jpiSize:
			break;
		case jpiIndexArray:
			if (!can_walk_subscript(item))
				return false;
			break;
		case jpiFilter:
		case jpiNot:
		case jpiExists:
			jspGetArg(item, &other);
			if (!can_walk(&other))
				return false;
			break;
		case jpiAnd:
		case jpiOr:
		case jpiEqual:
		case jpiNotEqual:
		case jpiLess:
		case jpiGreater:
		case jpiLessOrEqual:
		case jpiGreaterOrEqual:
		case jpiStartsWith:
		case jpiAdd:
		case jpiSub:
		case jpiMul:
			jspGetLeftArg(item, &other);
			if (!can_walk(&other))
				return false;
			jspGetRightArg(item, &other);
			if (!can_walk(&other))
				return false;
			break;
		default:
			return false;
	}
	return !jspGetNext(item, &other) || can_walk(&other);
}

/*
 * One constant or "last", no range.
 */
static bool
can_walk_subscript(JsonPathItem *item)
{
	JsonPathItem from;
	JsonPathItem to;

	if (item->content.array.nelems != 1 || jspGetArraySubscript(item, &from, &to, 0))
		return false;
	return (from.type == jpiNumeric || from.type == jpiLast) && !jspHasNext(&from);
}

/*
 * Adds what the path from this item on matches in a value.  unwrap is false
 * right below an array, which lax mode unwraps one level deep only.
 */
static void
walk(Walk *w, JsonPathItem *item, Tree *value, bool unwrap, Matches *matches)
{
	JsonPathItem argument;
	Tree	   *found;
	Tree	   *outer;
	Truth		truth;
	char	   *key;
	int			length;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (w->bailed)
		return;
	switch (item->type)
	{
		case jpiRoot:
			walk_next(w, item, w->root, true, matches);
			return;
		case jpiCurrent:
			walk_next(w, item, w->current, true, matches);
			return;
		case jpiKey:
			if (value->type == TREE_ARRAY && unwrap)
			{
				for (int i = 0; i < value->count; i++)
					walk(w, item, value->as.items[i], false, matches);
				return;
			}
			key = jspGetString(item, &length);
			found = tree_get_n(value, key, length);
			if (found != NULL)
				walk_next(w, item, found, true, matches);
			return;
		case jpiAnyArray:
			if (value->type != TREE_ARRAY)
				walk_next(w, item, value, true, matches);
			for (int i = 0; value->type == TREE_ARRAY && i < value->count; i++)
				walk_next(w, item, value->as.items[i], true, matches);
			return;
		case jpiIndexArray:
			walk_subscript(w, item, value, matches);
			return;
		case jpiFilter:
			if (value->type == TREE_ARRAY && unwrap)
			{
				for (int i = 0; i < value->count; i++)
					walk(w, item, value->as.items[i], false, matches);
				return;
			}
			jspGetArg(item, &argument);
			outer = w->current;
			w->current = value;
			truth = walk_predicate(w, &argument);
			w->current = outer;
			if (truth == TRUTH_TRUE)
				walk_next(w, item, value, true, matches);
			return;
		case jpiSize:
			walk_next(w, item, tree_int(value->type == TREE_ARRAY ? value->count : 1), true,
					  matches);
			return;
		case jpiNull:
		case jpiString:
		case jpiNumeric:
		case jpiBool:
			walk_next(w, item, literal(item), true, matches);
			return;
		default:
			walk_operation(w, item, matches);
			return;
	}
}

static void
walk_next(Walk *w, JsonPathItem *item, Tree *value, bool unwrap, Matches *matches)
{
	JsonPathItem next;

	if (jspGetNext(item, &next))
		walk(w, &next, value, unwrap, matches);
	else
		add_match(matches, value);
}

static void
walk_subscript(Walk *w, JsonPathItem *item, Tree *value, Matches *matches)
{
	JsonPathItem from;
	JsonPathItem to;
	int			size = value->type == TREE_ARRAY ? value->count : 1;
	int64		index;

	(void) jspGetArraySubscript(item, &from, &to, 0);
	index = from.type == jpiLast ? size - 1 : tree_to_int(literal(&from), -2);
	if (index == -2)
	{
		w->bailed = true;
		return;
	}
	if (index >= 0 && index < size)
		walk_next(w, item, value->type == TREE_ARRAY ? value->as.items[index] : value, true,
				  matches);
}

/*
 * A predicate gives true, false or null; arithmetic gives a number.
 */
static void
walk_operation(Walk *w, JsonPathItem *item, Matches *matches)
{
	Truth		truth;
	JsonPathItem side;
	Matches		operands[2] = {{0}, {0}};
	PGFunction	operation;

	if (item->type != jpiAdd && item->type != jpiSub && item->type != jpiMul)
	{
		truth = walk_predicate(w, item);
		walk_next(w, item,
				  truth == TRUTH_UNKNOWN ? tree_null() : tree_bool(truth == TRUTH_TRUE), true,
				  matches);
		return;
	}
	jspGetLeftArg(item, &side);
	walk(w, &side, w->current != NULL ? w->current : w->root, true, &operands[0]);
	jspGetRightArg(item, &side);
	walk(w, &side, w->current != NULL ? w->current : w->root, true, &operands[1]);
	for (int i = 0; i < 2; i++)
		if (operands[i].count != 1 || operands[i].first->type != TREE_NUMBER)
			w->bailed = true;
	if (w->bailed)
		return;
	operation = item->type == jpiAdd ? numeric_add : item->type == jpiSub ? numeric_sub
																		  : numeric_mul;
	walk_next(w, item,
			  tree_number(DatumGetNumeric(
				  DirectFunctionCall2(operation,
									  NumericGetDatum(operands[0].first->as.number),
									  NumericGetDatum(operands[1].first->as.number)))),
			  true, matches);
}

static Truth
walk_predicate(Walk *w, JsonPathItem *item)
{
	JsonPathItem side;
	Matches		matches = {0};
	Truth		left;
	Truth		right;

	check_stack_depth();
	if (w->bailed)
		return TRUTH_UNKNOWN;
	switch (item->type)
	{
		case jpiAnd:
			jspGetLeftArg(item, &side);
			left = walk_predicate(w, &side);
			if (left == TRUTH_FALSE)
				return TRUTH_FALSE;
			jspGetRightArg(item, &side);
			right = walk_predicate(w, &side);
			return right == TRUTH_TRUE ? left : right;
		case jpiOr:
			jspGetLeftArg(item, &side);
			left = walk_predicate(w, &side);
			if (left == TRUTH_TRUE)
				return TRUTH_TRUE;
			jspGetRightArg(item, &side);
			right = walk_predicate(w, &side);
			return right == TRUTH_FALSE ? left : right;
		case jpiNot:
			jspGetArg(item, &side);
			left = walk_predicate(w, &side);
			return left == TRUTH_UNKNOWN ? left : left == TRUTH_TRUE ? TRUTH_FALSE
															   : TRUTH_TRUE;
		case jpiExists:
			jspGetArg(item, &side);
			walk(w, &side, w->current != NULL ? w->current : w->root, true, &matches);
			return matches.count > 0 ? TRUTH_TRUE : TRUTH_FALSE;
		case jpiEqual:
		case jpiNotEqual:
		case jpiLess:
		case jpiGreater:
		case jpiLessOrEqual:
		case jpiGreaterOrEqual:
		case jpiStartsWith:
			return compare_operands(w, item);
		default:
			w->bailed = true;
			return TRUTH_UNKNOWN;
	}
}

/*
 * True as soon as one pair compares so; else unknown if any pair could not be
 * compared.
 */
static Truth
compare_operands(Walk *w, JsonPathItem *item)
{
	Matches		raw[2] = {{0}, {0}};
	Matches		operands[2] = {{0}, {0}};
	JsonPathItem side;
	bool		unknown = false;

	jspGetLeftArg(item, &side);
	walk(w, &side, w->current != NULL ? w->current : w->root, true, &raw[0]);
	jspGetRightArg(item, &side);
	walk(w, &side, w->current != NULL ? w->current : w->root, true, &raw[1]);
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < raw[i].count; j++)
			add_unwrapped(&operands[i], match_at(&raw[i], j));
	for (int i = 0; i < operands[0].count; i++)
	{
		for (int j = 0; j < operands[1].count; j++)
		{
			Truth		truth = compare_scalars(item->type, match_at(&operands[0], i),
												match_at(&operands[1], j));

			CHECK_FOR_INTERRUPTS();
			if (truth == TRUTH_TRUE)
				return TRUTH_TRUE;
			if (truth == TRUTH_UNKNOWN)
				unknown = true;
		}
	}
	return unknown ? TRUTH_UNKNOWN : TRUTH_FALSE;
}

static Truth
compare_scalars(JsonPathItemType operation, const Tree *a, const Tree *b)
{
	int			order;
	bool		result;

	if (operation == jpiStartsWith)
	{
		if (a->type != TREE_STRING || b->type != TREE_STRING)
			return TRUTH_UNKNOWN;
		return a->count >= b->count && memcmp(a->as.string, b->as.string, b->count) == 0
				   ? TRUTH_TRUE
				   : TRUTH_FALSE;
	}
	if (a->type != b->type)
	{
		if (a->type == TREE_NULL || b->type == TREE_NULL)
			return operation == jpiNotEqual ? TRUTH_TRUE : TRUTH_FALSE;
		return TRUTH_UNKNOWN;
	}
	if (a->type == TREE_ARRAY || a->type == TREE_OBJECT)
		return TRUTH_UNKNOWN;
	order = a->type == TREE_BOOL ? (int) a->as.boolean - (int) b->as.boolean : tree_compare(a, b);
	switch (operation)
	{
		case jpiEqual:
			result = order == 0;
			break;
		case jpiNotEqual:
			result = order != 0;
			break;
		case jpiLess:
			result = order < 0;
			break;
		case jpiGreater:
			result = order > 0;
			break;
		case jpiLessOrEqual:
			result = order <= 0;
			break;
		default:
			result = order >= 0;
			break;
	}
	return result ? TRUTH_TRUE : TRUTH_FALSE;
}

static Tree *
literal(JsonPathItem *item)
{
	char	   *bytes;
	int			length;

	switch (item->type)
	{
		case jpiString:
			bytes = jspGetString(item, &length);
			return tree_string(bytes, length);
		case jpiNumeric:
			return tree_number(jspGetNumeric(item));
		case jpiBool:
			return tree_bool(jspGetBool(item));
		default:
			return tree_null();
	}
}

static void
add_match(Matches *matches, Tree *value)
{
	if (matches->count == 0)
		matches->first = value;
	else
	{
		if (matches->count == 1)
			matches->all = tree_append(tree_array(), matches->first);
		tree_append(matches->all, value);
	}
	matches->count++;
}

static void
add_unwrapped(Matches *matches, Tree *value)
{
	if (value->type != TREE_ARRAY)
		add_match(matches, value);
	for (int i = 0; value->type == TREE_ARRAY && i < value->count; i++)
		add_match(matches, value->as.items[i]);
}

static Tree *
match_at(const Matches *matches, int index)
{
	return index == 0 ? matches->first : matches->all->as.items[index];
}
