/*
 * carrier.c
 *		One link: what its source forwards is brought to the target.
 *
 * A round: the source is told what has arrived and asked for what comes next, in one
 * trip (carrier_read.c); the target accepts it, a transaction for all lanes
 * (carrier_accept.c); again, until nothing is there.
 *
 * Nothing is kept that the target does not know: after a loss of either connection, a
 * refusal, a restart, the positions are read from the target again.  Two of these for
 * one link do no harm; the slower one is refused and reads the positions again.
 *
 * What the target will not take now is tried again, with pauses that grow, fewer at a
 * time, lane by lane, so that one lane that cannot does not hold the others up.
 */
#include "link/carrier_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/context.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/resilience.h"
#include "lib/session.h"
#include "lib/text.h"
#include "link/source.h"
#include "link/statements.h"

static void on_lost(void *argument);
static void on_timer(evutil_socket_t socket, short what, void *argument);
static void on_loaded(void *argument, const PgResults *results);
static bool is_set_back(const Carrier *carrier, const PgResults *results);

/* Opens the connections; the rest follows by itself. */
Carrier *
carrier_open(const CarrierOptions *options, const char *name, const char *source,
			 const char *endpoint)
{
	Carrier    *carrier = memory_zero(1, sizeof(*carrier));
	SessionOptions session = {.base = options->base, .application = "linkd",
		.setup = carrier->setup, .ready = carrier_on_ready, .lost = on_lost, .argument = carrier};

	carrier->options = *options;
	carrier->name = memory_string(name);
	carrier->source = memory_string(source);
	carrier->endpoint = memory_string(endpoint);
	carrier->conninfo = source_conninfo(source);
	carrier->setup[0] = *options->setup;
	carrier->setup[1] = (PgStep) {&sql_lazily, NULL};
	carrier->batch = options->batch;
	carrier->width = PORTIONS_MAX;
	carrier->timer = evtimer_new(options->base, on_timer, carrier);
	session.conninfo = options->target;
	session.nsetup = 1;
	carrier->to = session_open(&session);
	session.conninfo = carrier->conninfo;
	session.nsetup = 2;
	carrier->from = session_open(&session);
	return carrier;
}

const char *
carrier_name(const Carrier *carrier)
{
	return carrier->name;
}

/* Whether the link still is what it was. */
bool
carrier_is(const Carrier *carrier, const char *name, const char *source, const char *endpoint)
{
	return strcmp(carrier->name, name) == 0 && strcmp(carrier->source, source) == 0 &&
		strcmp(carrier->endpoint, endpoint) == 0;
}

/* "ok", or what keeps it from carrying. */
const char *
carrier_state(const Carrier *carrier)
{
	if (lanes_any_lost(&carrier->lanes))
		return "lost";
	if (carrier->paused)
		return "paused";
	if (carrier->phase == PHASE_DOWN)
		return "unreachable";
	return carrier->trouble[0] ? carrier->trouble : "ok";
}

/* The link was changed at the target. */
void
carrier_changed(Carrier *carrier)
{
	carrier->reload = true;
	if (carrier->phase == PHASE_RESTING || carrier->phase == PHASE_WAITING)
		carrier_load(carrier);
}

void
carrier_close(Carrier *carrier)
{
	session_close(carrier->from);
	session_close(carrier->to);
	event_free(carrier->timer);
	portions_clear(&carrier->portions);
	portions_clear(&carrier->next);
	lanes_forget(&carrier->lanes);
	lane_arrays_free(&carrier->arrived);
	lane_arrays_free(&carrier->wanted);
	text_free(&carrier->loss);
	free(carrier->name);
	free(carrier->source);
	free(carrier->endpoint);
	free(carrier->conninfo);
	free(carrier);
}

/* Begins, if it is down and can. */
void
carrier_on_ready(void *argument)
{
	Carrier    *carrier = argument;

	if (carrier->phase == PHASE_DOWN && session_ready(carrier->to) &&
		(carrier->waiting || session_ready(carrier->from)))
		carrier_load(carrier);
}

static void
on_lost(void *argument)
{
	Carrier    *carrier = argument;

	evtimer_del(carrier->timer);
	carrier_drop_ahead(carrier);
	carrier->phase = PHASE_DOWN;
	metrics_set(&metric_link_up, 0, carrier->name);
}

static void
on_timer(evutil_socket_t socket, short what, void *argument)
{
	Carrier    *carrier = argument;

	(void) socket;
	(void) what;
	if (carrier->phase != PHASE_RESTING)
		return;
	/* After trouble, or a long time, what is known may be no longer so. */
	if (carrier->paused || carrier->trouble[0] ||
		(carrier->attempt == 0 && !lanes_any_lost(&carrier->lanes)))
		carrier_load(carrier);
	else
		carrier_read_next(carrier);
}

/*
 * Whether the results are of what is going on.  When they are not, or the connection
 * is lost, everything begins anew as soon as both ends are ready: now, if the other one
 * was lost and is back.
 */
bool
carrier_expected(Carrier *carrier, Phase phase, const PgResults *results)
{
	if (pg_lost(results))
	{
		carrier->phase = PHASE_DOWN;
		return false;
	}
	if (carrier->phase == phase)
		return true;
	carrier_on_ready(carrier);
	return false;
}

/* Reads from the target how far the lanes are; tells it now and then that the source is there. */
void
carrier_load(Carrier *carrier)
{
	const char *parameters[] = {carrier->name};
	PgStep		steps[] = {{&sql_load, parameters}, {&sql_hear, parameters}};
	bool		hear = carrier_hear_is_due(carrier);

	evtimer_del(carrier->timer);
	carrier_drop_ahead(carrier);
	carrier->reload = false;
	carrier->phase = PHASE_LOADING;
	if (!session_run(carrier->to, steps, hear ? 2 : 1, DEADLINE_MS, on_loaded, carrier))
	{
		/* It is busy with what is no longer wanted, or away. */
		carrier->phase = PHASE_RESTING;
		carrier_rest(carrier, RETRY_MIN_MS);
	}
	else if (hear)
	{
		carrier->reached = false;
		carrier->heard = clock_steady_ms();
	}
}

bool
carrier_hear_is_due(const Carrier *carrier)
{
	return carrier->reached &&
		(carrier->heard == 0 || clock_steady_ms() - carrier->heard >= HEARTBEAT_MS);
}

static void
on_loaded(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;
	int			rows;
	bool		back;

	if (!carrier_expected(carrier, PHASE_LOADING, results))
		return;
	if (!pg_succeeded(results))
	{
		carrier_retry(carrier, results, "positions");
		return;
	}
	rows = pg_rows(results, 0);
	back = is_set_back(carrier, results);
	lanes_forget(&carrier->lanes);
	carrier->paused = rows == 0 || strcmp(pg_value(results, 0, 0, LOAD_PAUSED), "t") == 0;
	for (int i = 0; i < rows; i++)
	{
		const char *lane = pg_value(results, 0, i, LOAD_LANE);

		if (lane)
			lanes_set(&carrier->lanes, atoi(lane),
					  strtoll(pg_value(results, 0, i, LOAD_POSITION), NULL, 10),
					  pg_value(results, 0, i, LOAD_INCARNATION),
					  pg_value(results, 0, i, LOAD_LOST) != NULL);
	}
	metrics_set(&metric_link_up, carrier->paused || lanes_any_lost(&carrier->lanes) ? 0 : 1,
				carrier->name);
	if (carrier->paused)
		carrier_rest(carrier, carrier->options.idle_ms);
	else if (!carrier->waiting)
		carrier_read_next(carrier);
	else if (!back)
		carrier->phase = PHASE_WAITING;
	else
	{
		/* What it waits for there is not what is wanted any more. */
		session_reset(carrier->from);
		carrier->waiting = false;
		on_lost(carrier);
	}
}

/* Whether a lane is to be read anew, by what the target says: from before, or no longer lost. */
static bool
is_set_back(const Carrier *carrier, const PgResults *results)
{
	bool		back = false;

	for (int i = 0; i < pg_rows(results, 0); i++)
	{
		const char *lane = pg_value(results, 0, i, LOAD_LANE);

		if (lane)
			back |= lanes_set_back(&carrier->lanes, atoi(lane),
								   strtoll(pg_value(results, 0, i, LOAD_POSITION), NULL, 10),
								   pg_value(results, 0, i, LOAD_LOST) != NULL);
	}
	return back;
}

/* Nothing to do for so long, unless the link is changed. */
void
carrier_rest(Carrier *carrier, long milliseconds)
{
	struct timeval wait = {milliseconds / 1000, milliseconds % 1000 * 1000};

	carrier->phase = PHASE_RESTING;
	if (carrier->reload)
		carrier_load(carrier);
	else
		evtimer_add(carrier->timer, &wait);
}

/* It went wrong: again, a little later each time. */
void
carrier_retry(Carrier *carrier, const PgResults *results, const char *what)
{
	/* Not a thousand times the same. */
	if ((carrier->attempt & (carrier->attempt - 1)) == 0)
		log_write(LEVEL_WARNING, NULL, "Link {Link}, {What}: {SqlState} {Error}", "Link",
				  carrier->name, "What", what, "SqlState", pg_sqlstate(results), "Error",
				  pg_message(results), NULL);
	copy_string(carrier->trouble, sizeof(carrier->trouble), pg_sqlstate(results));
	carrier_rest(carrier, backoff_delay(carrier->attempt++, RETRY_MIN_MS, RETRY_MAX_MS,
								random_fraction()));
}
