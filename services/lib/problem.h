/*
 * problem.h
 *		Errors as RFC 9457 problem documents.
 */
#ifndef SERVICES_LIB_PROBLEM_H
#define SERVICES_LIB_PROBLEM_H

#include "lib/pg.h"
#include "lib/text.h"

/* What a failed batch means to an HTTP client. */
typedef struct Problem
{
	int			status;
	const char *detail;			/* fit for strangers */
	const char *errors;			/* JSON array, or NULL */
	bool		ours;			/* a fault of the server, to be logged as such */
} Problem;

const char *problem_title(int status);
Problem		problem_of(const PgResults *results);
void		problem_write(Text *target, int status, const char *detail, const char *errors,
						  const char *instance, const char *correlation_id);

#endif
