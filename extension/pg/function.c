/*
 * function.c
 *		Users' functions: found by what is stored of them, and looked at before they
 *		are registered.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "base/debug_point.h"
#include "pg/function.h"
#include "pg/rights.h"

/*
 * The function's qualified signature, as it is stored.
 */
char *
function_signature(Oid function)
{
	return format_procedure_qualified(function);
}

/*
 * Whether a function's last argument is an array, as its stored signature says.
 */
bool
function_signature_takes_array(const char *signature)
{
	int			length = (int) strlen(signature);

	return length > 3 && strcmp(signature + length - 3, "[])") == 0;
}

/*
 * The function with a stored signature, InvalidOid if it is gone.
 */
Oid
function_find(const char *signature)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		function;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(signature);
	fcinfo->args[0].isnull = false;
	function = to_regprocedure(fcinfo);
	return fcinfo->isnull ? InvalidOid : DatumGetObjectId(function);
}

/*
 * Fails unless a function has the arguments and result that a caller gives and
 * takes.  Returns the role with whose rights it shall run when the current user
 * registers it.
 */
Oid
function_expect(Oid function, int nargs, const Oid *arguments, Oid result)
{
	HeapTuple	row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	Oid			owner;
	bool		fits;

	if (!HeapTupleIsValid(row))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
	form = (Form_pg_proc) GETSTRUCT(row);
	fits = form->prokind == PROKIND_FUNCTION && !form->proretset && form->prorettype == result &&
		form->pronargs == nargs &&
		memcmp(form->proargtypes.values, arguments, sizeof(Oid) * nargs) == 0;
	owner = form->proowner;
	ReleaseSysCache(row);
	if (!fits)
	{
		StringInfoData wanted;

		initStringInfo(&wanted);
		for (int i = 0; i < nargs; i++)
			appendStringInfo(&wanted, "%s%s", i > 0 ? ", " : "",
							 format_type_be_qualified(arguments[i]));
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s does not have the signature that is needed",
						format_procedure_qualified(function)),
				 errhint("It must take (%s) and return %s.", wanted.data, format_type_be(result))));
	}
	owner = rights_answerable(owner, psprintf("function %s", format_procedure_qualified(function)));
	function_check_rights(function, owner);
	return owner;
}

/*
 * Fails unless a function may run with the rights of a role: its owner must have
 * them himself, and the role EXECUTE.
 */
void
function_check_rights(Oid function, Oid role)
{
	HeapTuple	row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(row))->proowner;
	ReleaseSysCache(row);
	if (!rights_reach(owner, role) && !DEBUG_BREAK("rights_unchecked") &&
		!DEBUG_BREAK("rights_unguarded"))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function %s must not run with the rights of role \"%s\"",
						format_procedure_qualified(function), GetUserNameFromId(role, false)),
				 errdetail("It belongs to role \"%s\", who could change it and would gain these rights.",
						   GetUserNameFromId(owner, false)),
				 errhint("Register it as its owner: type SET ROLE first.")));
	if (!DatumGetBool(DirectFunctionCall3(has_function_privilege_id_id, ObjectIdGetDatum(role),
										  ObjectIdGetDatum(function),
										  CStringGetTextDatum("EXECUTE"))))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", format_procedure(function)),
				 errdetail("It runs with the rights of role \"%s\".",
						   GetUserNameFromId(role, false))));
}
