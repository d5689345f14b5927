/*
 * template.c
 *		JSON with holes: what a transition writes and sends.
 *
 *		"$.data.x"				the value of a jsonpath; several matches: an array
 *		"order-${$.data.id}"	text with values in it
 *		"$$x"					the literal text $x
 *		{"$path": p, "default": v}		v where p matches nothing
 *		{"$first": p, "default": v}		the first of several matches
 *		{"$time": p, "plus": "30 s"}	a time and an interval; p "now" is the time of the event
 *		{"$setting": "ecommerce.currency"}	a setting, as text
 *		{"$each": p, "as": t}	an array of t for each match of p, which is $.item in t
 *
 * A path without match is an error (SG005) unless there is a default.  So is a
 * value of which "$each", whatever stands inside of what, makes too much: its size
 * is the product of what the paths match, and messages come from anybody.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "pg/clock.h"
#include "saga/value/template.h"

#define DIGITS "0123456789"

/* How many values all "$each" of one template make at most. */
#define MAX_EACH 100000

typedef enum TemplateKind
{
	TEMPLATE_LITERAL,
	TEMPLATE_PATH,
	TEMPLATE_FIRST,
	TEMPLATE_TEXT,
	TEMPLATE_TIME,
	TEMPLATE_SETTING,
	TEMPLATE_EACH,
	TEMPLATE_ARRAY,
	TEMPLATE_OBJECT
} TemplateKind;

struct Template
{
	TemplateKind kind;
	Tree	   *literal;
	Path	   *path;
	Template   *otherwise;		/* default of a path, or what "$each" makes */
	Interval   *plus;
	int			count;			/* parts, items or members */
	Template  **parts;
	const char **keys;
};

static bool is_zoned_time(const char *text);
static Tree *evaluate(const Template *template, Document *document);
static Template *compile_string(const char *text);
static Template *compile_interpolation(const char *text);
static const char *end_of_hole(const char *start);
static Template *compile_object(const Tree *object);
static Template *compile_operator(const char *operation, const Tree *object);
static void check_operator_keys(const char *operation, const Tree *object, const char *other);
static void add_part(Template *template, Template *part);
static Template *new_template(TemplateKind kind);
static Template *literal_text(const char *bytes, int length);
static Tree *evaluate_path(const Template *template, Document *document);
static Tree *evaluate_text(const Template *template, Document *document);
static Tree *evaluate_time(const Template *template, Document *document);
static Tree *evaluate_setting(const Template *template);
static Tree *evaluate_each(const Template *template, Document *document);

/*
 * Compiles a template.  Errors, of syntax alone, are SG005 or jsonpath's own.
 */
Template *
template_compile(const Tree *json)
{
	Template   *template;

	check_stack_depth();
	switch (json->type)
	{
		case TREE_STRING:
			return compile_string(tree_to_text(json));
		case TREE_OBJECT:
			return compile_object(json);
		case TREE_ARRAY:
			template = new_template(TEMPLATE_ARRAY);
			for (int i = 0; i < json->count; i++)
				add_part(template, template_compile(json->as.items[i]));
			return template;
		default:
			template = new_template(TEMPLATE_LITERAL);
			template->literal = tree_copy(json);
			return template;
	}
}

Template *
template_compile_text(const char *text)
{
	return compile_string(text);
}

Tree *
template_evaluate(const Template *template, Document *document)
{
	document->made = 0;
	return evaluate(template, document);
}

static Tree *
evaluate(const Template *template, Document *document)
{
	Tree	   *result;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	switch (template->kind)
	{
		case TEMPLATE_LITERAL:
			return template->literal;
		case TEMPLATE_PATH:
		case TEMPLATE_FIRST:
			return evaluate_path(template, document);
		case TEMPLATE_TEXT:
			return evaluate_text(template, document);
		case TEMPLATE_TIME:
			return evaluate_time(template, document);
		case TEMPLATE_SETTING:
			return evaluate_setting(template);
		case TEMPLATE_EACH:
			return evaluate_each(template, document);
		case TEMPLATE_ARRAY:
			result = tree_array();
			for (int i = 0; i < template->count; i++)
				tree_append(result, evaluate(template->parts[i], document));
			return result;
		case TEMPLATE_OBJECT:
			result = tree_object();
			for (int i = 0; i < template->count; i++)
				tree_put(result, template->keys[i], evaluate(template->parts[i], document));
			return result;
	}
	return NULL;
}

/*
 * A template whose result is merged into something, so it must be an object.
 */
Tree *
template_patch(const Template *template, Document *document)
{
	Tree	   *patch = template_evaluate(template, document);

	if (patch->type != TREE_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("what is set must be an object, not %s", tree_to_text(patch))));
	return patch;
}

/*
 * The text of a template's value.
 */
char *
template_text(const Template *template, Document *document)
{
	return tree_to_text(template_evaluate(template, document));
}

/*
 * Whether a template is the same text or number whatever the document is.
 */
bool
template_is_fixed(const Template *template)
{
	return template->kind == TEMPLATE_LITERAL;
}

/*
 * Whether a template may read the given member of the document.
 */
bool
template_mentions(const Template *template, const char *member)
{
	check_stack_depth();
	if (template->path != NULL && path_mentions(template->path, member))
		return true;
	if (template->otherwise != NULL && template_mentions(template->otherwise, member))
		return true;
	for (int i = 0; i < template->count; i++)
		if (template_mentions(template->parts[i], member))
			return true;
	return false;
}

/*
 * A time as JSON has it: ISO 8601 in UTC.
 */
Tree *
time_to_tree(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fraction;
	char		text[MAXDATELEN + 1];
	int			zone = 0;

	if (timestamp2tm(time, NULL, &tm, &fraction, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	tm.tm_isdst = 0;			/* else no zone is written */
	EncodeDateTime(&tm, fraction, true, zone, NULL, USE_XSD_DATES, text);
	return tree_text(pstrdup(text));
}

/*
 * A time as JSON has it, with its zone: without one, or written in words, it would
 * depend on the session that reads it.
 */
TimestampTz
time_from_tree(const Tree *tree)
{
	char	   *text = tree_to_text(tree);

	if (tree->type != TREE_STRING || (!is_zoned_time(text) && strstr(text, "infinity") == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("\"%s\" is not a time with its zone", text),
				 errhint("Write it as 2026-01-31T12:00:00Z.")));
	return clock_finite(DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
																CStringGetDatum(text),
																ObjectIdGetDatum(InvalidOid),
																Int32GetDatum(-1))),
						psprintf("\"%s\"", text));
}

/*
 * Does a text have the form 2026-01-31T12:00:00.5+02:00?
 */
static bool
is_zoned_time(const char *text)
{
	static const char form[] = "dd-dd-ddTdd:dd";
	const char *at = text + strspn(text, DIGITS);

	/* The year's digits, less the last two. */
	if (at - text < 4)
		return false;
	at -= 2;
	for (int i = 0; form[i] != '\0'; i++, at++)
	{
		if (i == 8 && (*at == 't' || *at == ' '))
			continue;
		if (form[i] == 'd' ? !isdigit((unsigned char) *at) : *at != form[i])
			return false;
	}
	/* Seconds may be missing. */
	if (*at == ':' && isdigit((unsigned char) at[1]) && isdigit((unsigned char) at[2]))
		at += 3;
	if (*at == '.')
		at += 1 + strspn(at + 1, DIGITS);
	if (strcmp(at, "Z") == 0 || strcmp(at, "z") == 0)
		return true;
	return (*at == '+' || *at == '-') && isdigit((unsigned char) at[1]) &&
		at[1 + strspn(at + 1, DIGITS ":")] == '\0';
}

/*
 * A time and an interval, days and months being those of UTC.
 */
TimestampTz
time_plus(TimestampTz time, const Interval *interval, const char *what)
{
	(void) clock_finite_interval(interval, what);
	return DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval,
												 TimestampGetDatum((Timestamp) time),
												 IntervalPGetDatum(interval)));
}

static Template *
compile_string(const char *text)
{
	Template   *template;

	if (text[0] == '$' && text[1] == '$')
		return literal_text(text + 1, (int) strlen(text + 1));
	if (text[0] == '$' && text[1] != '{')
	{
		template = new_template(TEMPLATE_PATH);
		template->path = path_compile(text);
		return template;
	}
	if (strstr(text, "${") != NULL)
		return compile_interpolation(text);
	return literal_text(text, (int) strlen(text));
}

static Template *
compile_interpolation(const char *text)
{
	Template   *template = new_template(TEMPLATE_TEXT);
	const char *hole;

	while ((hole = strstr(text, "${")) != NULL)
	{
		const char *end = end_of_hole(hole + 2);
		Template   *part = new_template(TEMPLATE_PATH);

		if (end == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_SG_TEMPLATE),
					 errmsg("template \"%s\" has no \"}\" for its \"${\"", text)));
		if (hole > text)
			add_part(template, literal_text(text, hole - text));
		part->path = path_compile(pnstrdup(hole + 2, end - hole - 2));
		add_part(template, part);
		text = end + 1;
	}
	if (*text != '\0')
		add_part(template, literal_text(text, (int) strlen(text)));
	return template;
}

/*
 * The brace that closes a hole, past braces and strings inside the path.
 */
static const char *
end_of_hole(const char *start)
{
	int			depth = 0;
	bool		quoted = false;

	for (const char *at = start; *at != '\0'; at++)
	{
		if (quoted && *at == '\\' && at[1] != '\0')
			at++;
		else if (*at == '"')
			quoted = !quoted;
		else if (!quoted && *at == '{')
			depth++;
		else if (!quoted && *at == '}' && depth-- == 0)
			return at;
	}
	return NULL;
}

static Template *
compile_object(const Tree *object)
{
	Template   *template = new_template(TEMPLATE_OBJECT);

	for (int i = 0; i < object->count; i++)
		if (object->as.members[i].length > 0 && object->as.members[i].key[0] == '$')
			return compile_operator(pnstrdup(object->as.members[i].key,
											 object->as.members[i].length),
									object);
	template->keys = palloc0(Max(object->count, 1) * sizeof(char *));
	for (int i = 0; i < object->count; i++)
	{
		template->keys[i] = pnstrdup(object->as.members[i].key, object->as.members[i].length);
		add_part(template, template_compile(object->as.members[i].value));
	}
	return template;
}

static Template *
compile_operator(const char *operation, const Tree *object)
{
	Tree	   *operand = tree_get(object, operation);
	Tree	   *otherwise = tree_get(object, "default");
	Tree	   *plus = tree_get(object, "plus");
	Template   *template;

	if (operand->type != TREE_STRING)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("\"%s\" of a template must be a string", operation)));
	if (strcmp(operation, "$setting") == 0)
	{
		check_operator_keys(operation, object, NULL);
		template = new_template(TEMPLATE_SETTING);
		template->literal = tree_copy(operand);
		return template;
	}
	if (strcmp(operation, "$time") == 0)
	{
		check_operator_keys(operation, object, "plus");
		template = new_template(TEMPLATE_TIME);
		if (!tree_is_text(operand, "now"))
			template->path = path_compile(tree_to_text(operand));
		if (plus != NULL)
			template->plus =
				DatumGetIntervalP(DirectFunctionCall3(interval_in,
													  CStringGetDatum(tree_to_text(plus)),
													  ObjectIdGetDatum(InvalidOid),
													  Int32GetDatum(-1)));
		return template;
	}
	if (strcmp(operation, "$each") == 0)
	{
		check_operator_keys(operation, object, "as");
		template = new_template(TEMPLATE_EACH);
		template->path = path_compile(tree_to_text(operand));
		template->otherwise = template_compile(
			tree_get(object, "as") != NULL ? tree_get(object, "as") : tree_text("$.item"));
		return template;
	}
	if (strcmp(operation, "$path") != 0 && strcmp(operation, "$first") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("unknown operator \"%s\" in a template", operation),
				 errhint("There are $path, $first, $each, $time and $setting.")));
	check_operator_keys(operation, object, "default");
	template = new_template(strcmp(operation, "$path") == 0 ? TEMPLATE_PATH : TEMPLATE_FIRST);
	template->path = path_compile(tree_to_text(operand));
	if (otherwise != NULL)
		template->otherwise = template_compile(otherwise);
	return template;
}

static void
check_operator_keys(const char *operation, const Tree *object, const char *other)
{
	for (int i = 0; i < object->count; i++)
	{
		char	   *key = pnstrdup(object->as.members[i].key, object->as.members[i].length);

		if (strcmp(key, operation) != 0 && (other == NULL || strcmp(key, other) != 0))
			ereport(ERROR,
					(errcode(ERRCODE_SG_TEMPLATE),
					 errmsg("unknown key \"%s\" beside \"%s\" in a template", key, operation)));
	}
}

static void
add_part(Template *template, Template *part)
{
	if (template->count % 8 == 0)
		template->parts =
			template->count == 0
				? palloc(8 * sizeof(Template *))
				: repalloc(template->parts, (template->count + 8) * sizeof(Template *));
	template->parts[template->count++] = part;
}

static Template *
new_template(TemplateKind kind)
{
	Template   *template = palloc0(sizeof(Template));

	template->kind = kind;
	return template;
}

static Template *
literal_text(const char *bytes, int length)
{
	Template   *template = new_template(TEMPLATE_LITERAL);

	template->literal = tree_string(pnstrdup(bytes, length), length);
	return template;
}

static Tree *
evaluate_path(const Template *template, Document *document)
{
	Tree	   *matches = path_query(template->path, document);

	if (matches->count == 0 && template->otherwise != NULL)
		return evaluate(template->otherwise, document);
	if (matches->count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("template \"%s\" matches nothing", template->path->source),
				 errhint("Write {\"$path\": \"%s\", \"default\": ...} where that is possible.",
						 template->path->source)));
	if (matches->count == 1 || template->kind == TEMPLATE_FIRST)
		return matches->as.items[0];
	return matches;
}

static Tree *
evaluate_text(const Template *template, Document *document)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < template->count; i++)
	{
		Tree	   *part = evaluate(template->parts[i], document);

		if (part->type == TREE_STRING)
			appendBinaryStringInfo(&text, part->as.string, part->count);
		else
			appendStringInfoString(&text, tree_to_text(part));
	}
	return tree_string(text.data, text.len);
}

static Tree *
evaluate_time(const Template *template, Document *document)
{
	Tree	   *base = template->path == NULL ? tree_get(document->root, "now")
										: path_value(template->path, document);
	TimestampTz time;

	if (base == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("template \"%s\" matches nothing",
						template->path == NULL ? "now" : template->path->source)));
	time = time_from_tree(base);
	if (template->plus != NULL)
		time = time_plus(time, template->plus, "plus");
	return time_to_tree(time);
}

static Tree *
evaluate_setting(const Template *template)
{
	const char *value = GetConfigOption(tree_to_text(template->literal), false, true);

	return tree_text(value == NULL ? "" : pstrdup(value));
}

static Tree *
evaluate_each(const Template *template, Document *document)
{
	Tree	   *matches = path_query(template->path, document);
	Tree	   *result = tree_array();

	for (int i = 0; i < matches->count; i++)
	{
		Document	inner = {.root = tree_with(document->root, "item", matches->as.items[i])};

		inner.inner = true;
		inner.made = document->made + 1;
		if (inner.made > MAX_EACH)
			ereport(ERROR,
					(errcode(ERRCODE_SG_TEMPLATE),
					 errmsg("\"$each\" of \"%s\" makes more than %d values",
							template->path->source, MAX_EACH),
					 errdetail("Those of all \"$each\" inside of one another count.")));
		tree_append(result, evaluate(template->otherwise, &inner));
		document->made = inner.made;
	}
	return result;
}
