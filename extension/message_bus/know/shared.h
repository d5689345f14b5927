/*
 * shared.h
 *		What all backends know of the bus without reading a table: how far lanes
 *		are, which segment of the ring is written, who holds what.
 *
 * Everything here can be computed again from the tables, and is, at the first
 * use after a start of the server or a restore.
 */
#ifndef ECOMMERCE_MESSAGE_BUS_KNOW_SHARED_H
#define ECOMMERCE_MESSAGE_BUS_KNOW_SHARED_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/dsa.h"
#include "utils/uuid.h"

#define RING_SEGMENTS 8
#define ACK_TABLES 2
#define MAX_LANES 256
#define RATE_SECONDS 16
#define DEATH_RECORDS 64
/* Where the processes enter themselves that want messages of an endpoint; see go/share.c. */
#define WANTING_PLACES 16
/* Message types of an endpoint that have a circuit breaker of their own. */
#define MAX_BREAKERS 1000
#define BREAKER_BUCKETS 64

/*
 * Later than everything that is due.  It is the time infinity, at which nothing can be
 * due: whoever takes a time refuses it (pg/clock.c), and where a table has it, it
 * means what waits for no time (aside.h).
 */
#define NEVER_DUE DT_NOEND

/* The unsettled leases of a lane. */
typedef struct BusLeases
{
	uint32		count;
	uint32		in_ring;		/* of messages that had not been set aside */
	TimestampTz first_end;
} BusLeases;

/*
 * A lane.  cursor is written by the lane's holder alone.  tail is raised before
 * a position is taken, so a lane with tail <= cursor is empty.  due_version
 * counts what was set aside; see lane_due_lower() and lane_due_computed().
 */
typedef struct BusLane
{
	pg_atomic_uint64 cursor;	/* all up to it is settled or set aside */
	pg_atomic_uint64 tail;		/* no position above it was taken */
	pg_atomic_uint64 empty_to;	/* nothing between cursor and it */
	pg_atomic_uint32 holder;	/* process that holds the lane, a hint */
	pg_atomic_uint32 in_flight; /* deliveries of the holder's transaction */
	pg_atomic_uint32 passed;	/* message_bus.passed has rows of this lane */
	pg_atomic_uint32 clean[RING_SEGMENTS];	/* generation of a segment with nothing above cursor */
	pg_atomic_uint64 evacuate_from; /* cursor when evacuation was decided */
	slock_t		mutex;			/* for what follows */
	bool		held;			/* messages that wait for a breaker */
	uint32		due_version;
	TimestampTz next_due;		/* earliest message set aside, or NEVER_DUE */
	BusLeases	leases;
} BusLane;

typedef struct BusRate
{
	pg_atomic_uint64 total;
	/* second of the epoch << 32 | count */
	pg_atomic_uint64 seconds[RATE_SECONDS];
} BusRate;

/* What the worker knows of endpoints whose listeners have something to hear. */
typedef enum BusNews
{
	NEWS_NONE,
	NEWS_UNTOLD,
	NEWS_KNOWN,					/* it tells them, some a moment later */
} BusNews;

typedef struct BusEndpointKey
{
	Oid			database;
	Oid			generation;		/* of the table endpoint: another after CREATE EXTENSION */
	int32		endpoint_id;
} BusEndpointKey;

/* Never freed before the server stops, so backends may keep pointers. */
typedef struct BusEndpoint
{
	BusEndpointKey key;
	pg_atomic_uint32 loaded;	/* restore_generation() of then; 0: not yet */
	int32		lane_count;
	dsa_pointer lanes;			/* BusLane[lane_count] */
	pg_atomic_uint64 depth;		/* committed, in the ring, not settled */
	pg_atomic_uint64 reserved;	/* sent by transactions that run */
	pg_atomic_uint32 notify;	/* listeners have something to hear */
	pg_atomic_uint32 served;	/* by the database's runners */
	pg_atomic_uint64 notified_at;
	BusRate		sent;
	BusRate		acked;
	pg_atomic_uint64 wanting[WANTING_PLACES];	/* see go/share.c; 0: free */
	pg_atomic_uint32 tripped;	/* breakers that are not closed */
	LWLock		lock;			/* the breakers and what is in them */
	dsa_pointer breakers;		/* BusBreaker, linked, the newest first */
	int32		breaker_count;
	dsa_pointer breaker_buckets[BREAKER_BUCKETS];	/* the same by type */
} BusEndpoint;

typedef enum BusBreakerState
{
	BREAKER_CLOSED,
	BREAKER_OPEN,
	BREAKER_HALF_OPEN
} BusBreakerState;

typedef struct BusBreaker
{
	dsa_pointer next;
	dsa_pointer next_in_bucket;
	BusBreakerState state;
	int32		attempts;
	int32		failures;
	int32		probe_successes;
	TimestampTz window_start;	/* 0: no window runs */
	TimestampTz opened_at;
	TimestampTz retry_at;
	int32		probe_holder;	/* process whose transaction has the probe, 0: none */
	TimestampTz probe_until;	/* a lease has it; 0: none */
	bool		probe_any;		/* one that has failed before may be the next probe */
	uint64		releasing[MAX_LANES / 64];	/* lanes with messages held before it closed */
	bool		dirty;			/* differs from message_bus.breaker */
	char		message_type[FLEXIBLE_ARRAY_MEMBER];
} BusBreaker;

typedef enum BusSegmentState
{
	SEGMENT_FREE,
	SEGMENT_CURRENT,
	SEGMENT_CLOSING,			/* no longer written, but by those who began before */
	SEGMENT_STORE,				/* written by evacuation alone */
	SEGMENT_SEALED,				/* nobody writes */
	SEGMENT_DRAINED,			/* every lane has passed it */
	SEGMENT_EVACUATED			/* what was left has been copied to the store */
} BusSegmentState;

typedef struct BusSegment
{
	pg_atomic_uint32 state;
	pg_atomic_uint32 generation;	/* of its contents, rises with every reuse and evacuation */
	pg_atomic_uint64 since;		/* in this state */
	pg_atomic_uint64 sealed_at; /* no position above it is in here */
	pg_atomic_uint32 expiring;	/* may have messages that expire */
	pg_atomic_uint64 sampled_at;	/* unread was estimated then; 0: not yet */
	pg_atomic_uint32 unread;	/* per mille of its messages that lanes have not passed */
	pg_atomic_uint32 evacuated_by;	/* who began with this xid or later sees the copies */
} BusSegment;

/* A walk through the lanes of a segment, in their order, from where it has got to. */
typedef struct BusWalk
{
	int32		endpoint_id;
	int32		lane;
	int64		position;
} BusWalk;

/*
 * The evacuation that goes on, if any.  Written by whoever turns the ring, and
 * what transactions have done, at their commit.
 */
typedef struct BusEvacuation
{
	TimestampTz since;			/* decided then; 0: none goes on */
	int32		segment;
	bool		checking;		/* all is copied; the walk looks whether it is */
	uint64		copied;			/* in this walk */
	BusWalk		walk;
} BusEvacuation;

/* A consumer died while it handled this message. */
typedef struct BusDeath
{
	int32		endpoint_id;	/* 0: free */
	pg_uuid_t	message_id;
	int32		deaths;			/* 0: the message is settled, its row is to go */
	int32		writers;		/* transactions that have changed its row and not ended */
	bool		dirty;			/* differs from message_bus.death */
} BusDeath;

typedef struct BusDatabaseKey
{
	Oid			database;
	Oid			generation;
} BusDatabaseKey;

typedef struct BusDatabase
{
	BusDatabaseKey key;
	pg_atomic_uint32 loaded;	/* restore_generation() of then; 0: not yet */
	pg_atomic_uint64 next_receipt;	/* 0: this start of the server has no epoch yet */
	pg_atomic_uint64 ring_version;	/* rises when segments change their roles */
	pg_atomic_uint32 current;	/* the segment that is written */
	BusSegment	segments[RING_SEGMENTS];
	BusEvacuation evacuation;
	pg_atomic_uint32 current_ack;
	pg_atomic_uint32 news;		/* a BusNews: whether some endpoint has notify set */
	pg_atomic_uint64 next_due;	/* earliest of all that the worker must not miss */
	LWLock		lock;			/* for what follows */
	TimestampTz expiry_low;		/* messages that expire before it were looked at */
	uint32		expiry_version; /* rises when it is lowered */
	pg_atomic_uint32 death_count;
	BusDeath	deaths[DEATH_RECORDS];
} BusDatabase;

extern Size bus_shared_size(void);
extern void bus_shared_attach(void);
extern BusDatabase *bus_database(void);
extern BusDatabase *bus_database_known(void);
extern BusEndpoint *bus_endpoint_shared(int32 endpoint_id, int32 lane_count);
extern BusLane *bus_lanes(BusEndpoint *endpoint);
extern BusBreaker *bus_breaker(dsa_pointer pointer);
extern dsa_pointer bus_breaker_create(const char *message_type);
extern bool bus_claim(int32 endpoint_id, const pg_uuid_t *message_id, VirtualTransactionId *owner);
extern void bus_unclaim(int32 endpoint_id, const pg_uuid_t *message_id,
						const VirtualTransactionId *owner);
extern BusEndpoint **bus_endpoints(int *count);

extern void atomic_raise(pg_atomic_uint64 *value, uint64 at_least);
extern void atomic_lower(pg_atomic_uint64 *value, uint64 at_most);
extern void rate_add(BusRate *rate, TimestampTz at, uint32 count);
extern double rate_per_second(BusRate *rate, TimestampTz at);

#endif
