/*
 * due.h
 *		What the database's worker does for the bus.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KEEP_DUE_H
#define ECOMMERCE_MESSAGE_BUS_KEEP_DUE_H

#include "pg/duty.h"

extern void message_bus_duty(DutyWish *wish);
extern void due_end_transaction(bool committed);
extern void due_end_subtransaction(bool committed, SubTransactionId mine,
								   SubTransactionId parent);

#endif
