/*
 * tell.h
 *		Lines for the server's log that are true once the transaction has committed.
 */
#ifndef ECOMMERCE_PG_TELL_H
#define ECOMMERCE_PG_TELL_H

#include "postgres.h"

extern void tell_when_committed(int level, const char *format, ...) pg_attribute_printf(2, 3);

#endif
