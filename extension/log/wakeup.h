/*
 * wakeup.h
 *		Waiting for a log to grow, without polling and without NOTIFY.
 *
 * Usage:
 *		wakeup_listen(log, key);
 *		while (!something_to_read() && wakeup_sleep(deadline))
 *			;
 *		wakeup_unlisten();
 *
 * Who waits for more than one thing says wakeup_want() for each, and then
 * wakeup_listen_wanted() instead of the first line.
 */
#ifndef ECOMMERCE_LOG_WAKEUP_H
#define ECOMMERCE_LOG_WAKEUP_H

#include "datatype/timestamp.h"

#include "log/position.h"
#include "log/registry.h"

/* No due time: the worker sleeps until it is woken. */
#define WAKEUP_NEVER ((TimestampTz) PG_INT64_MAX)

/* What can be waited for besides logs: a name, whose key is position_key() of it. */
typedef enum WaitFor
{
	WAIT_FOR_PARTITION = LOG_COUNT, /* of a subscription: somebody let go of one */
	WAIT_FOR_PROJECTION			/* it has got further */
} WaitFor;

#define WAIT_KINDS (LOG_COUNT + 2)

/* How often who waits looks while a synchronous standby is behind, in milliseconds. */
#define WAIT_BEHIND_POLL 10

extern void wakeup_want(uint32 log, uint32 key, uint32 mask);
extern void wakeup_want_too(uint32 log, uint32 key);
extern void wakeup_listen_wanted(void);
extern void wakeup_listen(LogId log, uint32 key);
extern bool wakeup_sleep(TimestampTz deadline);
extern void wakeup_unlisten(void);
extern void wakeup_after_end(RegistrySlot *slot);
extern void wakeup_waiters(uint32 log, uint32 key);
extern void wakeup_everybody(void);
extern void wakeup_waiters_at_end(WaitFor kind, uint32 key);

/*
 * Why processes of the database are woken, as bits: 1 << LogId, and these.  UNITS
 * is what runners serve: definitions, projections, what became due of them;
 * SAGAS, messages at an endpoint that they serve.
 */
#define WAKE_FOR_LOG(log)	(1u << (log))
#define WAKE_FOR_SAGAS		(1u << 28)
#define WAKE_FOR_UNITS		(1u << 29)
#define WAKE_FOR_TIMER		(1u << 30)
#define WAKE_FOR_ANYTHING	0xffffffffu

extern void wakeup_worker(uint32 reasons);
extern void wakeup_runner_by(TimestampTz due);
extern bool wakeup_runner_is_there(void);
extern bool wakeup_worker_is_there(void);
extern void wakeup_worker_before(TimestampTz due);
extern void wakeup_worker_after_commit(uint32 reasons);
extern void wakeup_launcher(void);
extern void wakeup_require_top_level(const char *procedure, bool atomic);

#endif
