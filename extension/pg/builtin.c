/*
 * builtin.c
 *		Which expressions are PostgreSQL's own code through and through.
 *
 * Running users' code safely costs something: rights, settings, a nest level.
 * An expression that calls nothing but what came with the server, and nothing
 * that is more volatile than the caller can bear, needs none of it.  In doubt
 * the answer is no: kinds of expressions that are not listed, and types that
 * are not PostgreSQL's, whose domains, casts and operators may be anybody's.
 * What this library does in C counts as PostgreSQL's own.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "pg/builtin.h"

static bool is_foreign(Node *node, void *volatility);
static bool calls_foreign(Oid function, void *volatility);
static bool is_ours(Oid function);

/*
 * Whether evaluating an expression, planned or not, runs built-in functions
 * only, each at most as volatile as given (PROVOLATILE_...).
 */
bool
builtin_expression(Node *expression, char volatility)
{
	return !is_foreign(expression, &volatility);
}

/*
 * Whether a type came with the server.
 */
bool
builtin_type(Oid type)
{
	return type < FirstNormalObjectId;
}

static bool
is_foreign(Node *node, void *volatility)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
		case T_CaseWhen:
			break;
		case T_FieldSelect:
			/* A column of a row that is given, not made. */
			if (IsA(((FieldSelect *) node)->arg, Param))
				return !builtin_type(((FieldSelect *) node)->resulttype);
			return true;
		case T_Const:
		case T_Param:
		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_CoerceToDomainValue:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_CoalesceExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_SubscriptingRef:
			if (!builtin_type(exprType(node)) ||
				check_functions_in_node(node, calls_foreign, volatility))
				return true;
			break;
		default:
			return true;
	}
	return expression_tree_walker(node, is_foreign, volatility);
}

static bool
calls_foreign(Oid function, void *volatility)
{
	char		allowed = *(char *) volatility;
	char		actual;

	if (function >= FirstNormalObjectId && !is_ours(function))
		return true;
	actual = func_volatile(function);
	return actual == PROVOLATILE_VOLATILE ? allowed != PROVOLATILE_VOLATILE
		: actual == PROVOLATILE_STABLE && allowed == PROVOLATILE_IMMUTABLE;
}

/*
 * Whether a function is one of this library's; only a superuser can make another
 * one of it.
 */
static bool
is_ours(Oid function)
{
	HeapTuple	row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		ours = false;
	Datum		library;
	bool		isnull;

	if (!HeapTupleIsValid(row))
		return false;
	if (((Form_pg_proc) GETSTRUCT(row))->prolang == ClanguageId)
	{
		library = SysCacheGetAttr(PROCOID, row, Anum_pg_proc_probin, &isnull);
		ours = !isnull && strcmp(TextDatumGetCString(library), "$libdir/ecommerce") == 0;
	}
	ReleaseSysCache(row);
	return ours;
}
