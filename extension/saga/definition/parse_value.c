/*
 * parse_value.c
 *		Single values of a definition: texts, intervals, paths, templates, names.
 *
 * Whatever is wrong becomes a problem; the caller gets NULL, NOWHERE or the
 * default and goes on.
 */
#include "postgres.h"

#include "datatype/timestamp.h"

#include "pg/clock.h"
#include "pg/subtransaction.h"
#include "saga/definition/definition_parse.h"

#define CONDITION_LETTERS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define MAX_NESTING 10

/* A path with its conditions put in; each may name others many times. */
#define MAX_PATH_BYTES 65536

/* What is compiled by code that raises errors. */
typedef struct Compilation
{
	Jsonb	   *json;
	const Tree *source;
	const char *text;			/* of a path, conditions put in */
	Path	   *path;
	Template   *template;
	Backoff    *backoff;
} Compilation;

static bool compile(Parser *p, SubtransactionBody function, Compilation *compilation,
					const char *key);

/*
 * Notes a problem at the current place.
 */
void
parse_problem(Parser *p, const char *format, ...)
{
	va_list		arguments;
	char		text[1024];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	definition_problem(p->problems, "error", p->state, p->event, "%s", text);
}

static void
read_json(void *argument)
{
	Compilation *compilation = argument;

	compilation->source = tree_from_jsonb(compilation->json);
}

/*
 * The document itself; an empty one if it cannot be read.
 */
Tree *
parse_json(Parser *p, Jsonb *document)
{
	Compilation compilation = {.json = document};

	if (!compile(p, read_json, &compilation, "definition"))
		return tree_object();
	return unconstify(Tree *, compilation.source);
}

bool
parse_is_object(Parser *p, const Tree *tree, const char *what)
{
	if (tree != NULL && tree->type == TREE_OBJECT)
		return true;
	if (tree == NULL)
		parse_problem(p, "%s is missing", what);
	else
		parse_problem(p, "%s must be an object", what);
	return false;
}

/*
 * Refuses keys that are not in the list, which is separated by spaces.
 */
void
parse_keys(Parser *p, const Tree *object, const char *what, const char *known)
{
	char	   *list = psprintf(" %s ", known);

	for (int i = 0; i < object->count; i++)
	{
		char	   *key = member_name(object, i);

		if (strchr(key, ' ') != NULL || strstr(list, psprintf(" %s ", key)) == NULL)
			parse_problem(p, "unknown key \"%s\" in %s", key, what);
	}
}

/*
 * A member that is a string; NULL if it is absent or wrong.
 */
char *
parse_text(Parser *p, const Tree *object, const char *key, bool required)
{
	Tree	   *value = tree_get(object, key);

	if (value != NULL && value->type == TREE_STRING && value->count > 0)
		return tree_to_text(value);
	if (value != NULL)
		parse_problem(p, "\"%s\" must be a string", key);
	else if (required)
		parse_problem(p, "\"%s\" is missing", key);
	return NULL;
}

bool
parse_flag(Parser *p, const Tree *object, const char *key)
{
	Tree	   *value = tree_get(object, key);

	if (value != NULL && value->type != TREE_BOOL)
		parse_problem(p, "\"%s\" must be true or false", key);
	return tree_is_true(value);
}

/*
 * "schema_version": which version of its type a body is of; 0 if it is not said.
 */
int32
parse_schema_version(Parser *p, const Tree *object)
{
	Tree	   *value = tree_get(object, "schema_version");
	int64		version = tree_to_int(value, 0);

	if (value == NULL)
		return 0;
	if (value->type != TREE_NUMBER || version < 1 || version > PG_INT32_MAX ||
		!tree_equal(value, tree_int(version)))
		parse_problem(p, "\"schema_version\" must be a whole number of 1 or more");
	return (int32) version;
}

/*
 * A member that is an interval, in milliseconds.
 */
int64
parse_interval(Parser *p, const Tree *object, const char *key, int64 otherwise)
{
	const Tree *source = tree_get(object, key);
	Interval	interval;
	int64		days;
	int64		microseconds;

	if (source == NULL)
		return otherwise;
	if (source->type != TREE_STRING || !interval_parse(tree_to_text(source), &interval))
	{
		parse_problem(p, "\"%s\" must be an interval, like \"10 min\", and is %s", key,
					  tree_to_text(source));
		return otherwise;
	}
	days = (int64) interval.month * DAYS_PER_MONTH + interval.day +
		interval.time / USECS_PER_DAY;
	if (llabs(days) > CLOCK_LONGEST_DAYS / 2)
	{
		parse_problem(p, "\"%s\" is longer than %d years", key, CLOCK_LONGEST_DAYS / 2 / 365);
		return otherwise;
	}
	microseconds = clock_microseconds(&interval, key);
	if (microseconds < 0)
		parse_problem(p, "\"%s\" is negative", key);
	return microseconds / 1000;
}

static void
compile_path(void *argument)
{
	Compilation *compilation = argument;

	compilation->path = path_compile(compilation->text);
	compilation->path->source = tree_to_text(compilation->source);
}

/*
 * A path with every <name> replaced by that condition of the definition.
 */
static char *
put_in_conditions(Parser *p, const char *source, int depth)
{
	Tree	   *conditions = tree_get(p->definition->document, "conditions");
	StringInfoData text;

	initStringInfo(&text);
	while (*source != '\0' && text.len <= MAX_PATH_BYTES)
	{
		int			length = *source == '<' ? (int) strspn(source + 1, CONDITION_LETTERS) : 0;

		if (length > 0 && source[length + 1] == '>')
		{
			Tree	   *condition = tree_get_n(conditions, source + 1, length);

			if (condition == NULL || condition->type != TREE_STRING || depth >= MAX_NESTING)
			{
				parse_problem(p, "\"conditions\" has no usable \"%.*s\"", length, source + 1);
				appendStringInfoString(&text, "(1 == 1)");
			}
			else
				appendStringInfo(&text, "(%s)",
								 put_in_conditions(p, tree_to_text(condition), depth + 1));
			source += length + 2;
		}
		else
			appendStringInfoChar(&text, *source++);
	}
	return text.data;
}

Path *
parse_path(Parser *p, const Tree *object, const char *key)
{
	Compilation compilation = {.source = tree_get(object, key)};

	if (compilation.source == NULL)
		return NULL;
	if (compilation.source->type != TREE_STRING)
	{
		parse_problem(p, "\"%s\" must be a jsonpath in a string", key);
		return NULL;
	}
	compilation.text = put_in_conditions(p, tree_to_text(compilation.source), 0);
	if (strlen(compilation.text) > MAX_PATH_BYTES)
	{
		parse_problem(p, "\"%s\" has more than %d bytes with its conditions", key, MAX_PATH_BYTES);
		return NULL;
	}
	return compile(p, compile_path, &compilation, key) ? compilation.path : NULL;
}

static void
compile_template(void *argument)
{
	Compilation *compilation = argument;

	compilation->template = template_compile(compilation->source);
}

Template *
parse_template(Parser *p, const Tree *object, const char *key)
{
	Compilation compilation = {.source = tree_get(object, key)};

	if (compilation.source == NULL || !compile(p, compile_template, &compilation, key))
		return NULL;
	return compilation.template;
}

static void
compile_backoff(void *argument)
{
	Compilation *compilation = argument;

	compilation->backoff = delay_policy(compilation->source);
}

Backoff *
parse_backoff(Parser *p, const Tree *object, const char *key)
{
	Compilation compilation = {.source = tree_get(object, key)};

	if (compilation.source == NULL || !compile(p, compile_backoff, &compilation, key))
		return NULL;
	return compilation.backoff;
}

/*
 * A member that names a state; NOWHERE if it is absent or wrong.
 */
int
parse_state_name(Parser *p, const Tree *object, const char *key)
{
	char	   *name = parse_text(p, object, key, false);
	int			state;

	if (name == NULL)
		return NOWHERE;
	state = definition_find_state(p->definition, name);
	if (state == NOWHERE)
	{
		parse_problem(p, "\"%s\" names state \"%s\", which does not exist", key, name);
		p->definition->broken_path = true;
	}
	return state;
}

int
parse_event_name(Parser *p, const Tree *object, const char *key)
{
	char	   *name = parse_text(p, object, key, true);
	int			event;

	if (name == NULL)
		return NOWHERE;
	event = definition_find_event(p->definition, name);
	if (event == NOWHERE)
		parse_problem(p, "\"%s\" names event \"%s\", which is not listed in \"events\"", key,
					  name);
	return event;
}

/*
 * The index of a timer, a new one if it was not mentioned before.
 */
int
parse_timer_name(Parser *p, const char *name)
{
	int			timer = definition_find_timer(p->definition, name);

	if (timer == TIMER_COMPENSATE || timer == TIMER_RETAIN)
		parse_problem(p, "timer \"%s\" belongs to the engine", name);
	if (timer != NOWHERE)
		return timer;
	p->definition->timers = lappend(p->definition->timers, pstrdup(name));
	return list_length(p->definition->timers) - 1;
}

char *
member_name(const Tree *object, int index)
{
	return pnstrdup(object->as.members[index].key, object->as.members[index].length);
}

/*
 * An array as it is, anything else as an array of one, NULL as an empty one.
 */
Tree *
as_list(Tree *tree)
{
	if (tree == NULL)
		return tree_array();
	return tree->type == TREE_ARRAY ? tree : tree_append(tree_array(), tree);
}

static bool
compile(Parser *p, SubtransactionBody function, Compilation *compilation, const char *key)
{
	ErrorData  *error;

	if (subtransaction_run(function, compilation, &error))
		return true;
	if (error->detail != NULL)
		parse_problem(p, "\"%s\" does not parse: %s: %s", key, error->message, error->detail);
	else
		parse_problem(p, "\"%s\" does not parse: %s", key, error->message);
	return false;
}
