/*
 * service.c
 *		The life of a daemon: options, start, loop, signals, orderly end.
 *
 * SIGTERM and SIGINT: accept nothing more, finish what is in hand (at most
 * drain-timeout), send the last telemetry, exit 0.  SIGHUP: open the log file
 * again and take over what may change.  The exit codes are those of
 * sysexits(3) and stand in --help.
 */
#include "lib/service.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/api.h"
#include "lib/follow.h"
#include "lib/health.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/notify.h"
#include "lib/otlp.h"
#include "lib/text.h"

#define DRAIN_STEP_MS 20

/* The options that every daemon has. */
static struct
{
	char	   *address;
	long		port;
	char	   *conninfo;
	long		pool_size;
	long		pool_queue;
	long		request_timeout;
	long		max_body;
	long		batch;
	long		poll;
	long		message_timeout;
	long		work_most;
	long		work_lease;
	long		drain_timeout;
	char	   *log_level;
	char	   *log_file;
	char	   *otlp_endpoint;
	char	   *otlp_traces_endpoint;
	char	   *otlp_logs_endpoint;
	char	   *otlp_headers;
	char	   *gateway_secret;
} settings;

static struct
{
	char		timeout[24];
	const char *parameters[3];
	PgStep		step;
	PgStep		transaction;
	char	   *conninfo;
	struct event *signals[3];
	struct event *drain;
	uint64_t	drain_until;
	bool		flushed;
} life;

static Option http_options[] = {
	{"listen-address", OPTION_STRING, &settings.address, "127.0.0.1", 0, 0, NULL, false, false,
	"address to listen on"},
	{"port", OPTION_INTEGER, &settings.port, "", 1, 65535, NULL, false, false, "port to listen on"},
	{"request-timeout", OPTION_DURATION, &settings.request_timeout, "30s", 100, 600000, NULL,
	false, false, "longest time for one request"},
	{"max-body", OPTION_INTEGER, &settings.max_body, "1048576", 1024, 67108864, NULL, false, false,
	"largest request body in bytes"},
	{"gateway-secret", OPTION_STRING, &settings.gateway_secret, "", 0, 0, NULL, false, true,
	"what the gateway proves itself with; empty: nobody is believed to be anybody"},
	{NULL}
};

static Option database_options[] = {
	{"database", OPTION_STRING, &settings.conninfo, "", 0, 0, NULL, false, true,
	"libpq connection string; what it leaves out comes from PG* variables"},
	{"pool-size", OPTION_INTEGER, &settings.pool_size, "4", 1, 100, NULL, false, false,
	"connections for requests and outside work"},
	{"pool-queue", OPTION_INTEGER, &settings.pool_queue, "1000", 1, 100000, NULL, false, false,
	"requests that may wait for a connection"},
	{NULL}
};

static Option bus_options[] = {
	{"batch", OPTION_INTEGER, &settings.batch, "50", 1, 500, NULL, false, false,
	"most messages in one transaction"},
	{"poll-interval", OPTION_DURATION, &settings.poll, "1s", 10, 60000, NULL, false, false,
	"look for messages and work this often even if nothing has woken it"},
	{"message-timeout", OPTION_DURATION, &settings.message_timeout, "30s", 100, 600000, NULL,
	false, false, "longest time for one message, the endpoint's timeout"},
	{"work-concurrency", OPTION_INTEGER, &settings.work_most, "32", 1, 1000, NULL, false, false,
	"outside calls at a time"},
	{"work-lease", OPTION_DURATION, &settings.work_lease, "60s", 1000, 3600000, NULL, false, false,
	"after that long without outcome an outside call counts as lost"},
	{NULL}
};

static Option report_options[] = {
	{"log-level", OPTION_STRING, &settings.log_level, "Information", 0, 0, NULL, true, false,
	"Debug, Information, Warning, Error"},
	{"log-file", OPTION_STRING, &settings.log_file, "", 0, 0, NULL, false, false,
	"file for logs instead of standard error"},
	{"otlp-endpoint", OPTION_STRING, &settings.otlp_endpoint, "", 0, 0,
	"OTEL_EXPORTER_OTLP_ENDPOINT", false, false, "collector for traces and logs, empty: none"},
	{"otlp-traces-endpoint", OPTION_STRING, &settings.otlp_traces_endpoint, "", 0, 0,
	"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", false, false, "for traces alone, with its path"},
	{"otlp-logs-endpoint", OPTION_STRING, &settings.otlp_logs_endpoint, "", 0, 0,
	"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", false, false, "for logs alone, with its path"},
	{"otlp-headers", OPTION_STRING, &settings.otlp_headers, "", 0, 0,
	"OTEL_EXPORTER_OTLP_HEADERS", false, true, "name=value,... for the collector"},
	{"drain-timeout", OPTION_DURATION, &settings.drain_timeout, "20s", 0, 600000, NULL, false,
	false, "longest time to finish what is in hand when stopped"},
	{NULL}
};

static int	run(Runtime *runtime);
static bool start_parts(Runtime *runtime);
static void stop_parts(Runtime *runtime);
static char *complete_conninfo(const Service *service);
static const PgStep *offer_work(void *argument);
static void on_messages(void *argument, const PgResults *results, int step);
static void on_messages_lost(void *argument);
static void on_stop(evutil_socket_t signal, short what, void *argument);
static void on_reload(evutil_socket_t signal, short what, void *argument);
static void on_drain(evutil_socket_t socket, short what, void *argument);

/* The whole program: main returns what this returns. */
int
service_main(const Service *service, int argc, char **argv)
{
	OptionGroup groups[] = {
		{"HTTP", http_options}, {"Database", database_options}, {"Message bus", bus_options},
		{"Reports", report_options}, {service->program, service->options}
	};
	Runtime		runtime = {.service = service};
	int			code = EXIT_SUCCESS;

	http_options[1].initial = service->port;
	if (service->pool_size)
		database_options[1].initial = service->pool_size;
	switch (config_load(service->program, ECOMMERCE_VERSION, groups, service->options ? 5 : 4,
						argc, argv))
	{
		case CONFIG_INVALID:
			code = EX_USAGE;
			break;
		case CONFIG_DONE:
			break;
		case CONFIG_RUN:
			signal(SIGPIPE, SIG_IGN);
			if (log_open(service->program, settings.log_level, settings.log_file))
				code = run(&runtime);
			else
				code = EX_USAGE;
			break;
	}
	config_free();
	return code;
}

static int
run(Runtime *runtime)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	int			code = EXIT_SUCCESS;

	runtime->base = event_base_new();
	for (size_t i = 0; i < lengthof(signals); i++)
	{
		life.signals[i] = evsignal_new(runtime->base, signals[i],
									   signals[i] == SIGHUP ? on_reload : on_stop, runtime);
		event_add(life.signals[i], NULL);
	}
	life.drain = evtimer_new(runtime->base, on_drain, runtime);
	if (start_parts(runtime))
	{
		log_write(LEVEL_INFORMATION, NULL, "{Program} {Version} started", "Program",
				  runtime->service->program, "Version", ECOMMERCE_VERSION, NULL);
		notify_manager("READY=1");
		event_base_dispatch(runtime->base);
		log_write(LEVEL_INFORMATION, NULL, "{Program} stopped", "Program",
				  runtime->service->program, NULL);
	}
	else
		code = EX_UNAVAILABLE;
	stop_parts(runtime);
	return code;
}

static bool
start_parts(Runtime *runtime)
{
	const Service *service = runtime->service;
	SessionOptions session = {.base = runtime->base, .application = service->program,
		.setup = &life.step, .nsetup = 1, .transaction = &life.transaction, .ntransaction = 1};

	runtime->conninfo = settings.conninfo;
	life.conninfo = complete_conninfo(service);
	snprintf(life.timeout, sizeof(life.timeout), "%ld", settings.request_timeout);
	life.parameters[0] = life.parameters[1] = life.timeout;
	life.parameters[2] = service->source;
	life.step = (PgStep) {&api_session, life.parameters};
	life.transaction = (PgStep) {&api_transaction, life.parameters};
	session.conninfo = runtime->own_conninfo = life.conninfo;

	if (!outcall_start(runtime->base))
		return false;
	otlp_start(runtime->base, &(OtlpOptions) {
		settings.otlp_endpoint, settings.otlp_traces_endpoint, settings.otlp_logs_endpoint,
		settings.otlp_headers, service->source, ECOMMERCE_VERSION
	});
	runtime->pool = pool_open(&session, (int) settings.pool_size, (int) settings.pool_queue);
	if (service->start && !service->start(runtime))
		return false;
	if (service->claim)
		runtime->work = work_open(&(WorkOptions) {
			runtime->base, runtime->pool, service->claim, service->settle, service->work,
			service->room, (int) settings.work_most, settings.poll, settings.work_lease
		});
	if (service->endpoint)
		runtime->consumer = consumer_open(&(ConsumerOptions) {
			.base = runtime->base, .conninfo = life.conninfo, .application = service->program,
			.source = service->source, .endpoint = service->endpoint,
			.handlers = service->handlers, .batch = settings.batch, .poll_ms = settings.poll,
			.timeout_ms = settings.message_timeout, .closing = offer_work,
			.committed = on_messages, .rolled_back = on_messages_lost, .argument = runtime
		});
	runtime->duties = duty_start(runtime->base, runtime->pool, service->duties);
	health_start(runtime, service->bus ? service->bus : service->endpoint);
	if (service->follows)
		runtime->follower = follower_open(&session, service->follows, settings.request_timeout);
	runtime->http = http_start(&(HttpOptions) {
		runtime->base, settings.address, (int) settings.port, runtime->pool, service->routes,
		health_routes, (size_t) settings.max_body, settings.request_timeout,
		settings.gateway_secret, runtime->follower, service->headers
	});
	return runtime->http != NULL;
}

static void
stop_parts(Runtime *runtime)
{
	if (runtime->service->stop)
		runtime->service->stop();
	http_stop(runtime->http);
	follower_close(runtime->follower);
	duty_stop(runtime->duties);
	consumer_close(runtime->consumer);
	work_close(runtime->work);
	pool_close(runtime->pool);
	otlp_stop();
	outcall_stop();
	metrics_clear();
	for (size_t i = 0; i < lengthof(life.signals); i++)
		event_free(life.signals[i]);
	event_free(life.drain);
	free(life.conninfo);
	event_base_free(runtime->base);
	libevent_global_shutdown();
}

/*
 * The connection string; the service's own role is the user unless the string
 * or PGUSER names another.  libpq takes the later of two values.
 */
static char *
complete_conninfo(const Service *service)
{
	Text		conninfo = {0};

	if (strncmp(settings.conninfo, "postgres", 8) == 0 && strstr(settings.conninfo, "://"))
		return memory_string(settings.conninfo);
	if (service->role && getenv("PGUSER") == NULL && getenv("PGSERVICE") == NULL)
		text_format(&conninfo, "user=%s ", service->role);
	text_add(&conninfo, settings.conninfo);
	return text_take(&conninfo);
}

/* The connection string of the daemon's own database, while it runs. */
const char *
service_conninfo(void)
{
	return life.conninfo;
}

/* Messages may leave work to be done outside: it is claimed with them. */
static const PgStep *
offer_work(void *argument)
{
	Runtime    *runtime = argument;

	return work_offer(runtime->work);
}

static void
on_messages(void *argument, const PgResults *results, int step)
{
	Runtime    *runtime = argument;

	if (step >= 0)
		work_take(runtime->work, results, step);
	else
		work_kick(runtime->work);
}

static void
on_messages_lost(void *argument)
{
	Runtime    *runtime = argument;

	work_take(runtime->work, NULL, 0);
}

static void
on_stop(evutil_socket_t signal, short what, void *argument)
{
	Runtime    *runtime = argument;

	(void) what;
	if (runtime->draining)
		return;
	log_write(LEVEL_INFORMATION, NULL, "Stopping on {Signal}", "Signal",
			  signal == SIGTERM ? "SIGTERM" : "SIGINT", NULL);
	notify_manager("STOPPING=1");
	runtime->draining = true;
	life.drain_until = clock_steady_ms() + (uint64_t) settings.drain_timeout;
	http_drain(runtime->http);
	follower_drain(runtime->follower);
	if (runtime->consumer)
		consumer_drain(runtime->consumer);
	work_drain(runtime->work);
	duty_drain(runtime->duties);
	on_drain(-1, 0, runtime);
}

static void
on_reload(evutil_socket_t signal, short what, void *argument)
{
	(void) signal;
	(void) what;
	(void) argument;
	notify_manager("RELOADING=1");
	if (config_reload() && log_set_level(settings.log_level) && log_reopen())
		log_write(LEVEL_INFORMATION, NULL, "Configuration read again", NULL);
	else
		log_write(LEVEL_ERROR, NULL, "Configuration is faulty; what is in use stays", NULL);
	notify_manager("READY=1");
}

/* Whether everything in hand is finished; looks again a little later if not. */
static void
on_drain(evutil_socket_t socket, short what, void *argument)
{
	Runtime    *runtime = argument;
	struct timeval wait = {0, DRAIN_STEP_MS * 1000};
	bool		busy = http_pending(runtime->http) > 0 || work_pending(runtime->work) > 0 ||
	duty_pending(runtime->duties) > 0 ||
	(runtime->consumer && !consumer_drained(runtime->consumer)) ||
	(runtime->service->pending && runtime->service->pending() > 0);

	(void) socket;
	(void) what;
	if (!busy && !life.flushed)
	{
		life.flushed = true;
		otlp_flush();
	}
	if ((!busy && outcall_pending() == 0) || clock_steady_ms() >= life.drain_until)
		event_base_loopbreak(runtime->base);
	else
		evtimer_add(life.drain, &wait);
}
