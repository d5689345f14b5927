/*
 * rights.h
 *		Running users' code with the rights of the role that answers for it.
 *
 * Usage:
 *		rights_take(role, &before);
 *		... a call ...
 *		rights_renew(&before);		before each further one
 *		... a call ...
 *		rights_give_back(&before);
 *
 * Where only the caller's own code runs between the calls, and not with these rights:
 *		rights_rest(&before);		after a call
 *		rights_resume(role, &before);	before the next one, of the same role
 *
 * An error in between needs no care: the abort of the (sub)transaction undoes
 * what was taken.
 */
#ifndef ECOMMERCE_PG_RIGHTS_H
#define ECOMMERCE_PG_RIGHTS_H

#include "postgres.h"

#include "pg/context.h"

/* Who a process acts as. */
typedef struct Identity
{
	Oid			user;
	int			security;
} Identity;

typedef struct Rights
{
	Identity	identity;
	int			guc_level;
	const Context *context;
} Rights;

extern void rights_become(Oid role, int restrictions, Identity *before);
extern void rights_become_again(const Identity *before);
extern void rights_take(Oid role, Rights *before);
extern void rights_renew(Rights *before);
extern void rights_give_back(const Rights *before);
extern void rights_rest(const Rights *before);
extern void rights_resume(Oid role, Rights *before);
extern void rights_pin_session(void);
extern bool rights_reach(Oid owner, Oid role);
extern Oid	rights_answerable(Oid owner, const char *what);
extern Datum rights_role_name(Oid role);

#endif
