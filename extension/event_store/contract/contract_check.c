/*
 * contract_check.c
 *		Checking a JSON document against a compiled contract.
 *
 * Accepts what jsonb_populate_record would convert, except that it refuses
 *	- keys that the type does not have;
 *	- an object or array where a scalar belongs, and a scalar where an object or
 *	  array belongs (populate would take '{1,2}' or '(a,b)' apart);
 *	- arrays in arrays, which no composite type can tell from plain ones;
 *	- scalars that are not written as event_store.asyncapi() says: a number
 *	  in a string, "yes" for true, a time without its zone, "tomorrow";
 * and that whole numbers may be written as 5.0, which are then stored as 5.
 *
 * Walks the binary jsonb directly.  Holds no lock and keeps no state but what
 * input functions and domain checks cache in the tree.  The caller has taken the
 * rights that code in a foreign tree runs with; what that sets is undone here.
 */
#include "postgres.h"

#include <ctype.h>

#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "base/errors.h"
#include "event_store/contract/contract_check.h"
#include "event_store/contract/contract_value.h"

/* So much of what somebody sent comes back in an error, in bytes. */
#define KEY_SHOWN NAMEDATALEN
#define PROBLEM_SHOWN 200

/* The way to a value; built on the stack, written down only in an error. */
typedef struct Way
{
	const struct Way *parent;	/* NULL: the document */
	const char *key;			/* NULL: a member of an array */
	int			length;
	int			index;
} Way;

typedef struct Checking
{
	const ContractSubject *subject;
	ExprContext *expressions;	/* for domain checks, made for the first one */
	List	   *fractions;		/* whole numbers written as "5.0", where they stand */
	ContractNode *node;			/* what is being converted, for the callback */
	const Way  *path;
} Checking;

static Jsonb *without_fractions(Jsonb *data, List *fractions);
static void check_value(Checking *check, ContractNode *node, const JsonSlice *value,
						const Way *path);
static void check_absent(Checking *check, ContractNode *node, const Way *path, const char *problem);
static void check_object(Checking *check, ContractNode *node, JsonbContainer *container,
						 const Way *path);
static int	check_absent_before(Checking *check, ContractNode *node, int next, const JsonSlice *key,
								const Way *path);
static void check_array(Checking *check, ContractNode *node, JsonbContainer *container,
						const Way *path);
static void check_scalar(Checking *check, ContractNode *node, const JsonSlice *value,
						 const Way *path);
static Datum convert(Checking *check, ContractNode *node, const JsonSlice *value, const Way *path);
static void rename_conversion_error(void *arg);
static void check_domain(Checking *check, ContractNode *node, Datum value, bool isnull,
						 const Way *path);
static void unknown_key(Checking *check, ContractNode *node, const JsonSlice *key, const Way *path)
			pg_attribute_noreturn();
static void violation(Checking *check, const Way *path, const char *problem, const char *hint)
			pg_attribute_noreturn();
static const char *kind_name(const ContractNode *node);
static bool is_plain_key(const Way *step);
static char *path_text(const Checking *check, const Way *path);
static void append_path(StringInfo text, const Way *path);
static char *shortened(const char *text, int length, int limit);

/*
 * Raises ST004 with the path of the first offender unless the document, an
 * object, fits the contract.  Returns what is to be stored: data itself, or a copy
 * in which whole numbers are written as such.
 */
Jsonb *
contract_check_document(ContractNode *root, Jsonb *data, const ContractSubject *subject)
{
	Checking	check = {subject, NULL, NIL, NULL, NULL};

	check_object(&check, root, &data->root, NULL);
	if (check.expressions != NULL)
		FreeExprContext(check.expressions, true);
	return check.fractions == NIL ? data : without_fractions(data, check.fractions);
}

/*
 * JSON knows one number 5, however it is written; the input functions of SQL's
 * integers, which readers use, take only one way to write it.  The numbers to be
 * changed come in the order in which they stand.
 */
static Jsonb *
without_fractions(Jsonb *data, List *fractions)
{
	ListCell   *next = list_head(fractions);
	JsonbParseState *state = NULL;
	JsonbValue *root = NULL;
	JsonbIterator *iterator = JsonbIteratorInit(&data->root);
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		if (next != NULL && (token == WJB_VALUE || token == WJB_ELEM) &&
			value.type == jbvNumeric && (void *) value.val.numeric == lfirst(next))
		{
			value.val.numeric =
				DatumGetNumeric(DirectFunctionCall2(numeric_trunc,
													NumericGetDatum(value.val.numeric),
													Int32GetDatum(0)));
			next = lnext(fractions, next);
		}
		root = pushJsonbValue(&state, token, token < WJB_BEGIN_ARRAY ? &value : NULL);
	}
	return JsonbValueToJsonb(root);
}

static void
check_value(Checking *check, ContractNode *node, const JsonSlice *value, const Way *path)
{
	JsonbContainer *container = (JsonbContainer *) value->data;

	if (JBE_ISNULL(value->entry))
	{
		check_absent(check, node, path, "must not be null");
		return;
	}
	switch (node->kind)
	{
		case CONTRACT_COMPOSITE:
			if (!JBE_ISCONTAINER(value->entry) || !JsonContainerIsObject(container))
				violation(check, path, "must be an object", NULL);
			check_object(check, node, container, path);
			break;
		case CONTRACT_ARRAY:
			if (!JBE_ISCONTAINER(value->entry) || !JsonContainerIsArray(container))
				violation(check, path, "must be an array", NULL);
			check_array(check, node, container, path);
			break;
		case CONTRACT_JSON:
			break;
		default:
			check_scalar(check, node, value, path);
			return;
	}
	if (node->checks != NULL)
	{
		Datum		datum = convert(check, node, value, path);

		check_domain(check, node, datum, false, path);
	}
}

static void
check_absent(Checking *check, ContractNode *node, const Way *path, const char *problem)
{
	if (node->required)
		violation(check, path, problem,
				  psprintf("It is required, as %s.", kind_name(node)));
	if (node->checks != NULL)
		check_domain(check, node, (Datum) 0, true, path);
}

/*
 * Keys and fields stand in the same order, so one pass over both suffices.
 */
static void
check_object(Checking *check, ContractNode *node, JsonbContainer *container, const Way *path)
{
	int			count = JsonContainerSize(container);
	int			next = 0;
	JsonWalk	keys;
	JsonWalk	members;

	json_walk(&keys, container, 0);
	json_walk(&members, container, count);
	for (int i = 0; i < count; i++)
	{
		ContractField *field;
		JsonSlice	key;
		JsonSlice	member;

		json_walk_next(&keys, &key);
		json_walk_next(&members, &member);
		next = check_absent_before(check, node, next, &key, path);
		field = &node->fields[next];
		if (next == node->field_count ||
			contract_compare_keys(field->name, field->length, key.data, key.length) != 0)
			unknown_key(check, node, &key, path);
		else
		{
			Way			here = {path, field->name, field->length, 0};

			check_value(check, field->node, &member, &here);
			next++;
		}
	}
	(void) check_absent_before(check, node, next, NULL, path);
}

/*
 * Fields from next on that stand before a key (NULL: all) are absent.  Returns
 * the first one that does not.
 */
static int
check_absent_before(Checking *check, ContractNode *node, int next, const JsonSlice *key,
					const Way *path)
{
	for (; next < node->field_count; next++)
	{
		ContractField *field = &node->fields[next];

		if (key != NULL &&
			contract_compare_keys(field->name, field->length, key->data, key->length) >= 0)
			break;
		if (field->node->required || field->node->checks != NULL)
		{
			Way			here = {path, field->name, field->length, 0};

			check_absent(check, field->node, &here, "is missing");
		}
	}
	return next;
}

static void
check_array(Checking *check, ContractNode *node, JsonbContainer *container, const Way *path)
{
	int			count = JsonContainerSize(container);
	JsonWalk	members;

	json_walk(&members, container, 0);
	for (int i = 0; i < count; i++)
	{
		Way			here = {path, NULL, 0, i};
		JsonSlice	member;

		json_walk_next(&members, &member);
		check_value(check, node->element, &member, &here);
	}
}

static void
check_scalar(Checking *check, ContractNode *node, const JsonSlice *value, const Way *path)
{
	Datum		datum;

	if (JBE_ISCONTAINER(value->entry))
		violation(check, path, psprintf("must be %s", kind_name(node)), NULL);
	if (node->kind == CONTRACT_INTEGER && JBE_ISNUMERIC(value->entry) &&
		contract_is_fraction((Numeric) value->data))
		check->fractions = lappend(check->fractions, value->data);
	if (node->checks == NULL && contract_fits(node, value))
		return;
	if (!contract_is_written_so(node, value))
		violation(check, path, psprintf("must be %s", kind_name(node)),
				  node->kind == CONTRACT_MOMENT
				  ? "Write it in ISO 8601, a time with its zone, for example 2024-05-31T12:00:00Z."
				  : NULL);
	datum = convert(check, node, value, path);
	if (node->checks != NULL)
		check_domain(check, node, datum, false, path);
}

/*
 * Converts a value; what an input function raises becomes ST004 with the path.
 * That is done in an error context callback: a PG_TRY without a subtransaction
 * would not be safe, and one with would cost more than the whole check.
 */
static Datum
convert(Checking *check, ContractNode *node, const JsonSlice *value, const Way *path)
{
	ErrorContextCallback callback = {error_context_stack, rename_conversion_error, check};
	Datum		datum;
	bool		isnull;
	int			guc_level = 0;

	check->node = node;
	check->path = path;
	error_context_stack = &callback;
	if (node->foreign)
		guc_level = NewGUCNestLevel();
	datum = contract_datum(node, value, &isnull);
	if (node->foreign)
		AtEOXact_GUC(false, guc_level);
	error_context_stack = callback.previous;
	return datum;
}

static void
rename_conversion_error(void *arg)
{
	Checking   *check = (Checking *) arg;
	int			class = ERRCODE_TO_CATEGORY(geterrcode());
	MemoryContext old;
	ErrorData  *original;
	char	   *path;

	/* Notices, cancelled queries, lack of memory and the like stay what they are. */
	if (class != ERRCODE_DATA_EXCEPTION && class != ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION)
		return;
	old = MemoryContextSwitchTo(CurTransactionContext);
	original = CopyErrorData();
	path = path_text(check, check->path);
	MemoryContextSwitchTo(old);
	errcode(ERRCODE_ST_INVALID_EVENT);
	errmsg("%s of \"%.*s\" version %d must be %s", path, check->subject->type_length,
		   check->subject->type, check->subject->schema_version, kind_name(check->node));
	errdetail_internal("%s.", shortened(original->message, strlen(original->message), PROBLEM_SHOWN));
	errhint("Give a value that can be converted to type %s.", format_type_be(check->node->base));
	err_generic_string(PG_DIAG_COLUMN_NAME, path);
}

/*
 * Evaluates the CHECKs of a domain, the base types' first, as they were when the
 * tree was compiled: others might not be harmless, and make a new tree anyway.
 */
static void
check_domain(Checking *check, ContractNode *node, Datum value, bool isnull, const Way *path)
{
	int			guc_level = node->foreign ? NewGUCNestLevel() : 0;
	ListCell   *cell;

	if (check->expressions == NULL)
		check->expressions = CreateStandaloneExprContext();
	check->expressions->domainValue_datum = value;
	check->expressions->domainValue_isNull = isnull;
	foreach(cell, node->checks->constraints)
	{
		DomainConstraintState *constraint = lfirst_node(DomainConstraintState, cell);

		if (constraint->constrainttype != DOM_CONSTRAINT_CHECK)
			continue;
		if (!ExecCheck(constraint->check_exprstate, check->expressions))
			violation(check, path,
					  psprintf("breaks rule \"%s\" of type %s", constraint->name,
							   format_type_be(node->declared)),
					  psprintf("The comment on domain %s tells what is allowed.",
							   format_type_be(node->declared)));
	}
	if (node->foreign)
		AtEOXact_GUC(false, guc_level);
}

static void
unknown_key(Checking *check, ContractNode *node, const JsonSlice *key, const Way *path)
{
	Way			here = {path, key->data, key->length, 0};
	StringInfoData known;

	initStringInfo(&known);
	/* In the order of the columns, not of the keys. */
	for (int listed = 0, column = 0; listed < node->field_count; column++)
	{
		for (int i = 0; i < node->field_count; i++)
		{
			if (node->fields[i].column == column)
				appendStringInfo(&known, "%s%s", listed++ > 0 ? ", " : "", node->fields[i].name);
		}
	}
	violation(check, &here, "is not a known key",
			  node->field_count == 0 ? "There is no key that it knows."
			  : psprintf("Known keys are %s.", known.data));
}

static void
violation(Checking *check, const Way *path, const char *problem, const char *hint)
{
	char	   *where = path_text(check, path);

	ereport(ERROR,
			(errcode(ERRCODE_ST_INVALID_EVENT),
			 errmsg("%s of \"%.*s\" version %d %s", where, check->subject->type_length,
					check->subject->type, check->subject->schema_version, problem),
			 hint != NULL ? errhint("%s", hint)
			 : errhint("Give what the type of \"%.*s\" asks for.", check->subject->type_length,
					   check->subject->type),
			 err_generic_string(PG_DIAG_COLUMN_NAME, where)));
}

/*
 * What a node wants, with its article.
 */
static const char *
kind_name(const ContractNode *node)
{
	switch (node->kind)
	{
		case CONTRACT_COMPOSITE:
			return "an object";
		case CONTRACT_ARRAY:
			return "an array";
		case CONTRACT_JSON:
			return "a JSON value";
		case CONTRACT_TEXT:
			return "a string";
		case CONTRACT_NUMERIC:
			return "a number";
		case CONTRACT_INTEGER:
			return psprintf("a whole number from " INT64_FORMAT " to " INT64_FORMAT,
							node->least, node->greatest);
		case CONTRACT_BOOLEAN:
			return "true or false";
		case CONTRACT_UUID:
			return "a UUID";
		case CONTRACT_MOMENT:
			return "an ISO 8601 date or time";
		case CONTRACT_OTHER:
			break;
	}
	return psprintf("a value of type %s", format_type_with_typemod(node->base, node->typmod));
}

/*
 * Whether a key can stand in a path as it is.
 */
static bool
is_plain_key(const Way *step)
{
	for (int i = 0; i < step->length; i++)
	{
		unsigned char c = (unsigned char) step->key[i];

		if (!isalnum(c) && c != '_' && c != '-' && !IS_HIGHBIT_SET(c))
			return false;
	}
	return step->length > 0;
}

/*
 * "items[1].quantity", odd keys as ["odd key"]; for one of several events
 * "events[3].data.items[1].quantity".
 */
static char *
path_text(const Checking *check, const Way *path)
{
	StringInfoData text;

	initStringInfo(&text);
	if (check->subject->number >= 0)
		appendStringInfo(&text, "events[%d].data", check->subject->number);
	append_path(&text, path);
	return text.data;
}

/*
 * As deep as the type, which PostgreSQL and contract_compile() have gone down.
 */
static void
append_path(StringInfo text, const Way *path)
{
	if (path == NULL)
		return;
	append_path(text, path->parent);
	if (path->key == NULL)
		appendStringInfo(text, "[%d]", path->index);
	else if (is_plain_key(path))
		appendStringInfo(text, "%s%s", text->len > 0 ? "." : "",
						 shortened(path->key, path->length, KEY_SHOWN));
	else
	{
		appendStringInfoChar(text, '[');
		escape_json(text, shortened(path->key, path->length, KEY_SHOWN));
		appendStringInfoChar(text, ']');
	}
}

/*
 * A copy of a text, its end replaced by "..." if it is long.
 */
static char *
shortened(const char *text, int length, int limit)
{
	if (length <= limit)
		return pnstrdup(text, length);
	return psprintf("%.*s...", pg_mbcliplen(text, length, limit), text);
}
