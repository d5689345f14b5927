/*
 * attempt.h
 *		Runs something that may fail, and survives it.
 */
#ifndef ECOMMERCE_PG_ATTEMPT_H
#define ECOMMERCE_PG_ATTEMPT_H

#include "postgres.h"

typedef void (*AttemptFunction) (void *argument);

extern ErrorData *attempt(AttemptFunction function, void *argument);

#endif
