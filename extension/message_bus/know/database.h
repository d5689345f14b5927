/*
 * database.h
 *		The entry of this database in shared memory, filled from the tables.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KNOW_DATABASE_H
#define ECOMMERCE_MESSAGE_BUS_KNOW_DATABASE_H

#include "postgres.h"

#include "message_bus/know/shared.h"

extern BusDatabase *database_state(void);
extern int64 database_receipts(int count);
extern void database_lower_expiry(TimestampTz expires_at);

#endif
