/*
 * lock.h
 *		Heavyweight locks on what is no relation; the list of their spaces.
 *
 * pg_locks shows them as advisory, with the space as objsubid; users' own
 * advisory locks have 1 and 2 there, so nobody takes ours by chance.
 */
#ifndef ECOMMERCE_PG_LOCK_H
#define ECOMMERCE_PG_LOCK_H

#include "postgres.h"

#include "storage/lockdefs.h"

typedef enum LockSpace
{
	LOCK_STREAM_NAME = 3,		/* exclusive: makes a stream of a name with that hash */
	LOCK_SAGA_INSTANCE = 21,	/* exclusive: whoever lets an instance react */
	LOCK_SAGA = 22,				/* share: whoever begins an instance; exclusive: drop */
	LOCK_LANE = 0xEC01,			/* exclusive: the lane's holder */
	LOCK_ENDPOINT = 0xEC02,		/* share: whoever uses it; exclusive: drop */
	LOCK_LOAD = 0xEC03,			/* exclusive: fills shared memory of the bus; turns the ring */
	LOCK_FOLD = 0xEC04,			/* exclusive: folds acks; share: reads them */
	LOCK_BREAKER = 0xEC05,		/* exclusive: writes an endpoint's breakers down */
	LOCK_BRIDGE = 0xEC06,		/* exclusive: the session that carries a bridge outwards */
	LOCK_SINK = 0xEC07,			/* exclusive: the session that publishes to a sink */
	LOCK_REBUILD = 0xEC08		/* exclusive: begins or has ended a rebuild beside */
} LockSpace;

extern bool lock_take(LockSpace space, uint32 a, uint32 b, LOCKMODE mode, bool wait);
extern bool lock_claim(LockSpace space, uint32 a, uint32 b);
extern void lock_give_back(LockSpace space, uint32 a, uint32 b, LOCKMODE mode);
extern void lock_wait_for_holders(LockSpace space, uint32 a, uint32 b, LOCKMODE mode);

#endif
