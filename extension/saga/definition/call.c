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
#include "pg/function.h"
#include "pg/rights.h"
#include "saga/definition/call.h"

static void expect(Oid function, const char *signature);

/*
 * Calls fn(document jsonb) RETURNS jsonb; the result, an object, goes into data.
 */
Tree *
call_function(Registration *registration, Document *document)
{
	LOCAL_FCINFO(call, 1);
	Oid			owner = registration_owner(registration);
	Oid			function;
	FmgrInfo	info;
	Rights		before;
	Datum		result;
	Tree	   *tree = NULL;

	if (document->jsonb == NULL)
		document->jsonb = tree_to_jsonb(document->root);
	rights_take(owner, &before);
	function = registration_function(registration);
	expect(function, registration->signature);
	function_check_rights(function, GetUserId());
	fmgr_info(function, &info);
	InitFunctionCallInfoData(*call, &info, 1, InvalidOid, NULL, NULL);
	call->args[0].value = JsonbPGetDatum(document->jsonb);
	call->args[0].isnull = false;
	result = FunctionCallInvoke(call);
	rights_give_back(&before);
	if (!call->isnull)
		tree = tree_from_jsonb(DatumGetJsonbP(result));
	if (tree == NULL || tree->type != TREE_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("function %s did not return an object", registration->signature),
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
	Oid			function = function_find(signature);

	expect(function, signature);
	function_check_rights(function, GetUserId());
}

/*
 * Registers a function that a stored definition calls; the current user answers
 * for it.
 */
void
call_register(const Definition *definition, const char *signature)
{
	registration_store(definition_call_name(definition, signature), function_find(signature),
					   GetUserId());
}

/*
 * Fails unless a function is of the kind that can be called: it may have been
 * made anew.
 */
static void
expect(Oid function, const char *signature)
{
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
}
