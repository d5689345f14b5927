/*
 * call.c
 *		Functions that compute what a template cannot.
 *
 * They run with the rights of the role that defined the saga, and cannot change
 * that: an error unwinds to the subtransaction of the message, which puts the
 * user back.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "base/errors.h"
#include "pg/callable.h"
#include "saga/call.h"

static Oid	resolve(const char *signature);

/*
 * Calls fn(document jsonb) RETURNS jsonb; the result, an object, goes into data.
 */
Tree *
call_function(const Definition *definition, const char *signature, Document *document)
{
	Oid			function = resolve(signature);
	Oid			user;
	int			security;
	Tree	   *result;

	if (!DatumGetBool(DirectFunctionCall3(has_function_privilege_id_id,
										  ObjectIdGetDatum(definition->definer),
										  ObjectIdGetDatum(function),
										  CStringGetTextDatum("EXECUTE"))))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", signature),
				 errdetail("Functions of saga \"%s\" run with the rights of the role that defined it.",
						   definition->name)));
	if (document->jsonb == NULL)
		document->jsonb = tree_to_jsonb(document->root);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(definition->definer, security | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	result = tree_from_jsonb(DatumGetJsonbP(OidFunctionCall1(function,
															 JsonbPGetDatum(document->jsonb))));
	SetUserIdAndSecContext(user, security);
	if (result->type != TREE_OBJECT)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("function %s did not return an object", signature)));
	return result;
}

/*
 * Fails unless there is such a function.
 */
void
call_check(const char *signature)
{
	Oid			function = resolve(signature);
	Oid		   *types;
	int			count;

	if (get_func_rettype(function) != JSONBOID)
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("function %s does not return jsonb", signature)));
	(void) get_func_signature(function, &types, &count);
	if (count != 1 || types[0] != JSONBOID || get_func_retset(function))
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("function %s does not take one jsonb", signature)));
}

static Oid
resolve(const char *signature)
{
	Oid			function = callable_find(signature);

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_SG_TEMPLATE),
				 errmsg("function %s does not exist", signature),
				 errhint("Write it with its schema and arguments, as in \"shop.price(jsonb)\".")));
	return function;
}
