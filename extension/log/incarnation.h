/*
 * incarnation.h
 *		Which history of a database something was read from.
 */
#ifndef ECOMMERCE_LOG_INCARNATION_H
#define ECOMMERCE_LOG_INCARNATION_H

#include "postgres.h"

#include "access/xlogdefs.h"

/* Long enough for any incarnation as text, with its end. */
#define INCARNATION_SIZE 96

extern void incarnation_write(char *text, XLogRecPtr upto);
extern const char *incarnation_break(const char *known);
extern const char *incarnation_step_break(const char *known, const char *next);

#endif
