/*
 * redirect.c
 *		Leading the statements of users' code to other tables than they name.
 *
 * While a redirect is in force, every statement that this process plans gets the
 * table that is meant wherever it names one of the redirect's.  That is done when
 * the statement has been analysed, and once more when it is planned, which reaches
 * what views and functions with a parsed body have brought in.  Plans that stand
 * already are made anew at both ends of a redirect, those alone that are about one
 * of the tables.
 *
 * What escapes that is refused when it is executed, not done: a plan of somebody's
 * own that is about a table that is named, a command such as TRUNCATE, and writing
 * to any table but those that are meant, which would get its rows twice.  So no
 * mistake here touches the tables that are named.
 *
 * The hooks are put in when the first redirect begins; a process without any has
 * none of them.  An error leaves the redirect in force until redirect_leave() or the
 * end of the (sub)transaction that it was entered in.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "parser/analyze.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "storage/sinval.h"
#include "tcop/utility.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "pg/callbacks.h"
#include "pg/redirect.h"

static const Redirect *current = NULL;
static SubTransactionId level = InvalidSubTransactionId;	/* in which it was entered */

static post_parse_analyze_hook_type previous_analyze_hook = NULL;
static planner_hook_type previous_planner_hook = NULL;
static ExecutorStart_hook_type previous_start_hook = NULL;
static ProcessUtility_hook_type previous_utility_hook = NULL;

static void put_in_force(const Redirect *redirect);
static const Redirect *keep(const Redirect *redirect);
static void install_hooks(void);
static void transaction_ended(XactEvent event, void *arg);
static void savepoint_ended(SubXactEvent event, SubTransactionId ended, SubTransactionId parent,
							void *arg);
static void forget_plans(const Redirect *redirect);
static void forget_plans_of(Oid table);
static void after_analysis(ParseState *state, Query *query, JumbleState *jumble);
static PlannedStmt *plan_redirected(Query *query, const char *text, int options,
									ParamListInfo parameters);
static void refuse_at_start(QueryDesc *description, int flags);
static void refuse_command(PlannedStmt *statement, const char *text, bool read_only,
						   ProcessUtilityContext context, ParamListInfo parameters,
						   QueryEnvironment *environment, DestReceiver *receiver,
						   QueryCompletion *completion);
static bool redirect_node(Node *node, void *context);
static void redirect_query(Query *query);
static Oid	meant_for(Oid table);
static Oid	constraint_meant(Oid constraint, Oid table);
static bool same_key(Relation one, Relation other);
static bool may_write(Oid table);

/*
 * From now on what is planned is led elsewhere; NULL: no longer.  Returns what was
 * in force before.
 */
const Redirect *
redirect_enter(const Redirect *redirect)
{
	const Redirect *before = current;

	if (redirect == before)
		return before;
	if (redirect != NULL)
		install_hooks();
	put_in_force(redirect != NULL ? keep(redirect) : NULL);
	return before;
}

/*
 * Puts back in force what was before.
 */
void
redirect_leave(const Redirect *before)
{
	if (before != current)
		put_in_force(before);
}

static void
put_in_force(const Redirect *redirect)
{
	const Redirect *before = current;

	current = redirect;
	level = GetCurrentSubTransactionId();
	forget_plans(before);
	forget_plans(redirect);
}

/*
 * A copy that lasts until the transaction ends: an error takes away what the caller
 * has, and is heard of here after that.
 */
static const Redirect *
keep(const Redirect *redirect)
{
	Size		size = sizeof(Oid) * redirect->count;
	Redirect   *kept = MemoryContextAlloc(TopTransactionContext, sizeof(Redirect));
	Oid		   *named = MemoryContextAlloc(TopTransactionContext, Max(size, 1));
	Oid		   *meant = MemoryContextAlloc(TopTransactionContext, Max(size, 1));

	memcpy(named, redirect->named, size);
	memcpy(meant, redirect->meant, size);
	*kept = *redirect;
	kept->named = named;
	kept->meant = meant;
	return kept;
}

static void
install_hooks(void)
{
	static bool installed = false;

	if (installed)
		return;
	previous_analyze_hook = post_parse_analyze_hook;
	post_parse_analyze_hook = after_analysis;
	previous_planner_hook = planner_hook;
	planner_hook = plan_redirected;
	previous_start_hook = ExecutorStart_hook;
	ExecutorStart_hook = refuse_at_start;
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = refuse_command;
	callback_on_transaction(transaction_ended);
	callback_on_savepoint(savepoint_ended);
	installed = true;
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (current != NULL && event == XACT_EVENT_ABORT)
		put_in_force(NULL);
}

static void
savepoint_ended(SubXactEvent event, SubTransactionId ended, SubTransactionId parent, void *arg)
{
	if (current != NULL && event == SUBXACT_EVENT_ABORT_SUB && ended == level)
		put_in_force(NULL);
}

static void
forget_plans(const Redirect *redirect)
{
	for (int i = 0; redirect != NULL && i < redirect->count; i++)
	{
		forget_plans_of(redirect->named[i]);
		forget_plans_of(redirect->meant[i]);
	}
}

/*
 * Tells this process, and no other, that a relation has changed.
 */
static void
forget_plans_of(Oid table)
{
	SharedInvalidationMessage message;

	memset(&message, 0, sizeof(message));
	message.rc.id = SHAREDINVALRELCACHE_ID;
	message.rc.dbId = MyDatabaseId;
	message.rc.relId = table;
	LocalExecuteInvalidationMessage(&message);
}

static void
after_analysis(ParseState *state, Query *query, JumbleState *jumble)
{
	if (previous_analyze_hook)
		previous_analyze_hook(state, query, jumble);
	if (current != NULL)
		(void) redirect_node((Node *) query, NULL);
}

static PlannedStmt *
plan_redirected(Query *query, const char *text, int options, ParamListInfo parameters)
{
	if (current != NULL)
		(void) redirect_node((Node *) query, NULL);
	if (previous_planner_hook)
		return previous_planner_hook(query, text, options, parameters);
	return standard_planner(query, text, options, parameters);
}

/*
 * The last door: what is about to be executed names no table of the redirect and
 * writes to nothing else.
 */
static void
refuse_at_start(QueryDesc *description, int flags)
{
	ListCell   *cell;

	foreach(cell, current != NULL ? description->plannedstmt->rtable : NIL)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		if (entry->rtekind == RTE_RELATION && OidIsValid(meant_for(entry->relid)))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("a statement on table \"%s\" cannot be led to the table beside it",
							get_rel_name(entry->relid)),
					 errhint("It was planned in a way of its own. Rebuild in place, without beside.")));
	}
	foreach(cell, current != NULL ? description->plannedstmt->resultRelations : NIL)
	{
		Oid			table = rt_fetch(lfirst_int(cell), description->plannedstmt->rtable)->relid;

		if (!may_write(table))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("table \"%s\" is not one that is rebuilt beside", get_rel_name(table)),
					 errdetail("It would get what the handler writes twice."),
					 errhint("List it in tables of create_projection(), or let the handler leave it alone while event_store.replaying().")));
	}
	if (previous_start_hook)
		previous_start_hook(description, flags);
	else
		standard_ExecutorStart(description, flags);
}

/*
 * Commands go past planning, so those that could be about a table are refused.
 */
static void
refuse_command(PlannedStmt *statement, const char *text, bool read_only,
			   ProcessUtilityContext context, ParamListInfo parameters,
			   QueryEnvironment *environment, DestReceiver *receiver,
			   QueryCompletion *completion)
{
	if (current != NULL)
	{
		switch (nodeTag(statement->utilityStmt))
		{
			case T_VariableSetStmt:
			case T_VariableShowStmt:
			case T_DoStmt:
			case T_CallStmt:
			case T_NotifyStmt:
			case T_PrepareStmt:
			case T_ExecuteStmt:
			case T_DeallocateStmt:
			case T_DeclareCursorStmt:
			case T_FetchStmt:
			case T_ClosePortalStmt:
				break;
			default:
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("%s cannot be led to the table beside",
								GetCommandTagName(CreateCommandTag(statement->utilityStmt))),
						 errhint("Let the handler use DELETE instead of TRUNCATE, or rebuild in place, without beside.")));
		}
	}
	if (previous_utility_hook)
		previous_utility_hook(statement, text, read_only, context, parameters, environment,
							  receiver, completion);
	else
		standard_ProcessUtility(statement, text, read_only, context, parameters, environment,
								receiver, completion);
}

static bool
redirect_node(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;
		Oid			meant = entry->rtekind == RTE_RELATION ? meant_for(entry->relid) : InvalidOid;

		if (OidIsValid(meant))
		{
			LockRelationOid(meant, entry->rellockmode);
			entry->relid = meant;
		}
		return false;
	}
	if (IsA(node, Query))
	{
		redirect_query((Query *) node);
		return query_tree_walker((Query *) node, redirect_node, context,
								 QTW_EXAMINE_RTES_BEFORE);
	}
	return expression_tree_walker(node, redirect_node, context);
}

/*
 * What a query says of its tables besides its range table.
 */
static void
redirect_query(Query *query)
{
	compat_redirect_permissions(query, meant_for);
	if (query->onConflict != NULL && OidIsValid(query->onConflict->constraint))
	{
		Oid			meant = meant_for(rt_fetch(query->resultRelation, query->rtable)->relid);

		if (OidIsValid(meant))
			query->onConflict->constraint =
				constraint_meant(query->onConflict->constraint, meant);
	}
}

/*
 * The table that is meant by one; InvalidOid: itself.
 */
static Oid
meant_for(Oid table)
{
	for (int i = 0; current != NULL && i < current->count; i++)
	{
		if (current->named[i] == table)
			return current->meant[i];
	}
	return InvalidOid;
}

/*
 * The constraint of a table with the same key as another table's.
 */
static Oid
constraint_meant(Oid constraint, Oid table)
{
	Relation	relation = relation_open(table, AccessShareLock);
	Relation	named = relation_open(get_constraint_index(constraint), AccessShareLock);
	Oid			found = InvalidOid;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(relation))
	{
		Relation	index = relation_open(lfirst_oid(cell), AccessShareLock);

		if (!OidIsValid(found) && same_key(index, named))
			found = get_index_constraint(lfirst_oid(cell));
		relation_close(index, AccessShareLock);
	}
	relation_close(named, AccessShareLock);
	relation_close(relation, AccessShareLock);
	return OidIsValid(found) ? found : constraint;
}

static bool
same_key(Relation one, Relation other)
{
	Form_pg_index first = one->rd_index;
	Form_pg_index second = other->rd_index;

	return one->rd_rel->relam == other->rd_rel->relam &&
		first->indisunique == second->indisunique &&
		first->indisexclusion == second->indisexclusion &&
		first->indnatts == second->indnatts &&
		memcmp(first->indkey.values, second->indkey.values,
			   sizeof(int16) * first->indnatts) == 0;
}

/*
 * Tables that are meant, and those of our own functions.
 */
static bool
may_write(Oid table)
{
	Oid			ours = get_extension_oid("ecommerce", true);

	for (int i = 0; i < current->count; i++)
	{
		if (current->meant[i] == table)
			return true;
	}
	return getExtensionOfObject(RelationRelationId, table) == ours;
}
