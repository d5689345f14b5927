/*
 * rights.c
 *		Running user code with the rights of the role that handed it in.
 *
 * The code cannot take other rights on, and it is in a security-restricted
 * operation, so that it can leave nothing behind that would run later with the
 * session's rights: no temporary objects, no deferred triggers, no cursors
 * that outlive it.  Its search path is pinned, because the session's belongs
 * to somebody else.  The abort of a (sub)transaction undoes all of it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "pg/rights.h"

/*
 * Takes on the rights of a role.  An error if the role does not exist.
 */
void
rights_take(const char *role, Rights *before)
{
	Oid			user = get_role_oid(role, false);

	GetUserIdAndSecContext(&before->user, &before->security);
	if (user != before->user)
		SetUserIdAndSecContext(user, before->security | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	before->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Gives them back.
 */
void
rights_give_back(const Rights *before)
{
	AtEOXact_GUC(false, before->guc_level);
	SetUserIdAndSecContext(before->user, before->security);
}
