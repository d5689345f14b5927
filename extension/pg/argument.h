/*
 * argument.h
 *		Arguments of SQL functions: which must not be NULL, what names are like.
 */
#ifndef ECOMMERCE_PG_ARGUMENT_H
#define ECOMMERCE_PG_ARGUMENT_H

#include "postgres.h"

#include "utils/array.h"

#include "base/errors.h"

extern void argument_check_name(const char *name, const char *what, int most, const char *hint);
extern void argument_check_elements(ArrayType *array, const char *name, const char *hint);
extern void argument_refuse_null(int sqlstate, const char *name, const char *hint)
	pg_attribute_noreturn();

/*
 * Refuses NULL for an argument with an error code of a module's own; hint says what
 * to pass.
 */
static inline void
argument_not_null_as(int sqlstate, const NullableDatum *argument, const char *name,
					 const char *hint)
{
	if (unlikely(argument->isnull))
		argument_refuse_null(sqlstate, name, hint);
}

/*
 * The same with PostgreSQL's.
 */
static inline void
argument_not_null(const NullableDatum *argument, const char *name, const char *hint)
{
	argument_not_null_as(ERRCODE_NULL_VALUE_NOT_ALLOWED, argument, name, hint);
}

#endif
