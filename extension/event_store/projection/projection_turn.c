/*
 * projection_turn.c
 *		What turns of projections and of their rebuilds have in common.
 */
#include "postgres.h"

#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/order.h"
#include "event_store/projection/projection_trial.h"
#include "event_store/projection/projection_turn.h"
#include "log/wakeup.h"

/* Events per transaction of the worker. */
#define BATCH 500

/* And for handlers of arrays: so long, in microseconds, but not more than so many. */
#define BATCH_US 60000
#define BATCH_MOST 20000

/*
 * A turn of the runner begins.
 */
void
batch_begin(UnitTurn *turn)
{
	/* Nobody waits for the flush: what a crash undoes is done again. */
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	turn->portion = BATCH;
	turn->wakes = WAKE_FOR_UNITS;
}

/*
 * The projection of a name; NULL if it was dropped since it was listed.
 */
Projection *
batch_projection(const char *name)
{
	Projection *projection;

	for (int i = 0; (projection = projection_get(i)) != NULL; i++)
	{
		if (strcmp(projection->name, name) == 0)
			return projection;
	}
	return NULL;
}

/*
 * How many events a handler is given in a transaction: one of arrays as many as it is
 * known to get through in BATCH_US.
 */
int
batch_limit(const Projection *projection, int max)
{
	if (!projection->takes_batch || !compat_is_background_worker())
		return max;
	if (projection->event_us <= 0)
		return BATCH;
	return (int) Max(Min(BATCH_US / projection->event_us, BATCH_MOST), 1);
}

/*
 * Gives a projection what an attempt is about; as projection_try(), whose outcome it
 * notes.
 */
bool
batch_attempt(ProjectionRun *run, ProjectionProgress *progress, Outlook *outlook)
{
	bool		failed;
	bool		all = projection_try(run, progress, &failed);

	outlook->handled += run->applied + (failed ? 1 : 0);
	if (all)
		return true;
	if (!failed)
		outlook->more = true;
	if (!progress->failed)
		outlook->due = Min(outlook->due, progress->retry_at);
	return false;
}

/*
 * Look again then.
 */
void
batch_due_in(Outlook *outlook, int milliseconds)
{
	outlook->due = lesser(outlook->due, TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
																 milliseconds));
}
