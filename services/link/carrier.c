/*
 * carrier.c
 *		One link: what its source forwards is brought to the target.
 *
 * A round: the source is told what has arrived and asked for what comes next, in one
 * trip; the target accepts it, a transaction for all lanes; again, until nothing is
 * there.  Then a backend of the source waits, which a commit wakes at once: a
 * notification would come over the source's worker.  Where a lane is lost, there is
 * always something that is not read: then it rests until it is notified.
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

#include "lib/api.h"
#include "lib/context.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/resilience.h"
#include "lib/session.h"
#include "lib/text.h"
#include "link/lanes.h"
#include "link/portion.h"
#include "link/source.h"
#include "link/statements.h"

#define RETRY_MAX_MS 2000
/* At least this often the target is told that the source is there. */
#define HEARTBEAT_MS 60000
/* So long a backend of the source waits at once; less than a statement may take. */
#define WAIT_MS 30000

static void on_ready(void *argument);
static void on_lost(void *argument);
static void on_notified(void *argument);
static void on_timer(evutil_socket_t socket, short what, void *argument);
static bool hear_is_due(const Carrier *carrier);
static void on_loaded(void *argument, const PgResults *results);
static void read_next(Carrier *carrier);
static void on_read(void *argument, const PgResults *results);
static void accept_portions(Carrier *carrier, const PgResults *results, int step);
static void on_accepted(void *argument, const PgResults *results);
static void not_accepted(Carrier *carrier, const PgResults *results);
static void wait_for_news(Carrier *carrier);
static void on_waited(void *argument, const PgResults *results);
static bool is_set_back(const Carrier *carrier, const PgResults *results);

/* Opens the connections; the rest follows by itself. */
Carrier *
carrier_open(const CarrierOptions *options, const char *name, const char *source,
			 const char *endpoint)
{
	Carrier    *carrier = memory_zero(1, sizeof(*carrier));
	SessionOptions session = {.base = options->base, .application = "linkd",
		.setup = carrier->setup, .ready = on_ready, .lost = on_lost, .argument = carrier};

	carrier->options = *options;
	carrier->name = memory_string(name);
	carrier->source = memory_string(source);
	carrier->endpoint = memory_string(endpoint);
	carrier->conninfo = source_conninfo(source);
	carrier->listen = api_listen(endpoint);
	carrier->setup[0] = *options->setup;
	carrier->setup[1] = (PgStep) {&sql_lazily, NULL};
	carrier->batch = options->batch;
	carrier->width = MAX_WIDTH;
	carrier->timer = evtimer_new(options->base, on_timer, carrier);
	session.conninfo = options->target;
	session.nsetup = 1;
	carrier->to = session_open(&session);
	session.conninfo = carrier->conninfo;
	session.nsetup = 2;
	session.notified = on_notified;
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
	for (int i = 0; i < MAX_WIDTH; i++)
		free(carrier->portions[i].incarnation);
	lanes_forget(&carrier->lanes);
	lane_arrays_free(&carrier->arrived);
	lane_arrays_free(&carrier->wanted);
	text_free(&carrier->loss);
	api_free(carrier->listen);
	free(carrier->name);
	free(carrier->source);
	free(carrier->endpoint);
	free(carrier->conninfo);
	free(carrier);
}

static void
on_ready(void *argument)
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
	carrier->phase = PHASE_DOWN;
	metrics_set(&metric_link_up, 0, carrier->name);
}

static void
on_notified(void *argument)
{
	Carrier    *carrier = argument;

	carrier->woken = true;
	if (carrier->phase == PHASE_RESTING && !carrier->paused)
		read_next(carrier);
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
	if (carrier->paused || carrier->trouble[0] || carrier->attempt == 0)
		carrier_load(carrier);
	else
		read_next(carrier);
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
	on_ready(carrier);
	return false;
}

/* Reads from the target how far the lanes are; tells it now and then that the source is there. */
void
carrier_load(Carrier *carrier)
{
	const char *parameters[] = {carrier->name};
	PgStep		steps[] = {{&sql_load, parameters}, {&sql_hear, parameters}};
	bool		hear = hear_is_due(carrier);

	evtimer_del(carrier->timer);
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

static bool
hear_is_due(const Carrier *carrier)
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
		read_next(carrier);
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

/* Tells the source what has arrived, and asks for what comes next. */
static void
read_next(Carrier *carrier)
{
	char		batch[24];
	const char *arrived[4] = {carrier->endpoint};
	const char *wanted[5] = {carrier->endpoint};
	PgStep		steps[3];
	int			nsteps = 0;

	evtimer_del(carrier->timer);
	carrier->woken = false;
	if (lanes_any_lost(&carrier->lanes))
		steps[nsteps++] = (PgStep) {carrier->listen, NULL};
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
	carrier->phase = PHASE_READING;
	if (!session_run(carrier->from, steps, nsteps, DEADLINE_MS, on_read, carrier))
		carrier_rest(carrier, RETRY_MIN_MS);
}

static void
on_read(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;

	if (!carrier_expected(carrier, PHASE_READING, results))
		return;
	if (!pg_succeeded(results))
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
		return;
	}
	carrier->suspect = false;
	carrier->reached = true;
	if (carrier->confirming)
		lanes_note_confirmed(&carrier->lanes);
	accept_portions(carrier, results, carrier->read_step);
}

/* Hands what was read to the target. */
static void
accept_portions(Carrier *carrier, const PgResults *results, int step)
{
	int			rows = pg_rows(results, step);
	PgStep		steps[MAX_WIDTH];

	carrier->nportions = 0;
	for (int i = 0; i < rows && carrier->nportions < carrier->width; i++)
	{
		int			row = (i + carrier->turn) % rows;

		if (atoi(pg_value(results, step, row, READ_COUNT)) > 0)
			portion_fill(&carrier->portions[carrier->nportions++], carrier->name, &carrier->lanes,
						 &(ReadRow) {results, step, row});
	}
	carrier->turn++;
	if (carrier->nportions == 0)
	{
		/* What may not leave yet is not told of when it may. */
		if (rows > 0)
			carrier_rest(carrier, backoff_delay(carrier->attempt++, RETRY_MIN_MS, RETRY_MAX_MS,
										random_fraction()));
		else if (hear_is_due(carrier))
			carrier_load(carrier);
		else
			wait_for_news(carrier);
		return;
	}
	carrier->vain = 0;
	for (int i = 0; i < carrier->nportions; i++)
		steps[i] = (PgStep) {&sql_accept, carrier->portions[i].values,
		carrier->portions[i].lengths};
	carrier->phase = PHASE_ACCEPTING;
	if (!session_run(carrier->to, steps, carrier->nportions, DEADLINE_MS, on_accepted, carrier))
		carrier_rest(carrier, RETRY_MIN_MS);
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
	for (int i = 0; i < carrier->nportions; i++)
	{
		Portion    *portion = &carrier->portions[i];
		int			taken = atoi(pg_value(results, i, 0, 0));

		lanes_moved(&carrier->lanes, portion->lane, portion->upto, portion->incarnation);
		metrics_count(&metric_link_messages, taken, carrier->name, "accepted");
		if (portion->count > taken)
			metrics_count(&metric_link_messages, portion->count - taken, carrier->name, "refused");
	}
	if (carrier->trouble[0])
		log_write(LEVEL_INFORMATION, NULL, "Link {Link} carries again", "Link", carrier->name,
				  NULL);
	carrier->trouble[0] = '\0';
	carrier->attempt = 0;
	carrier->heard = clock_steady_ms();
	carrier->width = carrier->width * 2 < MAX_WIDTH ? carrier->width * 2 : MAX_WIDTH;
	carrier->batch = carrier->batch * 2 < carrier->options.batch ? carrier->batch * 2
		: carrier->options.batch;
	if (carrier->reload)
		carrier_load(carrier);
	else
		read_next(carrier);
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

/* Nothing to do, until a commit at the source, or a change of the link here. */
static void
wait_for_news(Carrier *carrier)
{
	char		wait[32];
	const char *parameters[] = {carrier->endpoint, wait};
	PgStep		step = {&sql_wait, parameters};
	long		idle = carrier->options.idle_ms < HEARTBEAT_MS ? carrier->options.idle_ms
		: HEARTBEAT_MS;

	carrier->attempt = 0;
	if (lanes_any_lost(&carrier->lanes) || carrier->reload)
		carrier_rest(carrier, idle);
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
	read_next(carrier);
}

/* Nothing to do for so long, unless something is told. */
void
carrier_rest(Carrier *carrier, long milliseconds)
{
	struct timeval wait = {milliseconds / 1000, milliseconds % 1000 * 1000};

	carrier->phase = PHASE_RESTING;
	if (carrier->reload)
		carrier_load(carrier);
	else if (carrier->woken && !carrier->paused && carrier->attempt == 0)
		read_next(carrier);
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
