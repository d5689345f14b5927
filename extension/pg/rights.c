/*
 * rights.c
 *		Running users' code with the rights of the role that answers for it.
 *
 * Code that somebody registered (handlers, upcasters, functions of sagas, CHECKs
 * of types) is run on behalf of others: of whoever appends or reads, and of the
 * worker.  It must be able to do no more than who answers for it, to whomever it
 * happens to run for, and it must come to the same result for all of them.  So:
 *
 *	- it runs as that role, and cannot take another one on;
 *	- in a security-restricted operation, so that it leaves nothing behind that
 *	  would run later with the session's rights: no temporary objects, deferred
 *	  triggers, cursors or prepared statements that outlive it;
 *	- settings that decide what names mean and how values are written and read
 *	  are pinned, because the session's belong to somebody else;
 *	- what it sets, settings and context, is undone at its end.
 *
 * The abort of a (sub)transaction undoes all of it.  Pins that hold already are
 * not set again: in a worker, whose session has them, and within other code of
 * the kind, only the user changes.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "miscadmin.h"
#include "catalog/namespace.h"
#include "parser/parse_expr.h"
#include "parser/parser.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "base/debug_point.h"
#include "pg/rights.h"

typedef struct Pin
{
	const char *name;
	const char *value;
	bool		(*holds) (void);
} Pin;

static bool
search_path_holds(void)
{
	return strcmp(namespace_search_path, "pg_catalog, pg_temp") == 0;
}

static bool
time_zone_holds(void)
{
	return strcmp(pg_get_timezone_name(session_timezone), "UTC") == 0;
}

static bool
date_style_holds(void)
{
	return DateStyle == USE_ISO_DATES && DateOrder == DATEORDER_MDY;
}

static bool
interval_style_holds(void)
{
	return IntervalStyle == INTSTYLE_POSTGRES;
}

static bool
float_digits_hold(void)
{
	return extra_float_digits == 1;
}

static bool
bytea_output_holds(void)
{
	return bytea_output == BYTEA_OUTPUT_HEX;
}

static bool
parsing_holds(void)
{
	return standard_conforming_strings;
}

static bool
null_comparison_holds(void)
{
	return !Transform_null_equals;
}

static bool
array_nulls_hold(void)
{
	return Array_nulls;
}

static bool
row_security_holds(void)
{
	return row_security;
}

/* PostgreSQL's defaults, where it has one, so that most sessions have them already. */
static const Pin pins[] = {
	{"search_path", "pg_catalog, pg_temp", search_path_holds},
	{"timezone", "UTC", time_zone_holds},
	{"datestyle", "ISO, MDY", date_style_holds},
	{"intervalstyle", "postgres", interval_style_holds},
	{"extra_float_digits", "1", float_digits_hold},
	{"bytea_output", "hex", bytea_output_holds},
	/* These decide what a statement in the code means. */
	{"standard_conforming_strings", "on", parsing_holds},
	{"transform_null_equals", "off", null_comparison_holds},
	{"array_nulls", "on", array_nulls_hold},
	{"row_security", "on", row_security_holds},
};

static void pin(Rights *before);

/*
 * Acts as a role, under these restrictions too, until rights_become_again() or the
 * abort of the (sub)transaction.
 */
void
rights_become(Oid role, int restrictions, Identity *before)
{
	GetUserIdAndSecContext(&before->user, &before->security);
	SetUserIdAndSecContext(role, before->security | SECURITY_LOCAL_USERID_CHANGE | restrictions);
}

void
rights_become_again(const Identity *before)
{
	SetUserIdAndSecContext(before->user, before->security);
}

/*
 * Takes on the rights of a role.  An error if it does not exist (any more).
 */
void
rights_take(Oid role, Rights *before)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the role with whose rights this runs does not exist"),
				 errdetail("It was dropped, or does not exist where this was restored."),
				 errhint("Register the function again, as the role that shall answer for it.")));
	if (DEBUG_BREAK("rights_not_taken") || DEBUG_BREAK("rights_unguarded"))
		role = GetUserId();
	before->context = context_get();
	pin(before);
	rights_become(role, SECURITY_RESTRICTED_OPERATION, &before->identity);
}

static void
pin(Rights *before)
{
	before->guc_level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(pins); i++)
	{
		if (!pins[i].holds())
			(void) set_config_option(pins[i].name, pins[i].value, PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	}
}

/*
 * Before a further call under the same rights: if the last one has unpinned
 * something, undoes all that it has set.  Always to undo all would cost more than
 * most calls do: before 16, PostgreSQL looks at every setting there is for that.
 */
void
rights_renew(Rights *before)
{
	for (int i = 0; i < lengthof(pins); i++)
	{
		if (likely(pins[i].holds()))
			continue;
		AtEOXact_GUC(false, before->guc_level);
		pin(before);
		return;
	}
}

/*
 * Gives them back, and undoes what the code has set.
 */
void
rights_give_back(const Rights *before)
{
	AtEOXact_GUC(false, before->guc_level);
	rights_rest(before);
}

/*
 * Is the user from before until rights_resume(); settings stay pinned, so what runs
 * in between must not depend on them.
 */
void
rights_rest(const Rights *before)
{
	rights_become_again(&before->identity);
	if (context_get() != before->context)
		context_put_back(before->context);
}

/*
 * Takes the role's rights on again.
 */
void
rights_resume(Oid role, Rights *before)
{
	rights_renew(before);
	rights_become(role, SECURITY_RESTRICTED_OPERATION, &before->identity);
}

/*
 * Gives a worker's session the pinned settings for good.
 */
void
rights_pin_session(void)
{
	for (int i = 0; i < lengthof(pins); i++)
		SetConfigOption(pins[i].name, pins[i].value, PGC_USERSET, PGC_S_OVERRIDE);
}

/*
 * Whether code that belongs to owner may run with the rights of role: only if the
 * owner, who can change it at any time, has these rights by himself.
 */
bool
rights_reach(Oid owner, Oid role)
{
	return has_privs_of_role(owner, role);
}

/*
 * The role that answers for code that the current user registers and that
 * belongs to owner: the weaker one of the two, since one wants it to be run and
 * the other one can change it.  what names the code in the error if neither has
 * the rights of the other.
 */
Oid
rights_answerable(Oid owner, const char *what)
{
	if (rights_reach(owner, GetUserId()))
		return GetUserId();
	if (rights_reach(GetUserId(), owner))
		return owner;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("%s belongs to another role", what),
			 errdetail("Its owner \"%s\" could change it and would gain your rights.",
					   GetUserNameFromId(owner, false)),
			 errhint("Register your own, or let \"%s\" register it.",
					 GetUserNameFromId(owner, false))));
}

/*
 * A role's name as it is stored.
 */
Datum
rights_role_name(Oid role)
{
	return CStringGetTextDatum(GetUserNameFromId(role, false));
}
