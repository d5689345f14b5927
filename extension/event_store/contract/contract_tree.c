/*
 * contract_tree.c
 *		Composite types compiled into trees that JSON is checked against.
 *
 * A tree holds everything that checking a value needs, so that a check looks
 * nothing up in the catalogs.  Fields are sorted as jsonb sorts keys: a check
 * walks document and tree side by side.  Trees live in the memory context that
 * was current when they were compiled; who keeps one must drop it when a type
 * in its dependencies changes.
 *
 * Compiling and checking may run code of those whom the types in a tree belong
 * to: CHECKs of domains, input functions, and already in planning a CHECK what
 * looks constant in it.  Both run with the rights of one role, and every type's
 * owner must have these rights himself.  A tree that needs none of them says so.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/debug_point.h"
#include "event_store/contract/contract_tree.h"
#include "pg/builtin.h"
#include "pg/rights.h"

static ContractNode *compile_node(Oid type, int32 typmod, ContractDependencies *dependencies);
static void depend_on_type(ContractDependencies *dependencies, Oid type);
static void expect_owner(Oid type);
static void compile_domain(ContractNode *node, ContractDependencies *dependencies);
static void compile_composite(ContractNode *node, ContractDependencies *dependencies);
static void compile_scalar(ContractNode *node);
static int	compare_fields(const void *a, const void *b);

/* Types with a faster way than their input function; typmod must be -1. */
static const struct
{
	Oid			type;
	ContractKind kind;
	int64		least;
	int64		greatest;
}			known_scalars[] = {
	{TEXTOID, CONTRACT_TEXT, 0, 0},
	{VARCHAROID, CONTRACT_TEXT, 0, 0},
	{NUMERICOID, CONTRACT_NUMERIC, 0, 0},
	{INT2OID, CONTRACT_INTEGER, PG_INT16_MIN, PG_INT16_MAX},
	{INT4OID, CONTRACT_INTEGER, PG_INT32_MIN, PG_INT32_MAX},
	{INT8OID, CONTRACT_INTEGER, PG_INT64_MIN, PG_INT64_MAX},
	{BOOLOID, CONTRACT_BOOLEAN, 0, 0},
	{UUIDOID, CONTRACT_UUID, 0, 0},
	{JSONBOID, CONTRACT_JSON, 0, 0},
	{JSONOID, CONTRACT_JSON, 0, 0},
};

/*
 * Compiles a composite type, as the current user, whose rights its checks will
 * run with.  Adds what the tree depends on to dependencies.
 */
ContractNode *
contract_compile(Oid type, ContractDependencies *dependencies)
{
	return compile_node(type, -1, dependencies);
}

/*
 * The order of keys in a jsonb object: by length, then by bytes.
 */
int
contract_compare_keys(const char *a, int a_length, const char *b, int b_length)
{
	if (a_length != b_length)
		return a_length < b_length ? -1 : 1;
	return memcmp(a, b, a_length);
}

static ContractNode *
compile_node(Oid type, int32 typmod, ContractDependencies *dependencies)
{
	ContractNode *node = palloc0(sizeof(ContractNode));
	Oid			element;

	check_stack_depth();
	node->declared = type;
	node->typmod = typmod;
	node->base = getBaseTypeAndTypmod(type, &node->typmod);
	depend_on_type(dependencies, type);
	expect_owner(type);
	if (node->base != type)
		compile_domain(node, dependencies);

	if (type_is_rowtype(node->base) && node->base != RECORDOID)
		compile_composite(node, dependencies);
	else if (OidIsValid(element = get_element_type(node->base)))
	{
		node->kind = CONTRACT_ARRAY;
		node->element = compile_node(element, node->typmod, dependencies);
		node->foreign |= node->element->foreign;
	}
	else
		compile_scalar(node);
	return node;
}

static void
depend_on_type(ContractDependencies *dependencies, Oid type)
{
	uint32		hash = GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(type));

	dependencies->type_hashes = lappend_int(dependencies->type_hashes, (int) hash);
}

Oid
contract_type_owner(Oid type)
{
	HeapTuple	row = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Oid			owner;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for type %u", type);
	owner = ((Form_pg_type) GETSTRUCT(row))->typowner;
	ReleaseSysCache(row);
	return owner;
}

/*
 * Who owns a type can give it CHECKs, or columns of types that have them.
 */
static void
expect_owner(Oid type)
{
	Oid			owner = contract_type_owner(type);

	if (!rights_reach(owner, GetUserId()) && !DEBUG_BREAK("rights_unchecked") &&
		!DEBUG_BREAK("rights_unguarded"))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("type %s must not be checked with the rights of role \"%s\"",
						format_type_be_qualified(type), GetUserNameFromId(GetUserId(), false)),
				 errdetail("It belongs to role \"%s\", who could change it and would gain these rights.",
						   GetUserNameFromId(owner, false)),
				 errhint("Type ALTER TYPE %s OWNER TO %s, or register the event type as its owner.",
						 format_type_be_qualified(type),
						 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

/*
 * NOT NULL of a domain, or of one it is based on, makes a value required.
 */
static void
compile_domain(ContractNode *node, ContractDependencies *dependencies)
{
	DomainConstraintRef *ref = palloc(sizeof(DomainConstraintRef));
	bool		has_checks = false;
	ListCell   *cell;

	for (Oid type = node->declared; type != node->base;)
	{
		HeapTuple	row = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
		Form_pg_type form;

		if (!HeapTupleIsValid(row))
			elog(ERROR, "cache lookup failed for type %u", type);
		form = (Form_pg_type) GETSTRUCT(row);
		node->required |= form->typnotnull;
		type = form->typbasetype;
		depend_on_type(dependencies, type);
		ReleaseSysCache(row);
		expect_owner(type);
	}
	InitDomainConstraintRef(node->declared, ref, CurrentMemoryContext, true);
	foreach(cell, ref->constraints)
	{
		DomainConstraintState *constraint = lfirst_node(DomainConstraintState, cell);

		if (constraint->constrainttype != DOM_CONSTRAINT_CHECK)
			continue;
		has_checks = true;
		node->foreign |= !builtin_expression((Node *) constraint->check_expr,
											 PROVOLATILE_IMMUTABLE);
	}
	if (has_checks)
		node->checks = ref;
}

static void
compile_composite(ContractNode *node, ContractDependencies *dependencies)
{
	TupleDesc	descriptor = lookup_rowtype_tupdesc_copy(node->base, -1);

	node->kind = CONTRACT_COMPOSITE;
	dependencies->relations = lappend_oid(dependencies->relations, get_typ_typrelid(node->base));
	node->fields = palloc0(sizeof(ContractField) * Max(descriptor->natts, 1));
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		ContractField *field;

		if (attribute->attisdropped)
			continue;
		field = &node->fields[node->field_count++];
		field->name = pstrdup(NameStr(attribute->attname));
		field->length = (int) strlen(field->name);
		field->column = i;
		field->node = compile_node(attribute->atttypid, attribute->atttypmod, dependencies);
		node->foreign |= field->node->foreign;
	}
	FreeTupleDesc(descriptor);
	qsort(node->fields, node->field_count, sizeof(ContractField), compare_fields);
}

static void
compile_scalar(ContractNode *node)
{
	Oid			input;

	getTypeInputInfo(node->base, &input, &node->io_param);
	fmgr_info_cxt(input, &node->input, CurrentMemoryContext);
	node->kind = CONTRACT_OTHER;
	node->foreign |= !builtin_type(node->base) && get_typtype(node->base) != TYPTYPE_ENUM;
	if (node->base == DATEOID || node->base == TIMESTAMPOID || node->base == TIMESTAMPTZOID)
		node->kind = CONTRACT_MOMENT;
	if (node->typmod != -1)
		return;
	for (int i = 0; i < lengthof(known_scalars); i++)
	{
		if (known_scalars[i].type == node->base)
		{
			node->kind = known_scalars[i].kind;
			node->least = known_scalars[i].least;
			node->greatest = known_scalars[i].greatest;
		}
	}
}

static int
compare_fields(const void *a, const void *b)
{
	const ContractField *left = a;
	const ContractField *right = b;

	return contract_compare_keys(left->name, left->length, right->name, right->length);
}
