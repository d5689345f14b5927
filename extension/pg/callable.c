/*
 * callable.c
 *		SQL functions called many times from C: handlers, upcasters.
 *
 * The call is planned as an expression of its own, and a function in language
 * SQL that is a single expression is replaced by it (inline.c); every other kind
 * is called as PostgreSQL calls it.  The plan is made again when something it
 * depends on changes, when any function or membership in a role changes, and
 * when another user calls: EXECUTE is checked for each.
 *
 * Functions run with the current user's rights: callers take those of the role
 * that answers for the function first (rights.h).  Who can change the function,
 * its owner, must have these rights too, or else he would gain them.
 *
 * What a call sets is undone by who has taken the rights: rights_renew() before
 * the next one, rights_give_back() after the last.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/params.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#include "pg/builtin.h"
#include "pg/callable.h"
#include "pg/function.h"
#include "pg/inline.h"

struct Callable
{
	MemoryContext context;		/* what the callable lives in */
	MemoryContext planned;		/* what belongs to the current plan */
	Registration *registration;
	Oid			result;			/* type that the caller takes */
	Oid			user;			/* for whom it was planned */
	uint64		generation;		/* of all functions when it was planned */
	bool		pure;			/* neither rights nor settings matter to it */
	CachedExpression *plan;
	ExprState  *state;
	ExprContext *expressions;
	ParamListInfo parameters;
};

static bool is_planned(const Callable *callable, Oid user);
static Datum evaluate(Callable *callable, const Datum *arguments, bool *isnull);
static void prepare(Callable *callable);
static void expect_result(const Callable *callable, Oid function);
static Node *call_expression(Oid function, ParamListInfo parameters);
static void release_plan(void *arg);

/*
 * Takes the callable out of its slot, or makes one.  It goes with the current
 * memory context unless it is returned; home is the slot's context.
 */
Callable *
callable_borrow(Callable **slot, Registration *registration, Oid result, MemoryContext home)
{
	Callable   *callable = *slot;

	*slot = NULL;
	if (callable == NULL)
	{
		MemoryContext context = AllocSetContextCreate(home, "callable", ALLOCSET_SMALL_SIZES);

		callable = MemoryContextAllocZero(context, sizeof(Callable));
		callable->context = context;
		callable->registration = registration;
		callable->result = result;
	}
	MemoryContextSetParent(callable->context, CurrentMemoryContext);
	return callable;
}

/*
 * Puts a callable back into its slot.
 */
void
callable_return(Callable **slot, Callable *callable, MemoryContext home)
{
	if (*slot != NULL)
	{
		MemoryContextDelete(callable->context);
		return;
	}
	MemoryContextSetParent(callable->context, home);
	*slot = callable;
}

/*
 * Calls the function.  The result is in the current memory context, which
 * should be a short-lived one: what the function leaves behind is there too.
 */
Datum
callable_call(Callable *callable, const Datum *arguments, bool *isnull)
{
	if (!is_planned(callable, GetUserId()))
		prepare(callable);
	return evaluate(callable, arguments, isnull);
}

/*
 * The same for whoever the current user is, on behalf of the role that answers for
 * the function, if it is planned for that role and is an expression that comes to
 * the same and leaves nothing behind whoever runs it.  Else returns false: take the
 * role's rights and call.
 */
bool
callable_call_pure(Callable *callable, Oid role, const Datum *arguments, Datum *result,
				   bool *isnull)
{
	if (!is_planned(callable, role) || !callable->pure)
		return false;
	*result = evaluate(callable, arguments, isnull);
	return true;
}

static bool
is_planned(const Callable *callable, Oid user)
{
	return callable->plan != NULL && callable->plan->is_valid &&
		callable->generation == registration_generation() && callable->user == user;
}

static Datum
evaluate(Callable *callable, const Datum *arguments, bool *isnull)
{
	for (int i = 0; i < callable->parameters->numParams; i++)
		callable->parameters->params[i].value = arguments[i];
	return ExecEvalExpr(callable->state, callable->expressions, isnull);
}

/*
 * Plans the call.  The parts of a plan live in a context of their own, which a
 * new plan replaces.  The function is looked up anew: it may have been dropped
 * and created again.
 */
static void
prepare(Callable *callable)
{
	MemoryContext old;
	MemoryContextCallback *on_free;
	uint64		as_of = registration_generation();
	Oid			function = registration_function(callable->registration);
	Node	   *expression;
	Oid		   *types;
	int			nargs;

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s does not exist", callable->registration->signature),
				 errhint("Create it again, or register another one.")));
	function_check_rights(function, GetUserId());
	expect_result(callable, function);
	callable->plan = NULL;
	if (callable->planned != NULL)
		MemoryContextDelete(callable->planned);
	callable->generation = as_of;
	callable->planned = AllocSetContextCreate(callable->context, "callable plan",
											  ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(callable->planned);
	(void) get_func_signature(function, &types, &nargs);
	callable->parameters = makeParamList(nargs);
	for (int i = 0; i < nargs; i++)
	{
		callable->parameters->params[i].ptype = types[i];
		callable->parameters->params[i].isnull = false;
		callable->parameters->params[i].pflags = 0;
	}
	expression = inline_function_body(function);
	if (expression == NULL)
		expression = call_expression(function, callable->parameters);
	on_free = palloc0(sizeof(MemoryContextCallback));
	callable->plan = GetCachedExpression(expression);
	on_free->func = release_plan;
	on_free->arg = callable->plan;
	MemoryContextRegisterResetCallback(callable->planned, on_free);
	callable->expressions = CreateStandaloneExprContext();
	callable->expressions->ecxt_param_list_info = callable->parameters;
	callable->state = ExecInitExprWithParams((Expr *) callable->plan->expr, callable->parameters);
	callable->pure = builtin_expression(callable->plan->expr, PROVOLATILE_IMMUTABLE);
	callable->user = GetUserId();
	MemoryContextSwitchTo(old);
}

/*
 * A function that was made anew may return something else.
 */
static void
expect_result(const Callable *callable, Oid function)
{
	if (get_func_rettype(function) != callable->result || get_func_retset(function) ||
		get_func_prokind(function) != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s does not return %s any more", callable->registration->signature,
						format_type_be(callable->result)),
				 errhint("Create it as it was when it was registered.")));
}

/*
 * A call of the function with its parameters.  EXECUTE is checked when the
 * expression is initialized.
 */
static Node *
call_expression(Oid function, ParamListInfo parameters)
{
	List	   *arguments = NIL;

	for (int i = 0; i < parameters->numParams; i++)
	{
		Param	   *parameter = makeNode(Param);

		parameter->paramkind = PARAM_EXTERN;
		parameter->paramid = i + 1;
		parameter->paramtype = parameters->params[i].ptype;
		parameter->paramtypmod = -1;
		parameter->paramcollid = get_typcollation(parameter->paramtype);
		parameter->location = -1;
		arguments = lappend(arguments, parameter);
	}
	return (Node *) makeFuncExpr(function, get_func_rettype(function), arguments, InvalidOid,
								 InvalidOid, COERCE_EXPLICIT_CALL);
}

static void
release_plan(void *arg)
{
	FreeCachedExpression((CachedExpression *) arg);
}
