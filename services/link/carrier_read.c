/*
 * carrier_read.c
 *		A link whose source is asked for what comes next, and told what has arrived.
 *
 * When nothing is there a backend of the source waits, which a commit wakes at once: a
 * notification would come over the source's worker.  Where a lane is lost, there is
 * always something that is not read: then the others are looked at now and then.
 *
 * While the target accepts, what comes then is read ahead, from where its lanes will be.
 * Nothing depends on that: what was read and does not follow what the target has in the
 * end is dropped here, or refused there.
 */
#include "link/carrier_parts.h"

#include <stdio.h>
#include <string.h>

#include "lib/context.h"
#include "lib/resilience.h"
#include "link/statements.h"

/* So long a backend of the source waits at once; less than a statement may take. */
#define WAIT_MS 30000
/* While a lane is lost, the others are looked at this often. */
#define LOST_MS 1000

static bool read_lanes(Carrier *carrier, PgDone done);
static void on_read(void *argument, const PgResults *results);
static void not_read(Carrier *carrier, const PgResults *results);
static void nothing_read(Carrier *carrier, int rows);
static void on_ahead(void *argument, const PgResults *results);
static void take_ahead(Carrier *carrier, const PgResults *results);
static bool fill(Carrier *carrier, Portions *portions, const PgResults *results);
static void on_waited(void *argument, const PgResults *results);

/* Tells the source what has arrived, and asks for what comes next. */
void
carrier_read_next(Carrier *carrier)
{
	evtimer_del(carrier->timer);
	carrier_drop_ahead(carrier);
	lanes_forget_sent(&carrier->lanes);
	carrier->phase = PHASE_READING;
	if (!read_lanes(carrier, on_read))
		carrier_rest(carrier, RETRY_MIN_MS);
}

/* Tells it, and asks for what comes when the target has what is on its way. */
void
carrier_read_ahead(Carrier *carrier)
{
	if (carrier->ahead == AHEAD_NONE && read_lanes(carrier, on_ahead))
		carrier->ahead = AHEAD_READING;
}

/* What was read ahead, or is being read, is no longer what comes next. */
void
carrier_drop_ahead(Carrier *carrier)
{
	if (carrier->ahead == AHEAD_READING)
		carrier->ahead = AHEAD_UNWANTED;
	else if (carrier->ahead == AHEAD_READ)
		carrier->ahead = AHEAD_NONE;
	portions_clear(&carrier->next);
}

/* False if the source cannot be asked now. */
static bool
read_lanes(Carrier *carrier, PgDone done)
{
	char		batch[24];
	const char *arrived[4] = {carrier->endpoint};
	const char *wanted[5] = {carrier->endpoint};
	PgStep		steps[2];
	int			nsteps = 0;

	carrier->confirming = lanes_unconfirmed(&carrier->lanes, &carrier->arrived);
	arrived[1] = carrier->arrived.numbers.data;
	arrived[2] = carrier->arrived.positions.data;
	arrived[3] = carrier->arrived.incarnations.data;
	if (carrier->confirming)
		steps[nsteps++] = (PgStep) {&sql_confirm, arrived};
	lanes_readable(&carrier->lanes, &carrier->wanted);
	snprintf(batch, sizeof(batch), "%ld", carrier->batch);
	wanted[1] = carrier->wanted.numbers.data;
	wanted[2] = carrier->wanted.positions.data;
	wanted[3] = carrier->wanted.incarnations.data;
	wanted[4] = batch;
	carrier->read_step = nsteps;
	steps[nsteps++] = (PgStep) {&sql_read, wanted};
	return session_run(carrier->from, steps, nsteps, DEADLINE_MS, done, carrier);
}

static void
on_read(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;

	if (!carrier_expected(carrier, PHASE_READING, results))
		return;
	if (!pg_succeeded(results))
		not_read(carrier, results);
	else if (fill(carrier, &carrier->portions, results))
		carrier_accept(carrier);
	else
		nothing_read(carrier, pg_rows(results, carrier->read_step));
}

static void
not_read(Carrier *carrier, const PgResults *results)
{
	const char *state = pg_sqlstate(results);

	if (strcmp(state, "MB008") != 0 && strcmp(state, "MB009") != 0)
		carrier_retry(carrier, results, "source");
	else if (!carrier->suspect)
	{
		/* Perhaps somebody else has brought and told more than we know. */
		carrier->suspect = true;
		carrier_load(carrier);
	}
	else
	{
		carrier->checked = -1;
		carrier_check_next(carrier);
	}
}

/* Makes portions of what was read; false if there is nothing. */
static bool
fill(Carrier *carrier, Portions *portions, const PgResults *results)
{
	carrier->suspect = false;
	carrier->reached = true;
	if (carrier->confirming)
		lanes_note_confirmed(&carrier->lanes);
	portions_clear(portions);
	portions_fill(portions, carrier->name, &carrier->lanes,
				  &(ReadRow) {results, carrier->read_step, 0},
				  &(PortionLimits) {carrier->width, carrier->batch, carrier->turn++});
	return portions->count > 0;
}

static void
nothing_read(Carrier *carrier, int rows)
{
	/* What may not leave yet is not told of when it may. */
	if (rows > 0)
		carrier_rest(carrier, backoff_delay(carrier->attempt++, RETRY_MIN_MS, RETRY_MAX_MS,
									random_fraction()));
	else if (carrier_hear_is_due(carrier))
		carrier_load(carrier);
	else
		carrier_wait(carrier);
}

static void
on_ahead(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;
	bool		wanted = carrier->ahead == AHEAD_READING;

	carrier->ahead = AHEAD_NONE;
	if (pg_lost(results))
		carrier->phase = PHASE_DOWN;
	else if (wanted)
		take_ahead(carrier, results);
	else
		carrier_on_ready(carrier);
}

/* The target is still busy, or has just accepted what came before. */
static void
take_ahead(Carrier *carrier, const PgResults *results)
{
	if (pg_succeeded(results) && fill(carrier, &carrier->next, results))
		carrier->ahead = AHEAD_READ;
	if (carrier->phase == PHASE_READING)
		carrier_go_on(carrier);
}

/* Nothing to do, until a commit at the source, or a change of the link here. */
void
carrier_wait(Carrier *carrier)
{
	char		wait[32];
	const char *parameters[] = {carrier->endpoint, wait};
	PgStep		step = {&sql_wait, parameters};
	long		idle = carrier->options.idle_ms < HEARTBEAT_MS ? carrier->options.idle_ms
		: HEARTBEAT_MS;

	carrier->attempt = 0;
	if (lanes_any_lost(&carrier->lanes) || carrier->reload)
		carrier_rest(carrier, idle < LOST_MS ? idle : LOST_MS);
	else if (carrier->vain > 1 && !carrier->calmed)
	{
		/* Somebody else is faster each time: let him. */
		carrier->calmed = true;
		carrier_rest(carrier, backoff_delay(carrier->vain, RETRY_MIN_MS, RETRY_MAX_MS,
									random_fraction()));
	}
	else
	{
		carrier->calmed = false;
		snprintf(wait, sizeof(wait), "%ld ms", idle < WAIT_MS ? idle : WAIT_MS);
		carrier->waiting = session_run(carrier->from, &step, 1, DEADLINE_MS, on_waited, carrier);
		carrier->phase = PHASE_WAITING;
		if (!carrier->waiting)
			carrier_rest(carrier, RETRY_MIN_MS);
	}
}

static void
on_waited(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;

	carrier->waiting = false;
	if (!carrier_expected(carrier, PHASE_WAITING, results))
		return;
	if (!pg_succeeded(results))
	{
		carrier_retry(carrier, results, "source");
		return;
	}
	carrier->vain = strcmp(pg_value(results, 0, 0, 0), "t") == 0 ? carrier->vain + 1 : 0;
	carrier_read_next(carrier);
}
