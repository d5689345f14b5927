/*
 * definition_check.c
 *		Mistakes that parse: paths that lead to nothing, bodies that no contract fits.
 *
 * Looks at the document as it stands, string by string, wherever it is a path: the
 * members of what a path is evaluated against are known, and so is what the
 * definition itself writes into data.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "event_store/contract/contract.h"
#include "pg/spi.h"
#include "pg/subtransaction.h"
#include "saga/definition/definition.h"

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

/* What paths are evaluated against. */
static const char *const members[] = {
	"saga", "data", "message", "envelope", "now", "owed", "record", "key", "reason", "item"
};

typedef struct DefinitionCheck
{
	const Definition *definition;
	List	  **problems;
	const Tree *written;		/* names in data; NULL: unknown */
	const char *state;			/* where we are */
	const char *event;
	const char *part;			/* of the definition */
	bool		events;			/* in "on" of a state */
	int			depth;
} DefinitionCheck;

/* A body, and the type that it is of. */
typedef struct Body
{
	const char *type;
	int32		version;
	Tree	   *tree;
} Body;

static Tree *names_written(const Definition *definition);
static void check_tree(DefinitionCheck *check, const Tree *tree, bool path, bool fallback);
static void check_member(DefinitionCheck *check, const Tree *object, int index, bool path);
static bool is_path_key(const char *key);
static void check_text(DefinitionCheck *check, const char *text, bool path, bool fallback);
static void check_names(DefinitionCheck *check, const char *text, const char *end, bool fallback);
static void check_body(DefinitionCheck *check, const Tree *object);
static void check_fields(DefinitionCheck *check, const Body *body, bool keyed);
static bool is_fixed(const Tree *tree);
static void check_contract(void *argument);

/*
 * Adds what is wrong with the paths and bodies of a definition.
 */
void
definition_check(const Definition *definition, List **problems)
{
	DefinitionCheck check = {definition, problems, names_written(definition)};
	ListCell   *cell;

	check_tree(&check, definition->document, false, false);
	/* Commands as they are put together. */
	foreach(cell, definition->sends)
	{
		const SendAction *send = lfirst(cell);
		Tree	   *compensation = tree_get(send->source, "compensation");

		check.state = send->in_state;
		check.event = send->on_event;
		check_body(&check, send->source);
		if (compensation != NULL)
			check_body(&check, compensation);
	}
}

/*
 * The members of data that the definition writes, or says that others do ("given");
 * NULL if a function may write any, or that is not known.
 */
static Tree *
names_written(const Definition *definition)
{
	Tree	   *names = tree_object();
	Tree	   *given = tree_get(definition->document, "given");
	ListCell   *cell;

	if (definition->broken_path)
		return NULL;
	foreach(cell, definition->transitions)
	{
		const Transition *transition = lfirst(cell);
		Tree	   *set = tree_get(transition->source, "set");

		if (transition->call != NULL)
			return NULL;
		for (int i = 0; set != NULL && set->type == TREE_OBJECT && i < set->count; i++)
			tree_put(names, pnstrdup(set->as.members[i].key, set->as.members[i].length),
					 tree_bool(true));
	}
	foreach(cell, definition->facts)
		tree_put(names, ((const Fact *) lfirst(cell))->name, tree_bool(true));
	tree_put(names, "earlier", tree_bool(true));
	for (int i = 0; given != NULL && given->type == TREE_ARRAY && i < given->count; i++)
		tree_put(names, tree_to_text(given->as.items[i]), tree_bool(true));
	return names;
}

/*
 * path: every string in it is a jsonpath, and not a template.  fallback: there is a
 * default for what is not there.
 */
static void
check_tree(DefinitionCheck *check, const Tree *tree, bool path, bool fallback)
{
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (tree->type == TREE_STRING)
		check_text(check, tree_to_text(tree), path, fallback);
	for (int i = 0; tree->type == TREE_ARRAY && i < tree->count; i++)
		check_tree(check, tree->as.items[i], path, fallback);
	if (tree->type != TREE_OBJECT)
		return;
	if (tree_get(tree, "compensation") == NULL && tree_get(tree, "confirmed_by") == NULL &&
		(check->part == NULL || strcmp(check->part, "commands") != 0))
		check_body(check, tree);
	check->depth++;
	for (int i = 0; i < tree->count; i++)
		check_member(check, tree, i, path);
	check->depth--;
}

static void
check_member(DefinitionCheck *check, const Tree *object, int index, bool path)
{
	char	   *key = pnstrdup(object->as.members[index].key, object->as.members[index].length);
	Tree	   *value = object->as.members[index].value;
	const char *state = check->state;
	const char *event = check->event;

	if (strcmp(key, "description") == 0 || strcmp(key, "why") == 0)
		return;
	/* Where states, events and other things have names. */
	if (check->depth == 1)
		check->part = key;
	else if (check->depth == 2 && strcmp(check->part, "states") == 0)
		check->state = key;
	else if (check->depth == 2)
		check->event = strcmp(check->part, "start") == 0 ? key
														 : psprintf("%s.%s", check->part, key);
	else if (check->depth == 3)
		check->events = strcmp(key, "on") == 0;
	else if (check->depth == 4 && check->events)
		check->event = key;
	check_tree(check, value, path || is_path_key(key),
			   key[0] == '$' && tree_get(object, "default") != NULL);
	check->state = state;
	check->event = event;
}

static bool
is_path_key(const char *key)
{
	static const char *const keys[] = {
		"guard", "if", "when", "correlate", "conditions", "refused_by"
	};

	for (int i = 0; i < lengthof(keys); i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

/*
 * A path as a whole, or the paths in a template's text.
 */
static void
check_text(DefinitionCheck *check, const char *text, bool path, bool fallback)
{
	const char *hole;

	if (path || (text[0] == '$' && text[1] != '$' && text[1] != '{'))
		check_names(check, text, text + strlen(text), fallback);
	else if (text[0] != '$' || text[1] != '$')
		while ((hole = strstr(text, "${")) != NULL)
		{
			text = hole + 2 + strcspn(hole + 2, "}");
			check_names(check, hole + 2, text, fallback);
		}
}

/*
 * Every $.name must be a member of the document, every $.data.name something that
 * is written.
 */
static void
check_names(DefinitionCheck *check, const char *text, const char *end, bool fallback)
{
	bool		quoted = false;

	for (const char *at = text; at < end; at++)
	{
		int			length = (int) strspn(at + 2, NAME_LETTERS);
		char	   *name;
		bool		known = false;

		if (*at == '"')
			quoted = !quoted;
		if (quoted || at[0] != '$' || at[1] != '.' || length == 0)
			continue;
		name = pnstrdup(at + 2, length);
		for (int i = 0; i < lengthof(members); i++)
			known = known || strcmp(members[i], name) == 0;
		if (!known)
			definition_problem(check->problems, "error", check->state, check->event,
							   "path \"%.*s\" reads $.%s, and there is no such thing",
							   (int) (end - text), text, name);
		at += 2 + length;
		length = *at == '.' ? (int) strspn(at + 1, NAME_LETTERS) : 0;
		if (strcmp(name, "data") == 0 && length > 0 && at[1 + length] != '(' && !fallback &&
			check->written != NULL && tree_get_n(check->written, at + 1, length) == NULL)
			definition_problem(check->problems, "error", check->state, check->event,
							   "path \"%.*s\" reads $.data.%.*s, which no action sets and"
							   " \"given\" does not name",
							   (int) (end - text), text, length, at + 1);
		at--;
	}
}

/*
 * What is sent, published or appended must be of its registered type.
 */
static void
check_body(DefinitionCheck *check, const Tree *object)
{
	Tree	   *type = tree_get(object, "type");
	Tree	   *data = tree_get(object, "data");
	Body		body = {NULL};
	ErrorData  *error;

	body.tree = data != NULL ? data : tree_get(object, "body");
	if (type == NULL || type->type != TREE_STRING || body.tree == NULL ||
		body.tree->type != TREE_OBJECT)
		return;
	body.type = tree_to_text(type);
	body.version = (int32) tree_to_int(tree_get(object, "schema_version"), 0);
	if (body.version == 0)
		body.version = contract_current_version(body.type, (int) strlen(body.type));
	if (body.version == CONTRACT_CURRENT)
		return;
	check_fields(check, &body, tree_get(object, "endpoint") != NULL);
	if (is_fixed(body.tree) && !subtransaction_run(check_contract, &body, &error))
		definition_problem(check->problems, "error", check->state, check->event, "%s",
						   error->message);
}

/*
 * The members of a body must be those of the type, and none missing that must be
 * there.  keyed: it gets its step key.
 */
static void
check_fields(DefinitionCheck *check, const Body *body, bool keyed)
{
	static SpiStatement find = {
		"SELECT a.attname::text, t.typtype = 'd' AND t.typnotnull FROM event_store.event_type e"
		" JOIN pg_catalog.pg_type c ON c.oid = e.payload_type"
		" JOIN pg_catalog.pg_attribute a ON a.attrelid = c.typrelid"
		" JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
		" WHERE e.event_type = $1 AND e.schema_version = $2 AND a.attnum > 0"
		" AND NOT a.attisdropped ORDER BY a.attnum"
	};
	MemoryContext caller = CurrentMemoryContext;
	Tree	   *fields = tree_object();
	Tree	   *written;
	uint64		count;

	for (int i = 0; i < body->tree->count; i++)
		if (body->tree->as.members[i].length > 0 && body->tree->as.members[i].key[0] == '$')
			return;
	spi_begin(SPI_AS_OWNER);
	count = spi_run(&find, 2, (Oid[]) {TEXTOID, INT4OID},
					(Datum[]) {CStringGetTextDatum(body->type), Int32GetDatum(body->version)},
					NULL);
	for (uint64 i = 0; i < count; i++)
	{
		bool		required = spi_bool(i, 1);
		char	   *field = spi_text(i, 0, caller);
		MemoryContext old = MemoryContextSwitchTo(caller);

		tree_put(fields, field, tree_bool(required));
		MemoryContextSwitchTo(old);
	}
	spi_end();
	written = keyed && tree_get(body->tree, "key") == NULL
		? tree_with(body->tree, "key", tree_bool(true))
		: body->tree;
	for (int i = 0; count > 0 && i < written->count; i++)
	{
		const TreeMember *member = &written->as.members[i];

		if (tree_get_n(fields, member->key, member->length) == NULL)
			definition_problem(check->problems, "error", check->state, check->event,
							   "\"%s\" is written with \"%.*s\", which version %d of it does not"
							   " have",
							   body->type, member->length, member->key, body->version);
	}
	for (int i = 0; i < fields->count; i++)
	{
		const TreeMember *field = &fields->as.members[i];
		Tree	   *value = tree_get_n(written, field->key, field->length);

		if (tree_is_true(field->value) && (value == NULL || value->type == TREE_NULL))
			definition_problem(check->problems, "error", check->state, check->event,
							   "\"%s\" is written without \"%.*s\", which version %d of it requires",
							   body->type, field->length, field->key, body->version);
	}
}

/*
 * Whether a template is the same whatever happens.
 */
static bool
is_fixed(const Tree *tree)
{
	bool		fixed = tree->type != TREE_STRING || strchr(tree_to_text(tree), '$') == NULL;

	check_stack_depth();
	for (int i = 0; fixed && tree->type == TREE_ARRAY && i < tree->count; i++)
		fixed = is_fixed(tree->as.items[i]);
	for (int i = 0; fixed && tree->type == TREE_OBJECT && i < tree->count; i++)
		fixed = tree->as.members[i].key[0] != '$' && is_fixed(tree->as.members[i].value);
	return fixed;
}

static void
check_contract(void *argument)
{
	Body	   *body = argument;

	(void) contract_check(body->type, (int) strlen(body->type), &body->version,
						  tree_to_jsonb(body->tree), -1);
}
