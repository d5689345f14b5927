/*
 * callable.h
 *		SQL functions called many times from C: handlers, upcasters.
 *
 * A callable is borrowed from its slot for the length of a call, so that a
 * function may end up in itself, and an error drops it:
 *		Callable *callable = callable_borrow(&slot, registration, JSONBOID, context);
 *		result = callable_call(callable, arguments, &isnull);
 *		callable_return(&slot, callable, context);
 */
#ifndef ECOMMERCE_PG_CALLABLE_H
#define ECOMMERCE_PG_CALLABLE_H

#include "postgres.h"

#include "pg/registration.h"

typedef struct Callable Callable;

extern Callable *callable_borrow(Callable **slot, Registration *registration, Oid result,
								 MemoryContext home);
extern Datum callable_call(Callable *callable, const Datum *arguments, bool *isnull);
extern bool callable_call_pure(Callable *callable, Oid role, const Datum *arguments,
							   Datum *result, bool *isnull);
extern void callable_return(Callable **slot, Callable *callable, MemoryContext home);

#endif
