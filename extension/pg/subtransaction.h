/*
 * subtransaction.h
 *		Running user code so that its failure undoes no more than itself.
 */
#ifndef ECOMMERCE_PG_SUBTRANSACTION_H
#define ECOMMERCE_PG_SUBTRANSACTION_H

#include "postgres.h"

/* Errors that are the user's wish, not the code's failure. */
typedef enum CancelPolicy
{
	CANCEL_PASSES_ON,
	CANCEL_IS_FAILURE
} CancelPolicy;

extern bool subtransaction_run(void (*body) (void *), void *argument, CancelPolicy policy,
							   ErrorData **error);

#endif
