/*
 * lease_note.h
 *		Lanes whose leases a transaction has changed.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_GO_LEASE_NOTE_H
#define ECOMMERCE_MESSAGE_BUS_GO_LEASE_NOTE_H

#include "postgres.h"

#include "message_bus/know/handle.h"

/* A lane whose leases this transaction has changed. */
typedef struct LeaseNote
{
	const Endpoint *endpoint;
	int32		lane;
	int64		upto;			/* where the cursor goes when no lease is left; 0: none has ended */
	uint32		created_in_ring;
	uint32		acked;
	SubTransactionId noted_in;
	/* Found out just before the commit, when savepoints have been rolled back. */
	BusLeases	leases;
	int64		cursor;			/* 0: it does not move */
	bool		none_passed;	/* message_bus.passed has no more rows of the lane */
	struct LeaseNote *next;
} LeaseNote;

extern LeaseNote *lease_note_lane(const Endpoint *endpoint, int32 lane);
extern int64 lease_noted_upto(const Endpoint *endpoint, int32 lane);
extern void lease_read_lane(const Endpoint *endpoint, int32 lane, BusLeases *leases);
extern void lease_before_commit(void);
extern void lease_end_transaction(bool committed, TimestampTz at);
extern void lease_end_subtransaction(bool committed, SubTransactionId mine,
									 SubTransactionId parent);

#endif
