/*
 * rights.h
 *		Running user code with the rights of the role that handed it in.
 */
#ifndef ECOMMERCE_PG_RIGHTS_H
#define ECOMMERCE_PG_RIGHTS_H

#include "postgres.h"

typedef struct Rights
{
	Oid			user;
	int			security;
	int			guc_level;
} Rights;

extern void rights_take(const char *role, Rights *before);
extern void rights_give_back(const Rights *before);

#endif
