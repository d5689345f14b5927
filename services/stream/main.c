/*
 * main.c
 *		streamd: publishes events of a database to Kafka and to NATS JetStream.
 *
 * One process serves the sinks of one database (event_store.sinks); where the brokers
 * are stands in a file.
 */
#include <openssl/crypto.h>

#include "lib/api.h"
#include "lib/roster.h"
#include "lib/service.h"
#include "stream/sink.h"
#include "stream/statements.h"
#include "stream/target.h"

extern const char openapi_document[];

static long batch;
static long idle;
static char *brokers;

static Option options[] = {
	{"brokers", OPTION_STRING, &brokers, "/etc/ecommerce/streams.conf", 0, 0, NULL, false, false,
	"file that says where brokers are, and the passwords there"},
	{"stream-batch", OPTION_INTEGER, &batch, "500", 1, 10000, NULL, false, false,
	"most events at a time"},
	{"stream-idle", OPTION_DURATION, &idle, "60s", 1000, 3600000, NULL, false, false,
	"look for sinks this often even if nobody notifies"},
	{NULL}
};

/* None but those that every daemon has. */
static const HttpRoute routes[] = {
	{NULL}
};

static struct
{
	SinkSettings settings;
	const char *parameters[3];
	PgStep		setup[2];
	Roster	   *roster;
} state;

static void *
open_sink(const PgResults *results, int row)
{
	return sink_open(&state.settings, results, row);
}

static const char *
sinks_state(void)
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
		.application = "streamd", .setup = state.setup, .nsetup = 2, .read = &sql_sinks,
		.idle_ms = idle, .open = open_sink, .close = sink_close, .state = sink_state,
		.drained = sink_drained};

	/* No statement takes as long; what a session leaves open is nothing. */
	state.parameters[0] = state.parameters[1] = "60000";
	state.parameters[2] = "streamd";
	state.setup[0] = (PgStep) {&api_session, state.parameters};
	state.setup[1] = (PgStep) {&sql_listen_sinks, NULL};
	state.settings = (SinkSettings) {runtime->base, service_conninfo(), &state.setup[0], brokers,
	batch};
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
	static const HealthCheck checks[] = {{"sinks", sinks_state}, {NULL}};
	static const Service service = {
		.program = "streamd", .source = "streamd", .port = "5010", .routes = routes,
		.options = options, .start = start, .stop = stop, .checks = checks, .pending = pending,
		.openapi = openapi_document
	};

	int			status;

	/*
	 * jetstream_end() lets libnats free what OpenSSL would free once more at the end of the
	 * process.  Must come before anybody uses OpenSSL.
	 */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
	status = service_main(&service, argc, argv);
	jetstream_end();
	return status;
}
