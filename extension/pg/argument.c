/*
 * argument.c
 *		Arguments of SQL functions: which must not be NULL, what names are like.
 *
 * A function in C that is not STRICT and does not ask reads a null pointer.  Who
 * forgets it is found by sql/include/arguments.sql, which calls every function with NULL
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

/*
 * Refuses an array of which some element is NULL; hint says what to pass.
 */
void
argument_check_elements(ArrayType *array, const char *name, const char *hint)
{
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not contain nulls", name),
				 errhint("%s", hint)));
}

/*
 * Refuses what is no name of something: empty, longer than so many bytes, or with
 * characters that would confuse whoever lists it.  hint says what to pass.
 */
void
argument_check_name(const char *name, const char *what, int most, const char *hint)
{
	bool		control = false;

	for (const char *p = name; *p != '\0'; p++)
		control |= (unsigned char) *p < ' ' || *p == 0x7F;
	if (name[0] == '\0' || strlen(name) > (size_t) most || control)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must have 1 to %d bytes and no control characters", what, most),
				 errhint("%s", hint)));
}
