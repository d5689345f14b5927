/*
 * projection_trial.c
 *		Giving events to a handler as far as it can take them.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "event_store/projection/projection_trial.h"

static bool try_in_hand(ProjectionRun *run, ProjectionProgress *progress, bool *failed);

/*
 * Makes an attempt; when it fails, another one with what came before the
 * failure.  Returns whether all went through; if not, run tells what did, and
 * progress what did not: *failed, unless a handler of arrays has only had fewer.
 */
bool
projection_try(ProjectionRun *run, ProjectionProgress *progress, bool *failed)
{
	ProgressInHand entry;
	bool		all;

	progress_take_in_hand(run->projection, &entry);
	all = try_in_hand(run, progress, failed);
	progress_put_back(&entry);
	return all;
}

static bool
try_in_hand(ProjectionRun *run, ProjectionProgress *progress, bool *failed)
{
	TimestampTz started = GetCurrentTimestamp();
	ErrorData  *error;

	*failed = false;
	if (projection_attempt(run, &error))
	{
		if (run->applied > 0)
			run->projection->event_us = (double) (GetCurrentTimestamp() - started) / run->applied;
		progress_forget_error(progress);
		return true;
	}
	for (;;)
	{
		/* Which of those that it got together it failed at, only fewer of them can tell. */
		if (run->together > 1)
			run->limit = run->applied + run->together / 2;
		else
		{
			progress_note_failure(run->projection, progress, run->position, error);
			*failed = true;
			run->limit = run->applied;
		}
		if (run->limit == 0 || projection_attempt(run, &error))
			return false;
	}
}
