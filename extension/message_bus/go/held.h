/*
 * held.h
 *		Lanes and deliveries that belong to this transaction.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_HELD_H
#define ECOMMERCE_MESSAGE_BUS_GO_HELD_H

#include "postgres.h"

#include "access/htup.h"
#include "storage/itemptr.h"
#include "utils/uuid.h"

#include "message_bus/endpoint/endpoint.h"
#include "message_bus/know/shared.h"
#include "message_bus/place/aside.h"
#include "message_bus/place/row.h"

typedef enum Outcome
{
	OUTCOME_NONE,				/* returned when the transaction ends */
	OUTCOME_ACKED,
	OUTCOME_FAILED,
	OUTCOME_MOVED,				/* dead, held or settled before: counts for no breaker */
	OUTCOME_LEASED
} Outcome;

typedef struct HeldLane
{
	Endpoint   *endpoint;
	int32		lane;
	int64		read_upto;		/* in the ring */
	int64		swept_upto;		/* expired leases were settled up to it */
	int64		new_cursor;		/* what commits; 0: it does not move */
	bool		none_passed;	/* message_bus.passed has no more rows of it */
	bool		leased;			/* something of it is: it gives no more */
	int			first;			/* number of the first delivery that may be of it */
	SubTransactionId acquired_in;
	bool		released;
} HeldLane;

typedef struct HeldDelivery
{
	int64		delivery_id;
	int			lane;			/* number of its HeldLane */
	int64		position;		/* in the ring; 0: it had been set aside */
	ItemPointerData tid;		/* then, where */
	HeapTuple	row;			/* a copy, with its TOASTed values */
	pg_uuid_t	message_id;
	char	   *message_type;
	int32		attempt;
	int32		deaths;			/* of its consumers, part of attempt */
	bool		guarded;		/* by the breaker of its type */
	bool		probe;
	bool		uncounted;		/* settled earlier, no longer part of the depth */
	bool		alone;			/* given to nobody together with others */
	uint64		key;			/* for strict order: see strict.c */
	Outcome		outcome;
	SubTransactionId received_in;
	SubTransactionId settled_in;
} HeldDelivery;

extern HeldLane *held_lane_find(const Endpoint *endpoint, int32 lane);
extern HeldLane *held_lane_acquire(Endpoint *endpoint, int32 lane);
extern int64 held_lane_swept(const Endpoint *endpoint, int32 lane);
extern void held_lane_release(HeldLane *lane);
extern HeldLane *held_lane_get(int number);
extern int	held_lane_number(HeldLane *lane);

extern HeldDelivery *held_delivery_add(HeldLane *lane, HeapTuple row, TupleDesc descriptor);
extern void held_delivery_drop_last(void);
extern void held_delivery_number(int first, int64 receipt);
extern int	held_delivery_count(void);
extern HeldDelivery *held_delivery_get(int number);
extern int	held_delivery_find(int64 delivery_id);
extern HeldDelivery *held_delivery_at(const HeldLane *lane, int64 position);
extern bool held_delivery_is_pending(const Endpoint *endpoint, const pg_uuid_t *message_id);
extern bool held_alone(void);
extern void held_settle(HeldDelivery *delivery, Outcome outcome);
extern void held_row_values(const HeldDelivery *delivery, RowValues *values);

extern void held_before_commit(void);
extern void held_end_transaction(bool committed, TimestampTz at);
extern void held_end_subtransaction(bool committed, SubTransactionId mine,
									SubTransactionId parent);

#endif
