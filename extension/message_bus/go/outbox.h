/*
 * outbox.h
 *		What this transaction has sent, until it commits.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_OUTBOX_H
#define ECOMMERCE_MESSAGE_BUS_GO_OUTBOX_H

#include "postgres.h"

#include "message_bus/endpoint/endpoint.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/row.h"

extern bool outbox_claim(const Endpoint *endpoint, const pg_uuid_t *message_id);
extern bool outbox_is_new(const Endpoint *endpoint, const pg_uuid_t *message_id);
extern void outbox_are_new(const Endpoint *endpoint, const pg_uuid_t *message_ids, int count,
						   bool *are_new);
extern void outbox_add(const Endpoint *endpoint, RowValues *row, bool beyond_depth);
extern void outbox_remember(const Endpoint *endpoint, const RowValues *row);
extern bool outbox_flush(void);
extern void outbox_end_transaction(bool committed, TimestampTz at);
extern void outbox_end_subtransaction(bool committed, SubTransactionId mine,
									  SubTransactionId parent);

#endif
