/*
 * feeder.c
 *		One projection: events of its source are brought to it.
 *
 * A round: the source is asked for what comes after the projection's checkpoint, the
 * target applies it; again, until nothing is there.  Then it rests until the source
 * notifies.  Nothing is kept that the target does not know: after a loss of either
 * connection, a refusal, a restart, the checkpoint is read again.  Two of these for one
 * projection do no harm; the slower one is refused.
 *
 * The source is told of nothing.  The target is told now and then how far the source is
 * even if it has no events for the projection, so that somebody can see that it is fed.
 */
#include "link/feeder.h"

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
#include "link/source.h"
#include "link/statements.h"

#define DEADLINE_MS 60000
#define RETRY_MIN_MS 20
#define RETRY_MAX_MS 2000
/* The target is told this often at most that events were not for it, */
#define TELL_MS 1000
/* and at least this often that the source is there. */
#define HEARTBEAT_MS 60000

typedef enum Phase
{
	PHASE_DOWN,					/* a connection is missing, or busy with what is no longer wanted */
	PHASE_LOADING,
	PHASE_READING,
	PHASE_APPLYING,
	PHASE_LOSING,
	PHASE_RESTING
} Phase;

struct Feeder
{
	CarrierOptions options;
	char	   *name;
	char	   *source;
	char	   *category;		/* NULL: all */
	char	   *conninfo;
	PgStatement *listen;
	PgStep		setup_from[3];
	PgStep		setup_to[2];
	Session    *from;
	Session    *to;
	Phase		phase;
	bool		woken;			/* something was told while it was busy */
	bool		reload;			/* projections were changed while it was busy */
	bool		tell;			/* apply though there is no event */
	int			attempt;		/* in a row without success */
	char		trouble[24];	/* what keeps it from feeding, "" when all is well */
	char	   *types;			/* what the target says of the projection */
	char	   *incarnation;
	char		checkpoint[24];
	char		batch[24];
	char		upto[24];		/* of what was read */
	char		head[24];
	char	   *read_from;
	int			count;
	Text		loss;
	struct event *timer;
	struct event *teller;		/* the target is to be told of events that are not for it */
};

static void on_ready(void *argument);
static void on_lost(void *argument);
static void on_notified(void *argument);
static void on_timer(evutil_socket_t socket, short what, void *argument);
static void on_teller(evutil_socket_t socket, short what, void *argument);
static void load(Feeder *feeder);
static void on_loaded(void *argument, const PgResults *results);
static bool stands_still(Feeder *feeder, const PgResults *results);
static void read_next(Feeder *feeder);
static void on_read(void *argument, const PgResults *results);
static void apply(Feeder *feeder, const char *events);
static void on_applied(void *argument, const PgResults *results);
static void lose(Feeder *feeder, const PgResults *why);
static void on_losing(void *argument, const PgResults *results);
static void rest(Feeder *feeder, long milliseconds);
static void retry(Feeder *feeder, const PgResults *results, const char *what);
static bool expected(Feeder *feeder, Phase phase, const PgResults *results);
static void set_string(char **target, const char *value);
static bool same(const char *a, const char *b);

/* Opens the connections; the rest follows by itself. */
Feeder *
feeder_open(const CarrierOptions *options, const char *name, const char *source,
			const char *category)
{
	Feeder	   *feeder = memory_zero(1, sizeof(*feeder));
	SessionOptions session = {.base = options->base, .application = "linkd", .ready = on_ready,
		.lost = on_lost, .argument = feeder};

	feeder->options = *options;
	feeder->name = memory_string(name);
	feeder->source = memory_string(source);
	set_string(&feeder->category, category);
	feeder->conninfo = source_conninfo(source);
	feeder->listen = api_listen_category(category);
	/* What a crash of the target undoes is brought again. */
	feeder->setup_to[0] = feeder->setup_from[0] = *options->setup;
	feeder->setup_to[1] = feeder->setup_from[1] = (PgStep) {&sql_lazily, NULL};
	feeder->setup_from[2] = (PgStep) {feeder->listen, NULL};
	snprintf(feeder->batch, sizeof(feeder->batch), "%ld", options->batch);
	feeder->timer = evtimer_new(options->base, on_timer, feeder);
	feeder->teller = evtimer_new(options->base, on_teller, feeder);
	session.conninfo = options->target;
	session.setup = feeder->setup_to;
	session.nsetup = 2;
	feeder->to = session_open(&session);
	session.conninfo = feeder->conninfo;
	session.setup = feeder->setup_from;
	session.nsetup = 3;
	session.notified = on_notified;
	feeder->from = session_open(&session);
	return feeder;
}

const char *
feeder_name(const Feeder *feeder)
{
	return feeder->name;
}

/* Whether the projection still is what it was. */
bool
feeder_is(const Feeder *feeder, const char *name, const char *source, const char *category)
{
	return same(feeder->name, name) && same(feeder->source, source) &&
		same(feeder->category, category);
}

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* "ok", or what keeps it from feeding. */
const char *
feeder_state(const Feeder *feeder)
{
	if (feeder->phase == PHASE_DOWN)
		return "unreachable";
	return feeder->trouble[0] ? feeder->trouble : "ok";
}

/* Projections were changed at the target. */
void
feeder_changed(Feeder *feeder)
{
	feeder->reload = true;
	if (feeder->phase == PHASE_RESTING)
		load(feeder);
}

void
feeder_close(Feeder *feeder)
{
	session_close(feeder->from);
	session_close(feeder->to);
	event_free(feeder->timer);
	event_free(feeder->teller);
	text_free(&feeder->loss);
	api_free(feeder->listen);
	free(feeder->name);
	free(feeder->source);
	free(feeder->category);
	free(feeder->conninfo);
	free(feeder->types);
	free(feeder->incarnation);
	free(feeder->read_from);
	free(feeder);
}

static void
set_string(char **target, const char *value)
{
	free(*target);
	*target = value ? memory_string(value) : NULL;
}

static void
on_ready(void *argument)
{
	Feeder	   *feeder = argument;

	if (feeder->phase == PHASE_DOWN && session_ready(feeder->from) && session_ready(feeder->to))
		load(feeder);
}

static void
on_lost(void *argument)
{
	Feeder	   *feeder = argument;

	evtimer_del(feeder->timer);
	feeder->phase = PHASE_DOWN;
	metrics_set(&metric_feed_up, 0, feeder->name);
}

static void
on_notified(void *argument)
{
	Feeder	   *feeder = argument;

	feeder->woken = true;
	if (feeder->phase == PHASE_RESTING && !feeder->trouble[0] && feeder->attempt == 0)
		read_next(feeder);
}

static void
on_timer(evutil_socket_t socket, short what, void *argument)
{
	Feeder	   *feeder = argument;

	(void) socket;
	(void) what;
	if (feeder->phase != PHASE_RESTING)
		return;
	feeder->tell = true;
	load(feeder);
}

static void
on_teller(evutil_socket_t socket, short what, void *argument)
{
	Feeder	   *feeder = argument;

	(void) socket;
	(void) what;
	feeder->tell = true;
	if (feeder->phase == PHASE_RESTING && !feeder->trouble[0] && feeder->attempt == 0)
		read_next(feeder);
}

/*
 * Whether the results are of what is going on.  When they are not, or the connection
 * is lost, everything begins anew as soon as both ends are ready.
 */
static bool
expected(Feeder *feeder, Phase phase, const PgResults *results)
{
	if (pg_lost(results))
	{
		feeder->phase = PHASE_DOWN;
		return false;
	}
	return feeder->phase == phase;
}

/* Reads from the target how far the projection is. */
static void
load(Feeder *feeder)
{
	const char *parameters[] = {feeder->name};
	PgStep		step = {&sql_load_feed, parameters};

	evtimer_del(feeder->timer);
	feeder->reload = false;
	feeder->phase = PHASE_LOADING;
	if (!session_run(feeder->to, &step, 1, DEADLINE_MS, on_loaded, feeder))
	{
		/* It is busy with what is no longer wanted, or away. */
		feeder->phase = PHASE_RESTING;
		rest(feeder, RETRY_MIN_MS);
	}
}

static void
on_loaded(void *argument, const PgResults *results)
{
	Feeder	   *feeder = argument;

	if (!expected(feeder, PHASE_LOADING, results))
		return;
	if (!pg_succeeded(results))
	{
		retry(feeder, results, "target");
		return;
	}
	if (stands_still(feeder, results))
		return;
	copy_string(feeder->checkpoint, sizeof(feeder->checkpoint),
				pg_value(results, 0, 0, FEED_CHECKPOINT));
	set_string(&feeder->types, pg_value(results, 0, 0, FEED_TYPES));
	set_string(&feeder->incarnation, pg_value(results, 0, 0, FEED_INCARNATION));
	read_next(feeder);
}

/* Whether the projection takes nothing now; then it rests until it is told, or may. */
static bool
stands_still(Feeder *feeder, const PgResults *results)
{
	const char *state = pg_rows(results, 0) == 0 ? "gone" : pg_value(results, 0, 0, FEED_STATE);
	bool		still = strcmp(state, "running") != 0;

	metrics_set(&metric_feed_up, still ? 0 : 1, feeder->name);
	if (!still)
		return false;
	copy_string(feeder->trouble, sizeof(feeder->trouble), state);
	feeder->phase = PHASE_RESTING;
	/* One that tries again says when. */
	if (strcmp(state, "retrying") == 0)
		rest(feeder, atol(pg_value(results, 0, 0, FEED_RETRY_MS)) + 1);
	else
		rest(feeder, HEARTBEAT_MS);
	return true;
}

/* Asks the source for what comes next. */
static void
read_next(Feeder *feeder)
{
	const char *parameters[] = {feeder->checkpoint, feeder->batch, feeder->category,
	feeder->types, feeder->incarnation};
	PgStep		step = {&sql_read_feed, parameters};

	evtimer_del(feeder->timer);
	feeder->woken = false;
	feeder->phase = PHASE_READING;
	if (!session_run(feeder->from, &step, 1, DEADLINE_MS, on_read, feeder))
		rest(feeder, RETRY_MIN_MS);
}

static void
on_read(void *argument, const PgResults *results)
{
	Feeder	   *feeder = argument;
	struct timeval wait = {TELL_MS / 1000, TELL_MS % 1000 * 1000};

	if (!expected(feeder, PHASE_READING, results))
		return;
	if (!pg_succeeded(results))
	{
		if (strcmp(pg_sqlstate(results), "ST021") == 0)
			lose(feeder, results);
		else
			retry(feeder, results, "source");
		return;
	}
	if (pg_rows(results, 0) == 0)
	{
		/* What may not leave yet is not told of when it may. */
		rest(feeder, backoff_delay(feeder->attempt++, RETRY_MIN_MS, RETRY_MAX_MS,
								   random_fraction()));
		return;
	}
	copy_string(feeder->upto, sizeof(feeder->upto), pg_value(results, 0, 0, READ_FEED_UPTO));
	copy_string(feeder->head, sizeof(feeder->head), pg_value(results, 0, 0, READ_FEED_HEAD));
	set_string(&feeder->read_from, pg_value(results, 0, 0, READ_FEED_FROM));
	feeder->count = atoi(pg_value(results, 0, 0, READ_FEED_COUNT));
	if (feeder->count > 0 || feeder->tell || strcmp(feeder->upto, feeder->head) != 0)
	{
		apply(feeder, pg_value(results, 0, 0, READ_FEED_EVENTS));
		return;
	}
	feeder->attempt = 0;
	feeder->trouble[0] = '\0';
	if (strcmp(feeder->upto, feeder->checkpoint) != 0 && !evtimer_pending(feeder->teller, NULL))
		evtimer_add(feeder->teller, &wait);
	rest(feeder, HEARTBEAT_MS);
}

/* Hands what was read to the target. */
static void
apply(Feeder *feeder, const char *events)
{
	const char *parameters[] = {feeder->name, feeder->checkpoint, events, feeder->upto,
	feeder->read_from, feeder->head};
	PgStep		step = {&sql_apply_feed, parameters};

	feeder->phase = PHASE_APPLYING;
	if (!session_run(feeder->to, &step, 1, DEADLINE_MS, on_applied, feeder))
		rest(feeder, RETRY_MIN_MS);
}

static void
on_applied(void *argument, const PgResults *results)
{
	Feeder	   *feeder = argument;
	int			taken;

	if (!expected(feeder, PHASE_APPLYING, results))
		return;
	if (!pg_succeeded(results))
	{
		const char *state = pg_sqlstate(results);

		/* Somebody else was faster; it was paused, lost or dropped. */
		if (strcmp(state, "ST020") == 0 || strcmp(state, "55000") == 0 ||
			strcmp(state, "ST021") == 0 || strcmp(state, "ST012") == 0)
		{
			metrics_count(&metric_feed_events, 1, feeder->name, "stale");
			feeder->phase = PHASE_RESTING;
			load(feeder);
		}
		else
			retry(feeder, results, "target");
		return;
	}
	taken = atoi(pg_value(results, 0, 0, 0));
	metrics_count(&metric_feed_events, taken, feeder->name, "applied");
	if (feeder->trouble[0])
		log_write(LEVEL_INFORMATION, NULL, "Projection {Projection} is fed again", "Projection",
				  feeder->name, NULL);
	feeder->trouble[0] = '\0';
	feeder->attempt = 0;
	feeder->tell = false;
	evtimer_del(feeder->teller);
	if (taken < feeder->count)
		metrics_count(&metric_feed_events, 1, feeder->name, "failed");
	if (taken < feeder->count || feeder->reload)
	{
		load(feeder);
		return;
	}
	copy_string(feeder->checkpoint, sizeof(feeder->checkpoint), feeder->upto);
	set_string(&feeder->incarnation, feeder->read_from);
	if (feeder->count > 0 || feeder->woken || strcmp(feeder->upto, feeder->head) != 0)
		read_next(feeder);
	else
		rest(feeder, HEARTBEAT_MS);
}

/*
 * The source does not have what the target has had of it.  The target notes it, if the
 * projection is where we think; else somebody else was faster.
 */
static void
lose(Feeder *feeder, const PgResults *why)
{
	const char *parameters[] = {feeder->name, feeder->checkpoint, pg_sqlstate(why), NULL};
	PgStep		step = {&sql_lose_feed, parameters};

	text_reset(&feeder->loss);
	text_format(&feeder->loss, "%s. %s", pg_message(why), pg_detail(why) ? pg_detail(why) : "");
	parameters[3] = feeder->loss.data;
	feeder->phase = PHASE_LOSING;
	if (!session_run(feeder->to, &step, 1, DEADLINE_MS, on_losing, feeder))
		rest(feeder, RETRY_MIN_MS);
}

static void
on_losing(void *argument, const PgResults *results)
{
	Feeder	   *feeder = argument;

	if (!expected(feeder, PHASE_LOSING, results))
		return;
	if (!pg_succeeded(results))
	{
		retry(feeder, results, "target");
		return;
	}
	if (strcmp(pg_value(results, 0, 0, 0), "t") == 0)
		log_write(LEVEL_ERROR, NULL, "Projection {Projection} has lost its source: {Error}",
				  "Projection", feeder->name, "Error", feeder->loss.data, NULL);
	load(feeder);
}

/* Nothing to do for so long, unless something is told. */
static void
rest(Feeder *feeder, long milliseconds)
{
	struct timeval wait = {milliseconds / 1000, milliseconds % 1000 * 1000};

	feeder->phase = PHASE_RESTING;
	if (feeder->reload)
		load(feeder);
	else if (feeder->woken && !feeder->trouble[0] && feeder->attempt == 0)
		read_next(feeder);
	else
		evtimer_add(feeder->timer, &wait);
}

/* It went wrong: again, a little later each time. */
static void
retry(Feeder *feeder, const PgResults *results, const char *what)
{
	/* Not a thousand times the same. */
	if ((feeder->attempt & (feeder->attempt - 1)) == 0)
		log_write(LEVEL_WARNING, NULL, "Projection {Projection}, {What}: {SqlState} {Error}",
				  "Projection", feeder->name, "What", what, "SqlState", pg_sqlstate(results),
				  "Error", pg_message(results), NULL);
	copy_string(feeder->trouble, sizeof(feeder->trouble), pg_sqlstate(results));
	rest(feeder, backoff_delay(feeder->attempt++, RETRY_MIN_MS, RETRY_MAX_MS, random_fraction()));
}
