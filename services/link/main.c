/*
 * main.c
 *		linkd: carries messages between databases.
 *
 * One process serves the links of one database, the target (option database); what
 * links there are, and from where, stands in that database (message_bus.links), the
 * addresses of the sources in pg_service.conf.  It is told when links change.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/api.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/service.h"
#include "lib/text.h"
#include "link/carrier.h"
#include "link/statements.h"

#define DEADLINE_MS 60000
#define MAX_LINKS 100

extern const char openapi_document[];

static long batch;
static long idle;

static Option options[] = {
	{"link-batch", OPTION_INTEGER, &batch, "500", 1, 10000, NULL, false, false,
	"most messages of a lane at a time"},
	{"link-idle", OPTION_DURATION, &idle, "60s", 1000, 3600000, NULL, false, false,
	"look for messages and links this often even if nobody notifies"},
	{NULL}
};

/* None but those that every daemon has. */
static const HttpRoute routes[] = {
	{NULL}
};

static struct
{
	Runtime    *runtime;
	const char *parameters[3];
	PgStep		setup[2];
	Session    *session;		/* hears of changes */
	struct event *timer;
	Carrier    *carriers[MAX_LINKS];
	int			ncarriers;
	bool		again;			/* a change was told of while links were being read */
} links;

static void read_links(void *argument);
static void on_links(void *argument, const PgResults *results);
static void take_links(const PgResults *results);
static int	find_row(const PgResults *results, const Carrier *carrier);
static Carrier *find_carrier(const char *name);
static void on_time(evutil_socket_t socket, short what, void *argument);

/* Looks which links there are. */
static void
read_links(void *argument)
{
	static const PgStep step = {&sql_links, NULL};
	struct timeval wait = {idle / 1000, idle % 1000 * 1000};

	(void) argument;
	links.again = !session_run(links.session, &step, 1, DEADLINE_MS, on_links, NULL);
	evtimer_add(links.timer, &wait);
}

static void
on_time(evutil_socket_t socket, short what, void *argument)
{
	(void) socket;
	(void) what;
	read_links(argument);
}

static void
on_links(void *argument, const PgResults *results)
{
	if (pg_lost(results))
		return;
	if (pg_succeeded(results))
		take_links(results);
	else
		log_write(LEVEL_WARNING, NULL, "Links cannot be read: {Error}", "Error",
				  pg_message(results), NULL);
	if (links.again)
		read_links(argument);
}

/* Ends carriers of links that are gone or others by now; the rest looks again. */
static void
take_links(const PgResults *results)
{
	int			kept = 0;

	for (int i = 0; i < links.ncarriers; i++)
	{
		if (find_row(results, links.carriers[i]) < 0)
		{
			log_write(LEVEL_INFORMATION, NULL, "Link {Link} is gone", "Link",
					  carrier_name(links.carriers[i]), NULL);
			carrier_close(links.carriers[i]);
			continue;
		}
		carrier_changed(links.carriers[i]);
		links.carriers[kept++] = links.carriers[i];
	}
	links.ncarriers = kept;
	for (int row = 0; row < pg_rows(results, 0) && links.ncarriers < MAX_LINKS; row++)
	{
		const char *name = pg_value(results, 0, row, LINKS_NAME);
		CarrierOptions carrier = {links.runtime->base, service_conninfo(), &links.setup[0], batch,
		idle};

		if (find_carrier(name))
			continue;
		log_write(LEVEL_INFORMATION, NULL, "Link {Link} from {Source}", "Link", name, "Source",
				  pg_value(results, 0, row, LINKS_SOURCE), NULL);
		links.carriers[links.ncarriers++] =
			carrier_open(&carrier, name, pg_value(results, 0, row, LINKS_SOURCE),
						 pg_value(results, 0, row, LINKS_ENDPOINT));
	}
}

static int
find_row(const PgResults *results, const Carrier *carrier)
{
	for (int row = 0; row < pg_rows(results, 0); row++)
		if (carrier_is(carrier, pg_value(results, 0, row, LINKS_NAME),
					   pg_value(results, 0, row, LINKS_SOURCE),
					   pg_value(results, 0, row, LINKS_ENDPOINT)))
			return row;
	return -1;
}

static Carrier *
find_carrier(const char *name)
{
	for (int i = 0; i < links.ncarriers; i++)
		if (strcmp(carrier_name(links.carriers[i]), name) == 0)
			return links.carriers[i];
	return NULL;
}

/* "ok", or the first link that does not carry, and why. */
static const char *
links_state(void)
{
	static Text state = {0};

	for (int i = 0; i < links.ncarriers; i++)
	{
		const char *its = carrier_state(links.carriers[i]);

		if (strcmp(its, "ok") == 0)
			continue;
		text_reset(&state);
		text_format(&state, "%s: %s", carrier_name(links.carriers[i]), its);
		return state.data;
	}
	return "ok";
}

static bool
start(Runtime *runtime)
{
	SessionOptions session = {.base = runtime->base, .conninfo = service_conninfo(),
		.application = "linkd", .setup = links.setup, .nsetup = 2, .ready = read_links,
		.notified = read_links};

	links.runtime = runtime;
	/* No statement takes as long; what a session leaves open is nothing. */
	links.parameters[0] = links.parameters[1] = "60000";
	links.parameters[2] = "linkd";
	links.setup[0] = (PgStep) {&api_session, links.parameters};
	links.setup[1] = (PgStep) {&sql_listen_links, NULL};
	links.timer = evtimer_new(runtime->base, on_time, NULL);
	links.session = session_open(&session);
	return true;
}

static void
stop(void)
{
	for (int i = 0; i < links.ncarriers; i++)
		carrier_close(links.carriers[i]);
	session_close(links.session);
	if (links.timer)
		event_free(links.timer);
}

int
main(int argc, char **argv)
{
	static const HealthCheck checks[] = {{"links", links_state}, {NULL}};
	static const Service service = {
		.program = "linkd", .source = "linkd", .port = "5008", .routes = routes,
		.options = options,
		.start = start, .stop = stop, .checks = checks, .openapi = openapi_document
	};

	return service_main(&service, argc, argv);
}
