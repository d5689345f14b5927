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
#include "pg/scan.h"

/* Which of a lane's messages. */
typedef enum AsideRange
{
	ASIDE_ALL,
	ASIDE_DUE,					/* by that time */
	ASIDE_FROM,					/* due at that time or later */
	ASIDE_HELD					/* they wait for a breaker, or for others of their key */
} AsideRange;

extern TupleDesc aside_descriptor(void);
extern void aside_scan_begin(TableScan *scan, const Endpoint *endpoint, int32 lane,
							 AsideRange range, TimestampTz at);
extern TimestampTz aside_first_due(const Endpoint *endpoint, int32 lane, TimestampTz from);

extern void aside_insert(const RowValues *row, const char *state, TimestampTz due_at,
						 int32 attempt, const Failure *failure, int64 receipt);
extern void aside_update(ItemPointer tid, const RowValues *row, const char *state,
						 TimestampTz due_at, int32 attempt, const Failure *failure,
						 int64 receipt);
extern void aside_lease(ItemPointer tid, const RowValues *row, int64 receipt);
extern bool aside_has_message(const Endpoint *endpoint, pg_uuid_t *message_id);
extern void aside_find_messages(const Endpoint *endpoint, const pg_uuid_t *message_ids, int count,
								bool *found);

#endif
