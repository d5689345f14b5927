/*
 * argument.h
 *		Arguments of SQL functions that must not be NULL.
 */
#ifndef ECOMMERCE_PG_ARGUMENT_H
#define ECOMMERCE_PG_ARGUMENT_H

#include "postgres.h"

#include "base/errors.h"

extern void argument_refuse_null(const char *name, const char *hint) pg_attribute_noreturn();

/*
 * Refuses NULL for an argument; hint says what to pass.
 */
static inline void
argument_not_null(const NullableDatum *argument, const char *name, const char *hint)
{
	if (unlikely(argument->isnull))
		argument_refuse_null(name, hint);
}

#endif
