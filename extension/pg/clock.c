/*
 * clock.c
 *		The time as workers and the bus see it.
 *
 * Normally the wall clock.  A caller that replays the past (a test, or a timer
 * that fires "as of" its due time) sets an instant that stands until it is set
 * back, at the latest by the end of the transaction.  Backend-local.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/timestamp.h"

#include "pg/clock.h"

static TimestampTz instead_of_now = 0;
static bool callback_registered = false;

static void
forget_at_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		instead_of_now = 0;
}

/*
 * The instant set by clock_set(), else the wall clock.
 */
TimestampTz
clock_now(void)
{
	return instead_of_now != 0 ? instead_of_now : GetCurrentTimestamp();
}

/*
 * Sets the instant that clock_now() gives in this transaction, 0 for the wall
 * clock.  Returns what was set before, so that calls can nest.
 */
TimestampTz
clock_set(TimestampTz instead)
{
	TimestampTz before = instead_of_now;

	if (!callback_registered)
	{
		RegisterXactCallback(forget_at_end, NULL);
		callback_registered = true;
	}
	instead_of_now = instead;
	return before;
}

PG_FUNCTION_INFO_V1(ecommerce_test_clock);
/*
 * ecommerce_test_clock(timestamptz): clock_set() for tests, which declare it
 * themselves; no function of the extension is it.
 */
Datum
ecommerce_test_clock(PG_FUNCTION_ARGS)
{
	(void) clock_set(PG_GETARG_TIMESTAMPTZ(0));
	PG_RETURN_VOID();
}
