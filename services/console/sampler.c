/*
 * sampler.c
 *		Looks at the database every two seconds and tells all browsers; keeps what
 *		can be drawn; gives metrics to Prometheus.
 *
 * However many browsers look on, there is one look, over one connection, and one
 * connection that listens for events.  While nobody looks on, a look every ten
 * seconds keeps the history going; metrics, which cost more, are looked at as often.
 *
 * Where all is well and nothing waits, it is asked first whether anything has moved,
 * which costs next to nothing; if not, there is nothing to see before those ten seconds
 * are over, when what goes by time alone is looked at too.
 */
#include "console/sampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <jansson.h>

#include "console/api.h"
#include "console/series.h"
#include "lib/api.h"
#include "lib/log.h"

#define LOOK_S 2
#define IDLE_LOOKS 5			/* one of so many takes place in any case */
#define FIGURE_KEY "overview_"	/* series of the overview's figures begin so */
#define LOOK_DEADLINE_MS 10000
#define TELL_MS 500				/* of new events, at most this often */
#define STALE_S 60				/* older samples are not given to Prometheus */

/* Of a look; metrics are the last, and left out of most. */
enum Step
{
	STEP_PULSE, STEP_SAMPLE, STEP_METRICS, NSTEPS
};

static struct
{
	Runtime    *runtime;
	Channel    *channel;
	Session    *listener;
	PgStep		setup[2];
	PgStep		steps[NSTEPS];
	const char *parameters[3];
	struct event *timer;
	struct event *tell;
	bool		looking;
	bool		with_metrics;
	bool		seen;			/* the last look succeeded */
	bool		quiet;			/* and found that nothing is wrong, and nothing waits */
	Text		pulse;			/* just before it */
	bool		outdated;		/* the connection's settings are not those it would get now */
	Text		settings;		/* those, as of the last look */
	int			looks;
	Text		sample;			/* newest, empty: none yet */
	Text		metrics;		/* newest in Prometheus' format */
	time_t		sampled;
} sampler;

static void on_time(evutil_socket_t socket, short what, void *argument);
static void look(void);
static void on_pulse(void *argument, const PgResults *results);
static void on_sampled(void *argument, const PgResults *results);
static void keep_settings(const char *settings);
static void keep_figures(const char *sample, time_t now);
static void keep_metrics(const PgResults *results, time_t now);
static void write_metric(Text *target, const PgResults *results, int row, const char *previous);
static void add_labels(Text *target, const char *json);
static void on_notified(void *argument);
static void on_tell(evutil_socket_t socket, short what, void *argument);

void
sampler_start(Runtime *runtime)
{
	struct timeval interval = {LOOK_S, 0};

	sampler.runtime = runtime;
	sampler.channel = channel_open(runtime->base, 0);
	sampler.steps[STEP_PULSE] = (PgStep) {&api_pulse, NULL};
	sampler.steps[STEP_SAMPLE] = (PgStep) {&api_sample, NULL};
	sampler.steps[STEP_METRICS] = (PgStep) {&api_metrics, NULL};
	sampler.timer = event_new(runtime->base, -1, EV_PERSIST, on_time, NULL);
	sampler.tell = evtimer_new(runtime->base, on_tell, NULL);
	event_add(sampler.timer, &interval);
	sampler.parameters[0] = sampler.parameters[1] = "10s";
	sampler.parameters[2] = runtime->service->source;
	sampler.setup[0] = (PgStep) {&api_session, sampler.parameters};
	sampler.setup[1] = (PgStep) {&api_listen_events, NULL};
	sampler.listener = session_open(&(SessionOptions) {
		.base = runtime->base, .conninfo = runtime->own_conninfo,
		.application = runtime->service->program, .setup = sampler.setup, .nsetup = 2,
		.notified = on_notified
	});
}

void
sampler_stop(void)
{
	if (sampler.runtime == NULL)
		return;
	channel_close(sampler.channel);
	session_close(sampler.listener);
	event_free(sampler.timer);
	event_free(sampler.tell);
	text_free(&sampler.pulse);
	text_free(&sampler.settings);
	text_free(&sampler.sample);
	text_free(&sampler.metrics);
	series_clear();
	memset(&sampler, 0, sizeof(sampler));
}

/* Whether the server answers the console itself. */
bool
sampler_sees_server(void)
{
	return sampler.runtime && pool_ready(sampler.runtime->pool) > 0;
}

/* The call becomes a stream of what is seen. */
void
sampler_subscribe(HttpCall *call, const void *owner)
{
	Stream	   *stream = stream_begin(sampler.channel, call, owner);

	if (stream == NULL)
		return;
	if (sampler.seen && sampler.sample.length > 0)
		stream_send(stream, "sample", sampler.sample.data);
	else
		stream_send(stream, "down", "{}");
}

/* Ends the streams of that owner. */
void
sampler_drop(const void *owner)
{
	if (sampler.channel)
		channel_drop(sampler.channel, owner);
}

void
sampler_write_metrics(Text *target)
{
	text_format(target, "# HELP ecommerce_console_up Whether the last look at the database "
				"succeeded.\n# TYPE ecommerce_console_up gauge\necommerce_console_up %d\n"
				"# HELP ecommerce_console_browsers Pages that look on.\n"
				"# TYPE ecommerce_console_browsers gauge\necommerce_console_browsers %d\n",
				sampler.seen, channel_count(sampler.channel));
	if (sampler.metrics.length > 0 && time(NULL) - sampler.sampled < STALE_S)
		text_add(target, sampler.metrics.data);
}

/* What was seen over a range of time: GET /api/samples. */
void
sampler_answer(HttpCall *call, const char *range, const char *prefix)
{
	Text		body = {0};

	if (series_write(&body, range ? range : "10m", prefix ? prefix : "", (uint64_t) time(NULL)))
		http_reply_json(call, 200, body.data);
	else
		http_problem(call, 422, "range is 10m, 2h or 24h", NULL);
	text_free(&body);
}

static void
on_time(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	(void) argument;
	if (sampler.looking)
		return;
	if (sampler.outdated)
		pool_renew(sampler.runtime->pool);
	sampler.outdated = false;
	sampler.with_metrics = !sampler.seen || ++sampler.looks % IDLE_LOOKS == 0;
	if (sampler.with_metrics || (channel_count(sampler.channel) > 0 && !sampler.quiet))
		look();
	else if (channel_count(sampler.channel) > 0)
		sampler.looking = pool_run(sampler.runtime->pool, &sampler.steps[STEP_PULSE], 1,
								   LOOK_DEADLINE_MS, on_pulse, NULL);
}

static void
look(void)
{
	sampler.looking = pool_run(sampler.runtime->pool, sampler.steps,
							   sampler.with_metrics ? NSTEPS : STEP_METRICS, LOOK_DEADLINE_MS,
							   on_sampled, NULL);
}

/* Pages hear that they are still up to date; a failure is the look's to tell. */
static void
on_pulse(void *argument, const PgResults *results)
{
	(void) argument;
	sampler.looking = false;
	if (results && pg_succeeded(results) && pg_rows(results, 0) == 1 &&
		strcmp(pg_value(results, 0, 0, 0), sampler.pulse.data) == 0)
		channel_send(sampler.channel, "still", "{}");
	else
		look();
}

static void
on_sampled(void *argument, const PgResults *results)
{
	bool		good = results && pg_succeeded(results) && pg_rows(results, STEP_SAMPLE) == 1;

	(void) argument;
	sampler.looking = false;
	if (!good && results && !pg_lost(results) && sampler.seen)
		log_write(LEVEL_ERROR, NULL, "Cannot look at the database: {Error}", "Error",
				  pg_message(results), "SqlState", pg_sqlstate(results), NULL);
	sampler.seen = good;
	sampler.quiet = good && *pg_value(results, STEP_SAMPLE, 0, SAMPLE_IS_QUIET) == 't';
	if (!good)
	{
		channel_send(sampler.channel, "down", "{}");
		return;
	}
	sampler.sampled = time(NULL);
	text_reset(&sampler.pulse);
	text_add(&sampler.pulse, pg_value(results, STEP_PULSE, 0, 0));
	keep_settings(pg_value(results, STEP_SAMPLE, 0, SAMPLE_SETTINGS));
	text_reset(&sampler.sample);
	text_add(&sampler.sample, pg_value(results, STEP_SAMPLE, 0, SAMPLE_JSON));
	channel_send(sampler.channel, "sample", sampler.sample.data);
	keep_figures(sampler.sample.data, sampler.sampled);
	if (sampler.with_metrics)
		keep_metrics(results, sampler.sampled);
}

/*
 * What somebody has set with ALTER DATABASE or ALTER ROLE reaches new connections alone: one that
 * begins after these were seen has them.  What the first one has begun with, nobody has seen.
 */
static void
keep_settings(const char *settings)
{
	sampler.outdated = sampler.settings.length == 0 || strcmp(sampler.settings.data, settings) != 0;
	text_reset(&sampler.settings);
	text_add(&sampler.settings, settings);
}

/* The numbers of the overview, each as a series. */
static void
keep_figures(const char *sample, time_t now)
{
	json_t	   *root = json_loads(sample, 0, NULL);
	const char *name;
	json_t	   *value;
	Text		key = {0};

	json_object_foreach(json_object_get(root, "overview"), name, value)
	{
		if (!json_is_number(value))
			continue;
		text_reset(&key);
		text_format(&key, FIGURE_KEY "%s", name);
		series_put(key.data, (uint64_t) now, json_number_value(value));
	}
	text_free(&key);
	json_decref(root);
}

static void
keep_metrics(const PgResults *results, time_t now)
{
	Text		key = {0};

	text_reset(&sampler.metrics);
	for (int row = 0; row < pg_rows(results, STEP_METRICS); row++)
	{
		const char *value = pg_value(results, STEP_METRICS, row, METRICS_VALUE);

		if (value == NULL)
			continue;
		text_reset(&key);
		text_add(&key, pg_value(results, STEP_METRICS, row, METRICS_NAME));
		add_labels(&key, pg_value(results, STEP_METRICS, row, METRICS_LABELS));
		series_put(key.data, (uint64_t) now, strtod(value, NULL));
		write_metric(&sampler.metrics, results, row,
					 row > 0 ? pg_value(results, STEP_METRICS, row - 1, METRICS_NAME) : "");
	}
	text_free(&key);
}

/* One line, after those that describe the metric if it is the first of its name. */
static void
write_metric(Text *target, const PgResults *results, int row, const char *previous)
{
	const char *name = pg_value(results, STEP_METRICS, row, METRICS_NAME);
	const char *help = pg_value(results, STEP_METRICS, row, METRICS_HELP);

	if (strcmp(name, previous) != 0)
		text_format(target, "# HELP %s %s\n# TYPE %s %s\n", name, help ? help : "", name,
					pg_value(results, STEP_METRICS, row, METRICS_KIND));
	text_add(target, name);
	add_labels(target, pg_value(results, STEP_METRICS, row, METRICS_LABELS));
	text_format(target, " %s\n", pg_value(results, STEP_METRICS, row, METRICS_VALUE));
}

/* Labels as Prometheus writes them, out of a JSON object of strings. */
static void
add_labels(Text *target, const char *json)
{
	json_t	   *labels = json ? json_loads(json, 0, NULL) : NULL;
	const char *name;
	json_t	   *value;
	bool		first = true;

	json_object_foreach(labels, name, value)
	{
		text_format(target, "%s%s=\"", first ? "{" : ",", name);
		for (const char *c = json_is_string(value) ? json_string_value(value) : ""; *c; c++)
			text_add_n(target, *c == '\n' ? "\\n" : *c == '"' ? "\\\""
												: *c == '\\'  ? "\\\\"
															  : c,
					   strchr("\n\"\\", *c) ? 2 : 1);
		text_add(target, "\"");
		first = false;
	}
	if (!first)
		text_add(target, "}");
	json_decref(labels);
}

static void
on_notified(void *argument)
{
	struct timeval wait = {0, TELL_MS * 1000};

	(void) argument;
	if (channel_count(sampler.channel) > 0 && !evtimer_pending(sampler.tell, NULL))
		evtimer_add(sampler.tell, &wait);
}

static void
on_tell(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	(void) argument;
	channel_send(sampler.channel, "events", "{}");
}
