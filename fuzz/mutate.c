/*
 * mutate.c
 *		How an input becomes another one: half of the time as JSON, since bytes that
 *		are changed anywhere mostly are none any more.
 *
 * One value of one part is left out, doubled, wrapped, replaced by another value of
 * the input or by an odd one, or gets a new member or item.  What is no JSON, or
 * grows too large, is changed byte by byte by libFuzzer.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "fuzz/fuzz.h"
#include "pg/subtransaction.h"
#include "saga/value/tree.h"

typedef struct Mutation
{
	pg_prng_state random;
	uint8_t    *data;
	size_t		size;			/* 0: nothing was made */
	size_t		max_size;
	Tree	   *donor;			/* where other values are taken from */
} Mutation;

static const char *const odd_texts[] = {
	"", "$", "$.data", "$.message.id", "$.item", "${$.data.x}", "$$", "now", "1 day", "-1 h",
	"infinity", "2024-02-29T12:00:00Z", "exponential", "$.a ? (@.b == 1)", "strict $.a[*].b",
};

static uint32
below(Mutation *m, uint32 limit)
{
	return limit == 0 ? 0 : pg_prng_uint32(&m->random) % limit;
}

static int
node_count(const Tree *tree)
{
	int			count = 1;

	for (int i = 0; tree->type == TREE_ARRAY && i < tree->count; i++)
		count += node_count(tree->as.items[i]);
	for (int i = 0; tree->type == TREE_OBJECT && i < tree->count; i++)
		count += node_count(tree->as.members[i].value);
	return count;
}

/*
 * The value that comes at so many after the root, in depth-first order; *key is the
 * member that it, or what it stands in, is the value of.
 */
static const Tree *
node_at(const Tree *tree, int *at, const char **key)
{
	const Tree *found = NULL;

	if ((*at)-- == 0)
		return tree;
	for (int i = 0; found == NULL && tree->type == TREE_ARRAY && i < tree->count; i++)
		found = node_at(tree->as.items[i], at, key);
	for (int i = 0; found == NULL && tree->type == TREE_OBJECT && i < tree->count; i++)
	{
		const TreeMember *member = &tree->as.members[i];

		*key = pnstrdup(member->key, member->length);
		found = node_at(member->value, at, key);
	}
	return found;
}

static Tree *
donated(Mutation *m, const char **key)
{
	int			at = (int) below(m, (uint32) node_count(m->donor));

	*key = "a";
	return unconstify(Tree *, node_at(m->donor, &at, key));
}

static Tree *
changed_string(Mutation *m, const Tree *tree)
{
	uint8_t    *bytes = palloc(tree->count + 64);
	size_t		size;

	memcpy(bytes, tree->as.string, tree->count);
	size = LLVMFuzzerMutate(bytes, tree->count, tree->count + 64);
	return tree_string((char *) bytes, (int) size);
}

/*
 * What comes in place of a value; NULL: nothing.
 */
static Tree *
changed(Mutation *m, const Tree *tree)
{
	Tree	   *same = unconstify(Tree *, tree);
	const char *key;
	Tree	   *other = donated(m, &key);

	switch (below(m, 9))
	{
		case 0:
			return NULL;
		case 1:
			return tree_append(tree_append(tree_array(), same), same);
		case 2:
			return tree_put(tree_object(), key, same);
		case 3:
			return tree_text(odd_texts[below(m, lengthof(odd_texts))]);
		case 4:
			return tree_int((int64) (pg_prng_uint64(&m->random) >> below(m, 64)) *
							(below(m, 2) ? 1 : -1));
		case 5:
			return below(m, 2) ? tree_null() : tree_bool(below(m, 2));
		case 6:
			if (tree->type == TREE_STRING)
				return changed_string(m, tree);
			/* FALLTHROUGH */
		case 7:
			if (tree->type == TREE_OBJECT)
				return tree_with(tree, key, other);
			if (tree->type == TREE_ARRAY)
				return tree_with_appended(tree, other);
			/* FALLTHROUGH */
		default:
			return other;
	}
}

static Tree *
change_at(Mutation *m, const Tree *tree, int *at)
{
	Tree	   *copy;

	if ((*at)-- == 0)
		return changed(m, tree);
	if (tree->type != TREE_ARRAY && tree->type != TREE_OBJECT)
		return unconstify(Tree *, tree);
	copy = tree->type == TREE_ARRAY ? tree_array() : tree_object();
	for (int i = 0; i < tree->count; i++)
	{
		const TreeMember *member = &tree->as.members[i];
		const Tree *child = tree->type == TREE_ARRAY ? tree->as.items[i] : member->value;
		Tree	   *value = change_at(m, child, at);

		if (value != NULL && tree->type == TREE_ARRAY)
			tree_append(copy, value);
		else if (value != NULL)
			tree_put(copy, pnstrdup(member->key, member->length), value);
	}
	return copy;
}

static void
mutate(void *argument)
{
	Mutation   *m = argument;
	char	   *parts[FUZZ_MAX_PARTS];
	int			count = fuzz_split(pnstrdup((char *) m->data, m->size), parts);
	int			which = (int) below(m, (uint32) count);
	Tree	   *tree = tree_from_jsonb(fuzz_parse(parts[which]));
	StringInfoData text;

	m->size = 0;
	m->donor = tree;
	for (int times = 1 + (int) below(m, 3); times > 0 && tree != NULL; times--)
	{
		int			at = (int) below(m, (uint32) node_count(tree));

		tree = change_at(m, tree, &at);
	}
	if (tree == NULL)
		return;
	parts[which] = JsonbToCString(NULL, &tree_to_jsonb(tree)->root, 1000);
	initStringInfo(&text);
	for (int i = 0; i < count; i++)
		appendStringInfo(&text, "%s%s", i > 0 ? FUZZ_SEPARATOR : "", parts[i]);
	if ((size_t) text.len > m->max_size)
		return;
	memcpy(m->data, text.data, text.len);
	m->size = text.len;
}

/*
 * What libFuzzer calls to change an input in place.
 */
size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	MemoryContext old = MemoryContextSwitchTo(fuzz_context);
	Mutation	m = {.data = data, .size = size, .max_size = max_size};
	ErrorData  *error;
	bool		done;

	pg_prng_seed(&m.random, seed);
	done = seed % 4 != 0 && pg_verify_mbstr(PG_UTF8, (char *) data, (int) size, true) &&
		subtransaction_run(mutate, &m, &error);
	MemoryContextSwitchTo(old);
	MemoryContextReset(fuzz_context);
	return done && m.size > 0 ? m.size : LLVMFuzzerMutate(data, size, max_size);
}
