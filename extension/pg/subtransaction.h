/*
 * subtransaction.h
 *		Running what may fail so that its failure undoes no more than itself.
 */
#ifndef ECOMMERCE_PG_SUBTRANSACTION_H
#define ECOMMERCE_PG_SUBTRANSACTION_H

#include "postgres.h"

typedef void (*SubtransactionBody) (void *argument);

extern bool subtransaction_run(SubtransactionBody body, void *argument, ErrorData **error);

#endif
