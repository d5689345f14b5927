/*
 * carrier.c
 *		One link: what its source forwards is brought to the target.
 *
 * A round: the source is told what has arrived and asked for what comes next, in one
 * trip; the target accepts it, a transaction for all lanes; again, until nothing is
 * there.  Then it rests until the source notifies.
 *
 * Nothing is kept that the target does not know: after a loss of either connection, a
 * refusal, a restart, the positions are read from the target again.  Two of these for
 * one link do no harm; the slower one is refused and reads the positions again.
 *
 * What the target will not take now is tried again, with pauses that grow, fewer at a
 * time, lane by lane, so that one lane that cannot does not hold the others up.
 */
#include "link/carrier.h"

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

#define DEADLINE_MS 60000
#define RETRY_MIN_MS 20
#define RETRY_MAX_MS 2000
/* At least this often the target is told that the source is there. */
#define HEARTBEAT_MS 60000
/* Lanes that the target accepts in one transaction. */
#define MAX_WIDTH 32

typedef enum Phase
{
	PHASE_DOWN,					/* a connection is missing, or busy with what is no longer wanted */
	PHASE_LOADING,
	PHASE_READING,
	PHASE_ACCEPTING,
	PHASE_CHECKING,				/* which lane it is that the source refuses */
	PHASE_LOSING,
	PHASE_RESTING
} Phase;

struct Carrier
{
	CarrierOptions options;
	char	   *name;
	char	   *source;
	char	   *endpoint;
	char	   *conninfo;
	PgStatement *listen;
	PgStep		setup[3];
	Session    *from;
	Session    *to;
	Phase		phase;
	bool		paused;
	bool		woken;			/* something was told while it was busy */
	bool		reload;			/* the link was changed while it was busy */
	bool		confirming;		/* the reading under way tells what has arrived */
	bool		reached;		/* the source has answered since the target was told so */
	uint64_t	heard;			/* when it was told, or took something */
	int			attempt;		/* in a row without success */
	char		trouble[6];		/* SQLSTATE of the last one, "" when all is well */
	long		batch;
	int			width;
	int			turn;
	Lanes		lanes;
	LaneArrays	arrived;
	LaneArrays	wanted;
	Portion		portions[MAX_WIDTH];
	int			nportions;
	bool		suspect;		/* the source has refused a position */
	int			checked;		/* lane that is being checked */
	Text		loss;			/* why that one is lost */
	struct event *timer;
};

static void on_ready(void *argument);
static void on_lost(void *argument);
static void on_notified(void *argument);
static void on_timer(evutil_socket_t socket, short what, void *argument);
static void load(Carrier *carrier);
static bool hear_is_due(const Carrier *carrier);
static void on_loaded(void *argument, const PgResults *results);
static void read_next(Carrier *carrier);
static void on_read(void *argument, const PgResults *results);
static void accept_portions(Carrier *carrier, const PgResults *results, int step);
static void on_accepted(void *argument, const PgResults *results);
static void not_accepted(Carrier *carrier, const PgResults *results);
static void check_next(Carrier *carrier);
static void on_checked(void *argument, const PgResults *results);
static void lose(Carrier *carrier, const PgResults *why);
static void on_losing(void *argument, const PgResults *results);
static void rest(Carrier *carrier, long milliseconds);
static void retry(Carrier *carrier, const PgResults *results, const char *what);
static bool expected(Carrier *carrier, Phase phase, const PgResults *results);

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
	carrier->setup[2] = (PgStep) {carrier->listen, NULL};
	carrier->batch = options->batch;
	carrier->width = MAX_WIDTH;
	carrier->timer = evtimer_new(options->base, on_timer, carrier);
	session.conninfo = options->target;
	session.nsetup = 1;
	carrier->to = session_open(&session);
	session.conninfo = carrier->conninfo;
	session.nsetup = 3;
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
	if (carrier->phase == PHASE_RESTING)
		load(carrier);
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

	if (carrier->phase == PHASE_DOWN && session_ready(carrier->from) &&
		session_ready(carrier->to))
		load(carrier);
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
		load(carrier);
	else
		read_next(carrier);
}

/*
 * Whether the results are of what is going on.  When they are not, or the connection
 * is lost, everything begins anew as soon as both ends are ready.
 */
static bool
expected(Carrier *carrier, Phase phase, const PgResults *results)
{
	if (pg_lost(results))
	{
		carrier->phase = PHASE_DOWN;
		return false;
	}
	return carrier->phase == phase;
}

/* Reads from the target how far the lanes are; tells it now and then that the source is there. */
static void
load(Carrier *carrier)
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
		rest(carrier, RETRY_MIN_MS);
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

	if (!expected(carrier, PHASE_LOADING, results))
		return;
	if (!pg_succeeded(results))
	{
		retry(carrier, results, "positions");
		return;
	}
	rows = pg_rows(results, 0);
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
		rest(carrier, carrier->options.idle_ms);
	else
		read_next(carrier);
}

/* Tells the source what has arrived, and asks for what comes next. */
static void
read_next(Carrier *carrier)
{
	char		batch[24];
	const char *arrived[4] = {carrier->endpoint};
	const char *wanted[5] = {carrier->endpoint};
	PgStep		steps[2];
	int			nsteps = 0;

	evtimer_del(carrier->timer);
	carrier->woken = false;
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
	steps[nsteps++] = (PgStep) {&sql_read, wanted};
	carrier->phase = PHASE_READING;
	if (!session_run(carrier->from, steps, nsteps, DEADLINE_MS, on_read, carrier))
		rest(carrier, RETRY_MIN_MS);
}

static void
on_read(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;
	int			step = carrier->confirming ? 1 : 0;

	if (!expected(carrier, PHASE_READING, results))
		return;
	if (!pg_succeeded(results))
	{
		const char *state = pg_sqlstate(results);

		if (strcmp(state, "MB008") != 0 && strcmp(state, "MB009") != 0)
			retry(carrier, results, "source");
		else if (!carrier->suspect)
		{
			/* Perhaps somebody else has brought and told more than we know. */
			carrier->suspect = true;
			load(carrier);
		}
		else
		{
			carrier->checked = -1;
			check_next(carrier);
		}
		return;
	}
	carrier->suspect = false;
	carrier->reached = true;
	if (carrier->confirming)
		lanes_note_confirmed(&carrier->lanes);
	accept_portions(carrier, results, step);
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
			rest(carrier, backoff_delay(carrier->attempt++, RETRY_MIN_MS, RETRY_MAX_MS,
										random_fraction()));
		else if (hear_is_due(carrier))
			load(carrier);
		else
		{
			carrier->attempt = 0;
			rest(carrier, carrier->options.idle_ms < HEARTBEAT_MS ? carrier->options.idle_ms
				 : HEARTBEAT_MS);
		}
		return;
	}
	for (int i = 0; i < carrier->nportions; i++)
		steps[i] = (PgStep) {&sql_accept, carrier->portions[i].values,
		carrier->portions[i].lengths};
	carrier->phase = PHASE_ACCEPTING;
	if (!session_run(carrier->to, steps, carrier->nportions, DEADLINE_MS, on_accepted, carrier))
		rest(carrier, RETRY_MIN_MS);
}

static void
on_accepted(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;

	if (!expected(carrier, PHASE_ACCEPTING, results))
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
		load(carrier);
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
		load(carrier);
		return;
	}
	if (carrier->width == 1 && carrier->batch > 1)
		carrier->batch /= 2;
	carrier->width = 1;
	retry(carrier, results, "target");
}

/* Asks for the next lane whether the source refuses it; after the last begins anew. */
static void
check_next(Carrier *carrier)
{
	char		lane[24];
	char		position[24];
	const char *parameters[4] = {carrier->endpoint, lane, position};
	PgStep		step = {&sql_check, parameters};

	do
		carrier->checked++;
	while (carrier->checked < LANES_MAX && carrier->lanes.lane[carrier->checked].lost);
	if (carrier->checked >= LANES_MAX)
	{
		load(carrier);
		return;
	}
	snprintf(lane, sizeof(lane), "%d", carrier->checked);
	snprintf(position, sizeof(position), "%lld", carrier->lanes.lane[carrier->checked].position);
	parameters[3] = carrier->lanes.lane[carrier->checked].incarnation;
	carrier->phase = PHASE_CHECKING;
	if (!session_run(carrier->from, &step, 1, DEADLINE_MS, on_checked, carrier))
		rest(carrier, RETRY_MIN_MS);
}

static void
on_checked(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;
	const char *state;

	if (!expected(carrier, PHASE_CHECKING, results))
		return;
	state = pg_succeeded(results) ? "00000" : pg_sqlstate(results);
	if (strcmp(state, "MB008") == 0 || strcmp(state, "MB009") == 0)
		lose(carrier, results);
	else if (strcmp(state, "22023") == 0)
		load(carrier);			/* there are no more lanes */
	else if (strcmp(state, "00000") == 0)
		check_next(carrier);
	else
		retry(carrier, results, "source");
}

/*
 * The source does not have what the target has, or no longer what it has not.  The
 * target notes it, if its lane is where we think; else somebody else was faster.
 */
static void
lose(Carrier *carrier, const PgResults *why)
{
	char		lane[24];
	char		position[24];
	const char *parameters[5] = {carrier->name, lane, position, pg_sqlstate(why)};
	PgStep		step = {&sql_lose, parameters};

	snprintf(lane, sizeof(lane), "%d", carrier->checked);
	snprintf(position, sizeof(position), "%lld", carrier->lanes.lane[carrier->checked].position);
	text_reset(&carrier->loss);
	text_format(&carrier->loss, "%s. %s", pg_message(why), pg_detail(why) ? pg_detail(why) : "");
	parameters[4] = carrier->loss.data;
	carrier->phase = PHASE_LOSING;
	if (!session_run(carrier->to, &step, 1, DEADLINE_MS, on_losing, carrier))
		rest(carrier, RETRY_MIN_MS);
}

static void
on_losing(void *argument, const PgResults *results)
{
	Carrier    *carrier = argument;

	if (!expected(carrier, PHASE_LOSING, results))
		return;
	if (!pg_succeeded(results))
	{
		retry(carrier, results, "target");
		return;
	}
	if (strcmp(pg_value(results, 0, 0, 0), "t") == 0)
		log_write(LEVEL_ERROR, NULL, "Link {Link} is lost: {Error}", "Link", carrier->name,
				  "Error", carrier->loss.data, NULL);
	check_next(carrier);
}

/* Nothing to do for so long, unless something is told. */
static void
rest(Carrier *carrier, long milliseconds)
{
	struct timeval wait = {milliseconds / 1000, milliseconds % 1000 * 1000};

	carrier->phase = PHASE_RESTING;
	if (carrier->reload)
		load(carrier);
	else if (carrier->woken && !carrier->paused && carrier->attempt == 0)
		read_next(carrier);
	else
		evtimer_add(carrier->timer, &wait);
}

/* It went wrong: again, a little later each time. */
static void
retry(Carrier *carrier, const PgResults *results, const char *what)
{
	/* Not a thousand times the same. */
	if ((carrier->attempt & (carrier->attempt - 1)) == 0)
		log_write(LEVEL_WARNING, NULL, "Link {Link}, {What}: {SqlState} {Error}", "Link",
				  carrier->name, "What", what, "SqlState", pg_sqlstate(results), "Error",
				  pg_message(results), NULL);
	copy_string(carrier->trouble, sizeof(carrier->trouble), pg_sqlstate(results));
	rest(carrier, backoff_delay(carrier->attempt++, RETRY_MIN_MS, RETRY_MAX_MS,
								random_fraction()));
}
