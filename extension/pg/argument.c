/*
 * argument.c
 *		Arguments of SQL functions that must not be NULL.
 *
 * A function in C that is not STRICT and does not ask reads a null pointer.  Who
 * forgets it is found by sql/arguments.sql, which calls every function with NULL
 * in each place.
 */
#include "postgres.h"

#include "pg/argument.h"

/*
 * Raises the error for an argument.
 */
void
argument_refuse_null(int sqlstate, const char *name, const char *hint)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("%s must not be null", name),
			 errhint("%s", hint)));
}
