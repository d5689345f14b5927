/*
 * subscription_lease.h
 *		What this transaction has on lease of subscriptions.
 */
#ifndef ECOMMERCE_EVENT_STORE_READ_SUBSCRIPTION_LEASE_H
#define ECOMMERCE_EVENT_STORE_READ_SUBSCRIPTION_LEASE_H

#include "access/xact.h"
#include "fmgr.h"

#include "event_store/read/subscription.h"

/* In a lease's partition: what was on lease is no more, see lease_begin_anew(). */
#define NO_PARTITION (-1)

/* A parked event that was given again in this transaction, and those before it. */
typedef struct Replayed
{
	int64		position;
	const struct Replayed *before;
} Replayed;

/* A partition on lease, one entry per savepoint level that changed it. */
typedef struct Lease
{
	char	   *subscription;
	int			partition;
	int64		fetched;		/* position of the last event given out */
	int64		checkpoint;
	int64		first;			/* position of the first event given out, 0: none */
	int			given;			/* how many were */
	const Replayed *replayed;	/* the last parked event given again, NULL: none was */
	bool		watched;		/* what fails too often is parked by itself */
	SubTransactionId level;
	struct Lease *before;		/* older entries, of this and of other subscriptions */
} Lease;

extern void subscription_unknown(const char *name);
extern char *subscription_argument(FunctionCallInfo fcinfo);
extern Lease *lease_find(const char *name);
extern Lease *lease_remember(const char *name, int partition, int64 fetched, int64 checkpoint);
extern void lease_begin_anew(const char *name);
extern bool lease_lock(Subscription *subscription, int partition, int64 before, Lease **lease);
extern void lease_move_checkpoint(const char *name, int partition, int64 checkpoint);
extern void subscription_divide(const char *name, int partitions);
extern void lease_note_given(Lease *lease, int64 position);
extern void lease_note_replayed(Lease *lease, int64 position);
extern uint32 lease_failures_key(const char *name, int partition);

#endif
