/*
 * path.c
 *		jsonpath over trees: guards, and the paths inside templates.
 *
 * PostgreSQL parses every path and can execute any of them, on a jsonb of the
 * whole document.  Guards run many times per message, so the common part of the
 * language is executed on the tree, by path_walk.c.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/errors.h"
#include "saga/value/path.h"
#include "saga/value/path_walk.h"

static Tree *execute(const Path *path, Document *document);
static Tree *mentioned_members(const Path *path, const Tree *root);
static bool names_members(const char *source);

/*
 * Compiles a path; a syntax error is PostgreSQL's own.
 */
Path *
path_compile(const char *source)
{
	Path	   *path = palloc0(sizeof(Path));

	path->source = pstrdup(source);
	path->by_member = names_members(source);
	path->compiled = DatumGetJsonPathP(DirectFunctionCall1(jsonpath_in,
														   CStringGetDatum(source)));
	path->on_tree = path_can_walk(path->compiled);
	return path;
}

/*
 * All matches, as an array.
 */
Tree *
path_query(const Path *path, Document *document)
{
	Tree	   *matches = path->on_tree ? path_walk(path->compiled, document->root) : NULL;

	return matches != NULL ? matches : execute(path, document);
}

/*
 * The value of a path: its one match, an array of several, NULL for none.
 */
Tree *
path_value(const Path *path, Document *document)
{
	Tree	   *matches = path_query(path, document);

	if (matches->count == 0)
		return NULL;
	return matches->count == 1 ? matches->as.items[0] : matches;
}

/*
 * Whether a guard holds: a predicate's truth, else whether anything matches.
 */
bool
path_holds(const Path *path, Document *document)
{
	Tree	   *matches = path_query(path, document);
	Tree	   *first;

	if (matches->count != 1)
		return matches->count > 1;
	first = matches->as.items[0];
	if (first->type == TREE_NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("guard \"%s\" is neither true nor false", path->source),
				 errdetail("It compares values of different types."),
				 errhint("Test the type first, as in %s.",
						 "exists($.message.seats ? (@.type() == \"number\"))")));
	return first->type != TREE_BOOL || first->as.boolean;
}

/*
 * Whether a path may read the given member of the document, such as "message".
 */
bool
path_mentions(const Path *path, const char *member)
{
	char	   *key = psprintf("$.%s", member);
	const char *found = path->source;

	while ((found = strstr(found, key)) != NULL)
	{
		found += strlen(key);
		if (!isalnum((unsigned char) *found) && *found != '_')
			return true;
	}
	return false;
}

/*
 * PostgreSQL's executor, with time zones, on the document as jsonb.
 */
static Tree *
execute(const Path *path, Document *document)
{
	Jsonb	   *no_variables = tree_to_jsonb(tree_object());
	Jsonb	   *jsonb = document->jsonb;
	Datum		result;

	if (document->inner && path->by_member)
		jsonb = tree_to_jsonb(mentioned_members(path, document->root));
	else if (jsonb == NULL)
		jsonb = document->jsonb = tree_to_jsonb(document->root);
	result = DirectFunctionCall4(jsonb_path_query_array_tz, JsonbPGetDatum(jsonb),
								 PointerGetDatum(path->compiled),
								 JsonbPGetDatum(no_variables), BoolGetDatum(false));
	return tree_from_jsonb(DatumGetJsonbP(result));
}

/*
 * The part of the document that a path may read: inside of "$each" the whole
 * would be written once for every item.
 */
static Tree *
mentioned_members(const Path *path, const Tree *root)
{
	Tree	   *members = tree_object();

	for (int i = 0; i < root->count; i++)
	{
		char	   *key = pnstrdup(root->as.members[i].key, root->as.members[i].length);

		if (path_mentions(path, key))
			tree_put(members, key, root->as.members[i].value);
	}
	return members;
}

/*
 * Whether every $ of a path is the beginning of a member's plain name.
 */
static bool
names_members(const char *source)
{
	if (strchr(source, '\\') != NULL)
		return false;
	for (const char *at = strchr(source, '$'); at != NULL; at = strchr(at + 1, '$'))
		if (at[1] != '.' || !isalpha((unsigned char) at[2]))
			return false;
	return true;
}
