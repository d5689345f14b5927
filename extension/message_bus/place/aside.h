/*
 * aside.h
 *		Messages that have left their place in the ring and are not settled.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_PLACE_ASIDE_H
#define ECOMMERCE_MESSAGE_BUS_PLACE_ASIDE_H

#include "postgres.h"

#include "access/htup.h"
#include "access/tupdesc.h"

#include "message_bus/know/handle.h"
#include "message_bus/know/relations.h"
#include "message_bus/place/row.h"

extern TupleDesc aside_descriptor(void);

extern void aside_insert(const RowValues *row, const char *state, TimestampTz due_at,
						 int32 attempt, const Failure *failure, int64 receipt);
extern void aside_update(ItemPointer tid, const RowValues *row, const char *state,
						 TimestampTz due_at, int32 attempt, const Failure *failure,
						 int64 receipt);
extern void aside_lease(ItemPointer tid, const RowValues *row, int64 receipt);
extern bool aside_has_message(const Endpoint *endpoint, pg_uuid_t *message_id);

#endif
