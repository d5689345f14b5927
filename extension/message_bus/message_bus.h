/*
 * message_bus.h
 *		What the saga engine, the worker and _PG_init may know of the bus.
 *
 * Everything here works in the caller's transaction and without SPI on the hot
 * paths; what it returns is palloc'd in the caller's memory context.  A
 * message that is sent, acked or failed in a subtransaction shares its fate.
 *
 * A consumer in C:
 *		n = message_bus_receive("order", 50, &deliveries);
 *		for each:	BeginInternalSubTransaction(NULL);
 *					message_bus_handle(d->delivery_id);
 *					... work, message_bus_send() ...
 *					message_bus_ack(&d->delivery_id, 1);
 *					ReleaseCurrentSubTransaction();
 *		on error:	RollbackAndReleaseCurrentSubTransaction();
 *					message_bus_fail(d->delivery_id, code, text, true);
 *		commit
 */
#ifndef ECOMMERCE_MESSAGE_BUS_MESSAGE_BUS_H
#define ECOMMERCE_MESSAGE_BUS_MESSAGE_BUS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "pg/context.h"

/* No time given.  Valid timestamps are never this. */
#define BUS_NO_TIME DT_NOBEGIN

/* Whether an endpoint has a message of some id already. */
typedef enum BusIdState
{
	BUS_ID_UNKNOWN,
	BUS_ID_NEW,
	BUS_ID_KNOWN
} BusIdState;

/*
 * A message to send.  Zero it first; what is NULL or BUS_NO_TIME takes the
 * default: a new id, the correlation id as the partition key, headers {}.
 */
typedef struct BusOutgoing
{
	const char *endpoint;		/* NULL: publish to whoever has subscribed */
	const char *message_type;
	Jsonb	   *body;
	const pg_uuid_t *message_id;
	const char *partition_key;
	TimestampTz deliver_at;		/* BUS_NO_TIME or 0: at once */
	TimestampTz expires_at;		/* BUS_NO_TIME or 0: never */
	bool		exact_times;	/* 0 is a time too: 2000-01-01 UTC */
	bool		beyond_depth;	/* a full endpoint takes it too */
	Jsonb	   *headers;
	int32		schema_version; /* 0: the one that is current */
	/* Stamped instead of the transaction's context, unless NULL. */
	const Context *context;
	/* What the caller has found out of its id at the endpoint, outbox_are_new(). */
	BusIdState	id_state;
	/* It has been sent elsewhere, by source (NULL: unknown), at sent_at (0: now). */
	bool		carried;
	const char *source;
	TimestampTz sent_at;
} BusOutgoing;

/* The envelope: message_bus.message. */
typedef struct BusMessage
{
	pg_uuid_t	message_id;
	char	   *message_type;
	int32		schema_version;
	Jsonb	   *body;
	Jsonb	   *headers;		/* never NULL */
	pg_uuid_t	correlation_id;
	pg_uuid_t	conversation_id;
	pg_uuid_t	causation_id;
	bool		has_causation;
	char	   *user_id;		/* this and the next two may be NULL */
	char	   *tenant_id;
	char	   *traceparent;
	char	   *source;
	TimestampTz sent_at;
	TimestampTz deliver_at;		/* BUS_NO_TIME: none */
	TimestampTz expires_at;		/* BUS_NO_TIME: none */
	char	   *partition_key;	/* never NULL */
	int32		attempt;		/* from 1 */
} BusMessage;

/* A message with its receipt: message_bus.delivery. */
typedef struct BusDelivery
{
	BusMessage	message;
	int64		delivery_id;
	TimestampTz leased_until;	/* BUS_NO_TIME: belongs to the transaction */
} BusDelivery;

/* Once, from _PG_init, and from the shared memory hooks. */
extern void message_bus_init(void);
extern void message_bus_request_shared_memory(void);
extern void message_bus_attach_shared_memory(void);

/* By processes that are always there: they notice when the server crashes. */
extern void message_bus_witness(void);

/*
 * Sends or publishes; *message_id is the message's id, which is returned too
 * when the message was a duplicate or had no subscriber and nothing was stored.
 */
extern void message_bus_send(const BusOutgoing *given, pg_uuid_t *message_id);

/*
 * Takes up to max messages of one or more free lanes for this transaction.
 * Returns how many; 0 also when the endpoint is paused.
 */
extern int	message_bus_receive(const char *endpoint, int max, BusDelivery **deliveries);

/*
 * From now until the transaction ends, or the next call, the message is the one
 * that this process handles: if it dies, it has died of that.
 */
extern void message_bus_watch(int64 delivery_id);

/*
 * The same for a message that the consumer had put aside, on its way: until
 * message_bus_watch_ends(), then it is again the one before.  False, and nothing is
 * watched, if a process has died of it; then it should go back to its endpoint, to
 * be counted there as others are.
 */
extern bool message_bus_watch_parked(const char *endpoint, const pg_uuid_t *message_id);
extern void message_bus_watch_ends(void);

/* Sets the context from a message, until the next call or the transaction's end. */
extern void message_bus_handle(int64 delivery_id);

/*
 * Settle deliveries.  An unknown, settled or passed-on id is MB003 and nothing
 * of the call is done.
 */
extern void message_bus_ack(const int64 *delivery_ids, int count);
extern void message_bus_fail(int64 delivery_id, const char *error_code,
							 const char *error, bool retryable);
extern void message_bus_skip(int64 delivery_id, const char *reason);

/* Gives a delivery back until that time; no attempt is counted. */
extern void message_bus_snooze(int64 delivery_id, TimestampTz until, const char *reason);

/*
 * Makes a dead letter of a message that its consumer has acknowledged and kept,
 * but could not use in the end.  outgoing has the endpoint and the message's id.
 */
extern void message_bus_bury(const BusOutgoing *outgoing, int32 schema_version,
							 const char *reason, const char *error_code, const char *error);

/* Undoes a scheduled send that is not due yet; false if there is none. */

/* Messages sent to the endpoint wake the database's runners; MB001 if there is none. */
extern void message_bus_serve(const char *endpoint);

/* Keeps the endpoint from being dropped until the transaction ends; MB001. */
extern void message_bus_keep_endpoint(const char *endpoint);

/* Is the endpoint paused, or does a breaker hold messages of it? */
extern bool message_bus_holds_back(const char *endpoint);

/* Have listeners not been told yet of something that was sent? */
extern bool message_bus_notify_pending(void);

/* Is there an endpoint of that name? */
extern bool message_bus_endpoint_exists(const char *endpoint);

/*
 * Is there, as far as can be told without waiting, a message to receive on a
 * free lane?  Cheap when there is none.  Needs a transaction, leaves no
 * snapshot behind.
 */
extern bool message_bus_ready(const char *endpoint);

/*
 * One turn of the database worker's duty, in a transaction of its own:
 * scheduled and retried messages that are due, expiry of messages and leases,
 * notification of listeners, breakers, rotation of the ring.  Returns true if
 * there is more to do at once; *next_due is when to come back although nobody
 * commits anything, WAKEUP_NEVER if not at all.
 */

#endif
