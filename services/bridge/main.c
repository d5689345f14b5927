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
#include "lib/roster.h"
#include "lib/service.h"
#include "lib/text.h"

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
	Inward	   *inward;
	Outward    *outward;
} Bridge;

static struct
{
	struct event_base *base;
	const char *parameters[3];
	PgStep		setup[2];
	Roster	   *roster;
} state;

static void *
open_bridge(const PgResults *results, int row)
{
	Bridge	   *bridge = memory_zero(1, sizeof(*bridge));
	const char *endpoint = pg_value(results, 0, row, BRIDGES_ENDPOINT);
	const char *unroutable = pg_value(results, 0, row, BRIDGES_UNROUTABLE);
	BridgeSettings settings = {state.base, service_conninfo(), &state.setup[0], brokers};

	settings.name = bridge->name = memory_string(pg_value(results, 0, row, ROSTER_NAME));
	settings.broker = bridge->broker = memory_string(pg_value(results, 0, row, BRIDGES_BROKER));
	settings.batch = batch;
	settings.drop_unroutable = strcmp(unroutable, "drop") == 0;
	if (endpoint)
		bridge->outward = outward_open(&settings, endpoint);
	if (pg_value(results, 0, row, BRIDGES_QUEUE))
		bridge->inward = inward_open(&settings, pg_value(results, 0, row, BRIDGES_TOPOLOGY));
	return bridge;
}

static void
close_bridge(void *item)
{
	Bridge	   *bridge = item;

	outward_close(bridge->outward);
	inward_close(bridge->inward);
	free(bridge->name);
	free(bridge->broker);
	free(bridge);
}

static const char *
bridge_state(const void *item)
{
	const Bridge *bridge = item;
	const char *its = bridge->outward ? outward_state(bridge->outward) : "ok";

	return strcmp(its, "ok") == 0 && bridge->inward ? inward_state(bridge->inward) : its;
}

static bool
bridge_drained(void *item)
{
	Bridge	   *bridge = item;
	bool		out = !bridge->outward || outward_drained(bridge->outward);
	bool		in = !bridge->inward || inward_drained(bridge->inward);

	return out && in;
}

static const char *
bridges_state(void)
{
	return roster_state(state.roster);
}

static int
pending(void)
{
	return roster_pending(state.roster);
}

static bool
start(Runtime *runtime)
{
	RosterOptions roster = {.base = runtime->base, .conninfo = service_conninfo(),
		.application = "bridged", .setup = state.setup, .nsetup = 2, .read = &sql_bridges,
		.idle_ms = idle, .open = open_bridge, .close = close_bridge, .state = bridge_state,
		.drained = bridge_drained};

	state.base = runtime->base;
	/* No statement takes as long; what a session leaves open is nothing. */
	state.parameters[0] = state.parameters[1] = "60000";
	state.parameters[2] = "bridged";
	state.setup[0] = (PgStep) {&api_session, state.parameters};
	state.setup[1] = (PgStep) {&sql_listen_bridges, NULL};
	state.roster = roster_open(&roster);
	return true;
}

static void
stop(void)
{
	roster_close(state.roster);
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
