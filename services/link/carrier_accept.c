/*
 * carrier_accept.c
 *		A link whose target takes in what was read.
 *
 * Meanwhile the source is asked for what comes then, if there is more: so neither of
 * the two waits for the other.  It is thrown away if the target does not accept.
 */
#include "link/carrier_parts.h"

#include <stdlib.h>
#include <string.h>

#include "lib/context.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "link/statements.h"

static void on_accepted(void *argument, const PgResults *results);
static void note_accepted(Carrier *carrier, const PgResults *results);
static void not_accepted(Carrier *carrier, const PgResults *results);

/* Hands the portions to the target. */
void
carrier_accept(Carrier *carrier)
{
	PgStep		steps[PORTIONS_MAX];
	Portions   *portions = &carrier->portions;

	for (int i = 0; i < portions->count; i++)
	{
		Portion    *portion = &portions->portion[i];

		/* A lane is at most once among them. */
		steps[i] = (PgStep) {&sql_accept, portion->values, portion->lengths};
		lanes_sent(&carrier->lanes, portion->lane, portion->upto, portion->incarnation);
	}
	carrier->vain = 0;
	carrier->phase = PHASE_ACCEPTING;
	if (!session_run(carrier->to, steps, portions->count, DEADLINE_MS, on_accepted, carrier))
		carrier_rest(carrier, RETRY_MIN_MS);
	else if (portions->full)
		carrier_read_ahead(carrier);
}

static void
on_accepted(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;

	if (!carrier_expected(carrier, PHASE_ACCEPTING, results))
		return;
	if (!pg_succeeded(results))
	{
		not_accepted(carrier, results);
		return;
	}
	note_accepted(carrier, results);
	if (carrier->trouble[0])
		log_write(LEVEL_INFORMATION, NULL, "Link {Link} carries again", "Link", carrier->name,
				  NULL);
	carrier->trouble[0] = '\0';
	carrier->attempt = 0;
	carrier->heard = clock_steady_ms();
	carrier->width = carrier->width * 2 < PORTIONS_MAX ? carrier->width * 2 : PORTIONS_MAX;
	carrier->batch = carrier->batch * 2 < carrier->options.batch ? carrier->batch * 2
		: carrier->options.batch;
	carrier_go_on(carrier);
}

static void
note_accepted(Carrier *carrier, const PgResults *results)
{
	for (int i = 0; i < carrier->portions.count; i++)
	{
		const Portion *portion = &carrier->portions.portion[i];
		int			taken = atoi(pg_value(results, i, 0, 0));

		lanes_moved(&carrier->lanes, portion->lane, portion->upto, portion->incarnation);
		metrics_count(&metric_link_messages, taken, carrier->name, "accepted");
		if (portion->count > taken)
			metrics_count(&metric_link_messages, portion->count - taken, carrier->name, "refused");
	}
	portions_clear(&carrier->portions);
}

/* What comes then has been read, is being read, or is to be. */
void
carrier_go_on(Carrier *carrier)
{
	if (carrier->reload)
		carrier_load(carrier);
	else if (carrier->ahead == AHEAD_READ)
	{
		carrier->portions = carrier->next;
		carrier->next.count = 0;
		carrier->ahead = AHEAD_NONE;
		carrier_accept(carrier);
	}
	else if (carrier->ahead == AHEAD_READING)
		carrier->phase = PHASE_READING;
	else
		carrier_read_next(carrier);
}

/* Nothing of it was taken: why, and what now. */
static void
not_accepted(Carrier *carrier, const PgResults *results)
{
	const char *state = pg_sqlstate(results);

	/* Somebody else was faster; the link was paused, lost or dropped. */
	if (strcmp(state, "MB007") == 0 || strcmp(state, "55000") == 0 || strcmp(state, "MB008") == 0 ||
		strcmp(state, "MB010") == 0)
	{
		metrics_count(&metric_link_messages, 1, carrier->name, "stale");
		carrier_load(carrier);
		return;
	}
	if (carrier->width == 1 && carrier->batch > 1)
		carrier->batch /= 2;
	carrier->width = 1;
	carrier_retry(carrier, results, "target");
}
