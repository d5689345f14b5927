/*
 * call.c
 *		Functions that compute what a template cannot.
 *
 * They run with the rights of the role that defined the saga; an error unwinds
 * to the subtransaction of the message, which gives them back.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/errors.h"
#include "pg/callable.h"
#include "pg/rights.h"
#include "saga/call.h"

static Oid	resolve(const char *signature);

/*
 * Calls fn(document jsonb) RETURNS jsonb; the result, an object, goes into data.
 */
Tree *
call_function(const Definition *definition, const char *signature, Document *document)
{
	LOCAL_FCINFO(call, 1);
	FmgrInfo	function;
	Rights		before;
	Datum		result;
	Tree	   *tree = NULL;

	if (document->jsonb == NULL)
		document->jsonb = tree_to_jsonb(document->root);
	rights_take(definition->definer, &before);
	fmgr_info(resolve(signature), &function);
	callable_check_rights(function.fn_oid, definition->definer);
	InitFunctionCallInfoData(*call, &function, 1, InvalidOid, NULL, NULL);
	call->args[0].value = JsonbPGetDatum(document->jsonb);
	call->args[0].isnull = false;
	result = FunctionCallInvoke(call);
	rights_give_back(&before);
	if (!call->isnull)
		tree = tree_from_jsonb(DatumGetJsonbP(result));
	if (tree == NULL || tree->type != TREE_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("function %s did not return an object", signature),
				 errhint("It returns what goes into the saga's data, '{}' for nothing.")));
	return tree;
}

/*
 * Fails unless there is such a function, and the current user may have it called
 * with his rights.
 */
void
call_check(const char *signature)
{
	callable_check_rights(resolve(signature), GetUserId());
}

/*
 * The function with a signature, as it is now: it may have been made anew.
 */
static Oid
resolve(const char *signature)
{
	Oid			function = callable_find(signature);
	Oid		   *types;
	int			count;

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("function %s does not exist", signature),
				 errhint("Write it with its schema and arguments, as in \"shop.price(jsonb)\".")));
	if (get_func_rettype(function) != JSONBOID)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("function %s does not return jsonb", signature)));
	(void) get_func_signature(function, &types, &count);
	if (count != 1 || types[0] != JSONBOID || get_func_retset(function) ||
		get_func_prokind(function) != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("function %s does not take one jsonb", signature)));
	return function;
}
