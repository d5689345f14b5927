/*
 * inline.c
 *		The expression that a simple SQL function consists of.
 *
 * The planner inlines such a function by itself, but not when it is declared
 * IMMUTABLE and calls something that is not, because that could change the
 * result of the query it stands in.  jsonb_build_object() is not, and handlers
 * are declared so all the time.  Called by itself, with its arguments' values
 * at hand, a function may be replaced by its body whatever it is declared as.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/functions.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parse_node.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "pg/inline.h"

static bool may_be_inlined(HeapTuple row);
static Query *parse_body(HeapTuple row);
static Query *parse_source(HeapTuple row, Datum source);
static bool is_simple(const Query *query);

/*
 * The body of a function as an expression over parameters 1, 2, ... of kind
 * PARAM_EXTERN; NULL if it is not that simple.  The caller must have checked
 * EXECUTE, and must notice changes of the function.
 */
Node *
inline_function_body(Oid function)
{
	HeapTuple	row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Node	   *expression = NULL;

	if (!HeapTupleIsValid(row))
		return NULL;
	if (may_be_inlined(row))
	{
		Query	   *query = parse_body(row);

		if (query != NULL && is_simple(query))
			expression = (Node *) ((TargetEntry *) linitial(query->targetList))->expr;
		/* Where a cast would be needed, PostgreSQL shall see to it. */
		if (expression != NULL &&
			exprType(expression) != ((Form_pg_proc) GETSTRUCT(row))->prorettype)
			expression = NULL;
	}
	ReleaseSysCache(row);
	return expression;
}

/*
 * The one query that an SQL function consists of; NULL if it is something else.
 */
Query *
inline_only_query(Oid function)
{
	HeapTuple	row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Query	   *query = NULL;

	if (!HeapTupleIsValid(row))
		return NULL;
	if (((Form_pg_proc) GETSTRUCT(row))->prolang == SQLlanguageId)
		query = parse_body(row);
	ReleaseSysCache(row);
	return query;
}

static bool
may_be_inlined(HeapTuple row)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(row);

	return form->prolang == SQLlanguageId && form->prokind == PROKIND_FUNCTION &&
		!form->prosecdef && !form->proretset && !form->proisstrict &&
		form->prorettype != RECORDOID && form->prorettype != VOIDOID &&
		heap_attisnull(row, Anum_pg_proc_proconfig, NULL);
}

/*
 * The one query that a function consists of, analyzed; NULL if it has more or
 * none.
 */
static Query *
parse_body(HeapTuple row)
{
	bool		isnull;
	Datum		body = SysCacheGetAttr(PROCOID, row, Anum_pg_proc_prosqlbody, &isnull);
	Node	   *node;

	if (isnull)
	{
		body = SysCacheGetAttr(PROCOID, row, Anum_pg_proc_prosrc, &isnull);
		return isnull ? NULL : parse_source(row, body);
	}
	node = stringToNode(TextDatumGetCString(body));
	/* BEGIN ATOMIC makes a list of a list of queries of it. */
	if (IsA(node, List))
	{
		List	   *statements = linitial_node(List, (List *) node);

		if (list_length(statements) != 1)
			return NULL;
		node = linitial(statements);
	}
	return IsA(node, Query) ? (Query *) node : NULL;
}

static Query *
parse_source(HeapTuple row, Datum source)
{
	char	   *sql = TextDatumGetCString(source);
	List	   *statements = pg_parse_query(sql);
	ParseState *state;
	Query	   *query;

	if (list_length(statements) != 1 ||
		!IsA(linitial_node(RawStmt, statements)->stmt, SelectStmt))
		return NULL;
	state = make_parsestate(NULL);
	state->p_sourcetext = sql;
	sql_fn_parser_setup(state, prepare_sql_fn_parse_info(row, NULL, InvalidOid));
	query = transformTopLevelStmt(state, linitial_node(RawStmt, statements));
	free_parsestate(state);
	return query;
}

/*
 * Whether a query is SELECT expression and nothing else.
 */
static bool
is_simple(const Query *query)
{
	return query->commandType == CMD_SELECT && !query->hasAggs && !query->hasWindowFuncs &&
		!query->hasTargetSRFs && !query->hasSubLinks && query->cteList == NIL &&
		query->rtable == NIL && query->jointree->fromlist == NIL &&
		query->jointree->quals == NULL && query->groupClause == NIL &&
		query->groupingSets == NIL && query->havingQual == NULL && query->windowClause == NIL &&
		query->distinctClause == NIL && query->sortClause == NIL && query->limitOffset == NULL &&
		query->limitCount == NULL && query->setOperations == NULL &&
		list_length(query->targetList) == 1;
}
