/*
 * function.h
 *		Users' functions: found by what is stored of them, and looked at before they
 *		are registered.
 */
#ifndef ECOMMERCE_PG_FUNCTION_H
#define ECOMMERCE_PG_FUNCTION_H

#include "postgres.h"

extern char *function_signature(Oid function);
extern bool function_signature_takes_array(const char *signature);
extern Oid	function_find(const char *signature);
extern void function_check_rights(Oid function, Oid role);
extern Oid	function_expect(Oid function, int nargs, const Oid *arguments, Oid result);

#endif
