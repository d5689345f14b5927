/*
 * aside.h
 *		Messages that have left their place in the ring and are not settled.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_ASIDE_H
#define ECOMMERCE_MESSAGE_BUS_ASIDE_H

#include "postgres.h"

#include "access/htup.h"
#include "access/tupdesc.h"

#include "message_bus/relations.h"
#include "message_bus/shared.h"

/* When a message is held by a breaker, and when it was returned. */
#define DUE_WHEN_RELEASED DT_NOEND
#define DUE_AT_ONCE DT_NOBEGIN

/* A row of the ring, of message_bus.aside or message_bus.dead, taken apart. */
typedef struct RowValues
{
	Datum		values[ASIDE_COLUMNS];
	bool		nulls[ASIDE_COLUMNS];
} RowValues;

StaticAssertDecl((int) ASIDE_COLUMNS >= (int) DEAD_COLUMNS, "RowValues must hold any row");

/* How a message failed, so far. */
typedef struct Failure
{
	int32		attempts;
	const char *code;			/* may be NULL, the text too */
	const char *text;
	TimestampTz first_at;
	TimestampTz last_at;
} Failure;

extern void row_read(HeapTuple row, TupleDesc descriptor, RowValues *values);
extern TupleDesc aside_descriptor(void);

extern void aside_insert(const RowValues *row, const char *state, TimestampTz due_at,
						 int32 attempt, const Failure *failure, int64 receipt);
extern void aside_update(ItemPointer tid, const RowValues *row, const char *state,
						 TimestampTz due_at, int32 attempt, const Failure *failure);
extern bool aside_has_message(int32 endpoint_id, pg_uuid_t *message_id);

extern uint32 lane_due_version(BusLane *lane);
extern void lane_due_computed(BusLane *lane, uint32 version, TimestampTz due, bool held);
extern void lane_due_lower(BusLane *lane, TimestampTz due);
extern void aside_lower_worker(TimestampTz due);

#endif
