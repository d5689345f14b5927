/*
 * transaction.h
 *		What the bus does when a transaction or a savepoint ends.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KEEP_TRANSACTION_H
#define ECOMMERCE_MESSAGE_BUS_KEEP_TRANSACTION_H

#include "postgres.h"

#include "message_bus/know/shared.h"

extern void transaction_init(void);

#endif
