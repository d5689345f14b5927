/*
 * server.c
 *		Fuzz targets of what parses bytes inside of a backend, and the function that
 *		runs libFuzzer on one of them.
 *
 * Linked into the library in flavour fuzz alone, with libFuzzer beside it.  An
 * input is bytes; those that are not a text that PostgreSQL would accept are passed
 * over.  Its parts are separated by lines of two dashes.  Errors are expected, but
 * not internal ones (XX000); a target that knows what must hold stops the backend
 * where it does not, as do assertions and what memory contexts complain about.
 *
 * libFuzzer ends the backend when it is done: with status 0, or, when it has found
 * something, with another after writing the input to a file.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "base/errors.h"
#include "event_store/contract/contract_check.h"
#include "fuzz/fuzz.h"
#include "message_bus/endpoint/envelope.h"
#include "message_bus/know/policy.h"
#include "pg/spi.h"
#include "pg/subtransaction.h"
#include "saga/definition/definition.h"
#include "saga/simulate/world.h"
#include "saga/value/path.h"
#include "saga/value/template.h"
#include "saga/value/tree.h"

typedef void (*Target) (char **parts, int count);

typedef struct FuzzInput
{
	Target		target;
	char	   *text;
} FuzzInput;

static void fuzz_tree(char **parts, int count);
static void fuzz_path(char **parts, int count);
static void fuzz_template(char **parts, int count);
static void fuzz_definition(char **parts, int count);
static void fuzz_scenario(char **parts, int count);
static void fuzz_envelope(char **parts, int count);
static void fuzz_policy(char **parts, int count);
static void fuzz_contract(char **parts, int count);

static const struct
{
	const char *name;
	Target		run;
}			targets[] = {
	{"tree", fuzz_tree},
	{"path", fuzz_path},
	{"template", fuzz_template},
	{"definition", fuzz_definition},
	{"scenario", fuzz_scenario},
	{"envelope", fuzz_envelope},
	{"policy", fuzz_policy},
	{"contract", fuzz_contract},
};

MemoryContext fuzz_context = NULL;
static Target current_target = NULL;
static emit_log_hook_type previous_hook = NULL;

Jsonb *
fuzz_parse(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/*
 * Ends the backend, so that libFuzzer keeps the input.
 */
static void
stop(const char *what)
{
	fprintf(stderr, "==FAULT== %s\n", what);
	abort();
}

/*
 * What a tree was read from can be written from it, and its copy is the same.
 */
static void
fuzz_tree(char **parts, int count)
{
	Jsonb	   *jsonb = fuzz_parse(parts[0]);
	Tree	   *tree = tree_from_jsonb(jsonb);
	Tree	   *copy = tree_copy(tree);
	Jsonb	   *written = tree_to_jsonb(copy);
	Jsonb	   *second;
	Tree	   *other;

	if (compareJsonbContainers(&jsonb->root, &written->root) != 0)
		stop("a tree is written otherwise than it was read");
	if (!tree_equal(tree, copy) || tree_compare(tree, copy) != 0)
		stop("a tree is not equal to its copy");
	pfree(tree_to_text(tree));
	if (count < 2)
		return;
	second = fuzz_parse(parts[1]);
	other = tree_from_jsonb(second);
	if (tree_equal(tree, other) != (compareJsonbContainers(&jsonb->root, &second->root) == 0))
		stop("trees are equal where PostgreSQL's values are not, or the reverse");
	if ((tree_compare(tree, other) > 0) != (tree_compare(other, tree) < 0))
		stop("the order of trees depends on who asks");
	(void) tree_to_jsonb(tree_merge(tree, other));
}

/*
 * The document that paths and templates see, always an object.
 */
static Tree *
root(char **parts, int count)
{
	Tree	   *tree = tree_from_jsonb(fuzz_parse(count > 1 ? parts[1] : "{}"));

	return tree->type == TREE_OBJECT ? tree : tree_put(tree_object(), "data", tree);
}

/*
 * A path gives on the tree what PostgreSQL gives on the jsonb.
 */
static void
fuzz_path(char **parts, int count)
{
	Path	   *path = path_compile(parts[0]);
	Document	document = {0};
	Path		slow = *path;
	Tree	   *matches;

	document.root = root(parts, count);
	matches = path_query(path, &document);
	slow.on_tree = false;
	if (path->on_tree && !tree_equal(matches, path_query(&slow, &document)))
		stop("a path gives another value than PostgreSQL's");
	(void) path_holds(path, &document);
}

static void
fuzz_template(char **parts, int count)
{
	Template   *template = template_compile(tree_from_jsonb(fuzz_parse(parts[0])));
	Document	document = {0};

	(void) template_is_fixed(template);
	(void) template_mentions(template, "data");
	document.root = root(parts, count);
	(void) tree_to_jsonb(template_evaluate(template, &document));
}

static void
fuzz_definition(char **parts, int count)
{
	List	   *problems = NIL;
	Definition *definition = definition_parse("fuzz", fuzz_parse(parts[0]), &problems);

	if (definition != NULL && problems == NIL)
		definition_check(definition, &problems);
	if (definition != NULL && problems == NIL)
	{
		pfree(definition_diagram(definition, "mermaid"));
		pfree(definition_diagram(definition, "dot"));
	}
}

static void
fuzz_scenario(char **parts, int count)
{
	(void) scenario_parse(tree_from_jsonb(fuzz_parse(parts[0])));
}

static void
fuzz_envelope(char **parts, int count)
{
	Jsonb	   *body = fuzz_parse(parts[0]);

	envelope_check(body, count > 1 ? fuzz_parse(parts[1]) : envelope_empty_object());
	/* What is stored can be read by everybody, the saga engine and drivers alike. */
	(void) tree_to_jsonb(tree_from_jsonb(body));
	(void) JsonbToCString(NULL, &body->root, VARSIZE(body));
}

static void
fuzz_policy(char **parts, int count)
{
	BreakerPolicy breaker;
	RetryPolicy retry;

	if (count > 1)
	{
		breaker_policy_parse(fuzz_parse(parts[1]), &breaker);
		return;
	}
	retry_policy_parse(fuzz_parse(parts[0]), &retry);
	retry_policy_draw(&retry);
	for (int32 n = 0; n < 70; n++)
	{
		if (retry_policy_delay(&retry, n) < -1)
			stop("a retry's delay is negative");
	}
}

/* A document on its way through a contract. */
typedef struct ContractInput
{
	ContractNode *contract;
	Jsonb	   *data;
	Jsonb	   *stored;
} ContractInput;

static void
check_document(void *argument)
{
	ContractInput *input = argument;
	ContractSubject subject = {"Fuzzed", strlen("Fuzzed"), 1, -1};

	input->stored = contract_check_document(input->contract, input->data, &subject);
}

static void
convert_document(void *argument)
{
	static SpiStatement convert = {
		"SELECT pg_catalog.jsonb_populate_record(NULL::public.fuzzed, $1)"};
	ContractInput *input = argument;

	spi_begin(SPI_AS_CALLER);
	(void) spi_run(&convert, 1, (Oid[]) {JSONBOID}, (Datum[]) {JsonbPGetDatum(input->stored)},
				   NULL);
	spi_end();
}

/*
 * What a contract lets through PostgreSQL makes a row of, and it would be let
 * through again as it is; what it does not is the document's fault, with a path.
 */
static void
fuzz_contract(char **parts, int count)
{
	static ContractNode *contract = NULL;
	ContractInput input = {.data = fuzz_parse(parts[0])};
	ErrorData  *error = NULL;
	Jsonb	   *first;

	if (!JB_ROOT_IS_OBJECT(input.data))
		return;
	if (contract == NULL)
	{
		ContractDependencies dependencies = {0};
		Datum		type = DirectFunctionCall1(regtypein, CStringGetDatum("public.fuzzed"));
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		contract = contract_compile(DatumGetObjectId(type), &dependencies);
		MemoryContextSwitchTo(old);
	}
	input.contract = contract;
	if (!subtransaction_run(check_document, &input, &error))
	{
		if (error->sqlerrcode != ERRCODE_ST_INVALID_EVENT)
			stop(error->message);
		return;
	}
	first = input.data = input.stored;
	if (!subtransaction_run(check_document, &input, &error) || input.stored != first)
		stop("what a contract has let through it would not again");
	if (!subtransaction_run(convert_document, &input, &error))
		stop(error->message);
}

/*
 * Cuts a text into its parts, in place.  Returns how many there are.
 */
int
fuzz_split(char *text, char **parts)
{
	int			count = 0;

	while (text != NULL)
	{
		char	   *end = count < FUZZ_MAX_PARTS - 1 ? strstr(text, FUZZ_SEPARATOR) : NULL;

		parts[count++] = text;
		if (end != NULL)
			*end = '\0';
		text = end != NULL ? end + strlen(FUZZ_SEPARATOR) : NULL;
	}
	return count;
}

static void
run_input(void *argument)
{
	FuzzInput  *input = argument;
	char	   *parts[FUZZ_MAX_PARTS];

	input->target(parts, fuzz_split(input->text, parts));
}

/*
 * What libFuzzer calls with each input.
 */
static int
run_bytes(const uint8_t *data, size_t size)
{
	MemoryContext old = MemoryContextSwitchTo(fuzz_context);
	FuzzInput	input = {current_target, pnstrdup((const char *) data, size)};
	ErrorData  *error = NULL;

	if (pg_verify_mbstr(PG_UTF8, input.text, (int) size, true) &&
		!subtransaction_run(run_input, &input, &error) &&
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTERNAL_ERROR)
		stop(error->message);
	MemoryContextSwitchTo(old);
	MemoryContextReset(fuzz_context);
	return 0;
}

/*
 * On a server with assertions, memory contexts tell of writes beyond their chunks.
 */
static void
watch_log(ErrorData *error)
{
	if (error->elevel == WARNING && strncmp(error->message, "problem in alloc set", 20) == 0)
		stop(error->message);
	if (previous_hook)
		previous_hook(error);
}

PG_FUNCTION_INFO_V1(ecommerce_fuzz);
/*
 * fuzz(target text, log text, VARIADIC arguments text[]): does not return.
 */
Datum
ecommerce_fuzz(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *log = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Datum	   *values;
	int			count;
	int			argc = 0;
	char	  **argv;

	for (int i = 0; i < lengthof(targets); i++)
	{
		if (strcmp(targets[i].name, name) == 0)
			current_target = targets[i].run;
	}
	if (current_target == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("no target \"%s\"", name)));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT, &values, NULL,
					  &count);
	argv = palloc((count + 2) * sizeof(char *));
	argv[argc++] = name;
	for (int i = 0; i < count; i++)
		argv[argc++] = TextDatumGetCString(values[i]);
	argv[argc] = NULL;
	if (freopen(log, "a", stderr) == NULL)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not open \"%s\": %m", log)));
	setvbuf(stderr, NULL, _IOLBF, 0);
	fuzz_context = AllocSetContextCreate(TopMemoryContext, "fuzz input", ALLOCSET_DEFAULT_SIZES);
	previous_hook = emit_log_hook;
	emit_log_hook = watch_log;
	exit(LLVMFuzzerRunDriver(&argc, &argv, run_bytes));
}
