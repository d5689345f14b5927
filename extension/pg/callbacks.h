/*
 * callbacks.h
 *		Being told of invalidations and of ends of transactions.
 */
#ifndef ECOMMERCE_PG_CALLBACKS_H
#define ECOMMERCE_PG_CALLBACKS_H

#include "postgres.h"

#include "access/xact.h"
#include "utils/inval.h"

typedef void (*RelationCallback) (Oid relation);
/* Of transactions whose end everybody can see; committed or not. */
typedef void (*EndCallback) (bool committed);

extern void callback_on_relation(RelationCallback function);
extern void callback_on_catalog(int cache, SyscacheCallbackFunction function);
extern void callback_on_transaction(XactCallback function);
extern void callback_on_savepoint(SubXactCallback function);
extern void callback_on_end(EndCallback function);

#endif
