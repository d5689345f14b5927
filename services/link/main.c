/*
 * main.c
 *		linkd: carries messages and events between databases.
 *
 * One process serves the links and the remote projections of one database, the target
 * (option database); what there is of both, and from where, stands in that database
 * (message_bus.links, event_store.projections), the addresses of the sources in
 * pg_service.conf.  It is told when they change.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/api.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/service.h"
#include "lib/text.h"
#include "link/carrier.h"
#include "link/feeder.h"
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
	PgStep		setup[3];
	Session    *session;		/* hears of changes */
	struct event *timer;
	Carrier    *carriers[MAX_LINKS];
	int			ncarriers;
	Feeder	   *feeders[MAX_LINKS];
	int			nfeeders;
	bool		again;			/* a change was told of while links were being read */
} links;

static void read_links(void *argument);
static void on_links(void *argument, const PgResults *results);
static void take_links(const PgResults *results);
static void take_feeds(const PgResults *results);
static int	find_feed_row(const PgResults *results, const Feeder *feeder);
static Feeder *find_feeder(const char *name);
static int	find_row(const PgResults *results, const Carrier *carrier);
static Carrier *find_carrier(const char *name);
static void on_time(evutil_socket_t socket, short what, void *argument);

/* Looks which links there are. */
static void
read_links(void *argument)
{
	static const PgStep steps[] = {{&sql_links, NULL}, {&sql_feeds, NULL}};
	struct timeval wait = {idle / 1000, idle % 1000 * 1000};

	(void) argument;
	links.again = !session_run(links.session, steps, 2, DEADLINE_MS, on_links, NULL);
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
	{
		take_links(results);
		take_feeds(results);
	}
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

/* The same for projections of other databases' events: results of the second statement. */
static void
take_feeds(const PgResults *results)
{
	int			kept = 0;

	for (int i = 0; i < links.nfeeders; i++)
	{
		if (find_feed_row(results, links.feeders[i]) < 0)
		{
			log_write(LEVEL_INFORMATION, NULL, "Projection {Projection} is gone", "Projection",
					  feeder_name(links.feeders[i]), NULL);
			feeder_close(links.feeders[i]);
			continue;
		}
		feeder_changed(links.feeders[i]);
		links.feeders[kept++] = links.feeders[i];
	}
	links.nfeeders = kept;
	for (int row = 0; row < pg_rows(results, 1) && links.nfeeders < MAX_LINKS; row++)
	{
		const char *name = pg_value(results, 1, row, FEEDS_NAME);
		CarrierOptions options = {links.runtime->base, service_conninfo(), &links.setup[0], batch,
		idle};

		if (find_feeder(name))
			continue;
		log_write(LEVEL_INFORMATION, NULL, "Projection {Projection} of {Source}", "Projection",
				  name, "Source", pg_value(results, 1, row, FEEDS_SOURCE), NULL);
		links.feeders[links.nfeeders++] =
			feeder_open(&options, name, pg_value(results, 1, row, FEEDS_SOURCE),
						pg_value(results, 1, row, FEEDS_CATEGORY));
	}
}

static int
find_feed_row(const PgResults *results, const Feeder *feeder)
{
	for (int row = 0; row < pg_rows(results, 1); row++)
		if (feeder_is(feeder, pg_value(results, 1, row, FEEDS_NAME),
					  pg_value(results, 1, row, FEEDS_SOURCE),
					  pg_value(results, 1, row, FEEDS_CATEGORY)))
			return row;
	return -1;
}

static Feeder *
find_feeder(const char *name)
{
	for (int i = 0; i < links.nfeeders; i++)
		if (strcmp(feeder_name(links.feeders[i]), name) == 0)
			return links.feeders[i];
	return NULL;
}

/* "ok", or the first projection that is not fed, and why. */
static const char *
feeds_state(void)
{
	static Text state = {0};

	for (int i = 0; i < links.nfeeders; i++)
	{
		const char *its = feeder_state(links.feeders[i]);

		if (strcmp(its, "ok") == 0)
			continue;
		text_reset(&state);
		text_format(&state, "%s: %s", feeder_name(links.feeders[i]), its);
		return state.data;
	}
	return "ok";
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
		.application = "linkd", .setup = links.setup, .nsetup = 3, .ready = read_links,
		.notified = read_links};

	links.runtime = runtime;
	/* No statement takes as long; what a session leaves open is nothing. */
	links.parameters[0] = links.parameters[1] = "60000";
	links.parameters[2] = "linkd";
	links.setup[0] = (PgStep) {&api_session, links.parameters};
	links.setup[1] = (PgStep) {&sql_listen_links, NULL};
	links.setup[2] = (PgStep) {&sql_listen_feeds, NULL};
	links.timer = evtimer_new(runtime->base, on_time, NULL);
	links.session = session_open(&session);
	return true;
}

static void
stop(void)
{
	for (int i = 0; i < links.ncarriers; i++)
		carrier_close(links.carriers[i]);
	for (int i = 0; i < links.nfeeders; i++)
		feeder_close(links.feeders[i]);
	session_close(links.session);
	if (links.timer)
		event_free(links.timer);
}

int
main(int argc, char **argv)
{
	static const HealthCheck checks[] = {{"links", links_state}, {"projections", feeds_state},
	{NULL}};
	static const Service service = {
		.program = "linkd", .source = "linkd", .port = "5008", .routes = routes,
		.options = options,
		.start = start, .stop = stop, .checks = checks, .openapi = openapi_document
	};

	return service_main(&service, argc, argv);
}
