/*
 * main.c
 *		bridged: carries messages between a database and brokers.
 *
 * One process serves the bridges of one database (message_bus.bridges); where the
 * brokers are stands in a file.  It is told when bridges change; one that has changed
 * is closed and opened anew.
 */
#include <stdlib.h>
#include <string.h>

#include "bridge/inward.h"
#include "bridge/outward.h"
#include "bridge/statements.h"
#include "lib/api.h"
#include "lib/log.h"
#include "lib/service.h"
#include "lib/session.h"
#include "lib/text.h"

#define DEADLINE_MS 60000
#define MAX_BRIDGES 100

extern const char openapi_document[];

static long batch;
static long idle;
static char *brokers;

static Option options[] = {
	{"brokers", OPTION_STRING, &brokers, "/etc/ecommerce/brokers.conf", 0, 0, NULL, false, false,
	"file that says where brokers are, and the passwords there"},
	{"bridge-batch", OPTION_INTEGER, &batch, "500", 1, 10000, NULL, false, false,
	"most messages at a time"},
	{"bridge-idle", OPTION_DURATION, &idle, "60s", 1000, 3600000, NULL, false, false,
	"look for bridges this often even if nobody notifies"},
	{NULL}
};

/* None but those that every daemon has. */
static const HttpRoute routes[] = {
	{NULL}
};

/* A bridge that is carried. */
typedef struct Bridge
{
	char	   *name;
	char	   *broker;
	char	   *all;			/* that says of a change */
	Inward	   *inward;
	Outward    *outward;
} Bridge;

static struct
{
	Runtime    *runtime;
	const char *parameters[3];
	PgStep		setup[2];
	Session    *session;		/* hears of changes */
	struct event *timer;
	Bridge		bridges[MAX_BRIDGES];
	int			count;
	bool		again;			/* a change was told of while bridges were being read */
} state;

static void look(void *argument);
static void on_look(void *argument, const PgResults *results);
static void on_time(evutil_socket_t socket, short what, void *argument);
static bool still_there(const Bridge *bridge, const PgResults *results);
static bool is_open(const char *name);
static void open_bridge(const PgResults *results, int row);
static void close_bridge(Bridge *bridge);

/* Looks which bridges there are. */
static void
look(void *argument)
{
	static const PgStep step = {&sql_bridges, NULL};
	struct timeval wait = {idle / 1000, idle % 1000 * 1000};

	(void) argument;
	state.again = !session_run(state.session, &step, 1, DEADLINE_MS, on_look, NULL);
	evtimer_add(state.timer, &wait);
}

static void
on_time(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	look(argument);
}

/* Closes what is gone or different by now, opens what is new. */
static void
on_look(void *argument, const PgResults *results)
{
	int			kept = 0;

	if (pg_lost(results) || state.runtime->draining)
		return;
	if (!pg_succeeded(results))
	{
		log_write(LEVEL_WARNING, NULL, "Bridges cannot be read: {Error}", "Error",
				  pg_message(results), NULL);
		return;
	}
	for (int i = 0; i < state.count; i++)
	{
		if (still_there(&state.bridges[i], results))
			state.bridges[kept++] = state.bridges[i];
		else
			close_bridge(&state.bridges[i]);
	}
	state.count = kept;
	for (int row = 0; row < pg_rows(results, 0) && state.count < MAX_BRIDGES; row++)
	{
		if (strcmp(pg_value(results, 0, row, BRIDGES_PAUSED), "t") != 0 &&
			!is_open(pg_value(results, 0, row, BRIDGES_NAME)))
			open_bridge(results, row);
	}
	if (state.again)
		look(argument);
}

static bool
still_there(const Bridge *bridge, const PgResults *results)
{
	for (int row = 0; row < pg_rows(results, 0); row++)
		if (strcmp(pg_value(results, 0, row, BRIDGES_NAME), bridge->name) == 0)
			return strcmp(pg_value(results, 0, row, BRIDGES_ALL), bridge->all) == 0;
	return false;
}

static bool
is_open(const char *name)
{
	for (int i = 0; i < state.count; i++)
		if (strcmp(state.bridges[i].name, name) == 0)
			return true;
	return false;
}

static void
open_bridge(const PgResults *results, int row)
{
	Bridge	   *bridge = &state.bridges[state.count++];
	const char *endpoint = pg_value(results, 0, row, BRIDGES_ENDPOINT);
	const char *unroutable = pg_value(results, 0, row, BRIDGES_UNROUTABLE);
	BridgeSettings settings = {state.runtime->base, service_conninfo(), &state.setup[0], brokers};

	*bridge = (Bridge) {
		memory_string(pg_value(results, 0, row, BRIDGES_NAME)),
		memory_string(pg_value(results, 0, row, BRIDGES_BROKER)),
		memory_string(pg_value(results, 0, row, BRIDGES_ALL))
	};
	settings.name = bridge->name;
	settings.broker = bridge->broker;
	settings.batch = batch;
	settings.drop_unroutable = strcmp(unroutable, "drop") == 0;
	log_write(LEVEL_INFORMATION, NULL, "Bridge {Bridge} to {Broker}", "Bridge", bridge->name,
			  "Broker", bridge->broker, NULL);
	if (endpoint)
		bridge->outward = outward_open(&settings, endpoint);
	if (pg_value(results, 0, row, BRIDGES_QUEUE))
		bridge->inward = inward_open(&settings, pg_value(results, 0, row, BRIDGES_TOPOLOGY));
}

static void
close_bridge(Bridge *bridge)
{
	log_write(LEVEL_INFORMATION, NULL, "Bridge {Bridge} is closed", "Bridge", bridge->name, NULL);
	outward_close(bridge->outward);
	inward_close(bridge->inward);
	free(bridge->name);
	free(bridge->broker);
	free(bridge->all);
}

/* "ok", or the first bridge that does not carry, and why. */
static const char *
bridges_state(void)
{
	static Text text = {0};

	for (int i = 0; i < state.count; i++)
	{
		const Bridge *bridge = &state.bridges[i];
		const char *its = bridge->outward ? outward_state(bridge->outward) : "ok";

		if (strcmp(its, "ok") == 0 && bridge->inward)
			its = inward_state(bridge->inward);
		if (strcmp(its, "ok") == 0)
			continue;
		text_reset(&text);
		text_format(&text, "%s: %s", bridge->name, its);
		return text.data;
	}
	return "ok";
}

/* What is in hand is finished, nothing new is begun. */
static int
pending(void)
{
	int			busy = 0;

	for (int i = 0; i < state.count; i++)
	{
		Bridge	   *bridge = &state.bridges[i];

		busy += bridge->outward && !outward_drained(bridge->outward);
		busy += bridge->inward && !inward_drained(bridge->inward);
	}
	return busy;
}

static bool
start(Runtime *runtime)
{
	SessionOptions session = {.base = runtime->base, .conninfo = service_conninfo(),
		.application = "bridged", .setup = state.setup, .nsetup = 2, .ready = look,
		.notified = look};

	state.runtime = runtime;
	/* No statement takes as long; what a session leaves open is nothing. */
	state.parameters[0] = state.parameters[1] = "60000";
	state.parameters[2] = "bridged";
	state.setup[0] = (PgStep) {&api_session, state.parameters};
	state.setup[1] = (PgStep) {&sql_listen_bridges, NULL};
	state.timer = evtimer_new(runtime->base, on_time, NULL);
	state.session = session_open(&session);
	return true;
}

static void
stop(void)
{
	for (int i = 0; i < state.count; i++)
		close_bridge(&state.bridges[i]);
	session_close(state.session);
	if (state.timer)
		event_free(state.timer);
}

int
main(int argc, char **argv)
{
	static const HealthCheck checks[] = {{"bridges", bridges_state}, {NULL}};
	static const Service service = {
		.program = "bridged", .source = "bridged", .port = "5009", .routes = routes,
		.options = options, .start = start, .stop = stop, .checks = checks, .pending = pending,
		.openapi = openapi_document
	};

	return service_main(&service, argc, argv);
}
