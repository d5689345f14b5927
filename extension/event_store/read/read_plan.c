/*
 * read_plan.c
 *		Reads in FROM give their events as they are found.
 *
 * PostgreSQL puts all that a function in FROM returns aside before it looks at
 * the first row.  A read of events need not be: for a call of a ReadFunction the
 * planner gets a custom scan, which hands each event over where it lies in the
 * buffer, and which LIMIT can stop.  Where a scan would not do (ROWS FROM of
 * several functions, WITH ORDINALITY, whole-row references, and so everything
 * that locks rows) the plan stays a function scan, with the same result.
 *
 * A scan does what the call does: it checks EXECUTE when the executor starts,
 * evaluates the arguments, takes mark and snapshot when the first row is asked
 * for, and reads under them to its end.  Snapshot, locks and pins belong to the
 * resource owner, as a table scan's do; an abort releases them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "event_store/read/read_call.h"
#include "event_store/read/read_plan.h"
#include "event_store/stream/table.h"

/* How the planner is told that a scan beats putting the rows aside. */
#define COST_OF_FUNCTION_SCAN 0.9

typedef struct ReadScanState
{
	CustomScanState css;
	const ReadFunction *function;
	List	   *arguments;		/* of ExprState */
	Bitmapset  *parameters;		/* that the arguments depend on */
	MemoryContext context;		/* arguments and call */
	ReadCall	call;
	bool		open;
} ReadScanState;

static set_rel_pathlist_hook_type previous_hook = NULL;

static void offer_scan(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte);
static Plan *plan_scan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
					   List *clauses, List *custom_plans);
static Node *create_state(CustomScan *scan);
static void begin_scan(CustomScanState *node, EState *estate, int eflags);
static TupleTableSlot *next_row(CustomScanState *node);
static void end_scan(CustomScanState *node);
static void restart_scan(CustomScanState *node);
static void explain_scan(CustomScanState *node, List *ancestors, ExplainState *explain);

static const CustomPathMethods path_methods = {
	.CustomName = "Events",
	.PlanCustomPath = plan_scan,
};

static const CustomScanMethods scan_methods = {
	.CustomName = "Events",
	.CreateCustomScanState = create_state,
};

static const CustomExecMethods exec_methods = {
	.CustomName = "Events",
	.BeginCustomScan = begin_scan,
	.ExecCustomScan = next_row,
	.EndCustomScan = end_scan,
	.ReScanCustomScan = restart_scan,
	.ExplainCustomScan = explain_scan,
};

/*
 * Lets the planner know.  From _PG_init.
 */
void
read_plan_install(void)
{
	RegisterCustomScanMethods(&scan_methods);
	previous_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = offer_scan;
}

/*
 * The read that an SQL function is, NULL if it is none.  Only superusers create
 * functions in C, so the names of symbol and library are enough to know it by.
 * One that ALTER FUNCTION gave settings, another user or NULL for NULL is left to
 * the function manager, which sees to that.
 */
static const ReadFunction *
find_function(Oid funcid, int nargs)
{
	HeapTuple	row;
	Form_pg_proc form;
	const ReadFunction *function = NULL;

	if (funcid < FirstNormalObjectId)
		return NULL;
	row = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	if (!HeapTupleIsValid(row))
		return NULL;
	form = (Form_pg_proc) GETSTRUCT(row);
	if (form->prolang == ClanguageId && !form->proisstrict && !form->prosecdef &&
		heap_attisnull(row, Anum_pg_proc_proconfig, NULL))
	{
		bool		no_symbol;
		bool		no_library;
		Datum		symbol = SysCacheGetAttr(PROCOID, row, Anum_pg_proc_prosrc, &no_symbol);
		Datum		library = SysCacheGetAttr(PROCOID, row, Anum_pg_proc_probin, &no_library);

		if (!no_symbol && !no_library &&
			strcmp(TextDatumGetCString(library), "$libdir/ecommerce") == 0)
			function = read_function(TextDatumGetCString(symbol));
	}
	ReleaseSysCache(row);
	return function != NULL && function->nargs == nargs ? function : NULL;
}

/*
 * Whether a relation's rows are asked for as values of event_store.event: by what
 * is above it, alone or within an expression that is worked out here, or by its
 * own conditions.  (attr_needed knows neither such expressions nor UNION ALL.)
 */
static bool
whole_rows_needed(const RelOptInfo *rel)
{
	Bitmapset  *columns = NULL;
	ListCell   *cell;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &columns);
	foreach(cell, rel->baserestrictinfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause, rel->relid, &columns);
	return bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, columns);
}

/*
 * Adds the scan to the ways of reading a relation that is a call of a read.
 */
static void
offer_scan(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	FuncExpr   *call;
	Path	   *function_scan;
	CustomPath *path;

	if (previous_hook)
		previous_hook(root, rel, rti, rte);
	if (rte->rtekind != RTE_FUNCTION || rte->funcordinality || list_length(rte->functions) != 1 ||
		rel->pathlist == NIL || rel->max_attr != EVENT_PUBLIC_COLUMNS)
		return;
	call = (FuncExpr *) linitial_node(RangeTblFunction, rte->functions)->funcexpr;
	function_scan = linitial(rel->pathlist);
	if (!IsA(call, FuncExpr) || function_scan->pathtype != T_FunctionScan ||
		find_function(call->funcid, list_length(call->args)) == NULL || whole_rows_needed(rel))
		return;
	path = makeNode(CustomPath);
	path->path.pathtype = T_CustomScan;
	path->path.parent = rel;
	path->path.pathtarget = rel->reltarget;
	path->path.param_info = function_scan->param_info;
	path->path.rows = function_scan->rows;
	path->path.startup_cost = 0;
	path->path.total_cost = function_scan->total_cost * COST_OF_FUNCTION_SCAN;
	path->flags = COMPAT_CUSTOMPATH_PROJECTION;
	path->methods = &path_methods;
	add_path(rel, &path->path);
}

static Plan *
plan_scan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist, List *clauses,
		  List *custom_plans)
{
	CustomScan *scan = makeNode(CustomScan);
	RangeTblEntry *rte = planner_rt_fetch(rel->relid, root);
	FuncExpr   *call =
		castNode(FuncExpr, linitial_node(RangeTblFunction, rte->functions)->funcexpr);
	TupleDesc	event = get_expr_result_tupdesc((Node *) call, false);

	event_row_check(event);
	scan->scan.plan.targetlist = tlist;
	scan->scan.plan.qual = extract_actual_clauses(clauses, false);
	scan->flags = path->flags;
	scan->methods = &scan_methods;
	scan->custom_exprs = copyObject(call->args);
	scan->custom_private = list_make1_oid(call->funcid);
	/* There is no table to scan: the rows are what this list says. */
	for (AttrNumber column = 1; column <= event->natts; column++)
	{
		Form_pg_attribute attribute = TupleDescAttr(event, column - 1);
		Expr	   *value;

		if (attribute->attisdropped)
			value = (Expr *) makeNullConst(INT4OID, -1, InvalidOid);
		else
			value = (Expr *) makeVar(rel->relid, column, attribute->atttypid, attribute->atttypmod,
									 attribute->attcollation, 0);
		scan->custom_scan_tlist =
			lappend(scan->custom_scan_tlist, makeTargetEntry(value, column, NULL, false));
	}
	/* A plan that is kept must not outlive the function. */
	record_plan_function_dependency(root, call->funcid);
	return &scan->scan.plan;
}

static Node *
create_state(CustomScan *scan)
{
	ReadScanState *state = (ReadScanState *) newNode(sizeof(ReadScanState), T_CustomScanState);

	state->css.methods = &exec_methods;
	return (Node *) state;
}

/*
 * Collects the executor's parameters that an expression depends on, by itself and
 * through its subqueries.
 */
static bool
collect_parameters(Node *expression, void *context)
{
	ReadScanState *state = context;

	if (expression == NULL)
		return false;
	if (IsA(expression, Param))
	{
		Param	   *param = (Param *) expression;

		if (param->paramkind == PARAM_EXEC)
			state->parameters = bms_add_member(state->parameters, param->paramid);
		return false;
	}
	if (IsA(expression, SubPlan))
	{
		const PlannedStmt *statement = state->css.ss.ps.state->es_plannedstmt;
		const Plan *plan = exec_subplan_get_plan(statement, (SubPlan *) expression);

		state->parameters = bms_add_members(state->parameters, plan->extParam);
	}
	return expression_tree_walker(expression, collect_parameters, context);
}

static void
begin_scan(CustomScanState *node, EState *estate, int eflags)
{
	ReadScanState *state = (ReadScanState *) node;
	CustomScan *scan = castNode(CustomScan, node->ss.ps.plan);
	Oid			funcid = linitial_oid(scan->custom_private);

	if (!compat_may_execute(funcid))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(funcid));
	InvokeFunctionExecuteHook(funcid);
	state->function = find_function(funcid, list_length(scan->custom_exprs));
	if (state->function == NULL)
		elog(ERROR, "function %u is not one that reads events", funcid);
	state->arguments = ExecInitExprList(scan->custom_exprs, &node->ss.ps);
	(void) collect_parameters((Node *) scan->custom_exprs, state);
	state->context = AllocSetContextCreate(CurrentMemoryContext, "read of events",
										   ALLOCSET_DEFAULT_SIZES);
}

/*
 * Starts the call.  What the arguments point to stays valid until their
 * parameters change.
 */
static void
open_call(ReadScanState *state)
{
	ExprContext *econtext = state->css.ss.ps.ps_ExprContext;
	MemoryContext old = MemoryContextSwitchTo(state->context);
	NullableDatum args[FUNC_MAX_ARGS];
	ListCell   *cell;

	foreach(cell, state->arguments)
	{
		NullableDatum *argument = &args[foreach_current_index(cell)];

		argument->value = ExecEvalExpr((ExprState *) lfirst(cell), econtext, &argument->isnull);
	}
	state->function->open(&state->call, args);
	state->open = true;
	MemoryContextSwitchTo(old);
}

static void
close_call(ReadScanState *state)
{
	if (state->open)
		read_call_close(&state->call);
	state->open = false;
	MemoryContextReset(state->context);
}

/*
 * Puts the next event into the scan's slot; false at the end.  An index keeps
 * what it allocates on the way, so only the values are made in the row's memory.
 */
static bool
next_event(ReadScanState *state, TupleTableSlot *slot)
{
	MemoryContext old;
	Event		event;
	Datum		values[EVENT_PUBLIC_COLUMNS + SPARE_ATTRIBUTES];
	bool		nulls[EVENT_PUBLIC_COLUMNS + SPARE_ATTRIBUTES];
	bool		found;

	old = MemoryContextSwitchTo(state->context);
	found = read_call_next(&state->call, &event);
	if (found)
	{
		MemoryContextSwitchTo(state->css.ss.ps.ps_ExprContext->ecxt_per_tuple_memory);
		event_to_values(&event, values, nulls, NULL);
		memcpy(slot->tts_values, values, sizeof(Datum) * slot->tts_tupleDescriptor->natts);
		memcpy(slot->tts_isnull, nulls, sizeof(bool) * slot->tts_tupleDescriptor->natts);
		ExecStoreVirtualTuple(slot);
	}
	MemoryContextSwitchTo(old);
	return found;
}

/*
 * The next row that passes the plan's conditions.  Not ExecScan(): when a row
 * that another transaction changed is joined again, with the members of a UNION
 * ALL, that would take a scan without a table for a join and not read at all.
 */
static TupleTableSlot *
next_row(CustomScanState *node)
{
	ReadScanState *state = (ReadScanState *) node;
	ExprContext *econtext = node->ss.ps.ps_ExprContext;
	ProjectionInfo *projection = node->ss.ps.ps_ProjInfo;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		ExecClearTuple(slot);
		ResetExprContext(econtext);
		if (!state->open)
			open_call(state);
		if (!next_event(state, slot))
			return projection ? ExecClearTuple(projection->pi_state.resultslot) : slot;
		econtext->ecxt_scantuple = slot;
		if (ExecQual(node->ss.ps.qual, econtext))
			return projection ? ExecProject(projection) : slot;
		InstrCountFiltered1(&node->ss, 1);
	}
}

static void
end_scan(CustomScanState *node)
{
	close_call((ReadScanState *) node);
}

/*
 * Begins again: a new call if its arguments may have changed, else the same one,
 * whatever the conditions depend on.
 */
static void
restart_scan(CustomScanState *node)
{
	ReadScanState *state = (ReadScanState *) node;

	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	if (bms_overlap(node->ss.ps.chgParam, state->parameters))
		close_call(state);
	else if (state->open)
		read_call_restart(&state->call);
}

/*
 * Says what is read.  The function may have been dropped since the scan was
 * planned, if nothing was read and so nothing locked.
 */
static void
explain_scan(CustomScanState *node, List *ancestors, ExplainState *explain)
{
	Oid			function = linitial_oid(castNode(CustomScan, node->ss.ps.plan)->custom_private);
	char	   *name = get_func_name(function);
	char	   *schema = get_namespace_name(get_func_namespace(function));

	if (name != NULL)
		ExplainPropertyText("Function", quote_qualified_identifier(schema, name), explain);
}
