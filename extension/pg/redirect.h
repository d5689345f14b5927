/*
 * redirect.h
 *		Leading the statements of users' code to other tables than they name.
 *
 * Usage:
 *		Redirect redirect = {count, named, meant};
 *		before = redirect_enter(&redirect);
 *		... run the code ...
 *		redirect_leave(before);		(also after an error)
 */
#ifndef ECOMMERCE_PG_REDIRECT_H
#define ECOMMERCE_PG_REDIRECT_H

#include "postgres.h"

/* Tables that are named, and those that are meant; the columns are the same, also in number. */
typedef struct Redirect
{
	int			count;
	Oid		   *named;
	Oid		   *meant;
} Redirect;

extern const Redirect *redirect_enter(const Redirect *redirect);
extern void redirect_leave(const Redirect *before);

#endif
