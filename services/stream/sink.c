/*
 * sink.c
 *		One sink: events of the store are brought to a target.
 *
 * Once the target is open and has said where it is, a round: read what comes next,
 * publish it together with the place after it; again, until nothing is there.  Nothing
 * is kept that the target does not know.  After any trouble it is opened anew, and says
 * where it is.
 *
 * One process at a time does this for a sink, since its session holds a lock that ends
 * with it; a silent session is ended by the server.  That is for peace: who has lost his
 * session and does not know it yet is shut out by the target.
 *
 * The database is told now and then where the target is.  A target that has less than it
 * once had, or that has what this database does not hold, is lost.
 */
#include "stream/sink.h"

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
#include "stream/courier.h"
#include "stream/statements.h"

#define DEADLINE_MS 60000
#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 5000
/* Well within the time after which the server ends a silent session. */
#define IDLE_MS 20000
/* Whether the one who publishes is still there. */
#define STANDBY_MS 5000
/* The database is told of the place this often at most. */
#define NOTE_MS 1000

typedef enum Phase
{
	PHASE_DOWN,					/* no session */
	PHASE_CLAIMING,
	PHASE_STANDBY,
	PHASE_CONNECTING,
	PHASE_READING,
	PHASE_PUBLISHING,
	PHASE_LOSING,
	PHASE_RESTING
} Phase;

typedef struct Sink
{
	SinkSettings settings;
	char	   *name;
	json_t	   *options;
	char		batch[24];
	PgStatement *listen;
	PgStep		setup[3];
	Session    *session;
	Courier    *courier;
	Phase		phase;
	bool		busy;			/* the courier is out */
	bool		connected;		/* the target is open, and place is where it is */
	bool		mine;			/* nobody else publishes */
	bool		noting;			/* the steps that were sent begin with a note */
	bool		woken;			/* something was told while it was busy */
	bool		draining;
	long long	generation;		/* what the database has said of the sink */
	long long	starts_after;
	long long	noted;			/* where the target was, -1: that is not known */
	Place		place;			/* where it is */
	long long	after;			/* read up to here; what was not wanted is behind the place */
	Parcel		parcel;
	char		told[24];		/* the place's position when the database was last told */
	uint64_t	told_at;
	int			attempt;		/* in a row without success */
	char		trouble[TARGET_ERROR + 100];
	char		numbers[3][24]; /* parameters */
	struct event *timer;
} Sink;

static void on_ready(void *argument);
static void on_lost(void *argument);
static void on_notified(void *argument);
static void on_timer(evutil_socket_t socket, short what, void *argument);
static void on_courier(void *argument, const char *trouble);
static void claim(Sink *sink);
static void on_claimed(void *argument, const PgResults *results);
static void stand_by(Sink *sink, Phase phase, const char *why);
static void connect_target(Sink *sink);
static void on_connected(Sink *sink);
static bool fits(Sink *sink);
static void read_next(Sink *sink);
static void on_read(void *argument, const PgResults *results);
static void publish(Sink *sink, const PgResults *results, int step);
static void on_published(Sink *sink);
static void well(Sink *sink);
static void lose(Sink *sink, const char *why);
static void on_losing(void *argument, const PgResults *results);
static int	add_note(Sink *sink, PgStep *step, const char **parameters);
static bool expected(Sink *sink, Phase phase, const PgResults *results);
static void rest(Sink *sink, Phase phase, long milliseconds);
static void retry(Sink *sink, const char *trouble);
static long pause_after(Sink *sink);

/* Of a row of sql_sinks; the rest follows by itself. */
void *
sink_open(const SinkSettings *settings, const PgResults *results, int row)
{
	Sink	   *sink = memory_zero(1, sizeof(*sink));
	SessionOptions session = {.base = settings->base, .conninfo = settings->conninfo,
		.application = "streamd", .setup = sink->setup, .nsetup = 3, .ready = on_ready,
		.lost = on_lost, .notified = on_notified, .argument = sink};
	CourierOptions courier = {.base = settings->base, .done = on_courier, .argument = sink};

	sink->settings = *settings;
	sink->name = memory_string(pg_value(results, 0, row, ROSTER_NAME));
	sink->options = json_loads(pg_value(results, 0, row, SINKS_OPTIONS), 0, NULL);
	snprintf(sink->batch, sizeof(sink->batch), "%ld", settings->batch);
	sink->listen = api_listen_category(pg_value(results, 0, row, SINKS_CATEGORY));
	sink->setup[0] = *settings->setup;
	sink->setup[1] = (PgStep) {&sql_lazily, NULL};
	sink->setup[2] = (PgStep) {sink->listen, NULL};
	sink->timer = evtimer_new(settings->base, on_timer, sink);
	courier.kind = target_kind(pg_value(results, 0, row, SINKS_KIND));
	courier.target = (TargetOptions) {NULL, settings->brokers, sink->name, sink->options};
	sink->courier = courier_open(&courier);
	sink->session = session_open(&session);
	return sink;
}

/* "ok", or what keeps it from publishing. */
const char *
sink_state(const void *item)
{
	const Sink *sink = item;

	if (sink->trouble[0])
		return sink->trouble;
	return sink->phase == PHASE_DOWN ? "database unreachable" : "ok";
}

/* Reads nothing more; whether what was in hand is there. */
bool
sink_drained(void *item)
{
	Sink	   *sink = item;

	sink->draining = true;
	return sink->phase != PHASE_PUBLISHING || sink->trouble[0];
}

void
sink_close(void *item)
{
	Sink	   *sink = item;

	courier_close(sink->courier);
	session_close(sink->session);
	event_free(sink->timer);
	parcel_clear(&sink->parcel);
	json_decref(sink->options);
	api_free(sink->listen);
	free(sink->name);
	free(sink);
}

static void
on_ready(void *argument)
{
	Sink	   *sink = argument;

	if (sink->phase == PHASE_DOWN && !sink->busy)
		claim(sink);
}

static void
on_lost(void *argument)
{
	Sink	   *sink = argument;

	evtimer_del(sink->timer);
	sink->phase = PHASE_DOWN;
	sink->connected = sink->mine = false;
}

static void
on_notified(void *argument)
{
	Sink	   *sink = argument;

	sink->woken = true;
	if (sink->phase == PHASE_RESTING && sink->connected)
		read_next(sink);
}

static void
on_timer(evutil_socket_t socket, short what, void *argument)
{
	Sink	   *sink = argument;

	(void) socket;
	(void) what;
	if (sink->phase == PHASE_RESTING || sink->phase == PHASE_STANDBY)
		claim(sink);
}

/* The courier is back. */
static void
on_courier(void *argument, const char *trouble)
{
	Sink	   *sink = argument;

	sink->busy = false;
	if (trouble)
		sink->connected = false;
	if (sink->phase == PHASE_DOWN)
	{
		/* The session was lost meanwhile: perhaps it is somebody else's by now. */
		if (session_ready(sink->session))
			claim(sink);
	}
	else if (trouble)
		retry(sink, trouble);
	else if (sink->phase == PHASE_CONNECTING)
		on_connected(sink);
	else if (sink->phase == PHASE_PUBLISHING)
		on_published(sink);
}

/*
 * Whether the results are of what is going on; when they are not, or the connection is
 * lost, everything begins anew.
 */
static bool
expected(Sink *sink, Phase phase, const PgResults *results)
{
	return !pg_lost(results) && sink->phase == phase;
}

/* Makes sure that nobody else does the same, and tells the database of the sink. */
static void
claim(Sink *sink)
{
	const char *note[5];
	const char *parameters[] = {sink->name};
	PgStep		steps[2];
	int			nsteps;

	if (sink->busy)
	{
		rest(sink, PHASE_STANDBY, RETRY_MIN_MS);
		return;
	}
	nsteps = add_note(sink, &steps[0], note);
	steps[nsteps++] = (PgStep) {&sql_claim, parameters};
	sink->phase = PHASE_CLAIMING;
	if (!session_run(sink->session, steps, nsteps, DEADLINE_MS, on_claimed, sink))
		rest(sink, PHASE_STANDBY, STANDBY_MS);
}

/* The step that tells where the target is and what is wrong, if it is ours; how many. */
static int
add_note(Sink *sink, PgStep *step, const char **parameters)
{
	sink->noting = sink->mine;
	if (!sink->mine)
		return 0;
	snprintf(sink->numbers[0], sizeof(sink->numbers[0]), "%lld", sink->generation);
	snprintf(sink->told, sizeof(sink->told), "%lld", sink->place.position);
	sink->told_at = clock_steady_ms();
	parameters[0] = sink->name;
	parameters[1] = sink->numbers[0];
	parameters[2] = sink->connected && sink->place.known ? sink->told : NULL;
	parameters[3] = "false";
	parameters[4] = sink->trouble[0] ? sink->trouble : NULL;
	*step = (PgStep) {&sql_note, parameters};
	return 1;
}

static void
on_claimed(void *argument, const PgResults *results)
{
	Sink	   *sink = argument;
	int			step = sink->noting;
	const char *noted;

	if (!expected(sink, PHASE_CLAIMING, results))
		return;
	if (!pg_succeeded(results))
	{
		retry(sink, pg_message(results));
		return;
	}
	sink->generation = atoll(pg_value(results, step, 0, SINK_GENERATION));
	sink->starts_after = atoll(pg_value(results, step, 0, SINK_STARTS_AFTER));
	noted = pg_value(results, step, 0, SINK_POSITION);
	sink->noted = noted ? atoll(noted) : -1;
	sink->mine = strcmp(pg_value(results, step, 0, SINK_CLAIMED), "t") == 0;
	if (!sink->mine)
		stand_by(sink, PHASE_STANDBY, "");
	else if (strcmp(pg_value(results, step, 0, SINK_STATE), "running") != 0)
		stand_by(sink, PHASE_RESTING, pg_value(results, step, 0, SINK_STATE));
	else if (sink->connected)
		read_next(sink);
	else
		connect_target(sink);
}

/* Leaves the target to others, if it has it. */
static void
stand_by(Sink *sink, Phase phase, const char *why)
{
	copy_string(sink->trouble, sizeof(sink->trouble), why);
	metrics_set(&metric_sink_up, 0, sink->name);
	if (sink->connected)
	{
		sink->busy = true;
		courier_disconnect(sink->courier);
	}
	sink->connected = false;
	rest(sink, phase, phase == PHASE_STANDBY ? STANDBY_MS : IDLE_MS);
}

static void
connect_target(Sink *sink)
{
	sink->phase = PHASE_CONNECTING;
	sink->busy = true;
	courier_connect(sink->courier);
}

/* The target has said where it is. */
static void
on_connected(Sink *sink)
{
	const Place *place = courier_place(sink->courier);

	sink->place = *place;
	if (!fits(sink))
		return;
	/* Nothing is there yet, or what is there counts no longer. */
	if (!place->known || place->generation < sink->generation)
		sink->place = (Place) {.generation = sink->generation, .position = sink->starts_after};
	else
		sink->generation = place->generation;
	sink->after = sink->place.position;
	sink->connected = true;
	read_next(sink);
}

/* Whether the target still has what it was said to have; else it is lost. */
static bool
fits(Sink *sink)
{
	char		why[200];

	if (sink->noted < 0 || (sink->place.known && sink->place.generation < sink->generation) ||
		(sink->place.known && sink->place.position >= sink->noted))
		return true;
	snprintf(why, sizeof(why),
			 "the target has events up to position %lld only, and had them up to %lld: "
			 "an older state was restored there, or a part of it removed",
			 sink->place.known ? sink->place.position : 0, sink->noted);
	lose(sink, why);
	return false;
}

/* Asks the store for what comes next, and tells it of the place if that is due. */
static void
read_next(Sink *sink)
{
	const char *note[5];
	const char *parameters[] = {sink->name, sink->numbers[1], sink->batch,
	sink->place.incarnation[0] ? sink->place.incarnation : NULL};
	PgStep		steps[2];
	int			nsteps = 0;

	sink->noting = false;
	evtimer_del(sink->timer);
	sink->woken = false;
	if (sink->draining)
	{
		rest(sink, PHASE_RESTING, IDLE_MS);
		return;
	}
	if (clock_steady_ms() - sink->told_at >= NOTE_MS)
		nsteps = add_note(sink, &steps[0], note);
	snprintf(sink->numbers[1], sizeof(sink->numbers[1]), "%lld", sink->after);
	steps[nsteps++] = (PgStep) {&sql_read, parameters};
	sink->phase = PHASE_READING;
	if (!session_run(sink->session, steps, nsteps, DEADLINE_MS, on_read, sink))
		rest(sink, PHASE_RESTING, RETRY_MIN_MS);
}

static void
on_read(void *argument, const PgResults *results)
{
	Sink	   *sink = argument;
	char		why[TARGET_ERROR];

	if (!expected(sink, PHASE_READING, results))
		return;
	if (!pg_succeeded(results))
	{
		snprintf(why, sizeof(why), "%s. %s", pg_message(results),
				 pg_detail(results) ? pg_detail(results) : "");
		if (strcmp(pg_sqlstate(results), "ST021") == 0)
			lose(sink, why);
		else
			retry(sink, pg_message(results));
		return;
	}
	if (pg_rows(results, sink->noting) > 0)
		publish(sink, results, sink->noting);
	else
	{
		/* What may not leave yet is not told of when it may. */
		sink->woken = false;
		rest(sink, PHASE_RESTING, pause_after(sink));
	}
}

/* Publishes what was read, with the place after it. */
static void
publish(Sink *sink, const PgResults *results, int step)
{
	long long	head = atoll(pg_value(results, step, 0, READ_HEAD));

	if (!parcel_load(&sink->parcel, &sink->place, results, step))
		retry(sink, "what was read cannot be understood");
	else if (sink->parcel.count > 0)
	{
		sink->phase = PHASE_PUBLISHING;
		sink->busy = true;
		courier_publish(sink->courier, &sink->parcel);
	}
	else
	{
		well(sink);
		sink->after = sink->parcel.place.position;
		if (sink->after < head)
			read_next(sink);
		else
			rest(sink, PHASE_RESTING, IDLE_MS);
	}
}

static void
on_published(Sink *sink)
{
	metrics_count(&metric_sink_events, sink->parcel.count, sink->name);
	sink->place = sink->parcel.place;
	sink->after = sink->place.position;
	parcel_clear(&sink->parcel);
	well(sink);
	read_next(sink);
}

static void
well(Sink *sink)
{
	if (sink->trouble[0])
		log_write(LEVEL_INFORMATION, NULL, "Sink {Sink} gets its events again", "Sink",
				  sink->name, NULL);
	metrics_set(&metric_sink_up, 1, sink->name);
	sink->trouble[0] = '\0';
	sink->attempt = 0;
}

/* Database and target do not fit each other: somebody has to say what is to be. */
static void
lose(Sink *sink, const char *why)
{
	const char *parameters[] = {sink->name, sink->numbers[0], NULL, "true", why};
	PgStep		step = {&sql_note, parameters};

	snprintf(sink->numbers[0], sizeof(sink->numbers[0]), "%lld", sink->generation);
	log_write(LEVEL_ERROR, NULL, "Sink {Sink} is lost: {Error}", "Sink", sink->name, "Error", why,
			  NULL);
	sink->phase = PHASE_LOSING;
	if (!session_run(sink->session, &step, 1, DEADLINE_MS, on_losing, sink))
		retry(sink, why);
}

static void
on_losing(void *argument, const PgResults *results)
{
	Sink	   *sink = argument;

	if (!expected(sink, PHASE_LOSING, results))
		return;
	if (pg_succeeded(results))
		stand_by(sink, PHASE_RESTING, "lost");
	else
		retry(sink, pg_message(results));
}

/* Nothing to do for so long, unless something is told. */
static void
rest(Sink *sink, Phase phase, long milliseconds)
{
	bool		untold = phase == PHASE_RESTING && sink->connected && sink->place.known &&
		atoll(sink->told) != sink->place.position;
	long		most = untold && milliseconds > NOTE_MS ? NOTE_MS : milliseconds;
	struct timeval wait = {most / 1000, most % 1000 * 1000};

	sink->phase = phase;
	if (phase == PHASE_RESTING && sink->woken && sink->connected && !sink->draining)
		read_next(sink);
	else
		evtimer_add(sink->timer, &wait);
}

/* It went wrong: again, a little later each time. */
static void
retry(Sink *sink, const char *trouble)
{
	if (strcmp(trouble, sink->trouble) != 0)
		log_write(LEVEL_WARNING, NULL, "Sink {Sink}: {Error}", "Sink", sink->name, "Error",
				  trouble, NULL);
	copy_string(sink->trouble, sizeof(sink->trouble), trouble);
	metrics_set(&metric_sink_up, 0, sink->name);
	parcel_clear(&sink->parcel);
	sink->woken = false;
	rest(sink, PHASE_RESTING, pause_after(sink));
}

/* A little longer each time. */
static long
pause_after(Sink *sink)
{
	return backoff_delay(sink->attempt++, RETRY_MIN_MS, RETRY_MAX_MS, random_fraction());
}
